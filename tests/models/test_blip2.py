"""BLIP-2's first stage: its losses learn, its tower stays, and each trap of others is held."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_blip2 import CLS, DEC, SEP, TOWERS, batch, blip2, config
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.engine.checkpoint import CheckpointError, load_weights
from vlcourse.engine.config import TrainConfig
from vlcourse.engine.optimizer import adamw
from vlcourse.generate import generate
from vlcourse.layers.errors import ModelError
from vlcourse.layers.frozen import freeze, thaw
from vlcourse.layers.positions import sine_grid
from vlcourse.models import blip2 as blip2_module
from vlcourse.models.blip2 import PRESETS, BLIP2Config
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.weights.state import digest, trained_of, weights_of, write_weights

EVERY = [("itc", "itm", "itg"), ("itc",), ("itm",), ("itg",), ("itm", "itg"), ("itc", "itm")]


@pytest.mark.parametrize(("name", "millions"), [("ViT-L/14", 183.2), ("ViT-g/14", 186.7)])
def test_the_published_ones_have_the_published_sizes(name: str, millions: float) -> None:
    """The paper's table 1 has 188 M for both; those are what the official code trains."""
    with torch.device("meta"):
        model = BLIP2Config.preset(name).build()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert round(trained / 1e6, 1) == millions
    assert model.config == PRESETS[name]
    with pytest.raises(ModelError, match="did you mean 'ViT-g/14'"):
        BLIP2Config.preset("ViT-G/14")


@pytest.mark.parametrize("tasks", EVERY, ids="+".join)
@pytest.mark.parametrize("tower", ["vit", "grid"])
def test_the_gradient_reaches_every_parameter_that_is_trained(
    tasks: tuple[str, ...], tower: str
) -> None:
    model = blip2(tower, tasks=tasks).train()
    found = model.losses(batch())
    assert tuple(found) == tasks and all(loss.ndim == 0 for loss in found.values())
    sum(found.values()).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if parameter.grad is not None and ".k.bias" not in name:  # the softmax does not see it
            assert parameter.grad.any(), name
        assert not (name.startswith("image.") and parameter.requires_grad)
    if len(tasks) == 3:
        own = [p for name, p in model.named_parameters() if not name.startswith("image.")]
        assert all(p.requires_grad for p in own)


@pytest.mark.parametrize("tower", TOWERS)
def test_a_frozen_tower_stays_and_its_features_can_be_stored(tower: str) -> None:
    model, data = blip2(tower), batch()
    before = digest(weights_of(model.image))
    model.train()
    assert not any(part.training for part in model.image.modules()) and model.qformer.training
    optimizer = adamw(model, TrainConfig(steps=3, lr=1e-2))
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in model.image.parameters()}
    features = model.image_features(data["pixels"])
    assert not features.requires_grad and features.ndim == 3
    torch.manual_seed(1)
    found = model.losses(data)
    torch.manual_seed(1)
    stored = model.losses({**data, "pixels": None, "features": features.half().float()})
    torch.manual_seed(1)
    exact = model.losses({k: v for k, v in data.items() if k != "pixels"} | {"features": features})
    for name, loss in found.items():
        assert loss.equal(exact[name]) and abs(loss - stored[name]) < 0.05
    torch.stack(list(found.values())).sum().backward()
    optimizer.step()
    assert digest(weights_of(model.image)) == before
    assert not any(part.training for part in copy.deepcopy(model).train().image.modules())


def test_the_tokens_of_each_tower() -> None:
    pixels = batch()["pixels"]
    vit = blip2("vit")
    torch.testing.assert_close(vit.image_features(pixels), vit.image.states(pixels)[-2])
    eva = blip2("eva")
    torch.testing.assert_close(eva.image_features(pixels), eva.image.states(pixels)[-1])
    biases = {n.rpartition("attention.")[2] for n, _ in eva.image.named_parameters() if "att" in n}
    assert biases == {f"{p}.weight" for p in ("q", "k", "v", "out")} | {
        "q.bias",
        "v.bias",
        "out.bias",
    }
    assert not [n for n, _ in eva.image.named_parameters() if "norm_final" in n]
    grid = blip2("grid")
    seen = grid.image_tokens(pixels)
    cells = grid.image(pixels)[1]["tokens"]
    torch.testing.assert_close(seen, F.layer_norm(cells, (64,)) + sine_grid(2, 64))
    assert 0.5 < sine_grid(4, 512).square().mean().sqrt() < 1


