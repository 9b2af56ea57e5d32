"""Plots are correct: axes to scale, ends of windows marked, every value counted once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from eqprop_analog import ResistiveNetwork
from eqprop_analog.experiments.agreement import Agreement
from eqprop_analog.networks.resistive import power_plot
from eqprop_analog.networks.resistive.chips import plots as chips
from eqprop_analog.networks.resistive.power_report import energy_report
from eqprop_analog.plotting import agreement, answers, style, training
from eqprop_analog.report.description import description_of


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved, instead of its file."""
    found: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_how: (found.append(self), Path(path).write_bytes(b"")))
    return found


def heights(axes: Any) -> float:
    return float(sum(bar.get_height() for bar in axes.patches))


@pytest.mark.parametrize("window", [(0.0, 1e-4), (1e-8, 1e-4)])
def test_conductances_have_a_logarithmic_axis_with_both_ends_of_the_window_and_every_cell(window: Any) -> None:
    random = np.random.default_rng(0)
    values = np.maximum(window[0], 10 ** random.uniform(-14, -4, (40, 30)) - 1e-12)
    axes = Figure().subplots()
    training.conductances(axes, values, window)
    assert axes.get_xscale() == "log"
    assert heights(axes) == values.size
    lines = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines]
    assert lines[1] == window[1]
    if window[0]:
        assert lines[0] == window[0]
    else:
        assert (
            dict(zip(axes.get_xticks(), (text.get_text() for text in axes.get_xticklabels()), strict=True))[lines[0]]
            == "0"
        )
        assert lines[0] < values[values > 0].max()


def test_voltages_that_are_identical_are_not_drawn_as_differences(figures: list[Figure], tmp_path: Path) -> None:
    ours = np.linspace(0, 1, 50)
    theirs = ours.copy()
    theirs[:10] += 1e-13
    given: Any = SimpleNamespace(pairs=(ours, theirs), samples=1, largest_difference=1e-13)
    agreement.agreement_of_run(given, tmp_path / "a.png")
    _, spread = figures[0].axes
    *differences, same = spread.patches
    assert sum(bar.get_height() for bar in differences) == 10
    assert same.get_height() == 40
    assert same.get_x() + same.get_width() < min(bar.get_x() for bar in differences)
    assert "40 (80 %)" in same.get_label() or any("40 (80 %)" in text for text in spread.get_legend_handles_labels()[1])


def test_nothing_but_identical_voltages_is_drawn_too(tmp_path: Path) -> None:
    result = Agreement("flat", 1, 3, 1e-7, {}, 0.0, 0.0, 0.0, 0.0, 0.0, True, 1.0, 1.0, pairs=(np.ones(9), np.ones(9)))
    agreement.agreement_of_run(result, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_powers_are_horizontal_bars_to_a_logarithmic_scale(figures: list[Figure], tmp_path: Path) -> None:
    network = ResistiveNetwork.dense([3, 4, 2], seed=0, amplifier_gain=3.0)
    random = np.random.default_rng(0)
    report = energy_report(network, random.uniform(size=(2, 3)), np.eye(2), 1e-8, (1e-12,))
    power_plot.power_by_part(report, tmp_path / "power.png")
    left = figures[0].axes[0]
    assert left.get_xscale() == "log"
    drawn = {text.get_text() for text in left.get_yticklabels()}
    delivered = report.phases[0].power.sources
    assert {part for part, watts in delivered.items() if abs(watts.mean()) > 1e-9} <= drawn
    widths = sorted(bar.get_width() for bar in left.patches)
    assert widths[-1] == pytest.approx(max(float(watts.mean()) for watts in delivered.values()), rel=0.5)


@pytest.mark.parametrize(
    ("values", "scale"),
    [([0, 5, 10, 30], "linear"), ([0, 0.01, 0.1, 10], "symlog"), ([1, 10, 100], "log"), ([8, 2], "linear")],
)
def test_points_of_a_curve_stand_at_their_values(values: list[float], scale: str) -> None:
    axes = Figure().subplots()
    axes.plot(values, values)
    chips._along(axes, values)
    assert axes.get_xscale() == scale
    assert axes.get_xticks().tolist() == values
    assert axes.xaxis_inverted() == (values[0] > values[-1])


def test_a_confusion_matrix_counts_every_sample_once(figures: list[Figure], tmp_path: Path) -> None:
    right, said = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    answers.confusion(said, right, 3, tmp_path / "c.png")
    axes = figures[0].axes[0]
    found = {(int(text.get_position()[1]), int(text.get_position()[0])): int(text.get_text()) for text in axes.texts}
    assert found == {(0, 0): 1, (0, 1): 1, (1, 1): 1, (2, 2): 2, (2, 0): 1}
    assert "2 wrong (33.33 %)" in axes.get_title()


def test_answers_show_every_read_out_beside_its_image(figures: list[Figure], tmp_path: Path) -> None:
    readout = np.array([[0.1, 0.9, 0.0], [0.7, 0.2, 0.4]])
    answers.answers(np.zeros((2, 4, 4)), readout, np.eye(3)[[1, 2]], "V", tmp_path / "a.png")
    panels = figures[0].axes
    assert [bar.get_height() for bar in panels[2].patches] == [0.1, 0.9, 0.0]
    assert panels[2].get_title() == "1"
    assert "0" in panels[3].get_title()
    assert "2" in panels[3].get_title()
    assert "(V)" in panels[2].get_ylabel()


def test_a_block_diagram_has_every_layer_and_array() -> None:
    network = ResistiveNetwork.dense([30, 20, 10, 5], amplifier_gain=[2.0, 3.0])
    blocks = description_of(network).blocks(network)
    assert [block.kind for block in blocks] == ["nodes", "array"] * 3 + ["nodes"]
    assert any("60 x 20" in line for line in blocks[1].lines)
    assert any("gain 3" in line for line in blocks[4].lines)


def test_looks_differ_in_colour_and_line_and_marker() -> None:
    for column in zip(*style.LOOKS, strict=True):
        assert len(set(map(str, column))) == len(style.LOOKS)
