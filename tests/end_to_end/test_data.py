"""Data sets from folder to arrays, on small synthetic files and without a network."""

import dataclasses
import gzip
import hashlib
import importlib.util
import io
import re
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from idx import format_idx

from eqprop_analog import data
from eqprop_analog.data import DataError, formats, publications
from eqprop_analog.data.formats import parse_idx
from eqprop_analog.errors import UserError

RNG = np.random.default_rng(0)
ARRAYS = {
    formats.TRAIN_IMAGES: RNG.integers(0, 256, (6, 4, 4), dtype=np.uint8),
    formats.TRAIN_LABELS: RNG.integers(0, 10, 6, dtype=np.uint8),
    formats.TEST_IMAGES: RNG.integers(0, 256, (3, 4, 4), dtype=np.uint8),
    formats.TEST_LABELS: RNG.integers(0, 10, 3, dtype=np.uint8),
}
small_arrays = arrays(np.uint8, array_shapes(max_dims=4, min_side=0, max_side=5))


def write_files(folder: Path, *, gz: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ARRAYS.items():
        content = format_idx(array)
        (folder / (f"{name}.gz" if gz else name)).write_bytes(gzip.compress(content) if gz else content)
    return folder


def refuse(reason: str) -> publications.Source:
    def source(publication: publications.Publication, scratch: Path) -> Path:
        raise DataError(reason)

    return source


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """Replace the published files by the synthetic ones, the cache by an empty folder, and the sources by those given."""
    monkeypatch.setenv("EQPROP_ANALOG_CACHE", str(tmp_path / "cache"))

    def publish(*sources: tuple[str, publications.Source]) -> None:
        sha256 = {name: hashlib.sha256(format_idx(array)).hexdigest() for name, array in ARRAYS.items()}
        small = dataclasses.replace(publications.PUBLICATIONS["mnist"], sha256=sha256, sources=sources)
        monkeypatch.setitem(publications.PUBLICATIONS, "mnist", small)

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
    np.testing.assert_array_equal(dataset.train_images, ARRAYS[formats.TRAIN_IMAGES].reshape(6, 16) / np.float32(255))
    np.testing.assert_array_equal(dataset.test_labels, ARRAYS[formats.TEST_LABELS])
    assert not publications.cache_dir().exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-1], "shape .* expected .* bytes, got"),
        (lambda content: content[:6], "truncated IDX header"),
        (lambda content: b"\0\0\x0d" + content[3:], "expected magic 00 00 08 0N, got '00 00 0d 03'"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "expected SHA-256 .*, got"),
        (lambda content: b"", "not an IDX file"),
    ],
    ids=["truncated", "header", "magic", "checksum", "empty"],
)
def test_damaged_file_in_named_folder_is_named(publish, tmp_path, damage, words):
    path = write_files(tmp_path) / formats.TEST_IMAGES
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{formats.TEST_IMAGES}.*{words}"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-9], lambda content: content[:40] + b"\xff" * 20 + content[60:], lambda content: b"no"],
    ids=["truncated", "corrupt", "plain"],
)
def test_damaged_gzip_is_named(publish, tmp_path, damage):
    path = write_files(tmp_path, gz=True) / f"{formats.TRAIN_IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{formats.TRAIN_IMAGES}.gz"):
        data.load("mnist", tmp_path)


def test_named_folder_never_falls_back(publish, tmp_path):
    publish(("elsewhere", lambda publication, scratch: write_files(scratch)))
    with pytest.raises(DataError, match=f"missing: expected {formats.TRAIN_IMAGES}"):
        data.load("mnist", tmp_path / "missing")


def test_first_good_source_is_kept_and_the_cache_serves_from_then_on(publish, tmp_path):
    def unverifiable(publication, scratch):
        (write_files(scratch) / formats.TEST_LABELS).write_bytes(format_idx(np.zeros(3, np.uint8) + 77))
        return scratch

    def good(publication, scratch):
        return write_files(scratch, gz=True)

    cache = ("the cache", publications._from_cache)
    publish(cache, ("bad copy", unverifiable), ("good copy", good))
    fetched = data.load("mnist")
    kept = tmp_path / "cache" / "mnist"
    assert {path.name for path in kept.iterdir()} == set(ARRAYS)

    publish(cache)
    np.testing.assert_array_equal(data.load("mnist").train_images, fetched.train_images)

    (kept / formats.TEST_LABELS).write_bytes(b"rot")
    with pytest.raises(DataError, match="not an IDX file"):
        data.load("mnist")


