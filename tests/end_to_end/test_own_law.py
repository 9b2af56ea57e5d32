"""A user's law, in a Python file and a subcircuit, works everywhere in the package without changes to other files."""

import importlib.util
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chip_studies import make_chips_in_this_process, study_of_chips

from eqprop_analog import ResistiveNetwork, UserError
from eqprop_analog.devices import LAWS, Antiparallel, law_from, table_of, with_units
from eqprop_analog.devices.capabilities import root
from eqprop_analog.devices.conductance import Window
from eqprop_analog.devices.registry import Registry
from eqprop_analog.extensions import load
from eqprop_analog.kernels import PlainKernels, kernels_for
from eqprop_analog.networks.resistive.chips.mapping import mapped, scaling_notes
from eqprop_analog.spice.netlist import library

pytestmark = pytest.mark.compiled

LAW = '''
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from eqprop_analog.devices import CompiledNode, DiodeLaw, register_law


class Node(NamedTuple):
    transconductance: float
    corner: float


def node(parameters, conductance, source):
    missing = conductance * parameters.corner - source
    if missing <= 0:
        return source / conductance
    k = parameters.transconductance
    return parameters.corner - 2 * missing / (conductance + math.sqrt(conductance * conductance + 2 * k * missing))


@register_law("square-law")
@dataclass(frozen=True)
class SquareLaw(DiodeLaw):
    """I(w) = k/2 max(w - V_t, 0)**2, w = rail - v."""

    transconductance: float = 1e-5
    threshold: float = 0.1
    rail: float = 0.2

    subcircuit = "square_law"
    spice_parameters = {"k": "transconductance", "vt": "threshold"}
    units = {"threshold": "V", "rail": "V"}

    def overdrive(self, v):
        return np.maximum(self.rail - self.threshold - v, 0)

    def current(self, v):
        return -0.5 * self.transconductance * self.overdrive(v) ** 2

    def slope(self, v):
        return self.transconductance * self.overdrive(v)

    def cocontent(self, v):
        return self.transconductance / 6 * self.overdrive(v) ** 3

    def scaled(self, k):
        return replace(self, transconductance=k * self.transconductance)

    @classmethod
    def drawn(cls, random, paired):
        return cls(10 ** random.uniform(-7, -4), random.uniform(0, 0.5), random.uniform(-0.5, 0.5))

    def compiled_node(self, dtype):
        return CompiledNode(Node(self.transconductance, self.rail - self.threshold), node)
'''
SUBCIRCUIT = """\
* I = k/2*max(V(anode,cathode) - vt, 0)^2. k in A/V^2, vt in volts.
.subckt square_law anode cathode params: k=1e-5 vt=0.1
Bd anode cathode I={V(anode,cathode) > vt ? k/2*(V(anode,cathode)-vt)*(V(anode,cathode)-vt) : 0}
.ends square_law
"""
IMPORT = ("--import", "square_law.py")
SETTINGS = '[diode]\nlaw = "square-law"\nthreshold = "120mV"\n'
SWEEPS = """\
[[sweeps]]
name = "spread"
label = "spread (%)"
confirm = 10
protocols = ["ex-situ"]
points = [{ x = 10, having = { "conductance.spread.factor" = 0.1 } }]
"""
STUDY = study_of_chips(SWEEPS, chips=1, epochs=1, target_error=0.9, devices=("0.0", "4e-6"))


@pytest.fixture
def written(run: Any, tmp_path: Path) -> Path:
    """The two files, in the current folder (which ``run`` makes the test's own)."""
    (tmp_path / "square_law.py").write_text(LAW)
    (tmp_path / "square_law.lib").write_text(SUBCIRCUIT)
    return tmp_path / "square_law.py"


@pytest.fixture
def law(written: Path) -> type:
    """The class, registered."""
    return load(str(written)).SquareLaw


@pytest.fixture
def network(law: type) -> ResistiveNetwork:
    return ResistiveNetwork.dense([4, 6, 2], seed=0, diode=law(2e-5, 0.15, 0.25), amplifier_gain=2.0)


def test_the_iterated_node_solve_is_the_closed_form(law: type) -> None:
    one = law()
    conductance, source = np.meshgrid(np.geomspace(1e-9, 1e-3, 13), np.linspace(-1e-4, 1e-4, 21))
    missing = np.maximum(conductance * 0.1 - source, 0)
    w = 2 * missing / (conductance + np.sqrt(conductance**2 + 2 * 1e-5 * missing))
    expected = np.where(missing > 0, 0.1 - w, source / conductance)
    np.testing.assert_allclose(one.solve(conductance, source), expected, rtol=1e-12, atol=1e-16)
    assert one.solve(conductance.astype("float32"), source.astype("float32")).dtype == np.float32


