"""The capstone of the BLIP lecture: one text model in three modes, and its three losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.med import MEDConfig
from vlcourse.teach import yours
from vlcourse.teach.blip.exercises import capstone_answers as answers
from vlcourse.teach.blip.exercises import cross, negatives, soft, switch, writing
from vlcourse.teach.checking import Exercise, Right, Wrong, call
from vlcourse.teach.several_losses import expect_losses, stacked

Teacher = tuple[Tensor, Tensor]
NAMES = ("itc", "itm", "lm")


def blip_losses(
    model: Any, pixels: Tensor, tokens: Tensor, mask: Tensor, teacher: Teacher
) -> tuple[Tensor, Tensor, Tensor]:
    """The reference: figure 2 of the paper, by the student's functions as far as they passed.

    Args:
        model: a :class:`~vlcourse.models.blip.BLIP` with momentum encoders and no queue.
        pixels: (B, 3, S, S) normalised images.
        tokens: (B, L) their texts, [CLS] w … [SEP].
        mask: (B, L) bool, True for text.
        teacher: (B, embed) unit vectors of the momentum encoders, of the images and of the texts.

    Returns:
        ITC, ITM and LM: three scalars.
    """
    switch_first = yours.pick("blip.switch_first", switch.switch_first)
    cross_block = yours.pick("blip.cross_block", cross.cross_block)
    soft_targets = yours.pick("blip.soft_targets", soft.soft_targets)
    negative_odds = yours.pick("blip.hard_negatives", negatives.negative_odds)
    lm_targets = yours.pick("blip.lm_targets", writing.lm_targets)

    def walk(
        roles: Sequence[Any],
        x: Tensor,
        mask: Tensor | None,
        seen: Tensor | None,
        causal: bool = False,
    ) -> Tensor:
        for role in roles:
            x = role.norm_attention(x + role.attention(x, None, mask, causal))
            if seen is not None:
                x = cross_block(x, seen, role.cross, role.norm_cross)
            x = role.norm_mlp(x + role.mlp(x))
        return x

    def contrast(student: Tensor, taught: Tensor, others: Tensor) -> Tensor:
        targets = soft_targets(taught @ others.T / model.temperature, own, model.alpha())
        return F.cross_entropy(F.normalize(student, dim=-1) @ others.T / model.temperature, targets)

    def negative(student: Tensor, others: Tensor) -> Tensor:
        similarity = losses.similarity(student, others, 1 / model.temperature).detach()
        return torch.multinomial(negative_odds(similarity, same), 1)[:, 0]

    med, ids, n = model.text, model.config.text, len(pixels)
    readers = [block.reader for block in med.blocks]
    writers = [block.writer for block in med.blocks]
    image, seen = model.look(pixels)  # (n, embed), (n, N, C)
    allowed = mask[:, None, None, :]
    text = model.text_projection(walk(readers, med.reading(tokens), allowed, None)[:, 0])

    own, (t_image, t_text) = torch.eye(n, dtype=torch.bool), teacher
    itc = (contrast(image, t_image, t_text) + contrast(text, t_text, t_image)) / 2

    same = losses.equal_rows(tokens, tokens)
    wrong_text, wrong_image = negative(image, t_text), negative(text, t_image)
    texts = switch_first(torch.cat([tokens, tokens[wrong_text], tokens]), ids.enc)
    allowed = torch.cat([mask, mask[wrong_text], mask])[:, None, None, :]
    pictures = torch.cat([seen, seen, seen[wrong_image]])
    pairs = walk(readers, med.reading(texts), allowed, pictures)[:, 0]  # (3n, D)
    itm = F.cross_entropy(model.itm_head(pairs), (torch.arange(3 * n) < n).long())

    begun = med.writing(switch_first(tokens, ids.dec))
    logits = med.head(walk(writers, begun, None, seen, causal=True))  # (n, L, V)
    targets, smoothing = lm_targets(tokens, mask, 1), model.config.smoothing
    lm = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)
    return itc, itm, lm


_MED = MEDConfig(30, 12, 16, 2, 2, image_width=16, cls=26, sep=27, enc=28, dec=29)
_SHAPE = BLIPConfig(
    embed=12, image=BLIPViTConfig(16, 8, 16, 1, 2), text=_MED, queue=0, alpha_steps=0,
)  # fmt: skip


def _random_model() -> BLIP:
    """A model none of whose parameters is 0 or 1 by chance of its initialisation, in eval mode."""
    made = BLIP(_SHAPE)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name != "temperature":
                around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                parameter.normal_(around, 0.4)
    return made.eval()


def _check(candidate: Callable[..., Any]) -> None:
    model, n, length = _random_model(), 5, 8
    mask = torch.arange(length) < torch.arange(4, 4 + n)[:, None]
    tokens = torch.randint(1, 26, (n, length))
    tokens[:, 0], tokens[mask.cumsum(dim=1) == mask.sum(dim=1, keepdim=True)] = 26, 27
    tokens = tokens.masked_fill(~mask, 0)
    pixels = torch.randn(n, 3, 16, 16)
    batch = {"pixels": pixels, "tokens": tokens, "mask": mask}
    arguments = (model, pixels, tokens, mask, teacher_of(model, batch))

    def run(function: Callable[..., Any]) -> Any:
        torch.manual_seed(1)  # the draws of the negatives
        return stacked(call(function, *arguments), NAMES)

    hint = "The losses are itc, itm and lm, in this order: compare each line with figure 2."
    library = _library(model, batch)
    expect_losses(run, candidate, library, model, NAMES, answers.MISTAKES, hint)


def _library(model: BLIP, batch: dict[str, Any]) -> Callable[..., Any]:
    def three(*_: Any) -> tuple[Tensor, ...]:
        found = model.losses(batch)
        return tuple(found[name] for name in NAMES)

    return three


@torch.no_grad()
def teacher_of(model: Any, batch: dict[str, Any]) -> Teacher:
    """What the momentum encoders make of a batch: (B, embed) unit vectors, images and texts."""
    twin = model.twin
    image = twin.image_projection(twin.image(batch["pixels"])[0])
    states = twin.text.encode(batch["tokens"], batch["mask"], only_first=True)
    text = twin.text_projection(states[:, 0])
    return F.normalize(image, dim=-1), F.normalize(text, dim=-1)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="blip.model",
        title="Your own BLIP",
        minutes=15,
        difficulty=3,
        reference=blip_losses,
        check=_check,
        hints=(
            "Write one function for the way through the blocks, and call it three times: text "
            "alone, text with [ENC] and image, text with [DEC], image and causal mask.",
            "ITM has 3n pairs: (image, its text), (image, wrong text), (wrong image, text).",
            "LM: F.cross_entropy(logits.flatten(0, 1), lm_targets(tokens, mask, 1).flatten(), "
            "label_smoothing=model.config.smoothing)",
        ),
        wrong=(
            *(mistake.wrong() for mistake in answers.MISTAKES),
            Wrong("LM detached", answers.detached_text, ".detach()"),
            Wrong("under no_grad", answers.without_gradient, "no_grad()"),
            Wrong("the sum", answers.summed, "return itc, itm, lm"),
        ),
        right=(
            Right("without inner functions", answers.by_hand),
            Right("the library's modes", answers.by_the_med),
            Right("a list", answers.as_a_list),
        ),
    ),
)


def _losses(function: Callable[..., Any], model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    arguments = batch["pixels"], batch["tokens"], batch["mask"], teacher_of(model, batch)
    return dict(zip(NAMES, function(model, *arguments), strict=True))


def _library_losses(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    return model.losses(batch)


CAPSTONE = yours.Capstone(
    recipe="blip-capstone",
    exercise="blip.model",
    uses=(
        "blip.switch_first",
        "blip.cross_block",
        "blip.soft_targets",
        "blip.hard_negatives",
        "blip.lm_targets",
    ),
    losses=_losses,
    library=_library_losses,
)