def test_cache_that_cannot_be_written_costs_only_a_warning(publish, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    publish(("copy", lambda publication, scratch: write_files(scratch)))
    assert len(data.load("mnist").test_labels) == 3
    assert "not kept in the cache" in caplog.text


def test_nothing_reachable_lists_every_way_and_what_to_do(publish):
    publish(
        ("the cache", publications._from_cache), ("carrier pigeon", refuse("it\nrains")), ("telegraph", refuse("cut"))
    )
    with pytest.raises(UserError) as caught:
        data.load("mnist")
    message = str(caught.value)
    assert re.search("mnist could not .*Tried", message, re.DOTALL)
    assert f"the cache: {publications.cache_dir()}" in message
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
    publish(("torchvision", publications._from_torchvision))
    try:
        with pytest.raises(DataError, match=words):
            data.load("mnist")
    finally:
        sys.modules.pop("torchvision", None)


def test_unreachable_mirror_is_a_data_error(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz .*\(ConnectionError\)"):
        publications._from_mirror("http://127.0.0.1:9", publications.PUBLICATIONS["mnist"], tmp_path)


def test_package_client_missing_failing_or_hanging_is_a_data_error(monkeypatch, tmp_path):
    with pytest.raises(DataError, match="no-such-client is not installed"):
        publications._run(["no-such-client"], tmp_path)
    with pytest.raises(DataError, match="sh failed: no such package"):
        publications._run(["sh", "-c", "echo no such package >&2; exit 1"], tmp_path)

    def hang(*args, **kwargs):
        raise subprocess.TimeoutExpired("sh", publications.CLIENT_SECONDS)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(DataError, match="sh gave no answer within"):
        publications._run(["sh"], tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_every_publication_has_four_checksums_and_starts_with_the_cache(name):
    publication = publications.PUBLICATIONS[name]
    assert publication.name == name
    assert set(publication.sha256) == set(ARRAYS)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in publication.sha256.values())
    assert publication.sources[0] == ("the cache", publications._from_cache)


def cifar_records(count: int) -> np.ndarray:
    """Records of a class and 3 x 32 x 32 pixels, as in CIFAR-10's binary files."""
    records = RNG.integers(0, 256, (count, formats.CIFAR_RECORD), dtype=np.uint8)
    records[:, 0] %= 10
    return records


CIFAR = {
    name: cifar_records(number) for number, name in enumerate((*formats.CIFAR_TRAIN, *formats.CIFAR_TEST), start=1)
}


def cifar_archive(changed: dict[str, bytes | None]) -> bytes:
    """CIFAR-10's archive with a few records per file; ``changed`` has other contents, and None omits a file."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for name, content in ({name: records.tobytes() for name, records in CIFAR.items()} | changed).items():
            if content is not None:
                member = tarfile.TarInfo(f"{formats.CIFAR_FOLDER}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


@pytest.fixture
def publish_cifar(monkeypatch, tmp_path):
    """Make this archive CIFAR-10's published one, and its source a folder that holds it; the cache is empty."""
    monkeypatch.setenv("EQPROP_ANALOG_CACHE", str(tmp_path / "cache"))

    def publish(content: bytes) -> Path:
        folder = tmp_path / "cifar"
        folder.mkdir(exist_ok=True)
        (folder / formats.CIFAR_ARCHIVE).write_bytes(content)
        sha256 = {formats.CIFAR_ARCHIVE: hashlib.sha256(content).hexdigest()}
        sources = (("the cache", publications._from_cache), ("folder", lambda publication, scratch: folder))
        small = dataclasses.replace(publications.PUBLICATIONS["cifar-10"], sha256=sha256, sources=sources)
        monkeypatch.setitem(publications.PUBLICATIONS, "cifar-10", small)
        return folder

    return publish


def test_cifar_is_read_from_its_archive_channel_by_channel(publish_cifar):
    dataset = data.load("cifar-10", publish_cifar(cifar_archive({})))
    records = np.concatenate([CIFAR[name] for name in formats.CIFAR_TRAIN])
    assert dataset.train_images.shape == (1 + 2 + 3 + 4 + 5, 3072)
    assert dataset.train_images.dtype == np.float32
    np.testing.assert_array_equal(dataset.train_images, records[:, 1:] / np.float32(255))
    np.testing.assert_array_equal(dataset.train_labels, records[:, 0])
    np.testing.assert_array_equal(dataset.test_labels, CIFAR[formats.CIFAR_TEST[0]][:, 0])
    assert dataset.test_labels.dtype == np.int64


def test_cifar_is_kept_in_the_cache_as_it_came(publish_cifar, tmp_path):
    content = cifar_archive({})
    folder = publish_cifar(content)
    data.load("cifar-10")
    (folder / formats.CIFAR_ARCHIVE).unlink()
    assert (tmp_path / "cache" / "cifar-10" / formats.CIFAR_ARCHIVE).read_bytes() == content
    assert len(data.load("cifar-10").test_labels) == 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no archive", "not CIFAR-10's binary archive"),
        (b"", "not CIFAR-10's binary archive"),
        (cifar_archive({})[:2000], "not CIFAR-10's binary archive"),
        (cifar_archive({"data_batch_3.bin": None}), "not CIFAR-10's binary archive: .*data_batch_3.bin"),
        (cifar_archive({"test_batch.bin": b""}), "test_batch.bin: expected records of 3073 bytes, got 0 bytes"),
        (cifar_archive({"test_batch.bin": bytes(3072)}), "test_batch.bin: .*3073 bytes, got 3072 bytes"),
        (
            cifar_archive({"data_batch_1.bin": b"\x0a" + bytes(3072)}),
            "data_batch_1.bin: expected classes 0 to 9, got 10",
        ),
        (cifar_archive({"data_batch_1.bin": bytes(3073)}), "expected SHA-256 .*, got"),
    ],
    ids=["text", "empty", "truncated", "missing", "empty-batch", "record", "class", "checksum"],
)
def test_damaged_cifar_archive_is_named(publish_cifar, content, words):
    folder = publish_cifar(cifar_archive({}))
    (folder / formats.CIFAR_ARCHIVE).write_bytes(content)
    with pytest.raises(DataError, match=f"{formats.CIFAR_ARCHIVE}.*{words}"):
        data.load("cifar-10", folder)


