"""adapter.zero_init, adapter.cost and adapter.v2_bias: instructions about scenes told in words."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from vlcourse.engine.optimizer import adamw
from vlcourse.evals import instructions
from vlcourse.models.adapter import Adapter
from vlcourse.models.adapter_base import AdaptedLLaMA
from vlcourse.recipes import Recipe
from vlcourse.teach.adapter.experiments import arms
from vlcourse.teach.adapter.experiments.arms import SEEDS, Arm, Scores, Settings
from vlcourse.teach.blip.experiments.cache import kept
from vlcourse.teach.blip.experiments.score import Found, minus, with_ends
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.over_seeds import steps_of
from vlcourse.weights.state import to_cpu, write_weights

V1, V2, LORA, FULL = "V1", "V2", "LoRA", "all parameters"
RANDOM, ALIKE, BARE = "V1, random gates", "V1, 26 prompts", "V2, prompts only"
ARMS: dict[str, Arm] = {
    FULL: Arm("adapter-toy-full"),
    LORA: Arm("adapter-toy-lora"),
    "LoRA, rank 1": Arm("adapter-toy-lora", (("rank", 1),), tuned=LORA),
    "LoRA, rank 16": Arm("adapter-toy-lora", (("rank", 16),), tuned=LORA),
    V1: Arm("adapter-toy"),
    RANDOM: Arm("adapter-toy", (("gate_std", 1.0),)),
    ALIKE: Arm("adapter-toy", (("prompts", 26),), tuned=V1),  # as many parameters as V2
    "V1, 100 prompts": Arm("adapter-toy", (("prompts", 100),), tuned=V1),
    V2: Arm("adapter-v2-toy-told"),
    # The prompts of "adapter-v2-toy-told" without the rest of it, at a rate that suits prompts.
    BARE: Arm("adapter-toy", (("prompts", 4), ("layers", 2)), tuned=V1),
}
COMPARED = (FULL, LORA, V1, V2)  # the table of costs; the rest of these families is its curve
CURVE = (*COMPARED, "LoRA, rank 1", "LoRA, rank 16", ALIKE, "V1, 100 prompts")
TIMED = 15  # steps


def follows(model: Any, recipe: Recipe, settings: Settings) -> dict[str, float]:
    """What a model does of what it is told about unseen compositions."""
    data: Any = recipe.data
    return instructions.following(
        model, recipe.collate(train=False), scenes=settings.scenes, objects=data.objects
    )


def arm(name: str, seed: int, rate: float, settings: Settings) -> Found:
    """What an arm follows, what it trains of all parameters, how large its file is.

    Returns:
        Each kind of instruction, ``known`` and ``score``; "step 100" and so on: the score on its
        way; "loss 15": the training loss there; ``trained``, ``share`` and ``bytes``; of version 1
        "gate 1 2 0", of a layer (from below) and head at the end.
    """
    kind = ARMS[name]
    recipe = arms.recipe_of(kind, settings, seed, rate)

    def make() -> dict[str, float]:
        result = arms.fit(
            kind, settings, seed, rate, partial(follows, recipe=recipe, settings=settings)
        )
        model: Any = result.model
        way = {f"step {row['step']}": row["score"] for row in result.history if "score" in row}
        way |= {f"loss {row['step']}": row["loss"] for row in result.history}
        gates = {}
        if isinstance(model, Adapter):
            gates = {
                f"gate {i} {j}": gate
                for i, layer in enumerate(model.gates().tolist())
                for j, gate in enumerate(layer)
            }
        return {**result.metrics, **way, **gates, **size(model)}

    key = [recipe.model, recipe.train, recipe.data, settings.scenes, settings.measured]
    return kept("adapter told", key, make)


def size(model: Any) -> dict[str, float]:
    """Parameters that are trained, their share of the language model's, bytes of their file."""
    trained = {name: p.data for name, p in model.named_parameters() if p.requires_grad}
    count = sum(tensor.numel() for tensor in trained.values())
    llm = model.llm if isinstance(model, AdaptedLLaMA) else model
    whole = sum(p.numel() for p in llm.parameters())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        write_weights(file, to_cpu(trained, torch.float16))
        return {
            "trained": float(count), "share": count / whole, "bytes": float(file.stat().st_size)
        }  # fmt: skip


