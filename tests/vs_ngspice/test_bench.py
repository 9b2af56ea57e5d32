"""A board as a solver, on a virtual board with ngspice behind it: its readings, its training, its log."""

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import Equilibrium, Nudge, ResistiveNetwork, Status, SurrogateSolver, UserError, contrast
from eqprop_analog.bench import (
    BenchLog,
    BenchSolver,
    PulsedBoard,
    ScpiBoard,
    SocketResource,
    VirtualBoard,
    open_visa,
    replay,
)
from eqprop_analog.bench.log import events
from eqprop_analog.bench.virtual import Converter
from eqprop_analog.devices.conductance import SoftBounds, Technology, Window
from eqprop_analog.learning.in_situ import InSituLearner
from eqprop_analog.learning.trainer import Rule, train_epoch
from eqprop_analog.learning.update import Rates

X = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])
WINDOW = (1e-8, 1e-5)
RULE = Rule(Rates((1e-13, 1e-13), (1e-13, 1e-13)), beta=1e-8, kind="current")
SHAPES = [(5, 4), (4, 1)]


def xor() -> ResistiveNetwork:
    return ResistiveNetwork.dense([2, 4, 1], seed=0, amplifier_gain=4.0, conductance_window=WINDOW, bias_row=0.5)


def board(**settings) -> VirtualBoard:
    """A board whose circuit is solved in this process."""
    return VirtualBoard(xor(), solver=SurrogateSolver(), **settings)


@pytest.fixture
def link() -> Iterator:
    """Connects to boards; ends the connections."""
    opened = []

    def connect(one: VirtualBoard) -> ScpiBoard:
        opened.append(SocketResource(one.host, one.port, timeout=600.0))
        return ScpiBoard(opened[-1])

    yield connect
    for each in opened:
        each.close()


def local(one: VirtualBoard, **settings) -> BenchSolver:
    """A bench on a board in this process, without a socket."""

    class Direct:
        def write(self, message: str) -> None:
            one.answer(message)

        def query(self, message: str) -> str:
            return one.answer(message) or ""

    driver = ScpiBoard(Direct())
    return BenchSolver(driver.write, driver.drive, driver.read, **settings)


def difference(one, other) -> float:
    return max(np.abs(a - b).max() for a, b in zip(one, other, strict=True))


def test_training_through_the_board_is_training_in_this_process(link) -> None:
    here, there = xor(), xor()
    with VirtualBoard(xor()) as one:
        driver = link(one)
        assert "virtual board,2-4-1" in driver.identity()
        bench = BenchSolver(driver.write, driver.drive, driver.read)
        statuses: Counter[str] = Counter()
        for _ in range(4):
            train_epoch(here, SurrogateSolver(), RULE, [(X, Y)])
            statuses += train_epoch(there, bench, RULE, [(X, Y)]).statuses
        bench.program(there)
        assert difference(there.conductances, one.conductances) == 0
    assert statuses == {"MEASURED": 4 * 3 * len(X)}
    assert difference(here.conductances, xor().conductances) > 1e-3 * WINDOW[1]
    assert difference(here.conductances, there.conductances) <= 1e-9 * WINDOW[1]
    assert difference(here.biases, there.biases) <= 1e-9 * WINDOW[1]


def test_what_is_measured_has_its_noise_and_may_be_used_but_is_not_called_converged() -> None:
    network, sigma = xor(), 1e-4
    bench = local(board(noise=sigma, seed=4), readings=25)
    free = bench.solve(network, X)
    plus = bench.solve(network, X, Nudge(Y, 1e-7, "current"), start=free)
    assert {*free.status, *plus.status} == {Status.MEASURED}
    assert free.good.all()
    assert np.isnan(free.residual).all()
    assert ((free.noise > 0.6 * sigma / 5) & (free.noise < 2 * sigma / 5)).all()  # the noisiest of five nodes
    np.testing.assert_allclose(bench.noise, sigma, rtol=0.6)
    truth = SurrogateSolver().solve(network, X)
    assert difference(free.voltages, truth.voltages) < 6 * sigma / 5
    exact = contrast(network, X, SurrogateSolver().solve(network, X, plus.nudge, start=truth), truth)
    measured = contrast(network, X, plus, free)
    assert difference(measured.conductances[1:], exact.conductances[1:]) < 2e-3 * np.abs(exact.conductances[1]).max()
    part = free.select(np.array([True, False, False, True]))
    assert part.noise.shape == (2,)
    with pytest.raises(UserError, match="STALLED"):
        replace(free, status=np.full(4, Status.STALLED, object)).require()


