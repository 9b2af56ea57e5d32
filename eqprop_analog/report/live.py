"""A page that shows a run in progress, and that a browser reloads automatically until the run ends."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eqprop_analog.core.equilibrium import statuses_in_words
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.learning.trainer import Progress, Stage
from eqprop_analog.report.page import (
    Block,
    Page,
    Section,
    Text,
    Tile,
    history_table,
    learning_chart,
    write_page,
)
from eqprop_analog.text import shell_word

SECONDS = 5
"""Seconds between two versions of the page."""
FIRST = 1
"""Seconds until the first version; a very short run writes only the last one."""
log = logging.getLogger(__name__)


class LivePage:
    """``live.html`` in a run's folder, rewritten during the run; used in a ``with`` block, which writes the final version."""

    def __init__(self, folder: Path, config: TrainConfig, history: list[dict[str, Any]], stage: Stage) -> None:
        """``history``: the run's list of finished epochs; ``stage``: the display that the page follows."""
        self.path, self.config, self.history, self._stage = folder / "live.html", config, history, stage
        self._begin = time.monotonic()
        self._due = self._begin + FIRST
        self._now: tuple[str, int, int, float] | None = None
        self._broken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the last version, which a browser does not reload."""
        if self._now is not None:
            finished = kind is None and self.config.finished(self.history)
            self._write("finished" if finished else f"stopped after {len(self.history)} epochs", running=False)

    @contextmanager
    def stage(self, description: str, total: int, **how: Any) -> Iterator[Progress]:
        """Start a stage of the display, and follow its progress."""
        with self._stage(description, total, **how) as progress:

            def advance(done: int, error: float) -> None:
                progress(done, error)
                if time.monotonic() >= self._due:
                    self._now = (description.strip(), done, total, error)
                    self._write("training", running=True)

            self._now = (description.strip(), 0, total, 0.0)
            if time.monotonic() >= self._due:
                self._write("training", running=True)
            yield advance

    def _write(self, state: str, *, running: bool) -> None:
        """Write the page; an error does not stop the run."""
        if self._broken:
            return
        try:
            write_page(self._page(state, running=running), self.path)
        except UserError as error:
            self._broken = True
            log.warning("%s is no longer updated: %s", self.path.name, error)
        self._due = time.monotonic() + SECONDS

    def _page(self, state: str, *, running: bool) -> Page:
        config, history = self.config, self.history
        description, done, total, error = self._now or ("", 0, 1, 0.0)
        training = description.startswith("epoch")
        begun = (
            (done / total if training else 1.0) if running else 0.0
        )  # of the current epoch; the test follows its images
        part = min((len(history) + begun) / config.epochs, 1.0)
        in_epoch = running and training and done > 0
        chart: list[Block] = []
        if history or in_epoch:
            so_far = (part * config.epochs, error) if in_epoch else None
            chart.append(learning_chart(history, config.epochs, so_far, config.measure))
        if history:
            chart.append(history_table(history, config.truncation, config.measure, config.samples_word))
        else:
            chart.append(Text("No epoch is finished yet."))
        now = datetime.now(UTC)
        return Page(
            title=f"{'-'.join(map(str, config.sizes))} on {config.data_name}",
            lead=config.description or f"{config.model} network, trained {config.method_in_words}",
            state=state,
            tiles=list(self._tiles(description, done, total, error, running=running)),
            sections=[Section("How it learns" if running else "How it learned", chart)],
            foot=f"Written {now:%Y-%m-%d %H:%M:%S} UTC. "
            + (
                f"The page reloads every {SECONDS} seconds."
                if running
                else f"eqprop-analog report {shell_word(self.path.parent)} writes the full report of the run."
            ),
            refresh=SECONDS if running else None,
            done=part if running else None,
        )

    def _tiles(self, description: str, done: int, total: int, error: float, *, running: bool) -> Iterator[Tile]:
        measure = self.config.measure
        yield Tile("epochs", "epochs finished", f"{len(self.history)} of {self.config.epochs}", str(len(self.history)))
        if running:
            so_far = measure.text(error) if done else "none yet"
            done_so_far = f"{done:,} of {total:,} {self.config.samples_word}"
            yield Tile("now", f"{description}, {measure.name} so far", so_far, repr(error), done_so_far)
        if self.history:
            last = self.history[-1]
            for kind in ("test", "validation"):
                value = measure.within(last, kind)
                if value is not None:
                    label = f"{kind} {measure.name}, last epoch"
                    yield Tile(f"{kind}_{measure.figure}", label, measure.text(value), repr(value))
            counts = last["statuses"]
            found = statuses_in_words(counts, self.config.truncation)
            yield Tile(
                "statuses",
                "equilibria, last epoch",
                f"{sum(counts.values()):,}",
                note=found,
            )
        yield Tile("elapsed", "time since the start", f"{time.monotonic() - self._begin:,.0f} s")
        yield Tile("seed", "seed", str(self.config.seed), str(self.config.seed))
