"""Kills small training runs at random moments and while they write, and tests whether they resume bit-identically.

The runs train on scikit-learn's digits. Then the memory of long runs is measured. The exit code is 3 if the results of a resumed
run are not bit-identical.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

from benchmarks import killing
from eqprop_analog.cli import console, options
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.spice.ngspice import library as libngspice

MIB = 2**20
SMALL = 16 * MIB


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="total number of kills (default 100)")
    parser.add_argument(
        "--epochs",
        type=int,
        default=200,
        metavar="N",
        help="epochs of the long runs whose memory is measured (default 200; 0: none)",
    )
    parser.add_argument(
        "--small-disk",
        type=Path,
        metavar="DIR",
        help="a separate, empty file system of a few MiB that is filled: mount -t tmpfs -o size=4m tmpfs DIR",
    )
    parser.add_argument(
        "--fillings",
        type=int,
        default=10,
        metavar="N",
        help="number of times that the small disk is filled (default 10)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments (default 0)")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Kill, resume and compare; then measure the memory of long runs."""
    for name, least in (("kills", 0), ("epochs", 0), ("fillings", 0), ("seed", 0)):
        if (value := getattr(arguments, name)) < least:
            raise UserError(f"--{name}: expected at least {least}, got {value}")
    if 0 < arguments.epochs < 8:
        raise UserError(f"--epochs: memory is measured over at least 8, got {arguments.epochs}")
    libngspice.library_path()
    if arguments.small_disk is not None:
        _require_small(arguments.small_disk)
    random = np.random.default_rng(arguments.seed)
    killed = _killed(arguments.kills, random) if arguments.kills else []
    filled = _filled(arguments.small_disk, arguments.fillings, random) if arguments.small_disk else []
    long = _long(arguments.epochs) if arguments.epochs else []
    options.report_figures(arguments, {"killed": killed, "filled": filled, "long": long, "seed": arguments.seed})
    lost = sum(each["kills"] - each["same_bits"] for each in killed)
    lost += sum(each["filled"] - min(each["refused"], each["same_bits"]) for each in filled)
    if lost:
        raise NotMetError(f"the results of {lost} resumed runs are not bit-identical")


def _require_small(disk: Path) -> None:
    """Raise UserError unless the disk is small, separate and empty, because it is filled to the last byte."""
    if not disk.is_mount() or any(disk.iterdir()) or shutil.disk_usage(disk).total > SMALL:
        raise UserError(f"--small-disk {disk}: expected a separate, empty file system of at most {SMALL // MIB} MiB")


def _filled(disk: Path, times: int, random: np.random.Generator) -> list[killing.Figures]:
    figures = []
    for trial in (killing.TRIALS[2], killing.TRIALS[4]):
        with console.stage(trial.name, times, unit="times") as progress:
            figures.append(killing.filled(trial, times, random, disk, lambda done: progress(done, 0.0)))
    rows = [[each["trial"], *(str(each[name]) for name in ("filled", "refused", "same_bits"))] for each in figures]
    console.table("resumed runs after a full disk", ["run", "full disks", "reported", "bit-identical"], rows)
    return figures


def _killed(kills: int, random: np.random.Generator) -> list[killing.Figures]:
    figures = []
    parts = np.array_split(np.arange(kills), len(killing.TRIALS))
    for trial, part in zip(killing.TRIALS, parts, strict=True):
        if len(part):
            with console.stage(trial.name, len(part), unit="kills") as progress:
                figures.append(killing.killed(trial, len(part), random, lambda done: progress(done, 0.0)))
    rows = [[each["trial"], *(str(each[name]) for name in ("kills", "while_writing", "same_bits"))] for each in figures]
    total = [str(sum(each[name] for each in figures)) for name in ("kills", "while_writing", "same_bits")]
    console.table(
        "resumed runs after a kill", ["run", "kills", "while writing", "bit-identical"], rows, [["all", *total]]
    )
    return figures


def _long(epochs: int) -> list[killing.Figures]:
    figures = []
    for trial in (killing.TRIALS[0], killing.TRIALS[-1]):
        console.say(f"{epochs} epochs: {trial.name}")
        figures.append(killing.remembered(trial, epochs))
    rows = [
        [
            each["trial"],
            f"{each['resident_bytes'][len(each['resident_bytes']) // 2] / MIB:,.1f}",
            f"{each['resident_bytes'][-1] / MIB:,.1f}",
            f"{each['bytes_per_epoch'] / 1024:+,.2f}",
        ]
        for each in figures
    ]
    title = f"resident memory of runs of {epochs} epochs, workers included"
    console.table(title, ["run", "half-way (MiB)", "at the end (MiB)", "second half (KiB per epoch)"], rows)
    return figures