@pytest.mark.parametrize(
    "table", [{"law": "ngspice"}, {"law": "shockley", "saturation_current": 1e-15}, {"law": "clamp"}]
)
def test_so_it_is_for_laws_that_overflow_or_jump(table: dict[str, object]) -> None:
    one = law_from(table)
    conductance, source = np.meshgrid(np.geomspace(1e-8, 1e-4, 5), np.linspace(-1e-4, 1e-4, 9))
    np.testing.assert_allclose(root(one, conductance, source), one.solve(conductance, source), rtol=1e-9, atol=1e-12)


def test_a_table_and_a_saved_network_know_it_by_its_name(network: ResistiveNetwork, law: type) -> None:
    assert table_of(network.diode) == {"law": "square-law", "transconductance": 2e-5, "threshold": 0.15, "rail": 0.25}
    assert law_from(with_units({"law": "square-law", "rail": "300mV"})) == law(rail=0.3)
    network.save("n.npz")
    assert ResistiveNetwork.load("n.npz").diode == network.diode
    pair = ResistiveNetwork.dense([4, 6, 2], seed=0, diode=Antiparallel(law()))
    pair.save("pair.npz")
    assert ResistiveNetwork.load("pair.npz").diode == pair.diode


def test_a_saved_network_of_a_law_that_is_not_known_says_which_and_what_to_give(
    network: ResistiveNetwork, run: Any
) -> None:
    network.save("n.npz")
    del LAWS["square-law"], sys.modules["square_law"]
    result = run("simulate", "--network", "n.npz")
    assert result.code == 2
    assert all(word in result.err for word in ("n.npz", '"square-law"', "--import"))
    assert "damaged" not in result.err
    assert run("simulate", "--network", "n.npz", *IMPORT).code == 0


def test_a_netlist_runs_by_itself_and_is_read_back(network: ResistiveNetwork, run: Any) -> None:
    network.save("n.npz")
    assert run("netlist", *IMPORT, "--network", "n.npz", "--form", "flat", "--output", "n.cir").code == 0
    done = subprocess.run(["ngspice", "-b", "n.cir"], capture_output=True, text=True, check=True)
    assert "v(o_0)" in done.stdout
    for name in ("n.npz", "n.cir"):
        result = run("simulate", *IMPORT, "--network", name, "--json", "figures.json")
        assert result.code == 0, result.err
        figures = json.loads(Path("figures.json").read_text())
        assert figures["agreement"]["met"]
        assert figures["agreement"]["largest_difference"] < 1e-9
    del LAWS["square-law"], sys.modules["square_law"]
    unknown = run("simulate", "--network", "n.cir")
    assert unknown.code == 2
    assert "--import" in unknown.err
    assert "line " in unknown.err


def test_the_agreement_study_draws_it_single_and_in_pairs_in_worker_processes(written: Path, run: Any) -> None:
    result = run("study", *IMPORT, "--laws", "square-law", "--circuits", 2, "--output", "out")
    assert result.code == 0, result.err
    figures = json.loads(Path("out/study.json").read_text())
    assert figures["met"]
    assert figures["statuses"]["ngspice"] == {"CONVERGED": 18}
    kinds = [json.loads(path.read_text())["diode"] for path in sorted(Path("out/circuits").iterdir())]
    assert [(each["law"], each.get("arrangement")) for each in kinds] == [
        ("square-law", None),
        ("square-law", "antiparallel"),
    ]
    other = run("study", *IMPORT, "--circuits", 2, "--output", "out")
    assert other.code == 2
    assert "--laws" in other.err
    assert "square-law" in run("study", "--laws", "square-lav").err


def test_it_is_scaled_onto_a_chip(network: ResistiveNetwork) -> None:
    other = mapped(network, Window(0.0, 4e-4))
    assert other.diode.transconductance == pytest.approx(8e-5)  # type: ignore[attr-defined]
    assert any("transconductance from 2e-05 to 8e-05" in note for note in scaling_notes(network, Window(0.0, 4e-4)))


def test_scaling_that_is_not_stated_or_wrong_is_refused(
    network: ResistiveNetwork, law: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(law, "scaled", lambda self, k: self)
    with pytest.raises(UserError, match=r"SquareLaw.scaled\(4\).*multiply"):
        mapped(network, Window(0.0, 4e-4))
    monkeypatch.delattr(law, "scaled")
    with pytest.raises(UserError, match=r"scaled\(k\)"):
        mapped(network, Window(0.0, 4e-4))


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
def test_training_compiles_its_own_node(network: ResistiveNetwork, dtype: str, bound: float) -> None:
    pytest.importorskip("numba")
    network = network.astype(dtype)
    compiled, plain = kernels_for(network), PlainKernels(network)
    assert type(compiled).__name__ == "CompiledKernels"
    found = []
    inputs = np.random.default_rng(0).uniform(-1, 1, (5, 4)).astype(dtype)
    for kernels in (compiled, plain):
        source = np.zeros((5, 6), dtype)
        voltages = tuple(np.zeros((5, n), dtype) for n in (6, 2))
        kernels.drive(inputs, source)
        assert kernels.settle(20, source, np.zeros((5, 1), dtype), np.zeros((5, 2), dtype), voltages)
        found.append(voltages)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound)


