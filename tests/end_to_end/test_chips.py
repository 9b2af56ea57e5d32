"""``eqprop-analog chips`` writes networks into chips, resumes, and confirms its results in ngspice."""

import csv
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from chip_studies import make_chips_in_this_process, study_of_chips

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.data import load
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.files import packaged
from eqprop_analog.networks.resistive.chips import confirmation, monte_carlo
from eqprop_analog.networks.resistive.chips.chip import Chip
from eqprop_analog.networks.resistive.chips.study import Case
from eqprop_analog.networks.resistive.config import ResistiveConfig
from eqprop_analog.spice.ngspice.workers import WorkerLostError

SWEEPS = """\
[[sweeps]]
name = "spread"
label = "spread (%)"
confirm = 30
points = [{ x = 0 }, { x = 30, having = { "conductance.spread.factor" = 0.3, "readout.noise" = 1e-4 } }]
[[sweeps]]
name = "levels"
label = "levels (bits)"
protocols = ["ex-situ", "in-situ"]
points = [{ x = 4, having = { "conductance.window.levels" = 16 } }]
"""
STUDY = study_of_chips(SWEEPS, chips=2, epochs=3, target_error=0.2, devices=("2e-8", "2e-6"))


@pytest.fixture
def study(dataset, preset, monkeypatch) -> tuple[object, ...]:
    """A command line, for an empty folder."""
    make_chips_in_this_process(monkeypatch)
    Path(preset.parent / "study.toml").write_text(STUDY)
    return ("chips", "--study", "study.toml", "--data-dir", dataset, "--images", 10, "--output", "out")


