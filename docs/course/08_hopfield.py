"""8. A Hopfield network: weights of either sign, learning from products, and the error signal over time in ngspice."""

import numpy as np

from eqprop_analog import HopfieldDescentSolver, HopfieldNetwork, LeakyIntegratorSolver, Nudge, contrast
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.networks.hopfield.transient import settle_hopfield
from eqprop_analog.networks.hopfield.waveforms_plot import relaxation

network = HopfieldNetwork.dense([4, 6, 6, 2], seed=0, buffer=Sigmoid())  # states s = ρ(u) between 0 and 1 V
x, y = np.array([[0.9, 0.1, 0.4, 0.7]]), np.array([[1.0, 0.0]])

# A minimum of the energy, found by the dynamics of the circuit, and by minimising over one
# layer after another: both are the same.
leaky = LeakyIntegratorSolver()
free = leaky.solve(network, x).require()
descended = HopfieldDescentSolver().solve(network, x).require()
apart = max(float(np.abs(a - b).max()) for a, b in zip(free.voltages, descended.voltages, strict=True))
print(f"states of the outputs: {free.outputs[0]} V; the two solvers differ by {apart:.1e} V")
assert apart < 1e-6

# Two nudged phases. A weight learns from the product of the two states that it connects.
beta = 1e-4
plus, minus = (leaky.solve(network, x, Nudge(y, b, "feedback"), start=free).require() for b in (beta, -beta))
learned = contrast(network, x, plus, minus)
exact = implicit_gradient(network, x, y, free)
worst = max(float(np.abs(learned[name] - exact[name]).max() / np.abs(exact[name]).max()) for name in exact)
print(f"gradient from the nudges, compared with the exact one: {worst:.1e} of the largest entry")
assert worst < 1e-3

# The same network as a circuit: leaky integrators with 1 pF, saturating buffers, a conductance
# for every weight and direction. The nudge is applied when the free phase has settled. Layer 3
# responds first, then 2, then 1: the error travels backward.
waves = settle_hopfield(network, x[0], Nudge(y, 0.5, "feedback"), capacitance=1e-12)
print(f"largest difference between ngspice's waveforms and the integrated equations: {waves.deviation:.1e} V")
for layer, seconds in enumerate(waves.arrivals, start=1):
    print(f"layer {layer} reaches half of its response {1e6 * seconds:.2f} µs after the nudge")
assert waves.deviation < 1e-3
assert list(waves.arrivals) == sorted(waves.arrivals, reverse=True)

relaxation(waves, "08_waveforms.png")
