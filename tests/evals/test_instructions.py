"""Doing what one is told, measured; and experts, whose words enter the prompt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vlcourse import tokenizers, zoo
from vlcourse.data.collate.text import IGNORED, TextCollate
from vlcourse.data.collate.told import ToldCollate
from vlcourse.data.corpus.describe import describe
from vlcourse.data.corpus.instructions import INSTRUCTION_KINDS, NEW_KINDS, Instructions
from vlcourse.data.corpus.shown import CAPTION, Captioned, Joint, Retold, Shown, asked, taught
from vlcourse.data.corpus.teacher import VISUAL_KINDS
from vlcourse.data.instructed import alpaca_prompt
from vlcourse.data.world.read import read
from vlcourse.evals import instructions
from vlcourse.evals.experts import captioner, told_by
from vlcourse.layers.errors import ModelError
from vlcourse.tokenizers import med

TOKENIZER = tokenizers.llama()
COLLATE = TextCollate(TOKENIZER, 512, end=False)


class Knows(nn.Module):
    """Writes each response, but for those whose first token it is told to get wrong."""

    def __init__(self, collate: Any, samples: list[dict[str, Any]], wrong: set[str]) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.answers = {}
        for sample in samples:
            batch = collate([sample])
            tokens, targets = batch["tokens"][0], batch["targets"][0].clone()
            if sample["kind"] in wrong:
                targets[int((targets != IGNORED).nonzero()[-1])] = 5
            self.answers[tuple(tokens.tolist())] = targets

    def forward(self, tokens: Tensor, pixels: Tensor | None = None) -> Tensor:
        out = torch.zeros(*tokens.shape, TOKENIZER.vocab_size)
        for row, ids in enumerate(tokens.tolist()):
            while tuple(ids) not in self.answers:
                ids = ids[:-1]
            for place, i in enumerate(self.answers[tuple(ids)].tolist()):
                out[row, place, max(i, 0)] = 1
        return out


@pytest.mark.parametrize("images", [False, True])
def test_a_response_is_right_when_every_word_is(images: bool) -> None:
    samples = instructions.instruction_set(scenes=90, images=images)
    collate: Any = ToldCollate(COLLATE) if images else COLLATE
    model = Knows(collate, samples, {"list", "refuse"})
    found = instructions.following(model, collate, scenes=90, images=images)
    for kind in INSTRUCTION_KINDS:
        assert found[kind] == (0.0 if kind in ("list", "refuse") else 1.0)
    assert found["score"] == pytest.approx(4 / 6) and found["known"] == pytest.approx(3 / 4)


def test_the_set_is_the_same_each_time_and_even() -> None:
    one, two = (instructions.instruction_set(scenes=200) for _ in range(2))
    assert [s["text"] for s in one] == [s["text"] for s in two]
    kinds = [s["kind"] for s in one]
    assert all(15 < kinds.count(kind) < 60 for kind in INSTRUCTION_KINDS)


def test_the_shipped_language_model_cannot_follow() -> None:
    found = instructions.following(zoo.load("llm-toy"), COLLATE, scenes=120)
    assert found["score"] < 0.2 and max(found[kind] for kind in NEW_KINDS) == 0


def test_some_scenes_are_to_be_said_again_truly_and_from_what_was_told() -> None:
    samples = Retold("train", 200, 30, turns=2).__getitems__(range(200))
    again = [sample for sample in samples if sample["kind"] == "retold"]
    assert 30 < len(again) < 90
    for sample in again:
        (told, _), (question, _), (caption, learned) = sample["parts"]
        assert learned and question == asked(CAPTION)
        scene = sample["scene"]
        said, description = read(caption.rstrip(".")), describe(scene.objects, scene.seed)
        assert said is not None and description.text == told
        assert all(description.implies(fact, scene.objects) for fact in said.facts)
    plain = Retold("train", 200, 0, turns=2).__getitems__(range(200))
    assert [s["text"] for s in plain] == [
        s["text"] for s in Instructions("train", 200, turns=2).__getitems__(range(200))
    ]


class Captions(nn.Module):
    """What writes one true caption of each picture that it is shown, and then ends."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self.nothing, self.texts, self.at = nn.Parameter(torch.zeros(1)), texts, 0
        self.vocab_size = TOKENIZER.vocab_size

    def start(self, tokens: Tensor, mask: Any, new: int, pixels: Tensor) -> Any:
        assert pixels.shape[1:] == (3, 32, 32)
        assert TOKENIZER.decode(tokens[0].tolist()).endswith(asked(CAPTION))
        rows = self.texts[self.at : self.at + len(tokens)]
        self.at += len(tokens)
        self.ids = [[*TOKENIZER.encode(text), TOKENIZER.eos] for text in rows]
        self.place = 0
        from vlcourse.layers.cache import KVCache, Started

        cache = KVCache(1, len(tokens), 1, 1, 2, like=self.nothing)
        return Started(self.next(), cache, tokens)

    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        return self.next()

    def next(self) -> Tensor:
        out = torch.zeros(len(self.ids), self.vocab_size)
        for row, ids in enumerate(self.ids):
            out[row, ids[min(self.place, len(ids) - 1)]] = 1
        self.place += 1
        return out


