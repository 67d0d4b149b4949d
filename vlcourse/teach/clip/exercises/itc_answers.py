"""Answers to "clip.itc_loss" as students write them, right ones and wrong ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse import losses

Scale = Tensor | float


def _logits(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


def _symmetric(logits: Tensor) -> Tensor:
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def log_softmax_by_hand(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    logits = _logits(image, text, scale)
    rows, columns = logits.log_softmax(dim=1), logits.log_softmax(dim=0)
    return -(rows.diag().mean() + columns.diag().mean()) / 2


def logsumexp(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    logits = _logits(image, text, scale)
    both = (logits.logsumexp(0) + logits.logsumexp(1)) / 2
    return (both - logits.diagonal()).mean()


def einsum_and_lengths(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    image = image / image.norm(dim=-1, keepdim=True)
    text = text / text.pow(2).sum(-1, keepdim=True).sqrt()
    return _symmetric(torch.einsum("id,jd->ij", image, text) * scale)


def by_a_loop(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    logits = _logits(image, text, scale)
    total = logits.new_zeros(())
    for i in range(len(logits)):
        total = total - logits[i].log_softmax(0)[i] - logits[:, i].log_softmax(0)[i]
    return total / (2 * len(logits))


def images_only(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return F.cross_entropy(_logits(image, text, scale), torch.arange(len(image)))


def not_normalised(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return _symmetric(scale * image @ text.T)


def normalised_over_the_batch(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return _symmetric(scale * F.normalize(image, dim=0) @ F.normalize(text, dim=0).T)


def matrix_norm(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return _symmetric(scale * (image / image.norm()) @ (text / text.norm()).T)


def texts_not_normalised(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return _symmetric(scale * F.normalize(image, dim=-1) @ text.T)


def labels_of_zeros(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    logits, labels = _logits(image, text, scale), torch.zeros(len(image), dtype=torch.long)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def no_softmax(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return -_logits(image, text, scale).diag().mean()


def softmax_twice(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    logits, labels = _logits(image, text, scale), torch.arange(len(image))
    rows, columns = logits.softmax(dim=1), logits.T.softmax(dim=1)
    return (F.cross_entropy(rows, labels) + F.cross_entropy(columns, labels)) / 2


def as_a_number(image: Tensor, text: Tensor, scale: Scale) -> float:
    return losses.itc(image, text, scale).item()


@torch.no_grad()
def under_no_grad(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return losses.itc(image, text, scale)


def as_a_new_tensor(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return torch.tensor(losses.itc(image, text, scale).item())


def texts_detached(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return losses.itc(image, text.detach(), scale)


def scale_as_float(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    return losses.itc(image, text, float(scale))


def naive_exp(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    odds = _logits(image, text, scale).exp()
    rows, columns = odds / odds.sum(1, keepdim=True), odds / odds.sum(0, keepdim=True)
    return -(rows.diag().log().mean() + columns.diag().log().mean()) / 2


def log_of_softmax(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    logits = _logits(image, text, scale)
    rows, columns = logits.softmax(1).diag(), logits.softmax(0).diag()
    return -(rows.log().mean() + columns.log().mean()) / 2


def six_labels(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    rows, columns = (_logits(image, text, scale).log_softmax(dim) for dim in (0, 1))
    return -(rows.diag().sum() + columns.diag().sum()) / (2 * 6)


def one_a_pair(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    logits, labels = _logits(image, text, scale), torch.arange(len(image))
    rows = F.cross_entropy(logits, labels, reduction="none")
    return (rows + F.cross_entropy(logits.T, labels, reduction="none")) / 2


def in_place(image: Tensor, text: Tensor, scale: Scale) -> Tensor:
    image /= image.norm(dim=-1, keepdim=True)
    return losses.itc(image, text, scale)
