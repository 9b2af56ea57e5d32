"""Data sets of the user's own, from files to samples: what is read, and what is refused in which line."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from idx import format_idx
from PIL import Image

from eqprop_analog import data
from eqprop_analog.data import DataError, DataSettings, OwnData
from eqprop_analog.data.own import prepared, read_samples
from eqprop_analog.errors import UserError

RNG = np.random.default_rng(0)
TABLE = "a,b,kind\n" + "".join(f"{k},{k % 7 - 3},{'xyz'[k % 3]}\n" for k in range(30))


def settings(**given) -> OwnData:
    return OwnData(**{"target_column": ["kind"], **given})


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def opened(path: Path, **given) -> data.OwnDataset:
    return data.opened(str(path), settings(**given))


class TestTables:
    def test_classes_are_named_scaled_and_split_evenly(self, tmp_path):
        dataset = opened(write(tmp_path, TABLE))
        found = dataset.own.found
        assert (found.task, found.inputs, found.outputs, found.classes) == ("classification", 2, 3, ["x", "y", "z"])
        assert (found.training, found.test) == (24, 6)
        assert np.bincount(dataset.test_labels).tolist() == [2, 2, 2]
        assert (dataset.train_images.min(axis=0), dataset.train_images.max(axis=0)) == (
            pytest.approx([-1, -1]),
            pytest.approx([1, 1]),
        )
        raw = np.concatenate([dataset.inputs.back(part) for part in (dataset.train_images, dataset.test_images)])
        assert sorted(np.round(raw[:, 0], 4).tolist()) == list(range(30))

    def test_the_split_is_the_seeds_and_never_the_last_rows(self, tmp_path):
        path = write(tmp_path, TABLE)
        tests = [opened(path, split_seed=seed).test_images for seed in (0, 0, 1)]
        np.testing.assert_array_equal(tests[0], tests[1])
        assert not np.array_equal(tests[0], tests[2])
        rows = np.round(opened(path).inputs.back(tests[0])[:, 0])
        assert rows.min() < 24, "the test samples must not be the file's last rows"

    def test_targets_become_volts_and_come_back(self, tmp_path):
        rows = "".join(f"{k},{k * k},{10 + 2.5 * k}\n" for k in range(20))
        dataset = opened(write(tmp_path, "u,v,y\n" + rows), target_column=["y"])
        assert dataset.own.found.task == "regression"
        volts = np.concatenate([dataset.train_labels, dataset.test_labels])
        assert dataset.train_labels.min() == 0
        assert dataset.train_labels.max() == 1
        np.testing.assert_allclose(sorted(dataset.targets.back(volts).ravel()), 10 + 2.5 * np.arange(20))

    @pytest.mark.parametrize("column", ["kind", "3", "-1"])
    def test_a_column_is_named_or_numbered(self, tmp_path, column):
        assert opened(write(tmp_path, TABLE), target_column=[column]).own.found.classes == ["x", "y", "z"]

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_other_separators_and_a_byte_order_mark(self, tmp_path, separator):
        text = "\ufeff" + TABLE.replace(",", separator).replace("\n", "\r\n")
        assert opened(write(tmp_path, text)).own.found.inputs == 2

    def test_numbers_can_be_classes_or_targets(self, tmp_path):
        text = "u,w,n\n" + "".join(f"{k},{k * k},{k % 3 + 4}\n" for k in range(30))
        path = write(tmp_path, text)
        assert opened(path, target_column=["n"]).own.found.classes == ["4", "5", "6"]
        assert opened(path, target_column=["n"], task="regression").own.found.task == "regression"

    def test_the_file_may_say_which_samples_are_tests(self, tmp_path):
        rows = "".join(f"{k},{k * k},{'pq'[k % 2]},{'test' if k in (4, 5, 9) else 'train'}\n" for k in range(12))
        dataset = opened(write(tmp_path, "u,w,kind,part\n" + rows), split_column="part")
        assert sorted(np.round(dataset.inputs.back(dataset.test_images)[:, 0]).tolist()) == [4, 5, 9]

    @pytest.mark.parametrize(
        ("text", "given", "words"),
        [
            ("", {}, ["empty"]),
            ("a,b,kind\n", {}, ["no sample"]),
            (TABLE.replace("b,kind", "a,kind", 1), {}, ["line 1", "columns 1 and 2", '"a"']),
            (TABLE.replace("a,b", "a,", 1), {}, ["line 1", "column 2", "--ignore-columns 2"]),
            (TABLE.replace("3,0,x", "3,0"), {}, ["line 5", "3", "2"]),
            (TABLE.replace("3,0,x", "3,,x"), {}, ["line 5", '"b"', "missing"]),
            (TABLE.replace("3,0,x", "3,nan,x"), {}, ["line 5", '"b"', "missing"]),
            (TABLE.replace("3,0,x", "3,1e999,x"), {}, ["line 5", '"b"', "largest"]),
            (TABLE.replace("3,0,x", "3,0,"), {}, ["line 5", '"kind"', "missing"]),
            (TABLE.replace("3,0,x", "3,25 mV,x"), {}, ["line 5", '"b"', '"25 mV"', "name"]),
            (TABLE.replace("3,0,x", "3,red,x"), {}, ["line 5", '"b"', '"red"', "--ignore-columns"]),
            (TABLE.replace(",", ";").replace("3;0;x", "3;0,5;x").replace("7;-3;", "7;-3.0;"), {}, ["line 5", "line 9", "comma"]),
            (TABLE.replace("3,0,x", "3,\x1b[31m,x"), {}, ["line 5", "x1b"]),
            (TABLE, {"target_column": ["sort"]}, ['"sort"', '"kind"']),
            (TABLE, {"target_column": []}, ["--target-column", '"kind"']),
            (TABLE, {"target_column": ["7"]}, ['"7"']),
            (TABLE, {"ignore_columns": ["a", "b"]}, ["inputs"]),
            (TABLE, {"ignore_columns": ["kind"]}, ["kind", "two roles"]),
            (TABLE, {"task": "regression"}, ["line 2", '"kind"', '"x"']),
            (TABLE.replace("y", "x").replace("z", "x"), {}, ['"kind"', "same class"]),
            ("a,b,kind\n" + "1,2,x\n1,3,y\n" * 9, {}, ['"a"', "1 in every", "--scaling common"]),
            (b"a,b,kind\n1,2,x\n1,\xff,y\n", {}, ["line 3", "UTF-8", "0xff"]),
            ("a,b,kind\n1,2,x\n2,3,y\n", {}, ["at least"]),
            ("1\n2\n", {}, ["line 1", "two columns"]),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_named_with_its_line(self, tmp_path, text, given, words):
        with pytest.raises(UserError) as caught:
            opened(write(tmp_path, text), **given)
        for word in ("t.csv", *words):
            assert word in str(caught.value), str(caught.value)
        assert "\x1b" not in str(caught.value)

    def test_one_factor_scales_pixels_that_are_a_table(self, tmp_path):
        text = "p,q,kind\n" + "".join(f"0,{k},{'uv'[k % 2]}\n" for k in range(1, 21))
        dataset = opened(write(tmp_path, text), scaling="common")
        assert dataset.train_images[:, 0].max() == 0
        assert dataset.train_images[:, 1].max() == 1
        assert (opened(write(tmp_path, text), scaling="none").train_images[:, 1] >= 1).all()

    def test_a_setting_of_tables_is_refused_for_others(self, tmp_path):
        np.savez(tmp_path / "a.npz", inputs=RNG.normal(size=(9, 2)), labels=np.arange(9) % 3)
        with pytest.raises(DataError, match="target-column"):
            opened(tmp_path / "a.npz")


def archive(folder: Path, **arrays) -> data.OwnDataset:
    np.savez(folder / "a.npz", **arrays)
    return data.opened(str(folder / "a.npz"), OwnData())


class TestArchives:
    X = RNG.normal(size=(40, 3))

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_labels_and_a_split(self, tmp_path, save):
        labels, split = np.arange(40) % 4, np.array(["train", "test"])[(np.arange(40) < 8).astype(int)]
        save(tmp_path / "a.npz", inputs=self.X, labels=labels, split=split)
        dataset = data.opened(str(tmp_path / "a.npz"), OwnData())
        np.testing.assert_allclose(dataset.inputs.back(dataset.test_images), self.X[:8], rtol=1e-5)
        np.testing.assert_array_equal(dataset.test_labels, labels[:8])

    def test_targets_of_several_columns(self, tmp_path):
        found = archive(tmp_path, inputs=self.X, targets=self.X[:, :2] ** 2).own.found
        assert (found.task, found.outputs) == ("regression", 2)

    def test_images_of_bytes_go_from_0_to_1(self, tmp_path):
        images = RNG.integers(0, 256, (30, 5, 4), dtype=np.uint8)
        dataset = archive(tmp_path, inputs=images, labels=np.arange(30) % 2)
        assert dataset.own.found.shape == (1, 5, 4)
        both = np.concatenate([dataset.train_images, dataset.test_images])
        assert {each.tobytes() for each in np.round(both * 255).astype(np.uint8)} == {each.tobytes() for each in images}

    def test_channels_last_become_channels_first(self, tmp_path):
        images = RNG.integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)
        dataset = archive(tmp_path, inputs=images, labels=np.arange(20) % 2)
        assert dataset.own.found.shape == (3, 5, 4)
        rows = {each.tobytes() for each in np.round(dataset.train_images * 255).astype(np.uint8)}
        assert rows <= {each.transpose(2, 0, 1).tobytes() for each in images}

    def test_as_keras_names_them(self, tmp_path):
        dataset = archive(
            tmp_path, x_train=self.X[:30], y_train=np.arange(30) % 3, x_test=self.X[30:], y_test=np.arange(10) % 3
        )
        np.testing.assert_allclose(dataset.inputs.back(dataset.test_images), self.X[30:], rtol=1e-5)

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"inputs": X}, ["targets or labels"]),
            ({"inputs": X, "labels": np.arange(39)}, ["labels", "(40,)", "(39,)"]),
            ({"inputs": X, "labels": np.eye(4)[np.arange(40) % 4]}, ["argmax"]),
            ({"inputs": X, "labels": np.zeros(40, int)}, ["same class"]),
            ({"inputs": np.full((40, 3), np.nan), "labels": np.arange(40) % 2}, ["sample 0", "nan"]),
            ({"inputs": X + 1j, "labels": np.arange(40) % 2}, ["real numbers"]),
            ({"inputs": X, "targets": X[:, 0], "split": np.arange(40)}, ["split"]),
            ({"inputs": X, "targets": X[:, 0], "split": np.zeros(40, bool)}, ["test samples", "0"]),
            ({"inputs": X, "targets": X[:, 0] * 0}, ["every training sample"]),
            ({"inputs": X, "labels": np.arange(40) % 2, "colour": X}, ['"colour"']),
            ({"inputs": np.array([{}] * 40, dtype=object), "labels": np.arange(40) % 2}, ["inputs", "pickle"]),
            ({"inputs": X, "labels": np.array(["a", "b"] * 20, dtype=object)}, ["labels", "astype(str)"]),
            ({"inputs": X[:, 0], "labels": np.arange(40) % 2}, ["(40,)"]),
            ({"inputs": X, "labels": np.arange(40) % 2, "split": np.arange(40) % 2 == 1}, ["class", '"1"']),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_named(self, tmp_path, arrays, words):
        with pytest.raises(DataError) as caught:
            archive(tmp_path, **arrays)
        for word in ("a.npz", *words):
            assert word in str(caught.value), str(caught.value)

    def test_nothing_is_unpacked_beyond_the_bound(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
            head = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }" % 2**33
            with file.open("inputs.npy", "w", force_zip64=True) as member:
                member.write(head.ljust(127) + b"\n")
                member.write(bytes(2**20))
        content = bytearray((tmp_path / "a.npz").read_bytes())
        at = content.rindex(b"PK\x01\x02")
        struct.pack_into("<I", content, at + 24, 2**32 - 2)  # its size in the directory of the archive
        (tmp_path / "a.npz").write_bytes(bytes(content))
        with pytest.raises(DataError, match=r"a\.npz"):
            data.opened(str(tmp_path / "a.npz"), OwnData())

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04pickle"])
    def test_other_content_is_refused(self, tmp_path, content):
        with pytest.raises(DataError, match=r"a\.npz"):
            data.opened(str(write(tmp_path, content, "a.npz")), OwnData())


def draw(path: Path, *, size=(5, 4), mode="L", seed=0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "RGB": (3,), "I;16": ()}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels))
    Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.uint8)).save(path)


class TestFolders:
    @pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
    def test_a_folder_is_a_class(self, tmp_path, mode, channels):
        for k in range(12):
            draw(tmp_path / "set" / "ab"[k % 2] / f"{k}.png", mode=mode, seed=k)
        (tmp_path / "set" / "a" / "notes.txt").write_text("no image")
        dataset = data.opened(str(tmp_path / "set"), OwnData())
        found = dataset.own.found
        assert (found.classes, found.shape, found.inputs) == (["a", "b"], (channels, 4, 5), channels * 20)
        assert dataset.train_images.max() <= 1
        assert any("1 file" in sentence for sentence in dataset.in_words())

    def test_train_and_test_folders_are_the_split(self, tmp_path):
        for k in range(8):
            draw(tmp_path / "set" / ("train" if k < 6 else "test") / "ab"[k % 2] / f"{k}.png", seed=k)
        found = data.opened(str(tmp_path / "set"), OwnData()).own.found
        assert (found.training, found.test, found.classes) == (6, 2, ["a", "b"])

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda path: draw(path, size=(6, 4)), ["5 x 4", "6 x 4"]),
            (lambda path: draw(path, mode="I;16"), ["8 bits"]),
            (lambda path: path.write_bytes(path.read_bytes()[:60]), ["not an image"]),
            (lambda path: path.write_bytes(b""), ["not an image"]),
            (lambda path: path.write_text("text"), ["not an image"]),
            (lambda path: Image.new("1", (4000, 4000)).save(path), ["4000 x 4000"]),
        ],
    )
    def test_the_image_that_is_wrong_is_named(self, tmp_path, damage, words):
        for k in range(6):
            draw(tmp_path / "set" / "ab"[k % 2] / f"{k}.png", seed=k)
        damage(tmp_path / "set" / "b" / "3.png")
        with pytest.raises(DataError) as caught:
            data.opened(str(tmp_path / "set"), OwnData())
        for word in ("3.png", *words):
            assert word in str(caught.value), str(caught.value)

    def test_an_empty_folder_says_what_was_expected(self, tmp_path):
        with pytest.raises(DataError, match=r"images .* folder.*IDX"):
            data.opened(str(tmp_path), OwnData())


IDX_CODES = {"u1": 8, "i1": 9, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


class TestIdx:
    @pytest.mark.parametrize("kind", list(IDX_CODES))
    def test_numbers_of_every_kind(self, tmp_path, kind):
        inputs, labels = (10 * RNG.normal(size=(20, 3, 2))).astype(kind), (np.arange(20) % 2).astype("u1")
        head = struct.pack(">BBBB3I", 0, 0, IDX_CODES[kind], 3, *inputs.shape)
        (tmp_path / "mine-images-idx3").write_bytes(head + inputs.tobytes())
        (tmp_path / "mine-labels-idx1-ubyte").write_bytes(format_idx(labels))
        dataset = data.opened(str(tmp_path), OwnData(scaling="none"))
        both = np.concatenate([dataset.train_images, dataset.test_images])
        np.testing.assert_array_equal(np.sort(both.ravel()), np.sort(inputs.astype(np.float32).ravel()))

    def test_test_files_are_the_split(self, tmp_path):
        for name, count in (("train", 8), ("t10k", 4)):
            (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(
                format_idx(RNG.integers(0, 256, (count, 2, 2), dtype=np.uint8))
            )
            (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(format_idx((np.arange(count) % 2).astype(np.uint8)))
        found = data.opened(str(tmp_path / "train-images-idx3-ubyte"), OwnData()).own.found
        assert (found.training, found.test, found.shape) == (8, 4, (1, 2, 2))

    def test_names_that_do_not_say_idx(self, tmp_path):
        images, labels = RNG.integers(0, 256, (8, 5, 7), dtype=np.uint8), (np.arange(8) % 2).astype(np.uint8)
        (tmp_path / "images").write_bytes(format_idx(images))
        (tmp_path / "labels.bin").write_bytes(format_idx(labels))
        (tmp_path / "readme.txt").write_text("of Monday")
        assert data.opened(str(tmp_path), OwnData()).own.found.shape == (1, 5, 7)
        (tmp_path / "images").write_bytes(format_idx(images)[:-3])
        with pytest.raises(DataError, match="images"):
            data.opened(str(tmp_path), OwnData())

    def test_a_file_alone_is_refused(self, tmp_path):
        (tmp_path / "train-images-idx3-ubyte").write_bytes(format_idx(np.zeros((4, 2, 2), np.uint8)))
        with pytest.raises(DataError, match="labels"):
            data.opened(str(tmp_path), OwnData())


class TestNames:
    @pytest.mark.parametrize(
        ("name", "task", "inputs", "outputs", "samples"),
        [
            ("iris", "classification", 4, 3, 150),
            ("wine", "classification", 13, 3, 178),
            ("breast-cancer", "classification", 30, 2, 569),
            ("diabetes", "regression", 10, 1, 442),
        ],
    )
    def test_small_sets_of_scikit_learn(self, name, task, inputs, outputs, samples):
        pytest.importorskip("sklearn")
        found = data.opened(name, OwnData()).own.found
        assert (found.task, found.inputs, found.outputs) == (task, inputs, outputs)
        assert found.training + found.test == samples

    @pytest.mark.parametrize("name", ["kmnist", "emnist-letters"])
    def test_published_files_are_looked_for_by_their_checksum(self, name, tmp_path):
        with pytest.raises(DataError, match=r"\.gz|gzip\.zip"):
            data.opened(name, OwnData(), tmp_path)
        for each in data.publications.PUBLICATIONS[name.split("-")[0]].sha256:
            (tmp_path / each).write_bytes(b"rot")
        with pytest.raises(DataError, match=r"cannot be read|SHA-256"):
            data.opened(name, OwnData(), tmp_path)


def test_a_file_that_changed_is_found_out(tmp_path):
    path = write(tmp_path, TABLE)
    own = opened(path).own
    path.write_text(TABLE.replace("3,0,x", "3,1,x"))
    with pytest.raises(DataError, match="SHA-256"):
        data.opened(str(path), own)


def test_a_file_elsewhere_is_found_by_its_folder(tmp_path):
    path = write(tmp_path, TABLE)
    assert data.opened("/nowhere/t.csv", settings(), path.parent).own == opened(path).own
    with pytest.raises(DataError, match="no such file"):
        data.opened("/nowhere/t.csv", settings())
    for name in ("other.csv", "other.npz"):  # a folder without the file is not read in its place
        with pytest.raises(DataError, match=rf"{path.parent}/{name}: no such file"):
            read_samples(name, DataSettings(), path.parent)


def test_a_class_of_one_sample_is_trained_on(tmp_path):
    samples = read_samples(str(write(tmp_path, TABLE.replace("9,-1,x", "9,-1,only"))), settings())
    dataset = prepared("t", samples, DataSettings())
    assert samples.classes.index("only") in dataset.train_labels
