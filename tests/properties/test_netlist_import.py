"""A written netlist is read as the same network, whose netlist is the same text; manual edits have their effect."""

import re
from typing import Any

import numpy as np
import pytest
from edited_netlists import BY_HAND, FREE, NUDGED, edited, line_of
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import HopfieldNetwork, ResistiveNetwork, UserError
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley, Tabulated
from eqprop_analog.networks.hopfield.netlist import compile_hopfield
from eqprop_analog.networks.resistive.hierarchy import hierarchical_netlist
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.networks.resistive.netlist_import import Given, netlist_in_text
from eqprop_analog.spice.netlist import static_netlist

numbers = st.floats(-1e3, 1e3)
currents = st.floats(1e-13, 1)
laws = st.one_of(
    st.builds(NgspiceDiode, currents, st.floats(0.5, 3), numbers, st.floats(-100, 200), st.floats(0, 1e-9)),
    st.builds(Shockley, currents, st.floats(0.5, 3), numbers, st.floats(-100, 200)),
    st.builds(Clamp, numbers, st.one_of(st.just(0.0), st.floats(1e-12, 1e12))),
    st.builds(PiecewiseLinear, numbers.filter(bool), st.floats(1e-6, 1), st.floats(1, 1e20), numbers),
    st.builds(
        lambda start, steps, rail: Tabulated(
            *(tuple(np.cumsum(column).tolist()) for column in zip(start, *steps, strict=True)), rail
        ),
        st.tuples(st.floats(-2, 2), st.floats(-1e-3, 1e-3)),
        st.lists(
            st.tuples(st.floats(1e-6, 1), st.one_of(st.just(0.0), st.floats(1e-18, 1e-15), st.floats(1e-15, 1e-2))),
            min_size=1,
            max_size=9,
        ),
        numbers,
    ),
)


def paired(law: Law) -> Law:
    """Two of them, if two are allowed."""
    return law if isinstance(law, Clamp) and law.rail >= 0 else Antiparallel(law)


@st.composite
def written(draw: st.DrawFn) -> tuple[ResistiveNetwork, np.ndarray, Any]:
    """A network, an input vector and a nudge or None."""
    layers = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    pairs = draw(st.booleans()) and layers[-1] % 2 == 0
    network = ResistiveNetwork.dense(
        layers,
        0,
        diode=draw(laws.map(paired) | laws),
        amplifier_gain=draw(
            st.lists(st.sampled_from([1.0, 4.0, 10.0, 1 / 3]), min_size=len(layers) - 2, max_size=len(layers) - 2)
        ),
        input_gain=draw(st.sampled_from([1.0, 10.0, 1 / 3, 0.1234567890123])),
        bias=draw(st.sampled_from([0.0, 1e-8])),
        bias_row=draw(st.sampled_from([0.0, -2.0, 1 / 3])),
        outputs="pairs" if pairs else "single",
        conductance_window=draw(st.sampled_from([(0.0, 1e-4), (1e-13, 1 / 3)])),
    )
    for matrix in network.conductances:
        rows, columns = matrix.shape
        empty = random.random(matrix.shape) < 0.3
        empty[random.integers(rows, size=columns), np.arange(columns)] = False
        matrix[...] = np.where(empty, 0, 10 ** random.uniform(-12, -2, matrix.shape))
    for bias in network.biases:
        bias[...] = random.normal(size=bias.shape) * random.integers(0, 2, bias.shape) * 1e-8
    inputs = draw(st.sampled_from([random.uniform(-1, 1, layers[0]), np.zeros(layers[0]), -np.zeros(layers[0])]))
    g = draw(st.sampled_from([None, 0.0, 1e-9, 1 / 3 * 1e-3]))
    injection = None if g is None else (g, (g or 1e-7) * random.normal(size=(1, layers[-1])))
    return network, inputs[None], injection


@given(written())
@settings(max_examples=150)
def test_netlist_to_network_to_netlist_is_identical_text(case: tuple[ResistiveNetwork, np.ndarray, Any]) -> None:
    network, inputs, injection = case
    text = static_netlist(compile_network(network, inputs, [injection], "flat"))
    read = netlist_in_text(text)
    if network.depth > 1 or not isinstance(getattr(network.diode, "law", network.diode), Tabulated):
        assert static_netlist(compile_network(read.network, read.inputs, [read.injection], "flat")) == text
    assert read.network.layers == network.layers
    assert read.network.outputs == network.outputs
    assert read.network.input_gain == network.input_gain
    assert read.network.conductance_window == network.conductance_window
    assert read.notes == ()
    np.testing.assert_allclose(read.inputs, inputs, rtol=1e-15, atol=0)
    for ours, theirs in zip(read.network.conductances, network.conductances, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-15, atol=0)
        assert np.array_equal(ours == 0, theirs == 0)
    for ours, theirs in zip(read.network.biases, network.biases, strict=True):
        assert np.array_equal(ours, theirs)
    if network.depth > 1:
        assert read.network.diode == network.diode


