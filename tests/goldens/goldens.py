"""Results of version 0.1.0: fixed problems of every family, with their states, gradients and netlists.

    python tests/goldens/goldens.py make              # write tests/goldens/data with the installed version
    python tests/goldens/goldens.py compute OUT.npz   # compute the stored problems with the version on PYTHONPATH
    python tests/goldens/goldens.py compare OLD       # compare bits with the checkout OLD, on this machine; exit code 1: differ

Every parameter is stored in ``data``; the random numbers below were only used to create it. ``compare`` shows whether a change of
structure changes any bit. The tests in this folder allow 1e-12, because the BLAS of another machine sums in another order.

One problem is from a later version: ``hopfield-untied-pooling``. Version 0.1.0 pooled its feedback at the winners of the forward
weights, unlike the published code.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray

HERE = Path(__file__).parent
DATA = HERE / "data"
TEXT = 6000
"""Largest length in characters of netlists that are stored as text, in addition to their hash."""
COMMENTS = re.compile(r"^\*.*\n", re.MULTILINE)
"""Comments of a netlist, which a simulator ignores."""
ADDED = re.compile(r"^\.param input_gain=.*\n|(?<=[0-9]) klu=1 pivrel=0\.5$", re.MULTILINE)
"""Additions to netlists since 0.1.0: a line that no device uses, and the direct solver for meshes."""

NAMES = {
    "ResistiveNetwork": ("eqprop_analog:ResistiveNetwork",),
    "HopfieldNetwork": (
        "eqprop_analog.networks.hopfield.network:HopfieldNetwork",
        "eqprop_analog.models:HopfieldNetwork",
    ),
    "GraphNetwork": (
        "eqprop_analog.networks.graph.network:GraphNetwork",
        "eqprop_analog.models.graph_network:GraphNetwork",
    ),
    "NonidealNetwork": (
        "eqprop_analog.networks.nonideal.network:NonidealNetwork",
        "eqprop_analog.models.nonideal_network:NonidealNetwork",
    ),
    "Periphery": (
        "eqprop_analog.networks.nonideal.periphery:Periphery",
        "eqprop_analog.models.periphery:Periphery",
    ),
    "HopfieldEquations": (
        "eqprop_analog.networks.hopfield.equations:HopfieldEquations",
        "eqprop_analog.models:HopfieldEquations",
    ),
    "GraphEquations": (
        "eqprop_analog.networks.graph.equations:GraphEquations",
        "eqprop_analog.models.graph_kirchhoff:GraphEquations",
    ),
    "NodalEquations": (
        "eqprop_analog.networks.resistive.equations:NodalEquations",
        "eqprop_analog.models:NodalEquations",
    ),
    "NonidealEquations": (
        "eqprop_analog.networks.nonideal.equations:NonidealEquations",
        "eqprop_analog.models.nonideal_equations:NonidealEquations",
    ),
    "Dense": (
        "eqprop_analog.networks.hopfield.connections:Dense",
        "eqprop_analog.models.connections:Dense",
    ),
    "Convolution": (
        "eqprop_analog.networks.hopfield.connections:Convolution",
        "eqprop_analog.models.connections:Convolution",
    ),
    "SurrogateSolver": ("eqprop_analog:SurrogateSolver",),
    "NonidealNewtonSolver": (
        "eqprop_analog.networks.nonideal.newton:NonidealNewtonSolver",
        "eqprop_analog.solvers.nonideal_newton:NonidealNewtonSolver",
    ),
    "SparseNewtonSolver": (
        "eqprop_analog.networks.graph.newton:SparseNewtonSolver",
        "eqprop_analog.solvers.sparse_newton:SparseNewtonSolver",
    ),
    "LeakyIntegratorSolver": (
        "eqprop_analog.networks.hopfield.leaky_integrator:LeakyIntegratorSolver",
        "eqprop_analog.solvers.leaky_integrator:LeakyIntegratorSolver",
    ),
    "GradientFlowSolver": (
        "eqprop_analog.networks.hopfield.gradient_flow:GradientFlowSolver",
        "eqprop_analog.solvers.gradient_flow:GradientFlowSolver",
    ),
    "DiscreteTimeSolver": (
        "eqprop_analog.networks.hopfield.discrete_time:DiscreteTimeSolver",
        "eqprop_analog.solvers.discrete_time:DiscreteTimeSolver",
    ),
    "HopfieldDescentSolver": (
        "eqprop_analog.networks.hopfield.descent:HopfieldDescentSolver",
        "eqprop_analog.solvers.hopfield_descent:HopfieldDescentSolver",
    ),
    "compile_network": (
        "eqprop_analog.networks.resistive.netlist:compile_network",
        "eqprop_analog.circuit:compile_network",
    ),
    "compile_hopfield": (
        "eqprop_analog.networks.hopfield.netlist:compile_hopfield",
        "eqprop_analog.circuit.hopfield:compile_hopfield",
    ),
    "compile_graph": (
        "eqprop_analog.networks.graph.netlist:compile_graph",
        "eqprop_analog.circuit.graph_network:compile_graph",
    ),
    "compile_nonideal": (
        "eqprop_analog.networks.nonideal.netlist:compile_nonideal",
        "eqprop_analog.circuit.nonideal_network:compile_nonideal",
    ),
    "static_netlist": (
        "eqprop_analog.spice.netlist:static_netlist",
        "eqprop_analog.circuit:static_netlist",
    ),
    "implicit_gradient": (
        "eqprop_analog.learning.exact_gradient:implicit_gradient",
        "eqprop_analog.learning.implicit:implicit_gradient",
    ),
    "hopfield_implicit_gradient": (
        "eqprop_analog.learning.exact_gradient:implicit_gradient",
        "eqprop_analog.learning.hopfield_implicit:hopfield_implicit_gradient",
        "eqprop_analog.learning.implicit:implicit_gradient",
    ),
    "edge_contrast": ("eqprop_analog.learning.edges:edge_contrast",),
    "vector_field": ("eqprop_analog.learning.local:vector_field",),
    "Chip": (
        "eqprop_analog.networks.resistive.chips.chip:Chip",
        "eqprop_analog.chips.chip:Chip",
    ),
    "Specification": (
        "eqprop_analog.experiments.chips.specification:Specification",
        "eqprop_analog.chips.specification:Specification",
    ),
    "ResistiveConfig": (
        "eqprop_analog.networks.resistive.config:ResistiveConfig",
        "eqprop_analog.config:ResistiveConfig",
    ),
    "HopfieldConfig": (
        "eqprop_analog.networks.hopfield.config:HopfieldConfig",
        "eqprop_analog.config:HopfieldConfig",
    ),
    "Dataset": ("eqprop_analog.data.datasets:Dataset",),
    "train": (
        "eqprop_analog.experiments.run:train",
        "eqprop_analog.run:train",
    ),
    "silent": ("eqprop_analog.learning.trainer:silent",),
}
"""Where versions of the package have, or had, what is needed here: the newest place first."""


def named(name: str) -> Any:
    """The package's object of this name, at its place in this version."""
    for place in NAMES[name]:
        module, _, attribute = place.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name}: not at {', '.join(NAMES[name])}")


