"""2. A netlist you can read: the trained XOR network, written, run by the plain ngspice program, and checked by hand."""

import re
import subprocess
from pathlib import Path

import numpy as np

from eqprop_analog import ResistiveNetwork, SurrogateSolver
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.spice.netlist import static_netlist

netlists = Path(__file__).resolve().parents[2] / "netlists"
network = ResistiveNetwork.load(netlists / "xor.npz")  # 2 inputs, 4 hidden nodes, 1 output; amplifiers of gain 4
x = np.array([[-1.0, 1.0]])  # volts

# The network is compiled to a circuit, a graph of nets and devices. It is checked for floating
# parts, and written as text.
circuit = compile_network(network, x, form="flat")  # "flat": every resistor
text = static_netlist(circuit)
Path("xor.cir").write_text(text)

print("\n".join(line for line in text.splitlines() if re.match(r"R2|Xd1_0|Xa1_0|Ib2", line)))

# A circuit designer would now run the netlist. This step does not use Python.
done = subprocess.run(["ngspice", "-b", "xor.cir"], capture_output=True, text=True, check=True)
(printed,) = re.findall(r"^v\(o_0\) = (\S+)$", done.stdout, re.MULTILINE)
print(f"\nngspice prints v(o_0) = {printed}")

# Kirchhoff's current law at the output, calculated by hand: the currents that flow into o_0
# through the crossbar ...
equilibrium = SurrogateSolver().solve(network, x)
hidden, output = (v[0] for v in equilibrium.voltages)
drives = network.amplifier_gain[0] * hidden
currents = network.conductances[1][:, 0] * (drives - output[0])
for j, current in enumerate(currents):
    print(f"from a1_{j} at {drives[j]:+.6f} V through R2_{j}_0: {1e9 * current:+10.5f} nA")
print(f"from the bias source Ib2_0:              {1e9 * network.biases[1][0]:+10.5f} nA")
total = currents.sum() + network.biases[1][0]
print(f"sum:                                     {1e9 * total:+10.5f} nA")

# ... and the bias current add up to zero, and the output of the surrogate equals that of
# ngspice.
assert abs(total) < 1e-18  # A
assert abs(float(printed) - output[0]) < 1e-12  # V
