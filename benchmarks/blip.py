"""BLIP at ViT-B/16 shape: captions by beam search against transformers, and what a step costs.

Captions: random weights, the same in both, which take turns; 4 images of 384 px, beam 3, captions
of 5 to 20 tokens, float32. They must be equal, token for token.

A step of pretraining: all three losses, 4 images of 224 px, captions of 30 tokens, queues of 57,600
features, AdamW, without the engine around it: seconds, the peak memory of its process, and the
share of each part. The parts run alone, without the drawing of negatives, and so their sum is not
the step. (transformers has no pretraining to compare with.)

    python benchmarks/blip.py [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vlcourse import losses
from vlcourse.generate import generate
from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.weights import from_hf

BATCH, BEAMS, SHORTEST, LONGEST = 4, 3, 5, 20
CLS, SEP, PAD, CONTEXT = 101, 102, 0, 30


def twins() -> tuple[Any, BLIP]:
    """transformers' captioner, and ours with its weights; large ones, so that captions differ."""
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.BlipConfig(text_config={"num_attention_heads": 12})
    torch.manual_seed(0)
    theirs = transformers.BlipForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.05 if "text_decoder" in name else 0.03)
    model = from_hf(theirs)
    assert isinstance(model, BLIP)
    return theirs, model


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def captions(rounds: int) -> None:
    """Seconds for a batch: A B A B …, medians, after one run of each whose captions are equal."""
    theirs, model = twins()
    pixels = torch.randn(BATCH, 3, 384, 384, generator=torch.Generator().manual_seed(1))

    def ours() -> Tensor:
        return generate(
            model, None, pixels=pixels, beams=BEAMS, min_new_tokens=SHORTEST,
            max_new_tokens=LONGEST, end=SEP, pad=PAD,
        )  # fmt: skip

    def peer() -> Tensor:  # its lengths count [DEC]
        written = theirs.generate(
            pixels, num_beams=BEAMS, min_length=1 + SHORTEST, max_length=1 + LONGEST
        )
        return written[:, 1:]

    found, expected = ours(), peer()
    assert torch.equal(found, expected), f"other captions:\n{found}\n{expected}"
    runs = {"vlcourse": ours, "transformers": peer}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    image = statistics.median(seconds(looks, model, pixels) for _ in range(rounds))
    median = {name: statistics.median(values) for name, values in times.items()}
    row = ", ".join(f"{name} {value:.2f} s" for name, value in median.items())
    ratio = median["vlcourse"] / median["transformers"]
    print(f"captions: {row}; {ratio:.2f} × transformers")
    print(f"  the same captions, of {found.shape[1]} tokens at most")
    print(f"  of ours {image:.2f} s are the image tower", flush=True)


@torch.inference_mode()
def looks(model: BLIP, pixels: Tensor) -> None:
    """The image tower alone."""
    model.image_tokens(pixels)


def pretraining(rounds: int, threads: int) -> None:
    """One step, whole and in parts; in a process of its own, so that its peak memory is known."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = BLIPConfig.preset("ViT-B/16").build().train()
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-5)
    tokens = torch.randint(1000, 30_000, (BATCH, CONTEXT))
    tokens[:, 0], tokens[:, -1] = CLS, SEP
    mask = torch.ones(BATCH, CONTEXT, dtype=torch.bool)
    data = {"pixels": torch.randn(BATCH, 3, 224, 224), "tokens": tokens, "mask": mask}

    def step(number: int) -> None:
        sum(model.losses(data).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            model.after_step(number)

    step(1)
    whole = statistics.median(seconds(step, 2 + i) for i in range(rounds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB; Linux says KiB
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"pretraining: {whole:.2f} s a step of {BATCH}, {count / 1e6:.0f} M trained parameters,")
    print(f"  peak memory {peak:.1f} GiB")
    found = {
        name: statistics.median(seconds(part) for _ in range(rounds))
        for name, part in parts(model, data, optimizer).items()
    }
    total = sum(found.values())
    row = ", ".join(f"{name} {value / total:.0%}" for name, value in found.items())
    print(f"  each part alone, forward and backward, {total:.2f} s together: {row}", flush=True)


def parts(
    model: BLIP, data: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, Callable[[], None]]:
    """What a step is made of, each part alone."""
    pixels, tokens, mask, twin = data["pixels"], data["tokens"], data["mask"], model.twin
    with torch.no_grad():
        feature, seen = model.look(pixels)
    assert twin is not None
    fast: Any = twin
    three, rows = tokens.repeat(3, 1), torch.arange(BATCH).repeat(3)

    def image() -> None:
        found, states = model.look(pixels)
        (found.sum() + states.sum()).backward()

    @torch.no_grad()
    def anchors() -> None:
        fast.image_projection(fast.image(pixels)[0])
        fast.text_projection(fast.text.encode(tokens, mask, only_first=True)[:, 0])

    def itc() -> None:
        text = model.encode_text(tokens, mask)
        queues = (model.image_queue.rows, model.text_queue.rows)
        losses.itc_momentum(
            feature, text, feature, text.detach(), *queues, model.temperature, 0.4
        ).backward()

    def itm() -> None:
        states = seen.clone().requires_grad_()
        logits = model.match(None, three, mask.repeat(3, 1), states, rows=rows)
        losses.itm(logits, torch.arange(3 * BATCH) < BATCH).backward()

    def lm() -> None:
        states = seen.clone().requires_grad_()
        targets = losses.lm_targets(tokens, mask)
        losses.lm(model.text.decode(tokens, states), model.text.head, targets, 0.1).backward()

    def update() -> None:
        optimizer.step()

    @torch.no_grad()
    def follow() -> None:
        model.after_step(9)

    return {
        "image tower": image, "momentum encoders": anchors, "ITC": itc, "ITM": itm, "LM": lm,
        "AdamW": update, "moving averages": follow,
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    print(f"ViT-B/16, batch {BATCH}, float32, {args.threads} threads, medians", flush=True)
    # Before the captions: Linux counts the peak of the process that starts another as the other's.
    spawned = multiprocessing.get_context("spawn")
    own = spawned.Process(target=pretraining, args=(args.rounds, args.threads))
    own.start()
    own.join()
    if own.exitcode:
        raise SystemExit(f"the step ended with code {own.exitcode}, for lack of memory perhaps")
    captions(args.rounds)


if __name__ == "__main__":
    main()
