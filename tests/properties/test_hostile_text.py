"""No text in a file runs a command in ngspice or controls a terminal."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog import (
    Antiparallel,
    GraphNetwork,
    HopfieldNetwork,
    NgspiceDiode,
    ResistiveNetwork,
    Shockley,
    UserError,
)
from eqprop_analog.cli import main
from eqprop_analog.devices import LAWS, Tabulated
from eqprop_analog.errors import NotMetError
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.files import packaged_circuits
from eqprop_analog.networks.graph.netlist import compile_graph
from eqprop_analog.networks.resistive.hierarchy import hierarchical_netlist
from eqprop_analog.plotting.style import drawing
from eqprop_analog.spice.netlist import static_netlist
from eqprop_analog.text import in_one_line, printable, shell_word

COMMANDS = "x\n.control\nshell touch ran\n.endc\n\x1b[31m"
Key = str | int


def graph() -> GraphNetwork:
    edges: nx.MultiGraph[int] = nx.MultiGraph()
    for tail in range(3):
        edges.add_edge(tail, tail + 1, conductance=1e-6)
    edges.add_edge(1, 2, anode=1)
    return GraphNetwork.from_graph(edges, [0], [2], {3: 0.0})


DEVICE = ".param x=1\n.model m d\n.subckt mine a c\n+ \nD1 a c m\n.ends mine"
MEASURED = Tabulated((-1.0, 0.0, 1.0), (-1e-9, 0.0, 2e-6), spice_text=DEVICE, spice_name="mine", spice_scale=1e-6)
NETWORKS = [
    ResistiveNetwork.dense([2, 3, 1], seed=0, diode=NgspiceDiode(), amplifier_gain=2.0, bias_row=1.0),
    ResistiveNetwork.dense([2, 3, 2], seed=0, diode=Antiparallel(Shockley(rail=-0.1)), outputs="pairs"),
    ResistiveNetwork.dense([2, 3, 1], seed=0, diode=MEASURED),
    graph(),
    HopfieldNetwork.dense([2, 3, 2], seed=0),
]


def places(value: Any, path: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
    """Paths in ``value`` to numbers, texts and empty lists."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    leaf = True
    for key, child in children:
        leaf = False
        yield from places(child, (*path, key))
    if leaf:
        yield path


def arrays_of(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("network", NETWORKS, ids=["resistive", "pairs", "measured", "graph", "hopfield"])
def test_spice_text_in_any_place_of_a_network_file_is_refused(network: Any, tmp_path: Path) -> None:
    network.save(tmp_path / "net.npz")
    arrays = arrays_of(tmp_path / "net.npz")
    whole = str(arrays["description"])
    for path in places(json.loads(whole)):
        description = json.loads(whole)
        *above, last = path
        table = description
        for key in above:
            table = table[key]
        table[last] = COMMANDS
        np.savez(tmp_path / "bad.npz", **(arrays | {"description": np.array(json.dumps(description))}))
        with pytest.raises(UserError) as refusal:
            type(network).load(tmp_path / "bad.npz")
        assert "\x1b" not in str(refusal.value), path


@pytest.mark.parametrize(
    "line",
    [
        ".control",
        "\t .CONTROL",
        ".controls",
        "*# shell touch ran",
        "* a comment",
        "",
        '.include "/etc/passwd"',
        ".lib x.lib tt",
        ".option gmin=1",
        ".tran 1n 1u",
        ".end",
        ".ends",
        "R1 a b 1k",
        "+ .control",
        ".subckt amplifier in out",
        ".param rail=1",
        "R1 a b 1\r.control",
    ],
)
@pytest.mark.parametrize("place", [0, 3, 5])
def test_the_text_of_a_measured_device_is_definitions_alone(line: str, place: int, tmp_path: Path) -> None:
    lines = [".param x=1", ".model m d", ".subckt mine a c", "D1 a c m", ".ends mine"]
    text = "\n".join([*lines[:place], line, *lines[place:]])
    if (line, place) in {("R1 a b 1k", 3), (".param rail=1", 3), ("+ .control", 3), ("+ .control", 5)}:
        replace(MEASURED, spice_text=text)  # inside the subcircuit, or a part of another statement
        return
    with pytest.raises(UserError, match="spice_text"):
        replace(MEASURED, spice_text=text)
    network = ResistiveNetwork.dense([2, 3, 1], seed=0, diode=MEASURED)
    network.save(tmp_path / "net.npz")
    arrays = arrays_of(tmp_path / "net.npz")
    description = str(arrays["description"]).replace(json.dumps(DEVICE), json.dumps(text))
    np.savez(tmp_path / "bad.npz", **(arrays | {"description": np.array(description)}))
    with pytest.raises(UserError, match="spice_text"):
        ResistiveNetwork.load(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spice_name": "mine\n.control"}, "spice_name"),
        ({"spice_name": "other"}, "subcircuit other"),
        ({"spice_scale": "1\n.control"}, "spice_scale"),
        ({"spice_scale": 0.0}, "spice_scale"),
        ({"spice_text": ".subckt mine a c\nA1 a c run\n.ends"}, "code model"),
        ({"spice_text": ".subckt mine a c\nD1 a c m"}, ".ends"),
        ({"as_device": "yes"}, "as_device"),
    ],
)
def test_nothing_else_of_a_measured_device_reaches_a_netlist_unchecked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(MEASURED, **changes)


