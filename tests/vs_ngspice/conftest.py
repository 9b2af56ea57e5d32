"""Two ways to run ngspice: the solver of this package, and the program with a file."""

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from eqprop_analog import NgspiceSolver

PRINTED = re.compile(r"^(\S+) = (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """The result of ``ngspice -b FILE``."""

    code: int
    values: dict[str, float]
    """Everything that the file printed as ``name = number``."""
    text: str


RunNgspice = Callable[[str], Run]

BOTH = {
    "agreement",
    "clamps_at_knees",
    "diode_law",
    "direct_solvers",
    "forms",
    "graph_agreement",
    "hopfield_agreement",
    "nonideal_agreement",
    "sweep_form",
    "whole_chip",
    "written_netlists",
}
"""Test files that CI also runs with the newest ngspice (.ci/both_ngspices)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests; this function receives the tests of every folder."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.stem.removeprefix("test_") in BOTH:
            item.add_marker("both_ngspices")


@pytest.fixture(scope="session")
def ngspice() -> Iterator[NgspiceSolver]:
    """One solver with one warm worker for all agreement tests, Norton form."""
    solver = NgspiceSolver()
    yield solver
    solver.close()


@pytest.fixture(scope="session")
def flat_ngspice() -> Iterator[NgspiceSolver]:
    """The same in the flat form."""
    solver = NgspiceSolver(form="flat")
    yield solver
    solver.close()


@pytest.fixture
def run_ngspice(tmp_path: Path) -> RunNgspice:
    """Run a netlist's text in the plain program, as a user would."""

    def run(netlist: str) -> Run:
        path = tmp_path / "circuit.cir"
        path.write_text(netlist)
        done = subprocess.run(
            ["ngspice", "-b", path.name], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        values = {name: float(number) for name, number in PRINTED.findall(done.stdout)}
        return Run(done.returncode, values, done.stdout + done.stderr)

    return run
