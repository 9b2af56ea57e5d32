"""``eqprop-analog doctor``: checks the requirements on this machine, and prints the commands that install what is missing.

It uses only the standard library, and every check that may fail runs in a separate process. A broken library, or a
libngspice that crashes its process, is therefore only a row of the table.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from eqprop_analog.cli import console
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.isolated import command

SUMMARY = (
    "Check ngspice, libraries, data, processors and disk; report what is missing, what it is "
    "needed for, and how to install it."
)
EXAMPLES = """\
examples:
  the state of this machine, for a bug report:         --json doctor.json

ok: present and working. missing: not installed. problem: installed, but not working. Optional items are marked. The exit
code is 3 if a required item is missing or does not work. Nothing is downloaded."""

LIBRARIES: Mapping[str, str] = {
    "filelock": "locks files that several processes use",
    "jaxtyping": "shapes in the source",
    "jinja2": "reports as HTML",
    "matplotlib": "plots",
    "networkx": "circuits as graphs",
    "numpy": "all arithmetic",
    "pillow": "images as data",
    "platformdirs": "locates the cache of data sets",
    "pooch": "downloads data sets",
    "pydantic": "checks settings",
    "PySpice": "talks to libngspice",
    "rich": "tables and progress",
    "schemdraw": "draws schematics",
    "scipy": "sparse and special mathematics",
    "shtab": "shell completion",
    "threadpoolctl": "limits threads",
    "tomli-w": "writes TOML",
}
"""Dependencies of the package, and their purpose."""
OPTIONAL: Mapping[str, tuple[str, str]] = {
    "numba": (
        "compiles the training step; without it NumPy is used, which is three times slower",
        "pip install 'eqprop-analog[fast]'",
    ),
    "torch": ("training on a GPU", "pip install torch"),
    "scikit-learn": ("the data set digits", "pip install 'eqprop-analog[digits]'"),
    "distributed": ("--cluster: work on several machines", "pip install 'eqprop-analog[cluster]'"),
}
MODULES = {"pillow": "PIL", "scikit-learn": "sklearn", "tomli-w": "tomli_w"}
"""Modules of distributions with a different name."""
SECONDS = 120.0
"""Time limit of a check, seconds: long enough for the first import of a large library from a slow disk."""
ROOM = 2 * 10**9
"""Free disk space, bytes, that data sets and some runs need."""
NGSPICE = (
    "Debian/Ubuntu: apt-get install ngspice libngspice0; Fedora: dnf install ngspice libngspice; "
    "macOS: brew install ngspice libngspice"
)

Status = Literal["ok", "missing", "problem"]


@dataclass(frozen=True)
class Row:
    """The result of a check."""

    check: str
    status: Status
    found: str
    meaning: str = ""
    """The purpose of what was checked."""
    advice: str = ""
    """The command that mends it."""
    needed: bool = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the result of every check as JSON; with -, to standard output, and all other output to standard error",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run all checks, print one row for each, and advice for those that are not ok."""
    rows: list[Row] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        checks = (
            _python,
            *_library_checks(),
            _program,
            libngspice,
            *_data_checks(),
            _processors,
            _cache,
            _folder,
            _disk,
        )
        for found in threads.map(_guarded, checks):
            rows.append(found)
            optional = "" if found.needed else " (optional)"
            console.result(
                f"{found.status:<8} {found.check:<22}{found.found}{optional if found.status != 'ok' else ''}"
            )
            if found.status != "ok":
                for label, text in (("for", found.meaning), ("do", found.advice)):
                    if text:
                        console.result(f"{'':<9}{label + ':':<6}{text}")
    bad = [row for row in rows if row.needed and row.status != "ok"]
    if arguments.json is not None:
        _write(arguments.json, {"command": "doctor", "met": not bad, "checks": [asdict(row) for row in rows]})
    if bad:
        raise NotMetError(f"required, but missing or not working: {', '.join(row.check for row in bad)}; see above")
    console.say("Everything required is installed and works.")


def _guarded(check: Callable[[], Row]) -> Row:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - any failure here is the result of the check
        name = check.args[0] if isinstance(check, partial) else getattr(check, "__name__", "check")
        return Row(str(name).strip("_"), "problem", f"{type(error).__name__}: {error}")


def _write(path: Path, figures: dict[str, Any]) -> None:
    figures["versions"] = {row["check"]: row["found"] for row in figures["checks"] if row["status"] == "ok"}
    text = json.dumps(figures, indent=2)
    if path == Path("-"):
        console.figures(text)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose a folder you can write to") from error


