"""The report of a run: one self-contained page that agrees with the files of the run."""

import base64
import gzip
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.image import imread

from eqprop_analog import ResistiveNetwork, data
from eqprop_analog.cli import main
from eqprop_analog.networks.resistive.config import ResistiveConfig
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.plotting import style
from eqprop_analog.report.built import built, netlists
from eqprop_analog.report.folder import RunFolder
from eqprop_analog.report.page import Download, Picture, download
from eqprop_analog.spice.netlist import static_netlist

HOPFIELD = """\
model = "hopfield"
layers = [16, 8, 3]
beta = 0.1
weight_rates = 0.1
dynamics = "leaky-integrator"
step = 0.1
buffer = { law = "sigmoid", gain = 1.0 }
initial = "fan-in"
batch_size = 9
limit = 27
epochs = 1
"""
BROWSER = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)


@pytest.fixture(scope="module", autouse=True)
def coarse_pictures() -> Iterator[None]:
    """Pictures with few points, which are written faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 40)
        yield


@dataclass
class Page(HTMLParser):
    """The content of a page."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    figures: dict[str, str] = field(default_factory=dict)
    """Values of <data> by their id."""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag == "data":
            self.figures[given["id"]] = given["value"]

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def download(self, name: str) -> bytes:
        (source,) = [each["href"] for each in self.all("a") if each.get("download") == name]
        return content(source)


def content(uri: str) -> bytes:
    head, _, body = uri.partition(",")
    assert head.startswith("data:")
    assert head.endswith(";base64")
    return base64.b64decode(body, validate=True)


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


def report(folder: Path, dataset: Path, *options: object) -> Page:
    assert main([str(each) for each in ("report", folder, "--data-dir", dataset, *options)]) == 0
    return read(folder / "report.html")


