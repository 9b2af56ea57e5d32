"""``train_xor.py`` learns with either solver, and writes files that can be checked."""

import csv
import io

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork


class TestXor:
    def test_either_solver_learns_it_and_writes_what_can_be_checked(self, run_script, tmp_path):
        for solver in ("surrogate", "ngspice"):
            result = run_script("train_xor.py", "--solver", solver, "--output", solver)
            assert (result.code, result.err) == (0, "")
            files = {
                "xor.npz",
                "xor_free.cir",
                "xor_nudged.cir",
                "xor_solution.csv",
                "xor_outputs.png",
                "xor_circuit.svg",
            }
            assert {path.name for path in (tmp_path / solver).iterdir()} == files
        computed, measured = (ResistiveNetwork.load(f"{solver}/xor.npz") for solver in ("surrogate", "ngspice"))
        for one, other in zip(computed.conductances, measured.conductances, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-6, atol=0)

    def test_solution_is_xor_and_what_ngspice_prints(self, run, in_ngspice, tmp_path):
        assert run("xor", "--output", "x").code == 0
        rows = list(csv.DictReader(io.StringIO((tmp_path / "x/xor_solution.csv").read_text())))
        free = [row for row in rows if float(row["beta (S)"]) == 0]
        assert len(rows) == 3 * len(free) == 3 * 2 * 4
        for row in free:
            right = float(row["x_0 (V)"]) * float(row["x_1 (V)"]) < 0
            assert float(row["o_0 (V)"]) == pytest.approx(float(right), abs=0.05)
        for name, positive in (("free", False), ("nudged", True)):
            printed = in_ngspice(tmp_path / f"x/xor_{name}.cir")["o_0"]
            phase = [row for row in rows if (float(row["beta (S)"]) > 0) == positive and float(row["beta (S)"]) >= 0]
            pattern = [row for row in phase if (row["x_0 (V)"], row["x_1 (V)"]) == ("-1.0", "1.0")]
            assert [float(row["o_0 (V)"]) for row in pattern] == pytest.approx([printed] * 2, abs=1e-11)
