"""FSDP at size: no rank ever holds the whole model, and its checkpoints fit any number of ranks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import fsdp_ranks
import pytest
import tiny
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from vlcourse import cli
from vlcourse.engine import checkpoint, moments, parallel, plan, sharding
from vlcourse.engine.deferred import DeferError, Deferred
from vlcourse.engine.optimizer import adamw
from vlcourse.recipes import RECIPES

MB = 1_000_000
WORLD = 3


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The folder, and the report of each of three ranks, which do not divide the rows evenly."""
    out = tmp_path_factory.mktemp("large")
    forked.ranks(WORLD, fsdp_ranks.run, out)
    files = [out / f"rank-{rank}.json" for rank in range(WORLD)]
    return out, [json.loads(file.read_text()) for file in files]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts the memory")
def test_no_rank_holds_the_whole_model_at_any_moment(
    large: tuple[Path, list[Any]],
) -> None:
    """Peak memory of the process, above its share: at most a few units of a model of 16.

    A start makes one tensor at a time. A step has two blocks gathered (FSDP fetches the next one
    early), the gradient of one, and the buffers of both transfers; an evaluation the blocks only;
    a save and a load have the bytes of one block. The 4 MB are for activations and the interpreter.
    """
    _, reports = large
    share, unit = fsdp_ranks.WHOLE / WORLD, fsdp_ranks.UNIT
    # weights; with gradients and Adam's two means; then without gradients
    bounds = {"start": (1, 1), "train": (4, 6), "save": (3, 5), "evaluate": (3, 5), "load": (3, 5)}
    for report in reports:
        for phase, (states, units) in bounds.items():
            bound = states * share + units * unit + 4 * MB
            assert report[phase] < bound, (phase, report)
            assert bound < states * share + fsdp_ranks.WHOLE - share  # so a whole copy is found


@pytest.mark.slow
def test_what_was_saved_by_ranks_goes_on_in_one_process(
    large: tuple[Path, list[Any]],
) -> None:
    out, reports = large
    folder = out / "large" / "step-000002"
    assert not list(folder.rglob("*.pt")) and not list(folder.rglob("*.distcp"))
    settings = tiny.config()
    torch.manual_seed(1)
    placed = parallel.Placed(fsdp_ranks.Large, parallel.start("none"), settings.run)
    optimizer = adamw(placed.plain, settings.train)
    assert checkpoint.resume(out / "large", placed, optimizer)["seconds"] == 1.0
    with torch.no_grad():
        expected = fsdp_ranks.measured(placed.plain)
    for report in reports:
        for name, value in expected.items():
            assert report[name] == pytest.approx(value, rel=1e-4), name
    for place in (out / "large", folder / "weights", folder / "model.safetensors"):
        loaded = fsdp_ranks.Large()
        checkpoint.load_weights(loaded, place)
        for name, tensor in placed.plain.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), (place, name)
    exported = load_file(folder / "model.safetensors")
    assert exported.keys() == placed.plain.state_dict().keys()
    for name, tensor in placed.plain.state_dict().items():
        assert torch.equal(exported[name], tensor), name
    state = moments.of(placed.plain, optimizer)
    assert all(values["step"] == 2 for values in state.values())
    assert state["blocks.3.up.weight"]["exp_avg"].any()


def test_a_sharded_start_is_the_plain_one_of_its_seed() -> None:
    for name in ("clip-toy", "llm-toy", "seq2seq-toy", "clip-cifar"):
        torch.manual_seed(5)
        plain = RECIPES[name].build_model()
        then = torch.rand(3)
        torch.manual_seed(5)
        with Deferred() as deferred:
            model = RECIPES[name].build_model()
        assert torch.equal(torch.rand(3), then)
        tensors = deferred.tensors(model)
        assert all(p.is_meta for p in model.parameters())
        made = {key: deferred.make(noted) for key, noted in tensors.items()}
        named = [*plain.named_parameters(remove_duplicate=False)]
        named += plain.named_buffers(remove_duplicate=False)
        assert made.keys() == {key for key, _ in named}
        assert all(torch.equal(made[key], tensor) for key, tensor in named)


