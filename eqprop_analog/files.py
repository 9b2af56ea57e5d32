"""Files as they should be: written so that a reader never sees half of one, read so that damage is a sentence."""

import csv
import json
import os
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from eqprop_analog.errors import UserError

UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    MemoryError,
    RuntimeError,
    TokenError,
    zipfile.BadZipFile,
)
"""What NumPy, zipfile and json raise for a file that is damaged or not what it should be."""


def save_arrays(
    path: Path, kind: str, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray], text: str = "description"
) -> None:
    """Write an uncompressed ``.npz`` in one step: ``arrays``, and ``description`` as JSON in the array ``text``; no pickle.

    ``kind``: what loading asks for. Raises UserError if it cannot be written.
    """
    written = np.array(json.dumps({"format": kind, **description}))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **{text: written}, **arrays)


@contextmanager
def loaded_arrays(
    path: Path, kind: str, text: str = "description", name: str = "network file"
) -> Iterator[tuple[dict[str, Any], Any]]:
    """(description, arrays by name) of a file of ``save_arrays``, for a block that makes something of them.

    UserError, which calls the file a ``name``, if it is missing, of another kind, or holds what the block cannot use.
    """
    try:
        with _arrays_of(path) as file:
            description = json.loads(str(file[text]))
            if description["format"] != kind:
                raise UserError(f'{path}: expected format "{kind}", got "{description["format"]}"')
            yield description, file
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such {name}") from error
    except UserError:
        raise
    except UNREADABLE as error:
        raise UserError(f"{path}: not a {name}, or a damaged one ({error})") from error


@contextmanager
def _arrays_of(path: Path) -> Iterator[Any]:
    """The arrays of an ``.npz`` file by name; closed again whatever happens (np.load leaves a damaged file open)."""
    with path.open("rb") as raw:
        if not zipfile.is_zipfile(raw):
            raise ValueError("not an .npz archive, or cut off")
        raw.seek(0)
        with np.load(raw, allow_pickle=False) as file:
            yield file


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file; UserError if there is none, naming ``what`` it was to be."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such {what}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a readable TOML file ({error})") from error


def packaged(folder: str) -> dict[str, Path]:
    """The TOML files in one of the package's own folders, by name."""
    here = Path(str(files("eqprop_analog"))) / folder
    return {path.stem: path for path in sorted(here.glob("*.toml"))}


def packaged_or_own(folder: str, name: str, what: str) -> Path:
    """A packaged TOML file by its name, or one of the user's by its path; UserError for a name that there is not."""
    known = packaged(folder)
    path = known.get(name) or Path(name)
    if path.suffix != ".toml":
        raise UserError(f'{what} "{name}" is unknown; there are {", ".join(known)}, or name a .toml file')
    return path


def real(array: Any) -> np.ndarray:
    """``array`` as float64; ValueError for text, complex numbers, dates and records, which NumPy would convert."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected real numbers, got {array.dtype}")
    return np.asarray(array, dtype=float)


def require_writable(path: Path) -> None:
    """Raise UserError if ``path`` can certainly not be written; leaves nothing behind."""
    existing = next(folder for folder in Path(path).absolute().parents if folder.exists())
    if Path(path).is_dir() or not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"cannot write {path}; choose a folder you can write to")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; on success it is renamed over ``path``, on failure it is removed.

    Raises UserError when the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose a folder you can write to") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table in one step, a line a row; a row may lack columns, and what is a list or a table in it stays JSON."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, dict.fromkeys(name for row in rows for name in row), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()})
