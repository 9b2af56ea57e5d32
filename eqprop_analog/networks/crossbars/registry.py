"""Kinds of crossbars by their names in files and configurations."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import one_of
from eqprop_analog.networks.crossbars.convolution import Convolution
from eqprop_analog.networks.crossbars.crossbar import Crossbar
from eqprop_analog.networks.crossbars.dense import Dense
from eqprop_analog.networks.crossbars.pooling import AveragePooling

_KINDS: dict[str, Callable[..., Crossbar]] = {}


def register(kind: type[Crossbar]) -> None:
    """Register ``kind``, whose crossbars are saved and loaded by its ``name``."""
    _KINDS[kind.name] = kind


def crossbar_from(table: Mapping[str, Any], conductance: np.ndarray) -> Crossbar:
    """The crossbar that ``table`` describes (Crossbar.table), over ``conductance`` (S). Raises UserError."""
    settings = dict(table)
    name = settings.pop("crossbar", None)
    one_of(name, "crossbar", _KINDS)
    try:
        return _KINDS[str(name)](conductance, **settings)
    except TypeError as error:
        raise UserError(f"crossbar {name}: {error}") from error


register(Dense)
register(Convolution)
register(AveragePooling)
