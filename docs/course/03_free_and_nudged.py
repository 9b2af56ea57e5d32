"""3. Free and nudged: a resistor to the target changes the output by half a millivolt, and with it the voltage of every node."""

from pathlib import Path

import numpy as np

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, UserError

network = ResistiveNetwork.load(Path(__file__).resolve().parents[2] / "netlists/xor.npz")
x, y = np.array([[-1.0, 1.0]]), np.array([[1.0]])  # the target of the output is 1 V
solver = SurrogateSolver()

# The free phase: only the inputs drive the circuit.
free = solver.solve(network, x)
# The nudged phases: a conductance β also connects the output to a source at its target. -β is a
# negative conductance.
beta = 1e-8  # siemens, 100 MΩ
plus = solver.solve(network, x, Nudge(target=y, beta=+beta), start=free)
minus = solver.solve(network, x, Nudge(target=y, beta=-beta), start=free)

nets = [network.node_name(layer, j) for layer in (1, 2) for j in range(network.layers[layer])]
print("net     free (V)     +β (mV from free)     -β (mV from free)")
for net, v, p, m in zip(
    nets, *(np.concatenate(phase.voltages, axis=1)[0] for phase in (free, plus, minus)), strict=True
):
    print(f"{net:5s} {v:+10.6f} {1e3 * (p - v):+21.6f} {1e3 * (m - v):+21.6f}")

# The nudge acts at the output only. The backward current of the amplifiers carries it to the
# hidden nodes: the response of h1_j is the error signal that backpropagation would compute,
# here as a voltage that can be measured.
cost = [0.5 * (phase.outputs[0, 0] - 1) ** 2 for phase in (free, plus, minus)]
print(f"cost C = ½(v - y)²: free {cost[0]:.6e}, +β {cost[1]:.6e}, -β {cost[2]:.6e} V²")
assert cost[1] < cost[0] < cost[2]
assert all(np.abs(p - v).max() > 0 for p, v in zip(plus.voltages, free.voltages, strict=True))

# How large may β be? With every diode off, the output is held by a conductance S. If β is
# larger than S, the nudge -β makes the circuit unstable, although its equations still have a
# solution. The residual cannot show this, so the nudge is refused.
S = float(np.linalg.eigvalsh(network.output_stiffness())[0])
print(f"λ_min(S) = {S:.3e} S")
try:
    solver.solve(network, x, Nudge(target=y, beta=-1.01 * S), start=free)
except UserError as error:
    print(f"refused: {error}")
else:
    raise AssertionError("an indefinite circuit was solved")
solver.solve(network, x, Nudge(target=y, beta=-0.99 * S), start=free).require()
