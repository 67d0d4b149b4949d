"""One rank's part of tests/models/test_blip2_ranks.py: the first stage over ranks, DDP and FSDP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from blip_ranks import N, Pairs, batch, collate
from tiny_blip2 import LLMS, config
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from vlcourse import engine
from vlcourse.engine import parallel
from vlcourse.generate import generate
from vlcourse.layers.errors import ModelError
from vlcourse.models.blip2 import BLIP2
from vlcourse.models.blip2_llm import BLIP2LLM, BLIP2LLMConfig

CONFIG = config("eva")
TOLD = ("llama", "seq2seq")


def report(rows: slice) -> dict[str, Any]:
    """Losses and gradients of these rows' part of the batch."""
    torch.manual_seed(0)
    wrapped: Any = parallel.Objective(BLIP2(CONFIG))
    model = wrapped.model
    if dist.is_initialized():
        wrapped = DistributedDataParallel(wrapped)
        torch.manual_seed(dist.get_rank())
    found = wrapped(batch(rows))
    torch.stack(list(found.values())).sum().backward()
    return {
        "losses": {name: loss.detach() for name, loss in found.items()},
        "gradients": {name: p.grad for name, p in model.named_parameters() if p.requires_grad},
    }


@torch.no_grad()
def measured(model: BLIP2) -> dict[str, float]:
    """An evaluation that uses each method."""
    data = batch(slice(None))
    written = generate(model, None, pixels=data["pixels"], max_new_tokens=4, beams=2)
    cosines = model(data["pixels"], data["tokens"], data["mask"])
    return {
        "match": model.match(data["pixels"], data["tokens"], data["mask"]).sum().item(),
        "written": float(written.sum()), "cosines": cosines.sum().item(),
    }  # fmt: skip


def trained(mode: str) -> dict[str, Any]:
    """Weights and measurements after three steps. (Two pairs: each has one possible negative.)"""
    train = engine.TrainConfig(steps=3, batch_size=2, lr=1e-3, warmup=1)
    torch.manual_seed(0)
    make: Any = (lambda: BLIP2(CONFIG)) if mode == "fsdp" else BLIP2(CONFIG)
    run = engine.RunConfig(parallel=mode, checkpointing=mode == "ddp")  # type: ignore[arg-type]
    result = engine.fit(make, Pairs(), collate, train, run, evaluate=measured)
    weights = result.model.state_dict()
    whole = {n: t.full_tensor() if isinstance(t, DTensor) else t for n, t in weights.items()}
    return {"weights": whole, "metrics": result.metrics}


def told(mode: str, llm: str) -> dict[str, Any]:
    """The second stage after three steps: losses before and after, beside a frozen part."""
    train = engine.TrainConfig(steps=3, batch_size=2, lr=1e-2, warmup=1)

    def make() -> BLIP2LLM:
        torch.manual_seed(0)
        qformer = replace(CONFIG.qformer, text="none")
        return BLIP2LLMConfig(image=CONFIG.image, qformer=qformer, llm=LLMS[llm]).build()

    def texts(samples: list[dict[str, Any]], generator: Any = None) -> dict[str, Any]:
        found = collate(samples)
        tokens = found["tokens"]
        return {**found, "targets": tokens.roll(-1, 1)}

    @torch.no_grad()
    def after(model: BLIP2LLM) -> dict[str, float]:
        data, written = batch(slice(None)), torch.zeros(())
        if llm != "seq2seq":  # whose cache is filled outside of its blocks: not while sharded
            said = {"pixels": data["pixels"], "max_new_tokens": 3}
            written = generate(model, data["tokens"][:, :2], **said)
        return {
            "written": float(written.sum()),
            "prompt": model.prompt(data["pixels"]).sum().item(),
        }

    run = engine.RunConfig(parallel=mode)  # type: ignore[arg-type]
    start: Any = make if mode == "fsdp" else make()
    return dict(engine.fit(start, Pairs(), texts, train, run, evaluate=after).metrics)


def refused() -> str:
    """What is said when the ranks have different numbers of pairs."""
    try:
        BLIP2(CONFIG).losses(batch(slice(0, 2 + dist.get_rank())))
    except ModelError as error:
        return str(error)
    return "nothing"


def main(out: Path) -> None:
    """What a rank computes."""
    ranks = parallel.start("ddp")
    n = N // ranks.world
    result: dict[str, Any] = report(slice(ranks.rank * n, (ranks.rank + 1) * n))
    for mode in ("ddp", "fsdp"):
        result[mode] = trained(mode)
        result[f"{mode} told"] = {llm: told(mode, llm) for llm in TOLD}
    result["refused"] = refused()
    torch.save(result, out / f"{ranks.rank}.pt")
    parallel.finish()
