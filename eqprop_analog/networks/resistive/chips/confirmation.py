"""Free phases of a chip in ngspice and the surrogate, as an independent check."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.readouts import decided_otherwise, predictions
from eqprop_analog.errors import UserError
from eqprop_analog.networks.nonideal.netlist import compile_tile
from eqprop_analog.networks.resistive.chips.chip import Chip
from eqprop_analog.networks.resistive.chips.monte_carlo import dataset, network_path
from eqprop_analog.networks.resistive.chips.study import Case
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.cluster import workers_for

Array = np.ndarray

LARGEST_DIFFERENCE = 1e-9
"""Bound on |ΔV| relative to the circuit's largest voltage, or to 1 V if this is larger."""
TIME_LIMIT = 3600.0
"""Time limit of ngspice for one array, seconds."""


def confirmed(folder: Path, data_dir: Path | None, case: Case, images: int, workers: int) -> dict[str, Any]:
    """Differences between ngspice's and NumPy's voltages of a stored chip, on the first test images.

    If the crossbars of the chip have wires, only one array of the first crossbar is compared, the one with the largest current,
    because ngspice's matrix reordering cannot handle more. Otherwise the whole chip is compared, and its readings with the same
    noise. Raises UserError if the stored chip cannot be read, or if a circuit is not solved.
    """
    given = dataset(case.config, data_dir)
    inputs, labels = case.config.prepared(given.test_images[:images]), given.test_labels[:images]
    network = ResistiveNetwork.load(network_path(folder, case))
    chips = case.drawn(), case.drawn()
    for chip in chips:
        chip.restore(network)
    figures = (
        _array(chips[0], inputs) if case.specification.wires.resistance else _whole(chips, inputs, labels, workers)
    )
    met = figures["relative_difference"] <= LARGEST_DIFFERENCE and figures.get("same_predictions", True)
    return {"images": len(inputs), **figures, "met": met}


def _whole(
    chips: tuple[Chip, Chip], inputs: Float[Array, "images inputs"], labels: Array, workers: int
) -> dict[str, Any]:
    ngspice = chips[1].ngspice(workers)
    try:
        free = chips[0].solver().solve(chips[0].circuit(np.float64), inputs).require()
        witnessed = ngspice.solve(chips[1].circuit(np.float64), inputs).require()
    finally:
        ngspice.close()
    phases = (free, witnessed)
    read = [chip.network.readout(chip.measured(phase).outputs) for chip, phase in zip(chips, phases, strict=True)]
    ours, theirs = (np.concatenate(phase.voltages, axis=1) for phase in phases)
    allowed = LARGEST_DIFFERENCE * np.maximum(1, np.abs(ours).max(axis=1))
    return {
        "witness": "the chip",
        "relative_difference": _relative(ours, theirs, np.abs(ours).max(axis=1)),
        "same_predictions": not decided_otherwise(read[0], read[1], allowed * chips[0].network.readout_reach).any(),
        "error": float((predictions(read[1]) != labels).mean()),
    }


def _array(chip: Chip, inputs: Float[Array, "images inputs"]) -> dict[str, Any]:
    circuit: Any = chip.circuit(np.float64)
    if chip.specification.circuit_is_ideal or chip.periphery.differs(["source_resistance"]):
        raise UserError(
            "confirm: an array can be solved in ngspice only behind ideal sources; leave out source.resistance"
        )
    free = chip.solver().solve(circuit, inputs).require()
    drive, whole = circuit.ideal.rows(circuit.check_inputs(inputs)), circuit.crossbars[0].wired
    carried = np.abs(drive).mean(axis=0)[:, None] * whole.conductance
    rows, columns = max(whole.tiles(), key=lambda at: float(carried[at].sum()))
    array = replace(whole, conductance=whole.conductance[rows, columns], cell=circuit.crossbars[0].cell)
    held, ours = drive[:, rows], free.voltages[0][:, columns]
    into = array.currents(np.concatenate([held, ours], axis=1))[:, held.shape[1] :]
    work = workers_for(1, TIME_LIMIT)
    try:
        theirs = work.result(work.submit(libngspice.sweep, compile_tile(array, held, into)))
    finally:
        work.close()
    size = f"rows {rows.start}-{rows.stop - 1}, columns {columns.start}-{columns.stop - 1} of crossbar 1"
    return {"witness": size, "relative_difference": _relative(ours, theirs, np.abs(held).max(axis=1))}


def _relative(
    ours: Float[Array, "images nodes"], theirs: Float[Array, "images nodes"], largest: Float[Array, " images"]
) -> float:
    """Largest |ΔV| relative to the largest voltage of its circuit, or to 1 V if this is larger."""
    return float((np.abs(ours - theirs).max(axis=1) / np.maximum(1, largest)).max())
