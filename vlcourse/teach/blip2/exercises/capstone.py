"""The capstone of the BLIP-2 lecture: the Q-Former under its three masks, and the three losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.models.blip2 import BLIP2, BLIP2Config
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.med import switch_first
from vlcourse.models.med_parts import cross_block
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.teach import yours
from vlcourse.teach.blip2.exercises import best_query as best
from vlcourse.teach.blip2.exercises import capstone_answers as answers
from vlcourse.teach.blip2.exercises import masks, writing
from vlcourse.teach.checking import Exercise, Right, Wrong, call
from vlcourse.teach.several_losses import expect_losses, stacked

NAMES = ("itc", "itm", "itg")
SMOOTHING = 0.1


def blip2_losses(
    model: Any, seen: Tensor, tokens: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The reference: figure 2 of the paper, by the student's functions as far as they passed.

    Args:
        model: a :class:`~vlcourse.models.blip2.BLIP2`.
        seen: (n, N, C) image tokens.
        tokens: (n, L) their texts, [CLS] w … [SEP].
        mask: (n, L) bool, True for text.

    Returns:
        ITC, ITM and ITG: three scalars.
    """
    qformer_mask = yours.pick("blip2.masks", masks.qformer_mask)
    best_query = yours.pick("blip2.best_query", best.best_query)
    itg_loss = yours.pick("blip2.itg_loss", writing.itg_loss)
    qformer, count, n = model.qformer, model.config.qformer.queries, len(seen)

    def walk(kind: str, seen: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """(b, Q + L, D): queries and text through all blocks, under the mask of a loss."""
        asked = qformer.norm(qformer.queries).expand(len(tokens), -1, -1)
        x = torch.cat([asked, qformer.words(tokens)], dim=1)
        allowed = qformer_mask(kind, count, mask)
        for block in qformer.blocks:
            x = block.norm_attention(x + block.attention(x, None, allowed))
            q, text = x[:, :count], x[:, count:]
            if block.looks:
                q = cross_block(q, seen, block.cross, block.norm_cross)
            q = block.norm_query(q + block.mlp_query(q))
            x = torch.cat([q, block.norm_text(text + block.mlp_text(text))], dim=1)
        return x

    apart = walk("itc", seen, tokens, mask)
    image = model.image_projection(apart[:, :count])  # (n, Q, E)
    text = model.text_projection(apart[:, count])  # (n, E), at [CLS]
    to_text = best_query(image, text) / model.temperature  # (n, n), a row an image
    own = torch.arange(n)
    both = [F.cross_entropy(x, own, label_smoothing=SMOOTHING) for x in (to_text, to_text.T)]
    itc = (both[0] + both[1]) / 2

    same = losses.equal_rows(tokens, tokens)
    wrong_text = losses.hard_negatives(to_text, same)
    wrong_image = losses.hard_negatives(to_text.T, same)
    together = walk(
        "itm",
        torch.cat([seen, seen, seen[wrong_image]]),
        torch.cat([tokens, tokens[wrong_text], tokens]),
        torch.cat([mask, mask[wrong_text], mask]),
    )
    logits = model.itm_head(together[:, :count]).mean(dim=1)  # (3n, 2)
    itm = F.cross_entropy(logits, (torch.arange(3 * n) < n).long())

    begun = switch_first(tokens, model.config.qformer.dec)
    itg = itg_loss(walk("itg", seen, begun, mask), qformer.head, count, tokens, mask)
    return itc, itm, itg


_SHAPE = BLIP2Config(
    embed=12,
    image=BLIPViTConfig(16, 8, 16, 1, 2),
    qformer=QFormerConfig(3, 30, 12, 16, 3, 2, image_width=16, cls=26, sep=27, dec=29),
)


def _random_model() -> BLIP2:
    """A model none of whose parameters is 0 or 1 by chance of its initialisation, in eval mode."""
    made = BLIP2(_SHAPE)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name != "temperature":
                around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                # Small biases, so that the queries differ.
                parameter.normal_(around, 0.05 if name.endswith("bias") else 0.6)
    return made.eval()


def _check(candidate: Callable[..., Any]) -> None:
    model, n, length = _random_model(), 5, 8
    mask = torch.arange(length) < torch.arange(4, 4 + n)[:, None]
    tokens = torch.randint(1, 26, (n, length))
    tokens[:, 0], tokens[mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True)] = 26, 27
    tokens = tokens.masked_fill(~mask, 0)
    batch = {"features": torch.randn(n, 4, 16), "tokens": tokens, "mask": mask}

    def run(function: Callable[..., Any]) -> Tensor:
        torch.manual_seed(1)  # the draws of the negatives
        seen = model.image_tokens(features=batch["features"])
        return stacked(call(function, model, seen, tokens, mask), NAMES)

    def library(*_: Any) -> tuple[Tensor, ...]:
        found = model.losses(batch)
        return tuple(found[name] for name in NAMES)

    hint = "The losses are itc, itm and itg, in this order: compare each line with the figure."
    expect_losses(run, candidate, library, model, NAMES, answers.MISTAKES, hint)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip2.model",
        title="Your own Q-Former",
        minutes=15,
        difficulty=3,
        reference=blip2_losses,
        check=_check,
        hints=(
            "Write `walk` first: self-attention over all, cross-attention for the queries only "
            "(where block.looks), an MLP for each side, a norm after each sum.",
            "ITC: to_text = best_query(image, text) / model.temperature; F.cross_entropy(to_text, "
            "torch.arange(n), label_smoothing=0.1), and the same of to_text.T; their mean.",
            'ITM: model.itm_head(states[:, :Q]).mean(dim=1). ITG: itg_loss(walk("itg", seen, '
            "switch_first(tokens, dec), mask), model.qformer.head, Q, tokens, mask).",
        ),
        wrong=(
            *(mistake.wrong() for mistake in answers.MISTAKES),
            Wrong("ITG detached", answers.detached_itg, ".detach()"),
            Wrong("under no_grad", answers.without_gradient, "no_grad()"),
            Wrong("the sum", answers.summed, "return itc, itm, itg"),
        ),
        right=(
            Right("without an inner function", answers.by_hand),
            Right("the library's halves", answers.by_halves),
            Right("a list", answers.as_a_list),
        ),
    ),
)


def _losses(function: Callable[..., Any], model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    seen = model.image_tokens(batch["pixels"])
    found = function(model, seen, batch["tokens"], batch["mask"])
    return dict(zip(NAMES, found, strict=True))


def _library_losses(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return model.losses(batch)


CAPSTONE = yours.Capstone(
    recipe="blip2-capstone",
    exercise="blip2.model",
    uses=("blip2.masks", "blip2.best_query", "blip2.itg_loss"),
    losses=_losses,
    library=_library_losses,
)
