"""``eqprop-analog study``: agreement of the surrogate and ngspice on hundreds of random circuits."""

import argparse
import json
import math
from concurrent.futures import TimeoutError as TimeLimitExceeded
from pathlib import Path
from typing import Any

from eqprop_analog.cli import console, options
from eqprop_analog.devices import LAWS
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.experiments.results import versions
from eqprop_analog.files import locked, require_writable, write_csv
from eqprop_analog.networks.resistive import random_circuits as study
from eqprop_analog.plotting.agreement import random_circuits
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.cluster import workers_for
from eqprop_analog.spice.ngspice.tasks import Work
from eqprop_analog.spice.ngspice.workers import WorkerLostError

SUMMARY = "Solve random circuits, free and nudged, in ngspice and the surrogate, and report the differences."
EXAMPLES = """\
examples:
  the full study, two processes:       --workers 2
  one of its circuits again:           --circuit 123
  complete chips, including wires:     --chips --circuits 300 --workers 2

Every circuit has a file in the output folder; an interrupted study continues with the missing circuits."""
CIRCUITS, OUTPUT, CHIPS_OUTPUT = 500, Path("runs/study"), Path("runs/study-chips")
"""Default number of circuits of a study."""
TIME_LIMIT = 600.0
"""Time limit of one circuit, seconds."""
SHOWN = 8
"""Number of circuits in the table of the largest differences."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument(
        "--chips",
        action="store_true",
        help="complete chips: crossbars with wires of 0.1 to 100 ohms in tiles, linear and nonlinear cells, imperfect diodes, "
        "amplifiers and sources",
    )
    parser.add_argument("--circuits", type=int, metavar="N", help=f"number of circuits (default {CIRCUITS})")
    parser.add_argument("--seed", type=int, default=0, help="seed of all circuits (default 0)")
    parser.add_argument(
        "--circuit", type=int, metavar="N", help="solve only this circuit; no file is written except --json"
    )
    parser.add_argument(
        "--laws",
        nargs="+",
        metavar="LAW",
        help="diode laws of the random circuits (default: every law that can be drawn at random)",
    )
    options.add_workers(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help=f"output folder (default {OUTPUT}, with --chips {CHIPS_OUTPUT})"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure the missing circuits, then report all results."""
    for name, least in (("circuits", 1), ("seed", 0), ("circuit", 0)):
        if (value := getattr(arguments, name)) is not None and value < least:
            raise UserError(f"--{name}: expected at least {least}, got {value}")
    for name, usual in (("circuits", CIRCUITS), ("output", CHIPS_OUTPUT if arguments.chips else OUTPUT)):
        if getattr(arguments, name) is None:
            setattr(arguments, name, usual)
    options.count_workers(arguments)
    libngspice.library_path()
    among = _among(arguments.laws)
    work = workers_for(arguments.workers, TIME_LIMIT)
    try:
        if arguments.circuit is not None:
            figures = work.result(
                work.submit(study.measure, arguments.seed, arguments.circuit, among, _drawn(arguments)[0])
            )
            options.report_figures(arguments, figures)
            console.result(json.dumps(figures, indent=2))
            missed = [] if figures["met"] else [arguments.circuit]
        else:
            with locked(arguments.output):
                missed = _all(work, arguments, among)
    finally:
        work.close()
    if missed:
        raise NotMetError(f"ngspice and the surrogate exceed the bounds in circuits {missed} (--circuit N shows one)")


def _drawn(arguments: argparse.Namespace) -> tuple[study.Draw, float]:
    """The generator of its circuits, and the bound on their median difference, which does not exist for chips."""
    if not arguments.chips:
        return study.draw, study.MEDIAN_DIFFERENCE
    from eqprop_analog.networks.whole_chip.random_chips import draw

    return draw, math.inf


def _among(laws: list[str] | None) -> list[tuple[str, bool]]:
    """The diode laws among which the circuits alternate. Raises UserError for a law without a random draw."""
    kinds = study.kinds()
    known = dict.fromkeys(name for name, _ in kinds)
    for name in laws or ():
        if name in LAWS and name not in known:
            raise UserError(
                f"--laws: law {name} does not define random parameters (drawn), so it cannot be used in random circuits"
            )
        if name not in known:
            raise UserError(f'--laws: law "{name}" is unknown; {LAWS.there_are(name)}')
    return [kind for kind in kinds if not laws or kind[0] in laws]


