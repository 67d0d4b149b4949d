"""The shapes of what LLaMA's experiments store, with numbers made up here."""

from __future__ import annotations

from typing import Any

CHANGES = ("RMSNorm", "SwiGLU", "rotary", "all three")
SIZES = ("small", "middle", "big")

STORED: dict[str, dict[str, Any]] = {
    "llama.architecture": {
        "loss by step": {a: [[[1, 6.0], [2, 5.0]]] * 3 for a in ("GPT-2", *CHANGES)},
        "gain": {arm: [0.1, 0.2, 0.3] for arm in CHANGES},
    },
    "llama.inference_budget": {
        "test loss by training FLOPs": {size: [[[1e9, 3.0], [1e10, 2.0]]] * 3 for size in SIZES},
        "FLOPs a token": {"small": 1e4, "middle": 4e4, "big": 16e4},
        "tokens": {"small": 16e5, "middle": 4e5, "big": 1e5},
        "last loss": {size: [2.0, 2.1, 2.2] for size in SIZES},
    },
    "llama.cache": {
        "lengths": [64, 128],
        "tokens a second": {way: [[400.0, 200.0]] * 3 for way in ("with", "without")},
    },
}
OTHERS = {f"{arm} {end}": at for arm in CHANGES for end, at in (("low", 0.1), ("high", 0.3))} | {
    "without low": 1.7, "without high": 1.8, "at the bound": 1.0,
    "middle compute low": 0.7, "middle compute high": 0.75,
}  # fmt: skip
