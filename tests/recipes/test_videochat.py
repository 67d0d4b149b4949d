"""VideoChat's runs: the toy one at a tiny size, and the numbers of the paper's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_videochat import SMALL

from vlcourse.data.world.film import write_mp4
from vlcourse.data.world.timeline import Timeline
from vlcourse.engine.config import TrainConfig
from vlcourse.evals import filmed
from vlcourse.evals.video import film_questions
from vlcourse.layers.ranges import RangeError
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.videochat import VideoChat, VideoChatConfig
from vlcourse.recipes import RECIPES, features, train_recipe
from vlcourse.recipes.blip2 import TOY_QFORMER
from vlcourse.recipes.llama import TOY_WORDS
from vlcourse.recipes.recipe import Recipe
from vlcourse.recipes.videochat_data import ChatFiles, FilmData

TINY = VideoChatConfig(
    image=ResNetConfig(
        image_size=32, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1)
    ),
    image_embed=8, gmhra=SMALL, extra_queries=3, extra_std=0.02, spread=2, queries_at=1,
    qformer=replace(
        TOY_QFORMER, queries=2, width=16, layers=2, heads=2, image_width=64, text="none"
    ),
    llm=LLaMAConfig(TOY_WORDS, 16, 1, 2, hidden=16, context=512), tune_qformer=True, clock="order",
)  # fmt: skip
RECIPE = Recipe(
    "videochat-toy", "tiny", TINY, FilmData(n_train=6, frames=3, asked=3, pictures=30),
    TrainConfig(steps=3, batch_size=4, warmup=0),
)  # fmt: skip


def test_a_run_from_stored_features_of_frames_is_the_run_from_films(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FilmData, "measure", lambda *_: lambda model: {})
    seen = train_recipe(RECIPE, save=False).model.state_dict()
    cached = replace(RECIPE, run=replace(RECIPE.run, features=str(tmp_path / "f")))
    once = train_recipe(cached, save=False).model.state_dict()
    monkeypatch.setattr(features, "_compute", None)  # nothing is computed again
    again = train_recipe(cached, save=False).model.state_dict()
    for name, tensor in seen.items():
        torch.testing.assert_close(once[name], tensor, rtol=1e-3, atol=1e-4)
        assert torch.equal(again[name], once[name])
    torch.manual_seed(0)
    begun = TINY.build().state_dict()
    assert not torch.equal(seen["extra"], begun["extra"])
    assert torch.equal(seen["llm.token.weight"], begun["llm.token.weight"])


def test_questions_about_films_are_answered_and_marked() -> None:
    torch.manual_seed(0)
    model, collate = TINY.build(), RECIPE.collate(train=False)
    asked = film_questions("heldout", 2, ("direction", "image"))
    said = filmed.answers(model, collate, asked, count=3, batch_size=3)
    assert len(said) == 4
    alone = filmed.answers(model, collate, asked[2:3], count=3)
    assert alone == said[2:3]  # the others of its batch change nothing
    for shown in ("middle", "nothing"):
        assert len(filmed.answers(model, collate, asked, shown=shown)) == 4  # type: ignore[arg-type]
    found = filmed.seen(model, collate, per_kind=1, count=2, kinds=("direction", "image"))
    assert set(found) == {"direction", "image", "direction middle", "image middle"}
    with pytest.raises(TypeError, match="needs a VideoChat, not a Linear"):
        filmed.as_videochat(torch.nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("name", "batch", "steps", "lr", "frames", "trained"),
    [
        ("videochat-7b-stage1", 1024, 24_414, 1e-4, 4, 205.5),
        ("videochat-7b-stage2", 32, 1719, 2e-5, 8, 205.5),
        ("videochat-13b-stage1", 512, 48_828, 1e-4, 4, 206.3),
        ("videochat-13b-stage2", 32, 1719, 2e-5, 8, 206.3),
    ],
)
def test_the_papers_stages(
    name: str, batch: int, steps: int, lr: float, frames: int, trained: float
) -> None:
    recipe = RECIPES[name]
    train, data = recipe.train, recipe.data
    assert (train.batch_size, train.steps, train.lr) == (batch, steps, lr)
    assert (train.weight_decay, train.beta2, train.clip_norm) == (0.02, 0.999, 0.0)
    second = name.endswith("2")
    assert isinstance(data, ChatFiles) and data.frames == frames and data.times == second
    epoch = steps / (3 if second else 1)
    assert train.warmup == pytest.approx((0.6 if second else 0.2) * epoch, abs=1)
    assert train.min_lr == (0.25 if second else 0.01)
    frozen = {part.module for part in recipe.parts if part.frozen}
    assert frozen == {"image", "qformer", "llm"}
    begins = [part.source for part in recipe.parts if not part.module]
    assert begins == ([name.replace("stage2", "stage1")] if second else [])
    with torch.device("meta"):
        model = recipe.build_model()
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert round(count / 1e6, 1) == trained


def test_a_run_on_files_of_the_releases_form(tmp_path: Path) -> None:
    write_mp4(Timeline.sample(5, seconds=(6, 6)), tmp_path / "v.mp4", fps=2, size=32)
    record = {"video": "v.mp4", "QA": [{"q": "what is there?", "a": "a ring"}]}
    (tmp_path / "chat.json").write_text(json.dumps([record] * 6))
    data = ChatFiles((str(tmp_path / "chat.json"),), frames=2, tokenizer="toy", template="toy")
    result = train_recipe(replace(RECIPE, data=data), save=False)
    assert isinstance(result.model, VideoChat) and result.metrics["test_lm"] > 0
    for change, said in (
        ({"frames": 0}, "frames=0"),
        ({"template": "videochats"}, "Did you mean 'videochat'"),
    ):
        with pytest.raises((RangeError, ValueError), match=said):
            replace(data, **change)  # type: ignore[arg-type]


def test_the_toy_stages_begin_from_what_ships() -> None:
    first, second = (RECIPES[name] for name in ("videochat-toy-stage1", "videochat-toy"))
    frozen = [("image", "clip-toy-grid", True), ("llm", "llm-time", True)]
    for recipe, begins in ((first, "blip2-toy-llm"), (second, "videochat-toy-stage1")):
        parts = [(p.module, p.source, p.frozen) for p in recipe.parts]
        assert parts == [("", begins, False), *frozen]
    recipe: Any = second
    assert recipe.model == first.model and recipe.model.llm == RECIPES["llm-time"].model
    blip2: Any = RECIPES["blip2-toy"].model
    assert recipe.model.qformer == replace(blip2.qformer, text="none")
    assert recipe.model.image == blip2.image
    aligned: Any = first.data
    assert (aligned.described, aligned.pictures) == (100, 15)  # no question in the first stage
    assert recipe.data.described < 50 and recipe.data.pictures == 0


def test_what_the_toy_trains_and_that_its_baseline_has_as_much() -> None:
    recipe: Any = RECIPES["videochat-toy"]
    with torch.device("meta"):
        model = recipe.build_model()
    trained = {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {"norm_image", "qformer", "projection", "gmhra", "clock", "extra"}
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count < 4_000_000  # 16 MB as float32, before anything is said of what ships
    mean = replace(recipe.model, gmhra=replace(recipe.model.gmhra, kind="mean"))
    with torch.device("meta"):
        other = mean.build()
    assert count == sum(p.numel() for p in other.parameters() if p.requires_grad)
