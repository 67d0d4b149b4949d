"""Retrieval in two steps: compare everything cheaply, then look at the best few.

Li et al. 2022 (BLIP), section 5.1. Each picture and each text is encoded once, alone, and their
cosines make a first order. Only for the k best of each row the text is read beside the picture, and
its matching logit is added to the cosine.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.evals import metrics
from vlcourse.evals.clip import embed_images
from vlcourse.layers.frozen import evaluating
from vlcourse.models.matching import Matcher
from vlcourse.tokenizers.med import MEDTokenizer


def reranked(similarity: Tensor, match: Tensor, k: int) -> Tensor:
    """The scores by which each row is put in order.

    Args:
        similarity: (Q, N) cosines.
        match: (Q, N) logits of "they fit" (not probabilities); read only where a column is among
            the row's k most similar ones.
        k: how many columns of a row are looked at; more than there are means all.

    Returns:
        (Q, N): cosine + logit for those k; for the others the cosine, moved below all of the k, so
        that they follow in their old order.
    """
    best = similarity.topk(min(k, similarity.shape[1]), dim=1).indices  # (Q, k)
    chosen = torch.zeros_like(similarity, dtype=torch.bool).scatter(1, best, True)
    scores = (similarity + match).masked_fill(~chosen, torch.inf)
    below = scores.amin(dim=1, keepdim=True) - 1  # (Q, 1)
    rest = similarity.masked_fill(chosen, -torch.inf)
    first = rest.amax(dim=1, keepdim=True).nan_to_num(neginf=0.0)
    return torch.where(chosen, scores, similarity - first + below)


@torch.no_grad()
def embed_texts(
    model: Matcher,
    tokenizer: MEDTokenizer,
    texts: Sequence[str],
    batch_size: int = 256,
    truncate: bool = False,
) -> Tensor:
    """N texts → L2-normalised embeddings (N, embed) on the CPU; long ones are cut or refused."""
    device, found = next(model.parameters()).device, []
    for start in range(0, len(texts), batch_size):
        chunk = texts[start : start + batch_size]
        tokens, mask = tokenizer(chunk, model.config.text.context, truncate)
        found.append(model.encode_text(tokens.to(device), mask.to(device)).float().cpu())
    return F.normalize(torch.cat(found), dim=-1)


@torch.no_grad()
def match_logits(
    model: Matcher,
    tokenizer: MEDTokenizer,
    texts: Sequence[str],
    images: Tensor,
    pairs: Tensor,
    batch_size: int = 64,
    truncate: bool = False,
) -> Tensor:
    """The logits of "no match" and "match" for some of all pairs of a text and a picture.

    Pictures are taken ``batch_size`` at a time, and their texts in batches of that size, so that
    memory does not grow with the number of pairs; each picture is encoded once.

    Args:
        model: a model in eval mode.
        tokenizer: its own.
        texts: T texts.
        images: (N, 3, H, W) uint8.
        pairs: (P, 2) int64, the number of a text and that of a picture.
        batch_size: pictures, and pairs, at a time.
        truncate: cut long texts instead of refusing them.

    Returns:
        (P, 2) on the CPU, in the order of ``pairs``.
    """
    device, size = next(model.parameters()).device, model.config.image.image_size
    tokens, mask = tokenizer(texts, model.config.text.context, truncate)
    found = torch.empty(len(pairs), 2)
    for start in range(0, len(images), batch_size):
        here = (pairs[:, 1] >= start) & (pairs[:, 1] < start + batch_size)
        if not here.any():
            continue
        pixels = normalise(resize(images[start : start + batch_size], size).to(device))
        seen = model.image_tokens(pixels)  # (n, P, C)
        for chunk in here.nonzero().flatten().split(batch_size):
            rows, columns = pairs[chunk].unbind(dim=1)
            length = int(mask[rows].sum(dim=1).max())
            own, which = (columns - start).unique(return_inverse=True)  # only these are looked at
            logits = model.match(
                None,
                tokens[rows, :length].to(device),
                mask[rows, :length].to(device),
                seen[own.to(device)],
                rows=which.to(device),
            )
            found[chunk] = logits.float().cpu()
    return found


def among_best(similarity: Tensor, k: int) -> Tensor:
    """(Q, N) → bool, True for the k largest of each row and of each column."""
    wanted = torch.zeros_like(similarity, dtype=torch.bool)
    for view, scores in ((wanted, similarity), (wanted.T, similarity.T)):
        best = scores.topk(min(k, scores.shape[1]), dim=1).indices
        view.scatter_(1, best, True)
    return wanted


def rerank(
    model: Matcher,
    tokenizer: MEDTokenizer,
    texts: Sequence[str],
    images: Tensor,
    k: int,
    similarity: Tensor | None = None,
    batch_size: int = 64,
) -> tuple[Tensor, Tensor]:
    """Text → picture and picture → text scores, re-ranked.

    Args:
        model: a model in eval mode.
        tokenizer: its own.
        texts: T texts.
        images: (N, 3, H, W) uint8.
        k: how many of each row are looked at.
        similarity: (T, N) cosines, where they are known already.

    Returns:
        (T, N) and (N, T), on the CPU.
    """
    if similarity is None:
        similarity = cosines(model, tokenizer, texts, images)
    wanted = among_best(similarity, k)
    match = torch.full_like(similarity, torch.nan)
    pairs = wanted.nonzero()
    match[wanted] = match_logits(model, tokenizer, texts, images, pairs, batch_size)[:, 1]
    return reranked(similarity, match, k), reranked(similarity.T, match.T, k)


def cosines(
    model: Matcher, tokenizer: MEDTokenizer, texts: Sequence[str], images: Tensor
) -> Tensor:
    """(T, N) cosines of texts and uint8 pictures, each encoded alone."""
    return model.similarity(embed_images(model, images), embed_texts(model, tokenizer, texts)).T


def retrieval_details(
    model: Matcher, tokenizer: MEDTokenizer, pairs: int = 256, k: int = 16, split: str = "test"
) -> dict[str, Tensor]:
    """Whether the own picture (text) comes first, for two-object scenes: float (pairs,) each.

    Returns:
        ``text_to_image`` and ``image_to_text`` after re-ranking, and both with `` itc`` behind
        their names by the cosines alone.
    """
    with evaluating(model):
        images, texts = world.two_object_set(pairs, model.config.image.image_size, 0, split)
        similarity = cosines(model, tokenizer, texts, images)
        to_image, to_text = rerank(model, tokenizer, texts, images, k, similarity)
    scores = {
        "text_to_image itc": similarity,
        "image_to_text itc": similarity.T,
        "text_to_image": to_image,
        "image_to_text": to_text,
    }
    return {name: (metrics.ranks(each) == 0).float() for name, each in scores.items()}


def retrieval(
    model: Matcher, tokenizer: MEDTokenizer, pairs: int = 256, k: int = 16, split: str = "test"
) -> dict[str, float]:
    """Recall@1 in both directions, before and after re-ranking."""
    details = retrieval_details(model, tokenizer, pairs, k, split)
    return {name: float(values.mean()) for name, values in details.items()}