@pytest.mark.parametrize(
    ("ohms", "siemens"),
    [
        ("2meg", 1 / 2e6),
        ("2.5K", 1 / 2.5e3),
        ("4MegOhm", 1 / 4e6),
        ("1e6", 1e-6),
        ("0.5G ; was 1G", 2e-9),
        ("3m $ old", 1 / 3e-3),
    ],
)
def test_a_changed_resistor_is_another_conductance(ohms: str, siemens: float) -> None:
    found = netlist_in_text(edited(r"^(R1_2_3 xn_0 h1_3) \S+$", rf"\1 {ohms}")).network.conductances
    expected = [matrix.copy() for matrix in BY_HAND.conductances]
    expected[0][2, 3] = siemens
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-15)


def test_a_removed_resistor_is_no_conductance_and_a_removed_bias_no_current() -> None:
    network = netlist_in_text(edited(r"^R2_1_0 .*\n", "", edited(r"^Ib1_2 .*\n", ""))).network
    assert network.conductances[1][1, 0] == network.biases[0][2] == 0
    assert np.count_nonzero(BY_HAND.conductances[1]) == np.count_nonzero(network.conductances[1]) + 1


def test_order_case_blanks_comments_and_continued_lines_say_nothing() -> None:
    title, *lines = FREE.split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("Vxp_0"))
    end = lines.index(".control")
    devices = [line for line in lines[start:end] if line and line[0] != "*"]
    shuffled = np.random.default_rng(0).permutation(devices).tolist()
    split = [line.upper().replace(" ", "  \n+\t", 1).replace("=", " = ") + " ; by hand" for line in shuffled]
    swapped = [re.sub(r"^(R1_0_0) (\S+) (\S+)", r"\1 \3 \2", line) for line in split]
    text = "\r\n\n".join([title, *lines[:start], "* a comment", *swapped, *lines[end:]])
    read = netlist_in_text(text)
    assert static_netlist(compile_network(read.network, read.inputs, form="flat")) == FREE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"^R1_0_0 (.*)$", r"R1_0_0 \1 tc1=0 tc2=0 dtemp=5"),
        (r"^Ib1_0 0 h1_0 (.*)$", r"Ib1_0 h1_0 0 -\1"),
        (r"^Vxb xb 0 (.*)$", r"Vxb 0 xb -\1"),
        (r"^\.control$", ".tran 1n 1u\n.dc Vxp_0 -1 1 0.1\n.sens v(o_0)\n.meas op y find v(o_0)\n.control"),
        (r"^op$", "op\nlet p = v(o_0)*2\ndc Vxp_0 -1 1 0.1\nwrdata out.txt v(o_0)\nplot v(o_0)"),
        (r"^\.end$", ".end\n* notes\n.END"),
    ],
)
def test_what_leaves_the_operating_point_as_it_is_may_be_added(old: str, new: str) -> None:
    network, changed = netlist_in_text(FREE).network, netlist_in_text(edited(old, new)).network
    for one, other in zip(
        (*network.conductances, *network.biases), (*changed.conductances, *changed.biases), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert changed.bias_row == network.bias_row


def test_amplifiers_of_gain_one_may_stand_there() -> None:
    changed = netlist_in_text(FREE.replace("gain=4.0", "gain=1"))
    assert changed.network.amplifier_gain == (1.0,)
    np.testing.assert_array_equal(changed.network.conductances[1], netlist_in_text(FREE).network.conductances[1])


def test_the_nudge_and_the_input_are_read_too() -> None:
    read = netlist_in_text(edited(r"^Vy_0 y_0 0 \S+$", "Vy_0 y_0 0 DC 0.25", NUDGED))
    assert read.injection is not None
    assert read.injection[0] == pytest.approx(1e-8)
    np.testing.assert_allclose(read.injection[1], [[0.25e-8]])
    np.testing.assert_array_equal(read.inputs, [[-1.0, 1.0]])
    assert netlist_in_text(FREE).injection is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (r"^R1_0_0 .*$", "R1_0_0 xp_1 h1_0 1e6", r"expected the nets xp_0 and h1_0"),
        (r"^R1_0_0 .*$", "R1_0_0 xp_0 h1_0 -1e6", r"expected a resistance of at least 1e-15 ohm"),
        (r"^R1_0_0 .*$", "R1_0_0 xp_0 h1_0 1e6 tc=1", r"expected the nets xp_0 and h1_0, and ohms"),
        (r"^R1_0_0 .*$", "R1_0_0 xp_0 h1_0 {r}", r'expected a number .*, got "\{r\}"'),
        (r"^R1_0_0 .*$", "R1_9_0 xp_9 h1_0 1e6", r"crossbar 1 has rows 0 to 4 and columns 0 to 3"),
        (r"^(R1_1_1) .*$", "R1_0_0 xp_1 h1_1 1e6", r"r1_0_0 .*already .*in line"),
        (r"^R1_0_0 .*$", "Rextra xp_0 h1_0 1e6", r"not understood; expected a device of a flat netlist"),
        (r"^R1_0_0 .*$", "C1 h1_0 0 1p", r"not understood; .*leave out .* over time; expected a device"),
        (r"^Xd1_0 .*$", "D1 rail_p h1_0 dm", r"not understood; write a diode as Xd<l>_<j> .*expected a device"),
        (r"^Xa1_0 .*$", "Ea1_0 a1_0 0 h1_0 0 4", r"not understood; write an amplifier, .* as Xa<l>_<j> .*expected a device"),
        (r"^Vxp_0 .*$", "Vxp_0 xp_0 0 3", r"expected both Vxp_0 and Vxn_0, one minus the other"),
        (r"^Vxb .*$", "Vxb xb 0 0", r"a bias row at 0 V"),
        (r"^Ib1_0 .*$", "Ib1_0 h1_1 0 1n", r"expected the nets 0 and h1_0"),
        (r"^Ib1_0 .*$", "Ib1_7 0 h1_7 1n", r"does not exist"),
        (r"^Xd1_0 .*$", "Xd1_0 h1_0 rail_n diode is=1e-09 n=1.0", r"expected the nets rail_p and h1_0"),
        (r"^Xd1_1 .*$", "Xd1_1 rail_p h1_1 diode is=2e-09 n=1.0", r"all diodes of a network are equal"),
        (r"^Xd1_0 .*$", "Xd1_0 rail_p h1_0 zener is=1e-09 n=1.0", r"there is no \.subckt zener"),
        (r"^Xd1_0 .*$", "Xd1_0 rail_p h1_0 diode is=1e-09 area=2", r"expected one of the diodes: .*diode with is, n"),
        (r"^Xd1_0 .*$", "Xd1_0 rail_p h1_0 diode is=1e-09 dtemp=3", r"dtemp: expected 0, as for all diodes of a network"),
        (r"^Xd1_0 .*$", "Xd1_0 rail_p h1_0 diode is=-1e-09 n=1.0", r"saturation_current must be between"),
        (r"^Xa1_0 .*$", "Xa1_0 h1_0 a1_0 amplifier gain=4.0 offset=1", r"expected h1_0 and a1_0, amplifier, gain="),
        (r"^Xa1_1 .*$", "Xa1_1 h1_1 a1_1 amplifier gain=5.0", r"expected one gain for all amplifiers of a layer"),
        (r"^(\.options .*)$", r"\1 rshunt=1e12", r'option "rshunt" is not understood, or changes the circuit'),
        (r"^(\.options .*)$", r"\1 measdgt=15", r"this netlist is for LTspice, .*--dialect ngspice"),
        (r"^\.options .*$", ".options device temp=27", r"this netlist is for Xyce, .*--dialect ngspice"),
        (r"^(\.options .*)$", r"\1 short=1e-05", r"this netlist is for gnucap, .*--dialect ngspice"),
        (r"^\.control$", ".backanno\n.control", r"this netlist is for LTspice"),
        (r"^\.control$", ".global_param a=1\n.control", r"this netlist is for Xyce"),
        (r"^\.control$", "simulator lang=spectre\n.control", r"this netlist is for Spectre"),
        (r"^\.control$", "Rn1_0 h1_0 0 1k\n.control", r"the Norton form has only the sums of crossbar 1"),
        (r"^\.control$", ".temp 50 60\n.control", r"expected one temperature in degrees Celsius"),
        (r"^\.control$", ".temp -300\n.control", r"temp: expected degrees Celsius within -270 and 1500, got -300"),
        (r"^\.control$", ".param a={b}\n.control", r"\.param a is not understood \(there is no \.param b\)"),
        (r"^\.control$", ".param a={b} b={a}\n.control", r"\.param a is not understood .*depends on itself"),
        (r"^\.control$", ".param a=1, b=2\n.control", r"a value of \.param a, and no commas"),
        (r"^\.control$", ".param a={1/0}\n.control", r"\.param a is not understood"),
        (r"^\.control$", ".param a={(-2)^2}\n.control", r"a negative number to a power"),
        (r"^R1_0_0 .*$", "R1_0_0 xp_0 h1_0 1d+6", r'expected a number .*, got "1d\+6"'),
        (r"^R1_0_0 .*$", "R1_0_0 xp_0 h1_0 5μ", r'expected a number .*, got "5μ"'),
        (r"^R1_0_0 .*$", "R1_0_0 xp_0 h1_0 4k7", r'expected a number .*, got "4k7"'),
        (r"^R1_0_0 .*$", "R1_0_0 xp_0 h1_0 resistor 1e6", r"expected the nets xp_0 and h1_0, and ohms"),
        (r"^R1_0_0 .*$", "R1_0_0 xp_0\xa0h1_0 1e6", r"expected the nets xp_0 and h1_0"),
        (r"^Vxb .*$", "Vxb xb 0 SIN(0 1 1k)", r"a function of time without a dc value"),
        (r"^Vxb .*$", "Vxb xb 0 1.5 r=2", r"expected the nets xb and 0, and a number"),
        (r"^Vrail_n .*$", "Vrail_n rail_n 0 -0.3", r"expected Vrail_p and Vrail_n, one minus the other; got 0.2 V and -0.3 V"),
        (r"^D1 anode.*$", "D1 anode cathode junction area=2", r"subcircuit diode differs"),
        (r"^\.end$", ".end\nR9_0_0 a b 1", r"text after \.end"),
        (r"^\.control$", ".func f(x) {x}\n.control", r"not understood; expected \.options, \.subckt, \.control"),
        (r"^op$", "alter vxp_0 dc = 0.5", r"commands are not executed; expected the \.control block"),
        (r"^op$", "option temp=50", r"commands are not executed; expected the \.control block"),
        (r"^op$", "shell touch owned", r"commands are not executed; expected the \.control block"),
        (r"^\.endc\n", "", r"this block has no end"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_its_line(old: str, new: str, words: str) -> None:
    text = edited(old, new)
    with pytest.raises(UserError, match=words) as refused:
        netlist_in_text(text, "edited.cir")
    assert len(str(refused.value).splitlines()) == 1
    assert str(refused.value).startswith("edited.cir, line ")
    part = new.split("\n")[-1 if ".end\n" in new else 0].replace(r"\1", "").strip()
    if part and "endc" not in old:
        assert str(refused.value).startswith(f"edited.cir, line {line_of(text, part)}: ")


@pytest.mark.parametrize(
    ("old", "words"),
    [
        (r"^Vxn_1 .*\n", r"line \d+: expected both Vxp_1 and Vxn_1"),
        (r"^Xd1_1 .*\n", r"Xd1_1 is missing, a diode rail_p h1_1"),
        (r"^Xd1_3 .*\n", r"Xd1_3 is missing, a diode h1_3 rail_n"),
        (r"^Xa1_0 .*\n", r"amplifiers Xa1_j: expected .*from 0, .*at least one; got 1, 2, 3"),
        (r"^Vrail_n .*\n", r"expected Vrail_p and Vrail_n, one minus the other"),
        (r"^Rnudge_0 .*\n", r"expected a nudge Vy_k and Rnudge_k"),
        (r"^R2_0_0 (.|\n)*?\nIb2_0", r"expected a diode of layers 1 to 0"),
    ],
)
def test_what_is_missing_is_named(old: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        netlist_in_text(edited(old, "Ib2_0" if "Ib2" in old else "", NUDGED))


def test_a_packaged_subcircuit_may_be_included_by_its_name() -> None:
    text = re.sub(r"^\.subckt diode(.|\n)*?^\.ends diode$", '.include "diode.lib"', FREE, flags=re.MULTILINE)
    assert "subckt diode" not in text
    read = netlist_in_text(text)
    np.testing.assert_allclose(read.network.conductances[0], BY_HAND.conductances[0], rtol=1e-15)
    assert ["diode.lib" in note and "packaged" in note for note in read.notes] == [True]


@pytest.mark.parametrize("line", ["Vxp_0 xp_0 0 1", ".options reltol=1e-11", "* Input gain 1 V a unit"])
def test_a_first_line_that_is_no_title_is_told_not_to_be_read(line: str) -> None:
    _, rest = FREE.split("\n", 1)
    notes = netlist_in_text(f"{line}\n{rest}").notes
    assert [line in note for note in notes] == [True] * (line[0] != "*")


GAINED = ResistiveNetwork.dense([2, 3, 2], 0, input_gain=10.0, outputs="pairs", conductance_window=(1e-9, 1e-5))
STATED = static_netlist(compile_network(GAINED, np.array([[0.1, -0.2]]), form="flat"))
UNCOMMENTED = re.sub(r"^\*.*\n", "", STATED.partition("\n")[2], flags=re.MULTILINE)


@pytest.mark.parametrize(
    "text",
    [STATED, STATED.upper(), f"a title\n{UNCOMMENTED}", f"A TITLE\n{UNCOMMENTED.upper()}"],
    ids=["as written", "upper case", "no comments", "no comments, upper case"],
)
def test_gain_outputs_and_window_survive_the_case_and_the_comments(text: str) -> None:
    read = netlist_in_text(text)
    assert (read.network.input_gain, read.network.outputs) == (10.0, "pairs")
    assert read.network.conductance_window == (1e-9, 1e-5)
    assert read.notes == ()
    np.testing.assert_allclose(read.inputs, [[0.1, -0.2]], rtol=1e-15)


SILENT = re.sub(r"^\.param .*\n", "", f"a title\n{UNCOMMENTED}", flags=re.MULTILINE)


def test_what_a_file_does_not_say_is_assumed_aloud(caplog: pytest.LogCaptureFixture) -> None:
    read = netlist_in_text(SILENT, "silent.cir")
    assert (read.network.input_gain, read.network.outputs) == (1.0, "single")
    assert read.network.conductance_window == (0.0, 1e-4)
    np.testing.assert_allclose(read.inputs, [[1.0, -2.0]])
    options = ("--input-gain", "--outputs", "--conductance-window")
    for option, note, logged in zip(options, read.notes, caplog.messages, strict=True):
        assert option in note
        assert logged == f"silent.cir: {note}"


def test_older_files_say_the_gain_and_the_pairs_in_comments_of_any_case() -> None:
    older = re.sub(r"^\.param .*\n", "", STATED, flags=re.MULTILINE)
    for text in (older, older.upper()):
        read = netlist_in_text(text)
        assert (read.network.input_gain, read.network.outputs) == (10.0, "pairs")
        assert len(read.notes) == 1


def test_the_user_says_what_a_file_does_not_and_nothing_else() -> None:
    read = netlist_in_text(SILENT, given=Given(10.0, "pairs", (1e-9, 1e-5)))
    assert (read.network.input_gain, read.network.outputs) == (10.0, "pairs")
    assert read.network.conductance_window == (1e-9, 1e-5)
    assert read.notes == ()
    assert netlist_in_text(STATED, given=Given(10.0, "pairs", (1e-9, 1e-5))).notes == ()
    for other in (Given(input_gain=5.0), Given(outputs="single"), Given(conductance_window=(0.0, 1e-5))):
        with pytest.raises(UserError, match=r"is given as .* and .*; keep only one"):
            netlist_in_text(STATED, given=other)
    for other in (Given(input_gain=0.0), Given(input_gain=np.inf), Given(conductance_window=(1e-3, 1e-5))):
        with pytest.raises(UserError, match=r"gain|window"):
            netlist_in_text(SILENT, given=other)


def test_other_forms_are_refused_with_the_reason() -> None:
    norton = static_netlist(compile_network(BY_HAND, np.array([[-1.0, 1.0]])))
    files = hierarchical_netlist(BY_HAND, np.array([[-1.0, 1.0]]), (1e-8, np.zeros((1, 1))), "a.lib")
    hopfield = static_netlist(compile_hopfield(HopfieldNetwork.dense([2, 2, 1], 0), np.zeros((1, 2))))
    for text, words in (
        (norton, "the Norton form has only the sums of crossbar 1"),
        (files.testbench, "a testbench cannot be read back"),
        (files.network, "subcircuits cannot be read back"),
        (hopfield, "a Hopfield network's netlist cannot be read back"),
        ("", "expected .*from 1"),
    ):
        with pytest.raises(UserError, match=words):
            netlist_in_text(text)