def test_half_precision_and_unfreezing() -> None:
    """A tower in half precision gives nearly the same; unfrozen, it is in float32 again."""
    data = batch()
    model = blip2("eva")
    with torch.no_grad():
        exact = model.image_features(data["pixels"])
        model.image.bfloat16()
        half = model.image_features(data["pixels"])
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, exact, atol=0.05, rtol=0.05)
    assert all(loss.isfinite() for loss in model.losses(data).values())
    thaw(model.image)
    model.train()
    assert model.image.training and model.image.patch.weight.dtype == torch.float32
    tuned = blip2("eva", tune_image=True).train()
    assert all(p.requires_grad for p in tuned.image.parameters()) and tuned.image.training
    torch.stack(list(tuned.losses(data).values())).sum().backward()
    assert all(p.grad is not None for p in tuned.image.parameters())


def test_contrast_is_by_the_query_that_fits_best() -> None:
    model, data = blip2(), batch()
    image = F.normalize(model.encode_image(data["pixels"]), dim=-1)
    text = F.normalize(model.encode_text(data["tokens"], data["mask"]), dim=-1)
    assert image.shape == (4, 5, 6) and text.shape == (4, 6)
    scores = torch.tensor([[max((q @ t).item() for q in qs) for t in text] for qs in image])
    torch.testing.assert_close(model(data["pixels"], data["tokens"], data["mask"]), scores / 0.07)
    target = torch.arange(4)
    expected = (
        F.cross_entropy(scores / 0.07, target, label_smoothing=0.1)
        + F.cross_entropy(scores.T / 0.07, target, label_smoothing=0.1)
    ) / 2
    torch.testing.assert_close(model.losses(data)["itc"], expected)


def test_pairs_of_one_group_are_all_right() -> None:
    model, data = blip2(tasks=("itc",)), batch()
    data["groups"] = torch.tensor([5, 1, 5, 2])
    logits = model(data["pixels"], data["tokens"], data["mask"])
    labels = torch.tensor([[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]])
    targets = 0.9 * labels + 0.1 / 4
    expected = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
    torch.testing.assert_close(model.losses(data)["itc"], expected)


