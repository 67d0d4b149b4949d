"""Answers to "llama.rms_norm" as students write them, right ones and wrong ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def by_torch(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * F.rms_norm(x.float(), x.shape[-1:], eps=eps).to(x.dtype)


def in_double(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.double()
    root = ((wide**2).sum(-1, keepdim=True) / x.shape[-1] + eps) ** 0.5
    return (wide / root).to(x.dtype) * weight


def by_length(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.to(torch.float32)
    rms = torch.linalg.vector_norm(wide, dim=-1, keepdim=True) / x.shape[-1] ** 0.5
    return (wide / torch.sqrt(rms.square() + eps)).to(x.dtype) * weight


def by_a_product(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    squares = torch.einsum("...d,...d->...", wide, wide)[..., None]
    return weight * torch.mul(wide, (squares / x.size(-1) + eps).rsqrt()).to(x.dtype)


def by_a_loop(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    rows = x.reshape(-1, x.shape[-1])
    normed = []
    for row in rows:
        wide = row.float()
        mean_square = (wide * wide).sum() / len(wide)
        normed.append((wide / (mean_square + eps).sqrt()).type_as(x) * weight)
    return torch.stack(normed).reshape(x.shape)


def _normed(x: Tensor, weight: Tensor, root: Tensor) -> Tensor:
    return (x.float() / root).type_as(x) * weight


def _mean_square(x: Tensor, dim: int = -1) -> Tensor:
    return x.float().pow(2).mean(dim, keepdim=True)


def layer_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x.float(), x.shape[-1:], None, None, eps).type_as(x) * weight


def divided_by_the_variance(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    variance = x.float().var(-1, correction=0, keepdim=True)
    return _normed(x, weight, (variance + eps).sqrt())


def no_mean(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (x.float().pow(2).sum(-1, keepdim=True) + eps).sqrt())


def no_root(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, _mean_square(x) + eps)


def over_positions(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (_mean_square(x, dim=-2) + eps).sqrt())


def no_weight(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, torch.ones_like(weight), (_mean_square(x) + eps).sqrt())


def eps_outside(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, _mean_square(x).sqrt() + eps)


def no_eps(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, _mean_square(x).sqrt())


def own_eps(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (_mean_square(x) + 1e-6).sqrt())


def in_half_precision(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def root_in_half_precision(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(_mean_square(x) + eps).type_as(x) * weight


def weight_before_the_cast(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return (x.float() * torch.rsqrt(_mean_square(x) + eps) * weight).type_as(x)


def not_cast_back(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x.float() * torch.rsqrt(_mean_square(x) + eps) * weight


def to_length_one(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return (F.normalize(x.float(), dim=-1, eps=eps)).type_as(x) * weight


def squared_mean(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (x.float().mean(-1, keepdim=True).pow(2) + eps).sqrt())


def mean_of_absolutes(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, x.float().abs().mean(-1, keepdim=True) + eps)


def multiplied_by_the_root(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, torch.rsqrt(_mean_square(x) + eps))


def over_everything(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (x.float().pow(2).mean() + eps).sqrt())


def divided_by_the_weight(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, 1 / weight, (_mean_square(x) + eps).sqrt())


def one_plus_the_weight(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, 1 + weight, (_mean_square(x) + eps).sqrt())


def eps_subtracted(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (_mean_square(x) - eps).sqrt())


def eps_in_the_square(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, _mean_square(x + eps).sqrt())


def to_float32(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return (x * torch.rsqrt(_mean_square(x) + eps) * weight).float()


def double_not_cast_back(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x.double() * torch.rsqrt(x.double().pow(2).mean(-1, keepdim=True) + eps) * weight


def axis_lost(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (x.float().pow(2).mean(-1) + eps).sqrt())


def axis_two(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (_mean_square(x, dim=2) + eps).sqrt())


def axis_one(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (_mean_square(x, dim=1) + eps).sqrt())


def three_axes(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    _, _, width = x.shape
    total = x.float().pow(2).sum(-1, keepdim=True)
    return _normed(x, weight, (total / width + eps).sqrt())


def eight_channels(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    total = x.float().pow(2).sum(-1, keepdim=True)
    return _normed(x, weight, (total / 8 + eps).sqrt())


def a_root_as_numbers(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, torch.tensor((_mean_square(x) + eps).sqrt().tolist()))


def weight_detached(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight.data, (_mean_square(x) + eps).sqrt())


def root_detached(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (_mean_square(x) + eps).sqrt().detach())


def squeezed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (_mean_square(x) + eps).sqrt()).squeeze()


@torch.no_grad()
def under_no_grad(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, (_mean_square(x) + eps).sqrt())


def in_place(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x /= (_mean_square(x) + eps).sqrt()
    return x * weight