def _python() -> Row:
    found = f"{platform.python_version()}, {platform.platform(terse=True)}"
    try:
        found += f"; eqprop-analog {version('eqprop-analog')}"
    except PackageNotFoundError:
        advice = "pip install -e . in the folder with pyproject.toml"
        return Row("Python", "problem", f"{found}; eqprop-analog is not installed", "versions in every result", advice)
    return Row("Python", "ok", found)


def _library_checks() -> Iterator[Callable[[], Row]]:
    for name, meaning in LIBRARIES.items():
        yield partial(library, name, meaning, f"pip install '{_bounds(name)}'")
    for name, (meaning, advice) in OPTIONAL.items():
        yield partial(library, name, meaning, advice, needed=False)


def library(name: str, meaning: str, advice: str, *, needed: bool = True) -> Row:
    """Check that a library can be imported in a fresh process, and that its version is supported."""
    try:
        number = version(name)
    except PackageNotFoundError:
        return Row(name, "missing", "not installed", meaning, advice, needed)
    if trouble := _trouble(f"import {MODULES.get(name, name)}"):
        return Row(name, "problem", f"{number} cannot be imported: {trouble}", meaning, advice, needed)
    bounds = _bounds(name)
    if not within(number, bounds):
        return Row(name, "problem", f"{number}, expected {bounds}", meaning, f"pip install '{bounds}'", needed)
    return Row(name, "ok", number, meaning, needed=needed)


def _bounds(name: str) -> str:
    """Return the requirement of the installed package, such as "numpy<3,>=2.0"; the bare name if only an extra requires it."""
    try:
        stated = requires("eqprop-analog") or []
    except PackageNotFoundError:
        return name
    lowered = name.lower()
    mine = (line.partition(";")[0].strip() for line in stated if "extra ==" not in line)
    return next((line for line in mine if line.lower().startswith(lowered) and not line[len(name)].isalnum()), name)


def within(number: str, bounds: str) -> bool:
    """Return whether a version satisfies "NAME<2,>=1"; true if the library packaging is missing."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return True
    return Requirement(bounds).specifier.contains(number, prereleases=True)


def _child(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python ``code`` in a fresh process that finds the same modules; raises TimeoutExpired after SECONDS."""
    return subprocess.run(
        command(code), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def _trouble(code: str) -> str:
    """Return the last line of the error that ``code`` raises; empty if it succeeds."""
    try:
        done = _child(code)
    except subprocess.TimeoutExpired:
        return f"not finished after {SECONDS:g} s"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"its process ended with exit code {done.returncode}"])[-1]


def _program() -> Row:
    meaning = "runs a written netlist: ngspice -b FILE.cir"
    path = shutil.which("ngspice")
    if path is None:
        return Row("ngspice program", "missing", "not on PATH", meaning, NGSPICE, needed=False)
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=30)
    number = next((word for word in done.stdout.split() if word.startswith("ngspice-")), "")
    if not number:
        said = " ".join((done.stdout + done.stderr).split())[:100]
        return Row(
            "ngspice program", "problem", f"{path} does not report its version: {said}", meaning, NGSPICE, needed=False
        )
    return Row("ngspice program", "ok", f"{number.removeprefix('ngspice-')}, {path}", meaning, needed=False)


def libngspice() -> Row:
    """Check libngspice by a solution: the ordinary solver, in its worker process, computes the voltage of a divider."""
    name, meaning = (
        "libngspice",
        "solves circuits: simulate, verify, --solver ngspice, and the verification at the end of training",
    )
    advice = f"{NGSPICE}; elsewhere set NGSPICE_LIBRARY_PATH to the library's file"
    try:
        done = _child("from eqprop_analog.cli.doctor import divider; divider()")
    except subprocess.TimeoutExpired:
        return Row(name, "problem", f"a divider was not solved within {SECONDS:g} s", meaning, advice)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = (done.stderr.strip().splitlines() or [f"the process ended with exit code {done.returncode}"])[-1]
        said = (said.partition("UserError: ")[2] or said).partition(". ")[0]
        missing = "not installed" in said or "no such library" in said
        return Row(name, "missing" if missing else "problem", said, meaning, advice)
    found = json.loads(lines[-1])
    text = f"{found['version']}, {found['path']}; a divider of 3 and 1 µS at ±1 V: {found['volts']:.12g} V in a worker"
    if abs(found["volts"] - found["expected"]) > 1e-9:
        return Row(name, "problem", f"{text}, expected {found['expected']}", meaning, advice)
    return Row(name, "ok", text, meaning)


