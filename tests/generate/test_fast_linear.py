"""FastLinear is nn.Linear: the same numbers, names, gradients and files."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from vlcourse.generate import generate
from vlcourse.generate.fast_linear import FastLinear, for_decoding
from vlcourse.models.llama import LLaMAConfig
from vlcourse.weights.state import weights_of, write_weights

CONFIG = LLaMAConfig(vocab_size=31, width=24, layers=2, heads=4, kv_heads=2, hidden=33)


class Scaled(nn.Linear):
    """A linear map that does something else."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Twice as much."""
        return 2 * super().forward(input)


@pytest.mark.parametrize("shape", [(7,), (1, 1, 7), (5, 7), (2, 3, 7), (0, 3, 7), (130, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_without_gradients_it_agrees_with_linear(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(7, 11, bias), torch.randn(shape)
    fast = for_decoding(copy.deepcopy(linear))
    assert type(fast) is FastLinear
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(fast(x), linear(x))
            wide = torch.randn(*shape[:-1], 14)[..., ::2]  # not contiguous
            torch.testing.assert_close(fast(wide), linear(wide))


def test_elsewhere_it_is_linear() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(7, 11), torch.randn(3, 7)
    fast = for_decoding(copy.deepcopy(linear))
    linear(x).pow(2).sum().backward()
    fast(x).pow(2).sum().backward()
    assert torch.equal(fast.weight.grad, linear.weight.grad)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            assert fast(x).dtype == torch.bfloat16
        assert fast.double()(x.double()).dtype == torch.float64
        assert fast.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_a_model_for_decoding_keeps_its_weights_names_and_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = CONFIG.build()
    before = {name: (value.data_ptr(), value.stride()) for name, value in weights_of(model).items()}
    assert for_decoding(model) is model
    after = {name: (value.data_ptr(), value.stride()) for name, value in weights_of(model).items()}
    assert before == after
    write_weights(tmp_path / "model.safetensors", weights_of(model))
    plain = CONFIG.build()
    plain.load_state_dict(load_file(tmp_path / "model.safetensors"))
    tokens = torch.randint(0, 31, (2, 6))
    assert torch.equal(
        generate(model, tokens, max_new_tokens=12), generate(plain, tokens, max_new_tokens=12)
    )
    loss = model({"tokens": tokens, "targets": tokens})["lm"]
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_other_kinds_of_linear_are_left_alone() -> None:
    model = for_decoding(nn.Sequential(nn.Linear(3, 3), Scaled(3, 3)))
    assert [type(part) for part in model] == [FastLinear, Scaled]
