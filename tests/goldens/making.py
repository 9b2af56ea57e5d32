"""The problems of tests/goldens, which were created with version 0.1.0; see goldens.py."""

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid

GOLDENS = runpy.run_path(str(Path(__file__).with_name("goldens.py")))
DATA: Path = GOLDENS["DATA"]
named, plain = GOLDENS["named"], GOLDENS["plain"]

LAWS: dict[str, Law] = {
    "ngspice": NgspiceDiode(1e-9, 1.3, 0.2, 30.0),
    "shockley": Shockley(),
    "clamp": Clamp(),
    "piecewise-linear": PiecewiseLinear(threshold=0.1, on_resistance=2e4, off_resistance=1e9, rail=0.2),
}
PAIRED = {"clamp": Clamp(-0.2)}
"""The law of each diode of a pair, if it is another one."""


class Problems:
    """What is written, one problem after the other."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Any]] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, name: str, family: str, network: Any, inputs: Any, targets: Any, beta: float, **rest: Any) -> None:
        """A problem, and its network saved."""
        if "network" not in rest:
            network.save(DATA / "networks" / f"{name}.npz")
        self.table[name] = {"family": family, "beta": beta, **rest}
        self.arrays |= {f"{name}/inputs": np.asarray(inputs), f"{name}/targets": np.asarray(targets)}

    def write(self) -> None:
        """JSON and arrays."""
        (DATA / "problems.json").write_text(json.dumps(plain(self.table), indent=1) + "\n")
        np.savez_compressed(DATA / "problems.npz", **self.arrays)


def make() -> None:
    """Write networks, problems and run folders."""
    for name in ("networks", "netlists", "runs"):
        shutil.rmtree(DATA / name, ignore_errors=True)
        (DATA / name).mkdir(parents=True)
    problems = Problems()
    resistive(problems)
    nonideal(problems)
    hopfield(problems)
    graph(problems)
    chips(problems)
    problems.write()
    runs()


def layered(random: np.random.Generator, layers: list[int], *, zeros: float = 0.0, **settings: Any) -> Any:
    """A resistive network whose conductances are log-uniform over a decade and a half around 1 µS."""
    bias_row = settings.get("bias_row", 0.0)
    rows = [2 * layers[0] + bool(bias_row), *layers[1:-1]]
    conductances = []
    for above, below in zip(rows, layers[1:], strict=True):
        matrix = 1e-6 * 10 ** random.uniform(-0.75, 0.75, (above, below))
        matrix[random.random(matrix.shape) < zeros] = 0
        conductances.append(matrix)
    biases = tuple(2e-7 * random.normal(size=size) for size in layers[1:])
    gains = settings.pop("gains", (1.0,) * (len(layers) - 2))
    return named("ResistiveNetwork")(tuple(conductances), biases, amplifier_gain=tuple(gains), **settings)


def resistive(problems: Problems) -> None:
    """Every law, single and in antiparallel pairs, gains, paired outputs, biases, zeros."""
    random = np.random.default_rng(15)
    cases: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name, law in LAWS.items():
        cases[name] = layered(random, [3, 6, 3], diode=law, gains=(4.0,), input_gain=2.0), {}
        cases[f"{name}-antiparallel"] = (
            layered(random, [3, 5, 4, 2], diode=Antiparallel(PAIRED.get(name, law)), gains=(3.0, 2.0)),
            {},
        )
    cases["default-law-deep"] = layered(random, [4, 7, 6, 5, 3], gains=(3.0, 2.0, 1.0), bias_row=0.7), {}
    cases["pairs"] = (
        layered(random, [3, 6, 4], outputs="pairs", gains=(2.0,)),
        {"nudge": {"kind": "current"}},
    )
    cases["pairs-cross-entropy"] = (
        layered(random, [3, 6, 6], outputs="pairs", diode=LAWS["clamp"], gains=(4.0,)),
        {"nudge": {"kind": "current", "cost": "cross-entropy"}},
    )
    cases["current"] = layered(random, [3, 5, 3], diode=LAWS["shockley"]), {"nudge": {"kind": "current"}}
    cases["one-crossbar"] = layered(random, [4, 3]), {}
    cases["with-zeros"] = layered(random, [6, 8, 3], zeros=0.4, gains=(10.0,), input_gain=10.0), {}
    for name, (network, rest) in cases.items():
        inputs = random.uniform(-1, 1, (4, network.layers[0]))
        targets = np.eye(network.classes)[random.integers(network.classes, size=4)]
        stiffness = float(np.linalg.eigvalsh(network.output_stiffness())[0])
        problems.add(f"resistive-{name}", "resistive", network, inputs, targets, 0.4 * stiffness, **rest)


def nonideal(problems: Problems) -> None:
    """Wires, junctions, amplifiers, sources and nudges of one chip, one after the other and all at once."""
    random = np.random.default_rng(16)

    def per_node(spread: float, sizes: list[int]) -> list[Any]:
        return [np.exp(spread * random.normal(size=size)) for size in sizes]

    hidden = [5]
    cases: dict[str, tuple[Law, float, dict[str, Any]]] = {
        "wires": (LAWS["clamp"], 20.0, {}),
        "junctions": (
            LAWS["ngspice"],
            0.0,
            {
                "saturation_factor": per_node(0.3, hidden),
                "emission_factor": per_node(0.05, hidden),
                "celsius": 60.0,
                "temperature_mismatch": [2 * random.normal(size=5)],
            },
        ),
        "amplifiers": (
            LAWS["piecewise-linear"],
            0.0,
            {
                "forward_factor": per_node(0.05, hidden),
                "return_factor": per_node(0.05, hidden),
                "offset": [0.01 * random.normal(size=5)],
                "saturation_voltage": 1.5,
                "input_conductance": 1e-8,
                "output_resistance": 300.0,
            },
        ),
        "antiparallel": (
            Antiparallel(LAWS["shockley"]),
            5.0,
            {"source_resistance": 500.0, "nudge_factor": 1 + 0.1 * random.normal(size=3), "target_offset": 0.02},
        ),
    }
    for name, (law, wire, periphery) in cases.items():
        ideal = layered(random, [3, 5, 3], diode=law, gains=(3.0,))
        network = named("NonidealNetwork")(ideal, named("Periphery")(**periphery), wire, (4, 3))
        inputs, targets = random.uniform(-1, 1, (3, 3)), np.eye(3)
        beta = 0.3 * float(np.linalg.eigvals(network.output_stiffness).real.min())
        problems.add(
            f"nonideal-{name}", "nonideal", ideal, inputs, targets, beta, periphery=periphery, wire_resistance=wire
        )


def hopfield(problems: Problems) -> None:
    """Dense and convolutional, tied and untied, with a read-out outside, by every dynamics."""
    random = np.random.default_rng(17)
    dense, conv = named("Dense"), named("Convolution")
    leaky = {"solver": "LeakyIntegratorSolver", "settings": {"step": 0.1, "max_steps": 50_000}}
    discrete = {"solver": "DiscreteTimeSolver", "settings": {"step": 0.5}}
    truncated = {"solver": "DiscreteTimeSolver", "settings": {"free_steps": 20, "nudged_steps": 10}, "exact": False}
    descent = {"solver": "HopfieldDescentSolver", "settings": {}}
    flow = {"solver": "GradientFlowSolver", "settings": {"step": 0.3}}
    feedback = {"kind": "feedback", "cost": "cross-entropy"}
    cases: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any]]] = {
        "dense": ([dense(4, 6), dense(6, 3)], {}, leaky),
        "deep": ([dense(4, 6), dense(6, 5), dense(5, 3)], {"buffer": Sigmoid(gain=3.0)}, leaky),
        "untied": ([dense(4, 6), dense(6, 3)], {"untied": True}, leaky),
        "head": ([dense(4, 6), dense(6, 5)], {"classes": 3}, {**leaky, "nudge": feedback}),
        "output-nudge": ([dense(4, 6), dense(6, 3)], {}, {**discrete, "nudge": {"kind": "output"}}),
        "descent": ([dense(4, 6), dense(6, 5), dense(5, 3)], {"buffer": HardSigmoid(gain=0.7)}, descent),
        "flow": ([dense(4, 6), dense(6, 3)], {}, {**flow, "nudge": {"kind": "current"}}),
        "convolution": ([conv((1, 4, 4), 3, 3, 1), dense(48, 3)], {}, leaky),
        "pooling": ([conv((1, 6, 6), 3, 3, 1, 2), conv((3, 3, 3), 4, 2), dense(16, 3)], {}, discrete),
        "untied-pooling": (
            [conv((1, 6, 6), 3, 3, 1, 2), conv((3, 3, 3), 4, 2, 0, 2), dense(4, 3)],
            {"untied": True},
            truncated,
        ),
        "pooling-head": (
            [conv((1, 6, 6), 3, 3, 0, 2), dense(12, 5)],
            {"classes": 3},
            {**discrete, "nudge": feedback},
        ),
    }
    for name, (connections, settings, rest) in cases.items():
        network = named("HopfieldNetwork").build(connections, 1, initial="fan-in", **settings)
        for values in network.arrays().values():
            values[...] = random.uniform(-0.5, 0.5, values.shape) / np.sqrt(max(values.shape[0], values[0].size))
        inputs = random.uniform(0, 1, (3, network.layers[0]))
        targets = np.eye(3)[random.integers(3, size=3)]
        circuit = all(getattr(each, "pool", 1) == 1 for each in connections) and rest["solver"].startswith("Leaky")
        problems.add(f"hopfield-{name}", "hopfield", network, inputs, targets, 0.3, circuit=circuit, **rest)


def graph(problems: Problems) -> None:
    """A linear lattice, diodes in parallel with resistors, pairs of read-outs, rails and current sources."""
    random = np.random.default_rng(18)
    lattice = nx.grid_2d_graph(4, 4)
    for node in ((1, 1), (2, 3)):
        lattice.nodes[node]["current"] = float(1e-7 * random.normal())
    mixed = nx.MultiGraph(nx.gnm_random_graph(12, 30, seed=4))
    for one, other in ((0, 5), (3, 8), (9, 2), (7, 10)):
        mixed.add_edge(one, other, anode=one)
    for each in (lattice, mixed):
        for *_, settings in each.edges(data=True):
            if "anode" not in settings:
                settings["conductance"] = float(1e-6 * 10 ** random.uniform(-0.7, 0.7))
    make = named("GraphNetwork").from_graph
    networks = {
        "lattice": make(lattice, [(0, 0), (0, 3)], [(3, 3), ((1, 2), (2, 1))], {(3, 0): 0.0}),
        "diodes": make(mixed, [0, 1], [(4, 6), 11], {2: -0.5, 3: 1.0}, diode=NgspiceDiode(rail=0.0)),
        "square-diodes": make(mixed, [0, 1], [4], {2: 0.0}, diode=LAWS["piecewise-linear"]),
    }
    for name, network in networks.items():
        inputs = random.uniform(-2, 2, (3, 2))
        targets = random.uniform(-0.3, 0.3, (3, len(network.outputs)))
        problems.add(f"graph-{name}", "graph", network, inputs, targets, 1e-7)


def chips(problems: Problems) -> None:
    """Single devices, and all imperfections at once."""
    random = np.random.default_rng(19)
    for name, specification in {
        "devices": named("Specification").load("taox-tio2-gao2015"),
        "everything": named("Specification").load("everything"),
    }.items():
        window = specification.technology.window
        network = layered(random, [3, 5, 3], conductance_window=(window.lowest, window.highest), gains=(3.0,))
        for matrix in network.conductances:
            matrix[...] = random.uniform(window.lowest, window.highest, matrix.shape)
        table = specification.model_dump(mode="json", exclude_unset=True)
        inputs, targets = random.uniform(-1, 1, (3, 3)), np.eye(3)
        problems.add(f"chip-{name}", "chip", network, inputs, targets, 1e-7, specification=table)


def runs() -> None:
    """Finished runs and runs that were stopped in the middle of an epoch, of every kind of training."""
    random = np.random.default_rng(20)
    centres = random.uniform(0, 1, (10, 64))
    labels = {"train": random.permutation(np.arange(40) % 10), "test": np.arange(20) % 10}
    images = {
        f"{part}_images": np.clip(centres[each] + 0.2 * random.normal(size=(len(each), 64)), 0, 1).astype(np.float32)
        for part, each in labels.items()
    }
    np.savez_compressed(DATA / "dataset.npz", **images, **{f"{part}_labels": each for part, each in labels.items()})
    common: dict[str, Any] = {"dataset": "digits", "epochs": 2, "batch_size": 4, "seed": 2}
    circuit = {
        **common,
        "layers": [64, 6, 10],
        "amplifier_gain": 4.0,
        "beta": 1e-7,
        "conductance_rates": 1e-14,
        "bias_rates": 1e-14,
        "decay": 0.9,
    }
    states = {**common, "model": "hopfield", "beta": 0.3, "weight_rates": 0.02, "dynamics": "discrete-time"}
    steps = {"free_steps": 30, "nudged_steps": 10}
    convolution = [{"channels": 2, "kernel": 3, "padding": 0, "pool": 2}, {"outputs": 10}]
    configurations = {
        "converged": circuit,
        "truncated": {**circuit, "sweeps": 4, "shift": 1},
        "implicit": {**circuit, "sweeps": 6, "method": "implicit", "limit": 20},
        "pairs": {**circuit, "layers": [64, 6, 20], "outputs": "pairs", "kind": "current"},
        "hopfield": {**states, "layers": [64, 8, 10], "momentum": 0.5, "nudging": "random-sign", **steps},
        "convolution": {**states, "connections": convolution, "untied": True, **steps},
        "persistent": {**states, "layers": [64, 8, 10], "persistent": True, **steps},
        "bptt": {**states, "layers": [64, 8, 10], "method": "bptt", "free_steps": 15, "backward_steps": 10},
    }
    for name, values in configurations.items():
        config = named("HopfieldConfig" if "model" in values else "ResistiveConfig")(**values)
        folder = DATA / "runs" / name
        named("train")(config, GOLDENS["dataset"](), folder, False, named("silent"), 1e9)
        stopped = DATA / "runs" / f"{name}-stopped"
        try:
            named("train")(
                config, GOLDENS["dataset"](), stopped, False, GOLDENS["stopping"](8 if "limit" in values else 13), 0.0
            )
        except GOLDENS["Stopped"]:
            pass  # as it was to be
        else:
            raise RuntimeError(f"{name}: the run came to its end before it was to be stopped")
        for path in (*folder.iterdir(), *stopped.iterdir()):
            if path.suffix not in (".npz", ".toml", ".json", ".csv"):
                path.unlink()
