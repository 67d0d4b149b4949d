"""Answers to "blip2.model" as students write them, right ones and wrong ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.models.med import switch_first
from vlcourse.models.med_parts import cross_block
from vlcourse.teach.blip2.exercises.masks import qformer_mask
from vlcourse.teach.blip2.exercises.writing import itg_loss
from vlcourse.teach.mistakes import Mistake

Three = tuple[Tensor, Tensor, Tensor]


def _walk(
    model: Any, kind: str, seen: Tensor, tokens: Tensor, mask: Tensor, slip: str = ""
) -> Tensor:
    """(b, Q + L, D): through all blocks under a mask, with one mistake or none."""
    q_former, count = model.qformer, model.config.qformer.queries
    queries = q_former.queries if slip == "queries not normalised" else None
    queries = q_former.norm(q_former.queries) if queries is None else queries
    x = torch.cat([queries.expand(len(tokens), -1, -1), q_former.words(tokens)], dim=1)
    allowed = qformer_mask(kind, count, torch.ones_like(mask) if slip == "no mask" else mask)
    for block in q_former.blocks:
        if slip == "cross first" and block.looks:
            asks = cross_block(x[:, :count], seen, block.cross, block.norm_cross)
            x = torch.cat([asks, x[:, count:]], dim=1)
        x = block.norm_attention(x + block.attention(x, None, allowed))
        if slip == "all look" and block.looks:
            x = cross_block(x, seen, block.cross, block.norm_cross)
        q, text = x[:, :count], x[:, count:]
        if block.looks and slip not in ("all look", "cross first", "nobody looks"):
            q = cross_block(q, seen, block.cross, block.norm_cross)
        q = block.norm_query(q + block.mlp_query(q))
        mlp, norm = block.mlp_text, block.norm_text
        if slip == "one MLP":
            mlp, norm = block.mlp_query, block.norm_query
        x = torch.cat([q, norm(text + mlp(text))], dim=1)
    return x


def _with(slip: str, model: Any, seen: Tensor, tokens: Tensor, mask: Tensor) -> Three:
    """The three losses, with one mistake or none."""
    n, count, ids = len(seen), model.config.qformer.queries, model.config.qformer
    itc_kind = {"itc: all see all": "itm", "itc: causal": "itg"}.get(slip, "itc")
    states = _walk(model, itc_kind, seen, tokens, mask, slip)
    image, text = states[:, :count], states[:, count]
    if slip == "first query":
        image = image[:, :1]
    if slip == "mean of the words":
        text = states[:, count:].mean(dim=1)
    image, text = model.image_projection(image), model.text_projection(text)
    to_text = losses.query_similarity(image, text)
    if slip == "mean of the queries":
        to_text = losses.similarity(image.mean(dim=1), text)
    to_text = to_text * model.temperature if slip == "times tau" else to_text / model.temperature
    own = torch.arange(n)
    smoothing = 0.0 if slip == "itc not smoothed" else 0.1
    sides = [to_text, to_text if slip == "one direction" else to_text.T]
    both = [F.cross_entropy(side, own, label_smoothing=smoothing) for side in sides]
    itc = both[0] + both[1]
    itc = itc if slip == "sum of directions" else itc / 2

    same = losses.equal_rows(tokens, tokens)
    wrong_text = losses.hard_negatives(to_text, same)
    to_image = to_text if slip == "wrong images by texts" else to_text.T
    wrong_image = losses.hard_negatives(to_image, same)
    texts = torch.cat([tokens, tokens[wrong_text], tokens])
    if slip == "[DEC] for ITM":
        texts = switch_first(texts, ids.dec)
    masks = torch.cat([mask, mask if slip == "mask not moved" else mask[wrong_text], mask])
    images = torch.cat([seen, seen, seen[wrong_image]])
    itm_kind = {"itm: apart": "itc", "itm: causal": "itg"}.get(slip, "itm")
    together = _walk(model, itm_kind, images, texts, masks, slip)
    each = model.itm_head(together[:, :count])  # (3n, Q, 2)
    logits = {
        "text judges": lambda: model.itm_head(together[:, count]),
        "best query judges": lambda: each.amax(dim=1),
        "summed logits": lambda: each.sum(dim=1),
    }.get(slip, lambda: each.mean(dim=1))()
    matches = torch.arange(3 * n) < n
    matches = ~matches if slip == "labels swapped" else matches
    itm = F.cross_entropy(logits, matches.long())

    begun = tokens if slip == "no [DEC]" else switch_first(tokens, ids.dec)
    itg_kind = {"itg: all see all": "itm", "itg: apart": "itc"}.get(slip, "itg")
    written = _walk(model, itg_kind, seen, begun, mask, slip)
    return itc, itm, itg_loss(written, model.qformer.head, count, tokens, mask)


def _mistake(name: str, what: str, hint: str) -> Mistake:
    return Mistake(name, partial(_with, name), what, hint)


_BLOCK = "In a block: self-attention over all, cross-attention for queries, an MLP for each side."
_ITC = 'ITC compares apart: walk("itc", …), else the answer leaks.'
MISTAKES = (
    _mistake(
        "queries not normalised",
        "the queries enter without their norm",
        "qformer.norm(qformer.queries): the embeddings' LayerNorm is for both sides.",
    ),
    _mistake("no mask", "padding is looked at", "Give the texts' mask to qformer_mask."),
    _mistake("cross first", "the queries look at the image before the self-attention", _BLOCK),
    _mistake(
        "all look",
        "the text looks at the image itself",
        f"{_BLOCK} Only x[:, :Q] looks; the text learns of the image from the queries.",
    ),
    _mistake("nobody looks", "nobody looks at the image", f"{_BLOCK} Where block.looks is True."),
    _mistake(
        "one MLP",
        "queries and text go through one MLP",
        f"{_BLOCK} mlp_query and norm_query are the queries', mlp_text and norm_text the text's.",
    ),
    _mistake("itc: all see all", "ITC runs under ITM's mask", _ITC),
    _mistake("itc: causal", "ITC runs under ITG's mask", _ITC),
    _mistake(
        "first query",
        "ITC asks the first query only",
        "All queries: model.image_projection(states[:, :Q]), and best_query picks.",
    ),
    _mistake(
        "mean of the words",
        "the text's vector is the mean of its states",
        "[CLS] stands for the text: states[:, Q].",
    ),
    _mistake(
        "mean of the queries",
        "the queries are averaged for ITC",
        "best_query(image, text) takes the best of them.",
    ),
    _mistake(
        "times tau",
        "the cosines are multiplied by the temperature",
        "model.temperature divides: / model.temperature.",
    ),
    _mistake(
        "itc not smoothed", "ITC's labels are not smoothed", "label_smoothing=0.1 in ITC, too."
    ),
    _mistake(
        "one direction",
        "only the images look for their texts",
        "Both directions: to_text, and to_text.T.",
    ),
    _mistake("sum of directions", "ITC's two directions are added", "Their mean: divide by two."),
    _mistake(
        "wrong images by texts",
        "wrong pictures are drawn by the rows of wrong texts",
        "A text draws among the pictures: losses.hard_negatives(to_text.T, same).",
    ),
    _mistake(
        "[DEC] for ITM",
        "ITM reads its texts with [DEC]",
        "In BLIP-2 matching keeps [CLS]; only writing begins with [DEC].",
    ),
    _mistake(
        "mask not moved",
        "a wrong text comes with another text's mask",
        "tokens[wrong_text] goes with mask[wrong_text].",
    ),
    _mistake(
        "itm: apart",
        "ITM runs under ITC's mask, so picture and text never meet",
        'ITM judges together: walk("itm", …).',
    ),
    _mistake("itm: causal", "ITM runs under ITG's mask", 'ITM judges together: walk("itm", …).'),
    _mistake(
        "text judges",
        "the text's state is judged",
        "In BLIP-2 the queries judge: itm_head(states[:, :Q]).mean(dim=1).",
    ),
    _mistake(
        "best query judges",
        "the best query judges the pair alone",
        "All queries judge, and their logits are averaged: .mean(dim=1).",
    ),
    _mistake(
        "summed logits",
        "the queries' logits are added",
        "Their logits are averaged: .mean(dim=1).",
    ),
    _mistake(
        "labels swapped",
        "the ITM labels are the other way round",
        "The head's logits are [no, yes]: 1 for the first n pairs, 0 for the 2n wrong ones.",
    ),
    _mistake(
        "no [DEC]",
        "the text is written after [CLS]",
        "switch_first(tokens, model.config.qformer.dec).",
    ),
    _mistake(
        "itg: all see all",
        "ITG runs under ITM's mask, so the next word is copied",
        'ITG writes: walk("itg", …), where no word sees those that follow.',
    ),
    _mistake(
        "itg: apart",
        "ITG runs under ITC's mask, so the text never learns of the image",
        'ITG writes: walk("itg", …), where the text sees the queries.',
    ),
)


def detached_itg(model: Any, seen: Tensor, tokens: Tensor, mask: Tensor) -> Three:
    itc, itm, itg = _with("", model, seen, tokens, mask)
    return itc, itm, itg.detach()


@torch.no_grad()
def without_gradient(model: Any, seen: Tensor, tokens: Tensor, mask: Tensor) -> Three:
    return _with("", model, seen, tokens, mask)


def summed(model: Any, seen: Tensor, tokens: Tensor, mask: Tensor) -> Any:
    return sum(_with("", model, seen, tokens, mask))


def by_hand(model: Any, seen: Tensor, tokens: Tensor, mask: Tensor) -> Three:
    return _with("", model, seen, tokens, mask)


def by_halves(model: Any, seen: Tensor, tokens: Tensor, mask: Tensor) -> Three:
    """With the library's cheaper ways, which differ from one walk in their order of operations."""
    looked, n = model.qformer.look(seen), len(seen)
    image, text = model.image_projection(looked[-1]), model.encode_text(tokens, mask)
    to_text = model.similarity(image, text) / model.temperature
    own = losses.own_pairs(n)
    itc = losses.itc_smoothed(to_text, to_text.T, own, 0.1)
    same = losses.equal_rows(tokens, tokens)
    wrong_text, wrong_image = (losses.hard_negatives(x, same) for x in (to_text, to_text.T))
    true = model.match(None, tokens, mask, seen)
    false = model.match(None, tokens[wrong_text], mask[wrong_text], seen)
    other = model.match(None, tokens, mask, seen[wrong_image])
    itm = losses.itm(torch.cat([true, false, other]), torch.arange(3 * n) < n)
    targets = losses.lm_targets(tokens, mask)
    hidden = model.qformer.decode(tokens, looked[:-1])
    return itc, itm, losses.lm(hidden, model.qformer.head, targets, 0.1)


def as_a_list(model: Any, seen: Tensor, tokens: Tensor, mask: Tensor) -> Any:
    return [*_with("", model, seen, tokens, mask)]
