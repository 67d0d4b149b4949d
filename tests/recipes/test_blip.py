"""BLIP's recipes: what they read, what they begin from, and that they train."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from vlcourse.data.asked import WorldQuestions, open_questions, shares
from vlcourse.data.collate.questions import QuestionCollate
from vlcourse.data.sources import SourceError
from vlcourse.data.world import World
from vlcourse.engine import TrainConfig
from vlcourse.models.blip import BLIP
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.blip_vqa import BLIPAnswerer
from vlcourse.models.med import MEDConfig
from vlcourse.recipes import RECIPES, train_recipe
from vlcourse.recipes.blip import TOY_BLIP, TOY_MED, answerer_of
from vlcourse.recipes.blip_data import BLIPData, QuestionData
from vlcourse.recipes.parts import started
from vlcourse.recipes.recipe import Part, Recipe, RecipeError
from vlcourse.tokenizers import med
from vlcourse.weights.state import weights_of, write_weights

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a picture of red blue cat dog what is it ? yes no".split()
ONE = TrainConfig(steps=1, batch_size=2, warmup=0)
SMALL = replace(TOY_BLIP, queue=8, text=replace(TOY_MED, width=16, layers=1, heads=2))


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    return tmp_path / "vocab.txt"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twenty pictures of various sizes, each with x.txt beside it."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(20):
        image = torch.full((3, 20 + i, 30), 10 * i, dtype=torch.uint8)
        image[0, i, :] = 255
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i:02}.png")
        colour, animal = ("red", "blue")[i % 2], ("cat", "dog")[i // 2 % 2]
        (folder / f"{i:02}.txt").write_text(f"a {colour} {animal}")
    return folder


def tiny(recipe: Recipe, vocabulary: Path, source: Path) -> Recipe:
    """A recipe of the paper's with its data and losses, and a model that fits into a test."""
    image = BLIPViTConfig(32, 16, 16, 1, 2)
    n = len(WORDS)
    text = MEDConfig(n + 2, 64, 16, 1, 2, image_width=16, cls=2, sep=3, dec=n, enc=n + 1)
    model = recipe.model
    if hasattr(model, "queue"):
        model = replace(model, embed=8, image=image, text=text, queue=8)
    else:
        model = answerer_of(replace(TOY_BLIP, image=image, text=text))
    data = replace(recipe.data, tokenizer=str(vocabulary), source=str(source))
    run = replace(recipe.run, workers=0, parallel="none", precision="float32")
    return replace(recipe, model=model, data=data, train=ONE, run=run, parts=())


@pytest.mark.parametrize("name", ["blip-base", "blip-base-retrieval", "blip-base-caption"])
def test_the_papers_runs_train_on_a_folder_of_yours(
    name: str, vocabulary: Path, pictures: Path
) -> None:
    recipe = tiny(RECIPES[name], vocabulary, pictures)
    result = train_recipe(recipe, save=False)
    tasks = set(recipe.model.tasks)
    assert result.step == 1
    assert ("text_to_image" in result.metrics) == ("itc" in tasks)
    assert ("test_lm" in result.metrics) == ("lm" in tasks)
    tokens = recipe.collate(train=True)([recipe.build_data("train")[0]])["tokens"]
    caption = "a picture of a red cat" if name == "blip-base-caption" else "a red cat"
    assert recipe.tokenizer().decode(tokens[0].tolist()) == caption
    groups = recipe.collate(train=True)([recipe.build_data("train")[0]]).get("groups")
    assert (groups is not None) == (name == "blip-base-retrieval")


def test_the_papers_question_run_trains_on_rows_of_yours(vocabulary: Path, pictures: Path) -> None:
    table = pictures / "vqa.jsonl"
    rows = [
        {"image": f"{i:02}.png", "question": "is it red?", "answer": ["yes", "yes", "no", "yes"]}
        for i in range(20)
    ]
    table.write_text("\n".join(map(json.dumps, rows)))
    recipe = tiny(RECIPES["blip-base-vqa"], vocabulary, table)
    sample = recipe.build_data("train")[0]
    assert (sample["question"], sample["answers"]) == ("is it red?", (("yes", 0.75), ("no", 0.25)))
    result = train_recipe(recipe, save=False)
    assert result.metrics.keys() == {"test_lm"} and result.step == 1
    rows[3]["answer"] = []
    table.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(SourceError, match="has no answer in its column 'answer'"):
        open_questions(str(table), "train").__getitems__(range(18))
    with pytest.raises(SourceError, match="no further column 'answers'; .* Did you mean 'answer'"):
        open_questions(str(table), "train", answer="answers")


def test_answers_and_their_shares() -> None:
    assert shares("yes") == (("yes", 1.0),)
    assert shares(3) == (("3", 1.0),)
    assert shares(["a", "b", "a", " ", None]) == (("a", 2 / 3), ("b", 1 / 3))
    assert shares([{"answer": "yes", "answer_id": 1}, {"answer": "no"}]) == (
        ("yes", 0.5), ("no", 0.5),
    )  # fmt: skip
    assert shares(None) == shares([]) == ()


