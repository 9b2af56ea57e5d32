"""Data sets: their samples, their sources and their file formats."""

from eqprop_analog.data.augmentation import flipped, shifted
from eqprop_analog.data.datasets import RMS, SHAPES, VALIDATION, Dataset, called, load
from eqprop_analog.data.formats import CIFAR_ARCHIVE, DataError
from eqprop_analog.data.own import OwnDataset, is_path, opened
from eqprop_analog.data.samples import Samples
from eqprop_analog.data.settings import DataSettings, Found, OwnData
from eqprop_analog.data.toys import NAMES, register_dataset

__all__ = [
    "CIFAR_ARCHIVE",
    "NAMES",
    "RMS",
    "SHAPES",
    "VALIDATION",
    "DataError",
    "DataSettings",
    "Dataset",
    "Found",
    "OwnData",
    "OwnDataset",
    "Samples",
    "called",
    "flipped",
    "is_path",
    "load",
    "opened",
    "register_dataset",
    "shifted",
]
