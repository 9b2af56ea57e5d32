"""Tables of samples: CSV files, checked cell by cell."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eqprop_analog.columns import rows_of
from eqprop_analog.data.formats import DataError
from eqprop_analog.data.samples import Samples, classes_of, looks_like_classes, quoted
from eqprop_analog.data.settings import DataSettings

Array = np.ndarray

MOST_COLUMNS = 10_000
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})
TEST_WORDS = {"train": False, "training": False, "test": True, "testing": True}

NO_INPUTS = np.zeros((0, 0))
Row = tuple[int, list[str]]
"""The number of a line, and its fields."""


def read_table(path: Path, settings: DataSettings) -> Samples:
    """The samples in a CSV file: one a line, the first line being names of columns, or numbers like all others.

    Raises DataError, which names the line and the column, for what is not a table of numbers with the target columns asked for.
    """
    names, rows = _rows(path)
    targets = _asked(path, names, settings.target_column, "--target-column")
    if not targets:
        raise DataError(
            f"{path}: which column is to be predicted? Name it by --target-column; there are {_listed(names)}"
        )
    ignored = _asked(path, names, settings.ignore_columns, "--ignore-columns")
    split = _asked(path, names, [settings.split_column] if settings.split_column is not None else [], "--split-column")
    if twice := set(targets) & {*ignored, *split} or set(split) & set(ignored):
        raise DataError(f"{path}: column {quoted(names[min(twice)])} is asked for in two roles; expected one")
    inputs = [k for k in range(len(names)) if k not in (*targets, *ignored, *split)]
    if not inputs:
        raise DataError(f"{path}: no column is left for the inputs; there are {_listed(names)}")
    for column in (*inputs, *targets, *split):
        if not names[column]:
            raise DataError(
                f"{path}, line 1: column {column + 1} has no name; give it one, or leave it out: --ignore-columns {column + 1}"
            )
    values = _numbers(
        path, names, rows, inputs, "leave the column out by --ignore-columns, or write its values as numbers"
    )
    found = _answers(path, names, rows, targets, settings)
    test = _test(path, names, rows, split[0]) if split else None
    return replace(found, inputs=values, input_names=tuple(names[k] for k in inputs), test=test)


def _rows(path: Path) -> tuple[list[str], list[Row]]:
    """Names of columns, and every row with the number of its line."""
    found = list(rows_of(path, utf8=True))
    if not found:
        raise DataError(f"{path}: the file is empty; expected a line with the columns' names, and a line a sample")
    line, first = found[0]
    names = [name.strip() for name in first]
    if len(names) < 2:
        raise DataError(
            f"{path}, line {line}: expected two columns or more, separated by comma, semicolon or tab, got one, "
            f"{quoted(first[0] if first else '')}"
        )
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{path}, line {line}: {len(names):,} columns, more than {MOST_COLUMNS:,}; use .npz")
    if all(NUMBER.fullmatch(name) for name in names):  # a table without names
        names, rows = [str(k) for k in range(1, len(names) + 1)], found
    else:
        rows = found[1:]
        for number, name in enumerate(names):
            if name and name in names[:number]:
                raise DataError(
                    f"{path}, line {line}: columns {names.index(name) + 1} and {number + 1} have the same name, {quoted(name)}"
                )
    if not rows:
        raise DataError(f"{path}: no sample below the names of its columns; expected a line a sample")
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"{path}, line {line}: expected {len(names)} columns as in the first line, got {len(row)}; if commas are decimal "
                "points, write points"
            )
    return names, rows


def _asked(path: Path, names: Sequence[str], asked: Sequence[str | int], option: str) -> list[int]:
    """Columns by their names or, where none is called so, by their numbers: from 1 on, or from -1 back. Raises DataError."""
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


def _numbers(path: Path, names: Sequence[str], rows: Sequence[Row], columns: Sequence[int], advice: str) -> Array:
    """(rows, columns), float64. Raises DataError with line and column for the first cell that is no finite number."""
    values = np.empty((len(rows), len(columns)))
    for at, (line, row) in enumerate(rows):
        for to, column in enumerate(columns):
            cell = row[column].strip()
            if not NUMBER.fullmatch(cell):
                raise DataError(f"{path}, line {line}, column {quoted(names[column])}: {_strange(cell)}; {advice}")
            values[at, to] = float(cell)
    infinite = np.argwhere(~np.isfinite(values))
    if len(infinite):
        at, to = infinite[0]
        raise DataError(f"{path}, line {rows[at][0]}, column {quoted(names[columns[to]])}: beyond the largest number")
    return values


def _strange(cell: str) -> str:
    if cell.lower() in MISSING:
        return f"a value is missing ({quoted(cell)})"
    if re.fullmatch(r"[+-]?\d+,\d+", cell):
        return f"expected a number, got {quoted(cell)} with a decimal comma"
    found = NUMBER.match(cell)
    if found and not cell[found.end() :].strip()[:1].isdigit():
        return f"expected a number alone, got {quoted(cell)}; put the unit into the column's name"
    return f"expected a number, got {quoted(cell)}"


def _answers(
    path: Path, names: Sequence[str], rows: Sequence[Row], columns: Sequence[int], settings: DataSettings
) -> Samples:
    """Labels or targets, and the names of the classes or of the targets, as yet without inputs."""
    called = tuple(names[k] for k in columns)
    texts = [row[columns[0]].strip() for _, row in rows]
    for (line, _), text in zip(rows, texts, strict=True):
        if text.lower() in MISSING:
            raise DataError(f"{path}, line {line}, column {quoted(called[0])}: a value is missing ({quoted(text)})")
    numeric = all(NUMBER.fullmatch(text) for text in texts)
    where = f"{path}, column {quoted(called[0])}"
    task = settings.task
    if task == "classification" and len(columns) > 1:
        raise DataError(f"{path}: --task classification has one target column, got {len(columns)}")
    if task is None:
        few = len(columns) == 1 and (not numeric or looks_like_classes(np.array(texts, float)))
        task = "classification" if few else "regression"
    if task == "classification":
        labels, classes = classes_of(np.array(texts, float) if numeric else texts, where)
        return Samples(NO_INPUTS, labels, classes=classes, target_names=called)
    advice = "a regression's targets are numbers; of names use --task classification"
    return Samples(NO_INPUTS, targets=_numbers(path, names, rows, columns, advice), target_names=called)


def _test(path: Path, names: Sequence[str], rows: Sequence[Row], column: int) -> Array:
    test = np.empty(len(rows), bool)
    for at, (line, row) in enumerate(rows):
        word = row[column].strip().lower()
        if word not in TEST_WORDS:
            raise DataError(
                f'{path}, line {line}, column {quoted(names[column])}: expected "train" or "test", got {quoted(word)}'
            )
        test[at] = TEST_WORDS[word]
    return test
