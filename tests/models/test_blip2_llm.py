"""BLIP-2's second stage: a soft prompt for frozen language models of both kinds."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_blip2 import LLMS, QFORMER, TOWERS, WORDS, blip2, told, writer
from torch import Tensor
from torch.nn import functional as F

from vlcourse.engine.checkpoint import CheckpointError, load_weights
from vlcourse.engine.config import TrainConfig
from vlcourse.engine.optimizer import adamw
from vlcourse.generate import generate, left_pad, search
from vlcourse.generate.options import Options
from vlcourse.layers.errors import ModelError
from vlcourse.models.blip2_llm import BLIP2LLM, PRESETS, BLIP2Decoder, BLIP2LLMConfig, BLIP2Seq2Seq
from vlcourse.models.soft_prompt import insert, insert_targets, prepend
from vlcourse.models.transformers_llm import TransformersConfig
from vlcourse.weights.state import digest, trained_of, weights_of, write_weights

DECODERS, ENCODERS = ("llama", "opt", "hf-llama"), ("seq2seq", "hf-t5")
EACH = [*DECODERS, *ENCODERS]


@pytest.mark.parametrize(
    ("name", "millions", "billions"),
    [
        ("ViT-L OPT-2.7B", 103.6, 3.1), ("ViT-g OPT-2.7B", 107.1, 3.7),
        ("ViT-g OPT-6.7B", 108.3, 7.8), ("ViT-L FlanT5-XL", 103.2, 3.3),
        ("ViT-g FlanT5-XL", 106.7, 3.9), ("ViT-g FlanT5-XXL", 108.3, 12.2),
    ],
)  # fmt: skip
def test_the_published_ones_have_the_published_sizes(
    name: str, millions: float, billions: float
) -> None:
    with torch.device("meta"):
        model = BLIP2LLMConfig.preset(name).build()
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    assert round(sum(n for n, trained in counts if trained) / 1e6, 1) == millions
    assert round(sum(n for n, _ in counts) / 1e9, 1) == billions
    assert len(PRESETS) == 6


def rows(x: Tensor) -> list[list[int]]:
    return [[int(v) for v in row] for row in x[..., 0]]


def test_the_order_of_the_prompt() -> None:
    words = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    mask = words > 0
    vectors, soft = words[..., None].float(), torch.tensor([[7.0, 8.0]] * 2)[..., None]
    x, seen = insert(vectors, soft, 0, mask)
    assert rows(x) == [[0, 7, 8, 1, 2, 3], [7, 8, 1, 2, 3, 4]]
    assert seen is not None and seen.tolist() == [[False] + [True] * 5, [True] * 6]
    x, seen = insert(vectors, soft, 1, mask)
    assert rows(x) == [[0, 1, 7, 8, 2, 3], [1, 7, 8, 2, 3, 4]]
    assert rows(insert(vectors, soft, 1)[0]) == [[0, 7, 8, 1, 2, 3], [1, 7, 8, 2, 3, 4]]
    x, seen = prepend(vectors, soft, mask)
    assert rows(x) == [[7, 8, 1, 2, 3, 0], [7, 8, 1, 2, 3, 4]]
    assert seen is not None and seen.tolist() == [[True] * 5 + [False], [True] * 6]
    targets = torch.tensor([[2, 3, 4, -100]])
    assert insert_targets(targets, 2).tolist() == [[-100, -100, 2, 3, 4, -100]]
    assert insert_targets(targets, 2, 1).tolist() == [[-100, -100, 2, 3, 4, -100]]
    assert insert_targets(targets, 2, 3).tolist() == [[2, 3, -100, -100, 4, -100]]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("llm", DECODERS)
def test_the_loss_of_a_decoder_is_of_the_words_after_the_prompt(llm: str, at: int) -> None:
    model, data = writer(llm, queries_at=at).train(), told(llm)
    assert isinstance(model, BLIP2Decoder)
    each = []
    for i in range(4):  # each alone, without padding, word by word
        soft = model.prompt(data["pixels"][i : i + 1])
        ids = data["tokens"][i]
        for t in range(7):
            if data["targets"][i, t] != -100:
                words = model.llm.token(ids[None, : t + 1])
                x = torch.cat([words[:, :at], soft, words[:, at:]], dim=1)
                logits = model.llm.head(model.llm.hidden(x))[0, -1]
                each.append(F.cross_entropy(logits, ids[t + 1]))
    loss = model.losses(data)["lm"]
    torch.testing.assert_close(loss, torch.stack(each).mean(), rtol=1e-4, atol=1e-5)
    assert model.counts(data)["lm"] == len(each)


@pytest.mark.parametrize("llm", ENCODERS)
def test_the_loss_of_an_encoder_decoder_is_of_what_follows_the_prefix(llm: str) -> None:
    model, data = writer(llm).train(), told(llm)
    assert isinstance(model, BLIP2Seq2Seq)
    each = []
    for i in range(4):
        soft = model.prompt(data["pixels"][i : i + 1])
        inputs = data["inputs"][i, data["inputs_mask"][i]][None]
        states = model.llm.encode(x=torch.cat([soft, model.llm.token(inputs)], dim=1))
        logits = model.llm.head(model.llm.decode(data["tokens"][i : i + 1], states))
        learned = data["targets"][i] != -100
        each.append(
            F.cross_entropy(logits[0, learned], data["targets"][i, learned], reduction="none")
        )
    loss = model.losses(data)["lm"]
    torch.testing.assert_close(loss, torch.cat(each).mean(), rtol=1e-4, atol=1e-5)
    alone = {k: v for k, v in data.items() if not k.startswith("inputs")}
    assert model.losses(alone)["lm"] != loss  # without a prefix, from the picture alone


def test_ours_and_theirs_are_one() -> None:
    """Our LLaMA and T5, and transformers' with the same weights, give the same loss and text."""
    from vlcourse import weights

    for ours, theirs in (("llama", "hf-llama"), ("seq2seq", "hf-t5")):
        model = writer(theirs)
        own = BLIP2LLMConfig(**{**vars(model.config), "llm": LLMS[ours]}).build()
        for name in ("image", "norm_image", "qformer", "projection"):
            setattr(own, name, getattr(model, name))
        own.llm = weights.from_hf(model.llm.model)
        data = told(theirs)
        torch.testing.assert_close(
            own.losses(data)["lm"], model.losses(data)["lm"], rtol=1e-5, atol=1e-5
        )
        written = [
            generate(m, data["tokens"][:, :3], max_new_tokens=5, beams=2, pixels=data["pixels"])
            for m in (own, model)
        ]
        assert written[0].equal(written[1])


