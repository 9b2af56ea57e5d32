"""The commands and code of the documentation run, and their output is the printed one."""

import ast
import itertools
import re
import runpy
import shlex
import struct
import subprocess
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import bench
import pytest
from sybil import Document, Example
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

import eqprop_analog
from eqprop_analog import cli
from eqprop_analog.experiments.presets import resolve

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted({*DOCS.rglob("*.md")} - {*(DOCS / "api" / "packages").glob("*.md")})]
pytestmark = pytest.mark.compiled
LESSONS = sorted((DOCS / "course").glob("*.py"))


def ident(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def examples(page: Path, language: str, evaluate: Callable[[Example], None] | None = None) -> list[Example]:
    parser = PythonCodeBlockParser() if language == "python" else CodeBlockParser(language, evaluate)
    return list(Document.parse(str(page), parser).examples())


def pages_with(language: str) -> pytest.MarkDecorator:
    found = [page for page in PAGES if f"```{language}\n" in page.read_text()]
    assert found
    return pytest.mark.parametrize("page", found, ids=ident)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the files of a clone that commands of the documentation need."""
    for name in ("netlists", "docs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pages_with("python")
def test_python_blocks_run_one_after_the_other(page: Path, clone: Path):
    blocks = examples(page, "python")
    assert blocks
    for block in blocks:
        block.evaluate()


def sessions(block: str) -> Iterator[tuple[str, str]]:
    """Each command after a "$ ", and its expected output."""
    for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, out = session.partition("\n")
        yield command, out.strip()


@pages_with("console")
def test_commands_print_what_the_page_shows(page: Path, clone: Path, capsys: pytest.CaptureFixture[str]):
    """A line of three dots matches any lines, and three dots in a line match any text."""

    def evaluate(example: Example) -> None:
        for command, shown in sessions(example.parsed):
            program, *arguments = shlex.split(command)
            if program == "eqprop-analog":
                capsys.readouterr()
                assert cli.main(arguments) == 0, command
                out = capsys.readouterr().out
            else:
                assert program == "ngspice", command
                out = subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout
            pattern = re.escape(" ".join(shown.split())).replace(r"\.\.\.", ".*").replace(r"\ ", r"\s+")
            assert re.search(pattern, " ".join(out.split())), f"{command}\nshown:\n{shown}\ncame:\n{out}"

    for example in examples(page, "console", evaluate):
        example.evaluate()


@cache
def parser_of(program: str) -> ArgumentParser:
    return bench.parser() if program == "scripts/bench.py" else cli.parser()


def commands_of(text: str) -> list[str]:
    """Command lines of this program and of scripts/, in blocks of any kind, indented, and between backticks."""
    lines = re.findall(r"^(?:\$ | {4})?((?:eqprop-analog|scripts/\w+\.py)\b.*)$", text, re.MULTILINE)
    return lines + re.findall(r"`((?:eqprop-analog|scripts/\w+\.py) [^`]*)`", text)


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page.read_text())], ids=ident)
def test_every_command_of_a_page_can_be_typed(page: Path):
    for line in commands_of(page.read_text()):
        words = shlex.split(line, comments=True)
        program, *arguments = itertools.takewhile(lambda word: word not in (">", "|"), words)
        if program not in ("eqprop-analog", "scripts/bench.py"):
            (entry,) = re.findall(r"run_script\((.*)\)", (REPOSITORY / program).read_text())
            arguments = [*ast.literal_eval(f"({entry},)"), *arguments]
        if {"--help", "NAME", "..."} & {*arguments}:
            continue
        try:
            parsed = parser_of(program).parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{ident(page)}: {line}")
        if getattr(parsed, "preset", None):
            resolve(parsed.preset, {})


@pytest.mark.parametrize("page", PAGES, ids=ident)
def test_every_test_picture_and_file_that_a_page_names_exists(page: Path):
    text = page.read_text()
    sources = "\n".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    tests = re.findall(r"`(?:pytest -k )?(test_\w+)`", text)
    assert [name for name in tests if not re.search(rf"\bdef {name}\b", sources)] == []
    linked = re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", text)
    assert [target for target in linked if not (page.parent / target).exists()] == []
    named = re.findall(r"`((?:eqprop_analog|circuits|netlists|docs|tests)/[\w./-]+)`", text)
    assert [target for target in named if not (REPOSITORY / target).exists()] == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which lesson 6 has run; lessons 7 and 9 use its network."""
    pytest.importorskip("sklearn", reason="lesson 6 takes its digits from scikit-learn, which is not installed")
    folder = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        runpy.run_path(str(DOCS / "course" / "06_digits.py"), run_name="__main__")
    return folder


def test_every_public_name_stands_on_the_page_of_the_api_with_where_it_is_defined():
    page = (DOCS / "api" / "index.md").read_text()
    for name in eqprop_analog.__all__:
        thing = getattr(eqprop_analog, name)
        assert f"{{py:obj}}`{name} <{thing.__module__}.{thing.__name__}>`" in page


class TestCourse:
    @pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
    def test_a_lesson_runs_and_draws_the_picture_that_its_page_shows(
        self, lesson: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ):
        needs_digits = "digits" in lesson.read_text()
        folder: Path = request.getfixturevalue("trained") if needs_digits else tmp_path
        monkeypatch.chdir(folder)
        if lesson.stem != "06_digits":
            runpy.run_path(str(lesson), run_name="__main__")
        for picture in DOCS.glob(f"pictures/{lesson.stem[:3]}*.png"):
            assert size(folder / picture.name) == size(picture)

    def test_every_lesson_stands_in_the_tutorial(self):
        shown = re.findall(r"literalinclude} \.\./course/(\w+\.py)", self.tutorial())
        assert shown == [lesson.name for lesson in LESSONS]

    def test_every_picture_of_the_course_is_shown_and_every_other_one_on_some_page(self):
        lessons, pages = {path.name for path in DOCS.glob("pictures/[0-9]*")}, "".join(map(Path.read_text, PAGES))
        assert lessons == {*re.findall(r"pictures/(\d\S*\.png)", self.tutorial())}
        assert {path.name for path in DOCS.glob("pictures/*")} == {*re.findall(r"pictures/(\S+\.png)", pages)}

    @staticmethod
    def tutorial() -> str:
        order = ["circuits", "digits", "hopfield", "chips"]
        return "".join((DOCS / "tutorial" / f"{name}.md").read_text() for name in order)


def size(picture: Path) -> tuple[Any, ...]:
    """Width and height of a PNG file, pixels."""
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])
