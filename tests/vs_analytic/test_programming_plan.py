"""The pulses of a programming plan reach the level that is nearest to the target for an integer number of pulses."""

from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, UserError
from eqprop_analog.bench.plan import plan, table
from eqprop_analog.devices.conductance import (
    ExponentialPulses,
    LinearPulses,
    PulseLaw,
    SoftBounds,
    TablePulses,
    Technology,
    Window,
)

WINDOW = Window(1e-6, 9e-5, 33)


@pytest.mark.parametrize(
    "law",
    [
        LinearPulses(500),
        SoftBounds(0.02, 0.03),
        ExponentialPulses(2.0, -1.0, 80, 60),
        TablePulses((0, 0.7, 1), (1, 0.2, 0), 50, 70),
    ],
    ids=lambda law: type(law).__name__,
)
@pytest.mark.parametrize("begun", [False, True])
def test_whole_pulses_end_as_near_as_they_can(law: PulseLaw, begun: bool) -> None:
    network = ResistiveNetwork.dense([3, 4, 2], seed=1, conductance_window=(WINDOW.lowest, WINDOW.highest))
    random = np.random.default_rng(0)
    for matrix in network.conductances:
        matrix[...] = random.uniform(WINDOW.lowest, WINDOW.highest, matrix.shape)
    start = [np.full(matrix.shape, 6e-5) for matrix in network.conductances] if begun else None
    for k, one in enumerate(plan(network, Technology(WINDOW, pulses=law), start)):
        np.testing.assert_array_equal(one.level, WINDOW.nearest(network.conductances[k]))
        begin = start[k] if start else np.full(one.level.shape, WINDOW.lowest)
        for more in (-1, 0, 1):
            moved, sign = begin.copy(), np.sign(one.level - begin)
            law.move(
                moved, sign * np.maximum(sign * one.pulses + more, 0), np.array(WINDOW.lowest), np.array(WINDOW.highest)
            )
            off = np.abs(np.clip(moved, WINDOW.lowest, WINDOW.highest) - one.level)
            assert (np.abs(one.expected - one.level) <= off + 1e-15).all()


def test_the_table_names_every_cell_and_what_lies_outside_is_refused(tmp_path: Path) -> None:
    network = ResistiveNetwork.dense([1, 2], seed=1, conductance_window=(1e-6, 9e-5))
    technology = Technology(WINDOW, pulses=LinearPulses(1000))
    rows = table(plan(network, technology))
    assert [(row["crossbar"], row["row"], row["column"]) for row in rows] == [
        (1, 0, 0),
        (1, 0, 1),
        (1, 1, 0),
        (1, 1, 1),
    ]
    network.conductances[0][1, 0] = 2e-4
    with pytest.raises(UserError, match=r"crossbar 1: target of row 1, column 0 is 0\.0002 S"):
        plan(network, technology)
    network.conductances[0][1, 0] = 2e-6
    with pytest.raises(UserError, match="start"):
        plan(network, technology, [np.zeros((2, 2))])
