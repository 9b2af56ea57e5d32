"""7. Verification: the trained digits network in ngspice, every node in every phase."""

from eqprop_analog import ResistiveNetwork, data
from eqprop_analog.experiments.agreement import compare
from eqprop_analog.experiments.batches import one_hot
from eqprop_analog.plotting.agreement import agreement_of_run

network = ResistiveNetwork.load("digits.npz")  # from 06_digits.py
digits = data.load("digits")
images, targets = digits.test_images[:20].astype(float), one_hot(digits.test_labels[:20], 10)

# 20 images in the free phase and under ±β: 60 operating points of a circuit of 4,416 resistors,
# 32 diodes and as many amplifiers.
agreement = compare(network, images, targets, beta=1e-7, form="flat")
print(f"{agreement.equilibria} equilibria of {agreement.nodes} nodes: {agreement.statuses}")
print(
    f"largest |ngspice - surrogate|: {agreement.largest_difference:.1e} V, median {agreement.median_difference:.1e} V"
)
print(f"largest difference of a gradient, relative to the crossbar's largest: {agreement.gradient_difference:.1e}")
print(f"largest residual of Kirchhoff's current law at ngspice's voltages: {agreement.largest_residual:.1e} A")
print(f"same predictions: {agreement.same_predictions}")

assert agreement.met  # voltages within 1e-9 of the circuit's largest, gradients within 1e-6, predictions the same
assert agreement.statuses == {"CONVERGED": 60}
assert sum(matrix.size for matrix in network.conductances) == 4416

agreement_of_run(agreement, "07_agreement.png")
