"""VideoChat-Embed as a talker: which frames, what is read, and that history is kept in bounds."""

from __future__ import annotations

import pytest
import torch
from tiny_talkers import embed as talker

from vlcourse.chat import ChatError
from vlcourse.chat.protocol import Turn
from vlcourse.data.corpus.dialogues import TOY, VIDEOCHAT, Template
from vlcourse.data.media import Media
from vlcourse.generate import Options, search

FILM = Media(
    "film", torch.randint(0, 256, (12, 3, 40, 40)).byte(), tuple(float(t) for t in range(12)), 12.0
)
STILL = Media("picture", FILM.frames[:1], (0.0,))


def test_what_it_looks_at() -> None:
    account = talker().account(FILM)
    assert account.times == (1.0, 4.0, 7.0, 10.0)
    assert account.text == ("The video contains 4 frames sampled at 1.0, 4.0, 7.0, 10.0 seconds.")
    assert account.attention is not None and account.attention.shape == (5, 4)
    torch.testing.assert_close(account.attention.sum(1), torch.ones(5))
    assert 0 < account.share < 1  # the rest is the aggregators'
    toy = talker(TOY).account(FILM).text
    assert toy == "4 frames as 5 vectors among its words, and no sentence."
    still = talker().account(STILL)
    assert still.text == "A picture." and still.times == (0.0,)


@pytest.mark.parametrize("template", [VIDEOCHAT, TOY])
def test_pieces_are_the_answer_that_the_model_writes(template: Template) -> None:
    chat = talker(template)
    history = (Turn("what is there?", "a ring"),)
    said = "".join(chat.answer(FILM, " Where\nis it? ", history))
    seen, text = FILM.uniform(4), chat.collate.text
    question = "where is it?" if template is TOY else "Where is it?"
    sample = {
        "id": "a", "frames": seen.frames, "seconds": seen.times,
        "turns": (("what is there?", "a ring"), (question, "")),
    }  # fmt: skip
    batch = chat.collate([sample])
    ids, _ = text.encoded(text.told(sample), 400)
    found = search(
        chat.model, torch.tensor([ids]), Options(128, stop=(template.end.strip(),),
        end=text.tokenizer.eos), tokenizer=text.tokenizer, pixels=batch["pixels"],
        seconds=batch["seconds"], at=batch["at"],
    )  # fmt: skip
    assert found.texts is not None and said == found.texts[0][0].strip()
    assert isinstance("".join(chat.answer(STILL, "what?")), str)


def test_the_oldest_turns_are_left_out_where_they_do_not_fit() -> None:
    long = Turn("what is there? " * 40, "a ring " * 40)
    one = talker(context=240)
    two = "".join(one.answer(FILM, "where?", (long, long, Turn("who?", "the star"))))
    assert two == "".join(one.answer(FILM, "where?", (Turn("who?", "the star"),)))
    with pytest.raises(ChatError, match="ask in fewer words"):
        one.answer(FILM, "where " * 300)
    with pytest.raises(ChatError, match="there is no question"):
        one.answer(FILM, "  ")
