"""Greedy decoding of a 162 M-parameter LLaMA against transformers' generate, in one run.

Random weights, the same in both, which take turns; batch 1, float32, 16 tokens of prompt. Each new
token needs every weight once, apart from the table of token vectors, so the speed of the memory
sets a bound: the time of a sum over as many bytes. How fast memory is changes from minute to minute
on a shared machine, so the share of the bound is the median of the shares of single rounds.

    python benchmarks/llama.py [--rounds 5] [--tokens 256] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vlcourse.generate import generate
from vlcourse.models.llama import LLaMA
from vlcourse.weights import from_hf

PROMPT = 16
LENGTHS = (16, 64, 128, 256, 512, 1024)


def twins() -> tuple[Any, LLaMA]:
    """transformers' model, and ours with its weights."""
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.LlamaConfig(
        vocab_size=32_000, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
        num_attention_heads=12, max_position_embeddings=2048,
        bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(config).eval()
    model = from_hf(theirs)
    assert isinstance(model, LLaMA)
    return theirs, model.eval()


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def compare(rounds: int, tokens: int) -> None:
    """Tokens a second: A B A B …, medians, after a short run of each to warm up."""
    theirs, model = twins()
    prompt = torch.randint(0, 32_000, (1, PROMPT), generator=torch.Generator().manual_seed(1))
    weights = sum(p.numel() for p in model.parameters()) - model.token.weight.numel()
    memory = torch.ones(weights)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")

    def ours(new: int) -> Tensor:
        return generate(model, prompt, max_new_tokens=new)

    def peer(new: int) -> Tensor:
        return theirs.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new, do_sample=False
        )[:, PROMPT:]

    runs: dict[str, Callable[[int], Any]] = {
        "vlcourse": ours,
        "transformers": peer,
    }
    agree = int((ours(32) == peer(32)).sum())
    print(f"of the first 32 tokens {agree} are those of transformers")
    for run in runs.values():
        run(4)
    times: dict[str, list[float]] = {name: [] for name in runs}
    shares: dict[str, list[float]] = {name: [] for name in runs}
    bounds: list[float] = []
    for _ in range(rounds):
        for name, run in runs.items():
            before = [seconds(memory.sum) for _ in range(5)]
            times[name].append(seconds(run, tokens) / tokens)
            bounds.append(statistics.median(before + [seconds(memory.sum) for _ in range(5)]))
            shares[name].append(bounds[-1] / times[name][-1])
    speeds = sorted(4 * weights / bound / 1e9 for bound in bounds)
    print(
        f"bound by memory: {1 / statistics.median(bounds):.1f} tokens/s "
        f"({statistics.median(speeds):.1f} GB/s, {speeds[0]:.1f} to {speeds[-1]:.1f})"
    )
    median = {name: statistics.median(values) for name, values in times.items()}
    for name, value in median.items():
        spread = f"{1 / max(times[name]):.1f} to {1 / min(times[name]):.1f}"
        ratio, share = median["transformers"] / value, statistics.median(shares[name])
        print(
            f"{name:12} {1 / value:6.1f} tokens/s ({spread}), {share:4.0%} of the bound, "
            f"{ratio:.2f} × transformers"
        )
    by_length(model, rounds)


@torch.inference_mode()
def by_length(model: LLaMA, rounds: int, steps: int = 12) -> None:
    """Milliseconds of one more token after each number of tokens; all lengths in turn."""
    times: dict[int, list[float]] = {length: [] for length in LENGTHS}
    started = {length: prompt_of(model, length, 1 + rounds * steps) for length in LENGTHS}
    token = torch.ones(1, 1, dtype=torch.long)
    for _ in range(rounds):
        for length, cache in started.items():
            times[length] += [seconds(model.step, token, cache) for _ in range(steps)]
    median = {length: 1e3 * statistics.median(values) for length, values in times.items()}
    print("ms a token by length: " + ", ".join(f"{k}: {v:.1f}" for k, v in median.items()))
    first = median[LENGTHS[0]]
    print("relative to the first: " + ", ".join(f"{k}: {v / first:.2f}" for k, v in median.items()))


def prompt_of(model: LLaMA, length: int, room: int) -> Any:
    """The cache of a random prompt."""
    return model.start(torch.randint(0, 32_000, (1, length)), None, room).cache


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    print(f"batch 1, float32, {args.threads} threads, {args.tokens} new tokens, medians")
    compare(args.rounds, args.tokens)


if __name__ == "__main__":
    main()
