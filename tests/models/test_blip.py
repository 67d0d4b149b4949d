"""BLIP: its three losses learn, its twins and queues follow, and each trap of others is held."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from vlcourse import engine, losses
from vlcourse.engine.checkpoint import CheckpointError, load_weights
from vlcourse.engine.deferred import Deferred
from vlcourse.engine.optimizer import adamw
from vlcourse.engine.recompute import recompute_blocks
from vlcourse.generate import generate
from vlcourse.layers.errors import ModelError
from vlcourse.layers.frozen import freeze
from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.med import SHARING, MEDConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.weights.state import trained_of, used_of, weights_of, write_weights

CLS, SEP = 27, 28
TEXT = MEDConfig(
    vocab_size=31, context=12, width=12, layers=2, heads=3, image_width=12, cls=CLS, sep=SEP,
    dec=29, enc=30,
)  # fmt: skip
VIT = BLIPViTConfig(image_size=16, patch_size=8, width=12, layers=2, heads=3)
GRID = ResNetConfig(image_size=16, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1))
SMALL = BLIPConfig(embed=6, image=VIT, text=TEXT, queue=8, alpha_steps=4)
WITH_GRID = replace(SMALL, image=GRID, text=replace(TEXT, image_width=64))


def blip(config: BLIPConfig = SMALL, seed: int = 0) -> BLIP:
    torch.manual_seed(seed)
    return BLIP(config)


def batch(n: int = 4, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, CLS, (n, 7), generator=generator)
    tokens[:, 0] = CLS
    lengths = 4 + torch.arange(n) % 4
    tokens[torch.arange(n), lengths - 1] = SEP
    mask = torch.arange(7) < lengths[:, None]
    pixels = torch.randn(n, 3, 16, 16, generator=generator)
    return {"pixels": pixels, "tokens": tokens.masked_fill(~mask, 0), "mask": mask}


def step(model: BLIP, number: int, *batches: dict[str, Tensor], lr: float = 0.1) -> None:
    """One step of plain descent, as the engine makes it."""
    for each in batches:
        torch.stack(list(model.losses(each).values())).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= lr * parameter.grad
        model.zero_grad()
        model.after_step(number)


@pytest.mark.parametrize("tasks", [("itc", "itm", "lm"), ("itc",), ("itm",), ("lm",)])
@pytest.mark.parametrize("config", [SMALL, WITH_GRID], ids=["vit", "grid"])
@pytest.mark.parametrize("sharing", ["all-but-sa", "none"])
def test_the_gradient_reaches_every_parameter_that_is_trained(
    tasks: tuple[str, ...], config: BLIPConfig, sharing: Any
) -> None:
    text = replace(config.text, sharing=sharing)
    model = blip(replace(config, tasks=tasks, text=text))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # A block of a ResNet starts as its shortcut; and what scales a stem's only channel is
            # undone by the next batch norm, unless there is a bias.
            if "bn3" in name or name.startswith("image.stem.") and name.endswith(".bias"):
                parameter.add_(0.5)
    found = model.losses(batch())
    assert tuple(found) == tasks and all(loss.ndim == 0 for loss in found.values())
    sum(found.values()).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        zero = ".k.bias" in name  # equal for all positions: the softmax does not see it
        if parameter.grad is not None and not zero:
            assert parameter.grad.any(), name
        assert not (name.startswith("twin.") and parameter.requires_grad)
    if len(tasks) == 3:
        own = [p for name, p in model.named_parameters() if not name.startswith("twin.")]
        assert all(p.requires_grad for p in own)


def test_it_learns_all_three() -> None:
    # No queue: it would hold each pair again, as a negative of its own.
    model, data = blip(replace(SMALL, queue=0, momentum=0.9)), batch(8)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    torch.manual_seed(1)
    rows = []
    for number in range(1, 151):
        found = model.losses(data)
        torch.stack(list(found.values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            model.after_step(number)
        rows.append({name: loss.item() for name, loss in found.items()})
    assert rows[-1]["lm"] < 0.5 * rows[0]["lm"]
    assert rows[-1]["itm"] < 0.5 * losses.ITM_PRIOR
    model.eval()
    assert model(data["pixels"], data["tokens"], data["mask"]).argmax(1).tolist() == [*range(8)]
    logits = model.match(data["pixels"], data["tokens"], data["mask"])
    assert (logits.argmax(dim=1) == 1).all()


def test_matching_is_of_one_right_and_two_wrong_pairs() -> None:
    model, data = blip(), batch(5)
    seen: dict[str, Any] = {}

    def note(tokens: Tensor, image: Tensor, mask: Tensor, **named: Any) -> Tensor:
        seen.update(tokens=tokens, mask=mask, rows=named["rows"])
        return ground(tokens, image, mask, **named)

    ground, model.text.ground = model.text.ground, note  # type: ignore[method-assign]
    torch.manual_seed(0)
    model.losses(data)
    tokens, rows = seen["tokens"].view(3, 5, 7), seen["rows"].view(3, 5)
    own = torch.arange(5)
    assert tokens[0].equal(data["tokens"]) and rows[0].equal(own)
    assert rows[1].equal(own) and tokens[2].equal(data["tokens"])
    assert (rows[2] != own).all()
    for i in range(5):
        which = [j for j in range(5) if tokens[1, i].equal(data["tokens"][j])]
        assert len(which) == 1 and which[0] != i
        assert seen["mask"].view(3, 5, 7)[1, i].equal(data["mask"][which[0]])


def test_an_equal_caption_or_image_is_no_negative() -> None:
    """With the others equal to it, each pair has one possible negative: so they are known."""
    model = blip(replace(SMALL, tasks=("itm",)))
    data = batch(4)
    data["tokens"][1:3], data["mask"][1:3] = data["tokens"][:1], data["mask"][:1]
    data["tokens"][2, ~data["mask"][2]] = 9  # the padding may differ
    with torch.no_grad():
        torch.manual_seed(0)
        negatives = set()
        original = losses.hard_negatives

        def note(similarity: Tensor, same: Tensor) -> Tensor:
            found = original(similarity, same)
            negatives.update(found[:3].tolist())
            return found

        losses.hard_negatives = note  # type: ignore[assignment]
        try:
            for _ in range(20):
                model.losses(data)
            assert negatives == {3}
            negatives.clear()
            groups = {"groups": torch.tensor([1, 2, 7, 7])}
            for _ in range(20):
                model.losses(batch(4) | groups)
            assert negatives == {0, 1, 2, 3}
            data = batch(4) | {"groups": torch.tensor([7, 7, 7, 1])}
            negatives.clear()
            model.losses(data)
            assert negatives == {3}
        finally:
            losses.hard_negatives = original


def test_a_batch_of_one_or_of_one_caption_is_refused_in_words() -> None:
    same = batch(3)
    same["tokens"], same["mask"] = same["tokens"][:1].repeat(3, 1), same["mask"][:1].repeat(3, 1)
    for data in (batch(1), same):
        with pytest.raises(ModelError, match="a pair has no negative"):
            blip().losses(data)


def test_the_queue_takes_each_batch_of_a_step_once_and_only_in_training() -> None:
    model, first, second = blip(), batch(3, 1), batch(3, 2)
    model.train()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        anchors = [model._anchors(data, *[torch.empty(0)] * 2) for data in (first, second)]
    step(model, 1, first, second)
    for side, queue in enumerate((model.image_queue, model.text_queue)):
        expected = torch.cat([found[side] for found in anchors])
        torch.testing.assert_close(queue.rows[:6], expected)
        assert int(queue.place) == 6
    step(model, 2, first)
    assert int(model.image_queue.place) == 1  # 9 rows in a ring of 8
    model.eval()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        values = [model.losses(first)["itc"] for _ in range(2)]
        model(first["pixels"], first["tokens"], first["mask"])
    assert torch.equal(*values)
    model.train()
    step(model, 3, lr=0.0)  # nothing was held
    for name, tensor in model.state_dict().items():
        if not name.startswith("twin.") and name != "steps":
            assert torch.equal(tensor, before[name]), name


def test_a_resume_goes_on_with_queue_twins_and_ramp() -> None:
    model = blip()
    for number in range(1, 4):
        step(model, number, batch(3, number))
    other = blip(seed=5)
    other.load_state_dict(model.state_dict())
    other.train()  # the twins stay as they were loaded
    for each in (model, other):
        torch.manual_seed(0)
        step(each, 4, batch(3, 4))
    assert int(other.image_queue.place) == 4 and int(other.steps) == 4
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_twins_are_moving_averages_and_begin_as_copies_of_what_is_there_at_the_start() -> None:
    model = blip()
    assert model.twin is not None
    with torch.no_grad():
        model.image.class_token.add_(1)  # weights that came from elsewhere
    model.train()
    for name, parameter in model.twin.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name)), name
    old = {name: p.clone() for name, p in model.twin.named_parameters()}
    step(model, 1, batch())
    for name, parameter in model.twin.named_parameters():
        new = 0.995 * old[name] + 0.005 * model.get_parameter(name)
        torch.testing.assert_close(parameter, new, atol=1e-7, rtol=1e-5)
    kept = {name: p.clone() for name, p in model.twin.named_parameters()}
    model.train()
    assert all(torch.equal(p, kept[name]) for name, p in model.twin.named_parameters())
    names = {name.partition(".")[0] for name in kept}
    assert names == {"image", "image_projection", "text", "text_projection"}
    assert not any("cross" in name or "writer" in name for name in kept)


def test_a_resnets_twin_has_statistics_of_its_own_and_a_frozen_ones_is_still() -> None:
    model = blip(WITH_GRID).train()
    assert model.twin is not None
    statistics = model.twin.get_buffer("image.blocks.0.bn1.running_mean")
    before = statistics.clone()
    model.losses(batch())
    assert not torch.equal(statistics, before)
    model.eval()
    before = statistics.clone()
    model.losses(batch())
    assert torch.equal(statistics, before)
    freeze(model.image)
    model.train()
    model.losses(batch())
    assert torch.equal(statistics, before) and model.twin.get_submodule("text").training


def test_the_ramp_of_alpha() -> None:
    model = blip(replace(SMALL, alpha=0.4, alpha_steps=4))
    values = []
    for number in range(1, 7):
        values.append(model.alpha())
        model.after_step(number)
    assert values == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert blip(replace(SMALL, alpha_steps=0)).alpha() == 0.4


@pytest.mark.parametrize("value, kept", [(-3.0, 0.001), (9.0, 0.5), (0.07, 0.07)])
@torch.no_grad()
def test_the_temperature_stays_within_its_bounds(value: float, kept: float) -> None:
    model = blip()
    model.temperature.fill_(value)
    model.after_step(1)
    assert float(model.temperature) == pytest.approx(kept)


def test_the_temperature_may_learn_more_slowly() -> None:
    model = blip(replace(SMALL, temperature_lr=0.1))
    groups = adamw(model, engine.TrainConfig(steps=1, batch_size=2)).param_groups
    slow = [p for group in groups if group["factor"] == 0.1 for p in group["params"]]
    assert len(slow) == 1 and slow[0] is model.temperature


def test_pairs_of_one_image_are_positives_in_the_batch_and_in_the_queue() -> None:
    model = blip(replace(SMALL, tasks=("itc",), alpha=0.0))
    groups = torch.tensor([4, 5, 4, 6])
    step(model, 1, batch(4, 1) | {"groups": groups}, lr=0.0)
    assert model.image_queue.ids.tolist() == [4, 5, 4, 6, -1, -1, -1, -1]
    data = batch(4, 2)
    found = model.losses(data | {"groups": groups})["itc"]
    anchors = model._anchors(data, *[torch.empty(0)] * 2)
    total = torch.zeros(())
    for own, side in ((model.encode_image(data["pixels"]), 1), (None, 0)):
        own = model.encode_text(data["tokens"], data["mask"]) if own is None else own
        columns = torch.cat([anchors[side], (model.image_queue, model.text_queue)[side].rows])
        log_p = losses.similarity(own, columns, 1 / 0.07).log_softmax(dim=1)
        right = [[0, 2, 4, 6], [1, 5], [0, 2, 4, 6], [3, 7]]
        total = total - torch.stack([log_p[i, right[i]].mean() for i in range(4)]).mean() / 2
    torch.testing.assert_close(found, total)


def test_the_lm_loss_leaves_the_prompt_out_and_never_sees_the_future() -> None:
    model, data = blip(replace(SMALL, tasks=("lm",))), batch()
    hidden = model.text.decode(data["tokens"], model.image_tokens(data["pixels"]))
    total, count = 0.0, 0
    log_p = model.text.lm_logits(hidden).log_softmax(dim=-1)
    for row in range(4):
        for t in range(int(data["mask"][row].sum()) - 1):
            each = log_p[row, t]
            total -= 0.9 * each[data["tokens"][row, t + 1]].item() + 0.1 * each.mean().item()
            count += 1
    assert model.losses(data)["lm"].item() == pytest.approx(total / count, rel=1e-5)
    assert model.counts(data)["lm"] == count
    prompted = blip(replace(SMALL, tasks=("lm",), prompt=3))
    assert prompted.counts(data)["lm"] == count - 2 * 4
    other = {**data, "tokens": data["tokens"].masked_fill(~data["mask"], 11)}
    assert torch.equal(model.losses(other)["lm"], model.losses(data)["lm"])


def test_captions_are_written_from_pixels_or_tokens() -> None:
    model, data = blip().eval(), batch(2)
    seen = model.image_tokens(data["pixels"])
    prompt = torch.tensor([[CLS, 4]] * 2)
    for beams in (1, 3):
        options: dict[str, Any] = {"max_new_tokens": 6, "beams": beams, "end": SEP}
        texts = [
            generate(model, prompt, pixels=data["pixels"], **options),
            generate(model, prompt, image_tokens=seen, **options),
            generate(model, prompt, image_tokens=seen, use_cache=False, **options),
        ]
        assert texts[0].equal(texts[1]) and texts[0].equal(texts[2])
    with pytest.raises(ModelError, match="give one of the two"):
        model.start(None, None, 3)


def test_a_trained_model_is_adopted_for_other_losses_and_sizes() -> None:
    model = blip()
    step(model, 1, batch())
    plain = replace(SMALL, momentum=0.0, tasks=("lm",), queue=0)
    captioner = plain.adopt(model)
    assert captioner.twin is None and captioner.config == plain
    assert len(weights_of(captioner)) < 0.8 * len(weights_of(model))
    data = batch()
    for each in (model, captioner):
        each.eval()
    assert torch.equal(
        captioner.match(data["pixels"], data["tokens"]), model.match(data["pixels"], data["tokens"])
    )
    larger = replace(SMALL, image=replace(VIT, image_size=24)).adopt(model)
    assert larger.encode_image(torch.randn(2, 3, 24, 24)).shape == (2, 6)
    assert int(larger.steps) == 0 and larger.twin is not None
    longer = replace(SMALL, alpha=0.2).adopt(model)
    assert int(longer.steps) == 1 and longer.image_queue.rows.equal(model.image_queue.rows)
    with pytest.raises(ModelError, match="differ in more"):
        replace(SMALL, embed=7).adopt(model)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="tokens have width 64, and text.image_width is 12"):
        replace(SMALL, image=GRID)
    with pytest.raises(ModelError, match="'itn'; did you mean 'itm'"):
        replace(SMALL, tasks=("itn",))


@pytest.mark.parametrize("sharing, millions", [*zip(SHARING, (252, 224, 252, 361), strict=True)])
def test_the_counts_of_table_3(sharing: Any, millions: int) -> None:
    """Li et al. 2022, table 3, with the LM head's dense layer and the three small heads."""
    with torch.device("meta"):
        model = BLIP(BLIPConfig(text=replace(MEDConfig(), sharing=sharing), momentum=0.0))
    assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - millions) < 1


