"""Files that contain no arrays, or arrays with invalid numbers, are refused in one line."""

import io
import re

import numpy as np
import pytest


def npy(array: np.ndarray, *, pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickle)
    return file.getvalue()


def npy_of(header: str) -> bytes:
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)


HEADER = "{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, {}), }}\n"
NO_NUMBERS = r"a\.npy: not a \.npy file of numbers"


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


class TestArrays:
    """--inputs (4 columns) and --targets (2 columns) of ``simulate`` and ``netlist``."""

    FILES = (
        pytest.param(
            lambda n: npy(np.zeros((1, n + 1))), r"expected shape \(samples, \d\).*, got \(1, \d\)", id="columns"
        ),
        pytest.param(lambda n: npy(np.zeros((1, 1, n))), r"expected shape .*, got \(1, 1, \d\)", id="dimensions"),
        pytest.param(lambda n: npy(np.zeros(n - 1)), "expected shape", id="vector"),
        pytest.param(lambda n: npy(np.array(1.0)), "expected shape", id="scalar"),
        pytest.param(lambda n: npy(np.zeros((0, n))), "sample", id="no-samples"),
        pytest.param(lambda n: npy(np.full((1, n), np.nan)), "NaN or infinite", id="nan"),
        pytest.param(lambda n: npy(np.full((1, n), -np.inf)), "NaN or infinite", id="infinite"),
        pytest.param(lambda n: npy(np.full((1, n), 1j)), NO_NUMBERS, id="complex"),
        pytest.param(lambda n: npy(np.full((1, n), "1")), NO_NUMBERS, id="text"),
        pytest.param(lambda n: npy(np.zeros((1, n), "M8[s]")), NO_NUMBERS, id="dates"),
        pytest.param(lambda n: npy(np.zeros(n, [("volts", float)])), NO_NUMBERS, id="records"),
        pytest.param(lambda n: npy(np.array([[None] * n]), pickle=True), NO_NUMBERS, id="pickle"),
        pytest.param(lambda n: npz(x=np.zeros((1, n))), NO_NUMBERS, id="npz"),
        pytest.param(lambda n: b"", NO_NUMBERS, id="empty"),
        pytest.param(lambda n: b"1 2 3 4\n", NO_NUMBERS, id="plain"),
        pytest.param(lambda n: npy(np.zeros((1, n)))[:-1], NO_NUMBERS, id="truncated"),
        pytest.param(lambda n: npy(np.zeros((1, n)))[:40], NO_NUMBERS, id="truncated-header"),
        pytest.param(lambda n: npy_of("{'descr': (((((("), NO_NUMBERS, id="broken-header"),
        pytest.param(lambda n: npy_of(HEADER.format("10**13", n)), NO_NUMBERS, id="header-with-a-formula"),
        pytest.param(lambda n: npy_of(HEADER.format(10**13, n)), NO_NUMBERS, id="beyond-memory"),
    )

    @pytest.mark.parametrize(("option", "columns"), [("--inputs", 4), ("--targets", 2)])
    @pytest.mark.parametrize(
        "command", [("simulate",), ("netlist", "--phase", "nudged", "--output", "a.cir")], ids=["simulate", "netlist"]
    )
    @pytest.mark.parametrize(("content", "words"), FILES)
    def test_file_without_the_right_numbers(self, refused, tmp_path, command, option, columns, content, words):
        (tmp_path / "a.npy").write_bytes(content(columns))
        message = refused(*command, "--layers", 4, 6, 2, option, "a.npy")
        assert re.search(words, message)

    def test_missing_file(self, refused):
        assert re.search(
            "--inputs no.npy: no such file", refused("simulate", "--layers", 4, 6, 2, "--inputs", "no.npy")
        )

    def test_folder(self, refused, tmp_path):
        (tmp_path / "a.npy").mkdir()
        assert re.search("--targets a.npy", refused("simulate", "--layers", 4, 6, 2, "--targets", "a.npy"))

    def test_vector_where_a_column_is_meant_is_reported_with_its_own_shape(self, refused, tmp_path):
        (tmp_path / "a.npy").write_bytes(npy(np.zeros(5)))
        assert re.search(r"got \(5,\)", refused("simulate", "--layers", 4, 6, 1, "--targets", "a.npy"))

    def test_another_number_of_targets_than_inputs(self, refused, tmp_path):
        (tmp_path / "x.npy").write_bytes(npy(np.zeros((3, 4))))
        (tmp_path / "y.npy").write_bytes(npy(np.zeros((2, 2))))
        message = refused("simulate", "--layers", 4, 6, 2, "--inputs", "x.npy", "--targets", "y.npy")
        assert re.search("--targets: expected 3 samples as in the inputs, got 2", message)

    def test_several_samples_in_one_netlist(self, refused, tmp_path):
        (tmp_path / "x.npy").write_bytes(npy(np.zeros((3, 4))))
        message = refused("netlist", "--layers", 4, 6, 2, "--inputs", "x.npy", "--output", "a.cir")
        assert re.search("one sample.*got 3", message)

    def test_inputs_beyond_floating_point(self, refused, tmp_path):
        (tmp_path / "x.npy").write_bytes(npy(np.full((1, 4), 1e308)))
        message = refused("netlist", "--layers", 4, 6, 2, "--inputs", "x.npy", "--input-gain", 1e9, "--output", "a.cir")
        assert re.search("inputs.*within.*1e.308", message)
