"""libngspice may end its process: the task is retried without loss, and the messages of ngspice reach the user."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import Equilibrium, NgspiceSolver, Nudge, ResistiveNetwork, Status, SurrogateSolver, UserError
from eqprop_analog.networks.resistive.family import LADDER
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.spice.circuit import Circuit, Section
from eqprop_analog.spice.elements import Amplifiers, Diodes, Element
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice import workers as workers_module

INPUTS = np.random.default_rng(8).uniform(-1, 1, (6, 3))
LOGGER = "eqprop_analog.spice.ngspice.sweeps"


def network() -> ResistiveNetwork:
    return ResistiveNetwork.dense([3, 5, 2], seed=8, amplifier_gain=4.0, input_gain=3.0)


def assert_solved(found: Equilibrium, net: ResistiveNetwork, inputs: np.ndarray = INPUTS) -> None:
    assert found.status.tolist() == [Status.CONVERGED] * len(inputs)
    expected = SurrogateSolver().solve(net, inputs)
    assert max(np.abs(a - b).max() for a, b in zip(found.voltages, expected.voltages, strict=True)) < 1e-9


@pytest.fixture
def one_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one rung for samples, and a lost worker is replaced once."""
    monkeypatch.setattr(NgspiceSolver, "_ladder", lambda *_: LADDER[:1])
    monkeypatch.setattr(workers_module, "TRIES", 2)


@pytest.fixture
def solver() -> Iterator[NgspiceSolver]:
    made = NgspiceSolver()
    yield made
    made.close()