def test_views_copies_and_rejected_numbers_are_repeated_too() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Linear(300, 300)
            self.b = torch.nn.Parameter(torch.randn(300, 300) * 0.1)
            self.e = torch.nn.Embedding(900, 300, padding_idx=3)
            torch.nn.init.trunc_normal_(self.a.weight[:200])
            self.e.weight.data[5:7] = self.b.data[0]
            self.few = torch.nn.Parameter(torch.linspace(0, 1, 5))
            assert self.few.sum().item() == 2.5  # a constructor may look at what is small

    torch.manual_seed(1)
    plain = Odd()
    torch.manual_seed(1)
    with Deferred() as deferred:
        model = Odd()
    tensors = deferred.tensors(model)
    for name, tensor in plain.named_parameters():
        assert torch.equal(deferred.make(tensors[name]), tensor), name


def test_a_constructor_that_looks_at_large_tensors_is_refused() -> None:
    def build() -> torch.nn.Module:
        model = torch.nn.Linear(300, 300)
        if model.weight.sum() > 0:
            torch.nn.init.zeros_(model.bias)
        return model

    with pytest.raises(DeferError, match="build the model first"), Deferred():
        build()


def test_the_plan_of_65b_over_8_ranks() -> None:
    """Touvron et al. 2023: 65.2 billion parameters; float32 with Adam is 16 bytes each."""
    shares = plan.plan(RECIPES["llama-65b"].build_model, 8)
    assert len(shares) == 8
    with torch.device("meta"):
        sizes = [p.shape for p in RECIPES["llama-65b"].build_model().parameters()]
    whole = sum(size.numel() for size in sizes)
    assert whole == 65_285_660_672
    assert sum(s.weights for s in shares) == 4 * whole
    most = sum(-(-size[0] // 8) * size[1:].numel() for size in sizes)  # a row is never cut
    for share in shares:
        assert share.weights == share.gradients <= 4 * most < 4 * whole / 8 * 1.001
        assert share.adam == 2 * share.weights and share.kept == 4 * share.weights
    assert shares[0].unit == 4 * (4 * 8192**2 + 3 * 8192 * 22016 + 2 * 8192)
    lines = plan.table(shares).splitlines()
    assert len(lines) == 2  # 8 equal shares
    assert lines[1].split() == ["0–7", "32.64", "32.64", "65.29", "130.57", "3.24"]
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("world", [2, 3, 5])
def test_the_plan_is_what_each_rank_gets(world: int) -> None:
    """Against FSDP2's own cut of a model whose sizes do not divide, on every pretended rank."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    shares = plan.plan(tiny.Tiny, world)
    for rank in range(world):
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
        try:
            with torch.device("meta"):
                model = tiny.Tiny()
            sharding.shard(model, torch.device("cpu"))
            local = {n: p.to_local().numel() for n, p in model.named_parameters()}  # type: ignore[attr-defined]
        finally:
            dist.destroy_process_group()
        assert shares[rank].weights == 4 * sum(local.values())
        trained = sum(n for name, n in local.items() if not name.startswith("frozen"))
        assert shares[rank].gradients == 4 * trained and shares[rank].adam == 8 * trained


def test_the_command_prints_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "llm-toy", "model.width=128", "--ranks", "4"]) == 0
    said = capsys.readouterr().out
    model = RECIPES["llm-toy"].model
    with torch.device("meta"):
        whole = sum(p.numel() for p in replace(model, width=128).build().parameters())
    assert f"llm-toy: {whole:,} parameters" in said and said.splitlines()[2].startswith("0–")
    assert cli.main(["plan", "llm-toy", "--ranks", "0"]) == 2
    assert "ranks=0 is out of range; 1 to" in capsys.readouterr().err
    assert cli.main(["plan"]) == 2
