"""Tables of samples: CSV files, checked cell by cell."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eqprop_analog import columns as csv_columns
from eqprop_analog.columns import MISSING, Table
from eqprop_analog.data.formats import DataError
from eqprop_analog.data.samples import Samples, classes_of, looks_like_classes, quoted
from eqprop_analog.data.settings import DataSettings

Array = np.ndarray

MOST_COLUMNS = 10_000
TEST_WORDS = {"train": False, "training": False, "test": True, "testing": True}

NO_INPUTS = np.zeros((0, 0))


def read_table(path: Path, settings: DataSettings) -> Samples:
    """Read the samples in a CSV file: one per line; the first line has the names of the columns, or numbers like the others.

    Raises UserError, which names the line and the column, unless the file is a table of numbers with the requested
    target columns.
    """
    table = _opened(path)
    names = table.names
    targets = _asked(path, names, settings.target_column, "--target-column")
    if not targets:
        raise DataError(f"{path}: the target column is missing; name it by --target-column; there are {_listed(names)}")
    ignored = _asked(path, names, settings.ignore_columns, "--ignore-columns")
    split = _asked(path, names, [settings.split_column] if settings.split_column is not None else [], "--split-column")
    if twice := set(targets) & {*ignored, *split} or set(split) & set(ignored):
        raise DataError(f"{path}: column {quoted(names[min(twice)])} is given two roles; expected one")
    inputs = [k for k in range(len(names)) if k not in (*targets, *ignored, *split)]
    if not inputs:
        raise DataError(f"{path}: no column remains for the inputs; there are {_listed(names)}")
    for column in (*inputs, *targets, *split):
        if not names[column]:
            raise table.refuse(
                f"column {column + 1} has no name; name it, or leave it out by --ignore-columns {column + 1}"
            )
    values = _numbers(table, inputs, "leave the column out by --ignore-columns, or write its values as numbers")
    found = _answers(table, targets, settings)
    test = _test(table, split[0]) if split else None
    return replace(
        found, inputs=values, input_names=tuple(names[k] for k in inputs), test=test, notes=tuple(table.notes)
    )


def _opened(path: Path) -> Table:
    table = csv_columns.read_table(
        path, "a line with the columns' names, and one line per sample", "sample", nameless=True
    )
    names = table.names
    if len(names) < 2:
        raise DataError(
            f"{path}, line {table.header or table.lines[0]}: expected two columns or more, separated by comma, "
            f"semicolon or tab, got one, {quoted(names[0])}"
        )
    if len(names) > MOST_COLUMNS:
        raise table.refuse(f"{len(names):,} columns, more than {MOST_COLUMNS:,}; use .npz", None if table.header else 0)
    for number, name in enumerate(names):
        if name and name in names[:number]:
            raise table.refuse(f"columns {names.index(name) + 1} and {number + 1} have the same name, {quoted(name)}")
    return table


def _asked(path: Path, names: Sequence[str], asked: Sequence[str | int], option: str) -> list[int]:
    """Find columns by name, or by number from 1 (or from -1 backwards) if no column has that name. Raises DataError."""
    found: list[int] = []
    for each in asked:
        name = str(each).strip()
        if name in names and name:
            found.append(names.index(name))
            continue
        number = int(name) if re.fullmatch(r"[+-]?\d{1,6}", name) else 0
        if not 1 <= abs(number) <= len(names):
            raise DataError(f"{path}: {option}: no column {quoted(name)}; there are {_listed(names)}")
        found.append(number - 1 if number > 0 else len(names) + number)
    if len(set(found)) < len(found):
        raise DataError(f"{path}: {option}: a column is named twice")
    return found


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(quoted(name) for name in names[:most]) + more


def _numbers(table: Table, columns: Sequence[int], advice: str) -> Array:
    """Return (rows, columns), float64.

    Raises UserError, with line and column, for the first cell that is not a finite number.
    """
    return np.stack([table.numbers(column, advice=advice)[0] for column in columns], axis=1)


def _answers(table: Table, columns: Sequence[int], settings: DataSettings) -> Samples:
    """Return labels or targets, and the names of the classes or targets, without inputs."""
    called = tuple(table.names[k] for k in columns)
    texts = table.texts(columns[0])
    for row, text in enumerate(texts):
        if text.lower() in MISSING:
            raise table.refuse(f"a value is missing ({quoted(text)})", row, columns[0])
    numeric = all(map(table.is_number, texts))
    where = f"{table.path}, column {quoted(called[0])}"
    task = settings.task
    if task == "classification" and len(columns) > 1:
        raise DataError(f"{table.path}: --task classification expects one target column, got {len(columns)}")
    values = table.numbers(columns[0])[0] if numeric and task != "regression" else np.zeros(0)
    if task is None:
        few = len(columns) == 1 and (not numeric or looks_like_classes(values))
        task = "classification" if few else "regression"
    if task == "classification":
        labels, classes = classes_of(values if numeric else texts, where)
        return Samples(NO_INPUTS, labels, classes=classes, target_names=called)
    advice = "the targets of a regression are numbers; use --task classification for names"
    return Samples(NO_INPUTS, targets=_numbers(table, columns, advice), target_names=called)


def _test(table: Table, column: int) -> Array:
    """Return which rows are test samples."""
    test = np.empty(len(table.rows), bool)
    for row, text in enumerate(table.texts(column)):
        if text.lower() not in TEST_WORDS:
            raise table.refuse(f'expected "train" or "test", got {quoted(text)}', row, column)
        test[row] = TEST_WORDS[text.lower()]
    return test
