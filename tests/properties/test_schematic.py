"""A schematic shows the netlist: its devices and their connections."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import networkx as nx
import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork
from eqprop_analog.devices import Antiparallel, NgspiceDiode
from eqprop_analog.errors import UserError
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.netlist import compile_hopfield
from eqprop_analog.networks.hopfield.netlist import with_capacitances as hopfield_with_capacitances
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.resistive.netlist import compile_network, with_capacitances
from eqprop_analog.plotting import schematic as module
from eqprop_analog.plotting.crossbars import coarsened, crossbar_maps
from eqprop_analog.plotting.schematic import Picture, drawable, schematic
from eqprop_analog.plotting.sheet import Sheet
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.elements import GROUND
from eqprop_analog.spice.netlist import static_netlist
from eqprop_analog.spice.parts import parts

SVG = ".//{*}text"


def resistive(layers: list[int], form: str = "flat", *, nudged: bool = True, **settings: Any) -> Circuit:
    network = ResistiveNetwork.dense(layers, 1, bias=1e-9, **settings)
    targets = np.eye(1, network.classes)
    injection = None
    if nudged:
        injection = (1e-8, 1e-8 * targets) if network.outputs == "single" else (0.0, np.full((1, layers[-1]), 1e-9))
    return compile_network(network, np.full((1, layers[0]), 0.5), [injection], form)


def hopfield(layers: list[int], cost: str | None = None, **settings: Any) -> Circuit:
    network = HopfieldNetwork.dense(layers, 1, initial="fan-in", **settings)
    inputs = np.full((1, layers[0]), 0.5)
    equations = HopfieldEquations.of(network, inputs)
    if cost:
        kind = "conductance" if cost == "squared-error" else "feedback"
        equations = equations.nudged([Nudge(np.eye(1, network.classes), 0.5, kind, cost)], None)
    return hopfield_with_capacitances(compile_hopfield(network, inputs, equations, "flat"), network, 1e-12)


def with_charge() -> Circuit:
    network = ResistiveNetwork.dense([2, 3, 2], 1, amplifier_gain=2.0)
    return with_capacitances(compile_network(network, np.ones((1, 2)), [None], "flat"), network, (1e-12, 2e-12))


CIRCUITS: dict[str, Callable[[], Circuit]] = {
    "a xor network": lambda: compile_network(
        ResistiveNetwork.load(Path(__file__).parents[2] / "netlists" / "xor.npz"),
        np.ones((1, 2)),
        [(1e-8, np.ones((1, 1)))],
    ),
    "one crossbar": lambda: resistive([3, 2]),
    "no amplifiers": lambda: resistive([2, 4, 2], nudged=False),
    "amplifiers, a bias row": lambda: resistive([2, 3, 2], amplifier_gain=3.0, bias_row=1.0),
    "antiparallel diodes": lambda: resistive([2, 3, 1], diode=Antiparallel(NgspiceDiode()), amplifier_gain=2.0),
    "pairs of outputs": lambda: resistive([2, 3, 4], outputs="pairs"),
    "three hidden layers": lambda: resistive([2, 3, 4, 3, 2], amplifier_gain=[2.0, 1.0, 3.0]),
    "Norton form": lambda: resistive([5, 3, 2], "norton", amplifier_gain=2.0),
    "capacitances": with_charge,
    "Hopfield": lambda: hopfield([3, 3, 2]),
    "Hopfield, nudged": lambda: hopfield([3, 4, 2], "squared-error"),
    "Hopfield, untied, cross-entropy": lambda: hopfield([2, 3, 3, 2], "cross-entropy", untied=True),
}


def in_netlist(circuit: Circuit) -> set[str]:
    """Names of the devices of a netlist's text, without those inside its subcircuits."""
    names, inside = set(), False
    for line in static_netlist(circuit).split(".control", maxsplit=1)[0].splitlines():
        if line.startswith(".subckt"):
            inside = True
        elif line.startswith(".ends"):
            inside = False
        elif line and line[0] not in ".*" and not inside:
            names.add(line.split()[0])
    return names


class Recorder(Sheet):
    """A sheet that records the position of every item."""

    last: "Recorder"

    def __init__(self, axes: Any) -> None:
        super().__init__(axes)
        Recorder.last = self
        self.wires: list[tuple[Any, Any]] = []
        self.ends: list[tuple[str, int, Any]] = []
        self.named: list[tuple[str, Any]] = []
        self.texts: list[str] = []
        self.triangles: list[Any] = []

    def wire(self, *points: Any) -> None:
        super().wire(*points)
        self.wires += pairwise(points)

    def text(self, at: Any, text: str, *how: Any, **more: Any) -> None:
        super().text(at, text, *how, **more)
        self.texts.append(text)

    def symbol(self, part: Any, begin: Any, end: Any) -> None:
        super().symbol(part, begin, end)
        self.ends += [(part.name, 0, begin), (part.name, 1, end)]

    def controlled(self, name: str, begin: Any, end: Any, label: str, *, current: bool) -> None:
        super().controlled(name, begin, end, label, current=current)
        self.ends.append((name, 0 if current else 1, begin))

    def terminal(self, net: str, at: Any, side: str = "right") -> None:
        super().terminal(net, at, side)
        self.named.append((net, at))

    def outline(self, *points: Any) -> None:
        super().outline(*points)
        (ax, ay), (bx, by), tip = points
        self.triangles.append([((ax + bx) / 2, (ay + by) / 2), tip])

    def bubble(self, at: Any) -> None:
        super().bubble(at)
        self.triangles[-1].append(at)


