"""Files are written completely or not at all."""

import contextlib
import csv
import json
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from eqprop_analog import ResistiveNetwork, UserError
from eqprop_analog.files import locked, replacing, write_csv, write_text


def write_half(path: Path, error: type[BaseException]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError, SystemExit])
@pytest.mark.parametrize("existing", [True, False], ids=["over-a-file", "anew"])
def test_failure_inside_leaves_everything_as_it_was(tmp_path, error, existing):
    path = tmp_path / "a.txt"
    if existing:
        path.write_text("old")
    with pytest.raises(error):
        write_half(path, error)
    assert [file.name for file in tmp_path.iterdir()] == (["a.txt"] if existing else [])
    assert not existing or path.read_text() == "old"


def test_full_disk_is_a_user_error_and_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UserError, match=r"cannot write .*a\.txt: No space left"), replacing(path):
        raise OSError(28, "No space left on device")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]


def test_failure_of_the_rename_is_a_user_error_and_leaves_everything_as_it_was(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*taken"):
        write_text(tmp_path / "taken", "new")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_folders_are_made_and_the_umask_is_kept(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "b/c/a.txt", "new")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "b/c/a.txt").stat().st_mode) == 0o640


@pytest.mark.parametrize("below", ["a.txt", "b/a.txt"])
def test_path_below_a_file_is_a_user_error_that_names_it(tmp_path, below):
    (tmp_path / "wall").write_text("a file")
    with pytest.raises(UserError, match=f"cannot write .*wall/{below}"):
        write_text(tmp_path / "wall" / below, "new")


def test_text_is_written_in_utf8_wherever_it_is_written(tmp_path):
    program = (
        "from pathlib import Path; from eqprop_analog.files import write_text; write_text(Path('a.txt'), '\\u03b2')"
    )
    ascii_locale = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=ascii_locale, check=True, timeout=60)
    assert (tmp_path / "a.txt").read_bytes() == "β".encode()


def test_a_table_has_every_column_of_any_row_and_reads_back(tmp_path):
    rows = [{"a": 0.1, "b": 'comma, "quote"'}, {"a": 1e-300, "sizes": [2, 3], "of": {"β": None}}]
    write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        one, other = csv.DictReader(file)
    assert (float(one["a"]), one["b"], one["sizes"], one["of"]) == (0.1, rows[0]["b"], "", "")
    assert (float(other["a"]), other["b"]) == (1e-300, "")
    assert (json.loads(other["sizes"]), json.loads(other["of"])) == ([2, 3], {"β": None})


def test_saving_over_a_network_that_cannot_be_written_keeps_it(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    ResistiveNetwork.dense([2, 3, 1], seed=0).save(path)
    before = path.read_bytes()

    def fail(*arguments, **options):
        arguments[0].write(b"PK half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", fail)
    with pytest.raises(UserError, match="No space left"):
        ResistiveNetwork.dense([2, 3, 1], seed=1).save(path)
    assert path.read_bytes() == before
    assert list(Path(tmp_path).iterdir()) == [path]


def test_folder_is_in_use_although_its_lock_has_just_gone(monkeypatch, tmp_path):
    def refused(_lock, timeout):
        raise filelock.Timeout(str(tmp_path / ".lock"))

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    with pytest.raises(UserError, match=r"in use by process \(unknown\); wait for it"), locked(tmp_path):
        pass


def test_one_process_at_a_time_has_a_folder(tmp_path):
    inside = tmp_path / "inside"

    def enter() -> None:
        entered = 0
        while entered < 100:
            with contextlib.suppress(UserError), locked(tmp_path / "run"):
                inside.touch(exist_ok=False)
                inside.unlink()
                entered += 1

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=enter) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_a_pipe_is_not_replaced_by_a_file(run, tmp_path):
    """A device such as /dev/null is not replaced, even by a privileged user; for a link, its target is written."""
    os.mkfifo(tmp_path / "pipe")
    assert "pipe" in run("netlist", "--layers", 4, 6, 2, "--output", "pipe").err
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "there.cir").touch()
    (tmp_path / "link.cir").symlink_to("there.cir")
    assert run("netlist", "--layers", 4, 6, 2, "--output", "link.cir").code == 0
    assert (tmp_path / "link.cir").is_symlink()
    assert (tmp_path / "there.cir").read_text().startswith("*")