def step_seconds(names: Sequence[str], settings: Settings, times: int = TIMED) -> dict[str, float]:
    """Seconds of the processor that a training step takes, the median; all arms in turns."""
    runs = []
    for name in names:
        recipe = arms.recipe_of(ARMS[name], settings, arms.TUNING_SEED)
        model = arms.begun(recipe, told=True).train()
        samples = recipe.build_data("train").__getitems__(range(settings.batch_size))
        batch = recipe.collate(train=True)(samples)
        runs.append((name, model, adamw(model, recipe.train), batch))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(times):
        for name, model, optimizer, batch in runs:
            begin = time.process_time()
            loss = torch.stack(list(model.losses(batch).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds[name].append(time.process_time() - begin)
    return {name: median(own[len(own) // 3 :]) for name, own in seconds.items()}


def zero_init(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """Version 1 with gates that begin closed, and with random ones, each at its best rate.

    Args:
        seeds: of weights and scenes, the same for all arms; three or more.
        settings: the numbers of an arm.

    Returns:
        ``measured``: score with closed gates minus with random ones, paired by seed. In
        ``others``: "first" for the same at the first measurement on the way, "loss" for the
        training loss at the end (random minus closed).
    """
    s = settings or Settings()
    return compare_zero_init(arms.all_of(arm, (V1, RANDOM), ARMS, seeds, s), seeds, s)


def compare_zero_init(scores: Scores, seeds: Sequence[int], settings: Settings) -> Measurement:
    """From both arms' numbers to what `zero_init` returns."""
    closed, opened = scores[V1], scores[RANDOM]
    first = min(steps_of(closed[0], "step"))
    others = with_ends("first", minus(closed, opened, f"step {first}"))
    others |= with_ends("loss", [late(b) - late(a) for a, b in zip(closed, opened, strict=True)])
    others |= with_ends("known", minus(closed, opened, "known"))
    values = minus(closed, opened, "score")
    return arms.measurement(values, scores, ("score", "known"), seeds, settings, others)


def late(found: Found) -> float:
    """The training loss, a mean over the last quarter of what was noted."""
    steps = steps_of(found, "loss")
    last = steps[-max(1, len(steps) // 4) :]
    return sum(found[f"loss {step}"] for step in last) / len(last)


def cost(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """All parameters, LoRA, and both versions: what they train, keep and cost, and what they reach.

    Arguments as of :func:`zero_init`.

    Returns:
        ``measured``: version 1's score as a part of full fine-tuning's, paired by seed. In
        ``others`` for each arm: "V1: ratio" for the same, "V1: score", ": share" of the parameters,
        ": trained", ": bytes", and ": seconds" of a step.
    """
    s = settings or Settings()
    scores = arms.all_of(arm, CURVE, ARMS, seeds, s)
    timed = kept("adapter seconds", [replace(s, rates=()), list(CURVE), TIMED],
                 partial(step_seconds, CURVE, s))  # fmt: skip
    return compare_cost(scores, timed, seeds, s)


def compare_cost(
    scores: Scores, timed: Found, seeds: Sequence[int], settings: Settings
) -> Measurement:
    """From the arms' numbers to what `cost` returns."""
    others: dict[str, float] = {}
    ratios: dict[str, list[float]] = {}
    for name, found in scores.items():
        full = [max(own["score"], 1e-9) for own in scores[FULL]]
        ratios[name] = [own["score"] / f for own, f in zip(found, full, strict=True)]
        others |= with_ends(f"{name}: ratio", ratios[name])
        others |= {f"{name}: {what}": found[0][what] for what in ("trained", "share", "bytes")}
        others[f"{name}: seconds"] = timed[name]
    return arms.measurement(ratios[V1], scores, ("score", "known"), seeds, settings, others)


def v2_bias(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """Version 2's few prompts with biases, scales and norms against as many parameters of prompts.

    Arguments as of :func:`zero_init`.

    Returns:
        ``measured``: score of version 2 minus that of version 1 with as many trained parameters,
        paired by seed. In ``others``: "bare" for the same against version 2's prompts alone.
    """
    s = settings or Settings()
    return compare_bias(arms.all_of(arm, (V2, ALIKE, BARE), ARMS, seeds, s), seeds, s)


def compare_bias(scores: Scores, seeds: Sequence[int], settings: Settings) -> Measurement:
    """From the arms' numbers to what `v2_bias` returns."""
    others = with_ends("bare", minus(scores[V2], scores[BARE], "score"))
    for name, found in scores.items():
        others |= {f"{name}: {what}": found[0][what] for what in ("trained", "share")}
    values = minus(scores[V2], scores[ALIKE], "score")
    kinds = ("score", "known", *instructions.INSTRUCTION_KINDS)
    return arms.measurement(values, scores, kinds, seeds, settings, others)
