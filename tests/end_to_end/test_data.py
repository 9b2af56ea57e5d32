"""Data sets from folder to arrays, on small synthetic files and without a network."""

import dataclasses
import gzip
import hashlib
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from eqprop_analog import data
from eqprop_analog.data import DataError, format_idx, parse_idx
from eqprop_analog.errors import UserError

RNG = np.random.default_rng(0)
ARRAYS = {
    data.TRAIN_IMAGES: RNG.integers(0, 256, (6, 4, 4), dtype=np.uint8),
    data.TRAIN_LABELS: RNG.integers(0, 10, 6, dtype=np.uint8),
    data.TEST_IMAGES: RNG.integers(0, 256, (3, 4, 4), dtype=np.uint8),
    data.TEST_LABELS: RNG.integers(0, 10, 3, dtype=np.uint8),
}
small_arrays = arrays(np.uint8, array_shapes(max_dims=4, min_side=0, max_side=5))


def write_files(folder: Path, *, gz: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ARRAYS.items():
        content = format_idx(array)
        (folder / (f"{name}.gz" if gz else name)).write_bytes(gzip.compress(content) if gz else content)
    return folder


def refuse(reason: str) -> data.Source:
    def source(publication: data.Publication, scratch: Path) -> Path:
        raise DataError(reason)

    return source


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """Make the synthetic files the published ones, an empty folder the cache, and the sources those given."""
    monkeypatch.setenv("EQPROP_ANALOG_CACHE", str(tmp_path / "cache"))

    def publish(*sources: tuple[str, data.Source]) -> None:
        sha256 = {name: hashlib.sha256(format_idx(array)).hexdigest() for name, array in ARRAYS.items()}
        small = dataclasses.replace(data.PUBLICATIONS["mnist"], sha256=sha256, sources=sources)
        monkeypatch.setitem(data.PUBLICATIONS, "mnist", small)

    publish(("nowhere", refuse("no source may be asked")))
    return publish


@given(small_arrays)
def test_idx_round_trip(array):
    parsed = parse_idx(format_idx(array), "memory")
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array)


@given(small_arrays, st.data())
def test_idx_any_truncation_is_a_data_error(array, draw):
    content = format_idx(array)
    kept = draw.draw(st.integers(0, len(content) - 1))
    with pytest.raises(DataError, match="memory"):
        parse_idx(content[:kept], "memory")


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=80).map(lambda tail: b"\0\0\x08" + tail)))
def test_idx_any_bytes_parse_or_are_a_data_error(content):
    try:
        parsed = parse_idx(content, "memory")
    except DataError:
        return
    assert format_idx(parsed) == content


@pytest.mark.parametrize("shape", [(0, *[2**32 - 1] * 3), (1,) * 70], ids=["overflow", "dimensions"])
def test_idx_shape_beyond_numpy_is_a_data_error(shape):
    content = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + bytes(int(np.prod(shape, dtype=object)))
    with pytest.raises(DataError, match="memory"):
        parse_idx(content, "memory")


@pytest.mark.parametrize("below", [".", "MNIST/raw"])
@pytest.mark.parametrize("gz", [False, True], ids=["raw", "gz"])
def test_named_folder_gives_scaled_rows(publish, tmp_path, below, gz):
    write_files(tmp_path / "mine" / below, gz=gz)
    dataset = data.load("mnist", tmp_path / "mine")
    assert dataset.train_images.dtype == np.float32
    assert dataset.train_labels.dtype == np.int64
    assert dataset.test_images.shape == (3, 16)
    np.testing.assert_array_equal(dataset.train_images, ARRAYS[data.TRAIN_IMAGES].reshape(6, 16) / np.float32(255))
    np.testing.assert_array_equal(dataset.test_labels, ARRAYS[data.TEST_LABELS])
    assert not data.cache_dir().exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-1], "shape .* expected .* bytes, came"),
        (lambda content: content[:6], "truncated IDX header"),
        (lambda content: b"\0\0\x0d" + content[3:], "expected magic 00 00 08 0N, came '00 00 0d 03'"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "expected SHA-256 .*, came"),
        (lambda content: b"", "not an IDX file"),
    ],
    ids=["truncated", "header", "magic", "checksum", "empty"],
)
def test_damaged_file_in_named_folder_is_named(publish, tmp_path, damage, words):
    path = write_files(tmp_path) / data.TEST_IMAGES
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{data.TEST_IMAGES}.*{words}"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-9], lambda content: content[:40] + b"\xff" * 20 + content[60:], lambda content: b"no"],
    ids=["truncated", "corrupt", "plain"],
)
def test_damaged_gzip_is_named(publish, tmp_path, damage):
    path = write_files(tmp_path, gz=True) / f"{data.TRAIN_IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{data.TRAIN_IMAGES}.gz"):
        data.load("mnist", tmp_path)


