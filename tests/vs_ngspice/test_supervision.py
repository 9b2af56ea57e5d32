"""Lost workers, simulator errors and wrong voltages are retried, then reported, and never used."""

import logging
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, Nudge, ResistiveNetwork, Status, SurrogateSolver, UserError
from eqprop_analog.learning.trainer import Rule, train_epoch
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive.family import LADDER
from eqprop_analog.spice.netlist import sweep_netlist
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.workers import TRIES, Workers


class Tampering(Executor):
    """Runs sweeps in one real worker, and a function may inspect, change or refuse each."""

    def __init__(self, tamper: Callable[[int, str, np.ndarray], np.ndarray]) -> None:
        self.work, self.tamper, self.netlists = Workers(1, time_limit=60.0), tamper, []

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self.netlists.append(sweep_netlist(*arguments[1:]))
        error, measured = self.work.result(self.work.submit(function, *arguments))
        assert error is None
        try:
            future.set_result((None, self.tamper(len(self.netlists), self.netlists[-1], measured)))
        except libngspice.SimulationError as refusal:
            future.set_result((refusal, None))
        return future


@pytest.fixture
def tampering() -> Iterator[Callable[..., NgspiceSolver]]:
    made = []

    def make(tamper: Callable[[int, str, np.ndarray], np.ndarray]) -> NgspiceSolver:
        executor = Tampering(tamper)
        made.append(executor.work)
        return NgspiceSolver(executor=executor)

    yield make
    for work in made:
        work.close()


@pytest.fixture
def case() -> tuple[ResistiveNetwork, np.ndarray, list[Nudge]]:
    network = ResistiveNetwork.dense([6, 8, 3], seed=3, amplifier_gain=3.0)
    inputs = np.random.default_rng(3).uniform(-1, 1, (4, 6))
    beta = 0.1 * network.stiffness_bound()
    targets = np.eye(3)[[0, 1, 2, 0]]
    return network, inputs, [Nudge(targets, beta), Nudge(targets, -beta)]


def test_a_wrong_voltage_is_asked_for_again_alone(tampering, case, caplog):
    network, inputs, nudges = case

    def wrong_at_first(call: int, _netlist: str, measured: np.ndarray) -> np.ndarray:
        measured = measured.copy()
        if call == 1:
            measured[3, 2] += 1e-6  # the free phase of sample 1
        return measured

    with caplog.at_level(logging.WARNING):
        phases = tampering(wrong_at_first).solve_phases(network, inputs, nudges)
    reference = SurrogateSolver().solve_phases(network, inputs, nudges)
    for phase, expected in zip(phases, reference, strict=True):
        assert set(phase.status) == {Status.CONVERGED}
        for v, w in zip(phase.voltages, expected.voltages, strict=True):
            np.testing.assert_allclose(v, w, rtol=0, atol=1e-10)
    assert "1 of 4 samples not certified" in caplog.text


def test_the_ladder_ends_in_a_status_that_says_so(tampering, case):
    network, inputs, _ = case
    solver = tampering(lambda _call, _netlist, measured: measured + 1e-3)
    free = solver.solve(network, inputs[:1])
    assert free.status.tolist() == [Status.STALLED]
    with pytest.raises(UserError, match="STALLED"):
        free.require()


def test_every_rung_differs_from_the_one_before(tampering, case):
    network, inputs, _ = case

    def refuse(_call: int, _netlist: str, _measured: np.ndarray) -> np.ndarray:
        raise libngspice.SimulationError("no")

    solver = tampering(refuse)
    free = solver.solve(network, inputs)
    assert set(free.status) == {Status.SIMULATOR_FAILED}
    netlists = solver._work._executor.netlists
    assert len(netlists) == 1 + len(inputs) * (len(LADDER) - 1)
    last = netlists[-1]
    assert "gminsteps=20" in last
    assert any(".nodeset v(h1_0)=" in text for text in netlists)


def test_a_guess_begins_where_the_surrogate_ends(tampering, case):
    network, inputs, _ = case
    refused_until_guess = [0]

    def only_with_guess(_call: int, netlist: str, measured: np.ndarray) -> np.ndarray:
        if ".nodeset" not in netlist:
            raise libngspice.SimulationError("no convergence")
        refused_until_guess[0] += 1
        return measured

    free = tampering(only_with_guess).solve(network, inputs)
    assert set(free.status) == {Status.CONVERGED}
    assert refused_until_guess[0] == len(inputs)


