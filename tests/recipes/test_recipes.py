"""The paper's runs: its numbers, its sizes, and the same code as a toy run."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from vlcourse import overrides, recipes, tokenizers
from vlcourse.engine import checkpoint
from vlcourse.models.clip import PRESETS
from vlcourse.recipes import RECIPES, RecipeError
from vlcourse.recipes.clip import PAPER_RUNS
from vlcourse.recipes.parts import started
from vlcourse.tokenizers import clip_merges

# Radford et al. 2021, tables 18 to 20: preset, steps, lr, beta2, eps
PAPER = {
    "clip-rn50": ("RN50", 390_625, 5e-4, 0.999, 1e-8),
    "clip-rn101": ("RN101", 390_625, 5e-4, 0.999, 1e-8),
    "clip-rn50x4": ("RN50x4", 390_625, 5e-4, 0.999, 1e-8),
    "clip-rn50x16": ("RN50x16", 390_625, 4e-4, 0.999, 1e-8),
    "clip-rn50x64": ("RN50x64", 390_625, 3.6e-4, 0.999, 1e-8),
    "clip-vit-b32": ("ViT-B/32", 390_625, 5e-4, 0.98, 1e-6),
    "clip-vit-b16": ("ViT-B/16", 390_625, 5e-4, 0.98, 1e-6),
    "clip-vit-l14": ("ViT-L/14", 390_625, 4e-4, 0.98, 1e-6),
    "clip-vit-l14-336": ("ViT-L/14@336", 12_207, 2e-5, 0.98, 1e-6),
}


def test_each_published_model_has_its_recipe():
    assert [run[0] for run in PAPER_RUNS] == list(PAPER)
    assert [run[1] for run in PAPER_RUNS] == list(PRESETS)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_numbers(name):
    shape, steps, lr, beta2, eps = PAPER[name]
    recipe, train = RECIPES[name], RECIPES[name].train
    assert (train.steps, train.lr, train.beta2, train.eps) == (steps, lr, beta2, eps)
    assert (train.batch_size, train.warmup, train.min_lr) == (32_768, 2000, 0.0)
    assert (train.weight_decay, train.beta1, train.clip_norm) == (0.2, 0.9, 0.0)
    assert recipe.run.precision == "bf16" and recipe.run.checkpointing and train.accumulate == 1
    assert (recipe.data.context, recipe.data.tokenizer) == (77, "clip")
    assert recipe.data.augment == "random-square"
    assert recipe.model == PRESETS[shape]
    start = (recipes.Part("", "clip-vit-l14"),) if name.endswith("336") else ()
    assert recipe.parts == start
    with torch.device("meta"):
        model = recipe.build_model()
    assert not any(p.device.type != "meta" for p in model.parameters())


def test_the_pairs_of_the_paper_are_yours_to_name(monkeypatch):
    monkeypatch.delenv("VLCOURSE_SHARED_DATA", raising=False)
    with pytest.raises(RecipeError, match="data.source=wit: .* in none of .*or name a path"):
        RECIPES["clip-vit-b32"].build_data("train")


def test_a_tokenizer_that_does_not_fit_the_model_is_refused():
    pytest.importorskip("open_clip")
    with pytest.raises(RecipeError, match="tokenizer=clip has 49408 ids, but .* is 721"):
        overrides.apply(RECIPES["clip-toy"], ["data.tokenizer=clip"]).tokenizer()


TINY = ("model.embed=16", "model.image.patch_size=16", "model.image.width=32",
        "model.image.layers=2", "model.image.heads=2", "model.text.width=32",
        "model.text.layers=2", "model.text.heads=2", "train.parallel=none", "train.workers=0",
        "train.batch_size=4", "train.eval_every=0", "train.warmup=1")  # fmt: skip


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Six captioned pictures of several shapes, in the folders train/ and test/."""
    for split in ("train", "test"):
        folder = tmp_path / "pairs" / split
        folder.mkdir(parents=True)
        rows = []
        for i in range(6):
            size = (40 + 8 * i, 60)
            Image.new("RGB", size, (40 * i, 255 - 40 * i, 90)).save(folder / f"{i}.png")
            rows.append({"file_name": f"{i}.png", "text": f"picture number {i} " + "very " * 90})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metadata.jsonl").write_text(lines)
    return tmp_path / "pairs"