def test_a_law_without_a_node_trains_in_numpy_and_that_is_said(
    network: ResistiveNetwork, law: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("numba")
    monkeypatch.delattr(law, "compiled_node")
    with caplog.at_level(logging.INFO, "eqprop_analog"):
        assert isinstance(kernels_for(network), PlainKernels)
    assert any("NumPy" in text and "SquareLaw" in text for text in caplog.messages)


@pytest.mark.parametrize(
    ("node", "words"),
    [("lambda p, g, s: s / g", "solve"), ("lambda p, g, s: p.nothing", "numba cannot compile")],
)
def test_a_node_that_is_wrong_is_refused(written: Path, node: str, words: str) -> None:
    pytest.importorskip("numba")
    written.write_text(LAW.replace("self.threshold), node)", f"self.threshold), {node})"))
    law = load(str(written)).SquareLaw
    with pytest.raises(UserError, match=words):
        kernels_for(ResistiveNetwork.dense([4, 6, 2], seed=0, diode=law()))


def test_a_run_trains_verifies_and_reports(written: Path, run: Any, preset: Path, dataset: Path) -> None:
    preset.write_text(preset.read_text() + "sweeps = 4\n" + SETTINGS)
    command = ("train", "--preset", preset, "--data-dir", dataset, "--output", "run", "--epochs", 1)
    refused = run(*command)
    assert refused.code == 2
    assert "--import" in refused.err
    result = run(*command, *IMPORT, "--json", "figures.json")
    assert result.code == 0, result.err
    assert "NumPy" not in result.out or importlib.util.find_spec("numba") is None
    assert json.loads(Path("figures.json").read_text())["agreement"][0]["largest_difference"] <= 1e-9
    assert ResistiveNetwork.load("run/network.npz").diode.threshold == 0.12  # type: ignore[attr-defined]
    assert run("verify", "run", *IMPORT, "--data-dir", dataset).code == 0
    report = run("report", "run", *IMPORT, "--data-dir", dataset)
    assert report.code == 0, report.err


@pytest.mark.usefixtures("written")
def test_chips_are_made_of_it_and_confirmed(
    run: Any, preset: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chips_in_this_process(monkeypatch)
    preset.write_text(preset.read_text() + SETTINGS)
    Path("study.toml").write_text(STUDY)
    result = run(
        "chips",
        *IMPORT,
        "--study",
        "study.toml",
        "--data-dir",
        dataset,
        "--images",
        5,
        "--output",
        "out",
        "--json",
        "f.json",
    )
    assert result.code == 0, result.err
    assert "transconductance from" in result.out
    (agreement,) = json.loads(Path("f.json").read_text())["ngspice"]
    assert agreement["met"]


def test_two_laws_do_not_share_a_name_and_a_subcircuit_that_is_missing_is_named(law: type, written: Path) -> None:
    with pytest.raises(UserError, match='law "square-law" is registered already'):
        LAWS["square-law"] = type("Other", (law,), {})
    written.with_suffix(".lib").unlink()
    with pytest.raises(UserError, match=rf"square_law\.lib.*{written.parent.name}"):
        library("square_law")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), ("1/0", "ZeroDivisionError"), ("import nowhere_to_be_found", "nowhere_to_be_found")],
)
def test_a_file_that_cannot_be_imported_is_one_line(written: Path, run: Any, content: str | None, words: str) -> None:
    if content is None:
        written.unlink()
    else:
        written.write_text(content)
    result = run("simulate", "--layers", 3, 2, *IMPORT)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1
    assert "no such file" in run("simulate", "--layers", 3, 2, "--import", "nowhere/json.py").err
    Path("json.py").write_text("")
    assert "another module json" in run("simulate", "--layers", 3, 2, "--import", "json.py").err


def test_an_installed_package_names_its_module_by_an_entry_point(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written.parent / "square_law-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: square_law\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[eqprop_analog.devices]\nsquare = square_law\nbroken = nowhere_at_all\n")
    monkeypatch.syspath_prepend(str(written.parent))
    monkeypatch.setattr("eqprop_analog.devices.registry._begun", __import__("threading").Event())
    assert type(law_from({"law": "square-law"})).__name__ == "SquareLaw"
    assert isinstance(LAWS, Registry)