@pytest.mark.parametrize("skip", [False, True])
def test_training_stops_or_leaves_the_sample_out(tampering, case, skip):
    network, inputs, nudges = case
    bad = SurrogateSolver().solve(network, inputs[2:3]).voltages[0][0, 0]

    def spoil_sample_2(_call: int, _netlist: str, measured: np.ndarray) -> np.ndarray:
        measured = measured.copy()
        hit = np.isclose(measured[:, 0], bad, atol=1e-9)
        measured[hit] += 0.01
        return measured

    rule = Rule(Rates((1e-14, 1e-14), (0.0, 0.0)), nudges[0].beta)
    before = [matrix.copy() for matrix in network.conductances]
    solver, batches = tampering(spoil_sample_2), [(inputs, nudges[0].target)]
    if not skip:
        with pytest.raises(UserError, match="sample 2"):
            train_epoch(network, solver, rule, batches)
        assert all((a == b).all() for a, b in zip(before, network.conductances, strict=True))
        return
    result = train_epoch(network, solver, rule, batches, skip_failures=True)
    assert result.statuses["STALLED"] == 1
    expected = ResistiveNetwork.dense([6, 8, 3], seed=3, amplifier_gain=3.0)
    good = [0, 1, 3]
    train_epoch(expected, SurrogateSolver(), rule, [(inputs[good], nudges[0].target[good])])
    for a, b in zip(network.conductances, expected.conductances, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-15)


def test_workers_killed_at_random_leave_the_same_weights():
    network = ResistiveNetwork.dense([6, 8, 3], seed=3, amplifier_gain=3.0)
    rng = np.random.default_rng(0)
    batches = [(rng.uniform(-1, 1, (10, 6)), np.eye(3)[rng.integers(0, 3, 10)]) for _ in range(40)]
    rule = Rule(Rates((1e-14, 1e-14), (1e-14, 1e-14)), 0.1 * network.stiffness_bound())
    undisturbed, disturbed = network.astype(float), network.astype(float)
    solver = NgspiceSolver(workers=2)
    try:
        train_epoch(undisturbed, solver, rule, batches)
        stop, kills = threading.Event(), []
        killer = threading.Thread(target=_kill_workers, args=(solver, stop, kills))
        killer.start()
        try:
            train_epoch(disturbed, solver, rule, batches)
        finally:
            stop.set()
            killer.join()
    finally:
        solver.close()
    assert kills
    for a, b in zip(undisturbed.conductances, disturbed.conductances, strict=True):
        np.testing.assert_array_equal(a, b)


def _kill_workers(solver: NgspiceSolver, stop: threading.Event, kills: list[int]) -> None:
    rng = random.Random(0)
    while not stop.wait(0.02 + 0.1 * rng.random()) and len(kills) < TRIES - 1:
        workers = [child.process.pid for child in list(solver._work._pool.children)]
        if workers:
            victim = rng.choice(workers)
            os.kill(victim, signal.SIGKILL)
            kills.append(victim)
            stop.wait(1.0)  # a new worker needs a moment to load libngspice


def test_a_dask_cluster_does_the_same_work_with_a_worker_killed(case, tmp_path: Path):
    distributed = pytest.importorskip("distributed")
    network, _, _ = case
    inputs = np.random.default_rng(5).uniform(-1, 1, (200, 6))
    reference = SurrogateSolver().solve(network, inputs)
    options = {"threads_per_worker": 1, "dashboard_address": None, "local_directory": str(tmp_path)}
    with (
        distributed.LocalCluster(n_workers=2, silence_logs=logging.CRITICAL, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        solver = NgspiceSolver(workers=8, executor=client.get_executor())
        solver.solve(network, inputs[:2])
        victim = next(iter(client.run(os.getpid).values()))
        timer = threading.Timer(0.01, os.kill, (victim, signal.SIGKILL))
        timer.start()
        measured = solver.solve(network, inputs)
        timer.join()
    assert set(measured.status) == {Status.CONVERGED}
    np.testing.assert_allclose(measured.outputs, reference.outputs, rtol=0, atol=1e-10)
