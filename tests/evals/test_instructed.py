"""The shipped adapters do what they are told, and their files hold nothing but the adapter."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open

from vlcourse import paths, zoo
from vlcourse.data.corpus.shown import asked
from vlcourse.evals import instructions
from vlcourse.generate import Options, stream_text
from vlcourse.recipes import RECIPES, SHIPPED

ADAPTERS = [name for name in SHIPPED if name.startswith("adapter-")]
SEES, TOLD = "adapter-v2-toy-visual", "adapter-v2-toy-told"


def bytes_of(name: str) -> int:
    return (paths.checkpoints_dir() / name / "model.safetensors").stat().st_size


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_file_holds_the_adapter_and_the_hash_of_the_rest(name: str) -> None:
    with safe_open(paths.checkpoints_dir() / name / "model.safetensors", "pt") as file:
        assert not [key for key in file.keys() if key.startswith(("llm.", "image."))]  # noqa: SIM118
        assert "sha256" in file.metadata()["frozen"]
    assert bytes_of(name) < bytes_of("llm-toy") / 4


def test_version_1_is_a_fiftieth_of_what_it_stands_around() -> None:
    assert 50 * bytes_of("adapter-toy") <= bytes_of("llm-toy")


@pytest.mark.parametrize(("name", "images", "least"), [(SEES, True, 0.85), (TOLD, False, 0.88)])
def test_instructions_about_unseen_compositions_are_followed(
    name: str, images: bool, least: float
) -> None:
    recipe = RECIPES[name]
    objects = recipe.data.objects  # type: ignore[attr-defined]
    exam = recipe.collate(train=False)
    found = instructions.following(zoo.load(name), exam, objects=objects, images=images)
    assert found["score"] >= least
    assert found["score"] == pytest.approx(zoo.card(name)["metrics"]["score"], abs=0.01)


def test_it_looks_before_it_answers() -> None:
    collate, model = RECIPES[SEES].collate(train=False), zoo.load(SEES)
    samples = instructions.instruction_set(scenes=120, objects=(1, 2), images=True)
    others = [{**s, "image": samples[i - 1]["image"]} for i, s in enumerate(samples)]
    seen, unseen = (
        instructions.responses_right(model, collate, own).float().mean()
        for own in (samples, others)
    )
    assert seen > unseen + 0.3


def test_it_answers_word_by_word() -> None:
    words, model = RECIPES[TOLD].tokenizer(), zoo.load(TOLD)
    told = "a small red circle and a large blue square. the blue square is left of the red circle."
    text = asked("what colour is the square?", given=told)
    ids = torch.tensor([[words.bos, *words.encode(text)]])
    options = Options(8, end=words.eos)
    said = "".join(stream_text(model, ids, options, tokenizer=words))  # type: ignore[arg-type]
    assert said.strip() == "blue."
