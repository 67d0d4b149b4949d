"""Captioner and filter from BLIPs, ours and transformers': each row for itself in any batch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import tiny_blips
import torch
from capfilt_jobs import rows_of
from torch import Tensor

from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.data.world.web import WebWorld
from vlcourse.evals.writing import Writing, write
from vlcourse.jobs import JobError
from vlcourse.jobs.blip import BLIPCaptioner, BLIPJudge, once
from vlcourse.jobs.capfilt import run
from vlcourse.jobs.parts import Settings
from vlcourse.jobs.processes import run_many
from vlcourse.jobs.transformers_blip import TransformersCaptioner, TransformersJudge

KEYS = [11, 22, 33, 44, 55]
TEXTS = ["a red circle", "small blue star and a large circle", "2", "", "a red star above " * 30]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Folders of a transformers captioner and a transformers filter."""
    folder = tmp_path_factory.mktemp("models")
    kinds = ("BlipForConditionalGeneration", "BlipForImageTextRetrieval")
    made = [tiny_blips.write_transformers(folder / kind, kind, i) for i, kind in enumerate(kinds)]
    return str(made[0]), str(made[1])


@pytest.fixture(scope="module")
def pictures() -> list[Tensor]:
    chance = torch.Generator().manual_seed(4)
    sizes = [(16, 16), (20, 31), (40, 17), (3, 50), (16, 3)]
    return [
        torch.randint(0, 256, (3, *size), generator=chance, dtype=torch.uint8) for size in sizes
    ]


def make(kind: str, theirs: tuple[str, str], **options: Any) -> tuple[Any, Any]:
    if kind == "ours":
        captioner = BLIPCaptioner(tiny_blips.ours(1), tiny_blips.Words(), **options)
        return captioner, BLIPJudge(tiny_blips.ours(2), tiny_blips.Words())
    return TransformersCaptioner(theirs[0], **options), TransformersJudge(theirs[1])


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_what_a_row_says_depends_on_its_picture_and_key_alone(
    kind: str, theirs: tuple[str, str], pictures: list[Tensor]
) -> None:
    captioner, judge = make(kind, theirs)
    said = captioner.caption(pictures, KEYS)
    assert captioner.caption(pictures[::-1], KEYS[::-1])[::-1] == said
    assert [captioner.caption([p], [k])[0] for p, k in zip(pictures, KEYS, strict=True)] == said
    one_picture = captioner.caption([pictures[1]] * 30, list(range(30)))
    assert len(set(one_picture)) > 10, "nothing was drawn"
    beams, _ = make(kind, theirs, beams=2)
    searched = beams.caption(pictures, KEYS)
    assert beams.caption(pictures, KEYS[::-1]) == searched
    scores = judge.score(pictures, TEXTS)
    alone = [judge.score([p], [t]) for p, t in zip(pictures, TEXTS, strict=True)]
    torch.testing.assert_close(scores, torch.cat(alone), atol=1e-5, rtol=1e-4)
    assert scores.shape == (5,) and ((scores > 0) & (scores < 1)).all() and scores.std() > 1e-3
    twice = judge.score([pictures[0], pictures[0], pictures[1]], [TEXTS[1], TEXTS[0], TEXTS[1]])
    torch.testing.assert_close(twice[1:], scores[:2], atol=1e-5, rtol=1e-4)


def test_the_job_writes_what_the_measures_write(pictures: list[Tensor]) -> None:
    model, words = tiny_blips.ours(1), tiny_blips.Words()
    for prompt in ("", "a picture of"):
        captioner = BLIPCaptioner(model, words, beams=3, prompt=prompt)
        writing = Writing(prompt or None, captioner.options.max_new_tokens)
        alone = [write(model, words, picture[None], writing)[0] for picture in pictures]
        assert captioner.caption(pictures, KEYS) == alone and len(set(alone)) > 1


def test_a_model_that_only_writes_is_a_captioner(pictures: list[Tensor]) -> None:
    """A published captioner: it has no τ, no projections and no ITM head."""
    config = tiny_blips.ours().config
    text = replace(config.text, roles="writer")
    model = replace(config, tasks=("lm",), text=text).build()
    said = BLIPCaptioner(model, tiny_blips.Words()).caption(pictures, KEYS)
    assert len(said) == len(pictures) and any(said)


def test_our_filter_is_the_softmax_of_match(pictures: list[Tensor]) -> None:
    model, words = tiny_blips.ours(2), tiny_blips.Words()
    pixels = normalise(torch.stack([resize(p, 16) for p in pictures]))
    logits = model.match(pixels, *words(TEXTS, 24, truncate=True))
    expected = logits.softmax(-1)[:, 1]
    torch.testing.assert_close(BLIPJudge(model, words).score(pictures, TEXTS), expected)


