"""The training loop: the same on a CPU, on a GPU, and over ranks. The only file that knows it all.

Everything random in step s is a function of (seed, s, rank): the samples, their augmentation, and
the dropout masks. So the state of a run is its weights, its optimiser and the number s, and a run
that was stopped goes on exactly as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vlcourse.engine import batches, checkpoint, folder, parallel
from vlcourse.engine.allocator import keep_freed_memory
from vlcourse.engine.config import NonFiniteLoss, RunConfig, TrainConfig
from vlcourse.engine.interrupts import Interrupted, Interrupts
from vlcourse.engine.log import Log
from vlcourse.engine.optimizer import adamw, improved, lr_at
from vlcourse.engine.speed import Utilisation
from vlcourse.files import write_json
from vlcourse.layers.frozen import evaluating
from vlcourse.models.base import Trainable
from vlcourse.weights.state import Frozen

DEFAULT = RunConfig()
Shares = defaultdict[str, torch.Tensor]


@dataclass(frozen=True)
class Result:
    """What a run gives back.

    Attributes:
        model: the trained model in eval mode. Under FSDP it stays sharded; its whole weights are in
            the run folder's last checkpoint.
        history: rows of the log: step, loss, each loss, grad_norm, lr, samples_per_s, mfu on
            a GPU whose peak is known, metrics.
        seconds: time in training steps, over all processes that took the run forward.
        step: optimiser steps done.
        metrics: the last evaluation.
    """

    model: Trainable
    history: list[dict[str, float]]
    seconds: float
    step: int
    metrics: dict[str, float]


def fit(
    model: Trainable | Callable[[], Trainable],
    dataset: Any,
    collate: Callable[..., dict[str, Any]],
    config: TrainConfig,
    run: RunConfig = DEFAULT,
    *,
    evaluate: Callable[[Trainable], dict[str, float]] | None = None,
    out: Path | str | None = None,
    resume: bool = True,
    settings: dict[str, Any] | None = None,
    frozen: Frozen | None = None,
    plot: bool | None = None,
) -> Result:
    """Train a model: minimise the sum of its losses.

    Args:
        model: ``losses(batch) → {"name": scalar}``; the batch's tensors arrive on its device.
            Or a function that builds it: under FSDP no rank ever holds such a model whole.
        dataset: map-style or iterable, of samples.
        collate: ``collate(samples, generator=…)`` → batch, with the samples' ``"ids"``.
        config: what the run is.
        run: where and how it is carried out.
        evaluate: measurements of a model in eval mode. Every rank calls it, and under FSDP all call
            the model's blocks in the same order.
        out: run folder; None writes nothing.
        resume: go on from the newest checkpoint in ``out``; False deletes them.
        settings: more of them to keep in config.json and to compare before going on.
        frozen: parts of the model that are in no checkpoint but by their source and hash.
        plot: live loss plot; None draws one in a notebook only.

    Raises:
        NonFiniteLoss: with the step, the learning rate and the ids of the samples.
        Interrupted: on Ctrl-C, after the step was finished and saved.
        CheckpointError, BatchError, ParallelError: see there.
    """
    place = Path(out) if out is not None else None
    if run.parallel != "fsdp":  # which is chosen to need little
        keep_freed_memory()
    ranks = parallel.start(run.parallel)
    placed = parallel.Placed(model, ranks, run, frozen)
    optimizer = adamw(placed.plain, config)
    step, seconds, metrics, best = 0, 0.0, {}, None
    if place is not None:
        if ranks.main:
            folder.open_run(place, {**(settings or {}), "train": asdict(config)}, resume)
        ranks.barrier()
        state = checkpoint.resume(place, placed, optimizer)
        step, seconds = state["step"], state["seconds"]
        metrics, best = state["metrics"], state["best"]
    todo = range(step * config.accumulate, max(step, config.steps) * config.accumulate)
    data = batches.loader(dataset, collate, config, ranks, todo, run.workers)
    log = Log(place if ranks.main else None, config.steps, step, ranks.main, plot)

    def save() -> None:
        if place is None or step == 0:
            return
        state = {"seconds": seconds, "metrics": metrics, "best": best, "seed": config.seed}
        checkpoint.save(place, step, placed, optimizer, state, run.keep, step >= config.steps)

    placed.plain.train()
    since, samples_per_step = (step, seconds), config.batch_size * config.accumulate
    use = Utilisation(ranks.device)
    interrupts = Interrupts()
    try:
        with interrupts:
            while step < config.steps:
                began = time.perf_counter()
                row = train_step(placed, optimizer, data, config, step, interrupts, use)
                seconds += time.perf_counter() - began
                step += 1
                stopping, last = row.pop("stop") > 0, step == config.steps
                if evaluating := evaluate is not None and _due(step, run.eval_every, last):
                    metrics = measure(placed, evaluate)
                    if place is not None and ranks.main:
                        write_json(place / "metrics.json", {"step": step, **metrics})
                    if better := improved(run.best, metrics, best):
                        best = better
                        if place is not None:
                            checkpoint.save_best(place, step, placed, best)
                if evaluating or step == 1 or _due(step, run.log_every, last):
                    speed = (step - since[0]) * samples_per_step / (seconds - since[1])
                    row |= {"samples_per_s": speed, **use.row(speed / config.batch_size)}
                    row |= metrics if evaluating else {}
                    log.add({"step": step, **row})
                    since = (step, seconds)
                log.advance()
                if stopping:
                    raise KeyboardInterrupt
                if _due(step, run.save_every, last):
                    save()
    except KeyboardInterrupt:
        if interrupts.hard:  # in the middle of a step
            raise
        save()
        where = f"; saved in {place}: the same command goes on from there" if place and step else ""
        raise Interrupted(f"stopped after step {step} of {config.steps}{where}") from None
    finally:
        log.close()
    return Result(placed.plain.eval(), log.rows, seconds, step, metrics)


def train_step(
    placed: parallel.Placed,
    optimizer: torch.optim.Optimizer,
    data: Iterator[dict[str, Any]],
    config: TrainConfig,
    step: int,
    interrupts: Interrupts,
    use: Utilisation,
) -> dict[str, float]:
    """One optimiser step; its losses (mean over ranks and accumulated batches) and its lr.

    An interrupt of any rank reaches all of them, as ``"stop" > 0``.
    """
    lr = lr_at(step, config)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
    torch.manual_seed(batches.derive_seed(config.seed, "step", step, placed.ranks.rank))
    read = [next(data) for _ in range(config.accumulate)]
    share = shares([placed.plain.counts(batch) for batch in read], placed.ranks)
    parts, ids = [], [batch.get("ids", ["unknown"]) for batch in read]
    for k, batch in enumerate(read):
        with placed.accumulating(more=k < config.accumulate - 1):
            losses = use.forward(partial(placed, batch))
            shared = [loss * share[name][k] for name, loss in losses.items()]
            total = torch.stack(shared).sum()
            total.backward()
        parts.append(torch.stack([total, *shared]).detach().float())
    norm = placed.clip(config.clip_norm or math.inf).float()
    averages = torch.stack(parts).sum(dim=0)
    values = torch.cat([averages, torch.stack([norm, torch.full_like(norm, interrupts.seen)])])
    names = ("loss", *losses, "grad_norm", "stop")
    row = dict(zip(names, placed.ranks.mean(values).tolist(), strict=True))  # waits for the device
    if not (math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"])):
        bad = [own for own, part in zip(ids, parts, strict=True) if not part.isfinite().all()]
        raise NonFiniteLoss(
            f"step {step + 1}: loss {row['loss']}, gradient norm {row['grad_norm']}, learning rate "
            f"{lr:.3g}, samples {', '.join(str(i) for own in bad or ids for i in own)}"
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        placed.plain.after_step(step + 1)
    return {**row, "lr": lr}


def shares(counts: list[dict[str, torch.Tensor]], ranks: parallel.Ranks) -> Shares:
    """What each of K batches counts in the mean over them: (K,) for a loss, which sums to 1.

    Args:
        counts: each batch's numbers of items on this rank (:meth:`Trainable.counts`). A loss that
            is in there is a mean over the items of all; any other, over the batches.
        ranks: the processes, each with its part of each batch.
    """
    k = len(counts)
    found: Shares = defaultdict(lambda: torch.ones(k, device=ranks.device) / k)
    if k > 1 and counts[0]:
        table = torch.tensor([[float(n) for n in own.values()] for own in counts])  # (K, losses)
        table = ranks.mean(table.to(ranks.device))
        found.update(zip(counts[0], (table / table.sum(0).clamp(min=1e-9)).T, strict=True))
    return found


def measure(
    placed: parallel.Placed, evaluate: Callable[[Trainable], dict[str, float]]
) -> dict[str, float]:
    """Evaluate the whole model; every rank gets rank 0's numbers."""
    with placed.evaluating() as model, torch.no_grad():
        metrics = dict(evaluate(model.eval()))
    placed.plain.train()
    return placed.ranks.from_main(metrics)


