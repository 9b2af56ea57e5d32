"""1. One node between two resistors: the smallest network, solved by hand, by the surrogate and by ngspice."""

import numpy as np

from eqprop_analog import NgspiceSolver, ResistiveNetwork, SurrogateSolver

# One input and one output. Conductances cannot be negative, so the input drives two rows, +x
# and -x. Two resistors connect the output node to these rows: a voltage divider.
network = ResistiveNetwork.dense([1, 1])
network.conductances[0][:] = [[3e-6], [1e-6]]  # siemens: 3 µS from +x, 1 µS from -x

x = np.array([[1.0], [-0.5]])  # two samples, volts
G_plus, G_minus = network.conductances[0][:, 0]

# By Kirchhoff's current law, G₊(x - v) + G₋(-x - v) = 0, the node voltage is the mean of its
# neighbours, weighted by conductance.
by_hand = (G_plus - G_minus) / (G_plus + G_minus) * x

computed = SurrogateSolver().solve(network, x)
measured = NgspiceSolver().solve(network, x)

print("    x (V)   by hand (V)   surrogate (V)   ngspice (V)   residual of KCL (A)")
for k in range(len(x)):
    v = by_hand[k, 0], computed.outputs[k, 0], measured.outputs[k, 0]
    print(f"{x[k, 0]:9.3f} {v[0]:13.6f} {v[1]:15.6f} {v[2]:13.6f} {measured.residual[k]:21.1e}")

# The output is half of the input: a weight of (3 - 1)/(3 + 1) = 0.5. Positive conductances give
# signed weights.
np.testing.assert_allclose(computed.outputs, by_hand, rtol=0, atol=1e-15)
np.testing.assert_allclose(measured.outputs, by_hand, rtol=0, atol=1e-12)
