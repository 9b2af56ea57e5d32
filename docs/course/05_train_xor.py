"""5. Learning: a random network learns XOR, by local updates only."""

import numpy as np
from matplotlib.figure import Figure

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, contrast

patterns = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])  # volts
targets = np.array([[0.0], [1.0], [1.0], [0.0]])
network = ResistiveNetwork.dense([2, 4, 1], seed=0, amplifier_gain=4.0, conductance_window=(1e-8, 1e-5))
solver = SurrogateSolver()
beta, rate, bias_rate = 1e-8, 1e-13, 1e-13  # S, S²/V², A²/V²

costs, voltages = [], []
for _ in range(2000):
    free = solver.solve(network, patterns)
    costs.append(float(0.5 * ((free.outputs - targets) ** 2).mean()))
    voltages.append(free.outputs[:, 0])
    if np.abs(free.outputs - targets).max() < 0.05:
        break
    plus = solver.solve(network, patterns, Nudge(targets, +beta), start=free)
    minus = solver.solve(network, patterns, Nudge(targets, -beta), start=free)
    gradient = contrast(network, patterns, plus, minus)
    # The update of a device depends only on the voltages at its two terminals, and keeps it
    # within the conductance window.
    for G, slope in zip(network.conductances, gradient.conductances, strict=True):
        G[:] = np.clip(G - rate * slope, *network.conductance_window)
    for b, slope in zip(network.biases, gradient.biases, strict=True):
        b[:] = b - bias_rate * slope

print(f"after {len(costs) - 1} epochs:")
for (a, b), (y,), v in zip(patterns, targets, voltages[-1], strict=True):
    print(f"  inputs {a:+.0f} V, {b:+.0f} V: output {v:+.4f} V, target {y:.0f} V")
assert np.abs(voltages[-1] - targets[:, 0]).max() < 0.05
network.save("xor.npz")

figure = Figure(figsize=(7, 3), layout="constrained")
left, right = figure.subplots(1, 2)
left.semilogy(costs, color="#0b62a4")
left.set(xlabel="epoch", ylabel="cost (V²)")
for k, style in enumerate(("-", "--", "-.", ":")):
    label = f"({patterns[k, 0]:+.0f}, {patterns[k, 1]:+.0f}) V"
    right.plot(np.array(voltages)[:, k], style, color="#0b62a4" if targets[k, 0] else "#c8501e", label=label)
right.set(xlabel="epoch", ylabel="output (V)")
right.legend(fontsize=8)
figure.savefig("05_xor.png", dpi=120)
