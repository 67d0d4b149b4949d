"""The capstone of the VideoChat lecture: from the frames' tokens to what a frozen LLaMA says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.positions import WAVES
from vlcourse.models.gmhra import GMHRAConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.videochat import VideoChat, VideoChatConfig
from vlcourse.teach import yours
from vlcourse.teach.checking import Exercise, Right, Wrong, call
from vlcourse.teach.gradients import expect_gradients
from vlcourse.teach.mistakes import expect_right
from vlcourse.teach.videochat.exercises import capstone_answers as answers
from vlcourse.teach.videochat.exercises import clock, looking


def video_logits(model: Any, frames: Tensor, seconds: Tensor, tokens: Tensor) -> Tensor:
    """The reference, by the student's functions as far as they passed.

    Args:
        model: a :class:`~vlcourse.models.videochat.VideoChat` with one local and one global
            aggregator and a clock of seconds, behind a tower without class tokens.
        frames: (B, T, N, C), what the tower gives of each frame.
        seconds: (B, T) when each frame was.
        tokens: (B, L) ids; the video stands after the first of them.

    Returns:
        (B, L, V) logits of the next token at the text's places.
    """
    global_attention = yours.pick("videochat.global_attention", looking.global_attention)
    time_waves = yours.pick("videochat.time_waves", clock.time_waves)
    block = model.gmhra.blocks[0]
    shown = torch.ones(frames.shape[:2], dtype=torch.bool)

    frames = frames + model.gmhra.local[0](frames, shown)
    y = block.positions(block.norm_frames(frames), 0, shown)
    token = model.gmhra.token.expand(len(frames), 1, -1)
    token = token + global_attention(block.attention, block.norm_token(token), y, shown)
    token = token + block.mlp(block.norm_mlp(token))

    seen = model.norm_image(frames) + model.clock.out(time_waves(seconds, WAVES))[:, :, None]
    seen = torch.cat([seen.flatten(1, 2), model.norm_image.norm(token)], dim=1)
    queries = model.qformer.look(seen, None, model.extra)[-1]  # (B, Q, D)
    video = rearrange(model.projection(queries), "b q (s d) -> b (q s) d", s=model.config.spread)

    words = model.llm.token(tokens)
    x = model.llm.hidden(torch.cat([words[:, :1], video, words[:, 1:]], dim=1))
    return model.llm.head(torch.cat([x[:, :1], x[:, 1 + video.shape[1] :]], dim=1))


_SHAPE = VideoChatConfig(
    image=ResNetConfig(16, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1)),
    image_embed=6,
    qformer=QFormerConfig(queries=2, width=12, layers=2, heads=3, image_width=64, text="none"),
    llm=LLaMAConfig(11, 16, layers=2, heads=2, hidden=24, theta=500.0, context=64),
    spread=2, queries_at=1, clock="seconds", extra_queries=3, extra_std=0.5, tune_qformer=True,
    gmhra=GMHRAConfig(layers=1, heads=4, mlp_ratio=1.5, dropout=0.0, local=1),
)  # fmt: skip
_FROZEN = ("image.", "llm.")


def _random_model() -> VideoChat:
    """One whose every parameter matters: no aggregator begins as nothing."""
    model = VideoChat(_SHAPE)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            one = "norm" in name and name.endswith("weight")
            parameter.normal_(1.0 if one else 0.0, 0.4)
    return model.eval()


def _check(candidate: Callable[..., Any]) -> None:
    model = _random_model()
    places = _SHAPE.image.grid**2  # type: ignore[union-attr]
    frames = torch.randn(2, 3, places, 64)
    seconds = torch.tensor([[0.5, 1.7, 2.9], [1.0, 4.2, 9.0]])
    tokens = torch.randint(11, (2, 6))
    given = (model, frames, seconds, tokens)
    hint = "Compare each line with the figure of the whole model."
    expect_right(
        lambda f: call(f, *given), candidate, library, answers.MISTAKES, "the logits", hint
    )
    _check_gradients(candidate, given)


def _check_gradients(candidate: Callable[..., Any], given: Any) -> None:
    """Whether everything learns that is to learn, and what is right."""
    named = {n: p for n, p in given[0].named_parameters() if not n.startswith(_FROZEN)}
    expect_gradients(candidate(*given), library(*given), named, "logits", atol=2e-3)


def library(model: Any, frames: Tensor, seconds: Tensor, tokens: Tensor) -> Tensor:
    """By the library's own halves: the video's vectors, and the language model after them."""
    video = model.prompt(features=frames, seconds=seconds)
    words = model.llm.token(tokens)
    x = model.llm.hidden(torch.cat([words[:, :1], video, words[:, 1:]], dim=1))
    return model.llm.head(torch.cat([x[:, :1], x[:, 1 + video.shape[1] :]], dim=1))


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="videochat.model",
        title="Your own VideoChat",
        minutes=15,
        difficulty=3,
        reference=video_logits,
        check=_check,
        hints=(
            "Four steps: the aggregators, the time, the Q-Former with its projection, the text.",
            "token = token + global_attention(block.attention, block.norm_token(token), y, shown), "
            "y being block.positions(block.norm_frames(frames), 0, shown); then the MLP, the same "
            "way. seen = norm_image(frames) + clock.out(time_waves(seconds, WAVES))[:, :, None].",
            "seen = torch.cat([seen.flatten(1, 2), model.norm_image.norm(token)], dim=1); "
            "model.qformer.look(seen, None, model.extra)[-1]; the video stands between words[:, "
            ":1] and words[:, 1:], and its places are left out again before the head.",
        ),
        wrong=(
            *(mistake.wrong() for mistake in answers.MISTAKES),
            Wrong("all places", answers.all_places, "figure of the whole model"),
            Wrong("under no_grad", answers.without_gradient, "no_grad()"),
            Wrong("the video detached", answers.detached, ".detach()"),
        ),
        right=(
            Right("by hand", answers.by_hand),
            Right("the token first", answers.token_first),
            Right("the library's halves", library),
        ),
    ),
)


def _losses(function: Callable[..., Tensor], model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    pixels = batch["pixels"]
    frames = model.image_features(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
    logits = function(model, frames, batch["seconds"], batch["tokens"])
    return {"lm": losses.lm(logits, nn.Identity(), batch["targets"])}


def _library_losses(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return model.losses(batch)


CAPSTONE = yours.Capstone(
    recipe="videochat-capstone",
    exercise="videochat.model",
    uses=("videochat.time_waves", "videochat.global_attention"),
    losses=_losses,
    library=_library_losses,
)
