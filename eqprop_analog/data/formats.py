"""The files of published data sets: IDX, and CIFAR-10's archive.

LeCun, Cortes & Burges, "The MNIST database of handwritten digits" (1998), section "File formats"; Krizhevsky, "The CIFAR-10
dataset" (2009), section "Binary version", which is read without pickle.
"""

import gzip
import io
import math
import struct
import tarfile

import numpy as np

from eqprop_analog.errors import UserError
from eqprop_analog.files import UNREADABLE

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
UNSIGNED_BYTE = 0x08  # the only element type of IDX files in these data sets
IDX_TYPES = {UNSIGNED_BYTE: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR_FOLDER = "cifar-10-batches-bin"
CIFAR_TRAIN, CIFAR_TEST = [f"data_batch_{number}.bin" for number in range(1, 6)], ["test_batch.bin"]
CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: the class, then the pixels
MOST_BYTES = 2**28  # of an unpacked file; CIFAR-10's archive has 184 million


class DataError(UserError):
    """A data set that is not available, or a file with unexpected content."""


def parse_idx(content: bytes, where: str, *, any_type: bool = False) -> np.ndarray:
    """Read an IDX file of unsigned bytes or, with ``any_type``, of any numbers; the array is a read-only view of ``content``.

    Raises :class:`DataError` that names ``where``, what was expected and what was found.
    """
    known = list(IDX_TYPES) if any_type else [UNSIGNED_BYTE]
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in known or content[3] == 0:
        kind, magic = ("numbers", "TT") if any_type else ("bytes", "08")
        raise DataError(
            f"{where}: not an IDX file of {kind}: expected magic 00 00 {magic} 0N, got {content[:4].hex(' ')!r}"
        )
    dtype = np.dtype(IDX_TYPES[content[2]])
    dimensions = content[3]
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{where}: truncated IDX header: expected {header} bytes, got {len(content)}")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    expected = header + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DataError(f"{where}: IDX of shape {shape}: expected {expected} bytes, got {len(content)}")
    try:
        return np.frombuffer(content, dtype, offset=header).reshape(shape)
    except ValueError as error:  # more dimensions than NumPy has, or a size of zero spelled with huge ones
        raise DataError(f"{where}: NumPy cannot hold this IDX shape: {error}") from error


def parse_cifar(content: bytes, where: str) -> tuple[np.ndarray, ...]:
    """Training images (samples, 3072) and labels, test images and labels, uint8, from CIFAR-10's binary archive.

    Raises :class:`DataError` that names ``where``, what was expected and what was found.
    """
    arrays: list[np.ndarray] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked(content)), mode="r:") as archive:
            for names in (CIFAR_TRAIN, CIFAR_TEST):
                records = np.concatenate([_cifar_records(archive, name, where) for name in names])
                arrays += [records[:, 1:], records[:, 0]]
    except DataError:
        raise
    except (tarfile.TarError, *UNREADABLE) as error:
        raise DataError(f"{where}: not CIFAR-10's binary archive: {error}") from error
    return tuple(arrays)


def unpacked(content: bytes, most: int | None = None) -> bytes:
    """Unpack gzip content of at most ``most`` bytes (MOST_BYTES). Raises ValueError, OSError or EOFError otherwise."""
    most = MOST_BYTES if most is None else most
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        result = file.read(most + 1)
    if len(result) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    return result


def _cifar_records(archive: tarfile.TarFile, name: str, where: str) -> np.ndarray:
    described = archive.getmember(f"{CIFAR_FOLDER}/{name}")
    # neither links, which may be circular, nor huge sparse files
    plain = described.isreg() and described.size <= MOST_BYTES
    member = archive.extractfile(described) if plain else None
    content = member.read() if member else b""
    if not content or len(content) % CIFAR_RECORD:
        raise DataError(f"{where}: {name}: expected records of {CIFAR_RECORD} bytes, got {len(content)} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    if (records[:, 0] > 9).any():
        raise DataError(f"{where}: {name}: expected classes 0 to 9, got {records[:, 0].max()}")
    return records
