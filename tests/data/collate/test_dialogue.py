"""Chats about videos as batches: the words around, what is learned, and frames side by side."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vlcourse import tokenizers
from vlcourse.data.collate.dialogue import DialogueCollate
from vlcourse.data.collate.pictures import normalise
from vlcourse.data.collate.video import VideoCollate
from vlcourse.data.corpus.dialogues import (
    DESCRIBE,
    TOY,
    VIDEOCHAT,
    Template,
    asked_to_describe,
    dialogue,
)
from vlcourse.layers.ranges import RangeError

WORDS = tokenizers.llama()
TURNS = (("what colour is the circle?", "red"), ("what shape is blue?", "the square ring"))


def film(i: int = 0, frames: int = 3, side: int = 32) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(i)
    pictures = torch.randint(0, 256, (frames, 3, side, side), generator=generator)
    seconds = tuple(0.5 + 2 * t for t in range(frames))
    return {"id": f"f{i}", "frames": pictures.byte(), "seconds": seconds, "turns": TURNS[: 1 + i]}


def picture(i: int = 9) -> dict[str, Any]:
    found = film(i, 1)
    return {"id": "p", "image": found["frames"][0], "turns": TURNS[:1]}


def test_the_layout_of_a_chat() -> None:
    told = dialogue(TURNS, (0.1, 1.3))
    assert told.before == "###Human: <Video>"
    assert " ".join(text for text, _ in told.parts) == (
        "</Video> The video contains 2 frames sampled at 0.1, 1.3 seconds. "
        "###Human: what colour is the circle? ###Assistant: red ### "
        "Human: what shape is blue? ###Assistant: the square ring ###"
    )
    assert [learn for _, learn in told.parts] == [False, True, False, True]
    still = dialogue(TURNS[:1], None, Template(system="A chat."))
    assert still.before == "A chat. ###Human: <Image>"
    assert still.parts[0][0] == "</Image> ###Human: what colour is the circle? ###Assistant:"
    open_end = dialogue((*TURNS[:1], ("why?", "")), (2.0,))
    assert open_end.parts[-1] == ("Human: why? ###Assistant:", False)
    assert "contains 1 frame sampled at 2.0 seconds" in open_end.parts[0][0]
    toy = dialogue(TURNS[:1], (0.1,), TOY)
    assert toy.before == "" and toy.parts[0][0] == "question: what colour is the circle? answer:"
    assert toy.parts[1] == ("red.", True)


@pytest.mark.parametrize("template", [VIDEOCHAT, TOY])
def test_only_answers_are_learned_and_they_decode_to_themselves(template: Template) -> None:
    batch = DialogueCollate(WORDS, 400, template)([film(0), film(1)])
    said = [[i for i in row.tolist() if i != -100] for row in batch["targets"]]
    if template is TOY:
        assert [WORDS.decode(row) for row in said] == ["red.", "red. the square ring."]
    else:
        assert [WORDS.decode(row) for row in said] == ["red ###", "red ### the square ring ###"]
    for tokens, targets in zip(batch["tokens"], batch["targets"], strict=True):
        kept = (targets[:-1] != -100) & (tokens[1:] != WORDS.eos)
        assert kept.any() and tokens[1:][kept].equal(targets[:-1][kept])  # the next token
    before = len(WORDS.encode(template.video[0])) if template.video[0] else 0
    assert batch["at"].tolist() == [1 + before] * 2
    assert WORDS.decode(batch["tokens"][0, 1 : 1 + before].tolist()) == template.video[0]


def test_pieces_may_stand_as_they_are() -> None:
    sample = {"id": "a", "seconds": (1.0,), "parts": (("ring?", False), ("red.", True))}
    batch = DialogueCollate(WORDS, 400, TOY)([sample])
    assert WORDS.decode(batch["tokens"][0].tolist()).startswith("ring? red")
    assert WORDS.decode([i for i in batch["targets"][0].tolist() if i != -100]) == "red."


def test_a_join_within_a_word_changes_nothing() -> None:
    """A question that ends where an answer could go on, and answers that begin as its end does."""
    for question, answer in (
        ("is it red", "red ring"),
        ("12", "3 s"),
        ("a ###", "### b"),
        ("", "x"),
    ):
        sample = {"id": "a", "seconds": (1.0,), "turns": ((question, answer),)}
        batch = DialogueCollate(WORDS, 400)([sample])
        learned = [i for i in batch["targets"][0].tolist() if i != -100]
        assert WORDS.decode(learned) == f"{answer} ###"


def test_an_answer_that_is_cut_off_teaches_nothing() -> None:
    whole = len(DialogueCollate(WORDS, 400)([film(0)])["tokens"][0])
    assert DialogueCollate(WORDS, whole).learns(film(0))
    assert not DialogueCollate(WORDS, 12).learns(film(0))
    assert (DialogueCollate(WORDS, 12)([film(0)])["targets"] == -100).all()


def test_videos_and_pictures_side_by_side() -> None:
    collate = VideoCollate(DialogueCollate(WORDS, 400))
    batch = collate([film(0, 3), picture(), film(1, 2)])
    assert batch["pixels"].shape == (3, 3, 3, 32, 32)
    assert batch["shown"].tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    assert batch["seconds"].tolist() == [[0.5, 2.5, 4.5], [0, 0, 0], [0.5, 2.5, 0]]
    assert batch["pixels"][0].equal(normalise(film(0, 3)["frames"]))
    assert not batch["pixels"][1, 1:].any()
    told = WORDS.decode(batch["tokens"][1].tolist())
    assert "<Image>" in told and "contains" not in told
    same = collate([film(0), film(1)])
    assert "shown" not in same
    stored = [{**film(i), "features": torch.ones(3, 16, 8) * i} for i in range(2)]
    batch = collate([{k: v for k, v in s.items() if k != "frames"} for s in stored])
    assert batch["features"].shape == (2, 3, 16, 8) and "pixels" not in batch


@pytest.mark.parametrize("augment", ["random-square", "resized-crop+flip"])
def test_all_frames_of_a_video_change_alike(augment: Any) -> None:
    still = film(0, 1, side=48)["frames"][:, :, :, :40].expand(4, -1, -1, -1)
    sample = {"id": "a", "frames": still, "seconds": (0.0, 1.0, 2.0, 3.0), "turns": TURNS[:1]}
    collate = VideoCollate(DialogueCollate(WORDS, 400), 32, augment)
    seen = [
        collate([sample], torch.Generator().manual_seed(seed))["pixels"][0] for seed in range(4)
    ]
    for clip in seen:
        assert clip.shape == (4, 3, 32, 32) and all(frame.equal(clip[0]) for frame in clip)
    assert not seen[0].equal(seen[1])
    with pytest.raises(RangeError, match="'crop' is for pictures alone"):
        VideoCollate(DialogueCollate(WORDS), augment="crop")


def test_requests_for_a_description() -> None:
    found = {asked_to_describe(key, True) for key in range(200)}
    assert len(found) == len(DESCRIBE) == 11 and all("video" in request for request in found)
    assert "image" in asked_to_describe(0, False)
