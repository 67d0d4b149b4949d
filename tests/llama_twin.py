"""A transformers LLaMA with odd sizes, for the tests of ours."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

VOCAB, WIDTH, HEADS, LAYERS = 67, 54, 3, 3  # 18 channels a head


def settings(**changes: Any) -> dict[str, Any]:
    """What LlamaConfig takes."""
    return {
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": 61,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "rms_norm_eps": 1e-3,
        "rope_parameters": {"rope_type": "default", "rope_theta": 300.0},
        "max_position_embeddings": 40,
        **changes,
    }


def twin(**changes: Any) -> nn.Module:
    """Every parameter random and of a size at which it matters."""
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings(**changes)))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.15)
            if parameter.ndim == 1:
                parameter.abs_().add_(0.7)
    return model.eval()


def text(rows: int, length: int) -> Tensor:
    """(rows, length) random ids."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(VOCAB, (rows, length), generator=generator)
