"""What a run shows and records: a bar, log.jsonl, TensorBoard, a live plot in a notebook."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vlcourse.files import writing

Row = dict[str, float]


class Log:
    """Shows the training rows and writes them down.

    Args:
        run: the run folder, or None to write nothing.
        total: steps of the whole run, for the bar.
        start: steps done by an earlier process; later rows of an old log are dropped.
        show: whether this process shows progress (rank 0 does).
        plot: draw the loss live; None does so inside a notebook only.
    """

    def __init__(
        self, run: Path | None, total: int, start: int, show: bool, plot: bool | None
    ) -> None:
        self.path = run / "log.jsonl" if run else None
        self.rows = [row for row in read(run) if row["step"] <= start] if run else []
        if self.path is not None:
            _ready(self.path, self.rows)
        terminal = sys.stderr.isatty() or in_notebook()
        self.bar = tqdm(
            total=total,
            initial=start,
            unit="step",
            disable=not show,
            dynamic_ncols=sys.stderr.isatty(),
            mininterval=0.2 if terminal else 10,  # a log file gets a line now and then
        )
        self.plot = LivePlot() if show and (in_notebook() if plot is None else plot) else None
        self.board: Any = None
        if run is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)

    def advance(self) -> None:
        """One more step is done."""
        self.bar.update()

    def add(self, row: Row) -> None:
        """Record a row: ``{"step": …, "loss": …, …}``."""
        self.rows.append(row)
        shown = {"loss": f"{row['loss']:.4f}", "samples/s": f"{row['samples_per_s']:.0f}"}
        self.bar.set_postfix(shown, refresh=False)
        if self.path is not None:
            with writing(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if self.board is not None:
            for key, value in row.items():
                if key != "step":
                    self.board.add_scalar(key, value, int(row["step"]))
        if self.plot is not None:
            self.plot.draw(self.rows)

    def close(self) -> None:
        """Finish the bar, the files and the figure."""
        self.bar.close()
        if self.board is not None:
            with contextlib.suppress(OSError):  # a full disk has been reported for the log
                self.board.close()
        if self.plot is not None:
            self.plot.draw(self.rows, final=True)


class LivePlot:
    """The loss curve under the cell, redrawn at most every two seconds."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._handle: Any = None

    def draw(self, rows: list[Row], final: bool = False) -> None:
        """Draw or redraw; ``final`` draws now and lets go of the figure."""
        if not rows or not (final or time.monotonic() - self._drawn > 2):
            return
        import matplotlib.pyplot as plt
        from IPython.display import display

        with plt.ioff():
            figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
        axes.plot([row["step"] for row in rows], [row["loss"] for row in rows], color="#0072B2")
        axes.set(xlabel="optimiser step", ylabel="training loss (nats)")
        axes.grid(alpha=0.3)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)
        self._drawn = time.monotonic()


def in_notebook() -> bool:
    """True inside a Jupyter kernel (not in a plain IPython terminal)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def read(run: Path) -> list[Row]:
    """The rows of a run's log, each step once: what a run that went on wrote again counts.

    A line that a kill has cut is left out, and so is one that is no row; of those a warning tells.
    A run from before log.jsonl has a log.csv.
    """
    path, bad = run / "log.jsonl", 0
    rows: list[Row] = []
    if not path.is_file():
        return _read_csv(run / "log.csv")
    lines = path.read_text("utf-8", errors="replace").split("\n")
    for line in lines:
        try:
            row = {str(key): float(value) for key, value in json.loads(line).items()}
            step = row["step"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            bad += bool(line) and line.endswith(("}", "]"))  # else cut by a kill
            continue
        while rows and rows[-1]["step"] >= step:
            rows.pop()
        rows.append(row)
    if bad:
        warnings.warn(f"{path} is damaged: {bad} of its lines are left out", stacklevel=2)
    return rows


def _ready(path: Path, rows: list[Row]) -> None:
    """Make a log that rows can be appended to: of an old table's rows, or after a cut line."""
    if not path.exists():
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        os.replace(temporary, path)
    elif (written := path.read_bytes()) and not written.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def _read_csv(path: Path) -> list[Row]:
    """The rows of an old log.csv; empty cells and lines that are no rows are left out."""
    if not path.is_file():
        return []
    rows, text = [], path.read_text("utf-8", errors="replace")
    for cells in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        try:
            row = {key: float(cell) for key, cell in cells.items() if cell}
        except (ValueError, TypeError):
            continue
        if "step" in row:
            rows.append(row)
    return rows
