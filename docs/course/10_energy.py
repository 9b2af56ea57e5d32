"""10. Energy: the power of each part at equilibrium, the settling time, and the energy of an inference."""

import numpy as np
from matplotlib.figure import Figure

from eqprop_analog import ResistiveNetwork
from eqprop_analog.networks.resistive.power_report import energy_report

network = ResistiveNetwork.dense([8, 6, 3], seed=0, amplifier_gain=3.0)
random = np.random.default_rng(0)
x, y = random.uniform(-1, 1, (2, 8)), np.eye(3)[:2]  # volts

# Power at the free equilibrium and under ±β, computed from node voltages; and in ngspice, from
# v·i of every device in the flat netlist.
report = energy_report(network, x, y, beta=1e-7, capacitance=(1e-12,), ngspice=True)
free = report.phases[0]
print("first sample, free phase:")
for part, watts in free.power.sources.items():
    print(f"  delivered by {part:20s} {1e9 * watts[0]:+10.3f} nW")
for part, watts in free.power.sinks.items():
    print(f"  dissipated in {part:19s} {1e9 * watts[0]:+10.3f} nW")

# Energy is conserved (Tellegen's theorem), and the two calculations agree for every part.
print(f"delivered and dissipated differ by {report.imbalance:.1e}, ngspice and surrogate by {report.difference:.1e}")
assert report.imbalance < 1e-12
assert report.difference < 1e-9

# A phase lasts for the largest time constant times ln(1000), after which 0.1 % of the change
# remains.
print(f"settling {1e6 * free.settling_time.max():.2f} µs at 1 pF a node")
print(f"an inference {1e12 * report.inference.mean():.1f} pJ, a training sample {1e12 * report.training.mean():.1f} pJ")
assert (report.training > 2 * report.inference).all()

figure = Figure(figsize=(6, 2.8), layout="constrained")
axes = figure.subplots()
for side, color, hatch, word in (
    (free.power.sources, "#0b62a4", "", "delivered by"),
    (free.power.sinks, "#c8501e", "////", "dissipated in"),
):
    parts = {f"{word} {part}": abs(watts[0]) for part, watts in side.items() if watts[0]}
    axes.barh(list(parts), list(parts.values()), color=color, hatch=hatch, edgecolor="white", linewidth=0)
axes.invert_yaxis()
axes.set(xscale="log", xlim=(1e-8, 1e-5), xlabel="power, first sample, free phase (W)")
figure.savefig("10_power.png", dpi=120)
