"""Folders of images, one folder per class, read by Pillow; and IDX files of any content."""

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from eqprop_analog.data.archives import from_arrays
from eqprop_analog.data.formats import DataError, parse_idx, unpacked
from eqprop_analog.data.samples import Samples, classes_of, quoted
from eqprop_analog.data.settings import Task

Array = np.ndarray

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".webp"})
MOST_PIXELS = 2**20
"""Largest number of pixels of an image, which is the number of inputs of a circuit."""
MOST_BYTES = 2**31
"""Largest size of all pixels."""
TRAIN, TEST = ("train", "training"), ("test", "testing", "t10k")
GREY, COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr")


def read_folder(folder: Path, task: Task | None = None) -> Samples:
    """Read a folder: IDX files, or images in one folder per class, also below train and test. Raises DataError."""
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from error
    if files := [path for path in inside if is_idx_file(path)]:
        return read_idx(folder, files, task)
    if task == "regression":
        raise DataError(f"{folder}: folders of images are classes; use .npz for a regression")
    folders = [path for path in inside if path.is_dir()]
    halves = [path for path in folders if path.name.lower() in TRAIN + TEST]
    if len(halves) == 2 == len(folders) and sum(path.name.lower() in TEST for path in halves) == 1:
        parts = [(path.name.lower() in TEST, _classes(path)) for path in halves]
    else:
        parts = [(False, folders)]
    names, files, test = [], [], []
    for is_test, below in parts:
        for each in below:
            found = sorted(path for path in each.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
            names += [each.name] * len(found)
            files += found
            test += [is_test] * len(found)
    if not files:
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataError(
            f"{folder}: no data set found: expected images ({kinds}) in one folder per class, or IDX files of images "
            "and labels"
        )
    labels, classes = classes_of(names, str(folder))
    pixels = _pixels(files)
    split = np.array(test) if len(parts) > 1 else None
    shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
    skipped = sum(1 for _, below in parts for each in below for path in each.iterdir()) - len(files)
    note = f"{skipped} files in {folder.name} were left out because their names are not those of images"
    notes = (note,) if skipped else ()
    return Samples(pixels.reshape(len(pixels), -1), labels, None, classes, (), (), shape, 255.0, split, notes)


def _classes(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pixels(files: Sequence[Path]) -> Array:
    """(images, channels, height, width), bytes, all of one size; grey if the first image is grey. Raises DataError."""
    first = _opened(files[0], None)
    many = len(files) * first.size
    if many > MOST_BYTES:
        raise DataError(
            f"{files[0].parent.parent}: {many:,} pixels in total, more than {MOST_BYTES:,}; use smaller images"
        )
    found = np.empty((len(files), *first.shape), np.uint8)
    for at, path in enumerate(files):
        found[at] = _opened(path, first.shape)
    return found


def _opened(path: Path, shape: tuple[int, ...] | None) -> Array:
    """Return an image as (channels, height, width) bytes.

    Raises DataError, also if its shape differs from ``shape``.
    """
    try:
        with warnings.catch_warnings():
            # Pillow's warnings about sizes and unusual metadata; the size is checked here
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise DataError(f"{path}: {width} x {height} pixels, more than {MOST_PIXELS:,}; reduce the image")
                if image.mode not in GREY + COLOUR:
                    raise DataError(
                        f"{path}: expected 8 bits per pixel and channel, got Pillow's mode {image.mode}; convert the "
                        "image"
                    )
                if shape is not None and (height, width) != shape[1:]:
                    raise DataError(
                        f"{path}: expected {shape[2]} x {shape[1]} pixels, as in the first image, got {width} x "
                        f"{height}"
                    )
                colour = shape[0] == 3 if shape is not None else image.mode in COLOUR
                pixels = np.asarray(image.convert("RGB" if colour else "L"))
    except DataError:
        raise
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, EOFError, zlib.error, MemoryError) as error:
        raise DataError(f"{path}: not an image, or damaged ({error})") from error
    return np.moveaxis(pixels, -1, 0) if colour else pixels[None]


def is_idx_file(path: Path) -> bool:
    """Return whether a file has the name of an IDX file, or begins like one; its content is checked later."""
    if not path.is_file():
        return False
    name = path.name.lower().removesuffix(".gz")
    if "idx" in name or name.endswith("ubyte"):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError:
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and 0x08 <= head[2] <= 0x0E and 0 < head[3] < 33


def read_idx(folder: Path, files: Sequence[Path], task: Task | None = None) -> Samples:
    """Read IDX files: images (or inputs) and labels (or targets), and those of the test set if there are any.

    Their names say which is which, as those of MNIST do: train-images-idx3-ubyte, t10k-labels-idx1-ubyte; raw or
    gzipped.
    """
    halves: dict[bool, dict[str, Path]] = {False: {}, True: {}}
    for path in files:
        name = path.name.lower()
        role = next((to for to, words in ROLES.items() if any(word in name for word in words)), None)
        if role is None:
            raise DataError(f"{path}: the name of an IDX file must contain images, inputs, labels or targets")
        half = halves[any(name.startswith(word) for word in TEST)]
        if role in half:
            raise DataError(f"{path}: {half[role].name} holds {role}, too; keep only one of the two files")
        half[role] = path
    train, test = halves[False], halves[True]
    answers = "targets" if "targets" in train else "labels"
    for half in (train, test):
        if half and set(half) != {"inputs", answers}:
            raise DataError(
                f"{folder}: expected IDX files of images and of {answers}, got only {_names(half.values())}"
            )
    if not train:
        raise DataError(
            f"{folder}: there are only IDX files of test images; name the training files without t10k or test"
        )
    arrays = {role: _content(path) for role, path in train.items()}
    if test:
        others = {role: _content(path) for role, path in test.items()}
        for role, array in others.items():
            if array.shape[1:] != arrays[role].shape[1:]:
                raise DataError(f"{test[role]}: expected shape (samples, *{arrays[role].shape[1:]}), got {array.shape}")
        arrays["split"] = np.arange(sum(len(each[answers]) for each in (arrays, others))) >= len(arrays[answers])
        arrays |= {role: np.concatenate([arrays[role], others[role]]) for role in others}
    return from_arrays(arrays, str(folder), task)


ROLES = {"inputs": ("images", "inputs"), "labels": ("labels",), "targets": ("targets",)}


def _names(paths: object) -> str:
    return ", ".join(quoted(path.name) for path in paths)  # type: ignore[attr-defined]


def _content(path: Path) -> Array:
    try:
        content = unpacked(path.read_bytes(), MOST_BYTES) if path.name.endswith(".gz") else path.read_bytes()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return parse_idx(content, str(path), any_type=True)
