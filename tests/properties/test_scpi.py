"""Instruments without an answer, or with an answer that is not SCPI: it never becomes a voltage, and the error quotes it."""

import socket
from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, Status, UserError
from eqprop_analog.bench import BenchSolver, ScpiBoard, SocketResource

INPUTS = np.array([[0.1, -0.2]])


class Instrument:
    """Accepts every command without effect, and answers queries with the given texts; an exception is raised."""

    def __init__(self, **answers: str | Exception) -> None:
        self.answers = {"SYST:ERR?": '0,"No error"', "MEAS:VOLT?": "0.1,0.2,0.3"} | answers

    def write(self, message: str) -> None:
        pass

    def query(self, message: str) -> str:
        answer = self.answers[message]
        if isinstance(answer, Exception):
            raise answer
        return answer


def bench(**answers: str | Exception) -> BenchSolver:
    board = ScpiBoard(Instrument(**answers))
    return BenchSolver(board.write, board.drive, board.read)


def solve(solver: BenchSolver) -> Status:
    return solver.solve(ResistiveNetwork.dense([2, 2, 1], seed=0), INPUTS).status[0]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"MEAS:VOLT?": "0.1,0.2,hello"}, ["MEAS:VOLT?", "hello"]),
        ({"MEAS:VOLT?": ""}, ["MEAS:VOLT?", "voltages"]),
        ({"MEAS:VOLT?": "0.1,0.2"}, ["3 voltages", "2"]),
        ({"MEAS:VOLT?": TimeoutError("VI_ERROR_TMO")}, ["MEAS:VOLT?", "does not answer", "VI_ERROR_TMO"]),
        ({"SYST:ERR?": "hello"}, ["SYST:ERR?", "hello", "SCPI"]),
        ({"SYST:ERR?": ""}, ["SYST:ERR?", "SCPI"]),
        ({"SYST:ERR?": '-222,"Data out of range"'}, ["refused", "Data out of range"]),
        ({"SYST:ERR?": OSError("unplugged")}, ["SYST:ERR?", "does not answer", "unplugged"]),
    ],
)
def test_what_is_no_answer_is_a_sentence_with_the_command(
    answers: dict[str, str | Exception], words: list[str]
) -> None:
    with pytest.raises(UserError) as refused:
        solve(bench(**answers))
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize("answer", ["9.91E37", "9.9e37", "-9.9E+37", "nan", "inf"])
def test_scpi_s_numbers_for_no_reading_and_overload_are_no_voltages(answer: str) -> None:
    instrument = Instrument(**{"MEAS:VOLT?": f"0.1,{answer},0.3"})
    board = ScpiBoard(instrument)
    solver = BenchSolver(board.write, board.drive, board.read)
    assert solve(solver) is Status.SIMULATOR_FAILED
    instrument.answers["MEAS:VOLT?"] = "0.1,0.2,0.3"
    assert solve(solver) is Status.MEASURED
    assert solver.noise is not None
    assert np.isfinite(solver.noise).all()


@pytest.mark.parametrize(
    ("serve", "word"),
    [
        (lambda peer: None, "timed out"),
        (lambda peer: (peer.sendall(b"0.1,0.2,0.12"), peer.shutdown(socket.SHUT_RDWR)), "closed"),  # of 0.123
        (lambda peer: peer.sendall(b"\xff\xfe\n"), "ascii"),
    ],
)
def test_a_socket_that_says_nothing_half_or_no_text_gives_no_answer(
    serve: Callable[[socket.socket], object], word: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = SocketResource(*server.getsockname(), timeout=0.05)
        peer, _ = server.accept()
        with peer, closing(link):
            serve(peer)
            with pytest.raises(UserError, match=word) as refused:
                link.query("MEAS:VOLT?")
    assert "MEAS:VOLT?" in str(refused.value)
