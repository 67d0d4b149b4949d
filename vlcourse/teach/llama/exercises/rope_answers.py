"""Answers to "llama.rope" as students write them, right ones and wrong ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def angles(positions: Tensor, width: int, theta: float) -> Tensor:
    return positions[:, None] * theta ** (-torch.arange(0, width, 2) / width)


def by_complex_numbers(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    turn = torch.exp(1j * angles(positions, x.shape[-1], theta))
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


def by_loops(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    out, width = torch.empty_like(x), x.shape[-1]
    for i, m in enumerate(positions.tolist()):
        for j in range(width // 2):
            angle = m / theta ** (2 * j / width)
            cos, sin = math.cos(angle), math.sin(angle)
            a, b = x[..., i, 2 * j], x[..., i, 2 * j + 1]
            out[..., i, 2 * j], out[..., i, 2 * j + 1] = a * cos - b * sin, a * sin + b * cos
    return out


def by_quarter_turns(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    turn = angles(positions, x.shape[-1], theta).repeat_interleave(2, dim=-1)
    quarter = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    return x * turn.cos() + quarter * turn.sin()


def into_a_copy(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    turn, out = angles(positions, x.shape[-1], theta), x.clone()
    out[..., 0::2] = x[..., 0::2] * turn.cos() - x[..., 1::2] * turn.sin()
    out[..., 1::2] = x[..., 0::2] * turn.sin() + x[..., 1::2] * turn.cos()
    return out


def even_overwritten(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    turn, out = angles(positions, x.shape[-1], theta), x.clone()
    out[..., 0::2] = out[..., 0::2] * turn.cos() - out[..., 1::2] * turn.sin()
    out[..., 1::2] = out[..., 0::2] * turn.sin() + out[..., 1::2] * turn.cos()
    return out


def in_place(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    turn, a, b = angles(positions, x.shape[-1], theta), x[..., 0::2].clone(), x[..., 1::2].clone()
    x[..., 0::2] = a * turn.cos() - b * turn.sin()
    x[..., 1::2] = a * turn.sin() + b * turn.cos()
    return x


def in_double(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    width = x.shape[-1]
    turn = positions[:, None] * theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    a, b = x[..., 0::2], x[..., 1::2]
    both = [a * turn.cos() - b * turn.sin(), a * turn.sin() + b * turn.cos()]
    return torch.stack(both, dim=-1).flatten(-2)


def angles_in_the_type_of_x(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    turn = angles(positions, x.shape[-1], theta).to(x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    both = [a * turn.cos() - b * turn.sin(), a * turn.sin() + b * turn.cos()]
    return torch.stack(both, dim=-1).flatten(-2)


def detached(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    return by_complex_numbers(x.detach(), positions, theta)


def four_axes_only(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    rows, heads, length, width = x.shape
    return by_quarter_turns(x, positions, theta).view(rows, heads, length, width)


def degrees(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    turn = torch.deg2rad(angles(positions, x.shape[-1], theta)).repeat_interleave(2, dim=-1)
    quarter = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    return x * turn.cos() + quarter * turn.sin()