def test_matching_is_of_one_right_and_two_wrong_pairs_and_a_mean_over_queries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, data = blip2(tasks=("itm",)), batch(5)
    seen: dict[str, Any] = {}

    def note(image: Tensor, tokens: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        seen.update(tokens=tokens, rows=rows, states=ground(image, tokens, mask, rows=rows))
        return seen["states"]

    ground = model.qformer.ground
    monkeypatch.setattr(model.qformer, "ground", note)
    loss = model.losses(data)["itm"]
    tokens, rows = seen["tokens"].view(3, 5, 7), seen["rows"].view(3, 5)
    own = torch.arange(5)
    assert tokens[0].equal(data["tokens"]) and rows[0].equal(own) and rows[1].equal(own)
    assert tokens[2].equal(data["tokens"]) and (rows[2] != own).all()
    assert (tokens[1] != data["tokens"]).any(1).all() and (tokens[:, :, 0] == CLS).all()
    logits = torch.stack([model.itm_head(q) for q in seen["states"].unbind(1)]).mean(0)
    torch.testing.assert_close(loss, F.cross_entropy(logits, (torch.arange(15) < 5).long()))


def test_a_true_pair_is_no_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the others equal to it, each pair has one possible negative: so they are known."""
    model, data = blip2(tasks=("itm",)), batch(4)
    data["tokens"][1:3], data["mask"][1:3] = data["tokens"][:1], data["mask"][:1]
    data["tokens"][2, ~data["mask"][2]] = 9  # the padding may differ
    negatives: set[int] = set()
    original = losses.hard_negatives

    def note(similarity: Tensor, same: Tensor) -> Tensor:
        found = original(similarity, same)
        negatives.update(found[:3].tolist())
        return found

    monkeypatch.setattr(losses, "hard_negatives", note)
    for _ in range(10):
        model.losses(data)
    assert negatives == {3}
    negatives.clear()
    model.losses({**batch(4), "groups": torch.tensor([7, 7, 7, 2])})
    assert negatives == {3}
    with pytest.raises(ModelError, match="a pair has no negative"):
        model.losses(batch(1))


def test_writing_begins_with_dec_and_does_not_see_the_future() -> None:
    model, data = blip2(), batch()
    tokens, mask = data["tokens"], data["mask"]
    looked = model.qformer.look(model.image_tokens(data["pixels"]))[:-1]
    logits = model.qformer.head(model.qformer.decode(tokens, looked))
    written = torch.cat([torch.full_like(tokens[:, :1], DEC), tokens[:, 1:]], dim=1)
    each = [
        F.cross_entropy(logits[i, t - 1], written[i, t], label_smoothing=0.1)
        for i, t in mask.nonzero().tolist()
        if t > 0
    ]
    torch.testing.assert_close(model.losses(data)["itg"], torch.stack(each).mean())
    assert model.counts(data)["itg"] == len(each)
    for t in range(1, 7):
        other = tokens.clone()
        other[:, t] = (tokens[:, t] + 3) % 27
        moved = model.qformer.head(model.qformer.decode(other, looked)) - logits
        assert moved[:, :t].abs().max() < 1e-5 < moved[:, t:].abs().max()


def test_it_learns_all_three_and_no_more_than_there_is() -> None:
    model, data = blip2(), batch(8)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    torch.manual_seed(1)
    rows = []
    for number in range(1, 251):  # ITM stays at its prior for 100 and more
        found = model.losses(data)
        torch.stack(list(found.values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        model.after_step(number)
        rows.append({name: loss.item() for name, loss in found.items()})
    assert rows[-1]["itg"] < 0.6 * rows[0]["itg"] and rows[-1]["itm"] < 0.5 * losses.ITM_PRIOR
    model.eval()
    with torch.no_grad():
        scores = model(data["pixels"], data["tokens"], data["mask"])
        assert scores.argmax(1).tolist() == [*range(8)]
        logits = model.match(data["pixels"], data["tokens"], data["mask"])
        assert (logits.argmax(dim=1) == 1).all()
        fresh = [model.losses(batch(8, seed))["itg"].item() for seed in range(5, 9)]
    assert min(fresh) > math.log(27)  # nobody can foresee random words
    written = generate(model, None, pixels=data["pixels"], max_new_tokens=6, end=SEP)
    right = [
        row.tolist()[: n - 1] == text.tolist()[1:n]
        for row, text, n in zip(written, data["tokens"], data["mask"].sum(1), strict=True)
    ]
    assert sum(right) >= 6


def test_matching_and_writing_take_tokens_of_images_that_were_looked_at_before() -> None:
    model, data = blip2("grid"), batch()
    with torch.no_grad():
        seen = model.image_tokens(data["pixels"])
        rows = torch.tensor([1, 1, 0, 2])
        logits = model.match(None, data["tokens"], data["mask"], seen, rows=rows)
        again = model.match(data["pixels"][rows], data["tokens"], data["mask"])
        torch.testing.assert_close(logits, again, rtol=1e-5, atol=1e-5)
    written = generate(model, None, max_new_tokens=4, image_tokens=seen, beams=2)
    assert written.equal(generate(model, None, max_new_tokens=4, pixels=data["pixels"], beams=2))
    for wrong in (
        lambda: model.match(None, data["tokens"]),
        lambda: model.image_tokens(),
        lambda: model.image_tokens(features=torch.zeros(4, 4, 63)),
        lambda: model.losses({**data, "features": seen}),
    ):
        with pytest.raises(ModelError, match="one of the two|this tower's are"):
            wrong()


def test_a_checkpoint_has_what_was_trained_and_names_what_was_not(tmp_path: Path) -> None:
    model = blip2()
    kept = trained_of(model, ["image"])
    assert kept and not [name for name in kept if name.startswith("image.")]
    assert "qformer.head.out.weight" not in kept  # the token vectors, once
    file = tmp_path / "model.safetensors"
    frozen = {"image": {"source": "clip-toy", "sha256": digest(weights_of(model.image))}}
    write_weights(file, kept, {"frozen": json.dumps(frozen)})
    other = blip2(seed=5)
    wrong = {"image": {"source": "clip-toy", "sha256": digest(weights_of(other.image))}}
    with pytest.raises(CheckpointError, match="trained beside the frozen part image from clip-toy"):
        load_weights(other, file, wrong)
    other.image.load_state_dict(model.image.state_dict())
    load_weights(other, file, frozen)
    data = batch()
    assert other.match(**data).equal(model.match(**data))


def test_what_cannot_be_is_refused() -> None:
    small = config()
    for change, said in (
        ({"tasks": ("lm",)}, "no loss of BLIP-2's first stage 'lm'"),
        ({"qformer": replace(small.qformer, text="none")}, "whose text is 'none'"),
        ({"qformer": replace(small.qformer, text="reads")}, "whose text is 'reads'"),
        ({"qformer": replace(small.qformer, image_width=13)}, "have width 12, and .* is 13"),
        ({"image": replace(TOWERS["vit"], layers=1)}, "needs two layers"),
        ({"smoothing": 2.0}, "smoothing=2.0"), ({"prompt": 0}, "prompt=0"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            replace(small, **change)
    assert replace(small, tasks=("itc", "itm"), qformer=replace(small.qformer, text="reads"))


def test_another_config_adopts_it() -> None:
    model, data = blip2("eva"), batch()
    other = replace(model.config, tasks=("itm",), smoothing=0.0).adopt(model)
    assert other.config.tasks == ("itm",) and other.match(**data).equal(model.match(**data))
    assert model.config.adopt(model) is model
    large = replace(model.config, image=replace(model.config.image, image_size=24)).adopt(model)
    assert large.image_tokens(torch.randn(2, 3, 24, 24)).shape == (2, 10, 12)
    with pytest.raises(ModelError, match="differ in more"):
        replace(model.config, embed=7).adopt(model)
    with pytest.raises(ModelError, match="a ViT cannot take images of another size"):
        vit = blip2("vit")
        replace(vit.config, image=replace(vit.config.image, image_size=24)).adopt(vit)


def test_a_tower_comes_from_a_clip_as_it_is() -> None:
    """The names are a CLIP's, so that a recipe's part of that name fills it."""
    torch.manual_seed(0)
    tower = TOWERS["grid"]
    clip = CLIPConfig(9, tower, TextConfig(31, 12, 12, 1, 3)).build()  # type: ignore[arg-type]
    model = blip2("grid", image_embed=9)
    model.image.load_state_dict(clip.image.state_dict())
    freeze(model.image)
    pixels = batch()["pixels"]
    theirs = clip.eval().image(pixels)[1]["tokens"]
    assert model.train().image_features(pixels).equal(theirs)
    assert blip2_module.check_width(tower, model.config.qformer) is None


@pytest.mark.parametrize("tower", ["vit", "grid"])
def test_a_batch_of_one_gives_what_it_gives_in_a_larger_one(tower: str) -> None:
    model, data = blip2(tower, tasks=("itc", "itg")), batch()
    one = {name: tensor[2:3] for name, tensor in data.items()}
    assert all(loss.isfinite() and loss.ndim == 0 for loss in model.losses(one).values())
    with torch.no_grad():
        for method in (model.match, lambda **x: model(**x).diagonal()[:, None]):
            torch.testing.assert_close(method(**one), method(**data)[2:3], rtol=1e-4, atol=1e-4)
    said = [generate(model, None, pixels=x["pixels"], max_new_tokens=5) for x in (one, data)]
    assert said[0][0].equal(said[1][2])


def test_all_of_it_in_half_precision() -> None:
    model, data = blip2("eva"), batch()
    exact = model.match(**data)
    model.bfloat16()
    half = model.match(**data)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, atol=0.03, rtol=0.1)
    assert all(loss.isfinite() for loss in model.losses(data).values())