@pytest.mark.parametrize("config", [SMALL, WITH_GRID], ids=["vit", "grid"])
def test_a_start_without_memory_is_the_plain_one(config: BLIPConfig) -> None:
    config = replace(config, queue=12_000, embed=16)  # 192,000 numbers: made later
    torch.manual_seed(5)
    plain = BLIP(config)
    torch.manual_seed(5)
    with Deferred() as deferred:
        model = BLIP(config)
    made = {name: deferred.make(noted) for name, noted in deferred.tensors(model).items()}
    named: list[tuple[str, Tensor]] = [*plain.named_parameters(remove_duplicate=False)]
    named += plain.named_buffers(remove_duplicate=False)
    assert made.keys() == {name for name, _ in named}
    assert all(torch.equal(made[name], tensor) for name, tensor in named)


@pytest.mark.parametrize("config", [SMALL, WITH_GRID], ids=["vit", "grid"])
def test_blocks_that_are_computed_twice_give_the_same_gradients(config: BLIPConfig) -> None:
    found: list[dict[str, Any]] = []
    for recompute in (False, True):
        model = blip(config)
        if recompute:
            recompute_blocks(model)
        torch.manual_seed(1)
        step(model, 1, batch())
        found.append(model.state_dict())
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name]), name


def test_half_precision_has_finite_losses_and_captions() -> None:
    model, data = blip(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        values = model.losses(data)
    plain = blip().losses(data)
    for name in ("itc", "lm"):
        assert values[name].item() == pytest.approx(plain[name].item(), rel=0.05)
    model.after_step(1)
    assert model.image_queue.rows.dtype == torch.float32
    half = data["pixels"].bfloat16()
    assert generate(model.bfloat16(), None, pixels=half, max_new_tokens=3, beams=2).shape == (4, 3)


class Pairs:
    """Pairs of noise and texts."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"id": str(i), **{name: rows[0] for name, rows in batch(1, i).items()}}


def collate(samples: list[dict[str, Any]], generator: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {"ids": [sample["id"] for sample in samples]}
    for name in ("pixels", "tokens", "mask"):
        found[name] = torch.stack([sample[name] for sample in samples])
    return found


def test_the_engine_trains_and_resumes_it(tmp_path: Path) -> None:
    train = engine.TrainConfig(steps=4, batch_size=4, accumulate=2, lr=1e-3, warmup=1)
    run = engine.RunConfig(eval_every=1)
    whole = engine.fit(blip(), Pairs(), collate, train, out=tmp_path / "whole")
    with pytest.raises(engine.Interrupted, match="step 2 of 4; saved in"):
        engine.fit(
            blip(), Pairs(), collate, train, run, evaluate=tiny.StopAt(2), out=tmp_path / "cut"
        )
    cut = engine.fit(blip(seed=9), Pairs(), collate, train, out=tmp_path / "cut")
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, cut.model.state_dict()[name]), name
    assert int(whole.model.steps) == 4 and set(whole.history[0]) >= {"itc", "itm", "lm"}
    place = whole.model.image_queue.place
    assert int(place) == 4 * 2 * 4 % 8


def test_a_file_without_what_only_training_needs_is_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = blip().train()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    file = tmp_path / "model.safetensors"
    used = used_of(model, trained_of(model, ()))
    assert not any(name.startswith(("twin.", "image_queue.", "steps")) for name in used)
    write_weights(file, used)
    other = blip()
    load_weights(other, file)
    for name, tensor in used.items():
        assert torch.equal(other.state_dict()[name], tensor), name
    other.train()  # the twins begin as copies of what is there
    assert other.twin is not None
    twin, text = other.twin.get_submodule("text_projection"), other.text_projection
    assert torch.equal(twin.state_dict()["weight"], text.state_dict()["weight"])
    write_weights(file, {**used, "steps": torch.tensor(3)})  # some of it is not all of it
    with pytest.raises(CheckpointError, match="missing: .*queue"):
        load_weights(blip(), file)
