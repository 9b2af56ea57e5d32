"""The time of one equilibrium in ngspice by method, network size, batch size and number of workers, in one run.

Every figure is in milliseconds per equilibrium, and includes netlist text, loading, Newton's iterations and reading the voltages;
the last part also includes certification. Network, images and tolerances are the same for all methods, and the voltages of each
are compared with the surrogate's. Figures are medians. Ratios are within this run, because the machine may be shared.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PySpice.Spice.Netlist import Circuit as PySpiceCircuit

from benchmarks import add_repeats
from eqprop_analog import NgspiceSolver, Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.cli import console, options
from eqprop_analog.errors import NotMetError
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.spice.elements import POINT
from eqprop_analog.spice.netlist import TOLERANCES, sweep_netlist
from eqprop_analog.spice.netlist import library as spice_library
from eqprop_analog.spice.ngspice import library as libngspice

AGREEMENT = 1e-9
"""Largest difference of voltages, volts."""


class Case:
    """A network with inputs, targets and the surrogate's voltages: (samples, 3 phases, nodes)."""

    def __init__(self, hidden: int, samples: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.network = ResistiveNetwork.dense([784, hidden, 10], seed, amplifier_gain=10.0, input_gain=10.0)
        self.network.conductances[0][:] += 1e-9  # every cell has a resistor, as in a trained network
        lit = rng.uniform(size=(samples, 784)) < 0.2
        self.inputs = rng.uniform(0, 1, (samples, 784)) * lit
        self.targets = np.eye(10)[rng.integers(0, 10, samples)]
        self.beta = self.network.usual_beta()
        self.nudges = [Nudge(self.targets, self.beta), Nudge(self.targets, -self.beta)]
        self.voltages = self.by_surrogate()
        self.injections = [None, (self.beta, self.beta * self.targets), (-self.beta, -self.beta * self.targets)]

    @property
    def nets(self) -> list[str]:
        """Every node's net, in the order of ``voltages``."""
        network = self.network
        return [network.node_name(layer, j) for layer in (1, 2) for j in range(network.layers[layer])]

    def by_surrogate(self) -> np.ndarray:
        """The surrogate's voltages under the case's nudges."""
        phases = SurrogateSolver().solve_phases(self.network, self.inputs, self.nudges)
        return np.stack([np.concatenate(phase.voltages, axis=1) for phase in phases], axis=1)

    def with_currents(self) -> "Case":
        """The same case, nudged by the constant currents of the cross-entropy, which depend on the free voltages."""
        part = self.some(len(self.inputs))
        amperes = self.beta * 1.0  # V times S
        part.nudges = [Nudge(self.targets, sign * amperes, "current", "cross-entropy") for sign in (1, -1)]
        part.voltages = part.by_surrogate()
        return part

    def some(self, samples: int) -> "Case":
        """The same case with the first samples only."""
        part = object.__new__(Case)
        part.__dict__ = dict(self.__dict__)
        part.inputs, part.targets = self.inputs[:samples], self.targets[:samples]
        part.voltages = self.voltages[:samples]
        part.nudges = [Nudge(part.targets, self.beta), Nudge(part.targets, -self.beta)]
        part.injections = [None, (self.beta, self.beta * part.targets), (-self.beta, -self.beta * part.targets)]
        return part


def flat_in_pyspice(case: Case) -> np.ndarray:
    """The usual method: build the flat netlist in PySpice, and run one ``op``, for every sample and phase."""
    network, size = case.network, case.inputs.shape[1]
    result = np.empty_like(case.voltages)
    for sample, x in enumerate(case.inputs):
        rows = network.rows(x[None])[0]
        for phase, beta in enumerate((0.0, case.beta, -case.beta)):
            circuit = PySpiceCircuit("flat")
            circuit.raw_spice = _options() + spice_library("diode") + spice_library("amplifier")
            names = [f"xp_{i}" for i in range(size)] + [f"xn_{i}" for i in range(size)]
            for name, volts in zip(names, rows, strict=True):
                circuit.V(name, name, circuit.gnd, repr(float(volts)))
            circuit.V("rail_p", "rail_p", circuit.gnd, "0.2")
            circuit.V("rail_n", "rail_n", circuit.gnd, "-0.2")
            hidden = network.layers[1]
            for j in range(hidden):
                pair = ("rail_p", f"h1_{j}") if network.polarity(1)[j] > 0 else (f"h1_{j}", "rail_n")
                circuit.X(f"d{j}", "diode", *pair)
                circuit.X(f"a{j}", "amplifier", f"h1_{j}", f"a1_{j}")
            for number, names_of, matrix in (
                (1, names, network.conductances[0]),
                (2, [f"a1_{j}" for j in range(hidden)], network.conductances[1]),
            ):
                columns = [network.node_name(number, j) for j in range(matrix.shape[1])]
                for i, j in zip(*np.nonzero(matrix), strict=True):
                    circuit.R(f"{number}_{i}_{j}", names_of[i], columns[j], repr(float(1 / matrix[i, j])))
            for k, y in enumerate(case.targets[sample]) if beta else ():
                circuit.V(f"y_{k}", f"y_{k}", circuit.gnd, repr(float(y)))
                circuit.R(f"nudge_{k}", f"y_{k}", f"o_{k}", repr(float(1 / beta)))
            result[sample, phase] = _operating_point(str(circuit) + ".op\n.end\n", case)
    return result


def norton_alter_in_pyspice(case: Case) -> np.ndarray:
    """An efficient method in PySpice: load the Norton form once, then ``alter_device``, ``op`` and ``plot`` for each phase."""

    def altered(spice: Any, values: dict[str, float]) -> np.ndarray:
        for device, value in values.items():
            spice.alter_device(device, dc=value)
        spice.exec_command("op")
        plot = spice.plot(None, spice.last_plot)
        voltages = [float(plot[net].to_waveform(to_float=True)[0]) for net in case.nets]
        spice.destroy()
        return np.array(voltages)

    return _altered(case, altered, save=False)


def norton_alter(case: Case) -> np.ndarray:
    """The same through libngspice's own calls; only the probes are saved and read."""

    def altered(spice: Any, values: dict[str, float]) -> np.ndarray:
        for device, value in values.items():
            spice.exec_command(f"alter {device} = {value!r}")
        spice.exec_command("op")
        voltages = [spice.vector(net)[0] for net in case.nets]
        spice.exec_command("destroy all")
        return np.array(voltages)

    return _altered(case, altered, save=True)


def _altered(case: Case, altered: Callable[[Any, dict[str, float]], np.ndarray], *, save: bool) -> np.ndarray:
    """Solve every sample and phase by altering the sources of one loaded circuit; unchanged sources are not altered."""
    hidden, outputs = case.network.layers[1], case.network.layers[2]
    # With one point, every source is an I element; sources without a current for the first image are omitted, and added here.
    text = sweep_netlist(compile_network(case.network, case.inputs[:1]))
    head, tail = text[: text.index(f"V{POINT} ")], text[text.index(".save") :] if save else ".end\n"
    missing = [f"In1_{j} 0 h1_{j} 0" for j in range(hidden) if f"\nIn1_{j} " not in head]
    nudge = ["Vbeta beta 0 0"]
    for k in range(outputs):
        nudge += [f"Vc_{k} c_{k} 0 0", f"Bnudge_{k} 0 o_{k} I=V(c_{k})-V(beta)*V(o_{k})"]
    spice = libngspice.library()
    spice.load_circuit("\n".join([head, *nudge, *missing, tail]))
    first = case.network.conductances[0]
    drive = case.network.input_gain * case.inputs @ (first[:784] - first[784:])
    result = np.empty_like(case.voltages)
    for sample in range(len(case.inputs)):
        for phase, beta in enumerate((0.0, case.beta, -case.beta)):
            values = {"vbeta": beta} | {f"vc_{k}": float(beta * y) for k, y in enumerate(case.targets[sample])}
            if phase == 0:
                values |= {f"in1_{j}": float(i) for j, i in enumerate(drive[sample])}
            result[sample, phase] = altered(spice, values)
    spice.exec_command("remcirc")
    return result


def norton_sweep(case: Case) -> np.ndarray:
    """The Norton form and one ``.dc`` sweep over samples and phases, as in NgspiceSolver."""
    circuit = compile_network(case.network, case.inputs, case.injections, validate=False)
    voltages = libngspice.sweep(circuit)
    return voltages.reshape(case.voltages.shape)


def norton_transient(case: Case) -> np.ndarray:
    """The same sources in a transient without capacitances, with a plateau in time for every point."""
    circuit = compile_network(case.network, case.inputs, case.injections, validate=False)
    steps = " ".join(f"{k} {k} {k + 0.5} {k}" for k in range(circuit.points))
    text = sweep_netlist(circuit)
    head, tail = text[: text.index(f"V{POINT} ")], text[text.index(".save") :]
    spice = libngspice.library()
    tran = f"V{POINT} {POINT} 0 PWL({steps})\n.tran 0.5 {circuit.points - 0.5} 0 0.5\n.save time\n"
    spice.load_circuit(head + tran + tail)
    spice.exec_command("run")
    moments = spice.vector("time")
    last = np.searchsorted(moments, np.arange(circuit.points) + 0.5 + 1e-9) - 1
    voltages = np.stack([spice.vector(net)[last] for net in circuit.probes], axis=1)
    spice.exec_command("destroy all")
    spice.exec_command("remcirc")
    return voltages.reshape(case.voltages.shape)


METHODS: dict[str, tuple[Callable[[Case], np.ndarray], int]] = {
    "(i) flat netlist built in PySpice, one op each": (flat_in_pyspice, 1),
    "(ii) Norton form in PySpice: alter, one op each": (norton_alter_in_pyspice, 10),
    "(ii), with libngspice called directly": (norton_alter, 20),
    "PWL transient over a Norton form": (norton_transient, 20),
    "(iii) Norton form, one .dc sweep": (norton_sweep, 100),
}


def milliseconds(method: Callable[[Case], np.ndarray], case: Case, repeats: int, *, warm_up: bool = True) -> float:
    """Median milliseconds per equilibrium. Raises NotMetError if the voltages differ from the surrogate's."""
    times = []
    for _ in range(repeats + warm_up):
        begin = time.perf_counter()
        voltages = method(case)
        times.append(time.perf_counter() - begin)
        difference = float(np.abs(voltages - case.voltages).max())
        if not difference <= AGREEMENT:
            raise NotMetError(f"{method.__name__}: voltages differ from the surrogate's by {difference:.1e} V")
    return 1e3 * statistics.median(times[warm_up:]) / voltages.shape[0] / voltages.shape[1]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add_repeats(parser, 3)
    parser.add_argument("--quick", action="store_true", help="leave out method (i), which takes minutes")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print and write."""
    figures: dict[str, Any] = {}
    case = Case(100, 200)

    found = {}
    for name, (method, samples) in METHODS.items():
        if arguments.quick and method is flat_in_pyspice:
            continue
        found[name] = milliseconds(method, case.some(samples), arguments.repeats, warm_up=samples > 1)
    best = found["(iii) Norton form, one .dc sweep"]
    console.table(
        "784x2-100-10, free and both nudges, one process",
        ["method", "ms per equilibrium", "relative to (iii)"],
        [[name, f"{value:.3g}", f"{value / best:,.3g}"] for name, value in found.items()],
    )
    figures["method"] = found

    by_batch = {n: milliseconds(norton_sweep, case.some(n), arguments.repeats) for n in (1, 5, 10, 20, 50, 100, 200)}
    columns = ["samples in one sweep", *map(str, by_batch)]
    console.table(
        "Sweep by batch, 100 hidden", columns, [["ms per equilibrium", *(f"{v:.3g}" for v in by_batch.values())]]
    )
    by_size = {h: milliseconds(norton_sweep, Case(h, 20), arguments.repeats) for h in (25, 50, 100, 200, 500)}
    columns = ["hidden nodes", *map(str, by_size)]
    console.table(
        "Sweep by size, 20 samples", columns, [["ms per equilibrium", *(f"{v:.3g}" for v in by_size.values())]]
    )
    by_workers = {workers: _solver_milliseconds(case.some(100), workers, arguments.repeats) for workers in (1, 2)}
    columns = ["workers", *map(str, by_workers)]
    rows = [["ms per equilibrium", *(f"{v:.3g}" for v in by_workers.values())]]
    console.table("NgspiceSolver, 100 samples, certification included, wall time", columns, rows)
    by_nudge = {
        "conductances, one sweep": by_workers[1],
        "cross-entropy currents, two sweeps": _solver_milliseconds(
            case.some(100).with_currents(), 1, arguments.repeats
        ),
    }
    rows = [[name, f"{value:.3g}"] for name, value in by_nudge.items()]
    console.table("The same by nudge, one worker", ["nudge", "ms per equilibrium"], rows)
    figures |= {"batch": by_batch, "hidden": by_size, "workers": by_workers, "nudge": by_nudge}
    options.report_figures(arguments, figures)


def _solver_milliseconds(case: Case, workers: int, repeats: int) -> float:
    solver = NgspiceSolver(workers)

    def method(some: Case) -> np.ndarray:
        phases = solver.solve_phases(some.network, some.inputs, some.nudges)
        return np.stack([np.concatenate(phase.voltages, axis=1) for phase in phases], axis=1)

    try:
        return milliseconds(method, case, repeats)
    finally:
        solver.close()


def _options() -> str:
    return ".options " + " ".join(f"{key}={value!r}" for key, value in TOLERANCES.items()) + "\n"


def _operating_point(text: str, case: Case) -> list[float]:
    spice = libngspice.library()
    spice.load_circuit(text)
    spice.exec_command("run")
    voltages = [float(spice.vector(net)[0]) for net in case.nets]
    spice.exec_command("destroy all")
    spice.exec_command("remcirc")
    return voltages
