"""9. An imperfect chip: devices vary and some are stuck; learning on the chip compensates much of the error."""

import numpy as np

from eqprop_analog import ResistiveNetwork, SurrogateSolver, data
from eqprop_analog.experiments.batches import one_hot
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.learning.in_situ import InSituLearner
from eqprop_analog.learning.trainer import Rule, evaluate, train_pass
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive.chips.chip import Chip
from eqprop_analog.networks.resistive.chips.mapping import mapped, scaled_rule

digits = data.load("digits")
images, targets = digits.train_images.astype(float), one_hot(digits.train_labels, 10)
test_images = digits.test_images.astype(float)

# The specification: conductances of 3 to 300 nS, device-to-device variation of 30 %, 2.5 % of
# the cells stuck. In practice this is a TOML file; eqprop_analog/specifications/everything.toml
# is a template.
specification = Specification.of(
    {
        "conductance": {
            "window": {"lowest": 3e-9, "highest": 300e-9},
            "spread": {"factor": 0.3},
            "stuck": {"on": 0.005, "off": 0.02},
        },
    }
)
window = specification.technology.window

# The trained network of 06_digits.py. All its conductances and currents, including those of the
# diodes, are scaled to the window of these devices; a specification file requests this by
# impedance_scaling = true.
ideal = ResistiveNetwork.load("digits.npz")
software = mapped(ideal, window)
scale = window.span / (ideal.conductance_window[1] - ideal.conductance_window[0])


def error(network: ResistiveNetwork) -> float:
    """Percentage of misclassified test images."""
    return 100 * evaluate(network, SurrogateSolver().solve, test_images, digits.test_labels).error


# Chip 0 of lot 0. The programmed conductances differ from the wanted ones.
chip = Chip.drawn(specification, software, seed=0)
chip.program(software)
written = error(chip.circuit())
deviation = np.median(np.abs(chip.network.conductances[0] / software.conductances[0] - 1))
print(f"the trained network:            {error(software):5.2f} % of the test images misclassified")
print(f"programmed into chip 0:         {written:5.2f} % (median deviation of a conductance {100 * deviation:.0f} %)")

# The same learning rule, with voltages that are measured on the chip, and updates of its own
# devices.
rates = Rates(conductances=(2e-14, 2e-14), biases=(2e-15, 2e-15))
rule = scaled_rule(Rule(rates, beta=1e-7), scale)
learner = InSituLearner(chip, SurrogateSolver(sweeps=4, check_residual=False), rule)
random = np.random.default_rng(0)
for epoch in range(2):
    order = random.permutation(len(images))
    train_pass(learner, [(images[k], targets[k]) for k in np.array_split(order, len(order) // 4)])
    learned = error(chip.circuit())
    print(f"after epoch {epoch + 1} on the chip:      {learned:5.2f} %")
assert learned < written / 2
