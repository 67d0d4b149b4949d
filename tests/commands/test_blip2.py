"""``vlcourse caption`` and ``vlcourse retrieve`` with BLIP-2: its first stage, and its second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from blip2_twins import WORDS as WORDS_OF_TWIN
from blip2_twins import hf_writer
from PIL import Image

from vlcourse import cli, tokenizers
from vlcourse.commands import UsageError, models, pictures, retrieve
from vlcourse.data.corpus.tellings import AGAIN
from vlcourse.evals import pictured, rerank
from vlcourse.evals.writing import Writing, write
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.recipes import RECIPES
from vlcourse.recipes.blip2 import TOY_BLIP2, TOY_MUTE
from vlcourse.recipes.blip2_data import BLIP2Data

WORDS = tokenizers.llama()
TOWER = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1))
SMALL = {"queries": 3, "width": 16, "layers": 2, "heads": 2, "image_width": 64}
LLMS = {
    "blip2-toy-llm": LLaMAConfig(WORDS.vocab_size, 16, 1, 2, hidden=16, context=128),
    "blip2-toy-seq2seq": Seq2SeqConfig(WORDS.vocab_size, 16, 1, 1, 2, 8, 16, max_distance=64),
}


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    generator = torch.Generator().manual_seed(0)
    files = []
    for i, size in enumerate([(20, 30), (64, 64), (32, 32)]):
        pixels = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels.numpy()).save(files[-1])
    return files


def second(name: str) -> models.Named:
    """A random second stage, known as its recipe is."""
    torch.manual_seed(0)
    qformer = replace(TOY_MUTE.qformer, **SMALL)
    at = int(name == "blip2-toy-llm")
    model = replace(TOY_MUTE, image=TOWER, qformer=qformer, llm=LLMS[name], queries_at=at).build()
    return models.Named(model.eval(), WORDS, *models._ends(RECIPES[name]))


def first() -> models.Named:
    torch.manual_seed(0)
    model = replace(TOY_BLIP2, image=TOWER, qformer=replace(TOY_BLIP2.qformer, **SMALL)).build()
    return models.Named(model.eval(), BLIP2Data().make_tokenizer(model.config))


def said(
    named: models.Named, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *words: str
) -> list[str]:
    monkeypatch.setattr(models, "find", lambda name: named)
    assert cli.main([str(word) for word in words]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", [*LLMS])
def test_a_frozen_language_model_writes_captions(
    name: str, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    named = second(name)
    lines = said(named, monkeypatch, capsys, "caption", *photos, "--beams", 1, "--max-tokens", 6)
    images = torch.stack([image for _, image in pictures.read(photos, 32)])
    model = named.model
    assert isinstance(model, BLIP2LLM)
    writing = Writing("" if model.config.encodes else AGAIN, max_tokens=6, beams=1)
    alone = [pictured.described(model, WORDS, one[None], writing, ".")[0] for one in images]
    assert lines == [f"{path}: {text}" for path, text in zip(photos, alone, strict=True)]
    assert not any(AGAIN in line for line in lines)
    drawn = said(named, monkeypatch, capsys, "caption", *photos, "--sample", "--max-tokens", 6)
    assert drawn != lines


def test_a_caption_ends_where_the_training_ended_it() -> None:
    assert models._ends(RECIPES["blip2-toy-llm"]) == (AGAIN, ".")
    assert models._ends(RECIPES["blip2-toy-seq2seq"]) == ("", ".")
    assert models._ends(RECIPES["blip2-g-opt-2.7b"]) == ("", "\n")
    assert models._ends(RECIPES["blip2-g-flant5-xl-caption"]) == ("a photo of", "")


def test_the_first_stage_writes_and_finds(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    named = first()
    lines = said(named, monkeypatch, capsys, "caption", *photos, "--max-tokens", 6)
    images = torch.stack([image for _, image in pictures.read(photos, 32)])
    texts = write(named.model, named.tokenizer, images, Writing(max_tokens=6))
    assert lines == [f"{path}: {text}" for path, text in zip(photos, texts, strict=True)]
    best, *_ = retrieve.retrieve("a red circle", [str(p) for p in photos], "blip2-toy", 3)
    cosines = rerank.cosines(named.model, named.tokenizer, ["a red circle"], images)[0]
    pairs = torch.tensor([[0, i] for i in range(3)])
    logits = rerank.match_logits(named.model, named.tokenizer, ["a red circle"], images, pairs)
    sums = cosines + logits[:, 1]
    assert best.path == photos[int(sums.argmax())]
    assert best.score == pytest.approx(float(sums.max()), abs=1e-4)


def test_a_second_stage_does_not_compare(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "find", lambda name: second("blip2-toy-llm"))
    with pytest.raises(UsageError, match="is a BLIP2Decoder, which does not compare"):
        retrieve.retrieve("a red circle", [str(p) for p in photos], "blip2-toy-llm", 3)


def test_a_folder_of_transformers_writes(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    tokenizers_of = pytest.importorskip("tokenizers")
    import transformers

    folder = tmp_path / "model"
    hf_writer("opt").save_pretrained(folder)
    names = ["<unk>", "<pad>", "</s>", *(f"w{i}" for i in range(WORDS_OF_TWIN - 3))]
    letters = {name: i for i, name in enumerate(names)}
    words = tokenizers_of.Tokenizer(tokenizers_of.models.WordLevel(letters, "<unk>"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    capsys.readouterr()
    assert (
        cli.main(["caption", *map(str, photos), "--model", str(folder), "--max-tokens", "5"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(path) for path in photos]