@pytest.fixture(scope="module")
def reported(
    finished_run: Path, dataset_folder: Path, publish: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a finished run with its report; copy it before changing it."""
    folder = shutil.copytree(finished_run, tmp_path_factory.mktemp("reported") / "run")
    with pytest.MonkeyPatch.context() as patch:
        publish(patch)
        report(folder, dataset_folder)
    return folder


@pytest.fixture
def page(reported: Path) -> Page:
    return read(reported / "report.html")


def test_it_asks_for_nothing_but_itself(page: Page, reported: Path) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), f"{tag} {name}"
        assert not any(name.startswith("on") for name in attributes)
    text = (reported / "report.html").read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in text
    assert "refresh" not in text


def test_every_picture_in_it_can_be_read_and_says_what_it_shows(page: Page) -> None:
    pictures = page.all("img")
    assert len(pictures) >= 7
    for picture in pictures:
        assert len(picture["alt"]) > 20
        found = content(picture["src"])
        if picture["src"].startswith("data:image/svg+xml"):
            assert ET.fromstring(found).tag.endswith("svg")
        else:
            assert imread(io.BytesIO(found)).std() > 0


def test_it_is_put_together_as_readers_of_screens_expect(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    anchors = [each["id"] for each in page.all("h2")]
    assert len(set(anchors)) == len(anchors) == 8
    assert {f"#{anchor}" for anchor in anchors} <= {each.get("href") for each in page.all("a")}
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(each["scope"] in ("row", "col") for each in page.all("th"))


def test_its_figures_are_those_of_metrics_json(page: Page, reported: Path) -> None:
    metrics = json.loads((reported / "metrics.json").read_text())
    for name in ("test_error", "train_error", "samples_per_second", "peak_memory_bytes", "seed"):
        assert float(page.figures[name]) == metrics[name]
    assert f"{100 * metrics['test_error']:.2f} %" in page.text
    assert sum(metrics["statuses"].values()) == sum(sum(epoch["statuses"].values()) for epoch in metrics["history"])
    assert "CONVERGED" in page.text
    assert page.download("config.toml").decode() == (reported / "config.toml").read_text()


def test_it_has_the_run_confirmed_in_ngspice_and_keeps_that_in_its_metrics(page: Page, reported: Path) -> None:
    agreement, flat = json.loads((reported / "metrics.json").read_text())["agreement"]
    assert agreement["met"]
    assert (flat["form"], flat["samples"], flat["met"]) == ("flat", 1, True)
    assert agreement["statuses"] == {"CONVERGED": 60}
    assert float(page.figures["largest_difference"]) == agreement["largest_difference"] < 1e-9
    assert f"{agreement['largest_difference']:.2g}" in page.text


def test_its_netlist_is_the_compiled_circuit_of_the_trained_network(page: Page, reported: Path, dataset: Path) -> None:
    network = ResistiveNetwork.load(reported / "network.npz")
    image = data.load("mnist", dataset).test_images[:1].astype(float)
    assert page.download("network_free.cir").decode() == static_netlist(compile_network(network, image, [None], "flat"))


def test_a_large_file_is_compressed_and_its_size_is_said() -> None:
    text = b"R1_0_0 xp_0 h1_0 1000000.0\n" * 20_000
    block = download("net.cir", text)
    assert block.name == "net.cir.gz"
    assert gzip.decompress(content(block.source)) == text
    assert "540.0 kB unpacked" in block.note
    assert download("net.cir", text) == block


def test_without_ngspice_it_says_what_is_missing_and_why(
    finished_run: Path, dataset: Path, tmp_path: Path, without_ngspice: None
) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    before = (folder / "metrics.json").read_bytes()
    page = report(folder, dataset)
    assert "Not confirmed in ngspice" in page.text
    assert "/nonexistent" in page.text
    assert "largest_difference" not in page.figures
    assert (folder / "metrics.json").read_bytes() == before


def test_without_the_data_set_it_shows_the_rest_and_says_why(finished_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    page = report(folder, tmp_path / "nowhere")
    for sentence in ("No equilibria to show", "No energy figures", "Not confirmed in ngspice", "drawn from U(0, 1)"):
        assert sentence in page.text
    assert str(tmp_path / "nowhere") in page.text
    assert page.download("network_free.cir")


def test_an_unfinished_run_is_called_so_and_shown_as_of_its_checkpoint(
    finished_run: Path, dataset: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "run")
    settings = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(settings.replace("epochs = 2", "epochs = 5"))
    page = report(folder, dataset)
    assert "unfinished: 2 of 5 epochs" in page.text
    assert f"eqprop-analog train --resume --output {folder}" in page.text
    assert "Not confirmed in ngspice: the run is not finished" in page.text
    network = ResistiveNetwork.load(folder / "network.npz")
    image = data.load("mnist", dataset).test_images[:1].astype(float)
    assert page.download("network_free.cir").decode() == static_netlist(compile_network(network, image, [None], "flat"))


def test_a_hopfield_run_has_its_report_too(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "hopfield.toml").write_text(HOPFIELD)
    folder = tmp_path / "run"
    options = ["--preset", tmp_path / "hopfield.toml", "--data-dir", dataset, "--output", folder]
    assert main(["train", *map(str, options)]) == 0
    page = report(folder, dataset)
    assert len(page.all("img")) >= 6
    assert "No energy figures" in page.text
    assert float(page.figures["largest_difference"]) < 1e-9
    assert b"hopfield" in page.download("network_free.cir").lower()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "config.toml").unlink(), "contains no run"),
        (lambda folder: (folder / "metrics.json").write_text("{"), "not the metrics of a run"),
        (lambda folder: (folder / "metrics.json").write_text("[]"), "not the metrics of a run"),
        (lambda folder: (folder / "network.npz").rename(folder / "checkpoint.npz"), "checkpoint"),
        (lambda folder: (folder / "network.npz").write_bytes(b""), "not a network file"),
    ],
)
def test_a_folder_that_is_no_run_is_a_sentence(
    run: Any, finished_run: Path, tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    folder = shutil.copytree(finished_run, tmp_path / "broken")
    damage(folder)
    result = run("report", folder)
    assert result.code == 2
    assert sentence in result.err
    assert not (folder / "report.html").exists()


def test_a_file_in_place_of_a_run_is_a_sentence(run: Any, tmp_path: Path) -> None:
    (tmp_path / "network.npz").write_bytes(b"")
    result = run("report", "network.npz")
    assert result.code == 2
    assert re.search("network.npz: .*folder of a run", result.err)
    result = run("report", ".", "--output", "report.pdf")
    assert result.code == 2
    assert re.search(r"report\.pdf: .*HTML", result.err)


def test_netlist_draws_what_it_writes(run: Any, tmp_path: Path) -> None:
    result = run("netlist", "--layers", 2, 3, 1, "--output", "a.cir", "--picture", "a.svg")
    assert result.code == 0
    named = {str(text.text) for text in ET.parse(tmp_path / "a.svg").iterfind(".//{*}text")}
    resistors = {line.split()[0] for line in (tmp_path / "a.cir").read_text().splitlines() if line.startswith("R")}
    assert resistors
    assert resistors <= named
    assert run("netlist", "--layers", 2, 3, 1, "--output", "a.cir", "--picture", "a.gif").code == 2
    assert (
        run("netlist", "--layers", 2, 3, 1, "--form", "subcircuits", "--output", "s.cir", "--picture", "s.svg").code
        == 0
    )
    assert resistors <= {str(text.text) for text in ET.parse(tmp_path / "s.svg").iterfind(".//{*}text")}
    assert run("netlist", "--layers", 40, 30, 5, "--output", "b.cir", "--picture", "b.png").code == 0
    assert np.ptp(imread(tmp_path / "b.png")) > 0.5


def console(page: Path, folder: Path) -> tuple[list[str], str]:
    """Console messages of a headless browser that shows ``page``, and the rendered page."""
    assert BROWSER
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    done = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={folder}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line], done.stdout


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium, to look at the page with")
def test_a_browser_shows_it_without_a_complaint(reported: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<title>bad</title><script>nothing()</script><img src='missing.png'>")
    assert any("nothing is not defined" in line for line in console(bad, tmp_path / "profile")[0])
    messages, shown = console(reported / "report.html", tmp_path / "profile")
    assert messages == []
    assert "<title>16-8-3 on mnist</title>" in shown
    assert shown.count("<img") == len(read(reported / "report.html").all("img"))


def test_while_a_run_goes_on_its_page_shows_how_far_it_is_and_at_the_end_rests(
    run: Any, preset: Path, dataset: Path, tmp_path: Path, without_ngspice: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions: list[str] = []

    def written(path: Path, text: str) -> None:
        versions.append(text)
        path.write_text(text)

    monkeypatch.setattr("eqprop_analog.report.page.write_text", written)
    monkeypatch.setattr("eqprop_analog.report.live.SECONDS", 0)
    monkeypatch.setattr("eqprop_analog.report.live.FIRST", 0)
    assert run("train", "--preset", preset, "--data-dir", dataset, "--output", tmp_path / "run").code == 0
    assert len(versions) > 2 * 90 // 5
    *before, last = versions
    pages = [Page() for _ in versions]
    for page, text in zip(pages, versions, strict=True):
        page.feed(text)
    assert all('http-equiv="refresh"' in text for text in before)
    assert [page.figures["epochs"] for page in pages] == sorted(page.figures["epochs"] for page in pages)
    assert {page.figures["epochs"] for page in pages} == {"0", "1", "2"}
    done = [float(page.all("progress")[0]["value"]) for page in pages[:-1]]
    assert done == sorted(done)
    assert done[0] == 0
    assert any(0 < part < 0.5 for part in done)
    assert 'http-equiv="refresh"' not in last
    assert not pages[-1].all("progress")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert float(pages[-1].figures["test_error"]) == metrics["test_error"]


def test_a_run_that_stops_leaves_a_page_that_says_so(
    run: Any, preset: Path, dataset: Path, tmp_path: Path, without_ngspice: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eqprop_analog.report.live.SECONDS", 0)
    monkeypatch.setattr("eqprop_analog.learning.trainer.Learner.run_pass", stop)
    assert run("train", "--preset", preset, "--data-dir", dataset, "--output", tmp_path / "run").code == 130
    text = (tmp_path / "run" / "live.html").read_text()
    assert "stopped after 0 epochs" in text
    assert 'http-equiv="refresh"' not in text


def test_a_page_that_cannot_be_written_stops_no_run(
    run: Any, preset: Path, dataset: Path, tmp_path: Path, without_ngspice: None
) -> None:
    (tmp_path / "run" / "live.html").mkdir(parents=True)
    result = run("train", "--preset", preset, "--data-dir", dataset, "--output", tmp_path / "run")
    assert result.code == 0
    assert result.out.count("live.html is no longer updated") == 1


def test_a_small_network_is_shown_as_its_schematic(dataset: Path, tmp_path: Path) -> None:
    config = ResistiveConfig(layers=[2, 4, 1], beta=1e-8, conductance_rates=1e-15, bias_rates=1e-15)
    folder = RunFolder(tmp_path, dataset, config, config.network(), [], {})
    drawings = [block for block in built(folder, tmp_path) if isinstance(block, Picture)]
    (schematic,) = drawings
    named = {str(text.text) for text in ET.fromstring(content(schematic.source)).iterfind(".//{*}text")}
    (netlist,) = [block for block in netlists(folder) if isinstance(block, Download)]
    lines = content(netlist.source).decode().splitlines()
    assert {line.split()[0] for line in lines if line.startswith("R")} | {"Xd1_3", "Vrail_n"} <= named
    assert "all drawn" in schematic.alt
