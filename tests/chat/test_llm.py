"""A chat model of the transformers library: what it is told, what is left out, and its answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vlcourse.chat import ChatError
from vlcourse.chat.llm import SYSTEM, TransformersChat
from vlcourse.chat.perception import Perceived
from vlcourse.chat.protocol import Turn
from vlcourse.data.segments import Segment

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaMA with a tokenizer of letters and a chat template, as it would be downloaded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    own = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    words = PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<end>")
    words.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=1024, eos_token_id=words.eos_token_id,
        bos_token_id=None,
    )  # fmt: skip
    made = tmp_path_factory.mktemp("chat")
    LlamaForCausalLM(config).save_pretrained(made)
    words.save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def chat(folder: Path) -> TransformersChat:
    return TransformersChat(str(folder), longest=8)


def seen(captions: int) -> Perceived:
    said = tuple(Segment(t, t + 1, f"caption {t}") for t in range(captions))
    return Perceived(float(captions), (("caption", said),))


def read_by(chat: TransformersChat, monkeypatch: pytest.MonkeyPatch, *asked: object) -> str:
    """All that the model is given when it is asked."""
    given: list[torch.Tensor] = []
    real = chat.model.start

    def start(tokens: torch.Tensor, *rest: object, **more: object) -> object:
        given.append(tokens)
        return real(tokens, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(chat.model, "start", start)
    "".join(chat.answer(*asked))  # type: ignore[arg-type]
    return chat.tokenizer.decode(given[0][0].tolist())


def test_it_reads_the_video_in_the_system_prompt_then_the_talk(
    chat: TransformersChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = read_by(chat, monkeypatch, seen(2), "and then?", [Turn("what is it?", "a ring")])
    lines = "00:00-00:01 caption 0.\n00:01-00:02 caption 1."
    assert told == (
        f"<system>{SYSTEM.format(lines)}<end><user>what is it?<end><assistant>a ring<end>"
        "<user>and then?<end><assistant>"
    )
    assert chat.text(seen(2)) == lines


def test_what_does_not_fit_is_left_out_old_turns_and_every_second_line(
    chat: TransformersChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [Turn(f"question {k}?", "answer") for k in range(60)]
    told = read_by(chat, monkeypatch, seen(60), "why?", turns)
    assert len(chat.tokenizer.encode(told, add_special_tokens=False)) <= 1024 - 8
    assert "question 59?" in told and "question 0?" not in told
    assert "caption 0." in told and "caption 1." not in told


def test_the_answer_comes_in_pieces_and_is_no_longer_than_allowed(chat: TransformersChat) -> None:
    pieces = [*chat.answer(seen(1), "why?", ())]
    assert all(pieces) and len("".join(pieces)) <= 8
    assert pieces == [*chat.answer(seen(1), "why?", ())]


def test_a_question_that_leaves_no_room_is_refused(chat: TransformersChat) -> None:
    with pytest.raises(ChatError, match="too long for this language model"):
        chat.answer(seen(1), "why " * 400, ())


def test_no_model_and_no_chat_model_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ChatError, match="cannot be loaded as a language model"):
        TransformersChat(str(tmp_path))
    with pytest.raises(ChatError, match="too few to answer"):
        TransformersChat(str(folder), longest=2000)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(ChatError, match="has no chat template"):
        TransformersChat(str(tmp_path))
