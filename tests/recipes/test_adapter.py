"""Adapters' runs: what they train, what their files hold, and a user's command on a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from vlcourse import cli, generate, weights, zoo
from vlcourse.engine.checkpoint import CheckpointError, find_weights
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.recipes import RECIPES, Recipe, parts, train_recipe
from vlcourse.recipes.memory import check_memory
from vlcourse.recipes.recipe import Part, RecipeError
from vlcourse.weights.state import weights_of, write_weights

TOYS = [name for name in RECIPES if name.startswith("adapter") and "toy" in name]
SHORT = TrainConfig(steps=2, batch_size=4, warmup=0, lr=1e-3)


def short(name: str) -> Recipe:
    """A run of two steps, measured on nothing."""
    recipe = RECIPES[name]
    return replace(recipe, train=SHORT, run=RunConfig())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Measures of few scenes, and an own folder of runs."""
    from vlcourse.evals import instructions

    few = instructions.instruction_set
    monkeypatch.setattr(
        instructions, "instruction_set", lambda split, scenes, **how: few(split, 8, **how)
    )
    told = instructions.captions
    monkeypatch.setattr(instructions, "captions", lambda *a, **k: told(*a, **k | {"n": 4}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_run_trains_the_adapter_and_its_file_holds_nothing_else(
    name: str, quick: Path
) -> None:
    recipe = short(name)
    result = train_recipe(recipe, out=quick / "run")
    assert result.step == 2 and 0 <= result.metrics["score"] <= 1
    with safe_open(find_weights(quick / "run"), "pt") as file:
        names, about = set(file.keys()), file.metadata()
    base = {name for name, _ in zoo.load("llm-toy").named_parameters()}
    if name == "adapter-toy-full":
        assert names == base
        return
    model: Any = result.model
    assert names == {n for n, p in model.named_parameters() if p.requires_grad}
    assert not any(n.startswith(("llm.", "image.")) for n in names)
    assert "llm" in json.loads((quick / "run/step-000002/state.json").read_text())["frozen"]
    assert about["format"] == "pt"
    assert all(
        torch.equal(tensor, model.llm.state_dict()[n])
        for n, tensor in zoo.load("llm-toy").state_dict().items()
    )
    again: Any = parts.trained(recipe, RECIPES, quick / "run")
    for n, tensor in weights_of(model).items():
        assert torch.equal(weights_of(again)[n], tensor), n


def test_adapters_are_stacked_on_disk_and_switched_around_one_llama(quick: Path) -> None:
    made = {}
    for name, seed in (("one", 1), ("two", 2)):
        recipe = replace(short("adapter-toy"), train=replace(SHORT, seed=seed, lr=0.3))
        made[name] = train_recipe(recipe, out=quick / name)
    llm: Any = zoo.load("llm-toy")
    tokens = torch.tensor([[1, 40, 50, 60]])
    base = generate.generate(llm, tokens, max_new_tokens=8)
    for name, result in made.items():
        model: Any = parts.trained(short("adapter-toy"), RECIPES, quick / name)
        model.llm = llm
        trained: Any = result.model
        with torch.no_grad():
            assert torch.equal(model(tokens), trained(tokens))
            assert not torch.equal(model(tokens), llm(tokens))
    assert torch.equal(generate.generate(llm, tokens, max_new_tokens=8), base)
    size = {n: find_weights(quick / n).stat().st_size for n in made}
    full = quick / "full.safetensors"
    write_weights(full, weights_of(llm))
    assert all(50 * each < full.stat().st_size for each in size.values())


def test_an_adapter_is_refused_beside_another_llama(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = short("adapter-toy")
    train_recipe(recipe, out=quick / "run")
    other: Any = zoo.load("llm-toy")
    with torch.no_grad():
        other.norm_final.weight[0] += 1
    write_weights(quick / "other.safetensors", weights_of(other))
    elsewhere = replace(recipe, parts=(Part("llm", str(quick / "other.safetensors"), True),))
    with pytest.raises(CheckpointError, match="trained beside the frozen part llm from llm-toy"):
        parts.trained(elsewhere, RECIPES, quick / "run")


def test_a_joint_run_may_have_one_of_its_two_kinds_of_data() -> None:
    recipe = RECIPES["adapter-v2-toy"]
    data: Any = recipe.data
    kinds = {}
    for tasks in (("captions", "instructions"), ("captions",), ("instructions",)):
        own = replace(recipe, data=replace(data, tasks=tasks, retold=0), train=SHORT)
        kinds[tasks] = [
            s["kind"] == "caption" for s in map(own.build_data("train").__getitem__, range(8))
        ]
    assert list(map(sum, kinds.values())) == [4, 8, 0]
    with pytest.raises(ValueError, match="'caption'.* Did you mean 'captions'"):
        replace(data, tasks=("caption",))
    with pytest.raises(ValueError, match="tasks is empty"):
        replace(data, tasks=())


# ------------------------------------------------------------------------- a user's command

TINY = LLaMAConfig(622, 24, 4, 2, hidden=20, context=2048)
WORDS = [
    f"model.llm.{n}={getattr(TINY, n)}"
    for n in ("vocab_size", "width", "layers", "heads", "hidden", "context")
]  # fmt: skip
COMMON = [
    "data.tokenizer=toy", "data.context=400", "train.batch_size=2", "train.steps=2",
    "train.warmup=1", "run.precision=float32", "run.workers=0", "run.checkpointing=false",
]  # fmt: skip


@pytest.fixture
def alpaca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with alpaca.json and LLaMAs in three layouts."""
    monkeypatch.chdir(tmp_path)
    row = {"instruction": "count the stars", "input": "two stars", "output": "there are 2 stars"}
    (tmp_path / "alpaca.json").write_text(json.dumps([row] * 6))
    torch.manual_seed(0)
    model = TINY.build()
    weights.save_hf(model, tmp_path / "hf")
    theirs, params = weights.to_official(model)
    (tmp_path / "official").mkdir()
    write_weights(tmp_path / "official/consolidated.safetensors", dict(theirs))
    (tmp_path / "official/params.json").write_text(json.dumps(params))
    (tmp_path / "ours").mkdir()
    write_weights(tmp_path / "ours/model.safetensors", weights_of(model))
    return tmp_path


def command(name: str, source: str, *more: str) -> list[str]:
    kind = () if name.endswith("lora") else ("model.prompts=3",)
    layers = ("model.layers=3",) if name == "adapter-7b" else ()
    words = ["train", name, f"parts=llm:{source}:true", *WORDS, *kind, *layers, *COMMON, *more]
    return [*words, "--out", "run", "--fresh"]


@pytest.mark.parametrize("source", ["hf", "official", "ours"])
def test_a_user_trains_around_weights_in_any_layout(
    source: str, alpaca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command("adapter-7b", source, "data.source=alpaca.json")) == 0
    assert "test_lm" in capsys.readouterr().out
    state = json.loads((alpaca / "run/step-000002/state.json").read_text())
    assert state["frozen"]["llm"]["source"] == source
    with safe_open(find_weights(alpaca / "run"), "pt") as file:
        assert set(file.keys()) == {
            f"layers.{i}.{n}" for i in range(3) for n in ("prompts", "gate.value")
        }


def test_a_user_trains_lora_on_the_same_file(alpaca: Path) -> None:
    assert cli.main(command("adapter-7b-lora", "hf", "data.source=alpaca.json")) == 0


def test_a_bad_record_is_named_in_one_sentence(
    alpaca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads((alpaca / "alpaca.json").read_text())
    del rows[4]["output"]
    (alpaca / "bad.json").write_text(json.dumps(rows))
    refused = {
        "data.source=bad.json": "bad.json, record 4: 'output' is missing; it has",
        "data.source=none.json": "there is no file none.json",
        "data.source=alpaca.json data.context=4": "6 answer cut off|5 answer cut off",
    }
    for words, said in refused.items():
        assert cli.main(command("adapter-7b", "ours", *words.split())) == 2
        error = capsys.readouterr().err
        assert pytest.importorskip("re").search(said, error), error
        assert error[error.index("vlcourse: ") :].count("\n") == 1
    assert not (alpaca / "run").exists()


def test_version_2_of_the_papers_shape_trains_on_pictures_of_yours(
    alpaca: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    Image.new("RGB", (20, 30), "red").save(alpaca / "a.png")
    talk = [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "red"}]
    rows = [{"image": "a.png", "conversations": talk}] * 3
    rows += [{"instruction": "count", "output": "two"}] * 3  # type: ignore[list-item]
    (alpaca / "llava.json").write_text(json.dumps(rows))
    recipe = RECIPES["adapter-v2-7b"]
    image = replace(recipe.model.image, image_size=16, patch_size=8, width=12, layers=2, heads=3)
    model = replace(
        recipe.model, llm=TINY, image=image, image_embed=8, prompts=3, layers=2, queries=2,
        visual_width=8, visual_layers=1, visual_heads=2,
    )  # fmt: skip
    data = replace(recipe.data, tokenizer="toy", context=400)
    run = RunConfig(precision="float32")
    own = replace(recipe, model=model, data=data, train=SHORT, run=run,
                  parts=(Part("llm", "hf", True),))  # fmt: skip
    result = train_recipe(own, save=False)
    assert {"test_instruct", "test_caption"} == result.metrics.keys()


def test_memory_counts_what_is_frozen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLCOURSE_DEVICE", "cpu")
    pages = {"SC_PHYS_PAGES": 30_000_000_000 // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", lambda name: pages[name])
    check_memory(RECIPES["adapter-7b"])  # 27 GB, and a little
    with pytest.raises(RecipeError, match="needs 108 GB"):
        check_memory(RECIPES["llama-7b"])


def test_the_papers_numbers() -> None:
    v1, v2 = RECIPES["adapter-7b"], RECIPES["adapter-v2-7b"]
    assert (v1.train.batch_size, v1.train.lr, v1.train.weight_decay) == (64, 9e-3, 0.02)
    assert v1.train.steps == 4062 and v1.train.warmup == 1625  # 5 and 2 epochs
    assert (v1.model.prompts, v1.model.layers) == (10, 30)
    assert (v2.model.prompts, v2.model.queries, v2.model.layers, v2.model.early) == (20, 20, 31, 1)
