"""What a finished training run has to say against itself: that it is at chance, and what its kind of network adds."""

from dataclasses import asdict, dataclass
from typing import Any

from eqprop_analog.core import Network, family_of
from eqprop_analog.experiments.config import TrainConfig

CHANCE = 0.9
"""Of the error of guessing: an error above counts as being at chance."""


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know about a run."""

    kind: str
    """Such as "chance", or of resistive networks "attenuation", "pinned" and "below-gmin"."""
    text: str


def findings(
    config: TrainConfig, network: Network, error: float, rms: float | None = None
) -> tuple[list[Finding], dict[str, Any]]:
    """Of a run that ended with ``network`` and a held-out ``error`` (a fraction), and figures for metrics.json.

    ``rms``: volts, of a regression.
    """
    found: list[Finding] = []
    guessing = 1 - 1 / max(config.classes, 2)
    mean = config.found.deviation if config.found is not None else None
    if mean is not None:
        if rms is not None and rms >= CHANCE * mean:
            found.append(
                Finding(
                    "chance",
                    f"the network predicts no better than the targets' mean: its root mean square error is "
                    f"{rms:.2g} V, the mean's is {mean:.2g} V. Train for more --epochs, or with other rates (--rate-factor)",
                )
            )
    elif error >= CHANCE * guessing:
        found.append(
            Finding(
                "chance",
                f"the network is at chance: {100 * error:.1f} % of the held-out images are wrong, as are "
                f"{100 * guessing:.0f} % by guessing. Nothing was learned; use other rates (--rate-factor), or leave them to the "
                "recipe of the shape by giving --layers without a preset",
            )
        )
    figures: dict[str, Any] = {}
    family = family_of(network)
    if "findings" in family.features:
        own, figures = family.feature("findings")(config, network)
        found += own
    return found, {"warnings": [asdict(finding) for finding in found]} | figures