def test_a_copy_is_taken_where_the_user_names_it_and_only_there(publish_cifar, caplog):
    """Pixels that differ from the published ones: refused by checksum, or read with a warning that contains the name."""
    published = cifar_archive({})
    folder = publish_cifar(published)
    other = {name: np.concatenate([each[:, :1], 255 - each[:, 1:]], axis=1) for name, each in CIFAR.items()}
    (folder / formats.CIFAR_ARCHIVE).write_bytes(cifar_archive({name: each.tobytes() for name, each in other.items()}))
    with pytest.raises(DataError, match=r"expected SHA-256 .*, got .*--data-copy"):
        data.load("cifar-10", folder)
    dataset = data.load("cifar-10", folder, "JPEG copy")
    assert "expected SHA-256" in caplog.text
    assert "JPEG copy" in caplog.text
    np.testing.assert_array_equal(dataset.test_images, other[formats.CIFAR_TEST[0]][:, 1:] / np.float32(255))
    (folder / formats.CIFAR_ARCHIVE).write_bytes(b"damaged")
    with pytest.raises(DataError, match="not CIFAR-10's binary archive"):
        data.load("cifar-10", folder, "JPEG copy")


def test_a_name_for_a_copy_where_there_is_none_is_refused(publish_cifar):
    folder = publish_cifar(cifar_archive({}))
    with pytest.raises(DataError, match=r"published ones.*--data-copy"):
        data.load("cifar-10", folder, "JPEG copy")
    with pytest.raises(DataError, match="--data-dir"):
        data.load("cifar-10", None, "JPEG copy")
    with pytest.raises(DataError, match="--data-dir"):
        data.load("digits", folder, "JPEG copy")


def test_cifar_folder_without_the_archive_says_what_it_should_hold(publish_cifar, tmp_path):
    publish_cifar(cifar_archive({}))
    with pytest.raises(DataError, match=r"expected cifar-10-binary\.tar\.gz here$"):
        data.load("cifar-10", tmp_path)


def test_digits_are_every_fifth_for_testing():
    pytest.importorskip("sklearn")
    dataset = data.load("digits")
    assert dataset.train_images.shape == (1438, 64)
    assert dataset.test_images.shape == (359, 64)
    assert (dataset.train_images.dtype, dataset.train_labels.dtype) == (np.float32, np.int64)
    assert (dataset.train_images.min(), dataset.train_images.max()) == (0, 1)
    assert set(dataset.test_labels) == set(range(10))


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"scikit-learn, which is not installed: pip install 'eqprop-analog\[digits\]'"):
        data.load("digits")


def test_a_shifted_picture_moves_all_channels_alike_and_continues_its_edge():
    picture = np.arange(3 * 16.0).reshape(3, 4, 4)
    moved = data.shifted(np.tile(picture.ravel(), (300, 1)), 1, np.random.default_rng(0), channels=3, edge=True)
    framed = np.pad(picture, ((0, 0), (1, 1), (1, 1)), mode="edge")
    expected = {framed[:, i : 4 + i, j : 4 + j].tobytes() for i in range(3) for j in range(3)}
    assert {one.tobytes() for one in moved} == expected


def test_a_flipped_picture_is_itself_or_its_mirror_image():
    picture = np.arange(3 * 16.0).reshape(3, 4, 4)
    turned = data.flipped(np.tile(picture.ravel(), (100, 1)), np.random.default_rng(0), channels=3)
    assert {one.tobytes() for one in turned} == {picture.tobytes(), picture[..., ::-1].tobytes()}
