"""Gradient checkpointing: the same numbers, less memory."""

from __future__ import annotations

import copy
import socket

import pytest
import tiny
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from vlcourse.engine import parallel, recompute
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig

TEXT = TextConfig(vocab_size=61, context=19, width=32, layers=4, heads=4)
VIT = CLIPConfig(20, ViTConfig(15, 5, width=48, layers=4, heads=3), TEXT)
RESNET = CLIPConfig(20, ResNetConfig(64, (1, 2, 1, 1), width=8, heads=4), TEXT)


def batch(size: int) -> dict[str, torch.Tensor]:
    tokens = torch.randint(1, 59, (6, 19))
    tokens[:, -1] = 60
    return {"pixels": torch.randn(6, 3, size, size), "tokens": tokens}


def step(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """The loss after a backward pass, and the bytes that were held for it beside the parameters."""
    held: dict[int, int] = {}
    own = {p.data_ptr() for p in model.parameters()}

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            held[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    def hold_input(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        hold(inputs[0])

    hooks = [block.register_forward_pre_hook(hold_input) for block in recompute.blocks(model)]
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        loss = model(inputs)["itc"]
    for hook in hooks:
        hook.remove()
    loss.backward()
    return loss.detach(), sum(held.values())


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_same_loss_gradients_and_statistics_with_less_memory(config):
    torch.manual_seed(0)
    plain = config.build()
    again = copy.deepcopy(plain)
    recompute.recompute_blocks(again)
    recompute.recompute_blocks(again)  # changes nothing more
    for _ in range(2):
        inputs = batch(config.image.image_size)
        expected, whole = step(plain, inputs)
        loss, held = step(again, inputs)
        assert torch.equal(loss, expected)
        assert held < whole / 2
    others = dict(again.named_parameters())
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(others[name].grad, parameter.grad, rtol=1e-6, atol=1e-7)
    state = again.state_dict()
    assert list(state) == list(plain.state_dict())
    for name, tensor in plain.state_dict().items():  # running statistics moved twice, not 4 times
        assert torch.equal(state[name], tensor), name


def test_dropout_masks_repeat():
    torch.manual_seed(0)
    plain = tiny.Tiny(dropout=0.5)
    again = copy.deepcopy(plain)
    recompute.recompute_blocks(again)
    inputs = {"x": torch.randn(8, 6), "y": torch.randn(8, 6)}
    gradients = []
    for model in (plain, again):
        torch.manual_seed(1)
        model(inputs)["itc"].backward()
        gradients.append(model.blocks[0].linear.weight.grad)
    assert torch.equal(*gradients)


def test_a_copy_is_independent_of_its_original():
    model = VIT.build()
    recompute.recompute_blocks(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    assert other(batch(15))["itc"].isfinite()


def test_training_with_it_gives_the_same_weights(tmp_path):
    plain = tiny.fit(tiny.config(), dropout=0.3)
    again = tiny.fit(tiny.config(checkpointing=True), tmp_path, dropout=0.3)
    for name, tensor in plain.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], tensor, rtol=1e-6, atol=1e-7)
    longer = tiny.fit(tiny.config(steps=7), tmp_path, dropout=0.3)  # may change when going on
    assert longer.step == 7


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_training_with_it_over_ranks(mode, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    plain = tiny.fit(tiny.config(accumulate=2))
    try:
        settings = tiny.config(parallel=mode, accumulate=2, checkpointing=True)
        again = tiny.fit(settings, evaluate=tiny.evaluate)
        weights = {
            name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            for name, tensor in again.model.state_dict().items()
        }
    finally:
        parallel.finish()
    assert [row["loss"] for row in again.history] == pytest.approx(
        [row["loss"] for row in plain.history], abs=1e-6
    )
    for name, tensor in plain.model.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-5, atol=1e-6)


def test_it_compiles():
    torch.manual_seed(0)
    model, inputs = VIT.build(), batch(15)
    recompute.recompute_blocks(model)
    expected = model(inputs)["itc"]
    block = model.image.blocks[0]
    block.compile(backend="aot_eager")
    loss = model(inputs)["itc"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert block.mlp.up.weight.grad.any()
