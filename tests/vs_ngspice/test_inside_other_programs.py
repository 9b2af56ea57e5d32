"""A solver works in every process: in daemons, after a fork, from many threads, in any folder, within limits."""

import copy
import errno
import logging
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, ResistiveNetwork, SurrogateSolver, UserError, incoming
from eqprop_analog.cli import main
from eqprop_analog.isolated import command
from eqprop_analog.spice.ngspice import child as child_module
from eqprop_analog.spice.ngspice.workers import START_PAUSES, Workers

INPUTS = np.random.default_rng(3).uniform(-1, 1, (4, 2))
SOURCES = (str(Path(__file__).parents[2]), str(Path(__file__).parent))


def network() -> ResistiveNetwork:
    return ResistiveNetwork.dense([2, 3, 1], seed=0)


def solved(solver: NgspiceSolver | None = None) -> np.ndarray:
    """A solver's result for the same inputs, in any process."""
    given = NgspiceSolver() if solver is None else solver
    try:
        return given.solve(network(), INPUTS).require().outputs
    finally:
        if solver is None:
            given.close()


def assert_right(outputs: np.ndarray) -> None:
    np.testing.assert_allclose(outputs, SurrogateSolver().solve(network(), INPUTS).outputs, rtol=0, atol=1e-10)


@pytest.fixture
def solver() -> Iterator[NgspiceSolver]:
    made = NgspiceSolver()
    yield made
    made.close()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_in_a_daemon_of_a_pool(method: str) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert_right(pool.apply(solved))


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_in_joblib_made_there_and_sent_there(backend: str, solver: NgspiceSolver) -> None:
    joblib = pytest.importorskip("joblib")
    solver.start()
    tasks = [joblib.delayed(solved)(), joblib.delayed(solved)(solver)]
    for outputs in joblib.Parallel(n_jobs=2, backend=backend)(tasks):
        assert_right(outputs)


