"""A chip's free phases in ngspice beside the surrogate's: SPICE as the witness of what is said of the chip."""

from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.chips.monte_carlo import Case, dataset, network_path
from eqprop_analog.learning.trainer import predictions
from eqprop_analog.models import ResistiveNetwork

LARGEST_DIFFERENCE = 1e-9
"""Of |ΔV| over the circuit's largest voltage, at least 1 V."""


def confirmed(folder: Path, data_dir: Path | None, case: Case, images: int, workers: int) -> dict[str, Any]:
    """How ngspice's voltages and predictions of a kept chip compare with NumPy's, on the first test images.

    Both are read with the same noise. Raises UserError if the kept chip cannot be read.
    """
    given = dataset(case.config.dataset, data_dir)
    inputs, labels = case.config.prepared(given.test_images[:images]), given.test_labels[:images]
    network = ResistiveNetwork.load(network_path(folder, case))
    chips = [case.drawn(), case.drawn()]
    for chip in chips:
        chip.restore(network)
    ngspice = chips[1].ngspice(workers)
    try:
        free = chips[0].solver().solve(chips[0].circuit(np.float64), inputs).require()
        witnessed = ngspice.solve(chips[1].circuit(np.float64), inputs).require()
    finally:
        ngspice.close()
    phases = (free, witnessed)
    read = [
        predictions(network.readout(chip.measured(phase).outputs)) for chip, phase in zip(chips, phases, strict=True)
    ]
    ours, theirs = (np.concatenate(phase.voltages, axis=1) for phase in phases)
    largest = np.maximum(1, np.abs(ours).max(axis=1))
    relative = float((np.abs(ours - theirs).max(axis=1) / largest).max())
    same = bool((read[0] == read[1]).all())
    return {
        "images": len(inputs),
        "relative_difference": relative,
        "same_predictions": same,
        "error": float((read[1] != labels).mean()),
        "met": relative <= LARGEST_DIFFERENCE and same,
    }