def dies_once(folder: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """In a worker: end the process at the first call, and run the task at the second."""
    if not list(Path(folder).iterdir()):
        (Path(folder) / "died").touch()
        signal.raise_signal(signal.SIGKILL)
    return function(*arguments)


def kill(pid: int) -> None:
    assert pid != os.getpid()
    os.kill(pid, signal.SIGKILL)


def test_libngspice_is_never_loaded_into_the_users_process(ngspice: NgspiceSolver) -> None:
    ngspice.start()
    assert "libngspice" not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("seconds", [0.0, 0.5], ids=["just before", "long before"])
def test_a_worker_killed_before_a_solve_costs_nothing(seconds: float, solver: NgspiceSolver) -> None:
    solver.start()
    kill(solver._work.result(solver._work.submit(os.getpid)))
    time.sleep(seconds)  # the pool may notice meanwhile
    assert_solved(solver.solve(network(), INPUTS), network())
    assert_solved(solver.solve(network(), INPUTS), network())


def test_a_worker_that_dies_at_a_sweep_costs_one_retry(
    solver: NgspiceSolver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    submit, jobs = solver._work.submit, []

    def dying(*task: Any) -> Any:
        jobs.append(submit(dies_once, str(tmp_path), *task))
        return jobs[-1]

    monkeypatch.setattr(solver._work, "submit", dying)
    assert_solved(solver.solve(network(), INPUTS), network())
    assert [job.lost for job in jobs] == [1]
    (message,) = caplog.messages
    assert "worker was lost" in message
    assert "SIGKILL" in message


def test_a_worker_killed_in_the_middle_of_its_sweep_costs_one_retry() -> None:
    net = ResistiveNetwork.dense([10, 150, 10], seed=1, amplifier_gain=4.0)
    inputs = np.random.default_rng(1).uniform(-1, 1, (100, 10))
    solver = NgspiceSolver(workers=2)
    try:
        solver.start()
        pid = solver._work.result(solver._work.submit(os.getpid))
        before = ticks(pid)
        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(solver.solve, net, inputs)
            while not found.done() and ticks(pid) < before + 5:
                time.sleep(0.005)
            if not found.done():
                kill(pid)
            assert_solved(found.result(), net, inputs)
    finally:
        solver.close()


def test_a_lost_worker_does_not_take_the_others_tasks_with_it(tmp_path: Path) -> None:
    workers = workers_module.Workers(2, time_limit=60.0)
    try:
        lost = workers.submit(dies_once, str(tmp_path), os.getpid)
        others = [workers.submit(time.sleep, 0.3) for _ in range(3)]  # running, and waiting for a worker
        assert workers.result(lost) != os.getpid()
        assert [workers.result(other) for other in others] == [None] * 3
    finally:
        workers.close()


def ticks(pid: int) -> int:
    """Processor time that a process has used, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def test_workers_that_always_die_leave_a_status_and_the_users_process(
    one_rung: None, solver: NgspiceSolver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    submit = solver._work.submit
    with monkeypatch.context() as patch:
        patch.setattr(solver._work, "submit", lambda *task: submit(signal.raise_signal, signal.SIGKILL))
        found = solver.solve(network(), INPUTS[:1])
    assert found.status.tolist() == [Status.SIMULATOR_FAILED]
    assert np.isnan(found.outputs).all()
    assert "worker was lost" in caplog.text
    with pytest.raises(UserError, match="sample 0: SIMULATOR_FAILED"):
        found.require()
    assert_solved(solver.solve(network(), INPUTS), network())


def test_a_closed_solver_starts_again(solver: NgspiceSolver) -> None:
    assert_solved(solver.solve(network(), INPUTS), network())
    solver.close()
    solver.close()
    assert_solved(solver.solve(network(), INPUTS), network())


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (Diodes("9_", (("rail_p", "h1_0"),), "nosuchcircuit", {}), "nosuchcircuit"),
        (Amplifiers(9, ("rail_p",), ("rail_n",), 2.0), "singular|no convergence|failed"),
        (Diodes("9_", (("rail_p", "h1_0 h1_1"),), "diode", {"is": 1.0}), "too many parameters"),
    ],
    ids=["unknown subcircuit", "source loop", "a net too many"],
)
def test_a_circuit_that_ngspice_refuses_has_a_status_and_ngspices_words_in_the_log(
    extra: Element,
    words: str,
    solver: NgspiceSolver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    honest = ResistiveNetwork.circuit

    def wrong(*arguments: Any, **options: Any) -> Circuit:
        circuit = honest(*arguments, **options)
        return replace(circuit, sections=(*circuit.sections, Section("what nobody can solve", (extra,))))

    with monkeypatch.context() as patch:
        patch.setattr(ResistiveNetwork, "circuit", wrong)
        found = solver.solve(network(), INPUTS[:2])
    assert found.status.tolist() == [Status.SIMULATOR_FAILED] * 2
    said = "\n".join(record.getMessage() for record in caplog.records if record.name == LOGGER)
    assert any(word in said.lower() for word in words.split("|")), said
    assert_solved(solver.solve(network(), INPUTS), network())  # and the worker still works


def test_a_killed_process_leaves_no_worker_behind_even_one_that_is_busy() -> None:
    script = """if True:
        import os, time
        from eqprop_analog.spice.ngspice.workers import Workers
        workers = Workers(1, time_limit=60)
        print(workers.result(workers.submit(os.getpid)), flush=True)
        workers.submit(time.sleep, 60)
        time.sleep(60)
    """
    main = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert main.stdout is not None
    worker = int(main.stdout.readline())
    time.sleep(0.5)  # the worker is asleep in its task
    kill(main.pid)
    main.wait()
    main.stdout.close()
    for _ in range(80):
        if not Path(f"/proc/{worker}").exists():
            return
        time.sleep(0.1)
    kill(worker)
    pytest.fail("the worker outlived its parent")


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_workers_memory_stays_flat_over_a_thousand_batches(solver: NgspiceSolver) -> None:
    circuit = compile_network(network(), INPUTS)
    worker = solver._work.result(solver._work.submit(os.getpid))

    def solve(batches: int) -> None:
        jobs = [solver._work.submit(libngspice.sweep, circuit) for _ in range(batches)]
        assert all(np.isfinite(solver._work.result(job)).all() for job in jobs)

    solve(200)
    before = resident(worker)
    solve(1000)
    assert solver._work.result(solver._work.submit(os.getpid)) == worker
    assert resident(worker) - before < 8e6  # a circuit that is not removed costs 160 kB


def test_exceeding_the_time_limit_costs_the_samples_a_status(one_rung: None, caplog: pytest.LogCaptureFixture) -> None:
    solver = NgspiceSolver(time_limit=0.01)  # less than loading libngspice takes
    try:
        found = solver.solve(network(), INPUTS[:1])
    finally:
        solver.close()
    assert found.status.tolist() == [Status.SIMULATOR_FAILED]
    assert "did not finish within 0.01 s" in caplog.text


def test_any_executor_will_do() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        solver = NgspiceSolver(executor=executor)
        free, plus = solver.solve_phases(network(), INPUTS, [Nudge(np.zeros((6, 2)), 1e-8)])
        assert_solved(free, network())
        assert plus.good.all()
        solver.close()
        assert executor.submit(os.getpid).result() != os.getpid()  # closing the solver leaves it to its owner


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nonexistent/libngspice")


def test_a_missing_libngspice_is_an_error_that_says_what_to_type(without_library: None) -> None:
    with pytest.raises(
        UserError, match=r"/nonexistent/libngspice: no such library.*apt-get install ngspice libngspice0"
    ):
        NgspiceSolver()


def test_workers_are_counted_from_one() -> None:
    with pytest.raises(UserError, match="workers must be an integer of at least 1, got 0"):
        NgspiceSolver(workers=0)


UNGUARDED = """\
import numpy as np
from eqprop_analog import NgspiceSolver, ResistiveNetwork

print("the script runs")
network = ResistiveNetwork.dense([2, 3, 1], seed=0)
print(NgspiceSolver().solve(network, np.ones((1, 2))).status[0].name)
"""


def python(*arguments: str, folder: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], input=text, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(params=["file", "standard input", "-c"])
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    (tmp_path / "script.py").write_text(UNGUARDED)
    return {
        "file": lambda: python("script.py", folder=tmp_path),
        "standard input": lambda: python("-", folder=tmp_path, text=UNGUARDED),
        "-c": lambda: python("-c", UNGUARDED, folder=tmp_path),
    }[request.param]


def test_a_users_script_needs_no_main_guard(script: Callable[[], subprocess.CompletedProcess[str]]) -> None:
    done = script()
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["the script runs", "CONVERGED"]
    assert done.returncode == 0
