"""^C and SIGTERM end a command with exit code 130 wherever they arrive, and cleanup code still runs."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from eqprop_analog import cli
from eqprop_analog.cli import Exit, interrupts
from eqprop_analog.cli.interrupts import SIGNALS, Interrupts
from eqprop_analog.files import replacing


@pytest.fixture(params=SIGNALS, ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command restores the signal handlers of the program."""
    monkeypatch.setattr(interrupts, "AGAIN", 0.02)
    before = [signal.getsignal(each) for each in (*SIGNALS, signal.SIGALRM)]
    yield
    assert [signal.getsignal(each) for each in (*SIGNALS, signal.SIGALRM)] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def wait() -> None:
    """Work that an interrupt ends; long enough for a lost interrupt to be sent again."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        time.sleep(0.001)


def assert_interrupted(command: Callable[[], None]) -> Interrupts:
    """The context in which KeyboardInterrupt is what ``command`` ends with."""
    with pytest.raises(KeyboardInterrupt), Interrupts() as context:
        command()
    return context


def dropped_by_a_callback(number: int) -> None:
    ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(number))()


def dropped_by_an_except_clause(number: int) -> None:
    with suppress(BaseException):  # as code of others does
        signal.raise_signal(number)


def dropped_twice(number: int) -> None:
    dropped_by_a_callback(number)
    with suppress(BaseException):
        wait()


DROPPING = [dropped_by_a_callback, dropped_by_an_except_clause, dropped_twice, signal.raise_signal]


@pytest.mark.parametrize("drop", DROPPING, ids=lambda drop: drop.__name__)
def test_an_interrupt_that_is_dropped_comes_again(
    drop: Callable[[int], None], number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        drop(number)
        wait()

    assert_interrupted(command)
    assert capfd.readouterr().err == ""


def test_what_cleans_up_is_not_interrupted(number: int, tmp_path: Path) -> None:
    cleaned = []

    def command() -> None:
        with replacing(tmp_path / "file"):
            try:
                signal.raise_signal(number)
            finally:
                time.sleep(3 * interrupts.AGAIN)
                with suppress(KeyError):
                    {}["what else may go wrong"]
                signal.raise_signal(number)
                cleaned.append(1)

    assert_interrupted(command)
    assert cleaned
    assert list(tmp_path.iterdir()) == []


def test_cleaning_up_for_ever_can_be_interrupted(number: int) -> None:
    def command() -> None:
        try:
            signal.raise_signal(number)
        finally:
            for _ in range(interrupts.IMPATIENT):
                signal.raise_signal(number)

    assert assert_interrupted(command).arrived == interrupts.IMPATIENT


def test_an_ignored_signal_stays_ignored(number: int) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interrupts() as context:
            signal.raise_signal(number)
        assert context.arrived == 0
    finally:
        signal.signal(number, before)


def into_another_error(number: int) -> None:
    try:
        signal.raise_signal(number)
    except BaseException as error:
        raise ValueError("an error of a library") from error


@pytest.mark.parametrize("drop", [*DROPPING, into_another_error], ids=lambda drop: drop.__name__)
@pytest.mark.parametrize("goes_on", [False, True], ids=["at the end", "on the way"])
def test_every_command_that_is_interrupted_ends_with_130(
    drop: Callable[[int], None],
    goes_on: bool,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = ModuleType("presets")

    def run(_: Any) -> None:
        drop(number)
        if goes_on:
            wait()

    module.SUMMARY, module.EXAMPLES, module.run = "", "", run  # type: ignore[attr-defined]
    module.add_options = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setattr(cli, "module_of", lambda _: module)
    assert cli.main(["presets"]) == Exit.INTERRUPTED
    assert capsys.readouterr().err == "error: interrupted\n"


def test_verbose_shows_the_error_that_an_interrupt_has_become(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error may be another one, such as a full disk during cleanup."""
    module = ModuleType("presets")
    module.SUMMARY, module.EXAMPLES, module.add_options = "", "", lambda _: None  # type: ignore[attr-defined]
    module.run = lambda _: into_another_error(signal.SIGINT)  # type: ignore[attr-defined]
    monkeypatch.setattr(cli, "module_of", lambda _: module)
    assert cli.main(["presets", "--verbose"]) == Exit.INTERRUPTED
    shown = capsys.readouterr().err
    assert "ValueError: an error of a library" in shown
    assert shown.endswith("error: interrupted\n")


def test_a_signal_after_the_end_leaves_the_exit_code() -> None:
    script = "import atexit, signal, sys; from eqprop_analog.cli import main; "
    script += "atexit.register(signal.raise_signal, signal.SIGTERM); sys.argv[1:] = ['presets']; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
