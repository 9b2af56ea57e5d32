"""The configuration of a training run: what all runs have, what each kind of network adds, and where it is read from."""

from eqprop_analog.config.base import Network, TrainConfig, Training
from eqprop_analog.config.hopfield import HopfieldConfig
from eqprop_analog.config.presets import DEFAULT_PRESETS, OWN_SHAPES, presets, resolve
from eqprop_analog.config.resistive import ResistiveConfig

__all__ = [
    "DEFAULT_PRESETS",
    "OWN_SHAPES",
    "HopfieldConfig",
    "Network",
    "ResistiveConfig",
    "TrainConfig",
    "Training",
    "presets",
    "resolve",
]