def test_questions_of_the_world_are_of_all_kinds_and_true() -> None:
    data = WorldQuestions(World("train", 300, objects=(2, 3)))
    samples = data.__getitems__(range(300))
    assert data[7] | {"image": 0, "scene": 0} == samples[7] | {"image": 0, "scene": 0}
    kinds = [s["kind"] for s in samples]
    assert all(25 < kinds.count(kind) < 85 for kind in set(kinds)) and len(set(kinds)) == 6
    for s in samples:
        asked = {q.text: q.answer for q in s["scene"].questions()}
        assert ((asked[s["question"]], 1.0),) == s["answers"]


def test_a_batch_of_questions_says_whose_answers_they_are() -> None:
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    answers = ((("red", 0.75), ("blue", 0.25)), (("yes", 1.0),))
    questions = ("what colour is the star?", "is it red?")
    samples = [
        {"id": str(i), "image": image, "question": q, "answers": a}
        for i, (q, a) in enumerate(zip(questions, answers, strict=True))
    ]
    batch = QuestionCollate(med.toy())(samples)
    assert batch["pixels"].shape == (2, 3, 32, 32) and batch["ids"] == ["0", "1"]
    assert batch["rows"].tolist() == [0, 0, 1] and batch["weights"].tolist() == [0.75, 0.25, 1.0]
    read = [med.toy().decode(row.tolist()) for row in batch["questions"]]
    assert read == ["what colour is the star ?", "is it red ?"]
    assert [med.toy().decode(row.tolist()) for row in batch["answers"]] == ["red", "blue", "yes"]
    assert batch["questions_mask"].sum(1).tolist() == [
        2 + len(med.toy().encode(q)) for q in questions
    ]
    assert batch["answers_mask"].shape == batch["answers"].shape


def test_an_answerer_begins_from_a_blip(tmp_path: Path) -> None:
    """Reader and writer each get what they shared; the image tower is the BLIP's.

    Keys and values of the writer begin anew: they look at a question, not at an image.
    """
    torch.manual_seed(0)
    blip = SMALL.build()
    other = Recipe("blip", "", SMALL, BLIPData())
    recipe = Recipe("answerer", "", answerer_of(SMALL), QuestionData(), parts=(Part("", "blip"),))
    made = tmp_path / "runs" / "blip"
    made.mkdir(parents=True)
    write_weights(made / "model.safetensors", weights_of(blip))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        model = started(recipe, {"blip": other})
    assert isinstance(model, BLIPAnswerer)
    expected = BLIPAnswerer.from_blip(blip).state_dict()
    for name, tensor in model.state_dict().items():
        anew = "image.pool.", "writer.cross.k.weight", "writer.cross.v.weight"
        if not any(part in name for part in anew):
            assert torch.equal(tensor, expected[name]), name


def test_the_toy_towers_begin_as_clips() -> None:
    torch.manual_seed(0)
    clip = RECIPES["clip-toy-grid"].build_model()
    fresh = RECIPES["blip-toy"].build_model()
    assert isinstance(fresh, BLIP)
    fresh.image.load_state_dict(clip.image.state_dict())  # strict
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(fresh.eval().encode_image(pixels), clip.eval().encode_image(pixels))
    assert fresh.image_tokens(pixels).shape == (2, 16, 512)


def test_what_does_not_belong_together_is_refused(vocabulary: Path) -> None:
    with pytest.raises(RecipeError, match=r"vocab_size 20, but model.text.vocab_size is 723"):
        BLIPData(tokenizer=str(vocabulary)).make_tokenizer(TOY_BLIP)
    with pytest.raises(RecipeError, match="no BERT vocabulary at .*; or name a file with data.tok"):
        BLIPData(tokenizer="nowhere.txt").make_tokenizer(TOY_BLIP)
    with pytest.raises(RecipeError, match="'a picture of' is 4 tokens .* set model.prompt=4"):
        BLIPData(prompt="a picture of").make_tokenizer(TOY_BLIP)
    with pytest.raises(RecipeError, match="train.batch_size=1: a single pair has nothing"):
        BLIPData().dataset(TOY_BLIP, replace(ONE, batch_size=1), "train")
    writing = replace(TOY_BLIP, tasks=("lm",))
    assert len(BLIPData().dataset(writing, replace(ONE, batch_size=1), "train")) == 1


def test_the_papers_numbers() -> None:
    base, large = RECIPES["blip-base"], RECIPES["blip-large"]
    assert (base.train.lr, base.train.batch_size, base.train.steps) == (3e-4, 2880, 97_222)
    assert (large.train.lr, large.train.batch_size, large.train.weight_decay) == (2e-4, 2400, 0.05)
    assert large.model.text.image_width == large.model.image.width == 1024
    assert RECIPES["blip-base-vqa"].model.image.image_size == 480
    assert RECIPES["blip-base-caption"].model.prompt == 4
    for name in ("blip-base-retrieval", "blip-base-caption", "blip-base-vqa"):
        assert RECIPES[name].parts == (Part("", "blip-base"),)