# Problems


def problems() -> dict[str, dict[str, Any]]:
    """Every stored problem: its family, and the arguments of ``result`` in addition to the saved network."""
    return json.loads((DATA / "problems.json").read_text())


def stored() -> dict[str, Array]:
    """Inputs and targets of all problems."""
    with np.load(DATA / "problems.npz") as file:
        return dict(file)


def loaded(name: str, problem: Mapping[str, Any]) -> Any:
    """The problem's network, read as any user's saved network is."""
    kinds = {"resistive": "ResistiveNetwork", "hopfield": "HopfieldNetwork", "graph": "GraphNetwork"}
    family = kinds.get(problem["family"], "ResistiveNetwork")
    network = named(family).load(DATA / "networks" / f"{problem.get('network', name)}.npz")
    if problem["family"] != "nonideal":
        return network
    periphery = named("Periphery")(**problem["periphery"])
    return named("NonidealNetwork")(network, periphery, problem["wire_resistance"], (4, 3))


# What is computed


def results() -> Iterator[tuple[str, dict[str, Array], dict[str, str]]]:
    """(name, arrays, netlist texts) of every stored problem."""
    arrays = stored()
    for name, problem in problems().items():
        inputs, targets = arrays[f"{name}/inputs"], arrays[f"{name}/targets"]
        found, texts = FAMILIES[problem["family"]](loaded(name, problem), inputs, targets, problem)
        yield name, found, {key: ADDED.sub("", text) for key, text in texts.items()}


def _nudges(targets: Array, problem: Mapping[str, Any]) -> list[Any]:
    from eqprop_analog import Nudge

    settings = problem.get("nudge", {})
    return [Nudge(targets, sign * problem["beta"], **settings) for sign in (1, -1)]


def _states(phases: Any) -> dict[str, Array]:
    return {
        f"{phase}/{layer}": voltages
        for phase, found in zip(("free", "plus", "minus"), phases, strict=True)
        for layer, voltages in enumerate(found.require().voltages, start=1)
    }


