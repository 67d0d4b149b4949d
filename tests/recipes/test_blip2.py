"""BLIP-2's recipes: the paper's numbers, what they read, and that they train what lies between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from vlcourse import tokenizers
from vlcourse.data.collate.captioned import CaptionedCollate
from vlcourse.engine import TrainConfig
from vlcourse.engine.checkpoint import CheckpointError, find_weights
from vlcourse.generate import generate, stream
from vlcourse.models.blip2 import BLIP2Config
from vlcourse.models.blip2_llm import BLIP2LLMConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.recipes import RECIPES, parts, train_recipe
from vlcourse.recipes.blip import TOY_MED
from vlcourse.recipes.blip2_data import CaptionTexts, TextsData
from vlcourse.recipes.recipe import Part, Recipe, RecipeError

WORDS = tokenizers.llama()
TOWER = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1))
DECODER = LLaMAConfig(WORDS.vocab_size, 16, 1, 2, hidden=16, context=64)
SEQ2SEQ = Seq2SeqConfig(WORDS.vocab_size, 16, 1, 1, 2, 8, 16, max_distance=64)
ONE = TrainConfig(steps=2, batch_size=4, warmup=0)


def small(name: str) -> Recipe:
    """A toy recipe with a model that fits into a test, and nothing from elsewhere."""
    recipe = RECIPES[name]
    qformer = replace(recipe.model.qformer, queries=2, width=16, layers=2, heads=2, image_width=64)
    model = replace(recipe.model, image=TOWER, qformer=qformer)
    if hasattr(model, "llm"):
        model = replace(model, llm=SEQ2SEQ if model.encodes else DECODER)
    return replace(recipe, model=model, train=ONE, parts=(Part("image", "tower", frozen=True),))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Recipe]:
    """Small recipes in the place of the toy ones, their measures left out."""
    monkeypatch.chdir(tmp_path)
    found = {name: small(name) for name in ("blip2-toy", "blip2-toy-llm", "blip2-toy-seq2seq")}
    clip = replace(RECIPES["clip-toy-grid"].model, image=TOWER)
    found["clip-toy-grid"] = replace(RECIPES["clip-toy-grid"], model=clip, train=ONE)
    for name, llm in (("llm-toy", DECODER), ("seq2seq-toy", SEQ2SEQ)):
        data = replace(RECIPES[name].data, context=64)
        found[name] = replace(RECIPES[name], model=llm, train=ONE, data=data)
    text = replace(TOY_MED, width=16, layers=2, heads=2, image_width=64)
    blip = replace(RECIPES["blip-toy"].model, image=TOWER, text=text, queue=8)
    found["blip-toy"] = replace(RECIPES["blip-toy"], model=blip, train=ONE, parts=())
    for name, recipe in found.items():
        if name.startswith("blip2"):
            found[name] = replace(recipe, parts=RECIPES[name].parts)
        monkeypatch.setattr(type(recipe.data), "measure", lambda *_: lambda model: {})
        monkeypatch.setitem(RECIPES, name, found[name])
    for name in ("clip-toy-grid", "llm-toy", "seq2seq-toy", "blip-toy"):
        train_recipe(found[name])
    return found


def test_the_first_stage_begins_as_blips_text_side_and_its_looks_from_nothing(
    table: dict[str, Recipe],
) -> None:
    begun: Any = parts.started(table["blip2-toy"], RECIPES)
    blip: Any = parts.trained(table["blip-toy"], RECIPES, Path("runs/blip-toy"))
    tokens = torch.tensor([[1, 5, 9, 2]])
    torch.testing.assert_close(
        begun.qformer.read(tokens), blip.text.encode(tokens), rtol=1e-4, atol=1e-4
    )
    cross, theirs = begun.qformer.blocks[0].cross, blip.text.blocks[0].reader.cross
    assert not torch.equal(cross.q.weight, theirs.q.weight)
    assert all(parameter.requires_grad for parameter in begun.qformer.parameters())


def test_the_papers_numbers() -> None:
    for image, batch in (("l", 2320), ("g", 1680)):
        train = RECIPES[f"blip2-{image}"].train
        assert (train.steps, train.batch_size, train.lr, train.min_lr) == (
            250_000,
            batch,
            1e-4,
            0.1,
        )
        assert (train.weight_decay, train.beta1, train.beta2) == (0.05, 0.9, 0.98)
        assert train.warmup == 2000 and RECIPES[f"blip2-{image}"].parts[0].frozen
    second = {
        "blip2-l-opt-2.7b": 1920, "blip2-g-opt-2.7b": 1920, "blip2-g-opt-6.7b": 1920,
        "blip2-l-flant5-xl": 1520, "blip2-g-flant5-xl": 1520, "blip2-g-flant5-xxl": 1520,
    }  # fmt: skip
    for name, batch in second.items():
        recipe = RECIPES[name]
        train = recipe.train
        assert (train.steps, train.batch_size, train.lr * train.min_lr) == (80_000, batch, 5e-5)
        assert (
            recipe.parts[0].source == name[:7]
            and [p.frozen for p in recipe.parts[1:]] == [True] * 2
        )
        assert recipe.data.stop == ("\n" if "opt" in name else "")
    tuned = RECIPES["blip2-g-flant5-xl-caption"]
    assert (tuned.model.image.image_size, tuned.model.tune_image) == (364, True)
    assert (tuned.train.lr, tuned.train.warmup, tuned.data.prompt) == (1e-5, 1000, "a photo of")
    assert [(p.module, p.frozen) for p in tuned.parts] == [("", False), ("llm", True)]
    assert RECIPES["blip2-l"].model == BLIP2Config.preset("ViT-L/14")
    assert RECIPES["blip2-g-opt-6.7b"].model == BLIP2LLMConfig.preset("ViT-g OPT-6.7B")


@pytest.mark.parametrize("llm", ["llm", "seq2seq"])
def test_both_stages_train_what_lies_between_and_keep_nothing_else(
    table: dict[str, Recipe], llm: str
) -> None:
    first = train_recipe(table["blip2-toy"]).model
    name = f"blip2-toy-{llm}"
    begun = parts.started(table[name], RECIPES)
    for key in ("queries", "blocks.0.cross.q.weight", "blocks.1.mlp_query.up.weight"):
        assert torch.equal(begun.qformer.state_dict()[key], first.qformer.state_dict()[key]), key
    second = train_recipe(table[name]).model
    assert not torch.equal(second.qformer.queries, begun.qformer.queries)
    for part in ("image", "llm"):
        for key, tensor in begun.get_submodule(part).state_dict().items():
            assert torch.equal(second.get_submodule(part).state_dict()[key], tensor), key
    file = find_weights(Path("runs") / name)
    with safe_open(file, "pt") as held:
        names = list(held.keys())
        assert {key.split(".")[0] for key in names} == {"norm_image", "projection", "qformer"}
        assert '"llm"' in held.metadata()["frozen"] and '"image"' in held.metadata()["frozen"]
    again = parts.trained(table[name], RECIPES, file)
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in second.state_dict().items())


def test_weights_beside_other_frozen_parts_are_refused(table: dict[str, Recipe]) -> None:
    train_recipe(table["blip2-toy"])
    train_recipe(table["blip2-toy-llm"])
    file = find_weights(Path("runs/blip2-toy-llm"))
    other = replace(table["llm-toy"], train=replace(ONE, seed=1))
    train_recipe(other, resume=False)
    with pytest.raises(CheckpointError, match="frozen part llm from llm-toy .*give it the same"):
        parts.trained(table["blip2-toy-llm"], RECIPES, file)


@pytest.mark.parametrize("llm", ["llm", "seq2seq"])
def test_it_writes_token_by_token_as_at_once(llm: str) -> None:
    recipe = small(f"blip2-toy-{llm}")
    torch.manual_seed(0)
    model = recipe.build_model().eval()
    collate = recipe.collate(train=False)
    pixels = collate([recipe.build_data("train")[0]])["pixels"]
    prompt = torch.tensor([[WORDS.bos, *WORDS.encode("in other words:")]])
    whole = generate(model, prompt, max_new_tokens=5, pixels=pixels)
    pieces = list(stream(model, prompt, max_new_tokens=5, pixels=pixels))
    assert whole[0].tolist() == [int(p) for p in pieces]


def test_texts_are_of_the_runs_pictures_over_and_over() -> None:
    data = TextsData(objects=(1, 2), n_train=10)
    told = data.dataset(RECIPES["blip2-toy-llm"].model, replace(ONE, steps=8), "train")
    assert len(told) == 32 and len(told.pictures) == 10
    assert torch.equal(told[3]["image"], told[13]["image"])


class Letters:
    """A tokenizer with an id for each letter; "ab" is one token where it stands together."""

    bos, eos, vocab_size = 0, 1, 622

    def encode(self, text: str, bos: bool = False, eos: bool = False) -> list[int]:
        found = [3 if c == "\x00" else 4 + ord(c) for c in text.replace("ab", "\x00")]
        return [self.bos] * bos + found + [self.eos] * eos

    def decode(self, ids: Any, continued: bool = False) -> str:
        return "".join("ab" if i == 3 else chr(i - 4) for i in ids if i > 1)


def captioned(caption: str, *arguments: Any, **settings: Any) -> dict[str, Any]:
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    collate = CaptionedCollate(Letters(), *arguments, **settings)  # type: ignore[arg-type]
    chance = torch.Generator().manual_seed(0)
    return collate([{"id": "x", "image": image, "caption": caption}], chance)


def test_tokens_never_merge_over_the_join_of_prompt_and_caption() -> None:
    batch = captioned("b cat", prompt="a", stop="\n", end=False)
    assert batch["tokens"][0].tolist() == [0, 4 + ord("a"), *(4 + ord(c) for c in "b cat")]
    learned = [i for i in batch["targets"][0].tolist() if i != -100]
    assert Letters().decode(learned) == "b cat\n"
    batch = captioned("b cat", prompt="a", start=0)
    assert batch["inputs"][0].tolist() == [4 + ord("a")]
    assert Letters().decode(batch["targets"][0].tolist()) == "b cat"
    assert batch["targets"][0, -1] == Letters.eos


def test_without_a_prompt_an_encoder_reads_the_beginning_of_the_caption() -> None:
    batch = captioned("a red cat", start=0)
    read, written = (Letters().decode(batch[name][0].tolist()) for name in ("inputs", "targets"))
    assert read + written == "a red cat" and 1 <= len(read) <= 5
    assert batch["tokens"][0].tolist() == [0, *batch["targets"][0, :-1].tolist()]


def test_captions_of_yours_train_a_language_models_prompt(tmp_path: Path) -> None:
    for i in range(30):
        Image.new("RGB", (40, 36), (8 * i, 0, 90)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(f"there are {i} cats")
    for llm in ("llm", "seq2seq"):
        recipe = replace(
            small(f"blip2-toy-{llm}"), parts=(),
            data=CaptionTexts(source=str(tmp_path), tokenizer="toy", context=24),
        )  # fmt: skip
        result = train_recipe(recipe, save=False)
        assert result.step == 2 and result.metrics.keys() == {"test_lm"}


def test_a_tokenizer_that_is_not_here_is_refused(tmp_path: Path) -> None:
    data = CaptionTexts(source="x", tokenizer=str(tmp_path))
    with pytest.raises(RecipeError, match="has no tokenizer of transformers here"):
        data.make_tokenizer(RECIPES["blip2-toy-llm"].model)