def _all(work: Work, arguments: argparse.Namespace, among: list[tuple[str, bool]]) -> list[int]:
    """Measure the circuits that have no file yet, write and print the report; returns the circuits that exceed a bound."""
    folder, seed, count = arguments.output, arguments.seed, arguments.circuits
    drawn, median = _drawn(arguments)
    require_writable(study.path_of(folder, 0))
    found = study.read(folder, seed, count, among=among)
    if found:
        console.say(
            f"{folder} holds {len(found)} of {count} circuits already (delete the folder to measure them again)"
        )
    missing = [number for number in range(count) if number not in found]
    jobs = [work.submit_in(folder.absolute(), [], study.measure_into, seed, number, among, drawn) for number in missing]
    with console.stage("agreement study", count, "circuits") as progress:
        for number, job in zip(missing, jobs, strict=True):
            try:
                work.result(job)
            except (TimeLimitExceeded, WorkerLostError) as error:
                study.give_up(folder, seed, number, f"{type(error).__name__}: {error}", among, drawn)
            found |= study.read(folder, seed, count, [number], among)
            progress(len(found), math.nan)
    circuits = [found[number] for number in range(count)]
    figures = study.summary(circuits, median)
    options.write_json(folder / "study.json", {"seed": seed, **figures, "versions": versions()})
    options.report_figures(arguments, figures | {"seed": seed, "circuit": circuits})
    write_csv(folder / "study.csv", circuits)
    random_circuits(circuits, folder / "agreement.png")
    _print(figures, circuits, chips=arguments.chips)
    console.say(f"in {folder}: study.json, study.csv, agreement.png, circuits/")
    missed = list(figures["circuits_not_met"])
    if not missed and not figures["met"]:
        raise NotMetError(f"the median difference is above {median:g}")
    return missed


def _print(figures: dict[str, Any], circuits: list[dict[str, Any]], *, chips: bool) -> None:
    spread = {
        "|ΔV| / max(1 V, largest |V|)": figures["relative_difference"],
        "gradients, |Δ| / largest of the layer": figures["gradient_difference"],
        "condition number of the linearised circuit": figures["condition"],
    }
    console.table(
        f"{figures['circuits']} random {'chips' if chips else 'circuits'}, {figures['equilibria']} equilibria in each solver",
        ["", "median", "90 %", "99 %", "largest"],
        [[name, *(f"{value:.1e}" for value in values.values())] for name, values in spread.items()],
    )
    statuses = [
        [solver, ", ".join(f"{n} {name}" for name, n in c.items())] for solver, c in figures["statuses"].items()
    ]
    bounds = [
        [
            "circuits that ngspice solved only after retries",
            str(len(figures["circuits_asked_again"])),
        ],
        ["circuits where the bound on |ΔV| is due to rounding", str(figures["circuits_bound_by_rounding"])],
        [
            "gradients of layers bound by rounding",
            f"{figures['gradients_bound_by_rounding']} of {figures['gradients']}",
        ],
        ["largest difference of these, in units of rounding", f"{figures['gradient_roundings']:.2g}"],
        ["circuits that exceed a bound", str(len(figures["circuits_not_met"]))],
    ]
    console.table("Statuses and bounds", ["", ""], statuses, bounds)
    solved = [circuit for circuit in circuits if "relative_difference" in circuit]
    worst = sorted(solved, key=lambda circuit: circuit["relative_difference"], reverse=True)[:SHOWN]
    console.table(
        f"Largest differences; `study --seed {circuits[0]['seed']} --circuit N` repeats one of them",
        ["layers", "N", "law", "nudge", "|ΔV|", "gradients", "condition"],
        [
            [
                "-".join(map(str, circuit["layers"])),
                str(circuit["number"]),
                " ".join(filter(None, (circuit["diode"].get("arrangement"), circuit["diode"]["law"]))),
                circuit["nudge"] if circuit["cost"] == "squared-error" else circuit["cost"],
                *(f"{circuit[name]:.1e}" for name in ("relative_difference", "gradient_difference", "condition")),
            ]
            for circuit in worst
        ],
    )
