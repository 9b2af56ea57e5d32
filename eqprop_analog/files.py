"""Reading and writing of files: they are written atomically, and damage is reported by a readable error."""

import contextlib
import csv
import errno
import json
import logging
import math
import os
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, BinaryIO

import filelock
import numpy as np

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_array
from eqprop_analog.text import in_one_line, suggestion

log = logging.getLogger(__name__)

UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions of NumPy, zipfile and json for a file that is damaged or of another kind."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PARTIAL = ".partial-"
"""Prefix of the names of files that are being written."""
LOCK = ".lock"
TOML_BYTES = 2**20
"""Largest size of a TOML file, bytes: larger than any written by hand."""
TEXT_BYTES = 2**24
"""Largest JSON text in an array, at four bytes per character; a run's history takes 800 bytes per epoch."""


def file_path(given: Any) -> Path:
    """Return ``given``, the name of a file, as a path. Raises UserError for an invalid name."""
    if not isinstance(given, str | os.PathLike) or not isinstance(name := os.fspath(given), str):
        raise UserError(f"file: expected a name, such as network.npz, or a pathlib.Path, got {given!r:.60}")
    if not name or "\0" in name:
        raise UserError(f"file: expected a name of at least one character without NUL, got {name!r:.60}")
    return Path(given)


def save_arrays(
    path: str | Path,
    kind: str,
    description: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    text: str = "description",
) -> None:
    """Write an uncompressed ``.npz`` atomically: ``arrays``, and ``description`` as JSON in the array ``text``; no pickle.

    ``kind``: the format that loading expects. Raises UserError if it cannot be written.
    """
    path = file_path(path)
    written = np.array(json.dumps({"format": kind, **description}))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **{text: written}, **arrays)


class Arrays:
    """The arrays of an uncompressed ``.npz`` file, read by name on demand.

    Nothing in the file is executed, and no array takes more memory than its part of the file. Raises ValueError for a
    compressed file, for an array whose header states another size, and for objects. ``raw`` is an open file. With
    ``most``, the file may be compressed, and unpack to at most this number of bytes.
    """

    def __init__(self, raw: BinaryIO, most: int | None = None) -> None:
        self._zip = zipfile.ZipFile(raw)
        members = self._zip.infolist()
        self.files = [member.filename.removesuffix(".npy") for member in members]
        unpacked = sum(member.file_size for member in members)
        if most is None and unpacked > raw.seek(0, os.SEEK_END):
            raise ValueError("the file is compressed, or an array is larger than the file")
        if most is not None and unpacked > most:
            raise ValueError(f"the file unpacks to {unpacked:,} bytes, more than {most:,}")

    def form(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Return shape and dtype of an array."""
        with self._zip.open(f"{name}.npy") as member:
            try:
                return _form(member, self._zip.getinfo(f"{name}.npy").file_size)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error

    def __getitem__(self, name: str) -> np.ndarray:
        """Read an array into memory."""
        self.form(name)
        with self._zip.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)


def _form(file: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype of the array in a ``.npy`` file.

    Raises ValueError if its size differs, or if it needs pickle.
    """
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("an array of Python objects, which is pickle; save numbers, or text (.astype(str))")
    if min(shape, default=0) < 0 or file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"its header states {dtype} {shape}, which does not match its {size} bytes")
    return shape, dtype


