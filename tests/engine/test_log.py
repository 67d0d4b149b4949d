"""The log: a line a row, appended; what a kill or an accident leaves of it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch

from vlcourse.engine import log, speed

ROWS = [{"step": 1.0, "loss": 2.5}, {"step": 2.0, "loss": 2.25, "val_loss": 3.0}]
TEXT = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.mark.parametrize("cut", ["", '{"step": 3.0, "lo', '{"step": 3'])
def test_a_line_cut_by_a_kill_is_dropped_and_the_next_one_is_whole(
    tmp_path: Path, cut: str
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(TEXT + cut)
    assert log.read(tmp_path) == ROWS
    again = log.Log(tmp_path, 9, 2, show=False, plot=False)
    again.add({"step": 3, "loss": 2.0, "samples_per_s": 1.0})
    again.close()
    assert log.read(tmp_path) == [*ROWS, {"step": 3, "loss": 2.0, "samples_per_s": 1.0}]
    assert path.read_text().startswith(TEXT + cut)  # nothing is written anew


def test_steps_that_are_done_again_count_once(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(TEXT + '{"step": 2, "loss": 9}\n{"step": 4, "loss": 1}\n')
    assert [(row["step"], row["loss"]) for row in log.read(tmp_path)] == [(1, 2.5), (2, 9), (4, 1)]


def test_lines_that_are_no_rows_are_left_out_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"step": "x"}\n\xff\xfe}\n[]\n' + TEXT.encode())
    with pytest.warns(UserWarning, match="log.jsonl is damaged: 3 of its lines are left out"):
        assert log.read(tmp_path) == ROWS


def test_an_old_table_is_read_and_goes_on_as_lines(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss,val_loss\n1,2.5,\n2,2.25,3.0\n3,2.")
    assert log.read(tmp_path) == ROWS
    log.Log(tmp_path, 9, 1, show=False, plot=False).close()
    assert (tmp_path / "log.jsonl").read_text() == TEXT.splitlines(keepends=True)[0]
    assert log.read(tmp_path) == ROWS[:1]


def test_mfu_is_logged_where_the_peak_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert speed.peak_flops(torch.device("cpu")) is None
    assert "mfu" not in tiny.fit(tiny.config(steps=1)).history[0]
    monkeypatch.setattr(speed, "peak_flops", lambda device: 1e9)
    row = tiny.fit(tiny.config(steps=1, accumulate=2)).history[0]
    # 16 vectors of a batch: 6 × 8, two blocks of 8 × 8, 8 × 5; and twice 8 × 8 similarities.
    forward = 2 * 16 * (6 * 8 + 2 * 8 * 8 + 8 * 5) + 2 * (2 * 8 * 8 * 5)
    passes_per_s = row["samples_per_s"] / 8
    assert row["mfu"] == pytest.approx(3 * forward * passes_per_s / 1e9)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_the_peak_of_a_gpu(monkeypatch: pytest.MonkeyPatch, name: str, peak: float | None) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert speed.peak_flops(torch.device("cuda")) == peak
