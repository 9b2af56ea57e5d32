"""--cluster: results are bit-identical to those of --workers, even if workers are killed; clear errors if it cannot be used."""

import csv
import gc
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chip_studies import make_chips_in_this_process, study_of_chips

import eqprop_analog as ea
from eqprop_analog.cli import main
from eqprop_analog.networks.resistive.random_circuits import path_of
from eqprop_analog.spice.ngspice import cluster as cluster_module
from eqprop_analog.spice.ngspice import remote
from eqprop_analog.spice.ngspice.cluster import ClusterWorkers, on_cluster, workers_for
from eqprop_analog.spice.ngspice.tasks import ClusterError
from eqprop_analog.spice.ngspice.workers import WorkerLostError

distributed = pytest.importorskip("distributed")
CommClosedError = distributed.comm.CommClosedError
pytestmark = pytest.mark.usefixtures("dataset")

SWEEPS = """\
[[sweeps]]
name = "spread"
label = "spread (%)"
confirm = 30
protocols = ["in-situ", "ex-situ"]
points = [{ x = 30, having = { "conductance.spread.factor" = 0.3 } }]
"""
STUDY = study_of_chips(SWEEPS, chips=1, epochs=1, target_error=0.2, devices=("2e-8", "2e-6"))


TRAINING = ("--solver", "ngspice", "--limit", "30", "--epochs", "1", "--no-verify")


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A scheduler, and two workers with one process each, which are restarted when they are killed."""
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    folder = str(tmp_path_factory.mktemp("dask"))
    with distributed.LocalCluster(n_workers=2, processes=True, local_directory=folder, **options) as made:
        yield made


@pytest.fixture
def there(dask: Any) -> tuple[str, str]:
    """The option with its address, when two workers are connected."""
    for _ in range(3):
        try:
            dask.wait_for_workers(2, timeout=30)
            break
        except TimeoutError:  # Dask does not always restart a worker that a test has killed
            dask.scale(len(dask.workers) + 1)
    return ("--cluster", dask.scheduler_address)


@pytest.fixture
def train(run: Any, preset: Path, dataset: Path) -> Callable[..., Any]:
    """Train in ngspice on the synthetic data set, 30 of its images."""
    common = ("--preset", preset, "--data-dir", dataset, *TRAINING)
    return lambda *more: run("train", *common, "--output", "there", *more)


@pytest.fixture(scope="module")
def reference(dataset_folder: Path, publish: Any, small: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the same training with two processes of this machine."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "small.toml").write_text(small)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        publish(patch)
        common = [
            "--preset",
            folder / "small.toml",
            "--data-dir",
            dataset_folder,
            *TRAINING,
            "--output",
            folder / "run",
        ]
        assert main(["train", *map(str, common), "--workers", "2"]) == 0
    return folder / "run"


def processes(dask: Any) -> list[int]:
    """Process ids of the workers."""
    return [nanny.pid for nanny in dask.workers.values()]


def killed_once(dask: Any, begun: Callable[[], bool]) -> threading.Thread:
    """A thread that kills a worker as soon as ``begun`` is true."""

    def kill() -> None:
        while not begun():
            time.sleep(0.01)
        os.kill(processes(dask)[0], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def same_network(one: Path | str, other: Path | str) -> bool:
    networks = [ea.load_network(f"{folder}/network.npz").arrays() for folder in (one, other)]
    return all((networks[0][name] == networks[1][name]).all() for name in networks[1])


def test_training_gives_the_same_bits_though_a_worker_is_killed(train, reference, dask, there, monkeypatch):
    given = []
    submit = ClusterWorkers.submit
    monkeypatch.setattr(ClusterWorkers, "submit", lambda *task: given.append(task) or submit(*task))
    killer = killed_once(dask, lambda: len(given) >= 4)
    result = train(*there)
    assert (result.code, result.err) == (0, "")
    killer.join()
    assert same_network(reference, "there")
    metrics = [json.loads(Path(folder, "metrics.json").read_text()) for folder in (reference, "there")]
    # no address: a configuration from others never connects to a cluster
    assert metrics[0]["config"] == metrics[1]["config"]
    assert metrics[0]["statuses"] == metrics[1]["statuses"]


def test_verification_gives_the_same_figures(run, there, finished_run, dataset):
    figures = []
    for name, where in (("here", ("--workers", 2)), ("there", there)):
        result = run("verify", finished_run / "network.npz", "--form", "norton", *where, "--json", f"{name}.json")
        assert result.code == 0, result.err
        figures.append(json.loads(Path(f"{name}.json").read_text())["agreement"])
    for one, other in zip(*figures, strict=True):
        assert {k: v for k, v in one.items() if "seconds" not in k} == {
            k: v for k, v in other.items() if "seconds" not in k
        }


def test_a_study_gives_the_same_circuits(run, there):
    assert run("study", "--circuits", 2, "--workers", 2, "--output", "here").code == 0
    result = run("study", "--circuits", 2, *there, "--output", "there")
    assert result.code == 0, result.err
    for number in range(2):
        one, other = (json.loads(path_of(Path(folder), number).read_text()) for folder in ("here", "there"))
        assert one | {"seconds": None} == other | {"seconds": None}


def test_chips_are_the_same_and_the_networks_that_are_kept(run, preset, dataset, there):
    Path("study.toml").write_text(STUDY)
    study = ("chips", "--study", "study.toml", "--data-dir", dataset, "--images", 5)
    result = run(*study, *there, "--output", "there")
    assert result.code == 0, result.err
    files = list(Path("there/chips").iterdir())
    assert len(files) == 2 + 2  # figures, and saved networks
    # the data set replaces MNIST only in this process, so its chips are computed here, one after another
    with pytest.MonkeyPatch.context() as patch:
        make_chips_in_this_process(patch)
        assert run(*study, "--output", "here").code == 0
    rows = [list(csv.DictReader(Path(folder, "chips.csv").read_text().splitlines())) for folder in ("here", "there")]
    for one, other in zip(*rows, strict=True):
        assert one | {"seconds": None} == other | {"seconds": None}
    for path in files:
        assert Path("here", *path.parts[1:]).exists()
        if path.suffix == ".npz":
            ours, theirs = (ea.load_network(each).arrays() for each in (Path("here", *path.parts[1:]), path))
            assert all((ours[name] == theirs[name]).all() for name in ours)


def test_points_of_a_sweep_travel_in_pieces_and_go_on_from_what_came_back(
    run, dask, there, preset, dataset, monkeypatch
):
    sweep = ("sweep", "--preset", preset, "--data-dir", dataset, "--vary", "seed", 0, 1, "--epochs", 2, "--limit", 10)
    assert run(*sweep, "--output", "here").code == 0
    monkeypatch.setattr(cluster_module, "PIECE", 0.0)  # pieces of one batch each
    monkeypatch.setattr(cluster_module, "LARGE", 1000)
    killer = killed_once(dask, lambda: Path("there/seed=0/checkpoint.npz").exists())
    result = run(*sweep, *there, "--output", "there")
    assert result.code == 0, result.err
    killer.join()
    for seed in (0, 1):
        assert same_network(f"here/seed={seed}", f"there/seed={seed}")
        names = [{path.name for path in Path(folder, f"seed={seed}").iterdir()} for folder in ("here", "there")]
        assert names[1] == names[0] - remote.LEFT_THERE
    more = run(*sweep[:-5], "--epochs", 3, "--limit", 10, *there, "--output", "there")  # pieces of one point
    assert more.code == 0
    assert "after 3 epochs" in more.out


def test_bytes_go_to_another_worker_where_one_is_killed_before_the_scheduler_notices(dask, there, monkeypatch):
    """The scheduler has chosen a worker that is killed before the scheduler continues: the race condition of a kill."""
    scatter, dead = distributed.scheduler.scatter_to_workers, []

    async def late(workers: Any, data: Any, **options: Any) -> Any:
        if dead:
            return await scatter(workers, data, **options)
        nanny = next(iter(dask.workers.values()))
        dead.append(nanny.worker_address)
        os.kill(nanny.pid, signal.SIGKILL)
        host, _, port = nanny.worker_address.removeprefix("tcp://").rpartition(":")
        with suppress(ConnectionError):
            while True:
                socket.create_connection((host, int(port))).close()
                time.sleep(0.01)
        return await scatter(dead, data, **options)

    monkeypatch.setattr(distributed.scheduler, "scatter_to_workers", late)
    monkeypatch.setattr(cluster_module, "LOOK", 0.01)
    monkeypatch.setattr(cluster_module, "LARGE", 0)
    with on_cluster(there[1]):
        work = workers_for(1, 600.0)
        assert work.result(work.submit(divmod, 7, 2)) == (3, 1)
    assert dead


def test_bytes_go_to_another_worker_where_one_is_lost_that_was_to_take_them(dask, monkeypatch):
    """Until the scheduler notices the loss, it closes the connection of a client that sends bytes for that worker."""
    scatter, failures = distributed.Client.scatter, []

    def fails(client: Any, *given: Any, **options: Any) -> Any:
        if len(failures) < most:
            failures.append(given)
            raise CommClosedError("Stream is closed")
        return scatter(client, *given, **options)

    monkeypatch.setattr(distributed.Client, "scatter", fails)
    monkeypatch.setattr(cluster_module, "LOOK", 0.01)
    monkeypatch.setattr(cluster_module, "LARGE", 0)
    with on_cluster(dask.scheduler_address):
        work = workers_for(1, 600.0)
        most = 4
        assert work.result(work.submit(divmod, 7, 2)) == (3, 1)
        assert len(failures) == most
        most = 100
        with pytest.raises(ClusterError, match=r"5 attempts .*Stream is closed"):
            work.submit(divmod, 7, 2)


def test_a_point_that_diverges_leaves_the_files_that_it_leaves_here(run, there, preset, dataset, monkeypatch):
    monkeypatch.setattr("eqprop_analog.networks.resistive.config.ABSURD_BIAS_RATE", float("inf"))
    sweep = ("sweep", "--preset", preset, "--data-dir", dataset, "--vary", "bias_rates", "1e300", "--limit", 10)
    names = []
    for folder, where in (("here", ()), ("there", there)):
        result = run(*sweep, *where, "--output", folder)
        assert result.code == 3, result.err
        assert "diverged" in result.err
        names.append({path.name for path in Path(folder, "bias_rates=1e+300").iterdir()})
    assert "checkpoint.npz" in names[0]
    assert names[1] == names[0] - remote.LEFT_THERE


LAW = '''
from dataclasses import dataclass, replace

import numpy as np

from eqprop_analog.devices import DiodeLaw, register_law
from helper import HALF


@register_law("square-law")
@dataclass(frozen=True)
class SquareLaw(DiodeLaw):
    """I(w) = k/2 max(w, 0)**2, w = rail - v."""

    transconductance: float = 1e-5
    rail: float = 0.2

    subcircuit = "square_law"
    spice_parameters = {"k": "transconductance"}

    def current(self, v):
        return -HALF * self.transconductance * np.maximum(self.rail - v, 0) ** 2

    def slope(self, v):
        return self.transconductance * np.maximum(self.rail - v, 0)

    def cocontent(self, v):
        return self.transconductance / 6 * np.maximum(self.rail - v, 0) ** 3

    def scaled(self, k):
        return replace(self, transconductance=k * self.transconductance)

    @classmethod
    def drawn(cls, random, paired):
        return cls(10 ** random.uniform(-7, -4), random.uniform(-0.5, 0.5))
'''
SUBCIRCUIT = """\
* I = k/2*max(V(anode,cathode), 0)^2. k in A/V^2.
.subckt square_law anode cathode params: k=1e-5
Bd anode cathode I={V(anode,cathode) > 0 ? k/2*V(anode,cathode)*V(anode,cathode) : 0}
.ends square_law
"""


def test_a_law_of_ones_own_travels_to_the_workers_once(run, there, tmp_path, monkeypatch):
    sent = []
    for name in ("scatter", "submit"):
        given = getattr(distributed.Client, name)
        monkeypatch.setattr(
            distributed.Client, name, lambda *a, given=given, **options: sent.extend(a) or given(*a, **options)
        )
    (tmp_path / "square_law.py").write_text(LAW)
    (tmp_path / "square_law.lib").write_text(SUBCIRCUIT)
    (tmp_path / "helper.py").write_text("HALF = 0.5\n")  # the law imports it
    study = ("study", "--import", "square_law.py", "--laws", "square-law", "--circuits", 2, "--output", "out")
    result = run(*study, *there)
    assert result.code == 0, result.err
    assert json.loads(Path("out/study.json").read_text())["met"]
    assert sum("class SquareLaw" in repr(each) for each in sent) == 1


def waits(work: ClusterWorkers, file: Path) -> tuple[Any, Callable[[], int]]:
    """A task of ten minutes, and a function that waits for its start and returns the process that runs it."""
    told = f"import os, pathlib, time; pathlib.Path({str(file)!r}).write_text(str(os.getpid())); time.sleep(600)"

    def begun() -> int:
        while not file.exists() or not file.read_text():
            time.sleep(0.01)
        return int(file.read_text())

    return work.submit(exec, told), begun


def ends(process: int) -> bool:
    """Whether the condition becomes true by itself."""
    end = time.monotonic() + 60
    while Path(f"/proc/{process}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not Path(f"/proc/{process}").exists()


def test_what_is_cancelled_is_stopped_on_its_worker(dask, tmp_path):
    with on_cluster(dask.scheduler_address):
        work = workers_for(2, 600.0)
        job, begun = waits(work, tmp_path / "pid")
        child = begun()
        work.close()
        with pytest.raises(ea.UserError, match="closed"):
            work.result(job)
        assert ends(child)


def test_an_interrupted_command_ends_at_once_stops_its_tasks_and_goes_on(run, there, tmp_path, monkeypatch):
    """^C arrives when the first circuit is done, while the command waits for a running task."""
    study, result, children = ("study", "--circuits", 3, *there, "--output", "out"), ClusterWorkers.result, []
    first = path_of(Path("out"), 0)

    def interrupted(work: ClusterWorkers, job: Any) -> Any:
        if not first.exists():
            return result(work, job)
        job, begun = waits(work, tmp_path / "pid")

        def interrupt() -> None:
            children.append(begun())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        return result(work, job)

    with monkeypatch.context() as patch:
        patch.setattr(ClusterWorkers, "result", interrupted)
        stopped = run(*study)
    assert (stopped.code, len(stopped.err.splitlines())) == (130, 1), stopped.err
    assert "same command" in stopped.err
    assert len(children) == 1
    assert ends(children[0])
    kept = first.read_bytes()
    assert run(*study).code == 0
    assert first.read_bytes() == kept  # it contains the measured seconds


def test_errors_time_limits_and_warnings_of_a_task_reach_the_user(dask, caplog):
    with on_cluster(dask.scheduler_address):
        work = workers_for(1, 600.0)
        with pytest.raises(ZeroDivisionError):
            work.result(work.submit(divmod, 1, 0))
        with caplog.at_level(logging.WARNING):
            assert (
                work.result(
                    work.submit(exec, "import logging; logging.getLogger('eqprop_analog.x').warning('mind that')")
                )
                is None
            )
        assert "mind that" in caplog.text
        limited = workers_for(1, 0.1)
        with pytest.raises(TimeoutError):
            limited.result(limited.submit(time.sleep, 60))


def test_a_task_that_takes_down_one_worker_after_the_other_is_given_up(dask, monkeypatch):
    monkeypatch.setattr(dask.scheduler, "allowed_failures", 0)
    with on_cluster(dask.scheduler_address):
        work = workers_for(1, 600.0)
        deadly = work.submit(exec, "import os, signal; os.kill(os.getppid(), signal.SIGKILL)")
        with pytest.raises(WorkerLostError, match="lost"):
            work.result(deadly)


def test_an_address_without_a_scheduler_is_refused_with_it(run, monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT", 0.5)
    for address in ("tcp://127.0.0.1:1", "nowhere", "udp://127.0.0.1:8786"):
        result = run("study", "--circuits", 1, "--cluster", address)
        assert (result.code, len(result.err.splitlines())) == (2, 1), result.err
        assert all(word in result.err for word in (f"--cluster {address}", "dask scheduler"))


def test_what_takes_the_connection_and_says_nothing_is_refused_too(run, monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        result = run("study", "--circuits", 1, "--cluster", address)
    assert (result.code, len(result.err.splitlines())) == (2, 1), result.err
    assert all(word in result.err for word in (f"--cluster {address}", "dask scheduler"))


def test_nothing_is_left_of_a_connection_that_failed(monkeypatch):
    """A client of Dask that is collected while the next one starts would wait for itself."""

    def clients() -> int:
        return sum(type(each) is distributed.Client for each in gc.get_objects())

    monkeypatch.setattr(cluster_module, "CONNECT", 0.5)
    before = clients()
    with pytest.raises(ClusterError):
        cluster_module.Cluster("tcp://127.0.0.1:1")
    assert clients() == before


@pytest.mark.parametrize("what", ["package", "ngspice"])
def test_workers_with_other_versions_are_refused_by_name(run, there, monkeypatch, what):
    other = {"tcp://10.0.0.7:40001": replace(remote.installed(), **{what: "12.3"})}
    monkeypatch.setattr(distributed.Client, "run", lambda *_: other)
    result = run("study", "--circuits", 1, *there)
    assert result.code == 2
    assert all(word in result.err for word in ("tcp://10.0.0.7:40001", "12.3", getattr(remote.installed(), what)))


def test_so_is_a_worker_that_has_come_later(dask, monkeypatch):
    with on_cluster(dask.scheduler_address):
        here = replace(remote.installed(), package="12.3")
        monkeypatch.setattr(remote, "installed", lambda: here)
        work = workers_for(1, 60.0)
        with pytest.raises(ClusterError, match=r"worker tcp://.*this machine 12\.3"):
            work.result(work.submit(os.getpid))


def test_a_surrogate_training_alone_has_no_use_for_a_cluster(run, there, preset, dataset):
    result = run("train", "--preset", preset, "--data-dir", dataset, *there)
    assert result.code == 2
    assert all(word in result.err for word in ("--cluster", "--solver ngspice", "sweep"))


IN_ONE_PROCESS = """
import sys, time
from distributed import LocalCluster
with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0") as made:
    print(made.scheduler_address, flush=True)
    sys.stdin.read()
