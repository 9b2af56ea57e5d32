"""The configuration of a training run: what all runs have, what each kind of network adds, and where it is read from."""

from eqprop_analog.config.base import TrainConfig, Training
from eqprop_analog.config.graph import GraphConfig
from eqprop_analog.config.hopfield import HopfieldConfig
from eqprop_analog.config.presets import DEFAULT_PRESETS, OWN_SHAPES, presets, resolve
from eqprop_analog.config.resistive import ResistiveConfig
from eqprop_analog.core import Network

__all__ = [
    "DEFAULT_PRESETS",
    "OWN_SHAPES",
    "GraphConfig",
    "HopfieldConfig",
    "Network",
    "ResistiveConfig",
    "TrainConfig",
    "Training",
    "presets",
    "resolve",
]