@dataclass(frozen=True)
class Drawn:
    circuit: Circuit
    picture: Picture
    named: list[str]
    """All text in the SVG."""
    sheet: Recorder


@pytest.fixture(scope="module", params=CIRCUITS.values(), ids=CIRCUITS)
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    circuit, path = request.param(), tmp_path_factory.mktemp("drawn") / "circuit.svg"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Sheet", Recorder)
        picture = schematic(circuit, path)
    return Drawn(circuit, picture, [str(text.text) for text in ET.parse(path).iterfind(SVG)], Recorder.last)


def test_it_shows_every_device_of_the_netlist_and_no_other(drawn: Drawn) -> None:
    devices = in_netlist(drawn.circuit)
    assert drawn.picture.drawn == devices
    assert not drawn.picture.missing
    assert f"{len(devices)} devices in the netlist, all drawn" in drawn.picture.caption
    assert devices <= set(drawn.named)
    assert {name for name in drawn.named if name[0] in "RVIC" and not name[1:].strip("_0123456789")} <= devices


def on(point: Any, wire: tuple[Any, Any], within: float) -> bool:
    p, a, b = (np.array(each, float) for each in (point, *wire))
    along = np.clip((p - a) @ (b - a) / max((b - a) @ (b - a), 1e-12), 0, 1)
    return bool(np.linalg.norm(p - a - along * (b - a)) < within)


def touches(sheet: Recorder, loose: set[str]) -> "nx.Graph[Any]":
    """Ends of devices, names of nets and wires (by number) at the same place; for ``loose`` devices, nearly at the same place."""
    touching: nx.Graph[Any] = nx.Graph()
    places = [("end", *each) for each in sheet.ends] + [("name", *each) for each in sheet.named]
    touching.add_nodes_from([*places, *range(len(sheet.wires))])
    for k, wire in enumerate(sheet.wires):
        joined = [m for m, other in enumerate(sheet.wires[:k]) if ends_on(wire, other) or ends_on(other, wire)]
        met = [place for place in places if on(place[-1], wire, 0.13 if place[1] in loose else 1e-6)]
        touching.add_edges_from((k, each) for each in (*joined, *met))
    for k, one in enumerate(places):
        touching.add_edges_from((one, two) for two in places[:k] if np.allclose(one[-1], two[-1]))
    return touching


def ends_on(wire: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    return any(on(end, other, 1e-6) for end in wire)


def test_it_joins_what_the_netlist_joins_and_nothing_else(drawn: Drawn) -> None:
    sheet = drawn.sheet
    devices = {part.name: part for element in drawn.circuit.elements for part in parts(element)}
    buffers = [part for part in devices.values() if part.kind == "X" and len(part.nets) == 3]
    for part, points in zip(buffers, sheet.triangles, strict=True):
        sheet.ends += [(part.name, k, point) for k, point in enumerate(points)]
    touching = touches(sheet, {part.name for part in buffers})
    islands: dict[str, int] = defaultdict(int)
    for island in nx.connected_components(touching):
        nets = {
            devices[place[1]].nets[place[2]] for place in island if not isinstance(place, int) and place[0] == "end"
        }
        nets |= {place[1] for place in island if not isinstance(place, int) and place[0] == "name"}
        assert len(nets) <= 1, f"the picture joins {nets}"
        for net in nets:
            islands[net] += 1
    for net, count in islands.items():
        if net != GROUND and count > 1:
            assert sheet.texts.count(net) >= count, f"{net} is drawn in {count} places without its name at each"


def test_a_circuit_that_is_too_large_is_refused_and_drawn_as_maps(tmp_path: Path) -> None:
    circuit = resistive([30, 20, 3])
    assert not drawable(circuit)
    with pytest.raises(UserError, match="layers of at most"):
        schematic(circuit, tmp_path / "circuit.png")
    assert crossbar_maps(circuit, tmp_path / "maps.png") == 2
    assert (tmp_path / "maps.png").stat().st_size > 10_000


def test_what_has_no_place_in_it_is_counted_in_the_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Layout, "_supplies", lambda self, left: None)
    shown: Picture = schematic(resistive([2, 4, 1]), tmp_path / "circuit.png")
    assert shown.missing == ("Vrail_p", "Vrail_n")
    assert "2 not drawn: Vrail_p, Vrail_n" in shown.caption


def test_a_coarse_map_has_the_means_of_its_blocks() -> None:
    values = np.random.default_rng(0).uniform(size=(1001, 30))
    means, (down, across) = coarsened(values)
    assert (down, across) == (3, 1)
    assert means.shape == (334, 30)
    np.testing.assert_allclose(means[:333], values[:999].reshape(333, 3, 30).mean(axis=1))
    np.testing.assert_allclose(means[333], values[999:].mean(axis=0))
