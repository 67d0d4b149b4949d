"""VideoChat-Embed: videos among the words of a frozen language model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_blip2 import LLMS, WORDS, blip2, writer
from tiny_videochat import SMALL, asked, config, videochat
from torch.nn import functional as F

from vlcourse.engine.config import TrainConfig
from vlcourse.engine.optimizer import adamw
from vlcourse.generate import generate, left_pad, search
from vlcourse.generate.options import Options
from vlcourse.layers.errors import ModelError
from vlcourse.models.eva import EVAConfig
from vlcourse.models.soft_prompt import insert, insert_targets
from vlcourse.models.videochat import PRESETS, VideoChat, VideoChatConfig
from vlcourse.weights.state import digest, weights_of

EACH = ("grid", "vit", "eva", "blip")


@pytest.mark.parametrize(("name", "millions"), [("7B", 205.5), ("13B", 206.3)])
def test_the_published_ones_train_what_the_release_trains(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = VideoChatConfig.preset(name).build()
    trained = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad}
    assert round(sum(trained.values()) / 1e6, 1) == millions
    parts = {n.split(".")[0] for n in trained}
    assert parts == {"gmhra", "norm_image", "extra", "projection"} and len(PRESETS) == 2
    assert trained["extra"] == 64 * 768


@pytest.mark.parametrize("tower", EACH)
def test_at_the_start_a_video_is_what_the_tower_saw_of_each_frame(tower: str) -> None:
    """Bit by bit: the aggregators add nothing yet, and queries see the frames side by side."""
    torch.manual_seed(0)
    model, pixels = config(tower, gmhra=replace(SMALL, local=1)).build().eval(), asked()["pixels"]
    tokens, mask = model.video(pixels)
    each = [model.image_tokens(pixels[:, t]) for t in range(3)]
    assert tokens[:, :-1].equal(torch.cat(each, dim=1)) and mask.all()
    assert tokens.shape[1] == 3 * each[0].shape[1] + 1
    image = model.video(pixels[:, 0])  # an image is a video of one frame
    assert image.tokens[:, :-1].equal(each[0])
    assert image.tokens.equal(model.video(pixels[:, :1]).tokens)


@pytest.mark.parametrize("tower", EACH)
def test_the_loss_is_of_the_words_after_the_video_each_alone(tower: str) -> None:
    model, data = videochat(tower, clock="seconds"), asked()
    each = []
    for i in range(4):  # each alone, without padding, word by word
        soft = model.prompt(data["pixels"][i : i + 1], seconds=data["seconds"][i : i + 1])
        assert soft.shape == (1, 5 + 3, 16)
        ids, at = data["tokens"][i], int(data["at"][i])
        for t in range(8):
            if data["targets"][i, t] != -100:
                words = model.llm.token(ids[None, : t + 1])
                x = torch.cat([words[:, :at], soft, words[:, at:]], dim=1)
                logits = model.llm.head(model.llm.hidden(x))[0, -1]
                each.append(F.cross_entropy(logits, ids[t + 1]))
    loss = model.losses(data)["lm"]
    torch.testing.assert_close(loss, torch.stack(each).mean(), rtol=1e-4, atol=1e-5)
    assert model.counts(data)["lm"] == len(each)
    other = model.losses(data | {"pixels": data["pixels"].flip(0)})["lm"]
    assert abs(other - loss) > 1e-4


def test_rows_may_differ_in_what_stands_before_the_queries() -> None:
    words = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    vectors, soft = words[..., None].float(), torch.tensor([[7.0, 8.0]] * 2)[..., None]
    x, seen = insert(vectors, soft, torch.tensor([1, 2]), words > 0)
    assert x[..., 0].tolist() == [[0, 1, 7, 8, 2, 3], [1, 2, 7, 8, 3, 4]]
    assert seen is not None and seen.tolist() == [[False] + [True] * 5, [True] * 6]
    x, seen = insert(vectors, soft, torch.tensor([0, 3]))
    assert x[..., 0].tolist() == [[7, 8, 0, 1, 2, 3], [1, 2, 3, 7, 8, 4]] and seen is None
    targets = torch.tensor([[1, 2, 3, -100], [2, 3, 4, -100]])
    assert insert_targets(targets, 2, torch.tensor([0, 3])).tolist() == [
        [-100, -100, 1, 2, 3, -100],
        [2, 3, -100, -100, 4, -100],
    ]


@pytest.mark.parametrize("tower", EACH)
def test_videos_of_different_lengths_in_a_batch_give_what_each_gives_alone(tower: str) -> None:
    model = videochat(tower, clock="order", gmhra=replace(SMALL, local=1))
    data = asked()
    shown = torch.tensor([[True] * 3, [True, False, False], [True] * 3, [True, True, False]])
    soft = model.prompt(data["pixels"], shown=shown)
    for i, count in enumerate((3, 1, 3, 2)):
        alone = model.prompt(data["pixels"][i : i + 1, :count])
        torch.testing.assert_close(soft[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    mean = videochat(tower, frames="mean")
    together = mean.prompt(data["pixels"], shown=shown)
    alone = mean.prompt(data["pixels"][1:2, :1])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_only_a_clock_or_an_aggregator_knows_the_order_of_frames() -> None:
    pixels = asked()["pixels"]
    turned = pixels.roll(1, dims=1)
    for changes, knows in (
        ({"gmhra": replace(SMALL, layers=0)}, False),
        ({"gmhra": replace(SMALL, layers=0), "clock": "order"}, True),
        ({"gmhra": replace(SMALL, layers=0, local=1)}, True),
        ({}, True),
        ({"frames": "mean", "gmhra": replace(SMALL, layers=0), "clock": "order"}, False),
    ):
        model = videochat(**changes)
        moved = (model.prompt(pixels) - model.prompt(turned)).abs().max()
        assert (moved > 1e-3) == knows, changes


def test_a_clock_tells_seconds() -> None:
    model, data = videochat(clock="seconds"), asked()
    one = model.prompt(data["pixels"], seconds=data["seconds"])
    later = model.prompt(data["pixels"], seconds=data["seconds"] + 2)
    assert (one - later).abs().max() > 1e-3
    image = data["pixels"][:, 0]
    zero = model.prompt(image[:, None], seconds=torch.zeros(4, 1))
    assert model.prompt(image).equal(zero)
    with pytest.raises(ModelError, match="give the times of the frames"):
        model.prompt(data["pixels"])


def test_what_is_trained_in_each_stage_and_what_stays() -> None:
    for tune in (False, True):
        model, data = videochat(tune_qformer=tune, clock="seconds").train(), asked()
        still = ("image", "llm") if tune else ("image", "llm", "qformer")
        before = {part: digest(weights_of(getattr(model, part))) for part in still}
        optimizer = adamw(model, TrainConfig(steps=3, lr=1e-2))
        model.losses(data)["lm"].backward()
        for name, parameter in model.named_parameters():
            assert parameter.requires_grad != name.startswith(tuple(f"{s}." for s in still)), name
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.any() or name.endswith(".k.bias"), name
        optimizer.step()
        for part, sha in before.items():
            assert digest(weights_of(getattr(model, part))) == sha
            assert not any(module.training for module in getattr(model, part).modules())
        assert model.qformer.training == tune


@pytest.mark.parametrize("tower", ["grid", "eva"])
def test_frozen_parts_in_half_precision(tower: str) -> None:
    model, data = videochat(tower), asked()
    exact = model.losses(data)["lm"]
    model.llm.bfloat16()
    model.image.bfloat16()
    half = model.losses(data)["lm"]
    assert half.dtype == torch.float32 and abs(half - exact) < 0.3
    half.backward()
    assert model.extra.grad is not None and model.extra.grad.dtype == torch.float32
    written = generate(model, data["tokens"][:, :3], max_new_tokens=2, pixels=data["pixels"])
    assert written.shape == (4, 2)


@pytest.mark.parametrize("kind", ["uniformer", "mean"])
def test_the_other_kinds_of_aggregators(kind: Any) -> None:
    model, data = videochat("eva", gmhra=replace(SMALL, kind=kind)), asked()
    one = model.losses({name: tensor[1:2] for name, tensor in data.items()})["lm"]
    several = model.losses({name: tensor[[1, 1]] for name, tensor in data.items()})["lm"]
    torch.testing.assert_close(one, several)
    torch.manual_seed(0)
    plain = config("eva").build(), config("eva", gmhra=replace(SMALL, kind=kind)).build()
    counts = [sum(p.numel() for p in m.parameters()) for m in plain]
    assert counts[1] - counts[0] == (12 if kind == "uniformer" else 0)  # a balance of 12 channels


def test_stored_features_give_the_same() -> None:
    model, data = videochat(clock="seconds"), asked()
    features = model.image_features(data["pixels"].flatten(0, 1)).unflatten(0, (4, 3))
    stored = {k: v for k, v in data.items() if k != "pixels"} | {"features": features}
    torch.testing.assert_close(model.losses(stored)["lm"], model.losses(data)["lm"])
    deep = EVAConfig(image_size=16, patch_size=8, width=12, layers=4, heads=3, mlp_ratio=1.5)
    several = videochat("eva", image=deep, gmhra=replace(SMALL, layers=2))
    with pytest.raises(ModelError, match="features are of one: give pixels"):
        several.prompt(features=torch.zeros(1, 2, 5, 12))
    assert several.prompt(data["pixels"]).shape == (4, 8, 16)


@pytest.mark.parametrize("beams", [1, 3])
def test_prompts_of_unequal_length_in_a_batch_give_what_each_gives_alone(beams: int) -> None:
    model, data = videochat(), asked()
    prompts = [[1, 9, 12, 30], [1, 7], [1, 5, 4], [1, 6, 8, 11]]
    at = torch.tensor([2, 1, 1, 3])
    tokens, mask = left_pad(prompts, pad=3)
    options = Options(max_new_tokens=6, beams=beams, end=2)
    together = search(model, tokens, options, mask=mask, pixels=data["pixels"], at=at)
    anew = search(model, tokens, options, mask=mask, pixels=data["pixels"], at=at, use_cache=False)
    assert together.tokens.equal(anew.tokens)
    for i, prompt in enumerate(prompts):
        alone = search(
            model, torch.tensor([prompt]), options, pixels=data["pixels"][i : i + 1], at=int(at[i])
        )
        n = alone.tokens.shape[2]
        assert together.tokens[i, 0, :n].equal(alone.tokens[0, 0])
    written = generate(model, tokens[:1], max_new_tokens=3, pixels=data["pixels"][:1], at=2)
    soft = model.prompt(data["pixels"][:1])
    for t in range(3):
        words = model.llm.token(torch.cat([tokens[:1], written[:, :t]], dim=1))
        x = torch.cat([words[:, :2], soft, words[:, 2:]], dim=1)
        assert model.llm.head(model.llm.hidden(x))[:, -1].argmax(-1).equal(written[:, t])


def test_where_queries_look() -> None:
    data = asked()
    model = videochat()
    looks = model.looks(pixels=data["pixels"])
    assert looks.shape == (4, 8, 3 + 1)
    torch.testing.assert_close(looks.sum(-1), torch.ones(4, 8))
    shown = torch.tensor([[True, True, False]] * 4)
    assert not model.looks(pixels=data["pixels"], shown=shown)[..., 2].any()
    eva = videochat("eva", gmhra=replace(SMALL, layers=0))
    assert eva.looks(pixels=data["pixels"]).shape == (4, 8, 3)


def test_it_begins_from_a_blip2_of_either_stage() -> None:
    pixels = asked()["pixels"]
    for first in (blip2("grid"), writer("llama", "grid")):
        model = config().adopt(first)
        assert isinstance(model, VideoChat) and type(first).__mro__[-1] is object
        tokens = first.image_tokens(pixels[:, 0])
        assert model.image_tokens(pixels[:, 0]).equal(tokens)
        assert model.qformer.look(tokens)[-1].equal(first.qformer.look(tokens)[-1])
        assert not any(p.requires_grad for p in model.qformer.parameters())
    assert model.projection.weight.equal(first.projection.weight)  # type: ignore
    assert model.llm.token.weight.equal(first.llm.token.weight)  # type: ignore


def test_the_second_stage_begins_from_the_first() -> None:
    first, data = videochat(), asked()
    again = replace(first.config, tune_qformer=True, qformer_lr=0.1).adopt(first)
    assert again.losses(data)["lm"].equal(first.losses(data)["lm"])
    assert all(p.requires_grad for p in again.qformer.parameters())
    assert first.config.adopt(first) is first
    with pytest.raises(ModelError, match="differ in more than what is trained"):
        replace(first.config, clock="order").adopt(first)
    with pytest.raises(ModelError, match="differ in more"):
        replace(first.config, qformer=replace(first.config.qformer, queries=4)).adopt(blip2("grid"))


def test_it_learns_which_of_two_frames_came_first() -> None:
    """Two videos of the same frames in another order: their answers can only come from time."""
    shape = config(gmhra=replace(SMALL, dropout=0.0), clock="order", tune_qformer=True, spread=4)
    model = shape.build()
    trained = videochat()
    model.image, model.llm = trained.image, trained.llm
    pixels = torch.randn(2, 3, 16, 16)
    tokens = torch.tensor([[1, 5, 6, 7], [1, 5, 6, 8]])
    batch: dict[str, Any] = {
        "pixels": torch.stack([pixels, pixels.flip(0)]), "tokens": tokens,
        "at": torch.tensor([1, 1]),
        "targets": torch.tensor([[-100, -100, 7, -100], [-100, -100, 8, -100]]),
    }  # fmt: skip
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(120):
        loss = model.losses(batch)["lm"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss < 0.6 < math.log(2)  # who cannot tell them apart stays at log 2
    assert model.losses(batch | {"pixels": batch["pixels"].flip(0)})["lm"] > 0.9


def test_what_cannot_be_is_refused() -> None:
    small: Any = config()
    for change, said in (
        ({"tune_image": True}, "tower is frozen"),
        ({"llm": LLMS["seq2seq"]}, "is a decoder, no encoder"),
        ({"clock": "second"}, "did you mean 'seconds'"),
        ({"frames": "means"}, "did you mean 'mean'"),
        ({"extra_queries": -1}, "extra_queries=-1"),
        ({"gmhra": replace(SMALL, heads=3)}, "not divisible by 3 heads"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            replace(small, **change)
    with pytest.raises(ModelError, match="last blocks, and it has 2: one more is needed"):
        config("eva", gmhra=replace(SMALL, layers=2))
    model, data = videochat(), asked()
    with pytest.raises(ModelError, match="give one of the two"):
        model.prompt()
    with pytest.raises(ModelError, match="and no \\(B, T, 3, S, S\\)"):
        model.prompt(torch.zeros(3, 16, 16))
    with pytest.raises(ModelError, match="this tower's are \\(B, T, N, 64\\)"):
        model.prompt(features=torch.zeros(1, 2, 3, 5))
    with pytest.raises(ModelError, match="3 prompts for 4 images"):
        generate(model, data["tokens"][:3], max_new_tokens=1, pixels=data["pixels"])
    with pytest.raises(ModelError, match="did you mean '7B'"):
        VideoChatConfig.preset("7")
    assert WORDS == model.vocab_size