def _learned(label: str, gradient: Any) -> dict[str, Array]:
    arrays = gradient if isinstance(gradient, dict) else gradient.arrays()
    return {f"{label}/{name}": values for name, values in arrays.items()}


def _resistive(network: Any, inputs: Array, targets: Array, problem: Mapping[str, Any]) -> Any:
    nudges = _nudges(targets, problem)
    free, plus, minus = named("SurrogateSolver")().solve_phases(network, inputs, nudges)
    found = _states((free, plus, minus))
    found |= _learned("contrast", network.contrast(inputs, plus, minus))
    found |= _learned("one-sided", network.contrast(inputs, plus, free))
    cost = problem.get("nudge", {}).get("cost", "squared-error")
    found |= _learned("exact", named("implicit_gradient")(network, inputs, targets, free, cost))
    found["energy"] = network.energy(inputs, free.voltages)
    compiled = named("compile_network")
    injections = [None, nudges[0].injection(network.readout(free.outputs))]
    injections = [
        None if each is None else (each[0], network.along_readout(np.asarray(each[1]))[:1]) for each in injections
    ]
    return found, {
        f"{form}-{phase}": named("static_netlist")(compiled(network, inputs[:1], [injection], form))
        for form in ("flat", "norton")
        for phase, injection in zip(("free", "plus"), injections, strict=True)
    }


def _nonideal(network: Any, inputs: Array, targets: Array, problem: Mapping[str, Any]) -> Any:
    nudges = _nudges(targets, problem)
    free, plus, minus = named("NonidealNewtonSolver")().solve_phases(network, inputs, nudges)
    found = _states((free, plus, minus))
    found |= _learned("contrast", network.ideal.contrast(inputs, plus, minus))
    if network.reciprocal:
        found |= _learned("cells", network.cell_contrast(inputs, plus, minus))
        found["energy"] = network.energy(inputs, free.voltages)
    equations = named("NonidealEquations").of(network, inputs[:1])
    first = [type(each)(each.target[:1], each.beta, each.kind, each.cost) for each in nudges]
    injections = {"free": None, "plus": equations.nudged(first[:1], free.select(np.arange(len(inputs)) < 1)).injection}
    return found, {
        phase: named("static_netlist")(named("compile_nonideal")(network, inputs[:1], [injection]))
        for phase, injection in injections.items()
    }


def _hopfield(network: Any, inputs: Array, targets: Array, problem: Mapping[str, Any]) -> Any:
    nudges = _nudges(targets, problem)
    solver = named(problem["solver"])(**problem["settings"])
    free, plus, minus = solver.solve_phases(network, inputs, nudges)
    found = _states((free, plus, minus))
    found |= _learned("contrast", network.contrast(inputs, plus, minus))
    found |= _learned("vector-field", named("vector_field")(network, inputs, plus, minus))
    cost = problem.get("nudge", {}).get("cost", "squared-error")
    if problem.get("exact", True):
        found |= _learned("exact", named("hopfield_implicit_gradient")(network, inputs, targets, free, cost))
    if not problem["circuit"]:
        return found, {}
    equations = named("HopfieldEquations").of(network, inputs[:1])
    first = [type(each)(each.target[:1], each.beta, each.kind, each.cost) for each in nudges]
    phases = {"free": None, "plus": equations.nudged(first[:1], free.select(np.arange(len(inputs)) < 1))}
    return found, {
        f"{form}-{phase}": named("static_netlist")(named("compile_hopfield")(network, inputs[:1], nudged, form))
        for form in ("flat", "norton")
        for phase, nudged in phases.items()
    }


def _graph(network: Any, inputs: Array, targets: Array, problem: Mapping[str, Any]) -> Any:
    nudges = _nudges(targets, problem)
    free, plus, minus = named("SparseNewtonSolver")().solve_phases(network, inputs, nudges)
    found = _states((free, plus, minus))
    found["contrast/conductances"] = _edge_contrast(network, inputs, plus, minus)
    found["one-sided/conductances"] = _edge_contrast(network, inputs, plus, free)
    found["energy"] = network.energy(free.voltages[0])
    injections = {"free": None, "plus": nudges[0].injection(free.outputs)}
    return found, {
        phase: named("static_netlist")(
            named("compile_graph")(network, inputs[:1], [each if each is None else (each[0], each[1][:1])])
        )
        for phase, each in injections.items()
    }


def _edge_contrast(network: Any, inputs: Array, plus: Any, minus: Any) -> Array:
    if hasattr(network, "contrast"):
        return network.contrast(inputs, plus, minus)["conductances"]
    return named("edge_contrast")(network, plus, minus)