@pytest.mark.parametrize("llm", EACH)
def test_only_what_lies_between_the_frozen_ones_is_trained(llm: str, tmp_path: Path) -> None:
    model, data = writer(llm), told(llm)
    before = {part: digest(weights_of(getattr(model, part))) for part in ("image", "llm")}
    model.train()
    assert model.qformer.training
    for part in (model.image, model.llm, *copy.deepcopy(model).train().llm.modules()):
        assert not any(module.training for module in part.modules())
    optimizer = adamw(model, TrainConfig(steps=3, lr=1e-2))
    model.losses(data)["lm"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad != name.startswith(("image.", "llm.")), name
        if parameter.grad is not None and not name.endswith(".k.bias"):
            assert parameter.grad.any(), name
    optimizer.step()
    for part, sha in before.items():
        assert digest(weights_of(getattr(model, part))) == sha
    kept = trained_of(model, ["image", "llm"])
    assert {name.split(".")[0] for name in kept} == {"norm_image", "qformer", "projection"}
    frozen = {part: {"source": f"{part}-toy", "sha256": sha} for part, sha in before.items()}
    file = tmp_path / "model.safetensors"
    write_weights(file, kept, {"frozen": json.dumps(frozen)})
    other = writer(llm, seed=3)
    changed = frozen | {"llm": {"source": "x", "sha256": digest(weights_of(other.llm))}}
    with pytest.raises(CheckpointError, match="beside the frozen part llm from llm-toy"):
        load_weights(other, file, changed)
    for part in ("image", "llm"):
        getattr(other, part).load_state_dict(getattr(model, part).state_dict())
    load_weights(other, file, frozen)
    assert other.losses(data)["lm"].equal(model.losses(data)["lm"])


@pytest.mark.parametrize("llm", EACH)
def test_stored_features_and_half_precision(llm: str) -> None:
    model, data = writer(llm, "grid"), told(llm)
    features = model.image_features(data["pixels"])
    stored = {k: v for k, v in data.items() if k != "pixels"} | {"features": features}
    exact = model.losses(data)["lm"]
    assert model.losses(stored)["lm"].equal(exact)
    model.llm.bfloat16()
    half = model.losses(data)["lm"]
    assert half.dtype == torch.float32 and abs(half - exact) < 0.1
    half.backward()
    assert model.projection.weight.grad is not None
    assert model.projection.weight.grad.dtype == torch.float32
    written = generate(model, None, max_new_tokens=3, pixels=data["pixels"])
    assert written.shape == (4, 3)


@pytest.mark.parametrize("llm", EACH)
def test_nobody_sees_the_future(llm: str) -> None:
    model, data = writer(llm), told(llm)
    data["targets"] = data["tokens"].roll(-1, 1)
    for t in (2, 5):
        kept = data | {"targets": data["targets"].clone()}
        kept["targets"][:, t:] = -100  # what is learned up to t knows the tokens up to t
        other = kept | {"tokens": kept["tokens"].clone()}
        other["tokens"][:, t + 1 :] = (other["tokens"][:, t + 1 :] + 3) % WORDS
        torch.testing.assert_close(model.losses(kept)["lm"], model.losses(other)["lm"])
        other["tokens"][:, t - 1] = (other["tokens"][:, t - 1] + 3) % WORDS
        assert abs(model.losses(kept)["lm"] - model.losses(other)["lm"]) > 2e-5


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize(("llm", "at"), [(llm, 0) for llm in EACH] + [("llama", 1), ("opt", 2)])
def test_prompts_of_unequal_length_in_a_batch_give_what_each_gives_alone(
    llm: str, at: int, beams: int
) -> None:
    model, pixels = writer(llm, queries_at=at), told(llm)["pixels"]
    prompts = [[1, 9, 12, 30], [1, 7], [1, 5, 4], [1, 6, 8, 11]]
    tokens, mask = left_pad(prompts, pad=3)
    options = Options(max_new_tokens=6, beams=beams, end=2)
    together = search(model, tokens, options, mask=mask, pixels=pixels)
    anew = search(model, tokens, options, mask=mask, pixels=pixels, use_cache=False)
    assert together.tokens.equal(anew.tokens)
    for i, prompt in enumerate(prompts):
        alone = search(model, torch.tensor([prompt]), options, pixels=pixels[i : i + 1])
        n = alone.tokens.shape[2]
        assert together.tokens[i, 0, :n].equal(alone.tokens[0, 0])
        torch.testing.assert_close(together.scores[i], alone.scores[0], rtol=1e-4, atol=1e-4)
    other = search(model, tokens, options, mask=mask, pixels=pixels.flip(0))
    assert not other.scores.equal(together.scores)  # the picture matters


@pytest.mark.parametrize("llm", EACH)
def test_what_is_written_is_the_likeliest_next_word_and_nothing_else(llm: str) -> None:
    model, data = writer(llm).eval(), told(llm)
    pixels, prompt = data["pixels"], torch.tensor([[1, 9, 12]] * 4)
    written = generate(model, prompt, max_new_tokens=5, pixels=pixels)
    assert written.shape == (4, 5)
    soft = model.prompt(pixels)
    for t in range(5):
        if llm in DECODERS:
            words = torch.cat([prompt, written[:, :t]], dim=1)
            x = torch.cat([soft, model.llm.token(words)], dim=1)
            logits = model.llm.head(model.llm.hidden(x))[:, -1]
        else:
            states = model.llm.encode(x=torch.cat([soft, model.llm.token(prompt)], dim=1))
            begun = F.pad(written[:, :t], (1, 0), value=0)
            logits = model.llm.head(model.llm.decode(begun, states))[:, -1]
        assert logits.argmax(-1).equal(written[:, t])
    captions = generate(model, None, max_new_tokens=4, pixels=pixels)
    features = model.image_features(pixels)
    assert captions.equal(generate(model, None, max_new_tokens=4, features=features))


def test_it_begins_from_a_first_stage() -> None:
    first, data = blip2("grid"), told("llama")
    config = writer("llama", "grid").config
    model = config.adopt(first)
    assert isinstance(model, BLIP2LLM) and type(first) in BLIP2LLM.begins_from
    tokens = first.image_tokens(data["pixels"])
    assert model.image_tokens(data["pixels"]).equal(tokens)
    assert model.qformer.look(tokens)[-1].equal(first.qformer.look(tokens)[-1])
    assert not [n for n, _ in model.named_parameters() if "text" in n or "words" in n]
    assert not any(m.training for m in model.train().llm.modules())
    again = config.adopt(model)
    assert again is model
    with pytest.raises(ModelError, match="differ in more"):
        replace(config, qformer=replace(config.qformer, queries=4)).adopt(first)
    with pytest.raises(ModelError, match="differ in more"):
        replace(config, llm=replace(LLMS["llama"], width=32)).adopt(model)  # type: ignore[type-var]


def test_it_learns_to_tell_what_it_sees() -> None:
    model, data = writer("llama"), told("llama", n=6)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    first = model.losses(data)["lm"].item()
    for _ in range(150):
        loss = model.losses(data)["lm"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    blind = model.losses(data | {"pixels": data["pixels"].flip(0)})["lm"]
    assert loss < 0.3 * first and blind > loss + 1


def test_what_cannot_be_is_refused() -> None:
    small: Any = writer("llama").config
    for change, said in (
        ({"qformer": QFORMER}, "set qformer.text to none, not 'writes'"),
        ({"image": TOWERS["grid"]}, "have width 64, and .* is 12"),
        ({"llm": LLMS["seq2seq"], "queries_at": 1}, "an encoder reads the queries first"),
        ({"queries_at": -1}, "queries_at=-1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            replace(small, **change)
    for text, said in (("{", "no JSON"), ("{}", "model_type"), ("[1]", "model_type")):
        with pytest.raises(ModelError, match=said):
            TransformersConfig(text)
    with pytest.raises(ModelError, match="transformers makes no 'optt'"):
        TransformersConfig.of("optt").build()
    model, data = writer("llama"), told("llama")
    with pytest.raises(ModelError, match="3 prompts for 4 images"):
        generate(model, data["tokens"][:3], max_new_tokens=1, pixels=data["pixels"])
    with pytest.raises(ModelError, match="queries stand after 1 tokens"):
        generate(writer("llama", queries_at=1), None, max_new_tokens=1, pixels=data["pixels"])
    with pytest.raises(ModelError, match="did you mean 'ViT-g OPT-2.7B'"):
        BLIP2LLMConfig.preset("ViT-g OPT-2.7")


@pytest.mark.parametrize("llm", EACH)
def test_a_batch_of_one_gives_what_it_gives_in_a_larger_one(llm: str) -> None:
    model, data = writer(llm), told(llm)
    losses = [
        model.losses({name: tensor[i : i + 1] for name, tensor in data.items()})["lm"]
        for i in range(4)
    ]
    counts = (data["targets"] != -100).sum(1)
    mean = (torch.stack(losses) * counts).sum() / counts.sum()
    torch.testing.assert_close(mean, model.losses(data)["lm"], rtol=1e-4, atol=1e-5)
    said = [
        generate(model, None, pixels=pixels, max_new_tokens=4)
        for pixels in (data["pixels"], data["pixels"][1:2])
    ]
    assert said[0][1].equal(said[1][0])
