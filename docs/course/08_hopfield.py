"""8. A Hopfield network: weights of either sign, learning by products, and the error as a wave that ngspice shows in time."""

import numpy as np

from eqprop_analog import HopfieldDescentSolver, HopfieldNetwork, LeakyIntegratorSolver, Nudge, contrast
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.networks.hopfield.transient import settle_hopfield
from eqprop_analog.networks.hopfield.waveforms_plot import relaxation

network = HopfieldNetwork.dense([4, 6, 6, 2], seed=0, buffer=Sigmoid())  # states s = ρ(u) between 0 and 1 V
x, y = np.array([[0.9, 0.1, 0.4, 0.7]]), np.array([[1.0, 0.0]])

# A minimum of the energy, found as the circuit finds it, and by taking every layer's minimum in turn: the same one.
leaky = LeakyIntegratorSolver()
free = leaky.solve(network, x).require()
descended = HopfieldDescentSolver().solve(network, x).require()
apart = max(float(np.abs(a - b).max()) for a, b in zip(free.voltages, descended.voltages, strict=True))
print(f"states of the outputs: {free.outputs[0]} V; two ways to them end {apart:.1e} V apart")
assert apart < 1e-6

# Two nudged phases, and the product of the two states that a weight joins: what it learns from.
beta = 1e-4
plus, minus = (leaky.solve(network, x, Nudge(y, b, "feedback"), start=free).require() for b in (beta, -beta))
learned = contrast(network, x, plus, minus)
exact = implicit_gradient(network, x, y, free)
worst = max(float(np.abs(learned[name] - exact[name]).max() / np.abs(exact[name]).max()) for name in exact)
print(f"gradient by nudges against the exact one: {worst:.1e} of the largest")
assert worst < 1e-3

# The same as a circuit: leaky integrators, saturating buffers, a conductance for every weight and direction. 1 pF a node. The
# nudge comes on when the free phase has settled; layer 3 answers first, then 2, then 1: the error travels backward.
waves = settle_hopfield(network, x[0], Nudge(y, 0.5, "feedback"), capacitance=1e-12)
print(f"ngspice's waveforms against the integrated equations: {waves.deviation:.1e} V at most")
for layer, seconds in enumerate(waves.arrivals, start=1):
    print(f"half of layer {layer}'s response {1e6 * seconds:.2f} µs after the nudge")
assert waves.deviation < 1e-3
assert list(waves.arrivals) == sorted(waves.arrivals, reverse=True)

relaxation(waves, "08_waveforms.png")
