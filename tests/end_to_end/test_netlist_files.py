"""Stored netlists: golden files, reading them back, and what is refused."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork

NETLISTS = Path(__file__).parents[2] / "netlists"
FREE = NETLISTS / "xor_free.cir"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        *((("--dialect", name), (f"xor_{name}.cir",)) for name in ("ltspice", "xyce", "gnucap")),
        (("--form", "subcircuits", "--beta", "1e-8"), ("xor_bench.cir", "xor_bench.lib")),
    ],
    ids=["ltspice", "xyce", "gnucap", "subcircuits"],
)
def test_the_commands_of_the_page_write_the_stored_files(run, tmp_path: Path, options: tuple, names: tuple) -> None:
    assert run("netlist", "--network", FREE, *options, "--output", names[0]).code == 0
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    for name in names:
        assert (tmp_path / name).read_bytes() == (NETLISTS / name).read_bytes()


def test_the_page_prints_what_the_stored_testbench_prints(tmp_path: Path) -> None:
    done = subprocess.run(
        ["ngspice", "-b", str(NETLISTS / "xor_bench.cir")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    page = (NETLISTS / "README.md").read_text()
    for name in ("o_0_free", "o_0_nudged"):
        measured = re.search(rf"^{name} = (\S+)$", done.stdout, re.MULTILINE)
        written = re.search(rf"{name} = ([\d.e+-]+)", page)
        assert measured is not None
        assert written is not None
        assert float(measured[1]) == pytest.approx(float(written[1]), rel=0, abs=1e-9)


@pytest.mark.parametrize(("name", "options"), [("xor_free.cir", ()), ("xor_nudged.cir", ("--phase", "nudged"))])
def test_a_netlist_that_is_read_and_written_is_the_same_file(run, tmp_path: Path, name: str, options: tuple) -> None:
    assert run("netlist", "--network", NETLISTS / name, *options, "--output", "back.cir").code == 0
    assert (tmp_path / "back.cir").read_bytes() == (NETLISTS / name).read_bytes()


def test_a_netlist_edited_by_hand_becomes_a_saved_network_and_is_simulated(run, tmp_path: Path) -> None:
    text, count = re.subn(r"^(R2_3_0 a1_3 o_0) \S+$", r"\1 2.5meg ; by hand", FREE.read_text(), flags=re.MULTILINE)
    assert count == 1
    (tmp_path / "edited.cir").write_text(text)
    assert run("netlist", "--network", "edited.cir", "--output", "edited.npz").code == 0
    network = ResistiveNetwork.load(tmp_path / "edited.npz")
    assert network.conductances[1][3, 0] == 4e-7
    np.testing.assert_allclose(
        network.conductances[0], ResistiveNetwork.load(NETLISTS / "xor.npz").conductances[0], rtol=1e-15
    )
    assert run("simulate", "--network", "edited.cir").code == 0


@pytest.mark.parametrize("name", ["a.cir", "A.CIR", "a.sp", "a.net", "a.spice", "a.ckt", "a.txt", "a"])
def test_a_netlist_is_known_by_its_content_and_not_by_its_name(run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FREE.read_bytes())
    result = run("netlist", "--network", name, "--output", "back.cir")
    assert (result.code, result.err) == (0, "")
    assert (tmp_path / "back.cir").read_bytes() == FREE.read_bytes()


def test_an_archive_is_a_network_whatever_its_name(run, tmp_path: Path) -> None:
    (tmp_path / "a.cir").write_bytes((NETLISTS / "xor.npz").read_bytes())
    np.save(tmp_path / "x.npy", [[-1.0, 1.0]])
    assert run("netlist", "--network", "a.cir", "--inputs", "x.npy", "--output", "back.cir").code == 0
    assert (tmp_path / "back.cir").read_bytes() == FREE.read_bytes()


def silent(path: Path, lines: int = 1) -> None:
    """The file of the free phase without the lines that state gain, outputs and window."""
    text = re.sub(r"^(\*|\.param).*\n", "", FREE.read_text(), flags=re.MULTILINE)
    path.write_text("a title\n" * lines + text)


def test_what_a_netlist_does_not_say_is_printed_or_given(run, tmp_path: Path) -> None:
    silent(tmp_path / "a.sp")
    result = run("netlist", "--network", "a.sp", "--output", "a.npz")
    assert result.code == 0
    for option, value in (("--input-gain", "1 V"), ("--conductance-window", "0 to 0.0001 S")):
        assert re.search(rf"a\.sp: .*{value}.*{option}", result.out)
    given = ("--input-gain", 4, "--conductance-window", "1e-9", "1e-5")
    result = run("netlist", "--network", "a.sp", *given, "--output", "b.npz")
    assert (result.code, "assumed" in result.out) == (0, False)
    network = ResistiveNetwork.load(tmp_path / "b.npz")
    assert (network.input_gain, network.conductance_window) == (4.0, (1e-9, 1e-5))
    assert run("simulate", "--network", "a.sp", *given).code == 0
    result = run("netlist", "--network", FREE, "--input-gain", 4, "--output", "c.npz")
    assert result.code == 2
    assert "the input gain is given as 1 and 4" in result.err
    result = run("netlist", "--network", "a.sp", "--amplifier-gain", 4, "--output", "c.npz")
    assert result.code == 2
    assert "a.sp" in result.err
    assert "leave out --amplifier-gain" in result.err


def nudge(path: Path) -> tuple[float, float]:
    """(beta, target), S and V, of a nudged netlist with one output."""
    found = re.search(r"^Vy_0 y_0 0 (\S+)\nRnudge_0 y_0 o_0 (\S+)$", path.read_text(), re.MULTILINE)
    return 1 / float(found[2]), float(found[1])


@pytest.mark.parametrize("chip", [(), ("--specification", "wide.toml")])
@pytest.mark.parametrize(
    ("given", "expected"),
    [((), (1e-8, 0.25)), (("--beta", 2e-8), (2e-8, 0.25)), (("--targets", "y.npy"), (1e-8, 0.5))],
)
def test_a_netlists_own_nudge_is_kept_but_for_what_is_given(run, tmp_path: Path, chip, given, expected) -> None:
    text = (NETLISTS / "xor_nudged.cir").read_text()
    (tmp_path / "own.cir").write_text(re.sub(r"^(Vy_0 y_0 0) \S+$", r"\1 0.25", text, flags=re.MULTILINE))
    (tmp_path / "wide.toml").write_text("[conductance.window]\nlowest = 0.0\nhighest = 1e-4\n")
    np.save(tmp_path / "y.npy", [[0.5]])
    result = run("netlist", "--network", "own.cir", "--phase", "nudged", *chip, *given, "--output", "out.cir")
    assert (result.code, result.err) == (0, "")
    assert nudge(tmp_path / "out.cir") == pytest.approx(expected)


@pytest.mark.parametrize(("name", "program"), [("ltspice", "LTspice"), ("xyce", "Xyce"), ("gnucap", "gnucap")])
def test_netlists_for_other_programs_are_recognised(run, tmp_path: Path, name: str, program: str) -> None:
    result = run("netlist", "--network", NETLISTS / f"xor_{name}.cir", "--output", "a.npz")
    assert result.code == 2
    assert f"this netlist is for {program}" in result.err


def test_a_fresh_network_takes_outputs_and_window_from_the_command_line(run, tmp_path: Path) -> None:
    options = ("--outputs", "pairs", "--conductance-window", "0", "2e-5")
    assert run("netlist", "--layers", 2, 3, 4, *options, "--output", "a.npz").code == 0
    network = ResistiveNetwork.load(tmp_path / "a.npz")
    assert (network.outputs, network.conductance_window) == ("pairs", (0.0, 2e-5))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--network", "bad.cir"), r"bad\.cir, line 3: not understood.*\.include|bad\.cir, line 3: only packaged"),
        (("--network", "none.cir"), "none.cir: no such netlist"),
        (("--network", NETLISTS / "xor_bench.cir"), "a testbench cannot be read back"),
        (("--network", FREE, "--layers", 2, 3, 1), "disagrees with"),
        (("--layers", 2, 3, 1, "--form", "subcircuits", "--dialect", "gnucap"), "gnucap cannot measure o_0 in two phases"),
        (("--layers", 2, 3, 1, "--model", "hopfield", "--form", "subcircuits"), "resistive networks, not"),
        (("--layers", 2, 3, 1, "--model", "hopfield", "--dialect", "gnucap"), "gnucap has no behavioural sources"),
        (("--layers", 2, 3, 1, "--specification", "everything", "--dialect", "ltspice"), "--specification"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(run, tmp_path: Path, arguments: tuple, words: str) -> None:
    (tmp_path / "bad.cir").write_text("* title\n\n.include ../../secret\n.end\n")
    result = run("netlist", *arguments, "--output", "a.cir")
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert re.search(words, result.err)
    assert not (tmp_path / "a.cir").exists()


def test_a_testbench_cannot_have_the_name_of_its_network(run) -> None:
    result = run("netlist", "--layers", 2, 3, 1, "--form", "subcircuits", "--output", "a.lib")
    assert result.code == 2
    assert "a.lib" in result.err
    assert "FILE.cir" in result.err


@pytest.mark.skipif(shutil.which("gnucap") is None, reason="gnucap is not installed (Debian: apt install gnucap)")
def test_gnucap_solves_the_stored_file_as_the_page_says(tmp_path: Path) -> None:
    done = subprocess.run(
        ["gnucap", "-b", str(NETLISTS / "xor_gnucap.cir")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    written = re.search(r"`xor_gnucap.cir` gives (\S+) V", (NETLISTS / "README.md").read_text())
    assert written is not None
    assert float(done.stdout.split()[-1]) == pytest.approx(float(written[1]), rel=0, abs=5e-7)
