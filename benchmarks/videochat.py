"""One token's look at all frames: keys and values never written out, against torch's attention.

The same weights, forward and backward, float32; the two take turns, and must agree. At the toy's
size (32 films of 10 frames of 16 tokens, 512 wide) and at the paper's (a video of 8 frames of 257
tokens, 1408 wide).

    python benchmarks/videochat.py [--steps 7] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from vlcourse.models.gmhra import OneAsks

SIZES = {"toy": (32, 160, 512, 8), "paper": (1, 8 * 257, 1408, 16)}


def twins(width: int, heads: int) -> tuple[OneAsks, nn.MultiheadAttention]:
    """Ours and theirs with the same weights."""
    torch.manual_seed(0)
    ours, theirs = OneAsks(width, heads), nn.MultiheadAttention(width, heads, batch_first=True)
    with torch.no_grad():
        maps = (ours.q, ours.k, ours.v)
        theirs.in_proj_weight.copy_(torch.cat([linear.weight for linear in maps]))
        theirs.in_proj_bias.copy_(torch.cat([linear.bias for linear in maps]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    return ours, theirs


def step(
    model: OneAsks | nn.MultiheadAttention, token: Tensor, frames: Tensor
) -> tuple[float, Tensor]:
    """Seconds of a forward and a backward pass, and what came out."""
    model.zero_grad()
    began = time.perf_counter()
    if isinstance(model, OneAsks):
        out = model(token, frames)
    else:
        out = model(token, frames, frames, need_weights=False)[0]
    out.square().sum().backward()
    return time.perf_counter() - began, out.detach()


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for name, (batch, length, width, heads) in SIZES.items():
        ours, theirs = twins(width, heads)
        token, frames = torch.randn(batch, 1, width), torch.randn(batch, length, width)
        frames.requires_grad_()  # the norm before it is trained
        times: dict[str, list[float]] = {"ours": [], "torch": []}
        for _ in range(given.steps):
            once, one = step(ours, token, frames)
            again, other = step(theirs, token, frames)
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
            times["ours"].append(once)
            times["torch"].append(again)
        least = {who: min(seconds) for who, seconds in times.items()}
        ratio = statistics.median(a / b for a, b in zip(times["torch"], times["ours"], strict=True))
        print(
            f"{name}: ours {least['ours'] * 1e3:.1f} ms, torch {least['torch'] * 1e3:.1f} ms, "
            f"{ratio:.1f} times as fast (median of {given.steps})"
        )


if __name__ == "__main__":
    main()
