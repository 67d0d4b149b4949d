"""llama.cache: how the time to write a text grows with its length, with and without the cache."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean

import torch

from vlcourse.evals import metrics
from vlcourse.generate import generate
from vlcourse.models.llama import LLaMA, LLaMAConfig
from vlcourse.teach.measurement import Measurement


@dataclass(frozen=True)
class Settings:
    """The experiment's numbers."""

    model: LLaMAConfig = LLaMAConfig(vocab_size=512, width=128, layers=2, heads=4)
    lengths: tuple[int, ...] = (128, 256, 512)
    prompt: int = 4


def seconds(model: LLaMA, settings: Settings, length: int, use_cache: bool, seed: int) -> float:
    """Processor seconds to write ``length`` tokens greedily.

    On one thread that is the time it takes, without what other programs take meanwhile.
    """
    torch.manual_seed(seed)
    prompt = torch.randint(0, settings.model.vocab_size, (1, settings.prompt))
    start = time.process_time()
    generate(model, prompt, max_new_tokens=length, use_cache=use_cache)
    return time.process_time() - start


def exponent(lengths: Sequence[int], times: Sequence[float]) -> float:
    """b of the n^b that fits best: the slope of log time over log length (least squares)."""
    x, y = [math.log(n) for n in lengths], [math.log(t) for t in times]
    covariance = sum((a - mean(x)) * (b - mean(y)) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean(x)) ** 2 for a in x)


def cache(seeds: Sequence[int] = (0, 1, 2, 3, 4), settings: Settings | None = None) -> Measurement:
    """Time greedy decoding of a random LLaMA at several lengths, on one thread.

    Args:
        seeds: of weights and prompts, one round each, the two ways alternating; three or more.
        settings: the numbers of the experiment.

    Returns:
        The mean exponent with the cache, and in ``others`` that without; intervals are Student's t
        over the rounds. "speed-up" is how many times faster the longest text is with the cache.
    """
    s = settings or Settings()
    ways = {"with": True, "without": False}
    times: dict[str, list[list[float]]] = {name: [] for name in ways}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in seeds:
            torch.manual_seed(seed)
            model = s.model.build().eval()
            for name, use_cache in ways.items():
                seconds(model, s, 8, use_cache, seed)  # to warm up
                times[name].append([])
            for length in s.lengths:
                for name, use_cache in ways.items():
                    times[name][-1].append(seconds(model, s, length, use_cache, seed))
    finally:
        torch.set_num_threads(threads)
    found = {name: [exponent(s.lengths, row) for row in rows] for name, rows in times.items()}
    low, high = metrics.seed_interval(found["with"])
    without = metrics.seed_interval(found["without"])
    last = [b[-1] / a[-1] for a, b in zip(times["with"], times["without"], strict=True)]
    return Measurement(
        measured=mean(found["with"]),
        low=low,
        high=high,
        seeds=tuple(seeds),
        recipe={"settings": asdict(s), "threads": 1},
        others={
            "without": mean(found["without"]),
            "without low": without[0],
            "without high": without[1],
            "speed-up": mean(last),
        },
        figure={
            "lengths": list(s.lengths),
            "tokens a second": {
                name: [[n / t for n, t in zip(s.lengths, row, strict=True)] for row in rows]
                for name, rows in times.items()
            },
            "exponents": found,
        },
    )