def test_named_folder_never_falls_back(publish, tmp_path):
    publish(("elsewhere", lambda publication, scratch: write_files(scratch)))
    with pytest.raises(DataError, match=f"missing: expected {data.TRAIN_IMAGES}"):
        data.load("mnist", tmp_path / "missing")


def test_first_good_source_is_kept_and_the_cache_serves_from_then_on(publish, tmp_path):
    def unverifiable(publication, scratch):
        (write_files(scratch) / data.TEST_LABELS).write_bytes(format_idx(np.zeros(3, np.uint8) + 77))
        return scratch

    def good(publication, scratch):
        return write_files(scratch, gz=True)

    cache = ("the cache", data._from_cache)
    publish(cache, ("bad copy", unverifiable), ("good copy", good))
    fetched = data.load("mnist")
    kept = tmp_path / "cache" / "mnist"
    assert {path.name for path in kept.iterdir()} == set(ARRAYS)

    publish(cache)
    np.testing.assert_array_equal(data.load("mnist").train_images, fetched.train_images)

    (kept / data.TEST_LABELS).write_bytes(b"rot")
    with pytest.raises(DataError, match="not an IDX file"):
        data.load("mnist")


def test_cache_that_cannot_be_written_costs_only_a_warning(publish, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    publish(("copy", lambda publication, scratch: write_files(scratch)))
    assert len(data.load("mnist").test_labels) == 3
    assert "not kept in the cache" in caplog.text


def test_nothing_reachable_lists_every_way_and_what_to_do(publish):
    publish(("the cache", data._from_cache), ("carrier pigeon", refuse("it\nrains")), ("telegraph", refuse("cut")))
    with pytest.raises(UserError) as caught:
        data.load("mnist")
    message = str(caught.value)
    assert "mnist could not be had" in message
    assert f"the cache: {data.cache_dir()}" in message
    assert "carrier pigeon: it rains" in message
    assert "telegraph: cut" in message
    assert "--data-dir" in message


def test_unknown_name_is_a_data_error():
    with pytest.raises(DataError, match="unknown data set 'cifar': expected one of mnist, fashion-mnist"):
        data.load("cifar")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise RuntimeError('built for another torch')", "torchvision: RuntimeError: built for another torch"),
        ("", "torchvision: ModuleNotFoundError: No module named 'torchvision.datasets'"),
    ],
)
def test_broken_torchvision_is_only_a_reason(publish, monkeypatch, tmp_path, module, words):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    publish(("torchvision", data._from_torchvision))
    try:
        with pytest.raises(DataError, match=words):
            data.load("mnist")
    finally:
        sys.modules.pop("torchvision", None)


def test_unreachable_mirror_is_a_data_error(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz did not come \(ConnectionError\)"):
        data._from_mirror("http://127.0.0.1:9", data.PUBLICATIONS["mnist"], tmp_path)


def test_package_client_missing_failing_or_hanging_is_a_data_error(monkeypatch, tmp_path):
    with pytest.raises(DataError, match="no-such-client is not installed"):
        data._run(["no-such-client"], tmp_path)
    with pytest.raises(DataError, match="sh failed: no such package"):
        data._run(["sh", "-c", "echo no such package >&2; exit 1"], tmp_path)

    def hang(*args, **kwargs):
        raise subprocess.TimeoutExpired("sh", data.CLIENT_SECONDS)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(DataError, match="sh gave no answer within"):
        data._run(["sh"], tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_every_publication_has_four_checksums_and_starts_with_the_cache(name):
    publication = data.PUBLICATIONS[name]
    assert publication.name == name
    assert set(publication.sha256) == set(ARRAYS)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in publication.sha256.values())
    assert publication.sources[0] == ("the cache", data._from_cache)
