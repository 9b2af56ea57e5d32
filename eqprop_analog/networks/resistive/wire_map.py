"""The map of wires: errors of in-situ learning against wire resistance and array size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from eqprop_analog.errors import UserError
from eqprop_analog.experiments import sweep
from eqprop_analog.experiments.batches import Split
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.experiments.sweep import Point
from eqprop_analog.learning.trainer import Stage, evaluate, silent
from eqprop_analog.networks.nonideal.in_situ import WiredSolver, worth_compiling
from eqprop_analog.networks.resistive.config import ResistiveConfig
from eqprop_analog.networks.resistive.network import ResistiveNetwork

IDEAL = "ideal"
"""Name of the folder of the run with ideal wires."""


@dataclass(frozen=True)
class WireMap:
    """Runs for every wire resistance and array size, and one with ideal wires for comparison."""

    preset: str
    settings: Mapping[str, Any]
    """Settings that replace those of the preset."""
    resistances: tuple[float, ...]
    """Resistances of one wire segment, ohms."""
    sizes: tuple[int, ...]
    """Numbers of rows and columns of an array."""
    folder: Path

    def __post_init__(self) -> None:
        """Raise UserError for an invalid grid of values."""
        for name, values in (("resistances", self.resistances), ("sizes", self.sizes)):
            if len(set(values)) < len(values):
                raise UserError(f"--{name}: a value is given twice")
        if min(self.resistances) <= 0:
            raise UserError(
                f"--resistances: expected ohms above 0, got {min(self.resistances):g}; ideal wires are always included"
            )

    def ideal(self) -> Point:
        """The run with ideal wires."""
        config = resolve(
            self.preset, {**self.settings, "wire_resistance": 0.0, "link_resistance": 0.0, "read_at": "nodes"}
        )
        return Point({}, config, self.folder / IDEAL)

    def points(self) -> list[Point]:
        """The runs with wires."""
        found = []
        for size in self.sizes:
            for ohms in self.resistances:
                varied = {"wire_resistance": float(ohms), "tile": [size, size]}
                name = f"{size}x{size},{ohms:g}ohm"
                found.append(Point(varied, resolve(self.preset, {**self.settings, **varied}), self.folder / name))
        return found

    def measured(self, workers: int, data_dir: Path | None, stage: Stage = silent) -> "Errors":
        """Train the missing runs; transfer the ideal network to every array. Raises UserError if the ideal network fails."""
        ideal, points = self.ideal(), self.points()
        sweep.require_possible([ideal, *points], data_dir)
        without, *results = sweep.trained([ideal, *points], workers, data_dir, stage)
        if isinstance(without, UserError):
            raise without
        network = ResistiveNetwork.load(ideal.folder / "network.npz").astype(np.float64)
        held_out, least = sweep.held_out_error(without)
        mean = float(np.mean(network.conductances[0]))
        transferred = _transferred(cast("ResistiveConfig", ideal.config), network, points, data_dir, stage)
        rows = []
        for point, result in zip(points, results, strict=True):
            ohms, size = point.varied["wire_resistance"], point.varied["tile"][0]
            row = {"wire_resistance": ohms, "size": size, "product": ohms * mean * size**2}
            row["transferred_error"] = transferred[ohms, size]
            if isinstance(result, UserError):
                row |= {"error": None, "train_error": None, "failure": str(result)}
            else:
                error = sweep.held_out_error(result)[1]
                row |= {"error": error, "train_error": result["train_error"], "failure": None}
            rows.append(row)
        return Errors(held_out, least, mean, rows)


@dataclass(frozen=True)
class Errors:
    """The measured errors."""

    held_out: str
    """The images of the error, "test" or "validation"."""
    ideal: float
    """Error of the network with ideal wires, a fraction."""
    mean_conductance: float
    """Mean conductance of its first crossbar, siemens."""
    rows: Sequence[Mapping[str, Any]]
    """One row for each point; ``product`` is r Ḡ N², dimensionless, with the mean conductance Ḡ."""

    def limits(self, margin: float) -> list[dict[str, Any]]:
        """For each size, the largest resistance up to which errors stay within ``margin`` of that of the ideal network.

        ``cell_over_wire`` is the ratio of cell to wire resistance at this point. Both are None if no point is within the margin.
        """
        found = []
        for size in dict.fromkeys(row["size"] for row in self.rows):
            here = sorted(
                (row for row in self.rows if row["size"] == size), key=lambda row: float(row["wire_resistance"])
            )
            largest = {}
            for name in ("error", "transferred_error"):
                within = [row[name] is not None and row[name] <= self.ideal + margin for row in here]
                count = within.index(False) if False in within else len(within)
                largest[name] = here[count - 1]["wire_resistance"] if count else None
            ohms = largest["error"]
            ratio = None if ohms is None else 1 / (self.mean_conductance * ohms)
            found.append(
                {
                    "size": size,
                    "wire_resistance": ohms,
                    "transferred_wire_resistance": largest["transferred_error"],
                    "cell_over_wire": ratio,
                }
            )
        return found


def _transferred(
    config: ResistiveConfig, network: ResistiveNetwork, points: Sequence[Point], data_dir: Path | None, stage: Stage
) -> dict[tuple[float, int], float]:
    """Error of the ideal ``network`` on held-out images for every wire resistance and array size."""
    split = Split.of(config, config.load_data(data_dir))
    images, labels = config.prepared(split.held_out_images), split.held_out_labels
    places = dict.fromkeys((point.varied["wire_resistance"], point.varied["tile"][0]) for point in points)
    found = {}
    with stage("transferred", len(places), "points") as progress:
        for done, (ohms, size) in enumerate(places, start=1):
            solver = WiredSolver(ohms, (size, size), compiled=worth_compiling(network.layers))
            found[ohms, size] = evaluate(
                replace(network), solver.solve, images, labels, tolerance=config.right_within
            ).error
            progress(done, found[ohms, size])
    return found
