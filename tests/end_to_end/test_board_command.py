"""``eqprop-analog board``: the programming plan, and a virtual board in a separate process."""

import csv
import json
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, SurrogateSolver
from eqprop_analog.bench import BenchSolver, ScpiBoard, SocketResource
from eqprop_analog.experiments.chips.specification import Specification


def test_cells_targets_and_pulses_are_written(run, tmp_path: Path):
    network = ResistiveNetwork.dense([2, 3, 1], seed=2, conductance_window=(1e-6, 1e-4))
    network.save(tmp_path / "net.npz")
    done = run(
        "board",
        "program",
        "--network",
        "net.npz",
        "--specification",
        "everything",
        "--output",
        "cells.csv",
        "--json",
        "j",
    )
    assert done.code == 0
    assert json.loads((tmp_path / "j").read_text())["largest_deviation_siemens"] < 1e-6
    rows = list(csv.DictReader((tmp_path / "cells.csv").read_text().splitlines()))
    assert len(rows) == sum(matrix.size for matrix in network.conductances)
    window = Specification.load("everything").technology.window
    for row in rows:
        cell = network.conductances[int(row["crossbar"]) - 1][int(row["row"]), int(row["column"])]
        assert float(row["target_siemens"]) == cell
        assert float(row["level_siemens"]) == pytest.approx(float(window.nearest(np.array([cell]))[0]))
        assert int(row["pulses"]) >= 0
    assert run("board", "program", "--network", "net.npz", "--start", "net.npz", "--output", "none.csv").code == 0
    assert all(int(row["pulses"]) == 0 for row in csv.DictReader((tmp_path / "none.csv").read_text().splitlines()))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("program", "--layers", 2, 3, 1, "--noise", "1mV"), "--noise"),
        (("serve", "--layers", 2, 3, 1, "--output", "x.csv"), "--output"),
        (("serve", "--layers", 2, 3, 1, "--json", "x.json"), "--json"),
        (("serve", "--layers", 2, 3, 1, "--adc-bits", 0), "--adc-bits"),
        (("serve", "--layers", 2, 3, 1, "--latency", "-1s"), "--latency"),
        (("program", "--model", "hopfield", "--layers", 2, 3, 1), "hopfield"),
        (("program",), "--layers"),
    ],
)
def test_options_of_the_other_action_and_absurd_ones_are_refused(run, words: tuple, said: str):
    done = run("board", *words)
    assert done.code == 2
    assert said in done.err


def test_a_board_is_served_until_it_is_interrupted():
    command = [sys.executable, "-m", "eqprop_analog.cli", "board", "serve", "--layers", "2", "3", "1", "--seed", "1"]
    starter = "import sys; from eqprop_analog.cli import main; sys.exit(main(sys.argv[1:]))"
    command[1:3] = ["-u", "-c", starter]
    begin = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    begin["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
    with subprocess.Popen(command, **begin) as process:
        try:
            assert process.stdout is not None
            port = int(re.search(r":(\d+);", process.stdout.readline())[1])
            network = ResistiveNetwork.dense([2, 3, 1], seed=1)
            with SocketResource("127.0.0.1", port, timeout=600.0) as link:
                board = ScpiBoard(link)
                measured = BenchSolver(board.write, board.drive, board.read).solve(network, [[0.2, -0.3]])
            expected = SurrogateSolver().solve(network, [[0.2, -0.3]])
            for one, other in zip(measured.voltages, expected.voltages, strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(600)
            finally:
                process.kill()  # otherwise a process that ignores the interrupt would be waited for without end
    assert process.returncode == 130