def divider() -> None:
    """Print ngspice's voltage of a divider of 3 µS to +1 V and 1 µS to -1 V, which is 0.5 V, as JSON."""
    import ctypes

    import numpy as np

    from eqprop_analog import NgspiceSolver, ResistiveNetwork
    from eqprop_analog.spice.ngspice import library as libngspice

    network = ResistiveNetwork.dense([1, 1])
    network.conductances[0][:] = [[3e-6], [1e-6]]
    solver = NgspiceSolver()
    try:
        major = solver.start()
        volts = solver.solve(network, np.ones((1, 1))).require().outputs[0, 0]
    finally:
        solver.close()
    path = libngspice.library_path()
    ctypes.CDLL(path)  # the loader searches a name without a folder; the file that it found is in the memory map
    maps = Path("/proc/self/maps")
    mapped = maps.read_text(encoding="utf-8").split() if maps.exists() else []
    where = next((word for word in mapped if Path(word).name.startswith(Path(path).name)), path)
    figures = {"version": major, "path": where, "volts": float(volts), "expected": 0.5}
    sys.stdout.write(json.dumps(figures) + "\n")


def _data_checks() -> Iterator[Callable[[], Row]]:
    for name in ("mnist", "fashion-mnist", "cifar-10"):
        yield partial(dataset, name)


def dataset(name: str) -> Row:
    """Check whether the cache holds a data set as published; otherwise list its sources."""
    meaning = f"--dataset {name}"
    code = f"from eqprop_analog.cli.doctor import cached; cached({name!r})"
    done = _child(code)
    if done.returncode:
        return Row(name, "problem", (done.stderr.strip().splitlines() or ["?"])[-1], meaning, needed=False)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["good"]:
        return Row(name, "ok", f"as published, in {found['folder']}", meaning, needed=False)
    if found["there"]:
        return Row(name, "problem", found["why"], meaning, f"rm -r {found['folder']}", needed=False)
    sources = ", ".join(found["sources"])
    advice = f"nothing to do: it is downloaded when it is first needed ({sources}); or give its folder by --data-dir"
    return Row(name, "missing", f"not in {found['folder']}", meaning, advice, needed=False)


def cached(name: str) -> None:
    """Print the state of a data set in the cache, as JSON."""
    from eqprop_analog.data.publications import PUBLICATIONS, cache_dir, read
    from eqprop_analog.errors import UserError

    publication, folder = PUBLICATIONS[name], cache_dir() / name
    figures: dict[str, Any] = {"folder": str(folder), "there": folder.is_dir(), "good": False, "why": ""}
    figures["sources"] = [label for label, _ in publication.sources if label != "the cache"]
    try:
        read(publication, folder)
        figures["good"] = True
    except (UserError, OSError) as error:
        figures["why"] = str(error)
    sys.stdout.write(json.dumps(figures) + "\n")


def _processors() -> Row:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    code = (
        "import json, numpy, scipy.linalg, threadpoolctl; "
        "print(json.dumps([[p['internal_api'], p.get('version') or '', p['num_threads']] "
        "for p in threadpoolctl.threadpool_info() if p['user_api'] == 'blas']))"
    )
    done = _child(code)
    pools = json.loads(done.stdout) if done.returncode == 0 else []
    blas = ", ".join(sorted({f"{api} {number} of {count} threads" for api, number, count in pools})) or "no BLAS found"
    limits = [
        f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS") if name in os.environ
    ]
    return Row(
        "processors", "ok", f"{usable} usable; {', '.join([blas, *limits])} (a run takes its `threads`, 1 by default)"
    )


def _cache() -> Row:
    folder = os.environ.get("EQPROP_ANALOG_CACHE")
    if not folder:
        from platformdirs import user_cache_dir

        folder = user_cache_dir("eqprop-analog")
    advice = "export EQPROP_ANALOG_CACHE=FOLDER, a folder that can be written"
    return _writable("cache", Path(folder), "keeps data sets, so that they are downloaded once", advice)


def _folder() -> Row:
    return _writable(
        "current folder", Path.cwd(), "run folders are written here", "change to a folder that can be written"
    )


def _writable(name: str, folder: Path, meaning: str, advice: str) -> Row:
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Row(name, "problem", f"{folder} cannot be written ({error.strerror})", meaning, advice)
    return Row(name, "ok", f"{folder} can be written" + ("" if existing == folder else ", once it is created"), meaning)


def _disk() -> Row:
    free = shutil.disk_usage(Path.cwd()).free
    found, meaning = f"{free / 1e9:.1f} GB free", "data sets, runs and checkpoints"
    if free < ROOM:
        return Row("disk", "problem", found, meaning, f"free some space: {ROOM / 1e9:g} GB are enough to begin")
    return Row("disk", "ok", found, meaning)
