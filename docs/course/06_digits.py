"""6. Handwritten digits: 64 x 2 inputs, 32 hidden nodes, 10 outputs, trained by the surrogate in a few seconds."""

import numpy as np
from matplotlib.figure import Figure

from eqprop_analog import ResistiveNetwork, SurrogateSolver, data
from eqprop_analog.experiments.batches import one_hot
from eqprop_analog.learning.trainer import Rule, evaluate, train_epoch
from eqprop_analog.learning.update import Rates

digits = data.load("digits")  # scikit-learn's, 8 x 8 pixels: 1,438 training and 359 test images
images, targets = digits.train_images.astype(float), one_hot(digits.train_labels, 10)
network = ResistiveNetwork.dense(
    [64, 32, 10], seed=0, input_gain=10.0, amplifier_gain=4.0, conductance_window=(10e-9, 1e-6)
)
rates = Rates(conductances=(3e-14, 3e-14), biases=(3e-15, 3e-15))  # S²/V², A²/V²

# Four sweeps of coordinate descent per phase are enough for training. For the test, every
# equilibrium converges.
quick, converged = SurrogateSolver(sweeps=4, check_residual=False), SurrogateSolver()
random = np.random.default_rng(0)
errors = []
for epoch in range(4):
    order = random.permutation(len(images))
    batches = [(images[k], targets[k]) for k in np.array_split(order, len(order) // 4)]
    trained = train_epoch(network, quick, Rule(rates.scaled(0.9**epoch), beta=1e-7), batches)
    judged = evaluate(network, converged.solve, digits.test_images.astype(float), digits.test_labels)
    errors.append((100 * trained.error, 100 * judged.error))
    print(f"epoch {epoch + 1}: training error {errors[-1][0]:5.2f} %, test error {errors[-1][1]:5.2f} %")
network.save("digits.npz")
assert errors[-1][1] < 6
assert set(judged.statuses) == {"CONVERGED"}

figure = Figure(figsize=(5, 3), layout="constrained")
axes = figure.subplots()
for values, style, label in zip(np.transpose(errors), ("s--", "o-"), ("training", "test"), strict=True):
    axes.plot(range(1, len(errors) + 1), values, style, color="#0b62a4" if label == "test" else "#c8501e", label=label)
axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
axes.legend()
figure.savefig("06_digits.png", dpi=120)
