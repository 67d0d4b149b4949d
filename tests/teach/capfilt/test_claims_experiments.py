"""CapFilt's experiments at sizes that take seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import blip_measured as made
import pytest

from vlcourse.data.world.read import read
from vlcourse.data.world.web import WebWorld
from vlcourse.jobs.blip import BLIPCaptioner, BLIPJudge
from vlcourse.teach import claims as ledger
from vlcourse.teach.blip.experiments import arms
from vlcourse.teach.capfilt.experiments import bootstrap, tables
from vlcourse.teach.capfilt.experiments.filtered import filtering
from vlcourse.tokenizers import med

TINY = arms.Settings(
    steps=4, batch_size=8, pictures=32, width=16, layers=1, heads=2, queue=16, lr=1e-3,
    pairs=20, scenes=12,
)  # fmt: skip
CAP = bootstrap.Settings(arm=TINY, clean=16, fine_steps=2, threshold=0.0, longest=8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLCOURSE_PROCESSES", raising=False)
    return tmp_path / "cache" / "claims"


def test_the_web_knows_which_of_its_texts_are_true() -> None:
    web = bootstrap.web(0, CAP)
    assert web.rows.shape[0] == len(web.texts) == len(web.scenes) == 32
    for text, scene, true in zip(web.texts, web.scenes, web.true, strict=True):
        if (said := read(text)) is not None:  # half a caption may be true and no whole sentence
            assert true == scene.is_true(said)
    assert 8 < sum(web.true) < 24


def test_captions_and_scores_are_those_of_the_jobs() -> None:
    world = WebWorld("train", 32, objects=(1, 2), seed=0, rate=CAP.rate)
    pictures = [sample["image"] for sample in world.__getitems__(range(4))]
    web, model = bootstrap.web(0, CAP), arms.build(TINY, arms.Arm(), 0).eval()
    model.image = arms.tower()
    texts = list(web.texts[:4])
    scores = BLIPJudge(model, med.toy()).score(pictures, texts).tolist()
    writer = BLIPCaptioner(model, med.toy())
    writer.options = replace(writer.options, max_new_tokens=8)
    written = writer.caption(pictures, [0, 1, 2, 3])
    four = replace_rows(web, 4)
    assert bootstrap.scored(model, four, texts) == pytest.approx(scores, abs=2e-3)
    assert bootstrap.captioned(model, four, 0, 8, 0) == written
    beams = bootstrap.captioned(model, four, 0, 8, 3)
    assert len(beams) == 4 and beams != written


def replace_rows(web: bootstrap.Web, n: int) -> bootstrap.Web:
    """The first pictures of a web."""
    return bootstrap.Web(web.rows[:n], web.scenes[:n], web.texts[:n], web.true[:n])


def table_of(texts: list[str], scores: list[float]) -> dict[str, list[Any]]:
    return {"text": texts, "true": [True] * len(texts), "score": scores}


def test_each_way_has_the_texts_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    web = bootstrap.web(0, CAP)
    judged = table_of(list(web.texts), [0.9 if i < 10 else 0.1 for i in range(32)])
    written = table_of(["", *[f"text {i}" for i in range(1, 32)]], [0.9] * 20 + [0.1] * 12)
    monkeypatch.setattr(bootstrap, "judged_web", lambda *_: judged)
    monkeypatch.setattr(bootstrap, "written", lambda *_: written)
    half = replace(CAP, threshold=0.5)
    data = {way: bootstrap.dataset(way, 0, half) for way in bootstrap.WAYS}
    sizes = {way: len(pairs) for way, pairs in data.items()}
    both = 10 + 19  # the empty text is never a pair
    assert sizes == {
        "web": 32, "filter": 10, "captioner": 32 + 31, "both": both, "beam": both, "shared": both,
    }  # fmt: skip
    assert list(data["both"].pictures) == [*range(10), *range(1, 20)]
    assert data["both"].texts[10] == "text 1" and data["filter"].texts == list(web.texts[:10])


def test_the_ways_share_what_they_can_and_each_model_is_read_again(own_cache: Path) -> None:
    ways = ("web", "both", "shared")
    found = bootstrap.all_arms((0,), CAP, ways)
    assert {way: len(each) for way, each in found.items()} == dict.fromkeys(ways, 1)
    assert set(tables.NAMES) <= set(found["both"][0])
    assert found["web"][0]["pairs"] == 32 and found["both"][0]["pairs"] > 32
    assert len(list(own_cache.glob("capfilt-captions-*.json"))) == 2  # apart, and shared
    assert len(list(own_cache.glob("capfilt-web-texts-*.json"))) == 2
    before = sorted(path.name for path in own_cache.iterdir())
    # Sizes of tests and rates to choose from change no model, and no caption.
    other = replace(CAP, arm=replace(TINY, rates=(1.0,), scenes=10))
    again = bootstrap.all_arms((0,), other, ("both",))["both"][0]
    assert again["recall"] == found["both"][0]["recall"]
    new = {path.name for path in own_cache.iterdir()} - set(before)
    assert len([name for name in new if name.endswith(".json")]) == 1  # the arm's numbers
    kept = filtering(bootstrap.written("both", 0, CAP), CAP.threshold)
    assert kept["dropped"] == 0 and 0 < kept["distinct"] <= 1


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"beams": 5}, ("web", "filter", "captioner", "both", "shared")),
        ({"longest": 9}, ("web", "filter")),
        ({"fine_steps": 3}, ("web",)),
        ({"threshold": 0.7}, ("web",)),
        ({"rate": 0.5}, ()),
    ],
)
def test_a_way_is_made_anew_only_where_it_would_differ(
    change: dict[str, Any], same: tuple[str, ...]
) -> None:
    other = replace(CAP, **change)
    kept = {
        way for way in bootstrap.WAYS if bootstrap.key(way, 0, CAP) == bootstrap.key(way, 0, other)
    }
    assert kept == set(same)


def test_the_rate_is_tuned_on_the_noisy_web(monkeypatch: pytest.MonkeyPatch) -> None:
    tuning = replace(TINY, lr=0.0, rates=(1e-3, 1e-2), tuning_steps=1)
    seen = []
    monkeypatch.setattr(arms, "loss_at", lambda lr, name, arm, data, *_: seen.append(data()) or -lr)
    assert bootstrap.with_rate(replace(CAP, arm=tuning)).arm.lr == 1e-2
    assert list(seen[0].texts) == list(bootstrap.web(arms.TUNING_SEED, CAP).texts)


def test_the_experiments_compare_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def arms_of(seeds: Any, settings: Any, ways: Any) -> dict[str, Any]:
        asked.append(tuple(ways))
        return {way: made.found(0.9 if way == "both" else 0.8, 0.9) for way in ways}

    texts = {"text": ["a", "b", "b", "c"], "true": [True, True, False, False]}
    texts["score"] = [0.9, 0.2, 0.8, 0.1]
    monkeypatch.setattr(tables, "all_arms", arms_of)
    monkeypatch.setattr(tables, "judged_web", lambda *_: texts)
    monkeypatch.setattr(tables, "written", lambda *_: texts)
    half = replace(CAP, threshold=0.5)
    for name in ("capfilt", "diversity", "decouple"):
        result = getattr(tables, name)(settings=half)
        assert ledger.judge(f"blip.{name}", result).verdict is not None
        assert result.measured == pytest.approx(0.1)
    assert asked == [tables.TABLE, ("both", "beam"), ("both", "shared")]
    assert result.others["shared texts: precision"] == result.others["both texts: recall"] == 0.5


def test_the_filter_s_numbers_by_hand() -> None:
    scores = [0.9, 0.8, 0.7, 0.6, 0.4, 0.3]
    true = [True, True, False, True, True, False]
    found = filtering({"text": list("aabcde"), "true": true, "score": scores}, 0.5)
    assert found["precision"] == 3 / 4 and found["recall"] == 3 / 4
    assert found["precision at .9"] == 4 / 5  # the threshold that keeps all four
    assert found["dropped"] == pytest.approx(2 / 6) and found["true"] == pytest.approx(4 / 6)
    assert found["distinct"] == pytest.approx(5 / 6)