"""


def test_a_scheduler_that_is_lost_ends_the_run_which_then_goes_on(train, reference, monkeypatch):
    given = []
    submit = ClusterWorkers.submit

    def lost_at_the_fifth(*task: Any) -> Any:
        given.append(task)
        if len(given) == 5:
            process.kill()
        return submit(*task)

    monkeypatch.setattr(ClusterWorkers, "submit", lost_at_the_fifth)
    monkeypatch.setattr("eqprop_analog.experiments.run.CHECKPOINT_SECONDS", 0.0)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", IN_ONE_PROCESS], **pipes) as process:
        assert process.stdout
        result = train("--workers", 2, "--cluster", process.stdout.readline().strip())
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert "connection to its scheduler was lost" in result.err
    assert train("--workers", 2).code == 0
    assert same_network(reference, "there")


def test_a_sweep_on_a_cluster_that_is_lost_says_so_and_has_no_failed_points(run, there, preset, dataset, monkeypatch):
    def lost(*_: Any) -> Any:
        raise ClusterError("lost")

    monkeypatch.setattr(ClusterWorkers, "result", lost)
    result = run("sweep", "--preset", preset, "--data-dir", dataset, "--vary", "seed", 0, 1, *there, "--output", "s")
    assert (result.code, result.err) == (2, "error: lost\n")
    assert not Path("s/sweep.json").exists()


def test_a_cluster_without_workers_is_waited_for_and_then_given_up(dask, monkeypatch, caplog):
    for name, value in (("LOOK", 0.05), ("COUNTED", 1), ("DESERTED", 0.2)):
        monkeypatch.setattr(cluster_module, name, value)
    with on_cluster(dask.scheduler_address) as cluster:
        work = workers_for(1, 60.0)
        monkeypatch.setattr(cluster.client, "nthreads", dict)
        with pytest.raises(ClusterError, match="no workers for"):
            work.result(work.submit(time.sleep, 30))
        assert caplog.text.count("waiting") == 1
        work.close()


def test_without_dask_it_says_how_to_get_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = run("study", "--circuits", 1, "--cluster", "tcp://127.0.0.1:1")
    assert result.code == 2
    assert "eqprop-analog[cluster]" in result.err
