"""The shapes of what LLaMA's experiments store, with numbers made up here."""

from __future__ import annotations

from typing import Any

from vlcourse.teach.llama.experiments import norm_place

CHANGES = ("RMSNorm", "SwiGLU", "rotary", "all three")
WAYS = tuple(norm_place.WAYS)
SIZES = ("small", "middle", "big")

STORED: dict[str, dict[str, Any]] = {
    "llama.architecture": {
        "loss by step": {a: [[[1, 6.0], [2, 5.0]]] * 3 for a in ("GPT-2", *CHANGES)},
        "gain": {arm: [0.1, 0.2, 0.3] for arm in CHANGES},
    },
    "llama.pre_norm": {
        "rates": [1e-3, 1e-2],
        "test loss": {way: [[2.0, 2.1, 2.2]] * 2 for way in WAYS},
        "loss by step at the high rate": {way: [[[5, 3.0], [10, 2.0]]] * 3 for way in WAYS},
    },
    "llama.inference_budget": {
        "test loss by training FLOPs": {
            size: [[[25e9, 3.0], [50e9, 2.0 + seed / 10]] for seed in range(3)] for size in SIZES
        },
        "multiplied": {"small": 1e4, "middle": 2e4, "big": 4e4},
        "goal": 50e9,
        "training for the goal": [{"small": 8e10, "middle": 5e10, "big": 6e10}] * 3,
    },
    "llama.cache": {
        "lengths": [64, 128],
        "tokens a second": {way: [[400.0, 200.0]] * 3 for way in ("with", "without")},
    },
}
OTHERS = {f"{arm} {end}": at for arm in CHANGES for end, at in (("low", 0.1), ("high", 0.3))} | {
    "without low": 1.7, "without high": 1.8, "frequencies": 4.0,
}  # fmt: skip