class TrivialLaw:
    subcircuit = "trivial_law"


def test_no_subcircuit_of_a_measured_device_has_the_name_of_another_one_in_netlists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(LAWS._kinds, "trivial", TrivialLaw)
    packaged = {path.stem for path in packaged_circuits().glob("*.lib")}
    assert {"amplifier", "saturating_amplifier", "diode_rs"} <= packaged
    for name in (*packaged, "measured_device", "tabulated", "trivial_law"):
        with pytest.raises(UserError, match=f"got {name}$"):
            replace(MEASURED, spice_text=f"{DEVICE}\n.subckt {name.upper()} a c\nR1 a c 1\n.ends")


def test_a_network_file_with_refused_text_is_not_called_damaged(tmp_path: Path) -> None:
    ResistiveNetwork.dense([2, 3, 1], seed=0, diode=MEASURED).save(tmp_path / "net.npz")
    arrays = arrays_of(tmp_path / "net.npz")
    description = str(arrays["description"]).replace("D1 a c m", "A1 a c run")
    np.savez(tmp_path / "bad.npz", **(arrays | {"description": np.array(description)}))
    with pytest.raises(UserError, match=r"network file .*bad\.npz: .*code model") as refusal:
        ResistiveNetwork.load(tmp_path / "bad.npz")
    assert "damaged" not in str(refusal.value)


@pytest.mark.parametrize("name", ["N_1", "n 1", "n1\n", "", "0", "gnd", "n_é", "n-1", 3, None])
def test_a_node_has_a_name_that_means_the_same_in_spice(name: Any) -> None:
    network = graph()
    with pytest.raises(UserError, match="names"):
        replace(network, names=(name, *network.names[1:]))


def test_two_nodes_have_two_names() -> None:
    network = graph()
    with pytest.raises(UserError, match=f'"{network.names[1]}"'):
        replace(network, names=(network.names[1], *network.names[1:]))


@given(label=st.text() | st.integers() | st.tuples(st.text(), st.integers()))
def test_whatever_a_node_is_labelled_its_netlist_has_a_safe_name_for_it(label: Any) -> None:
    edges: nx.Graph[Any] = nx.Graph()
    edges.add_edge(("a", 1), label)
    edges.add_edge(label, ("b", 2))
    try:
        network = GraphNetwork.from_graph(edges, [("a", 1)], [label], {("b", 2): 0.0})
    except UserError as refusal:
        assert "rename" in str(refusal) or "connects it to itself" in str(refusal)  # noqa: PT017 - of two labels alike
        return
    text = static_netlist(compile_graph(network, np.ones((1, 1))))
    plain = static_netlist(compile_graph(replace(network, names=("p", "q", "r")), np.ones((1, 1))))
    assert len(text.splitlines()) == len(plain.splitlines())


@pytest.mark.parametrize("file", ['a"\n.control\nshell touch ran', "a\nb.lib", "a\x1b.lib", 'a".lib'])
def test_a_testbench_includes_no_file_whose_name_is_more_than_a_name(file: str) -> None:
    network = ResistiveNetwork.dense([2, 2], seed=0)
    with pytest.raises(UserError, match="include"):
        hierarchical_netlist(network, np.ones((1, 2)), (1e-8, np.zeros((1, 2))), file)