def evaluate_loss(
    model: Trainable,
    dataset: Any,
    collate: Callable[..., dict[str, Any]],
    batch_size: int,
    limit: int | None = None,
) -> dict[str, float]:
    """The model's mean losses on the first ``limit`` samples, in whole batches, in eval mode.

    Over ranks each takes its slice of each batch, so a contrastive loss sees the same batches as in
    one process.
    """
    ranks = parallel.current(next(model.parameters()).device)
    local = batches.split_evenly(batch_size, ranks.world)
    count = min(len(dataset), limit or len(dataset)) // batch_size
    if not count:
        raise batches.BatchError(f"there are fewer than batch_size={batch_size} samples")
    counts, rows = [], []
    with evaluating(model), torch.no_grad():
        for i in range(count):
            first = i * batch_size + ranks.rank * local
            batch = collate([dataset[row] for row in range(first, first + local)])
            losses = model.losses(parallel.to_device(batch, ranks.device))
            rows.append(torch.stack(list(losses.values())).float())
            counts.append(model.counts(batch))
    share = shares(counts, ranks)
    means = ranks.mean(torch.stack(rows)).T  # (losses, batches)
    return {name: float((own * share[name]).sum()) for name, own in zip(losses, means, strict=True)}


def _due(step: int, every: int, last: bool) -> bool:
    return last or (every > 0 and step % every == 0)
