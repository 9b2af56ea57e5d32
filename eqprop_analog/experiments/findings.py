"""Warnings about a finished training run: an error at chance level, and warnings of its kind of network."""

from dataclasses import asdict, dataclass
from typing import Any

from eqprop_analog.core import Network, family_of
from eqprop_analog.experiments.config import TrainConfig

CHANCE = 0.9
"""Fraction of the error of guessing above which an error counts as chance level."""


@dataclass(frozen=True)
class Finding:
    """A warning about a run."""

    kind: str
    """Kind of warning: "chance", or for resistive networks "attenuation", "pinned" and "below-gmin"."""
    text: str


def findings(
    config: TrainConfig, network: Network, error: float, rms: float | None = None
) -> tuple[list[Finding], dict[str, Any]]:
    """Return the warnings about a run with this final ``network`` and held-out ``error`` (a fraction), and figures for JSON.

    ``rms``: error of a regression, volts.
    """
    found: list[Finding] = []
    guessing = 1 - 1 / max(config.classes, 2)
    mean = config.found.deviation if config.found is not None else None
    if mean is not None:
        if rms is not None and rms >= CHANCE * mean:
            found.append(
                Finding(
                    "chance",
                    f"the network predicts no better than the mean of the targets: its root mean square error is "
                    f"{rms:.2g} V, that of the mean is {mean:.2g} V. Train for more --epochs, or with other rates "
                    "(--rate-factor)",
                )
            )
    elif error >= CHANCE * guessing:
        found.append(
            Finding(
                "chance",
                f"the network is at chance level: {100 * error:.1f} % of the held-out images are wrong, compared with "
                f"{100 * guessing:.0f} % by guessing. Nothing was learned; use other rates (--rate-factor), or use "
                "the rates of the recipe by giving --layers without a preset",
            )
        )
    figures: dict[str, Any] = {}
    family = family_of(network)
    if "findings" in family.features:
        own, figures = family.feature("findings")(config, network)
        found += own
    return found, {"warnings": [asdict(finding) for finding in found]} | figures
