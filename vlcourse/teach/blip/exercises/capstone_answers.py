"""Answers to "blip.model" as students write them, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.models.med import switch_first
from vlcourse.models.med_parts import cross_block
from vlcourse.teach.blip.exercises.negatives import negative_odds
from vlcourse.teach.mistakes import Mistake

Teacher = tuple[Tensor, Tensor]
Three = tuple[Tensor, Tensor, Tensor]


def _walk(
    roles: Sequence[Any],
    x: Tensor,
    mask: Tensor | None = None,
    seen: Tensor | None = None,
    causal: bool = False,
    order: str = "acm",
) -> Tensor:
    """Through the blocks in one role; ``order``: attention, cross-attention, MLP."""
    for role in roles:
        for part in order:
            if part == "a":
                x = role.norm_attention(x + role.attention(x, None, mask, causal))
            elif part == "c" and seen is not None:
                x = cross_block(x, seen, role.cross, role.norm_cross)
            elif part == "m":
                x = role.norm_mlp(x + role.mlp(x))
    return x


def _with(
    slip: str, model: Any, pixels: Tensor, tokens: Tensor, mask: Tensor, teacher: Teacher
) -> Three:
    """The three losses, with one mistake or none."""
    ids, text_model = model.config.text, model.text
    readers = [block.reader for block in text_model.blocks]
    writers = [block.writer for block in text_model.blocks]
    if slip == "one self-attention":
        writers = readers
    order = "cam" if slip == "cross first" else "amc" if slip == "cross last" else "acm"
    image, seen = model.look(pixels)
    words = text_model.reading
    allowed = None if slip == "no mask" else mask[:, None, None, :]
    states = _walk(readers, words(tokens), allowed, seen if slip == "ITC looks" else None)
    text = model.text_projection(states[:, 0])
    if slip == "mean of the words":
        text = model.text_projection(states.mean(dim=1))

    t_image, t_text = teacher
    tau = 1 / model.temperature if slip == "times tau" else model.temperature
    alpha = 0.0 if slip == "no teacher" else model.alpha()
    own = torch.eye(len(pixels), dtype=torch.bool)
    sides = [(image, t_image, t_text), (text, t_text, t_image)]
    if slip == "own anchors":
        sides = [(image, t_image, t_image), (text, t_text, t_text)]
    if slip == "one direction":
        sides = sides[:1] * 2
    itc = image.new_zeros(())
    for student, taught, others in sides:
        targets = losses.soft_targets(taught @ others.T / tau, own, alpha)
        unit = student if slip == "not normalised" else F.normalize(student, dim=-1)
        itc = itc + F.cross_entropy(unit @ others.T / tau, targets)
    itc = itc if slip == "sum of directions" else itc / 2

    same = losses.equal_rows(tokens, tokens)
    unit_image, unit_text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    to_text = (unit_image @ t_text.T / model.temperature).detach()
    to_image = (unit_text @ t_image.T / model.temperature).detach()
    wrong_text = torch.multinomial(negative_odds(to_text, same), 1)[:, 0]
    wrong_image = torch.multinomial(negative_odds(to_image, same), 1)[:, 0]
    texts = torch.cat([tokens, tokens[wrong_text], tokens])
    text_masks = torch.cat([mask, mask if slip == "mask not moved" else mask[wrong_text], mask])
    pictures = torch.cat([seen, seen, seen[wrong_image]])
    if slip != "no [ENC]":
        texts = switch_first(texts, ids.dec if slip == "[DEC] for [ENC]" else ids.enc)
    paired = _walk(readers, words(texts), text_masks[:, None, None, :], pictures, order=order)
    matches = torch.arange(len(texts)) < len(tokens)
    if slip == "labels swapped":
        matches = ~matches
    where = -1 if slip == "last state" else 0
    itm = F.cross_entropy(model.itm_head(paired[:, where]), matches.long())

    begun = tokens if slip == "no [DEC]" else switch_first(tokens, ids.dec)
    shown = None if slip == "LM blind" else seen
    not_causal = slip == "not causal"
    states = _walk(
        writers, text_model.writing(begun), None, shown, causal=not not_causal, order=order
    )
    targets = losses.lm_targets(tokens, mask, model.config.prompt)
    smoothing = 0.0 if slip == "no smoothing" else model.config.smoothing
    logits = text_model.head(states)
    lm = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)
    return itc, itm, lm


def _mistake(name: str, slip: str, what: str, hint: str) -> Mistake:
    return Mistake(name, partial(_with, slip), what, hint)


_ORDER = "In each block: self-attention, cross-attention, MLP; a norm after each sum."
_ITC = "A side's students are compared with the *other* side's teachers: image @ t_text.T."
MISTAKES = (
    _mistake(
        "padding read", "no mask", "padding is read when the text is encoded",
        "mask[:, None, None, :] says which positions the self-attention may look at.",
    ),
    _mistake(
        "ITC looks at the image", "ITC looks", "the text looks at its image before ITC compares",
        "The unimodal encoder skips the cross-attention: it must not know the picture.",
    ),
    _mistake(
        "mean of the words", "mean of the words", "the text's feature is the mean of its states",
        "[CLS] stands for the text: states[:, 0].",
    ),
    _mistake(
        "multiplied by τ", "times tau", "the similarities are multiplied by the temperature",
        "model.temperature divides the cosines: / model.temperature.",
    ),
    _mistake(
        "labels only", "no teacher", "the teacher's opinion does not count",
        "soft_targets(…, alpha=model.alpha()).",
    ),
    _mistake(
        "own side's anchors", "own anchors", "images are compared with images", _ITC
    ),
    _mistake(
        "one direction", "one direction", "only the images look for their texts",
        "Average over both directions: image → text and text → image.",
    ),
    _mistake(
        "sum of the directions", "sum of directions", "the two directions of ITC are added",
        "Average over both directions: divide the sum by two.",
    ),
    _mistake(
        "students not normalised", "not normalised", "the students are not brought to length 1",
        "F.normalize(image, dim=-1), and the same for the text.",
    ),
    _mistake(
        "mask not moved along", "mask not moved", "a wrong text comes with another text's mask",
        "tokens[wrong_text] goes with mask[wrong_text].",
    ),
    _mistake(
        "[CLS] for [ENC]", "no [ENC]", "the pairs are read with [CLS]",
        "switch_first(texts, model.config.text.enc).",
    ),
    _mistake(
        "[DEC] for [ENC]", "[DEC] for [ENC]", "the pairs are read with [DEC]",
        "switch_first(texts, model.config.text.enc).",
    ),
    _mistake(
        "ITM's labels swapped", "labels swapped", "the ITM labels are the other way round",
        "The head's logits are [no, yes]: 1 for the first n pairs, 0 for the 2n wrong ones.",
    ),
    _mistake(
        "last state for the pair", "last state", "the pair is judged by its last state",
        "[ENC] stands at position 0.",
    ),
    _mistake(
        "[CLS] for [DEC]", "no [DEC]", "the text is written after [CLS]",
        "switch_first(tokens, model.config.text.dec).",
    ),
    _mistake(
        "LM without the image", "LM blind", "the decoder does not look at the image",
        "The decoder's cross-attention reads seen, too.",
    ),
    _mistake(
        "no causal mask", "not causal", "the decoder looks ahead and copies the next word",
        "attention(x, None, None, True): the last argument is causal.",
    ),
    _mistake(
        "the reader's self-attention", "one self-attention",
        "the decoder uses the reader's self-attention",
        "block.writer has a self-attention of its own; the rest is the same module.",
    ),
    _mistake(
        "smoothing forgotten", "no smoothing", "the LM loss has no label smoothing",
        "F.cross_entropy(…, label_smoothing=model.config.smoothing).",
    ),
    _mistake(
        "cross-attention first", "cross first",
        "the cross-attention comes before the self-attention", _ORDER,
    ),
    _mistake(
        "cross-attention last", "cross last", "the cross-attention comes after the MLP", _ORDER
    ),
)  # fmt: skip


def detached_text(
    model: Any, pixels: Tensor, tokens: Tensor, mask: Tensor, teacher: Teacher
) -> Three:
    itc, itm, lm = _with("", model, pixels, tokens, mask, teacher)
    return itc, itm, lm.detach()


@torch.no_grad()
def without_gradient(
    model: Any, pixels: Tensor, tokens: Tensor, mask: Tensor, teacher: Teacher
) -> Three:
    return _with("", model, pixels, tokens, mask, teacher)


def summed(model: Any, pixels: Tensor, tokens: Tensor, mask: Tensor, teacher: Teacher) -> Tensor:
    return sum(_with("", model, pixels, tokens, mask, teacher))  # type: ignore[return-value]


def by_hand(model: Any, pixels: Tensor, tokens: Tensor, mask: Tensor, teacher: Teacher) -> Three:
    return _with("", model, pixels, tokens, mask, teacher)


def by_the_med(model: Any, pixels: Tensor, tokens: Tensor, mask: Tensor, teacher: Teacher) -> Three:
    """With the library's three modes, which differ from one walk in their order of operations."""
    image, seen = model.look(pixels)
    text = model.encode_text(tokens, mask)
    t_image, t_text = teacher
    none = torch.empty(0, t_image.shape[1])
    itc = losses.itc_momentum(
        image, text, t_image, t_text, none, none, model.temperature, model.alpha()
    )
    same = losses.equal_rows(tokens, tokens)
    scale = 1 / model.temperature.detach()
    to_text = losses.similarity(image, t_text, scale).detach()
    to_image = losses.similarity(text, t_image, scale).detach()
    wrong_text, wrong_image = (
        torch.multinomial(negative_odds(each, same), 1)[:, 0] for each in (to_text, to_image)
    )
    true = model.match(None, tokens, mask, seen)
    false = model.match(None, tokens[wrong_text], mask[wrong_text], seen)
    other = model.match(None, tokens, mask, seen[wrong_image])
    itm = losses.itm(torch.cat([true, false, other]), torch.arange(3 * len(tokens)) < len(tokens))
    hidden = model.text.decode(tokens, seen)
    targets = losses.lm_targets(tokens, mask)
    lm = losses.lm(hidden, model.text.head, targets, model.config.smoothing)
    return itc, itm, lm


def as_a_list(model: Any, pixels: Tensor, tokens: Tensor, mask: Tensor, teacher: Teacher) -> Any:
    return [*_with("", model, pixels, tokens, mask, teacher)]