def test_a_paper_run_and_its_336_px_epoch_in_small(pairs: Path, tmp_path, monkeypatch):
    pytest.importorskip("open_clip")
    monkeypatch.chdir(tmp_path)
    changes = [*TINY, f"data.source={pairs}", "train.steps=2"]
    small = overrides.apply(RECIPES["clip-vit-l14"], [*changes, "model.image.image_size=32"])
    result = recipes.train_recipe(small)
    assert result.step == 2 and set(result.metrics) == {"text_to_image", "image_to_text"}
    larger = [*changes, "model.image.image_size=64"]
    second = overrides.apply(RECIPES["clip-vit-l14-336"], larger)
    monkeypatch.setitem(RECIPES, "clip-vit-l14", small)
    start = started(second, RECIPES)
    weights = result.model.state_dict()
    for name, tensor in start.state_dict().items():
        assert name == "image.positions" or torch.equal(tensor, weights[name])
    assert recipes.train_recipe(second).step == 2
    wider = replace(second, model=replace(second.model, embed=8))
    with pytest.raises(RecipeError, match="their models differ in more than the size"):
        started(wider, RECIPES)
    missing = overrides.apply(second, ["parts=:clip-rn50"])
    monkeypatch.setitem(RECIPES, "clip-rn50", small)
    with pytest.raises(checkpoint.CheckpointError, match="no weights at runs/clip-rn50"):
        started(missing, RECIPES)
    with pytest.raises(RecipeError, match="there is no recipe 'clip-nothing'"):
        started(overrides.apply(second, ["parts=:clip-nothing"]), RECIPES)


def test_clips_merges_are_found_and_checked(tmp_path: Path, monkeypatch):
    open_clip = pytest.importorskip("open_clip")
    monkeypatch.delenv("VLCOURSE_CLIP_BPE", raising=False)
    began = time.perf_counter()
    tokenizer = tokenizers.clip()
    assert time.perf_counter() - began < 10
    assert tokenizer.vocab_size == 49408 and tokenizer is tokenizers.clip()
    assert torch.equal(
        tokenizer(["a photo of a dog"], pad_to=77), open_clip.tokenize(["a photo of a dog"])
    )
    plain = tmp_path / "merges.txt"
    merges = clip_merges.read(clip_merges.find())
    plain.write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "utf-8")
    monkeypatch.setenv("VLCOURSE_CLIP_BPE", str(plain))
    assert clip_merges.find() == plain and clip_merges.read(plain) == merges


def test_clips_merges_that_are_missing_or_others(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("VLCOURSE_CLIP_BPE", str(tmp_path / "none.txt"))
    with pytest.raises(clip_merges.MergesError, match="there is no file .*none.txt"):
        tokenizers.clip()
    for content, said in (
        ("#version\na b\n", "line 3: expected two symbols"),
        ("#version\n" + "a b\n" * 10 + "abc\n", "line 12: expected two symbols, got 'abc'"),
        ("#version\n" + "a b\n" * 9 + "a b", "has 10 merges, CLIP's tokenizer 48894"),
    ):
        (tmp_path / "bad.txt").write_text(content)
        with pytest.raises(clip_merges.MergesError, match=said):
            tokenizers.clip(tmp_path / "bad.txt")
    (tmp_path / "bad.txt").write_bytes(b"\x1f\x8bdamaged")
    with pytest.raises(clip_merges.MergesError, match="cannot be read"):
        tokenizers.clip(tmp_path / "bad.txt")
    monkeypatch.delenv("VLCOURSE_CLIP_BPE")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(clip_merges.MergesError, match="not shipped.*VLCOURSE_CLIP_BPE"):
        tokenizers.clip()