@given(st.text(st.characters()))
def test_printable_text_has_nothing_that_a_terminal_obeys_and_changes_nothing_else(text: str) -> None:
    shown = printable(text)
    kept = [one for one in shown if not one.isprintable() and one not in "\n\t"]
    assert all(one.isspace() for one in kept)
    assert not set(shown) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160)]))
    assert "\n" not in in_one_line(text)
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("kind", [UserError, NotMetError])
def test_an_error_quotes_escape_sequences_visibly(kind: type[Exception]) -> None:
    assert str(kind("got \x1b[2J")) == r"got \x1b[2J"


@pytest.mark.parametrize("key", ["description", "name"])
def test_a_specification_and_a_preset_have_printable_text(key: str, tmp_path: Path) -> None:
    (tmp_path / "fab.toml").write_text(f'{key} = "a\\u001b[2Jb"\n')
    with pytest.raises(UserError, match=key):
        Specification.load(str(tmp_path / "fab.toml"))
    with pytest.raises(UserError, match=key):
        resolve(str(tmp_path / "fab.toml"), {})


def test_no_matplotlibrc_changes_a_picture(tmp_path: Path) -> None:
    def picture(path: Path) -> bytes:
        with drawing(path, (2.0, 1.0)) as figure:
            figure.subplots().set_xlabel("V")
        return path.read_bytes()

    plain = picture(tmp_path / "plain.png")
    with mpl.rc_context({"text.usetex": True, "font.size": 20.0, "savefig.facecolor": "red"}):
        assert picture(tmp_path / "other.png") == plain
        assert mpl.rcParams["font.size"] == 20.0


@pytest.mark.parametrize("word", ["\x1b[2J", "\u202e", "\r"])
def test_no_command_sends_a_terminal_what_a_file_or_an_argument_says(word: str, capfd: Any, tmp_path: Path) -> None:
    ResistiveNetwork.dense([2, 2], seed=0).save(tmp_path / "net.npz")
    arrays = arrays_of(tmp_path / "net.npz")
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        description = json.loads(str(arrays["description"])) | {"format": f"a{word}b"}
        np.savez(Path(folder) / "bad.npz", **(arrays | {"description": np.array(json.dumps(description))}))
        lines = (
            ["-v", "simulate", "--network", f"{folder}/bad.npz"],
            ["simulate", "--network", f"{folder}/{word}.npz"],
            ["simulate", "--form", word],
            ["train", "--preset", word],
        )
        for line in lines:
            try:
                assert main(line) == 2
            except SystemExit as end:
                assert end.code == 2  # noqa: PT017 - argparse's way
    out, err = capfd.readouterr()
    assert word not in out + err.replace("\r\n", "\n")


@pytest.mark.parametrize("name", ["$(touch ran)", "a b", "-b", "x'\"y;z", "a\nb"])
def test_a_command_line_to_copy_names_the_file_and_does_no_more(name: str, tmp_path: Path) -> None:
    """Oracle: a shell."""
    shown = subprocess.run(
        ["sh", "-c", f"printf %s {shell_word(name)}"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert shown == (f"./{name}" if name.startswith("-") else name)
    assert not list(tmp_path.iterdir())


def test_a_netlist_is_run_by_the_command_that_is_shown(
    tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["netlist", "--layers", "2", "2", "--output", "./$(touch ran).cir"]) == 0
    assert "'$(touch ran).cir'" in capfd.readouterr().out


def test_an_error_is_one_line_that_can_be_read(capfd: Any, tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(f'model = "{"x" * 10**5}"\n')
    for line in (
        ["verify", f"{tmp_path}/a\nerror: b.npz"],
        ["simulate", "--network", "a\nerror: b"],
        ["presets", str(tmp_path / "long.toml")],
    ):
        assert main(line) == 2
        err = capfd.readouterr().err
        assert err.count("\n") == 1
        assert len(err) < 10**4


@pytest.mark.parametrize("layers", [[2**63, 8, 10], [64, 10**400, 10], [64, 8, 10**19]])
def test_a_count_that_no_array_has_is_refused(layers: list[int]) -> None:
    with pytest.raises(UserError, match="layers"):
        resolve("own-shape", {"dataset": "digits", "layers": layers})
