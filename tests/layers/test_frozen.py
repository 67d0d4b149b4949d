"""What is frozen stays so, whoever calls ``train()``; ``evaluating`` puts modes back."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vlcourse import engine
from vlcourse.engine.optimizer import adamw
from vlcourse.layers.frozen import evaluating, freeze, thaw
from vlcourse.models.base import Trainable


class Adapted(Trainable):
    """A frozen trunk with a batch norm and dropout, and a head that is trained."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        trunk = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Sequential(nn.Dropout(0.5)))
        self.trunk, self.head = freeze(trunk), nn.Linear(8, 1)
        self.free = nn.BatchNorm1d(6)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"square": self.head(self.trunk(self.free(batch["x"]))).square().mean()}


def pickled(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # written by this test itself


def compiled(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize("way", [lambda model: model, copy.deepcopy, pickled, compiled])
def test_no_train_reaches_a_frozen_part(way: Callable[[nn.Module], nn.Module]) -> None:
    model = way(Adapted())
    for part in (model, model.trunk, model.trunk[2], model.eval()):
        part.train()
        modes = {name: module.training for name, module in model.trunk.named_modules()}
        assert not any(modes.values()), modes
    assert model.head.training and model.free.training and model.training
    assert model.trunk[1].train() is model.trunk[1]  # its own, not the original's
    before = copy.deepcopy(model.trunk.state_dict())
    x = torch.randn(16, 6)
    assert torch.equal(model.trunk(x), model.trunk(x))  # no dropout
    model.losses({"x": x})["square"].backward()
    for name, value in model.trunk.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in model.trunk.parameters())
    assert model.head.weight.grad is not None


def test_a_run_leaves_a_frozen_part_as_it_was() -> None:
    model = Adapted()
    before = copy.deepcopy(model.state_dict())
    settings = engine.TrainConfig(steps=3, batch_size=4, lr=0.1, warmup=1)
    trained = {id(p) for g in adamw(model, settings).param_groups for p in g["params"]}
    assert trained == {id(p) for m in (model.head, model.free) for p in m.parameters()}
    rows = [{"x": torch.randn(6)} for _ in range(12)]
    result = engine.fit(
        model, rows, lambda chosen, generator=None: {"x": torch.stack([r["x"] for r in chosen])},
        settings, engine.RunConfig(eval_every=1),
        evaluate=lambda m: engine.evaluate_loss(m, rows, lambda c: {"x": c[0]["x"][None]}, 1),
    )  # fmt: skip
    for name, value in result.model.state_dict().items():
        moved = not name.startswith("trunk")
        assert torch.equal(value, before[name]) != moved, name


def test_evaluating_puts_each_part_back_into_its_own_mode() -> None:
    model = Adapted().train()
    model.free.eval()
    before = {name: module.training for name, module in model.named_modules()}
    with pytest.raises(KeyError), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert {name: module.training for name, module in model.named_modules()} == before


def test_what_is_thawed_is_trained_again_and_in_float32() -> None:
    model = Adapted()
    model.trunk.half()
    model.train()
    assert not model.trunk.training
    assert thaw(model.trunk) is model.trunk
    assert {p.dtype for p in model.trunk.parameters()} == {torch.float32}
    model.train()
    assert all(part.training for part in model.trunk.modules())
    model.losses({"x": torch.randn(4, 6)})["square"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert not any(part.training for part in model.eval().trunk.modules())