def test_a_study_leaves_a_row_a_chip_and_protocol_and_ngspice_confirms_what_is_named(study, run):
    result = run(*study, "--json", "all.json")
    assert (result.code, result.err) == (0, "")
    figures = json.loads(Path("all.json").read_text())
    with Path("out/chips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(figures["chips"]) == 2 * (2 * 3 + 2)
    assert all(float(row["test_error"]) < 0.5 for row in rows if (row["sweep"], row["x"]) == ("spread", "0.0"))
    ideal = [row["test_error"] for row in rows if row["x"] == "0.0" and row["protocol"] == "ex-situ"]
    assert ideal[0] == ideal[1]  # without imperfections all chips are alike
    assert [(row["sweep"], row["x"]) for row in figures["ngspice"]] == [("spread", 30.0)] * 3
    assert all(row["met"] and row["images"] == 10 for row in figures["ngspice"])
    mean = sum(float(row["test_error"]) for row in rows if (row["x"], row["protocol"]) == ("30.0", "in-situ")) / 2
    (summary,) = [row for row in figures["summary"] if (row["x"], row["protocol"]) == (30.0, "in-situ")]
    assert summary["mean_error"] == pytest.approx(mean)
    assert "ideal software" in result.out
    network = ResistiveNetwork.load(next(Path("out/software").glob("*.npz")))
    held_out = load("mnist", Path(str(study[4])))
    read = SurrogateSolver().solve(network, held_out.test_images).outputs
    error = float((read.argmax(axis=1) != held_out.test_labels).mean())
    kept = [json.loads(path.read_text()) for path in Path("out/software").glob("*.json")]
    assert error in [each["test_error"] for each in kept]
    assert f"{100 * error:.2f} %" in result.out
    for plot in ("imperfections.png", "yield.png"):
        assert matplotlib.image.imread(Path("out", plot)).std() > 0.01


def test_a_study_has_a_report_whose_figures_are_its_own(study, run):
    assert run(*study, "--json", "all.json").code == 0
    assert run("report", "out").code == 0
    text = Path("out/report.html").read_text()
    assert text.count("<img") == 2
    for row in json.loads(Path("all.json").read_text())["summary"]:
        assert f">{100 * row['mean_error']:.2f}<" in text
    assert 'download="chips.csv"' in text
    assert "<script" not in text


def test_one_chip_has_no_interval(study, run):
    result = run(*study, "--chips", 1)
    assert result.code == 0
    table = result.out.partition("the same chips in ngspice")[0]
    assert "interval" not in table
    assert "±" not in table


def test_a_study_goes_on_with_the_chips_that_are_missing(study, run):
    run(*study)
    files = sorted(Path("out/chips").glob("*.json"))
    before = {path: json.loads(path.read_text()) for path in files}
    files[0].unlink()
    kept = files[1].stat().st_mtime_ns
    result = run(*study)
    assert result.code == 0
    assert f"holds {len(files) - 1} of {len(files)} chips already" in result.out
    assert files[1].stat().st_mtime_ns == kept
    again = json.loads(files[0].read_text())
    assert {**again, "seconds": 0} == {**before[files[0]], "seconds": 0}


def test_a_chip_that_does_not_work_is_counted_and_named_and_the_others_are_reported(study, run):
    dead = """"conductance.window" = { lowest = 0.0, highest = 2e-6, levels = 2 }, "conductance.stuck.off" = 1.0"""
    text = STUDY.replace('"conductance.window.levels" = 16', dead)
    Path("study.toml").write_text(text.replace('"levels (bits)"', '"levels (bits)"\nconfirm = 4'))
    result = run(*study, "--json", "all.json")
    assert (result.code, result.err) == (0, "")
    assert "a chip failed: net h1_0: column 0 of crossbar 1 is all zero" in result.out
    figures = json.loads(Path("all.json").read_text())
    assert [(row["sweep"], row["met"]) for row in figures["ngspice"]] == [
        ("spread", True)
    ] * 3  # no dead chip among them
    failed = [row for row in figures["summary"] if row["sweep"] == "levels"]
    assert [(row["chips"], row["failures"], row["mean_error"], row["yield"]) for row in failed] == [
        (2, 2, None, 0.0)
    ] * 2
    assert all(row["failures"] == 0 for row in figures["summary"] if row["sweep"] == "spread")


def test_chips_that_were_given_up_are_missed_and_what_is_there_is_reported(study, run, monkeypatch):
    def lost(*_task: object) -> None:
        raise WorkerLostError("gone")

    monkeypatch.setattr(monte_carlo, "_MEASURING", replace(monte_carlo._MEASURING, task=lost))
    result = run(*study)
    assert result.code == 2
    assert "16 chips are missing" in result.err
    assert Path("out/chips.csv").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (STUDY.replace("spread.factor", "spread.facto"), "facto"),
        (STUDY.replace("readout.noise", "readout.nois"), "nois"),
        (STUDY.replace('readout.noise" = 1e-4', 'readout.noise" = -1.0'), "noise"),
        (STUDY.replace("confirm = 30", "confirm = 31"), "not among the points"),
        (STUDY.replace("small.toml", "nowhere"), "unknown"),
        (STUDY + "[[sweeps", "not a readable TOML file"),
        (STUDY.replace('name = "levels"', 'name = "spread"'), "two sweeps have the same name"),
        (STUDY.replace("x = 30", "x = 0"), "duplicate"),
        (STUDY.replace('["ex-situ", "in-situ"]', "[]"), "protocols"),
        (STUDY + "training = { input_gain = 2.0 }\n", "input_gain belongs to the circuit"),
        (STUDY + 'training = { on_failure = "skip" }\n', '"stop", got "skip"'),
        (STUDY + 'training = { solver = "ngspice" }\n', "solver"),
        (
            STUDY.replace("epochs = 3", 'epochs = 3\nsweeps = 4\ndevice = "cuda"'),
            'device: chips can be trained .*"cpu"',
        ),
        (STUDY.replace("epochs = 3", 'epochs = 3\nsweeps = 4\nmethod = "implicit"'), "method"),
        (STUDY.replace("small.toml", "hopfield-1h"), "no such setting"),
        (
            STUDY.replace("impedance_scaling = true", ""),
            "training uses conductances of 0 to 2e-06 S, .* 2e-08 to",
        ),
    ],
)
def test_a_study_that_makes_no_sense_is_refused_in_a_sentence(text, complaint, study, run):
    Path("study.toml").write_text(text)
    result = run(*study)
    assert (result.code, result.out) == (2, "")
    assert re.search(complaint, result.err)
    assert not Path("out").exists()


