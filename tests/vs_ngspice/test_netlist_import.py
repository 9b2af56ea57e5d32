"""An imported netlist means the same to ngspice: its text in ngspice agrees with the network that is read from it."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import Clamp, NgspiceDiode, ResistiveNetwork, Shockley, SurrogateSolver, UserError
from eqprop_analog.devices import Antiparallel, Law
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.networks.resistive.netlist_import import read_netlist
from eqprop_analog.spice.netlist import static_netlist
from eqprop_analog.spice.reading.expressions import number
from eqprop_analog.spice.reading.statements import LOWER

INPUTS = np.array([[-0.7, 0.4]])
AGREE = 1e-10
"""Volts."""


def written(diode: Law | None = None, **settings: object) -> str:
    """A flat netlist in which every device matters: diodes conduct, and there are biases, a bias row and gains."""
    random = np.random.default_rng(0)
    network = ResistiveNetwork.dense(
        [2, 4, 2],
        0,
        diode=diode or NgspiceDiode(),
        amplifier_gain=4.0,
        bias_row=1.5,
        input_gain=2.0,
        bias=1e-8,
        **settings,
    )
    for matrix in network.conductances:
        matrix[...] = 10 ** random.uniform(-7.5, -6, matrix.shape)
    return static_netlist(compile_network(network, INPUTS, form="flat"))


TEXT = written()
PLACES = {
    "R": r"^(R1_1_2 xp_1 h1_2) \S+$",
    "V": r"^(Vxb xb 0) \S+$",
    "I": r"^(Ib1_2 0 h1_2) \S+$",
    "X": r"^(Xa1_\d h1_\d a1_\d amplifier) \S+$",
}
"""One device of each kind, or all amplifiers, which are equal; the value is the last word."""


def with_value(kind: str, value: str, before: str = "") -> str:
    """The text with another value of one device, and ``before`` inserted before it."""
    text, count = re.subn(PLACES[kind], lambda found: f"{before}{found[1]} {value}", TEXT, flags=re.MULTILINE)
    assert count == (4 if kind == "X" else 1)
    return text


def having(line: str, text: str = TEXT) -> str:
    """The text with one more line before the ``.control`` block."""
    return text.replace(".control", f"{line}\n.control", 1)


def in_ngspice(raw: bytes, tmp_path: Path) -> np.ndarray:
    path = tmp_path / "given.cir"
    path.write_bytes(raw)
    done = subprocess.run(
        ["ngspice", "-n", "-b", path.name], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    printed = dict(re.findall(r"^v\((o_\d)\) = (\S+)", done.stdout.decode("latin-1"), re.MULTILINE))
    return np.array([float(printed["o_0"]), float(printed["o_1"])])


def solved(raw: bytes, tmp_path: Path) -> np.ndarray:
    path = tmp_path / "given.txt"
    path.write_bytes(raw)
    read = read_netlist(path)
    return SurrogateSolver().solve(read.network, read.inputs).require().outputs[0]


def assert_alike(text: str | bytes, tmp_path: Path) -> np.ndarray:
    raw = text if isinstance(text, bytes) else text.encode()
    ours = solved(raw, tmp_path)
    np.testing.assert_allclose(ours, in_ngspice(raw, tmp_path), rtol=0, atol=AGREE)
    return ours


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("R", value) for value in (
            "3.71meg", "r=3.71meg", "R = 3.71MEG", "resistance=3.71meg", "3.71d6", "3.71D6", "3710kohm", "3.71megΩ",
            "3710k ; was 2meg",
            "3.71meg $was", "3.71meg,$was", "3.71meg // was", "3.71meg//was", "3.71meg ac=2 noisy=0", "7.42meg m=2",
            "1.855meg scale=2",
            "\n+ 3.71meg", "\n  * a comment\n\n + 3.71meg", "3.71e6x", "0.00371g", "3.71e9mil", "+3.71meg", ".371e7",
        )),
        *(("V", value) for value in (
            "2.5", "dc 2.5", "DC=2.5", "dc = 2.5 ac 1", "2.5 AC 1 90", "ac 1 dc 2.5", "2.5V", "dc 2.5 sin(0 1 1k)",
            "2.5 PULSE(0 1 0 1n 1n 1 2)",
            "2500m", "25e-1volt", "(2.5)", "2.5 distof1 0.1",
        )),
        *(("I", value) for value in ("0.052u", "0.052µ", "52nA", "dc 52n", "26n m=2", "ac 1 dc 52n", "0.052e-6")),
        *(("X", value) for value in ("gain=7", "GAIN = 7", "params: gain=7", "gain=7 offset=0 forward=1", "")),
    ],
)  # fmt: skip
def test_each_form_of_a_value_is_what_ngspice_reads(kind: str, value: str, tmp_path: Path) -> None:
    found = assert_alike(with_value(kind, value), tmp_path)
    if value not in ("3.71e9mil"):
        assert np.abs(found - solved(TEXT.encode(), tmp_path)).max() > 1e-6  # it matters


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (".param big=3.71meg", "{big}"),
        (".PARAM Big = 3.71meg", "{ BIG }"),
        (".param big=3.71meg", "big"),
        (".param big=3.71meg", "r=big"),
        (".param big=3.71meg", "'big'"),
        (".param one=1meg big={one*3.71}", "{big}"),
        (".param big={one*3.71} one=1meg", "{big}"),
        (".param big = 1meg + 2.71meg", "{big}"),
        (".param big='1meg+2.71meg'", "{big}"),
        (".param big=1\n.param big=3.71meg", "{big}"),
        (".param a=2", "{-(1-a)*3.71meg}"),
        (".param a=2", "{a^2**2*1meg/4 - 2**-1*580k}"),
        (".param a=2", "{(-a^2+8)/(a/3)*618.333k}"),
        (".param a=4", "{sqrt(a)*max(1,sqr(2))*min(1e6,463.75k)*abs(-1)}"),
        (".param a=4", "{exp(ln(a)+log(1))*pow(10,log10(927.5k))}"),
    ],
)
def test_a_parameter_is_what_ngspice_works_out(line: str, value: str, tmp_path: Path) -> None:
    assert_alike(with_value("R", value, before=f"{line}\n"), tmp_path)


@pytest.mark.parametrize("line", [
    "  * a comment that is indented", "$ a comment", "// a comment", "; a comment", ".op", ".save all", ".print op v(o_0)",
    ".nodeset v(o_0)=0.3",
    ".title another", ".width out=80", ".global gnd", ".options noacct", ".OPTION itl1=400 savecurrents",
    ".opt gminsteps=5", ".options klu",
])  # fmt: skip
def test_a_line_that_says_nothing_of_the_circuit_says_nothing(line: str, tmp_path: Path) -> None:
    assert np.array_equal(assert_alike(having(line), tmp_path), solved(TEXT.encode(), tmp_path))


DIODE = re.compile(r"(Xd\S+ \S+ \S+ diode) is=1e-09 n=1.0")
OTHERWISE = {
    "upper case": lambda text: text.upper().replace("V(O_", "v(o_"),
    "gnd": lambda text: text.replace(" 0 ", " GND "),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "tabs": lambda text: text.replace(" ", "\t").replace("print\tv", "print v"),
    "comments": lambda text: text.replace("* inputs", "* größe µ"),
    "no title": lambda text: "\n" + text,
    "no end": lambda text: text.replace(".end\n", ""),
    "brackets": lambda text: text.replace("R1_0_0 xp_0 h1_0", "R1_0_0 (xp_0, h1_0)"),
    "brackets of X": lambda text: text.replace("Xa1_0 h1_0 a1_0", "Xa1_0 ( h1_0 a1_0 )"),
    "turned round": lambda text: text.replace("R1_0_0 xp_0 h1_0", "R1_0_0 h1_0 xp_0"),
    "model": lambda text: text.replace(" D(IS={is} N={n} RS=0)", " d (is = { is }, n={n}, rs=0)"),
    "no params:": lambda text: text.replace(" params:", "").replace(".ends amplifier", ".ends"),
    "commands": lambda text: text.replace("set numdgt=15\nop\n", "set numdgt=15\nrun\nop\necho done\n"),
    "no n": lambda text: DIODE.sub(r"\1 is=1n", text),
    "no is": lambda text: DIODE.sub(r"\1", text),
    "expression": lambda text: DIODE.sub(r"\1 is={leak/2}", text).replace("\n.options", "\n.param leak=2n\n.options"),
}


@pytest.mark.parametrize("change", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_a_text_written_otherwise_is_the_same_circuit(change, tmp_path: Path) -> None:
    np.testing.assert_allclose(
        assert_alike(change(TEXT), tmp_path), solved(TEXT.encode(), tmp_path), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_encodings_that_ngspice_takes(encoding: str, tmp_path: Path) -> None:
    text = with_value("I", "0.052µ ; größe").replace("* inputs", "* größe")
    np.testing.assert_array_equal(
        assert_alike(text.encode(encoding), tmp_path), solved(with_value("I", "0.052u").encode(), tmp_path)
    )


JUNCTIONS = [NgspiceDiode(3e-10, 1.3), Antiparallel(NgspiceDiode(rail=-0.1)), Clamp(0.1)]
LINES = [
    (".temp 50",),
    (".temp -20",),
    (".TEMP = {hot}", ".param hot=61"),
    (".temp 50", ".options temp=30"),
    (".options temp=30", ".options temp=50"),
    (".options tnom=40",),
    (".options temp=10 tnom=40",),
    (".options gmin=1e-9",),
]


@pytest.mark.parametrize("law", JUNCTIONS)
@pytest.mark.parametrize("lines", LINES)
def test_temperatures_and_gmin_are_those_of_ngspice(law: Law, lines: tuple[str, ...], tmp_path: Path) -> None:
    text = written(law)
    for line in lines:
        text = having(line, text)
    assert_alike(text, tmp_path)


@pytest.mark.parametrize(("line", "above"), [(".temp 50", 23), (".temp -20", -47), (".options temp=10 tnom=40", -30)])
def test_a_shockley_junction_is_told_how_much_it_is_heated(line: str, above: int, tmp_path: Path) -> None:
    """Its subcircuit must have ``above``, kelvin above tnom; without it, it is not a Shockley junction, and is refused."""
    text = having(line, written(Shockley()))
    assert_alike(re.sub(r"^(Xd.*)$", rf"\1 above={above}", text, flags=re.MULTILINE), tmp_path)
    with pytest.raises(UserError, match=rf"above: expected {above}, .* got 0"):
        solved(text.encode(), tmp_path)


def test_every_number_is_ngspices_or_refused(tmp_path: Path) -> None:
    """One source per word in one run of ngspice; words are refused if ngspice reads them differently than they look."""
    scales = ["k", "K", "meg", "MEG", "mil", "m", "M", "u", "µ", "n", "p", "f", "t", "g", "me", "mi"]
    units = [
        "ohm",
        "V",
        "A",
        "Ω",
        "x",
        "megohm",
        "kΩ",
        "mV",
        "pF",
        "i",
        "l",
        "e",
        "em",
        "ek",
        "d",
        "de",
        "0",
        "k7",
        "µA",
    ]
    words = [
        mantissa + exponent + tail
        for mantissa in ("1", "-2.5", ".7", "+3.")
        for exponent in ("", "e3", "e-2", "E+1", "d2", "D1")
        for tail in ("", *scales, *units)
    ]
    known = {word: value for word in words if (value := number(word.translate(LOWER))) is not None}
    assert {word[1:] for word in words if word[0] == "1" and word not in known and word[1:2].isalpha()} >= {
        "em",
        "e",
        "k7",
        "d",
    }
    sources = [f"V{k} n{k} 0 {word}" for k, word in enumerate(known)]
    prints = [f"print v(n{k})" for k in range(len(known))]
    path = tmp_path / "numbers.cir"
    path.write_text("\n".join(["title", *sources, ".control", "set numdgt=15", "op", *prints, ".endc", ".end", ""]))
    done = subprocess.run(
        ["ngspice", "-n", "-b", path.name], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    printed = dict(re.findall(r"^v\(n(\d+)\) = (\S+)", done.stdout.decode("latin-1"), re.MULTILINE))
    assert len(printed) == len(known)
    for k, (word, value) in enumerate(known.items()):
        assert float(printed[str(k)]) == pytest.approx(value, rel=1e-13), word


def test_a_parameter_of_a_subcircuits_name_stays_outside_of_it(tmp_path: Path) -> None:
    names = ["is", "n", "dtemp", "gain", "forward", "back", "offset", "gmin", "above", "ron", "vth", "k_over_q"]
    for law in (NgspiceDiode(), Shockley(), Clamp(0.1)):
        text = having(".param " + " ".join(f"{name}=5" for name in names), written(law))
        np.testing.assert_array_equal(assert_alike(text, tmp_path), solved(written(law).encode(), tmp_path))
