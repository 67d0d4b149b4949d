"""Scenes per second that the toy world samples and draws, on one thread.

    python benchmarks/world.py [--size 32] [--scenes 8192] [--repeats 7]

Times `sample_arrays` and `render_batch` together, then `World.__getitems__`, 128 samples at a
time, captions included, and prints the median of the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from vlcourse.data.world import World, render_batch, sample_arrays
from vlcourse.data.world.words import hash64


def rate(job: Callable[[int], int], repeats: int) -> tuple[float, float]:
    """Median and best items per second of `job(i)`, which returns how many it made."""
    job(0)
    rates = []
    for i in range(1, repeats + 1):
        start = time.perf_counter()
        made = job(i)
        rates.append(made / (time.perf_counter() - start))
    return statistics.median(rates), max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32, help="picture side in pixels")
    parser.add_argument("--scenes", type=int, default=8192, help="scenes in one repeat")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    world = World("train", n=(args.repeats + 1) * args.scenes, size=args.size)

    def draw(i: int) -> int:
        seeds = hash64(i, np.arange(args.scenes))
        return len(render_batch(sample_arrays(seeds, "train"), args.size))

    def read(i: int) -> int:
        for start in range(i * args.scenes, (i + 1) * args.scenes, 128):
            world.__getitems__(range(start, min(start + 128, len(world))))
        return args.scenes

    for what, job in (("sample + draw", draw), ("World, by 128, with captions", read)):
        median, best = rate(job, args.repeats)
        print(
            f"{what}: {median:,.0f} scenes/s (median of {args.repeats}; best {best:,.0f}) "
            f"at {args.size} px, 1 thread"
        )


if __name__ == "__main__":
    main()
