"""Reading any netlist ends soon, with a network or a UserError; no program is run and no file is opened."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from edited_netlists import FREE, NUDGED
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import UserError
from eqprop_analog.networks.resistive.netlist_import import netlist_in_text, read_netlist

SYNTAX = [
    *(".param a={", ".param a={b} b={a}", ".param input_gain=-1", ".param nodes_per_class=3", ".param g_max=0"),
    *(
        ".param a=" + "(" * 99,
        ".param a=1e999",
        ".param a={1/0}",
        ".param a={exp(1e9)}",
        ".param =",
        ".param a",
        ".param a='1",
    ),
    *(
        ".param a={2^0.5^-1e308}",
        ".temp 50",
        ".temp 1500",
        ".temp -270",
        ".temp",
        ".temp {a}",
        ".options temp",
        ".options temp={a",
    ),
    *(
        ".options tnom=1e300",
        ".lib",
        ".include diode.lib",
        "+ m=2",
        "+ {a}",
        "+ '",
        "+ ac",
        "+ = =",
        "+ (",
        "$",
        "//",
        ";",
    ),
    *(".control", ".endc", ".subckt", ".ends"),
]
"""Possible errors in the statements of ngspice."""


@st.composite
def mutilated(draw: st.DrawFn) -> str:
    """A written netlist with lines removed, doubled, exchanged or garbled, or with others inserted."""
    lines = draw(st.sampled_from([FREE, NUDGED])).split("\n")
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        line, what = (
            lines[at],
            draw(st.sampled_from(["drop", "double", "swap", "cut", "word", "number", "insert", "character"])),
        )
        words = line.split()
        if what == "drop" and len(lines) > 1:
            del lines[at]
        elif what == "double":
            lines.insert(at, line)
        elif what == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], line
        elif what == "cut":
            lines[at] = line[: draw(st.integers(0, len(line)))]
        elif what == "word" and words:
            words[draw(st.integers(0, len(words) - 1))] = draw(
                st.sampled_from(draw(st.sampled_from(lines)).split() or ["x"])
            )
            lines[at] = " ".join(words)
        elif what == "number" and words:
            huge = st.sampled_from(
                ["1e999", "-0", "0", "nan", "inf", "1e-320", "999999999", "R1_999999999_0", "1e5000000"]
            )
            words[draw(st.integers(0, len(words) - 1))] = draw(st.one_of(huge, st.floats().map(repr)))
            lines[at] = " ".join(words)
        elif what == "insert":
            lines.insert(at, draw(st.one_of(st.text(max_size=40), st.sampled_from(SYNTAX))))
        else:
            k = draw(st.integers(0, len(line)))
            lines[at] = line[:k] + draw(st.characters()) + line[k + 1 :]
    return "\n".join(lines)


@given(st.one_of(mutilated(), st.text(), st.binary().map(lambda raw: raw.decode("latin-1"))))
@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "300")))
def test_any_text_is_a_network_or_is_refused_in_one_line(text: str) -> None:
    try:
        read = netlist_in_text(text)
    except UserError as error:
        assert len(str(error).split("\n")) == 1  # noqa: PT017 - either is right
    else:
        read.network.validate()
        assert read.network.check_inputs(read.inputs).shape == (1, read.network.layers[0])


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.cir"
    for raw in (b"\xff\xfe\x00R", b"PK\x03\x04" + bytes(range(256))):
        path.write_bytes(raw)
        with pytest.raises(UserError, match=r"a\.cir: not a readable netlist"):
            read_netlist(path)
    with pytest.raises(UserError, match="no such netlist"):
        read_netlist(tmp_path / "none.cir")


@pytest.mark.parametrize("character", [" ", "=", "+", "9", "$", ";", "\t", "\n", "a", "*"])
@pytest.mark.parametrize(
    "line", ["R1_0_0 xp_0 h1_0 1", ".param a", ".param a=1", ".param a={1", ".options temp=1", "* diodes: a"]
)
@pytest.mark.parametrize("end", ["x", "-", "}", "="])
def test_a_long_line_of_one_character_is_refused_soon(character: str, line: str, end: str) -> None:
    with pytest.raises(UserError):
        netlist_in_text(f"title\n{line}{character * 100_000}{end}")


def test_names_cannot_ask_for_all_memory() -> None:
    rows = "".join(f"Vxp_{i} xp_{i} 0 0\nVxn_{i} xn_{i} 0 0\n" for i in range(3000))
    outputs = "".join(f"R1_0_{k} xp_0 o_{k} 1\n" for k in range(3000))
    with pytest.raises(UserError, match="less than one cell in 1000"):
        netlist_in_text(f"title\n{rows}{outputs}")
    with pytest.raises(UserError, match=r"crossbars .* got 999999999"):
        netlist_in_text("title\nR999999999_0_0 a b 1\n")


@pytest.mark.parametrize(
    "hostile",
    [
        *(".include /etc/passwd", ".inc ../secret.lib", ".lib models.lib tt", ".exec touch owned", ".csparam a=1"),
        *(".control\nshell touch owned\n.endc", ".control\nsource other.cir\n.endc", ".include amplifier.lib.sh"),
        *(
            ".param x={system('touch owned')}",
            "A1 %v(a) model",
            ".model m d_process(process_file=touch)",
            ".pre_osdi x.osdi",
        ),
    ],
)
def test_a_hostile_line_is_refused_and_nothing_is_opened_or_run(
    hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.cir"
    path.write_text(FREE.replace(".control", f"{hostile}\n.control", 1))
    opened: list[str] = []
    read_text = Path.read_text

    def watched(file: Path, *arguments: Any, **settings: Any) -> str:
        opened.append(file.name)
        return read_text(file, *arguments, **settings)

    def forbidden(*_: Any, **__: Any) -> None:
        pytest.fail("a program was started")

    monkeypatch.setattr(Path, "read_text", watched)
    for module, name in ((subprocess, "Popen"), (os, "system"), (os, "fork")):
        monkeypatch.setattr(module, name, forbidden)
    with pytest.raises(UserError, match=r"line \d+: "):
        read_netlist(path)
    assert set(opened) <= {"hostile.cir", "diode.lib", "amplifier.lib"}
    assert [file.name for file in tmp_path.iterdir()] == ["hostile.cir"]
