"""The contributions of a kind of network to the report."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.core import Network, family_of
from eqprop_analog.plotting.blocks import BlockOfDiagram
from eqprop_analog.plotting.training import histograms
from eqprop_analog.report.folder import RunFolder
from eqprop_analog.report.page import Block, Table, Tile

Array = np.ndarray
Fields = tuple[Array, str, str]
"""Values (pixels, nodes) of receptive fields, their meaning, and their unit."""


def _arrays(network: Network) -> Iterator[Table]:
    rows = [
        (name, " x ".join(map(str, values.shape)), f"{values.min():.3g} to {values.max():.3g}")
        for name, values in network.arrays().items()
    ]
    yield Table("Parameters", ("name", "shape", "from"), rows)


def _blocks(network: Network) -> list[BlockOfDiagram]:
    last = len(network.layers) - 1
    found = [BlockOfDiagram("inputs", [f"{network.layers[0]:,}"], "nodes")]
    for layer, (nodes, count) in enumerate(
        zip(network.layers[1:], network.connections_by_layer, strict=False), start=1
    ):
        found.append(BlockOfDiagram(f"connections {layer}", [f"{count:,}"], "array"))
        found.append(
            BlockOfDiagram("outputs" if layer == last else f"layer {layer}", [f"{nodes:,} nodes"], "nodes", layer > 1)
        )
    return found


def _histograms(network: Network, path: Path) -> str:
    histograms(network.arrays(), path)
    return "parameters"


@dataclass(frozen=True)
class Description:
    """The description of any network; a kind of network adds its own functions."""

    tables: Callable[[Any], Iterator[Table]] = _arrays
    """Tables of what was built."""
    histograms: Callable[[Any, Path], str] = _histograms
    """Draws the distributions of the parameters, and returns their description."""
    fields: Callable[[Any, int], Fields | None] = lambda _network, _pixels: None
    """Receptive fields of layer 1, if the inputs are an image with this number of pixels."""
    levels: Callable[[Any], Sequence[tuple[str, float]]] = lambda _network: ()
    """Voltages that are marked in plots of node voltages, with their names."""
    picture: Callable[[Any, Path], str] | None = None
    """Draws a network that has neither schematic nor maps of crossbars, and returns a description."""
    blocks: Callable[[Any], Sequence[BlockOfDiagram]] = _blocks
    """The block diagram of a network whose schematic would be too large."""
    energy: Callable[[RunFolder, Path], tuple[list[Tile], list[Block]]] | None = None
    """Power and energy, for the head of the page and for their section; the folder is that of the pictures, as in ``built``."""


def description_of(network: Network) -> Description:
    """Return the description of the network's kind."""
    own = family_of(network).description
    return Description() if own is None else own()