def test_results_are_found_again_under_the_names_that_they_always_had():
    config = ResistiveConfig(layers=[2, 3, 2], beta=1e-7, conductance_rates=1e-15, bias_rates=1e-15)
    specification = Specification.of({"name": "any", "conductance": {"spread": {"factor": 0.3}}})
    in_situ, fine_tuned = (
        Case(config, config, specification, protocol, seed=1, chip=2, keep=False)
        for protocol in ("in-situ", "fine-tuned")
    )
    assert (in_situ.key, fine_tuned.key) == ("f255297d0062505a", "a9bfb8f57ab73950")
    assert in_situ.software_key == fine_tuned.software_key == "d5596738046b173d"


NETLISTS = Path(__file__).parents[2] / "netlists"


def of_xor(run, text: str, *options: object) -> tuple[object, str]:
    """``netlist`` of the XOR network (10 nS to 10 uS, uses 10 to 441 nS) on a chip of specification ``text``."""
    Path("fab.toml").write_text(text)
    command = ("netlist", "--network", NETLISTS / "xor.npz", "--specification", "fab.toml", "--chip", 0)
    result = run(*command, *options, "--output", "chip.cir")
    return result, Path("chip.cir").read_text() if Path("chip.cir").exists() else ""


def test_a_chip_that_cannot_hold_a_network_is_refused_and_says_what_would_change(run):
    result, text = of_xor(run, "[conductance.window]\nlowest = 2e-9\nhighest = 180e-9\n")
    assert (result.code, text) == (2, "")
    for part in (
        "10 of 20 conductances",
        "4.414e-07 S",
        "2e-09 to 1.8e-07 S",
        "impedance_scaling",
        "from 1e-09 to 1.782e-11 A",
    ):
        assert part in result.err


def test_a_chip_that_holds_a_network_changes_none_of_its_constants(run):
    """Ideal devices with a wider window: ngspice gives the voltage of the original network, with diodes of 1 nA."""
    np.save("x.npy", [[-1.0, 1.0]])
    result, text = of_xor(run, "[conductance.window]\nlowest = 2e-9\nhighest = 1e-6\n", "--inputs", "x.npy")
    assert result.code == 0
    assert "mpedance scaling" not in text + result.out
    assert set(re.findall(r"diode is=(\S+)", text)[-4:]) == {"1e-09"}
    assert " gmin=1e-12 " in text
    done = subprocess.run(["ngspice", "-b", "chip.cir"], capture_output=True, text=True, check=True, timeout=60)
    assert float(re.search(r"v\(o_0\) = (\S+)", done.stdout)[1]) == pytest.approx(0.9629241078881924, abs=1e-9)


def test_a_specification_may_begin_with_a_byte_order_mark(run):
    window = "[conductance.window]\nlowest = 2e-9\nhighest = 1e-6\n"
    Path("plain.toml").write_text(window)
    Path("marked.toml").write_text(window, encoding="utf-8-sig")
    plain, marked = (Specification.load(name) for name in ("plain.toml", "marked.toml"))
    assert marked.technology == plain.technology


def test_impedance_scaling_is_asked_for_printed_and_written_into_the_header(run):
    window = "[conductance.window]\nlowest = 1e-8\nhighest = 1e-6\n"
    result, text = of_xor(run, "impedance_scaling = true\n" + window, "--phase", "nudged", "--beta", 1e-8)
    assert result.code == 0
    k = (1e-6 - 1e-8) / (1e-5 - 1e-8)
    header = text.partition(".options")[0]
    for shown in (header, result.out):
        assert float(re.search(r"scaling by k = (\S+):", shown)[1]) == pytest.approx(k, rel=1e-5)
        assert re.search(r"saturation_current from 1e-09 to 9\.91e-11 A, gmin from 1e-12 to 9\.91e-14 S", shown)
        assert "nudge" in shown
    assert float(re.search(r"conductance of (\S+) S from every output", header)[1]) == pytest.approx(k * 1e-8, rel=1e-5)


