"""A training step of CLIP ViT-B/32 against open_clip and transformers, alternating in one run.

Batch 16, 224 px, float32: forward, contrastive loss, backward, AdamW step. Twice: with captions of
at most 20 tokens, padded to the longest as this course's Collate does it, and with captions that
fill all 77. All models get the same ids; open_clip's takes 77 only, so it gets its padding.

    python benchmarks/clip.py [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.models.clip import CLIPConfig

BATCH, CONTEXT = 16, 77
START, END = 49406, 49407


def batch(longest: int, seed: int = 0) -> dict[str, Tensor]:
    """Random pixels, and captions of 8 to ``longest`` tokens, padded with 0."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.zeros(BATCH, longest, dtype=torch.long)
    lengths = torch.randint(8, longest + 1, (BATCH,), generator=generator)
    lengths[0] = longest
    for row, length in zip(tokens, lengths.tolist(), strict=True):
        row[:length] = torch.randint(1, START, (length,), generator=generator)
        row[0], row[length - 1] = START, END
    return {"pixels": torch.randn(BATCH, 3, 224, 224, generator=generator), "tokens": tokens}


def ours() -> tuple[nn.Module, Callable[[Any, dict[str, Tensor]], Tensor]]:
    """This course's CLIP."""
    return CLIPConfig().build(), lambda model, data: model.losses(data)["itc"]


def open_clip() -> tuple[nn.Module, Callable[[Any, dict[str, Tensor]], Tensor]]:
    """open_clip's ViT-B-32-quickgelu, randomly initialised."""
    import open_clip as library

    def loss(model: Any, data: dict[str, Tensor]) -> Tensor:
        tokens = F.pad(data["tokens"], (0, CONTEXT - data["tokens"].shape[1]))
        image, text, scale = model(data["pixels"], tokens)
        return losses.itc(image, text, scale)

    return library.create_model("ViT-B-32-quickgelu", pretrained=None), loss


def transformers() -> tuple[nn.Module, Callable[[Any, dict[str, Tensor]], Tensor]]:
    """transformers' CLIPModel (its default configuration is ViT-B/32), with its own attention."""
    from transformers import CLIPConfig as Config
    from transformers import CLIPModel

    def loss(model: Any, data: dict[str, Tensor]) -> Tensor:
        # no attention_mask: under a causal mask the padding cannot matter, and it would cost time
        output = model(input_ids=data["tokens"], pixel_values=data["pixels"])
        return losses.itc(output.image_embeds, output.text_embeds, model.logit_scale.exp())

    return CLIPModel(Config()), loss


PEERS = {"vlcourse": ours, "open_clip": open_clip, "transformers": transformers}


def compare(longest: int, rounds: int) -> dict[str, float]:
    """Median seconds of a step for each library, A B C A B C …, after one step to warm up."""
    data = batch(longest)
    runs = {}
    for name, make in PEERS.items():
        torch.manual_seed(0)
        model, loss = make()
        runs[name] = (model.train(), loss, torch.optim.AdamW(model.parameters(), lr=1e-5))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, (model, loss, optimizer) in runs.items():
            start = time.perf_counter()
            loss(model, data).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Print a table of medians and the ratio to the faster peer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    print(
        f"ViT-B/32, batch {BATCH}, 224 px, float32, {args.threads} threads, median seconds a step"
    )
    for longest in (20, CONTEXT):
        medians = compare(longest, args.rounds)
        fastest = min(value for name, value in medians.items() if name != "vlcourse")
        row = ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
        ratio = medians["vlcourse"] / fastest
        print(f"captions of ≤ {longest} tokens: {row}; {ratio:.2f} × the faster peer", flush=True)


if __name__ == "__main__":
    main()
