"""What ``import eqprop_analog as ea`` reaches: examples that run, and objects with a short display."""

import doctest
import inspect
import logging
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import networkx as nx
import numpy as np
import pytest
from matplotlib.figure import Figure

import eqprop_analog as ea

LONGEST = 400
"""Characters of a repr."""


def documented(thing: object) -> list[doctest.DocTest]:
    """The examples of a function, or of a class and its constructors."""
    finder = doctest.DocTestFinder(recurse=inspect.isclass(thing), exclude_empty=True)
    return [test for test in finder.find(thing, globs={}) if test.examples]


@pytest.mark.parametrize("name", sorted({*ea.__all__} - {"HopfieldNgspiceSolver"}))  # another name of NgspiceSolver
def test_a_public_name_has_an_example_that_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = documented(getattr(ea, name))
    assert tests, f"{name} has no example"
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    # a previous command may have left its handler for the console
    monkeypatch.setattr(logging.getLogger("eqprop_analog"), "handlers", [])
    for test in tests:
        runner.run(test)
    assert runner.failures == 0


def shown() -> dict[str, object]:
    network = ea.ResistiveNetwork.dense([100, 50, 10], seed=0, bias_row=1.0)
    x, y = np.full((3, 100), 0.1), np.eye(10)[:3]
    solver = ea.SurrogateSolver()
    free = solver.solve(network, x)
    plus, minus = (solver.solve(network, x, nudge=ea.Nudge(y, beta), start=free) for beta in (1e-9, -1e-9))
    return {
        "resistive": network,
        "hopfield": ea.HopfieldNetwork.dense([100, 50, 10]),
        "graph": ea.GraphNetwork.from_graph(nx.path_graph(4), [0], [2], {3: 0.0}),
        "equilibrium": plus,
        "gradient": ea.contrast(network, x, plus, minus),
        "data": ea.dataset_from_arrays(np.random.default_rng(0).normal(size=(30, 2)), labels=np.arange(30) % 3),
    }


@pytest.fixture(scope="module")
def things() -> dict[str, object]:
    return shown()


class Tags(HTMLParser):
    """The tags of a page, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.seen.add(tag)
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["resistive", "hopfield", "graph", "equilibrium", "gradient", "data"])
def test_an_object_shows_itself_in_one_short_line_and_as_a_table(things: dict[str, object], name: str) -> None:
    thing = things[name]
    line = repr(thing)
    assert "\n" not in line
    assert len(line) < LONGEST
    assert line.startswith(type(thing).__name__)
    tags = Tags()
    tags.feed(thing._repr_html_())  # type: ignore[attr-defined]
    assert tags.open == []
    assert {"table", "tr", "td"} <= tags.seen
    assert ("img" in tags.seen) == (name in ("resistive", "hopfield", "graph"))


def test_a_network_shows_sizes_window_and_diode(things: dict[str, object]) -> None:
    html = things["resistive"]._repr_html_()  # type: ignore[attr-defined]
    for part in ("100-50-10", "100 µS", "NgspiceDiode"):
        assert part in html
        assert part in repr(things["resistive"])


def test_names_from_files_are_escaped_in_html() -> None:
    x = np.random.default_rng(0).normal(size=(20, 1))
    dataset = ea.dataset_from_arrays(x, labels=["<b>x</b>" if k % 2 else "y" for k in range(20)])
    assert "<b>" not in dataset._repr_html_()


def test_a_plot_is_a_figure_and_leaves_the_programs_style_alone(things: dict[str, object]) -> None:
    before = dict(mpl.rcParams)
    figure = ea.plot_parameters(things["resistive"])
    assert isinstance(figure, Figure)
    assert dict(mpl.rcParams) == before
    image = figure.axes[0].images[0].get_array()
    assert image.max() == pytest.approx(things["resistive"].conductances[0].max())  # type: ignore[attr-defined]


def test_a_loaders_batches_are_the_arrays(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    x, y = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2
    pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    of_loader = ea.dataset_from_loader(torch.utils.data.DataLoader(pairs, batch_size=7), name="arrays")
    of_arrays = ea.dataset_from_arrays(x, y)
    for one, other in zip(vars(of_loader).values(), vars(of_arrays).values(), strict=True):
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
    assert of_loader.own == of_arrays.own


@pytest.mark.parametrize("answers", ["classes", "volts"])
def test_a_run_on_arrays_is_one_that_its_folder_tells_again(tmp_path: Path, answers: str) -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    given = {"labels": x[:, 0] > 0} if answers == "classes" else {"targets": x[:, :1] ** 2 + 3}
    dataset = ea.dataset_from_arrays(x, **given, name="wells")
    run = ea.train(dataset, tmp_path / "run", layers=[2, 5, dataset.own.found.outputs], epochs=2)
    assert "wells" in repr(run.metrics["data"])
    again = ea.train(dataset, tmp_path / "run", layers=[2, 5, dataset.own.found.outputs], epochs=3)
    assert again.metrics["history"][:2] == run.metrics["history"]
    with pytest.raises(ea.UserError, match="other samples"):
        ea.train(ea.dataset_from_arrays(x + 1, **given, name="wells"), tmp_path / "run", epochs=3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ea.dataset_from_arrays([[1.0], [2.0]], [0, 1]), "at least"),
        (lambda: ea.dataset_from_arrays([[1.0]] * 9), "targets or labels"),
        (lambda: ea.dataset_from_arrays([[1.0]] * 9, [0, 1] * 4), "labels"),
        (lambda: ea.dataset_from_arrays([[1.0]] * 8, [0, 1] * 4, scale="none"), "scale"),
        (lambda: ea.dataset_from_arrays([[1.0]] * 8, [0, 1] * 4, test_fraction=2.0), "test_fraction"),
        (lambda: ea.dataset_from_loader([]), "no batch"),
        (lambda: ea.dataset_from_loader([[1, 2, 3]]), "inputs, answers"),
        (lambda: ea.load_dataset("nowhere.csv", target_column="x"), "nowhere.csv"),
        (lambda: ea.load_dataset("iris", target="x"), "target"),
        (lambda: ea.plot_learning_curve([]), "history"),
    ],
)
def test_what_is_no_data_set_is_a_sentence(call, words) -> None:
    with pytest.raises(ea.UserError, match=words):
        call()
