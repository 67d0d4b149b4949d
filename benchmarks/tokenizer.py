"""CLIP's tokenizer: ours from scratch, ours fast, and open_clip's, on one thread.

    python benchmarks/tokenizer.py [--captions 2000] [--repeats 7]

The tokenizers take turns on the captions of the toy world, and their medians are compared. All
remember the words they have seen, and all have seen every word before. "No memory" empties
that memory before each text, as the bare algorithm works: every word is merged anew.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import open_clip.tokenizer
import torch

from vlcourse.data.world import World
from vlcourse.tokenizers.byte_bpe import ByteBPE, FastBPE


def clip_merges() -> list[tuple[str, str]]:
    """The 48,894 merges of OpenAI's CLIP, from the file that open_clip ships."""
    packed = Path(open_clip.tokenizer.default_bpe()).read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    return [(line.split()[0], line.split()[1]) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captions", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    world = World(n=args.captions)
    captions = [str(s["caption"]) for s in world.__getitems__(range(args.captions))]
    scratch, fast = ByteBPE(clip_merges()), FastBPE(clip_merges())
    peer = open_clip.tokenizer.SimpleTokenizer()

    no_memory, cold = ByteBPE(scratch.merges), FastBPE(scratch.merges)

    def merge_anew(text: str) -> list[int]:
        no_memory._cache.clear()
        return no_memory.encode(text)

    def cold_start(text: str) -> list[int]:
        cold._chunks.clear()
        return cold.encode(text)

    encoders: dict[str, Callable[[str], list[int]]] = {
        "from scratch, no memory": merge_anew,
        "from scratch": scratch.encode,
        "open_clip": peer.encode,
        "fast, no memory": cold_start,
        "fast": fast.encode,
    }
    times: dict[str, list[float]] = {name: [] for name in encoders}
    for repeat in range(args.repeats + 1):
        for name, encode in encoders.items():
            start = time.perf_counter()
            ids = [encode(caption) for caption in captions]
            if repeat:  # the first round fills the memories
                times[name].append(time.perf_counter() - start)
            else:
                assert ids == [scratch.encode(caption) for caption in captions], name
    median = {name: statistics.median(each) for name, each in times.items()}
    for name, seconds in median.items():
        print(
            f"{name}: {1e6 * seconds / len(captions):.1f} µs a caption; fast is "
            f"{seconds / median['fast']:.1f} times as fast"
        )
    batches: dict[str, Callable[[], object]] = {
        "fast": lambda: fast(captions, 77, pad_to=77),
        "open_clip": lambda: peer(captions, 77),
    }
    spent: dict[str, list[float]] = {name: [] for name in batches}
    for _ in range(args.repeats):
        for name, job in batches.items():
            start = time.perf_counter()
            job()
            spent[name].append(time.perf_counter() - start)
    ratio = statistics.median(spent["open_clip"]) / statistics.median(spent["fast"])
    print(f"a batch as a tensor (77 columns): fast is {ratio:.1f} times as fast as open_clip")


if __name__ == "__main__":
    main()