def test_their_filter_is_that_of_the_library(
    theirs: tuple[str, str], pictures: list[Tensor]
) -> None:
    judge = TransformersJudge(theirs[1])
    inputs = judge.processor(
        images=pictures[:3], text=TEXTS[:3], return_tensors="pt", padding=True,
        input_data_format="channels_first",
    )  # fmt: skip
    expected = judge.model(**inputs).itm_score.softmax(-1)[:, 1]
    torch.testing.assert_close(judge.score(pictures[:3], TEXTS[:3]), expected)


def test_their_draws_follow_the_nucleus_of_the_model(
    theirs: tuple[str, str], pictures: list[Tensor]
) -> None:
    """The first word of 600 draws against the probabilities that the model gives."""
    captioner = TransformersCaptioner(theirs[0])
    inputs = captioner.processor(
        images=pictures[:1], return_tensors="pt", input_data_format="channels_first"
    )
    seen = captioner.model.vision_model(**inputs).last_hidden_state
    decoder = captioner.model.text_decoder
    logits = decoder(torch.tensor([[4]]), encoder_hidden_states=seen).logits[0, -1].detach()
    logits[4] = logits[4] * 1.1 if logits[4] < 0 else logits[4] / 1.1  # [DEC] was said before
    ordered, ids = logits.softmax(-1).sort(descending=True)
    nucleus = ids[: int((ordered.cumsum(0) < 0.9).sum()) + 1]
    wanted = logits[nucleus].softmax(-1)
    captioner.processor.batch_decode = lambda ids, **_: [str(int(row[0])) for row in ids]
    said = [int(i) for i in captioner.caption(pictures[:1] * 600, list(range(600)))]
    assert set(said) <= set(nucleus.tolist())
    for token, share in zip(nucleus.tolist(), wanted.tolist(), strict=True):
        assert abs(said.count(token) / 600 - share) < 0.08


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_a_prompt_is_read_and_not_given_back(
    kind: str, theirs: tuple[str, str], pictures: list[Tensor]
) -> None:
    plain = make(kind, theirs, beams=1)[0].caption(pictures, KEYS)
    asked = make(kind, theirs, beams=1, prompt="a picture of ")[0].caption(pictures, KEYS)
    assert asked != plain and not any(text.startswith("a picture of a picture") for text in asked)


def test_a_model_of_another_kind_is_refused(theirs: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(JobError, match="has no weights for text_decoder"):
        TransformersCaptioner(theirs[1])
    with pytest.raises(JobError, match="has no weights for itm_head"):
        TransformersJudge(theirs[0])
    with pytest.raises(JobError, match="cannot be loaded"):
        TransformersJudge(str(tmp_path))


def test_pictures_that_come_twice_are_looked_at_once(pictures: list[Tensor]) -> None:
    a, b = pictures[:2]
    different, rows = once([a, a, b, a])
    assert different[0] is a and different[1] is b and rows.tolist() == [0, 0, 1, 0]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy")
    WebWorld(n=24, rate=0.5).write(folder, rows=10)
    return folder


@pytest.mark.slow
def test_two_processes_do_what_one_does_and_share_nothing_but_the_folder(
    noisy: Path, tmp_path: Path
) -> None:
    run(noisy, tmp_path / "first", *tiny_blips.make_ours())
    middle = median(row["score"] for row in rows_of(tmp_path / "first"))
    settings = Settings(part_rows=5, threshold=middle)
    alone = run(noisy, tmp_path / "one", *tiny_blips.make_ours(), settings, batch_size=4)
    many = run_many(noisy, tmp_path / "two", tiny_blips.make_ours, settings, 2, batch_size=4)
    one, two = rows_of(tmp_path / "one"), rows_of(tmp_path / "two")
    assert one == two and len({row["id"] for row in one}) == len(one) > 24
    assert alone is not None and alone["texts"] == many["texts"]
    assert 0 < sum(row["kept"] for row in one) < len(one)


def test_transformers_models_work_from_end_to_end(
    noisy: Path, theirs: tuple[str, str], tmp_path: Path
) -> None:
    made = run(noisy, tmp_path / "out", *make("theirs", theirs), Settings(part_rows=9))
    assert made is not None and made["rows"] == 24
    web = [row for row in rows_of(tmp_path / "out") if row["origin"] == "web"]
    assert [row["text"] for row in web] == [
        sample["caption"] for sample in WebWorld(n=24, rate=0.5).__getitems__(range(24))
    ]


@pytest.mark.slow
def test_a_process_that_dies_is_said_in_words(noisy: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="ended with code 9"):
        run_many(noisy, tmp_path / "out", tiny_blips.die, Settings(), 2)
    with pytest.raises(JobError, match="no_such_folder"):
        make = partial(tiny_blips.their_judge, str(tmp_path / "no_such_folder"))
        run_many(noisy, tmp_path / "out", make, Settings(), 1)