def test_a_bench_refuses_nudges_by_conductances_and_readings_of_another_size() -> None:
    bench = local(board())
    with pytest.raises(UserError, match=r"negative.*current"):
        bench.solve(xor(), X, Nudge(Y, 1e-7))
    with pytest.raises(UserError, match="current"):
        bench.solve_phases(xor(), X, [Nudge(Y, 1e-7)])
    with pytest.raises(UserError, match="start=free"):
        bench.solve(xor(), X, Nudge(Y, 1e-7, "current"))
    with pytest.raises(UserError, match="5 voltages"):
        BenchSolver(lambda *_: None, lambda *_: None, lambda: [0.0, 1.0]).solve(xor(), X)
    nothing = BenchSolver(lambda *_: None, lambda *_: None, lambda: [np.nan] * 5).solve(xor(), X)
    assert not nothing.good.any()
    for wrong in ({"readings": 0}, {"settle": -1}, {"agreement": 0}, {"read": None}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            BenchSolver(**{"write": None, "drive": print, "read": print, **wrong})


def test_cross_entropy_and_samples_one_by_one_nudge_as_batches_do() -> None:
    network = ResistiveNetwork.dense([2, 4, 2], seed=1, conductance_window=WINDOW, outputs="pairs")
    one = VirtualBoard(network, solver=SurrogateSolver())
    nudges = [Nudge(Y, beta, "current", "cross-entropy") for beta in (1e-7, -1e-7)]
    measured = local(one).solve_phases(network, X, nudges)
    for ours, theirs in zip(measured, SurrogateSolver().solve_phases(network, X, nudges), strict=True):
        assert difference(ours.voltages, theirs.voltages) < 1e-12


def test_converters_quantise_and_clip() -> None:
    network = xor()
    adc, dac = Converter(8, 0.5), Converter(4, 1.0)
    read = local(board(adc=adc, dac=dac)).solve(network, X)
    step = 2 * 0.5 / 2**8
    for layer in read.voltages:
        np.testing.assert_allclose(layer / step, np.rint(layer / step), atol=1e-9)
        assert np.abs(layer).max() <= 0.5
    assert dac.converted(np.array([0.93, 2.0, -2.0, 0.05])).tolist() == [0.875, 0.875, -1.0, 0.0]


def test_a_bench_waits_until_readings_agree() -> None:
    network, tau = xor(), 0.02
    truth = SurrogateSolver().solve(network, X)
    hasty = local(board(time_constant=tau)).solve(network, X)
    assert difference(hasty.voltages, truth.voltages) > 1e-3
    patient = local(board(time_constant=tau), settle=tau, agreement=1e-5).solve(network, X)
    assert set(patient.status) == {Status.MEASURED}
    assert difference(patient.voltages, truth.voltages) < 1e-4
    never = local(board(noise=1e-3), agreement=1e-9).solve(network, X[:1])
    assert set(never.status) == {Status.STALLED}


def test_the_log_replayed_makes_the_same_board(tmp_path: Path) -> None:
    log = BenchLog(tmp_path / "bench.jsonl")
    network, first, second = xor(), board(), board()
    bench = local(first, log=log)
    for _ in range(3):
        train_epoch(network, bench, RULE, [(X, Y)])
    bench.program(network)
    again = local(second)
    last = replay(tmp_path / "bench.jsonl", SHAPES, write=again.write)
    for one, other, logged in zip(first.conductances, second.conductances, last, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, logged)
    for one, other in zip(first.biases, second.biases, strict=True):
        np.testing.assert_array_equal(one, other)
    kinds = Counter(each["event"] for each in events(tmp_path / "bench.jsonl"))
    assert kinds["read"] == kinds["drive"] == 3 * 3 * len(X)
    with pytest.raises(UserError, match="another network"):
        replay(tmp_path / "bench.jsonl", [(5, 3), (3, 1)])
    (tmp_path / "other.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="line 1: not a bench log"):
        BenchLog(tmp_path / "other.jsonl")


def test_pulses_train_a_board_in_situ_and_their_log_repeats_it(tmp_path: Path) -> None:
    technology = Technology(Window(*WINDOW), pulses=SoftBounds(0.01, 0.01, "stochastic", 0.002))
    first, second = (board(technology=technology, seed=3) for _ in range(2))
    log = BenchLog(tmp_path / "pulses.jsonl")
    direct = local(first)
    driver = direct.drive.__self__
    driver.write(xor().conductances, xor().biases)
    local(second).drive.__self__.write(xor().conductances, xor().biases)
    hardware = PulsedBoard(xor(), driver.pulse, technology, seed=1, log=log)
    bench = BenchSolver(None, driver.drive, driver.read)
    learner = InSituLearner(hardware, bench, replace(RULE, rates=Rates((2e-12, 2e-12), (0, 0))))

    def error() -> float:
        return float(np.abs(bench.solve(hardware.network, X).outputs - Y).mean())

    before = error()
    statuses = learner.learn(X, Y)[1]
    for _ in range(20):
        statuses += learner.learn(X, Y)[1]
    assert set(statuses) == {"MEASURED"}
    assert error() < 0.8 * before
    replay(tmp_path / "pulses.jsonl", SHAPES, pulse=local(second).drive.__self__.pulse)
    for one, other in zip(first.conductances, second.conductances, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_board_says_what_it_refuses(link) -> None:
    with board() as one:
        driver = link(one)
        with pytest.raises(UserError, match=r"refused setting conductances.*negative"):
            driver.write((-np.ones((5, 4)), np.ones((4, 1))), (np.zeros(4), np.zeros(1)))
        with pytest.raises(UserError, match=r"refused setting conductances.*crossbar 1"):
            driver.write((np.ones((6, 4)), np.ones((4, 1))), (np.zeros(4), np.zeros(1)))
        with pytest.raises(UserError, match="refused sending pulses"):
            driver.pulse((np.ones((5, 4)), np.ones((4, 1))), (np.zeros(4), np.zeros(1)))
        with pytest.raises(UserError, match=r"refused driving rows.*5 finite numbers"):
            driver.drive(np.zeros(4), np.zeros(1))
        driver.resource.write("FETCh:VOLTage")
        assert driver.resource.query("SYSTem:ERRor?").startswith("-113")
        assert driver.resource.query("syst:err?") == '0,"No error"'
        driver.resource.write("*RST")
        with pytest.raises(UserError, match=r"refused measuring.*nothing drives it"):
            driver.read()  # nothing holds the nodes


def test_where_no_instrument_is_the_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match="no instrument answers"):
        SocketResource("127.0.0.1", port)
    monkeypatch.setitem(__import__("sys").modules, "pyvisa", None)
    with pytest.raises(UserError, match=r"pyvisa is not installed.*SocketResource"):
        open_visa("TCPIP::127.0.0.1::5025::SOCKET")


def test_a_visa_resource_is_a_board_too() -> None:
    pytest.importorskip("pyvisa_py", reason="pyvisa-py, a VISA library in Python, is not installed")
    with board() as one:
        resource = open_visa(f"TCPIP::{one.host}::{one.port}::SOCKET")
        try:
            driver = ScpiBoard(resource)
            bench = BenchSolver(driver.write, driver.drive, driver.read)
            measured = bench.solve(xor(), X)
        finally:
            resource.close()
    assert isinstance(measured, Equilibrium)
    assert difference(measured.voltages, SurrogateSolver().solve(xor(), X).voltages) < 1e-12
