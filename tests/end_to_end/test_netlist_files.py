"""The netlists that people take away: golden files, their way back, and what is refused."""

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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--network", "bad.cir"), r"bad\.cir, line 3: not understood.*\.include|bad\.cir, line 3: only packaged"),
        (("--network", "none.cir"), "none.cir: no such netlist"),
        (("--network", NETLISTS / "xor_bench.cir"), "a testbench is not read back"),
        (("--network", FREE, "--layers", 2, 3, 1), "disagrees with"),
        (("--layers", 2, 3, 1, "--form", "subcircuits", "--dialect", "gnucap"), "gnucap cannot measure o_0 in two phases"),
        (("--layers", 2, 3, 1, "--model", "hopfield", "--form", "subcircuits"), "is of resistive networks"),
        (("--layers", 2, 3, 1, "--model", "hopfield", "--dialect", "gnucap"), "gnucap has no behavioural sources"),
        (("--layers", 2, 3, 1, "--specification", "everything", "--dialect", "ltspice"), "a chip's netlist is flat or norton"),
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
    assert "call the testbench FILE.cir" in result.err


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
