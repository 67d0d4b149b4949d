"""What LLaMA's experiments train on, and how: one stream of text, cut into windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import engine
from vlcourse.data.corpus import Corpus
from vlcourse.engine.config import NonFiniteLoss, RunConfig, TrainConfig
from vlcourse.tokenizers.sentence_bpe import toy

MIXTURE = (0, 40, 20, 40)
"""Retellings, facts and stories: documents of which every word is to be learned."""
EOS = 2


class Windows:
    """Windows of ``context`` + 1 tokens of one long text, documents parted by the end of text.

    Args:
        tokens: (n,) the text.
        context: tokens that the model reads; each is a target but the first.
    """

    def __init__(self, tokens: Tensor, context: int) -> None:
        rows = (len(tokens) - 1) // context
        self.inputs = tokens[: rows * context].view(rows, context)
        self.targets = tokens[1 : rows * context + 1].view(rows, context)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "id": f"window {index}", "tokens": self.inputs[index], "targets": self.targets[index]
        }  # fmt: skip


def collate(samples: Sequence[dict[str, Any]], generator: Any = None) -> dict[str, Any]:
    """Windows → the batch of a language model."""
    return {
        "tokens": torch.stack([sample["tokens"] for sample in samples]),
        "targets": torch.stack([sample["targets"] for sample in samples]),
        "ids": [sample["id"] for sample in samples],
    }


@lru_cache(maxsize=8)
def text(split: str, tokens: int, seed: int) -> Tensor:
    """The first ``tokens`` tokens of the documents of a split and a seed, end to end."""
    tokenizer, parts, count = toy(), [], 0
    corpus = Corpus(split, 1_000_000, seed, MIXTURE)
    for start in range(0, len(corpus), 256):
        for sample in corpus.__getitems__(range(start, start + 256)):
            ids = [*tokenizer.encode(sample["text"]), EOS]
            parts.append(torch.tensor(ids))
            count += len(ids)
        if count >= tokens:
            break
    return torch.cat(parts)[:tokens]


def windows(split: str, rows: int, context: int, seed: int) -> Windows:
    """``rows`` windows of a split; no text comes twice."""
    return Windows(text(split, rows * context + 1, seed), context)


def parameters(model: nn.Module) -> int:
    """Number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def test_loss(model: nn.Module, test: Windows, batch: int = 32) -> float:
    """Nats a token."""
    return engine.evaluate_loss(model, test, collate, min(batch, len(test)))["lm"]


def tune(rates: Sequence[float], loss: Callable[[float], float]) -> dict[float, float]:
    """The loss at each learning rate: at ``rates``, and beyond while the best is an end of them.

    So no arm is held back by where the rates end. A loss that is not finite counts as infinite.
    At most four rates are added, each half or twice the end.
    """

    def finite(lr: float) -> float:
        try:
            return loss(lr)
        except NonFiniteLoss:
            return math.inf

    found = {lr: finite(lr) for lr in rates}
    for _ in range(4):
        best, least, greatest = best_rate(found), min(found), max(found)
        if least < best < greatest:
            break
        lr = best / 2 if best == least else best * 2
        found[lr] = finite(lr)
    return dict(sorted(found.items()))


def best_rate(found: dict[float, float]) -> float:
    """The learning rate with the lowest loss."""
    return min(found, key=lambda lr: found[lr])


def train(
    model: nn.Module, data: Windows, config: TrainConfig, run: RunConfig, evaluate: Any = None
) -> engine.Result:
    """`engine.fit`, writing nothing and plotting nothing."""
    return engine.fit(model, data, collate, config, run, evaluate=evaluate, plot=False)
