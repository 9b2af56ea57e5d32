"""Data sets: what they are, where they come from, what their files look like."""

from eqprop_analog.data.augmentation import flipped, shifted
from eqprop_analog.data.datasets import RMS, SHAPES, VALIDATION, Dataset, Name, called, load
from eqprop_analog.data.formats import CIFAR_ARCHIVE, DataError

__all__ = [
    "CIFAR_ARCHIVE",
    "RMS",
    "SHAPES",
    "VALIDATION",
    "DataError",
    "Dataset",
    "Name",
    "called",
    "flipped",
    "load",
    "shifted",
]
