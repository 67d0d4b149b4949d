"""Answers to "videochat.model" as students write them, right ones and wrong ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from vlcourse.layers.positions import WAVES
from vlcourse.teach.mistakes import Mistake
from vlcourse.teach.videochat.exercises.clock import time_waves
from vlcourse.teach.videochat.exercises.looking import global_attention


def _token(slip: str, model: Any, frames: Tensor, shown: Tensor) -> Tensor:
    """(B, 1, C), with one mistake or none."""
    block = model.gmhra.blocks[0]
    token = model.gmhra.token.expand(len(frames), 1, -1)
    y = frames if slip == "frames not normalised" else block.norm_frames(frames)
    if slip != "no positions":
        y = block.positions(y, 0, shown)
    asks = token if slip == "token not normalised" else block.norm_token(token)
    saw = global_attention(block.attention, asks, y, shown)
    token = saw if slip == "the token is forgotten" else token + saw
    if slip == "no MLP":
        return token
    return token + block.mlp(token if slip == "MLP without norm" else block.norm_mlp(token))


def _seen(slip: str, model: Any, frames: Tensor, seconds: Tensor) -> Tensor:
    """(B, T · N + 1, C): what the queries look at, with one mistake or none."""
    shown = torch.ones(frames.shape[:2], dtype=torch.bool)
    before = frames
    if slip != "no local aggregator":
        added = model.gmhra.local[0](frames, shown)
        frames = added if slip == "local replaces" else frames + added
    token = _token(slip, model, before if slip == "token sees the old" else frames, shown)
    if slip == "numbers for seconds":
        seconds = torch.arange(frames.shape[1]).expand_as(seconds).float()
    times = model.clock.out(time_waves(seconds, WAVES))[:, :, None]
    if slip == "time before the norm":
        seen = model.norm_image(frames + times)
    elif slip == "frames without norm":
        seen = frames + times
    else:
        seen = model.norm_image(frames)
        seen = seen if slip == "no clock" else seen + times
    if slip == "no token":
        return seen.flatten(1, 2)
    end = token if slip == "token without norm" else model.norm_image.norm(token)
    parts = [seen.flatten(1, 2), end]
    return torch.cat(parts[::-1] if slip == "the token first" else parts, dim=1)


def _with(slip: str, model: Any, frames: Tensor, seconds: Tensor, tokens: Tensor) -> Tensor:
    """By hand, with one mistake or none."""
    seen = _seen(slip, model, frames, seconds)
    extra = None if slip == "no extra queries" else model.extra
    states = model.qformer.look(seen, None, extra)[-1]
    if slip == "the extra queries alone":
        states = states[:, model.config.qformer.queries :]
    pattern = "b q (d s) -> b (q s) d" if slip == "cut wrongly" else "b q (s d) -> b (q s) d"
    video = rearrange(model.projection(states), pattern, s=model.config.spread)
    if slip == "the video detached":
        video = video.detach()
    words, count = model.llm.token(tokens), video.shape[1]
    if slip == "the video first":
        x = model.llm.hidden(torch.cat([video, words], dim=1))
        return model.llm.head(x[:, count:])
    if slip == "the video last":
        x = model.llm.hidden(torch.cat([words, video], dim=1))
        return model.llm.head(x[:, : words.shape[1]])
    x = model.llm.hidden(torch.cat([words[:, :1], video, words[:, 1:]], dim=1))
    if slip == "all places":
        return model.llm.head(x)
    if slip == "the first places":
        return model.llm.head(x[:, : words.shape[1]])
    return model.llm.head(torch.cat([x[:, :1], x[:, 1 + count :]], dim=1))


def _mistake(name: str, what: str, hint: str) -> Mistake:
    return Mistake(name, partial(_with, name), what, hint)


_ONE = "Norm, attention, + token; norm, MLP, + token: a block as always."
_TIME = "norm_image(frames) + clock.out(time_waves(seconds, WAVES))[:, :, None]."
_PLACE = "torch.cat([words[:, :1], video, words[:, 1:]], dim=1)."
MISTAKES = (
    _mistake(
        "no local aggregator",
        "the local aggregator is missing",
        "frames + model.gmhra.local[0](frames, shown).",
    ),
    _mistake("local replaces", "what the local aggregator adds replaces the frames", "frames + …"),
    _mistake(
        "token sees the old",
        "the token looks at the frames before the local aggregator",
        "First the neighbours, then the token.",
    ),
    _mistake("no positions", "the token's keys have no positions", "block.positions(…, 0, shown)."),
    _mistake("frames not normalised", "the token looks at frames without norm_frames", _ONE),
    _mistake("token not normalised", "the token asks without norm_token", _ONE),
    _mistake("the token is forgotten", "what was seen replaces the token", _ONE),
    _mistake("no MLP", "the aggregator's MLP is missing", _ONE),
    _mistake("MLP without norm", "norm_mlp is missing", _ONE),
    _mistake("no clock", "the frames are not told their times", _TIME),
    _mistake("numbers for seconds", "the frames are told their numbers, not their seconds", _TIME),
    _mistake("time before the norm", "the time is added before the norm", _TIME),
    _mistake("frames without norm", "norm_image is missing", _TIME),
    _mistake("no token", "the queries do not see the token", "It stands with the frames' tokens."),
    _mistake(
        "token without norm",
        "the token is not normalised for the queries",
        "model.norm_image.norm(token): it has no place in the grid.",
    ),
    _mistake("no extra queries", "the extra queries are missing", "look(seen, None, model.extra)."),
    _mistake(
        "the extra queries alone",
        "only the extra queries are used",
        "All queries: those for images first.",
    ),
    _mistake(
        "cut wrongly",
        "the projection's vectors are cut wrongly",
        'rearrange(…, "b q (s d) -> b (q s) d", s=model.config.spread).',
    ),
    _mistake("the video first", "the video stands before the start of the text", _PLACE),
    _mistake("the video last", "the video stands after the text", _PLACE),
    _mistake(
        "the first places",
        "the logits are those of the video's places",
        "Leave out the video's places: x[:, :1] and x[:, 1 + how many there are:].",
    ),
)

by_hand = partial(_with, "")
token_first = partial(_with, "the token first")
all_places = partial(_with, "all places")
detached = partial(_with, "the video detached")


@torch.no_grad()
def without_gradient(model: Any, frames: Tensor, seconds: Tensor, tokens: Tensor) -> Tensor:
    """Right numbers, nothing learned."""
    return _with("", model, frames, seconds, tokens)