def test_captions_are_judged_by_the_scene() -> None:
    from vlcourse.evals.captions import caption_set

    scenes = caption_set(60)
    right = [f"{scene.caption()}." for scene in scenes]
    found = instructions.captions(Captions(right), TOKENIZER, 32, n=60)
    assert found["caption_true"] == 1.0 and found["caption_coverage"] > 0.7
    found = instructions.captions(Captions(right[1:] + right[:1]), TOKENIZER, 32, n=60)
    assert found["caption_true"] < 0.3


# ------------------------------------------------------------------------ pictures to learn from


def test_captions_and_instructions_take_turns() -> None:
    captioned = Captioned("train", 3)
    told = Shown("train", 4, teacher=100)
    both = Joint(captioned, told)
    assert len(both) == 8 and [both[i]["id"] for i in (0, 6)] == [captioned[0]["id"]] * 2
    assert both[1]["kind"] in VISUAL_KINDS and both[1]["image"].shape == (3, 32, 32)
    (asks, _), (says, learn) = both[0]["parts"]
    assert CAPTION in asks and learn and says == f"{both[0]['scene'].caption()}."
    parts = taught(told[0]["scene"], "conversation")
    assert [learn for _, learn in parts] == [False, True] * 3
    kinds = {sample["kind"] for sample in Shown("train", 60, teacher=50).__getitems__(range(60))}
    assert kinds >= set(VISUAL_KINDS) and kinds & set(INSTRUCTION_KINDS)


# ------------------------------------------------------------------------ experts


def test_what_experts_say_enters_the_prompt() -> None:
    pictures = [torch.full((3, 8, 8), value, dtype=torch.uint8) for value in (0, 255)]

    def bright(seen: Any) -> list[str]:
        return ["it is bright." if picture.float().mean() > 99 else " " for picture in seen]

    def counts(seen: Any) -> list[str]:
        return [f"picture {i}." for i in range(len(seen))]

    told = told_by([bright, counts], pictures, ["what?", "why?"])
    assert told == [asked("what?", "picture 0."), asked("why?", "it is bright. picture 1.")]
    assert told_by([], pictures, ["what?", "why?"]) == [asked("what?"), asked("why?")]
    (alpaca,) = told_by([bright], pictures[1:], ["why?"], alpaca_prompt)
    assert "### Input:\nit is bright.\n\n### Response:" in alpaca
    with pytest.raises(ModelError, match="2 pictures for 1 instructions"):
        told_by([bright], pictures, ["why?"])
    with pytest.raises(ModelError, match="expert 1 said 1 texts of 2 pictures"):
        told_by([bright, lambda seen: ["a"]], pictures, ["what?", "why?"])


def test_a_blip_is_an_expert() -> None:
    expert = captioner(zoo.load("blip-toy"), med.toy())  # type: ignore[arg-type]
    scenes = [s["scene"] for s in Captioned("test", 4, objects=(1, 1)).__getitems__(range(4))]
    said = expert([scene.render(32) for scene in scenes])
    right = sum(
        f"{s.objects[0].colour} {s.objects[0].shape}" in t
        for s, t in zip(scenes, said, strict=True)
    )
    assert right >= 3 and all(text.endswith(".") for text in said)