def read_bytes(path: Path, what: str, most: int) -> bytes:
    """Return the first ``most`` bytes of a file, called ``what`` in messages. Raises UserError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such {what}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_array(path: Path, name: str) -> np.ndarray:
    """Return the numbers in a ``.npy`` file, as float64.

    Raises UserError, which begins with ``name``, for anything else.
    """
    try:
        with path.open("rb") as file:
            _form(file, path.stat().st_size)
            file.seek(0)
            return real(np.lib.format.read_array(file, allow_pickle=False))
    except FileNotFoundError as error:
        raise UserError(f"{name} {path}: no such file") from error
    except UNREADABLE as error:
        raise UserError(f"{name} {path}: not a .npy file of numbers ({in_one_line(error)})") from error


@contextmanager
def loaded_arrays(
    path: str | Path, kind: str | None, text: str = "description", name: str = "network file"
) -> Iterator[tuple[dict[str, Any], Arrays]]:
    """Open (description, arrays by name) of a file of ``save_arrays`` (None: of any kind), for a block that uses them.

    Raises UserError, which calls the file a ``name``, if it is missing, of another kind, or if the block cannot use it.
    """
    path = file_path(path)
    try:
        with path.open("rb") as raw:
            if not zipfile.is_zipfile(raw):
                raise ValueError("not an .npz archive, or truncated")
            file = Arrays(raw)
            if math.prod(file.form(text)[0]) * 4 > TEXT_BYTES:
                raise ValueError(f"{text}: more than {TEXT_BYTES:,} bytes")
            description = json.loads(str(file[text]))
            if kind not in (None, description["format"]):
                raise UserError(
                    f'{path}: expected format "{kind}", got "{in_one_line(description["format"]):.80}"; '
                    f"use the version of this program that wrote it, or another file"
                )
            yield description, file
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such {name}") from error
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{name} {path}: {error}") from error
    except UNREADABLE as error:
        raise UserError(f"{path}: not a {name}, or damaged ({in_one_line(error)})") from error


def array_format(path: str | Path, name: str) -> str:
    """Return the kind of a file of ``save_arrays``. Raises UserError, which calls it a ``name``, for any other file."""
    with loaded_arrays(path, None, name=name) as (description, _):
        return str(description["format"])


def read_toml(path: Path, what: str, limit: int = TOML_BYTES) -> dict[str, Any]:
    """Return the tables of a TOML file, called ``what`` in messages.

    Raises UserError. ``limit``: its largest size, bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"more than {limit:,} bytes")
        return tomllib.loads(content.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such {what}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable TOML file ({in_one_line(error)})") from error


def packaged(folder: str) -> dict[str, Path]:
    """Return the TOML files in one of the package's folders, by name."""
    here = Path(str(files("eqprop_analog"))) / folder
    return {path.stem: path for path in sorted(here.glob("*.toml"))}


def packaged_circuits() -> Path:
    """Return the folder of the package's subcircuits."""
    folder = Path(str(files("eqprop_analog"))) / "circuits"
    return folder if folder.is_dir() else folder.parent.parent / "circuits"


def packaged_or_own(folder: str, name: str, what: str) -> Path:
    """Return a packaged TOML file by its name, or a user's file by its path. Raises UserError for an unknown name."""
    known = packaged(folder)
    path = known.get(name) or Path(name)
    if path.suffix != ".toml":
        near = suggestion(name, known)
        raise UserError(f'{what} "{name}" is unknown; there are {", ".join(known)}, or name a .toml file{near}')
    return path


def real(array: Any) -> np.ndarray:
    """Return ``array`` as float64.

    Raises UserError for text, complex numbers, dates and records, which NumPy would convert.
    """
    return real_array(array, "array", float, finite=False)


def require_writable(path: Path) -> None:
    """Raise UserError if ``path`` certainly cannot be written; no file is left behind."""
    _require_no_device(Path(path))
    existing = next(folder for folder in Path(path).absolute().parents if folder.exists())
    if Path(path).is_dir() or not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"cannot write {path}; choose a folder you can write to")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; it is renamed to ``path`` on success, and removed on failure.

    The file is flushed to disk before it is renamed, so that a loss of power leaves either the old or the new file.
    Raises UserError if the folder cannot be written or its disk is full.
    """
    path = Path(path).resolve() if Path(path).is_symlink() else Path(path)
    _require_no_device(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{PARTIAL}{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _not_written(path, error, "; choose a folder you can write to") from error
    temporary = Path(name)
    try:
        yield temporary
        _to_disk(temporary)
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
        log.debug("%s written", path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _require_no_device(path: Path) -> None:
    """Raise UserError for a device, a pipe or a socket, which a file would replace."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"cannot write {path}: this is a device or a pipe; name a file")


def _not_written(path: Path, error: OSError, advice: str = "") -> UserError:
    if error.errno in FULL:
        advice = "; the previous file is intact: free some space, then run the same command again"
    return UserError(f"cannot write {path}: {error.strerror or error}{advice}")


def _to_disk(path: Path) -> None:
    """Flush the file to disk, which reports a full disk at the latest now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock ``folder``, created if necessary, for this process, and remove files that a killed process left half-written.

    The system releases a lock with its process, so that none is left behind. A process may lock a folder repeatedly.
    Raises UserError, which names the other process, if the folder is locked.
    """
    path = folder / LOCK
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, is_singleton=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UserError(
            f"{folder}: in use by process {_named(path) or '(unknown)'}; wait for it, stop it, or choose another folder"
        ) from error
    except OSError as error:
        raise _not_written(folder, error, "; choose a folder you can write to") from error
    try:
        if lock.lock_counter == 1:
            for partial in folder.glob(f"{PARTIAL}*"):
                partial.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # on a full disk, the lock holds without the name of its process
                path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        if lock.lock_counter == 1:
            path.unlink(missing_ok=True)
            if made:
                with contextlib.suppress(OSError):  # the folder is not empty
                    folder.rmdir()
        lock.release()


def _named(lock: Path) -> str:
    """Return the process that holds the lock, from the file; empty if it was not written yet, or just released."""
    try:
        return lock.read_text(encoding="utf-8", errors="replace")[:20]
    except OSError:
        return ""


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table atomically, one line per row; a row may lack columns, and lists and tables in it are written as JSON."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, dict.fromkeys(name for row in rows for name in row), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()})