def _chip(network: Any, inputs: Array, targets: Array, problem: Mapping[str, Any]) -> Any:
    specification = named("Specification").of(problem["specification"])
    chip = named("Chip").drawn(specification, network, 3, 2)
    chip.program(network)
    found = {f"delivered/{name}": values.copy() for name, values in chip.network.arrays().items()}
    nudges = _nudges(targets, problem)
    phases = chip.solver().solve_phases(chip.circuit(), inputs, nudges)
    found |= _states(phases)
    found["read"] = chip.measured(phases[0]).outputs
    chip.change({name: np.full_like(values, 1e-6) for name, values in chip.network.arrays().items()})
    found |= {f"after pulses/{name}": values.copy() for name, values in chip.network.arrays().items()}
    chip.age(1e4)
    found |= {f"aged/{name}": values.copy() for name, values in chip.network.arrays().items()}
    return found, {}


FAMILIES = {
    "resistive": _resistive,
    "nonideal": _nonideal,
    "hopfield": _hopfield,
    "graph": _graph,
    "chip": _chip,
}


# Run folders


def dataset() -> Any:
    """The small data set that the stored runs were trained on."""
    with np.load(DATA / "dataset.npz") as file:
        return named("Dataset")(name="digits", **dict(file))


def configuration(name: str) -> Any:
    """The settings of a stored run, from its own config.toml."""
    import tomllib

    values = tomllib.loads((DATA / "runs" / name / "config.toml").read_text())
    kind = "HopfieldConfig" if values.get("model") == "hopfield" else "ResistiveConfig"
    return named(kind)(**values)


class Stopped(BaseException):
    """Ends a run in the middle of an epoch, as a kill does."""


def stopping(batches: int) -> Any:
    """A stage that ends the run after a number of batches."""
    left = [batches]

    @contextmanager
    def stage(*_stage: object, **_how: object) -> Iterator[Any]:
        def progress(_done: int, _error: float) -> None:
            if not left[0]:
                raise Stopped
            left[0] -= 1

        yield progress

    return stage


# Comparison and making


def computed() -> dict[str, Array]:
    """Every array of every problem in one dictionary; netlists as their hashes."""
    found: dict[str, Array] = {}
    for name, arrays, texts in results():
        found |= {f"{name}/{key}": values for key, values in arrays.items()}
        found |= {f"{name}/netlist/{key}": np.array(digest(text)) for key, text in texts.items()}
    return found


def digest(text: str) -> str:
    """SHA-256 of a netlist without its comments, which differ from those of 0.1.0."""
    return hashlib.sha256(COMMENTS.sub("", text).encode()).hexdigest()


def compare(old: Path) -> list[str]:
    """Names of the results that are not bit-identical in the checkout ``old``."""
    with tempfile.TemporaryDirectory() as folder:
        both = []
        for checkout in (old, HERE.parent.parent):
            path = Path(folder) / f"{len(both)}.npz"
            command = [sys.executable, __file__, "compute", str(path)]
            subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(checkout)})
            with np.load(path) as file:
                both.append(dict(file))
    one, other = both
    differing = sorted(one.keys() ^ other.keys())
    return differing + [name for name in one.keys() & other.keys() if not np.array_equal(one[name], other[name])]


def make() -> None:
    """Write ``data``, from the problems of making.py."""
    import runpy

    runpy.run_path(str(HERE / "making.py"))["make"]()
    texts, arrays, hashes = {}, {}, {}
    for name, found, netlists in results():
        arrays |= {f"{name}/{key}": values for key, values in found.items()}
        hashes[name] = {key: digest(text) for key, text in netlists.items()}
        texts |= {f"{name}-{key}": text for key, text in netlists.items() if len(text) <= TEXT}
    np.savez_compressed(DATA / "expected.npz", **arrays)
    (DATA / "netlists.json").write_text(json.dumps(hashes, indent=1) + "\n")
    (DATA / "netlists").mkdir(exist_ok=True)
    for name, text in texts.items():
        (DATA / "netlists" / f"{name}.cir").write_text(text)


def plain(thing: Any) -> Any:
    """Arrays and tuples as JSON has them."""
    if isinstance(thing, Mapping):
        return {name: plain(each) for name, each in thing.items()}
    if isinstance(thing, np.ndarray | np.generic):
        return thing.tolist()
    return [plain(each) for each in thing] if isinstance(thing, list | tuple) else thing


def main() -> None:
    """See above."""
    match sys.argv[1:]:
        case ["make"]:
            make()
        case ["compute", path]:
            np.savez(path, **computed())
        case ["compare", old]:
            differing = compare(Path(old))
            sys.stdout.write("\n".join([*differing, f"{len(differing)} differ"]) + "\n")
            sys.exit(bool(differing))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
