"""A BLIP as a filter: which texts of a noisy web does it keep, and which of them are true?

Li et al. 2022, "BLIP", section 3.3. The toy web knows what each of its texts is made of.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlcourse.data.world.web import KINDS, WebWorld
from vlcourse.evals.metrics import MetricError
from vlcourse.evals.rerank import match_logits
from vlcourse.layers.frozen import evaluating
from vlcourse.models.matching import Matcher
from vlcourse.tokenizers.med import MEDTokenizer

RATE = 0.6  # of texts that something has happened to


def web_set(n: int = 2000, size: int = 32, split: str = "test", seed: int = 5) -> WebWorld:
    """Pictures of one or two objects with the texts of a noisy web."""
    return WebWorld(split, n, size, (1, 2), seed=seed, rate=RATE)


def filter_details(
    model: Matcher, tokenizer: MEDTokenizer, web: WebWorld | None = None, threshold: float = 0.5
) -> dict[str, Tensor]:
    """What a filter does with each text, for intervals.

    Args:
        model: has ITM.
        tokenizer: its own.
        web: the pictures with their texts; None takes :func:`web_set`.
        threshold: a text is kept whose probability of matching is above it.

    Returns:
        Float vectors: ``precision`` (K,), whether each kept text is true; ``recall`` (T,), whether
        each true one is kept; and for "clean" and each of the web's kinds of noise ``kept: half``
        and so on, whether each is kept.

    Raises:
        MetricError: when no text is kept, or none is true.
    """
    size = model.config.image.image_size
    web = web or web_set(size=size)
    samples = web.__getitems__(range(len(web)))
    number = torch.arange(len(samples))
    with evaluating(model):
        logits = match_logits(
            model, tokenizer, [str(s["caption"]) for s in samples],
            torch.stack([s["image"] for s in samples]), torch.stack([number, number], dim=1),
            truncate=True,
        )  # fmt: skip
    kept = logits.softmax(dim=-1)[:, 1] > threshold
    true = torch.tensor([s["is_clean"] for s in samples])
    if not kept.any() or not true.any():
        raise MetricError(
            f"of {len(samples)} texts {int(kept.sum())} are kept, {int(true.sum())} true"
        )
    found = {"precision": true[kept].float(), "recall": kept[true].float()}
    for kind in ("clean", *KINDS):
        found[f"kept: {kind}"] = kept[torch.tensor([s["kind"] == kind for s in samples])].float()
    return found


def filtering(model: Matcher, tokenizer: MEDTokenizer, threshold: float = 0.5) -> dict[str, float]:
    """The means of :func:`filter_details` on the test set, as ``filter precision`` and so on."""
    details = filter_details(model, tokenizer, threshold=threshold)
    return {f"filter {name}": float(values.mean()) for name, values in details.items()}
