"""What a run shows and records: a progress bar, log.csv, TensorBoard, a live plot in a notebook."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

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
        self.path = run / "log.csv" if run else None
        self.rows = [row for row in read_csv(self.path) if row["step"] <= start]
        self._columns: list[str] = []
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
            self._write(self.path, row)
        if self.board is not None:
            for key, value in row.items():
                if key != "step":
                    self.board.add_scalar(key, value, int(row["step"]))
        if self.plot is not None:
            self.plot.draw(self.rows)

    def _write(self, path: Path, row: Row) -> None:
        if set(row) <= set(self._columns):
            with path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
            return
        # The first row of this process, or one with a new column: write the table anew.
        self._columns = list(dict.fromkeys(key for row in self.rows for key in row))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, self._columns)
        writer.writeheader()
        writer.writerows(self.rows)
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        temporary.write_text(table.getvalue(), encoding="utf-8", newline="")
        os.replace(temporary, path)

    def close(self) -> None:
        """Finish the bar, the files and the figure."""
        self.bar.close()
        if self.board is not None:
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


def read_csv(path: Path | None) -> list[Row]:
    """The rows of a log.csv; empty cells and a line cut short by a kill are left out."""
    if path is None or not path.is_file():
        return []
    rows = []
    text = path.read_text(encoding="utf-8")
    for cells in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        rows.append({key: float(cell) for key, cell in cells.items() if cell})
    return rows
