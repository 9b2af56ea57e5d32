"""K-MNIST and EMNIST, in files of the published formats: what labels mean, how images lie, what is refused.

The published images are too large to be here. Their formats are made again: the mapping files byte by byte, by Git's hash of the
published ones (gzip.zip of EMNIST, 2017), and images in the same layout.
"""

import gzip
import hashlib
import string
import zipfile
from pathlib import Path

import numpy as np
import pytest
from idx import format_idx

from eqprop_analog import data
from eqprop_analog.data import DataError, OwnData
from eqprop_analog.data.publications import EMNIST_ARCHIVE, PUBLICATIONS

MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"
"""The 47 classes in which letters whose two cases look alike are one."""
EVERY = string.digits + string.ascii_uppercase + string.ascii_lowercase
PARTS = {
    "balanced": (MERGED, "ce4addb925634217c8be571ff640c2bfec9ea8a2"),
    "bymerge": (MERGED, "ce4addb925634217c8be571ff640c2bfec9ea8a2"),
    "byclass": (EVERY, "d023c4101a3346ea3c067890547147936f7cfdc8"),
    "letters": (string.ascii_uppercase, "b9bca10e23fa16da3283a89d845dfe8701f337ba"),
    "digits": (string.digits, "c839b18e03e3bc3dae695747160ba874b338fa75"),
    "mnist": (string.digits, "c839b18e03e3bc3dae695747160ba874b338fa75"),
}
"""Characters of each part in the order of its labels, and Git's hash of its mapping file."""


def mapping(part: str) -> bytes:
    characters = PARTS[part][0]
    if part == "letters":
        rows = [f"{k} {ord(each)} {ord(each.lower())}" for k, each in enumerate(characters, 1)]
    else:
        rows = [f"{k} {ord(each)}" for k, each in enumerate(characters)]
    return "".join(f"{row}\r\n" for row in rows).encode()


@pytest.mark.parametrize("part", list(PARTS))
def test_the_mapping_is_the_published_one(part: str) -> None:
    content = mapping(part)
    assert hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == PARTS[part][1]


def drawn(labels: np.ndarray) -> np.ndarray:
    """Upright images of 28 x 28 bytes: a bar of 3 pixels at the top, and below it a row whose number of pixels is the label."""
    images = np.zeros((len(labels), 28, 28), np.uint8)
    images[:, 2, 5:8] = 255
    for image, label in zip(images, labels, strict=True):
        image[4 + label // 20, 1 : 2 + label % 20] = 128
    return images


def halves(part: str) -> dict[str, np.ndarray]:
    """Labels as in the files; every class at least twice, and the test set without the last one."""
    first, count = int(part == "letters"), len(PARTS[part][0])
    train = np.random.default_rng(0).permutation(np.tile(np.arange(count), 3)) + first
    return {"train": train.astype(np.uint8), "test": (np.arange(count - 1) + first).astype(np.uint8)}


def emnist(folder: Path, monkeypatch, change=lambda name, content: content) -> None:
    """EMNIST's archive with all its parts."""
    with zipfile.ZipFile(folder / EMNIST_ARCHIVE, "w") as archive:
        for part in PARTS:
            files = {f"emnist-{part}-mapping.txt": mapping(part)}
            for half, labels in halves(part).items():
                lying = drawn(labels).transpose(0, 2, 1)
                files[f"emnist-{part}-{half}-images-idx3-ubyte.gz"] = gzip.compress(
                    format_idx(np.ascontiguousarray(lying))
                )
                files[f"emnist-{part}-{half}-labels-idx1-ubyte.gz"] = gzip.compress(format_idx(labels))
            for name, content in files.items():
                archive.writestr(f"gzip/{name}", change(name, content))
    vouch(folder, monkeypatch, "emnist")


def vouch(folder: Path, monkeypatch, name: str) -> None:
    """Accept the files as the published ones."""
    sums = PUBLICATIONS[name].sha256
    for each in list(sums):
        monkeypatch.setitem(sums, each, hashlib.sha256((folder / each).read_bytes()).hexdigest())


@pytest.mark.parametrize("part", list(PARTS))
def test_emnist_is_upright_and_its_labels_are_its_characters(tmp_path, monkeypatch, part: str) -> None:
    emnist(tmp_path, monkeypatch)
    dataset = data.opened(f"emnist-{part}", OwnData(), tmp_path)
    found, labels, first = dataset.own.found, halves(part), int(part == "letters")
    assert found.classes == list(PARTS[part][0])
    assert (found.outputs, found.inputs, found.shape) == (len(PARTS[part][0]), 784, (1, 28, 28))
    assert (found.training, found.test) == (len(labels["train"]), len(labels["test"]))
    np.testing.assert_array_equal(dataset.test_labels, labels["test"] - first)
    np.testing.assert_array_equal(np.sort(dataset.train_labels), np.sort(labels["train"] - first))
    for images, known in ((dataset.test_images, dataset.test_labels), (dataset.train_images, dataset.train_labels)):
        np.testing.assert_allclose(images, drawn(known + first).reshape(len(known), -1) / np.float32(255))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "letters-train-labels-idx1",
            lambda _: gzip.compress(format_idx(np.full(78, 27, np.uint8))),
            ["27", "1 to 26"],
        ),
        (
            "letters-train-labels-idx1",
            lambda _: gzip.compress(format_idx(np.ones(7, np.uint8))),
            ["(7,)", "(78, 28, 28)"],
        ),
        ("letters-test-images-idx3", lambda old: old[: len(old) // 2], ["emnist-letters"]),
        ("letters-test-images-idx3", lambda _: b"no gzip", ["emnist-letters"]),
        ("letters-mapping", lambda _: b"1\r\n2\r\n", ["emnist-letters", "archive"]),
        ("letters-mapping", lambda _: b"1 A\r\n", ["emnist-letters", "archive"]),
    ],
)
def test_a_damaged_part_is_refused(tmp_path, monkeypatch, name: str, content, words: list[str]) -> None:
    emnist(tmp_path, monkeypatch, lambda each, old: content(old) if name in each else old)
    with pytest.raises(DataError) as refused:
        data.opened("emnist-letters", OwnData(), tmp_path)
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert data.opened("emnist-digits", OwnData(), tmp_path).own.found.outputs == 10


@pytest.mark.parametrize("place", [".", "KMNIST/raw"])
def test_k_mnist_is_upright_and_its_classes_are_hiragana(tmp_path, monkeypatch, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    labels = {"train": np.tile(np.arange(10, dtype=np.uint8), 4), "t10k": np.arange(10, dtype=np.uint8)}
    for half, known in labels.items():
        (folder / f"{half}-images-idx3-ubyte.gz").write_bytes(gzip.compress(format_idx(drawn(known))))
        (folder / f"{half}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(format_idx(known)))
    vouch(folder, monkeypatch, "kmnist")
    dataset = data.opened("kmnist", OwnData(), tmp_path)
    found = dataset.own.found
    assert found.classes == ["お", "き", "す", "つ", "な", "は", "ま", "や", "れ", "を"]
    assert (found.training, found.test, found.inputs) == (40, 10, 784)
    np.testing.assert_array_equal(dataset.test_labels, labels["t10k"])
    np.testing.assert_allclose(dataset.test_images, drawn(labels["t10k"]).reshape(10, -1) / np.float32(255))