def test_a_study_says_what_it_scales(study, run):
    text = STUDY.replace('name = "levels"', 'name = "x"').replace("highest = 2e-6", "highest = 1e-6")
    Path("study.toml").write_text(text.partition('[[sweeps]]\nname = "x"')[0])
    result = run(*study)
    assert "Impedance scaling by k = 0.49:" in result.out
    assert "saturation_current from" in result.out or "ideal clamps" in result.out


@pytest.mark.parametrize("window", [(1e-6, 1e-4), (5e-8, 5e-6), (1e-3, 1e-2)])
def test_a_fresh_network_of_a_chip_is_spread_inside_its_devices_window(window, run):
    Path("fab.toml").write_text("[conductance.window]\nlowest = {}\nhighest = {}\n".format(*window))
    command = ("netlist", "--layers", 4, 4, 2, "--specification", "fab.toml", "--chip", 0, "--output", "chip.cir")
    result = run(*command)
    assert (result.code, result.err) == (0, "")
    cells = [
        1 / float(ohms) for ohms in re.findall(r"^R\d_\S* \S+ \S+ (\S+)", Path("chip.cir").read_text(), re.MULTILINE)
    ]
    assert len(cells) == 40
    assert len(set(cells)) > 8
    assert window[0] * (1 - 1e-9) <= min(cells) < 0.3 * max(cells) < 0.3 * window[1]


def test_a_netlist_of_one_chip_runs_in_ngspice_as_the_chip_does_in_numpy(run):
    command = ("netlist", "--layers", 3, 4, 2, "--seed", 5, "--specification", "everything", "--phase", "nudged")
    assert run(*command, "--chip", 2, "--beta", 1e-8, "--output", "chip.cir").code == 0
    done = subprocess.run(["ngspice", "-b", "chip.cir"], capture_output=True, text=True, check=True, timeout=60)
    printed = dict(re.findall(r"^v\((o_\d)\) = (\S+)$", done.stdout, re.MULTILINE))
    specification = Specification.load("everything")
    window = specification.technology.window
    network = ResistiveNetwork.dense([3, 4, 2], 5, conductance_window=(window.lowest, window.highest))
    chip = Chip.drawn(specification, network, 5, 2)
    chip.program(network)
    x, y = np.random.default_rng(5).uniform(0, 1, (1, 3)), np.eye(2)[:1]
    nudged = chip.solver().solve(chip.circuit(), x, Nudge(y, 1e-8)).require()
    np.testing.assert_allclose([float(printed[f"o_{k}"]) for k in range(2)], nudged.outputs[0], rtol=0, atol=1e-9)
    assert run(*command, "--chip", 3, "--output", "other.cir").code == 0
    assert Path("chip.cir").read_text() != Path("other.cir").read_text()


def test_specifications_are_listed_printed_and_explained(run, tmp_path: Path):
    listed = run("specifications").out.splitlines()
    assert [line.split()[0] for line in listed] == list(packaged("specifications"))
    Path("mine.toml").write_text(run("specifications", "everything").out)
    assert Specification.load("mine.toml").settings() == Specification.load("everything").settings()
    assert "cycle_noise" in run("specifications", "--keys").out


def test_the_array_that_ngspice_confirms_has_the_cells_of_the_chip(monkeypatch):
    """With cells taken as linear, ngspice would agree with itself on a circuit that is not the chip's."""
    given = {
        "name": "any",
        "conductance": {"window": {"lowest": 0.0, "highest": 2e-6}},
        "wires": {"resistance": 100.0},
        "cell": {"law": "sinh", "scale": 0.05},
    }
    network = ResistiveNetwork.dense([3, 4, 2], conductance_window=(0.0, 2e-6), seed=1)
    chip = Chip.drawn(Specification.of(given), network, seed=0)
    chip.restore(network)
    compiled = []
    compile_tile = confirmation.compile_tile
    monkeypatch.setattr(confirmation, "compile_tile", lambda *tile: compiled.append(tile[0]) or compile_tile(*tile))
    found = confirmation._array(chip, np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.0]]))
    assert found["relative_difference"] < 1e-9
    assert compiled[0].cell == chip.circuit(np.float64).crossbars[0].cell
    assert compiled[0].cell.scale == 0.05
