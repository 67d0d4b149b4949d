"""Linear probe: how much of a task can a straight cut through frozen features solve?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.data.world.words import Array
from vlcourse.layers.frozen import evaluating
from vlcourse.models.clip import CLIP

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)  # tried values of C, inverse regularisation


@dataclass(frozen=True)
class Probe:
    """A fitted probe's result.

    Attributes:
        hits: (N,) float, 1 where a test item is right.
        strength: the chosen C, the inverse of the L2 penalty's weight.
    """

    hits: Tensor
    strength: float

    @property
    def accuracy(self) -> float:
        """Share of test items that are right."""
        return float(self.hits.mean())


@torch.no_grad()
def features(model: CLIP, images: Tensor, batch_size: int = 256) -> Tensor:
    """uint8 pictures (N, 3, H, W) → the image tower's own features (N, width) on the CPU.

    For a Vision Transformer that is the class token before the projection into the joint space.
    The modified ResNet has no projection of its own: its attention pooling is one, and its output
    is taken (Radford et al. 2021, section 3.2 and appendix A.3).
    """
    device, size = model.log_scale.device, model.config.image.image_size
    with evaluating(model):
        parts = [
            model.image(normalise(resize(chunk, size).to(device)))[0].float().cpu()
            for chunk in images.split(batch_size)
        ]
    return torch.cat(parts)


def linear_probe(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, seed: int = 0
) -> Probe:
    """Fit a logistic regression (L-BFGS) on features and test it.

    Its strength C is the one of `STRENGTHS` that is best on a fifth of the training features, held
    out by class; then all of them are used. With fewer than two labels of some class nothing can
    be held out, and C is 1. Features are centred and divided by one number, their overall
    deviation, so that C means the same for every model.

    Args:
        train_x: (M, D) features.
        train_y: (M,) integer labels, of two classes or more.
        test_x: (N, D) features.
        test_y: (N,) integer labels.
        seed: of the held-out fifth.

    Returns:
        Right or wrong for each test item, and the chosen C.

    Raises:
        ValueError: when features and labels differ in number, or there is one class only.

    Source: Radford et al. 2021, appendix A.3.
    """
    for name, items, answers in (("train", train_x, train_y), ("test", test_x, test_y)):
        if len(items) != len(answers):
            raise ValueError(f"there are {len(items)} {name} features and {len(answers)} labels")
    labels, counts = train_y.unique(return_counts=True)
    if len(labels) < 2:
        raise ValueError("a probe needs labels of two classes or more")
    mean, deviation = train_x.mean(dim=0), float((train_x - train_x.mean(dim=0)).std())
    scale = max(deviation, 1e-12)
    x, test = ((train_x - mean) / scale).numpy(), ((test_x - mean) / scale).numpy()
    y, best = train_y.numpy(), 1.0
    if int(counts.min()) >= 2:
        held = _hold_out(y, seed)
        rest = ~held
        scores = [(_fit(x[rest], y[rest], c, x[held]) == y[held]).mean() for c in STRENGTHS]
        best = STRENGTHS[int(np.argmax(scores))]  # of equally good ones, the most regularised
    hits = torch.from_numpy(_fit(x, y, best, test) == test_y.numpy()).float()
    return Probe(hits, best)


def _hold_out(labels: Array, seed: int) -> Array:
    """(M,) bool: a fifth of each class, at least one item and never all."""
    held, random = np.zeros(len(labels), bool), np.random.default_rng(seed)
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        held[own[: max(1, len(own) // 5)]] = True
    return held


def _fit(x: Array, y: Array, strength: float, test: Array) -> Array:
    """Predicted labels of ``test``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")  # a label each is enough
        # Without much of a penalty, separable features have no best cut to converge to.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=1000).fit(x, y).predict(test)
