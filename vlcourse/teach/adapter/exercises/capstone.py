"""The capstone of the LLaMA-Adapter lecture: what stands around each block of a frozen LLaMA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.layers.block import rms_norm
from vlcourse.layers.rotary import rotate, rotations
from vlcourse.models.adapter_v2 import AdapterV2, AdapterV2Config
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.teach import yours
from vlcourse.teach.adapter.exercises import bias_scale as tuned
from vlcourse.teach.adapter.exercises import capstone_answers as answers
from vlcourse.teach.adapter.exercises import gated
from vlcourse.teach.checking import Exercise, Right, Wrong, call
from vlcourse.teach.gradients import expect_gradients
from vlcourse.teach.mistakes import expect_right


def adapter_logits(model: Any, tokens: Tensor) -> Tensor:
    """The reference, by the student's functions as far as they passed.

    Args:
        model: an :class:`~vlcourse.models.adapter_v2.AdapterV2`, which is shown no picture.
        tokens: (B, L) ids.

    Returns:
        (B, L, V) logits of the next token at each position.
    """
    gated_attention = yours.pick("adapter.gated_attention", gated.gated_attention)
    bias_scale = yours.pick("adapter.bias_scale", tuned.bias_scale)
    llm, c = model.llm, model.llm.config
    rotation = rotations(torch.arange(tokens.shape[1]), c.channels, c.theta)
    below = c.layers - len(model.layers)
    x = llm.token(tokens)  # (B, L, D)
    for i, (block, own) in enumerate(zip(llm.blocks, model.tuned, strict=True)):
        attention, mlp = block.attention, block.mlp

        def linear(part: Any, name: str, x: Tensor, own: Any = own) -> Tensor:
            around = own.linears[name]
            return bias_scale(x, getattr(part, name).weight, around.bias, around.scale)

        def heads(name: str, x: Tensor, part: Any = attention) -> Tensor:
            return rearrange(linear(part, name, x), "b l (h d) -> b h l d", h=c.heads)

        h = rms_norm(x, block.norm1.weight + own.norm1.shift, c.norm_eps)
        q, k, v = (heads(name, h) for name in "qkv")
        q, k = rotate(q, rotation), rotate(k, rotation)
        if i < below:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            layer = model.layers[i - below]
            told = layer.prompts[None]  # (1, K, D)
            y = gated_attention(q, k, v, heads("k", told), heads("v", told), layer.gate.value)
        x = x + linear(attention, "out", rearrange(y, "b h l d -> b l (h d)"))
        h = rms_norm(x, block.norm2.weight + own.norm2.shift, c.norm_eps)
        x = x + linear(mlp, "down", F.silu(linear(mlp, "gate", h)) * linear(mlp, "up", h))
    return llm.head(rms_norm(x, llm.norm_final.weight + model.norm_final.shift, c.norm_eps))


def _shape(layers: int, prompted: int) -> AdapterV2Config:
    return AdapterV2Config(
        LLaMAConfig(11, 16, layers=layers, heads=2, hidden=24, theta=500.0, norm_eps=1e-2,
                    context=16),
        image=ViTConfig(16, 8, 16, 1, 2), image_embed=8, prompts=3, layers=prompted, queries=3,
        early=1, visual_width=8, visual_layers=1, visual_heads=2,
    )  # fmt: skip


def _random_model(config: AdapterV2Config) -> AdapterV2:
    """One whose every parameter matters: no gate is closed, no bias 0, no scale 1."""
    model = AdapterV2(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            one = name.endswith("scale") or ("norm" in name and name.endswith("weight"))
            parameter.normal_(1.0 if one else 0.0, 0.4)
        for layer in model.layers:
            layer.gate.value.copy_(torch.tensor([0.9, -1.4]))
    return model.eval()


def _check(candidate: Callable[..., Any]) -> None:
    for layers, prompted in ((3, 2), (2, 1)):
        model = _random_model(_shape(layers, prompted))
        tokens = torch.randint(11, (2, 6))

        def run(function: Callable[..., Any], given: Any = (model, tokens)) -> Tensor:
            return call(function, *given)

        said = f"the logits ({layers} blocks, prompts in the last {prompted})"
        hint = "Compare each line with the table of names above."
        expect_right(run, candidate, _library, answers.MISTAKES, said, hint)
    _check_gradients(candidate, model, tokens)


def _check_gradients(candidate: Callable[..., Any], model: Any, tokens: Tensor) -> None:
    """What learns without a picture, and whether it learns what is right."""
    learns = {n: p for n, p in model.named_parameters() if p.requires_grad}
    named = {n: p for n, p in learns.items() if not n.startswith(("visual", "early"))}
    expect_gradients(candidate(model, tokens), model(tokens), named, "logits")


def _library(model: Any, tokens: Tensor) -> Tensor:
    return model(tokens)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="adapter.model",
        title="Your own adapter",
        minutes=15,
        difficulty=3,
        reference=adapter_logits,
        check=_check,
        hints=(
            "It is lecture 05's block. New are: bias_scale at all seven linear maps, a shift at "
            "the norms, and gated_attention in the last len(model.layers) blocks.",
            "Where i >= below: layer = model.layers[i - below], and the prompts' keys and values "
            'are heads("k", layer.prompts[None]) and heads("v", layer.prompts[None]), not turned.',
            'x = x + linear(attention, "out", rearrange(y, "b h l d -> b l (h d)")); then norm2, '
            'and x = x + linear(mlp, "down", F.silu(linear(mlp, "gate", h)) * linear(mlp, "up", '
            "h)).",
        ),
        wrong=(
            *(mistake.wrong() for mistake in answers.MISTAKES),
            Wrong("under no_grad", answers.without_gradient, "no_grad()"),
            Wrong("gates detached", answers.gates_detached, ".detach()"),
        ),
        right=(
            Right("by hand", answers.by_hand),
            Right("by the library's pieces", answers.by_pieces),
            Right("the library's own", _library),
        ),
    ),
)


def _losses(function: Callable[..., Tensor], model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return _instruct(function(model, batch["tokens"]), batch)


def _library_losses(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return _instruct(model(batch["tokens"]), batch)


def _instruct(logits: Tensor, batch: dict[str, Any]) -> dict[str, Any]:
    return {"instruct": losses.lm(logits, nn.Identity(), batch["targets"])}


CAPSTONE = yours.Capstone(
    recipe="adapter-capstone",
    exercise="adapter.model",
    uses=("adapter.gated_attention", "adapter.bias_scale"),
    losses=_losses,
    library=_library_losses,
)
