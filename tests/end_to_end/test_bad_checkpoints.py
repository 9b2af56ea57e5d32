"""Runs that cannot be resumed are refused in one line, and remain unchanged."""

import re
import shutil
from pathlib import Path

import pytest

HOPFIELD = """
model = "hopfield"
layers = [16, 8, 3]
dynamics = "descent"
weight_rates = 0.1
beta = 0.5
"""


class TestResume:
    @pytest.fixture
    def begun(self, finished_run, tmp_path) -> Path:
        """The run folder of a training of two epochs."""
        return Path(shutil.copytree(finished_run, tmp_path / "run"))

    def test_without_a_checkpoint(self, refused_training):
        assert re.search("run: no checkpoint to resume from; start without --resume", refused_training("--resume"))

    @pytest.mark.usefixtures("begun")
    def test_folder_that_holds_another_run(self, refused_training):
        assert re.search(
            "the run was started with other settings .seed = 0 then and 1 now.; use", refused_training("--seed", 1)
        )

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--seed", 1), "seed = 0 then and 1 now"),
            (("--batch-size", 6), "batch_size = 5 then and 6 now"),
            (("--limit", 10), "limit = None then and 10 now"),
            (("--layers", 16, 9, 3), "layers = "),
            (("--solver", "ngspice"), "solver = 'surrogate' then and 'ngspice' now"),
            (("--validation",), "validation = False then and True now"),
        ],
    )
    @pytest.mark.usefixtures("begun")
    def test_other_settings(self, refused_training, arguments, words):
        message = refused_training("--resume", *arguments)
        assert re.search(words, message)
        assert message.count(" then and ") == 1

    @pytest.mark.usefixtures("begun")
    def test_another_model_is_all_that_is_said(self, refused_training, tmp_path):
        (tmp_path / "hopfield.toml").write_text(HOPFIELD)
        message = refused_training("--preset", tmp_path / "hopfield.toml")
        assert "other settings (model = 'resistive' then and 'hopfield' now); use " in message

    @pytest.mark.usefixtures("begun")
    def test_fewer_epochs_than_are_done(self, refused_training):
        assert re.search("epochs", refused_training("--resume", "--epochs", 1))

    @pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
    def test_truncated_checkpoint(self, refused_training, begun, kept):
        path = begun / "checkpoint.npz"
        content = path.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        assert re.search(r"checkpoint\.npz: not a checkpoint", refused_training("--resume"))

    @pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7])
    def test_rotten_checkpoint(self, refused_training, begun, place):
        path = begun / "checkpoint.npz"
        content = bytearray(path.read_bytes())
        start = int(place * len(content))
        content[start : start + 64] = bytes(255 - byte for byte in content[start : start + 64])
        path.write_bytes(content)
        assert re.search(r"checkpoint\.npz: not a checkpoint", refused_training("--resume"))

    def test_checkpoint_in_a_zip_that_python_cannot_read(self, refused_training, begun):
        path = begun / "checkpoint.npz"
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\1\2") + 10] = 99
        path.write_bytes(content)
        assert re.search(r"checkpoint\.npz: not a checkpoint", refused_training("--resume"))

    def test_network_in_place_of_the_checkpoint(self, refused_training, begun):
        shutil.copy(begun / "network.npz", begun / "checkpoint.npz")
        assert re.search(r"checkpoint\.npz: not a checkpoint", refused_training("--resume"))
