"""4. The gradient, from voltages: squared voltage drops in two phases, compared with finite differences of the cost."""

import numpy as np
from matplotlib.figure import Figure

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, contrast
from eqprop_analog.learning.exact_gradient import implicit_gradient

random = np.random.default_rng(0)
network = ResistiveNetwork.dense([3, 5, 4, 2], seed=0, amplifier_gain=[3.0, 2.0])
for matrix in network.conductances:
    matrix[:] = random.uniform(0.1e-6, 1e-6, matrix.shape)  # siemens
x, y = random.normal(size=(4, 3)), random.normal(size=(4, 2))  # volts
solver = SurrogateSolver()
free = solver.solve(network, x)


def phase(beta: float) -> object:
    """The nudged equilibrium."""
    return solver.solve(network, x, Nudge(target=y, beta=beta), start=free).require()


# Equilibrium propagation: for each conductance, the difference between +β and -β of its own
# squared voltage drop.
beta = 1e-9
learned = contrast(network, x, phase(+beta), phase(-beta))

# The reference: change one conductance a little, solve again, and compare the costs.
layer, i, j, step = 0, 1, 2, 1e-10


def cost(change: float) -> float:
    """½‖v - y‖², batch mean, with one conductance changed by ``change`` siemens."""
    network.conductances[layer][i, j] += change
    outputs = solver.solve(network, x).outputs
    network.conductances[layer][i, j] -= change
    return float(0.5 * ((outputs - y) ** 2).sum(axis=1).mean())


difference = (cost(step) - cost(-step)) / (2 * step)
print(f"dC/dG of crossbar 1, row {i}, column {j}")
print(f"  from voltage drops:      {learned.conductances[layer][i, j]:+.8e} V²/S")
print(f"  from finite differences: {difference:+.8e} V²/S")
assert abs(learned.conductances[layer][i, j] / difference - 1) < 1e-5

# All entries, compared with the exact gradient (implicit function theorem). The error decreases
# as β² for ±β, and as β for +β alone.
exact = implicit_gradient(network, x, y, free)


def error(plus: object, minus: object) -> float:
    """The largest difference in a crossbar, relative to its largest gradient."""
    pairs = zip(contrast(network, x, plus, minus).conductances, exact.conductances, strict=True)
    return max(float(np.abs(g - e).max() / np.abs(e).max()) for g, e in pairs)


betas = np.array([1e-7, 1e-8, 1e-9])
centred = [error(phase(b), phase(-b)) for b in betas]
one_sided = [error(phase(b), free) for b in betas]
print("β (S)      centred      one-sided")
for row in zip(betas, centred, one_sided, strict=True):
    print("{:.0e} {:12.1e} {:12.1e}".format(*row))
slopes = [float(np.polyfit(np.log(betas), np.log(errors), 1)[0]) for errors in (centred, one_sided)]
print(f"slopes in log-log: {slopes[0]:.2f} and {slopes[1]:.2f}")
assert abs(slopes[0] - 2) < 0.1
assert abs(slopes[1] - 1) < 0.1

figure = Figure(figsize=(5, 3.2), layout="constrained")
axes = figure.subplots()
axes.loglog(betas, one_sided, "s--", color="#c8501e", label="+β and free: error ∝ β")
axes.loglog(betas, centred, "o-", color="#0b62a4", label="+β and -β: error ∝ β²")
axes.set(xlabel="β (S)", ylabel="error of dC/dG, relative", title="Equilibrium propagation against the exact gradient")
axes.legend()
figure.savefig("04_gradient.png", dpi=120)
