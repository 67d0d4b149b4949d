"""CapFilt's exercises: the references do what the library's own captioner, filter and job do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vlcourse.data.world.web import WebWorld
from vlcourse.generate.sampling import repetition, top_p_filter
from vlcourse.jobs import capfilt as job
from vlcourse.jobs.parts import Settings
from vlcourse.teach.exercise import find


class Writer:
    """Writes a text that tells the picture; every third one is a lie."""

    def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
        sums = [int(picture.sum()) for picture in pictures]
        return [f"picture of {n}" if n % 3 else f"lie about {n}" for n in sums]


def logits_of(pictures: Any, texts: Any) -> Tensor:
    """(n, 2): high for texts that are no lies, and for web texts of even length."""
    good = [("lie" not in t) if "of" in t else len(t) % 2 == 0 for t in texts]
    return torch.tensor([[-2.0, 2.0] if yes else [2.0, -2.0] for yes in good])


class Judge:
    def score(self, pictures: list[Tensor], texts: list[str]) -> Tensor:
        return logits_of(pictures, texts).softmax(dim=-1)[:, 1]


@pytest.mark.parametrize("batch", [3, 8])
def test_a_round_gives_the_rows_of_the_librarys_job(tmp_path: Path, batch: int) -> None:
    web = WebWorld("test", 8, objects=(1, 2), seed=3, rate=0.6)
    web.write(tmp_path / "web")
    job.run(tmp_path / "web", tmp_path / "out", Writer(), Judge(), Settings(), seen=lambda n: True)
    import pyarrow.parquet

    theirs = set()
    for name in ("kept", "dropped"):
        for file in (tmp_path / "out" / name).glob("*.parquet"):
            for row in pyarrow.parquet.read_table(file).to_pylist():
                theirs.add((row["text"], row["origin"], row["kept"]))
    samples = web.__getitems__(range(8))
    pictures = [sample["image"] for sample in samples]
    texts = [str(sample["caption"]) for sample in samples]
    rows = find("capfilt.round").reference(pictures, texts, Writer().caption, logits_of, batch)
    assert {(row["text"], row["origin"], row["kept"]) for row in rows} == theirs
    assert [row["picture"] for row in rows] == [i for i in range(8) for _ in range(2)]


def test_the_next_word_is_drawn_with_the_librarys_filters() -> None:
    torch.manual_seed(0)
    logits, said = torch.randn(40) * 3, torch.tensor([1, 5, 5, 9])
    drawn = find("capfilt.nucleus").reference(logits, said, 0.9, 1.1)
    lowered = top_p_filter(repetition(logits[None], said[None], 1.1), 0.9)[0]
    torch.testing.assert_close(drawn, lowered.softmax(dim=-1))
    assert 0 < int((drawn == 0).sum()) < 40 and float(drawn.sum()) == pytest.approx(1)


def test_a_text_at_the_threshold_is_dropped() -> None:
    keep = find("capfilt.keep").reference
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.1], [0.0, -0.1]])
    assert keep(logits, 0.5).tolist() == [False, True, False]