def test_in_a_dask_worker_with_its_nanny(tmp_path: Path, solver: NgspiceSolver) -> None:
    distributed = pytest.importorskip("distributed")
    options = {"threads_per_worker": 2, "dashboard_address": None, "local_directory": str(tmp_path)}
    with (
        distributed.LocalCluster(n_workers=1, silence_logs=logging.CRITICAL, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        for outputs in client.gather([client.submit(solved), client.submit(solved, solver)]):
            assert_right(outputs)


def test_a_fork_starts_workers_of_its_own_and_leaves_the_parents(solver: NgspiceSolver) -> None:
    assert_right(solved(solver))
    worker = solver._work.result(solver._work.submit(os.getpid))

    def other() -> tuple[int, np.ndarray]:
        assert_right(solved(solver))
        return solver._work.result(solver._work.submit(os.getpid))

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=lambda: (theirs.send(other()), solver.close()))
    process.start()
    assert ours.poll(60)
    assert ours.recv() != worker
    process.join(60)
    assert process.exitcode == 0
    assert solver._work.result(solver._work.submit(os.getpid)) == worker


def test_many_threads_share_one_solver() -> None:
    solver = NgspiceSolver(workers=2)
    try:
        with ThreadPoolExecutor(6) as threads:
            for outputs in threads.map(lambda _: solved(solver), range(12)):
                assert_right(outputs)
    finally:
        solver.close()


def test_a_copy_of_a_solver_has_workers_of_its_own(solver: NgspiceSolver) -> None:
    solver.start()
    for other in (pickle.loads(pickle.dumps(solver)), copy.deepcopy(solver)):
        assert_right(solved(other))
        other.close()
    assert_right(solved(solver))


def test_a_solver_on_an_executor_is_not_sent_to_another_process() -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(UserError, match="executor"):
        pickle.dumps(NgspiceSolver(executor=threads))


def test_what_is_interrupted_leaves_nothing_to_be_done(solver: NgspiceSolver, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, submit, result = [], solver._work.submit, solver._work.result

    def listed(*task: Any) -> Any:
        jobs.append(submit(*task))
        return jobs[-1]

    def interrupted(job: Any) -> Any:
        if job is jobs[1]:
            raise KeyboardInterrupt
        return result(job)

    with monkeypatch.context() as patch:
        patch.setattr(solver._work, "submit", listed)
        patch.setattr(solver._work, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solver.solve(network(), np.tile(INPUTS, (250, 1)))
    assert len(jobs) == 10
    assert all(job.future.done() for job in jobs)
    assert_right(solved(solver))


def test_cancelling_ends_what_has_begun_and_begins_nothing_more(tmp_path: Path) -> None:
    work = Workers(1, time_limit=600.0)
    try:
        begun = tmp_path / "begun"
        jobs = [work.submit(exec, f"open({str(begun)!r}, 'w').close(); import time; time.sleep(600)")]
        jobs += [work.submit(Path.touch, tmp_path / f"{k}") for k in range(5)]
        while not begun.exists():
            time.sleep(0.01)
        for job in jobs:
            work.cancel(job)
        assert work.result(work.submit(os.getpid)) > 0
        assert [path.name for path in tmp_path.iterdir()] == ["begun"]
        with pytest.raises(UserError, match="closed"):
            work.result(jobs[0])
    finally:
        work.close()


def test_a_task_of_the_users_script_is_refused_with_the_way_out() -> None:
    work = Workers(1, time_limit=60.0)
    here = sys.modules["__main__"]
    here.only_here = only_here  # type: ignore[attr-defined]
    try:
        with pytest.raises(UserError, match="module"):
            work.result(work.submit(only_here))
    finally:
        del here.only_here  # type: ignore[attr-defined]
        work.close()


def only_here() -> None:
    """Belongs to the script, which a worker does not run."""


only_here.__module__ = "__main__"


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """The operating system starts a number of processes and then refuses; the list of attempts."""
    attempts: list[int] = []
    start = subprocess.Popen

    def make(allowed: int) -> list[int]:
        def limited(*arguments: Any, **options: Any) -> Any:
            if "pass_fds" not in options:  # ldconfig, which finds the library
                return start(*arguments, **options)
            attempts.append(len(attempts))
            if len(attempts) > allowed:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return start(*arguments, **options)

        monkeypatch.setattr(child_module.subprocess, "Popen", limited)
        return attempts

    return make


def test_without_processes_the_systems_reason_is_said_after_a_few_attempts(
    refusing: Callable[[int], list[int]], solver: NgspiceSolver
) -> None:
    attempts = refusing(0)
    with pytest.raises(UserError, match=os.strerror(errno.EAGAIN)):
        solver.solve(network(), INPUTS)
    assert len(attempts) == len(START_PAUSES)
    with pytest.raises(UserError, match=os.strerror(errno.EAGAIN)):
        solver.start()


def test_fewer_processes_than_asked_for_do_the_work(
    refusing: Callable[[int], list[int]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    refusing(1)
    solver = NgspiceSolver(workers=4)
    try:
        assert_right(solver.solve(network(), INPUTS).require().outputs)
    finally:
        solver.close()
    assert os.strerror(errno.EAGAIN) in caplog.text


@pytest.mark.parametrize("files", [4, 8])
def test_a_limit_of_open_files_is_named_as_what_it_is(files: int, tmp_path: Path) -> None:
    script = f"""if True:
        import sys, resource
        sys.path[:0] = {SOURCES!r}
        from test_inside_other_programs import *
        assert_right(SurrogateSolver().solve(network(), INPUTS).outputs)
        resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
        try:
            solved()
        except UserError as error:
            print(error)
    """
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert os.strerror(errno.EMFILE) in done.stdout


def run(script: str, folder: Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-c", script]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with ngspice's init file, and modules with names of other libraries that record their import."""
    (tmp_path / ".spiceinit").write_text("* init\nshell touch ran-spiceinit\nset ngbehavior=ps\n")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "spinit").write_text(f"* init\nshell touch {tmp_path}/ran-spinit\n")
    for name in ("signal", "pickle", "threading", "socket", "json", "selectors", "numpy", "PySpice", "cffi"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path)!r} + '/ran-{name}', 'w').close()\nraise SystemExit(9)\n"
        )
    return tmp_path


def test_nothing_in_the_current_folder_is_run(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, solver: NgspiceSolver
) -> None:
    monkeypatch.chdir(hostile)
    monkeypatch.setenv("SPICE_SCRIPTS", str(hostile / "scripts"))
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(hostile))
    assert_right(solved(solver))
    assert solver._work.result(solver._work.submit(os.getcwd)) == str(hostile)
    assert main(["simulate", "--layers", "2", "3", "1"]) == 0
    assert list(hostile.glob("ran-*")) == []


def test_doctor_runs_nothing_of_the_current_folder(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile)
    monkeypatch.syspath_prepend("")
    code = "import json, signal, numpy; from eqprop_analog.cli.doctor import divider; divider()"
    done = subprocess.run(command(code), capture_output=True, text=True, timeout=60, check=True)
    assert '"volts": 0.5' in done.stdout
    assert list(hostile.glob("ran-*")) == []


def test_a_worker_finds_the_users_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_law.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_own_law  # type: ignore[import-not-found]

    work = Workers(1, time_limit=60.0)
    try:
        assert work.result(work.submit(my_own_law.answer)) == 42
    finally:
        work.close()


def test_a_worker_outlives_no_folder_and_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert_right(solved())


def test_the_longest_time_limit_is_waited_for() -> None:
    work = Workers(1, incoming.LONGEST)
    try:
        assert work.result(work.submit(abs, -1)) == 1
    finally:
        work.close()


def test_without_standard_streams(tmp_path: Path) -> None:
    script = f"""if True:
        import os, sys
        for stream in range(3):
            os.close(stream)
        sys.path[:0] = {SOURCES!r}
        from test_inside_other_programs import *
        assert_right(solved())
        Path("done").touch()
    """
    assert run(script, tmp_path).returncode == 0
    assert (tmp_path / "done").exists()


def test_an_interrupt_of_the_terminal_is_not_the_workers(solver: NgspiceSolver) -> None:
    worker = solver._work.result(solver._work.submit(os.getpid))
    os.kill(worker, signal.SIGINT)
    assert solver._work.result(solver._work.submit(os.getpid)) == worker


def test_a_workers_open_files_do_not_grow_with_restarts() -> None:
    work = Workers(1, time_limit=60.0)
    folder, counts = Path("/proc/self/fd"), []
    try:
        for _ in range(4):
            work.result(work.submit(os.getpid))
            counts.append(len(list(folder.iterdir())))
            work.close()
    finally:
        work.close()
    assert len(set(counts)) == 1
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > counts[0]
