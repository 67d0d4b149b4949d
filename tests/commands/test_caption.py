"""``vlcourse caption``: a tiny BLIP of ours and one of transformers write about any picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from blip_fakes import tiny_blip
from PIL import Image

from vlcourse import cli
from vlcourse.commands import caption, models, retrieve
from vlcourse.evals.captions import Writing, write
from vlcourse.tokenizers import med


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures of different sizes and kinds, and one that is broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for i, size in enumerate([(20, 30), (64, 64), (300, 40), (32, 32), (50, 45)]):
        pixels = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_bytes(b"nothing")
    return folder


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> models.Named:
    """The command finds a tiny BLIP under any name."""
    named = models.Named(tiny_blip(), med.toy())
    monkeypatch.setattr(models, "find", lambda name: named)
    return named


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[list[str], str]:
    assert cli.main([str(word) for word in words]) == 0
    out, err = capsys.readouterr()
    return out.splitlines(), err


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    try:
        code = cli.main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and err.startswith("vlcourse: ") and err.count("\n") == 1
    return err


def test_a_folder_of_pictures(
    photos: Path, tiny: models.Named, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, err = said(capsys, "caption", photos, "--max-tokens", 8)
    images = [photos / f"{i}.png" for i in range(5)]
    size = tiny.model.config.image.image_size
    pixels = torch.stack([image for _, image in caption.pictures.read(images, size)])
    texts = write(tiny.model, tiny.tokenizer, pixels, Writing(max_tokens=8))
    assert lines == [f"{path}: {text}" for path, text in zip(images, texts, strict=True)]
    assert "skipped 1 of 6" in err and "broken.jpg" in err


def test_options_reach_the_writing(
    photos: Path, tiny: models.Named, capsys: pytest.CaptureFixture[str]
) -> None:
    one = photos / "1.png"
    greedy, _ = said(capsys, "caption", one, "--beams", 1, "--max-tokens", 8)
    drawn = [
        said(capsys, "caption", one, "--sample", "--seed", seed, "--max-tokens", 8)[0]
        for seed in (1, 1, 2)
    ]
    led, _ = said(capsys, "caption", one, "--beams", 1, "--max-tokens", 8, "--prompt", "a red")
    assert drawn[0] == drawn[1] and len({*map(str, [greedy, *drawn, led])}) == 4
    assert all(line[0].startswith(f"{one}: ") for line in (greedy, *drawn, led))


def test_what_is_refused(
    photos: Path, tmp_path: Path, tiny: models.Named, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "which picture?" in refused(capsys, "caption")
    assert "no such picture" in refused(capsys, "caption", tmp_path / "none.png")
    assert "skipped 1 of 1" in refused(capsys, "caption", photos / "broken.jpg")
    assert "beams" in refused(capsys, "caption", photos, "--beams", 0)
    assert "max_new_tokens" in refused(capsys, "caption", photos, "--max-tokens", 0)
    assert "context of 64" in refused(capsys, "caption", photos / "1.png", "--max-tokens", 100)
    assert "not allowed with" in refused(capsys, "caption", photos, "--sample", "--beams", 2)


def test_models_that_do_not_write(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "CLIP, which does not write" in refused(capsys, "caption", photos, "--model", "clip-toy")


def test_retrieve_looks_again_with_a_blip(
    photos: Path, tiny: models.Named, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores are cosine + matching logit, and decide the order."""
    lines, err = said(capsys, "retrieve", "a red circle", photos, "--top", 3)
    assert err.count("skipped") == 1
    found = retrieve.retrieve("a red circle", [str(photos)], "tiny", 3)
    alone = []
    from vlcourse.evals import rerank

    for i in range(5):
        [(path, image)] = caption.pictures.read([photos / f"{i}.png"], 32)
        cosine = rerank.cosines(tiny.model, tiny.tokenizer, ["a red circle"], image[None])
        pair = torch.zeros(1, 2, dtype=torch.int64)
        logit = rerank.match_logits(tiny.model, tiny.tokenizer, ["a red circle"], image[None], pair)
        alone.append((float(cosine + logit[0, 1]), path))
    expected = sorted(alone, reverse=True)[:3]
    assert [one.path for one in found] == [path for _, path in expected]
    assert [one.score for one in found] == pytest.approx([s for s, _ in expected], abs=1e-4)
    assert lines == [f"{score:8.3f}  {path}" for score, path in expected]


# As BERT's: the control tokens have their ids.
VOCABULARY = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY += [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]


def transformers_blip(kind: str, folder: Path) -> None:
    """A random BLIP of transformers' with a vocabulary of letters."""
    import transformers

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    small["num_attention_heads"] = 2
    vision = small | {"image_size": 32, "patch_size": 16}
    n = len(VOCABULARY)
    text = small | {
        "vocab_size": n + 2, "encoder_hidden_size": 32, "max_position_embeddings": 64,
        "bos_token_id": n, "sep_token_id": 102, "eos_token_id": 102, "pad_token_id": 0,
    }  # fmt: skip
    config = transformers.BlipConfig(
        vision_config=vision, text_config=text, projection_dim=16, image_text_hidden_size=16
    )
    getattr(transformers, kind)(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))


@pytest.mark.parametrize("kind", ["BlipForConditionalGeneration", "BlipForImageTextRetrieval"])
def test_a_folder_of_transformers(
    kind: str,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    folder = tmp_path / "model"
    transformers_blip(kind, folder)
    capsys.readouterr()
    recwarn.clear()
    writes = kind == "BlipForConditionalGeneration"
    work, other = ["caption", photos], ["retrieve", "a cat", photos]
    if not writes:
        work, other = other, work
    lines, _ = said(capsys, *work, "--model", folder)
    assert len(lines) == 5 and not recwarn.list
    sentence = "was not trained to compare" if writes else "was not trained to write"
    assert sentence in refused(capsys, *other, "--model", folder)
    settings = json.loads((folder / "config.json").read_text())
    assert settings["model_type"] == "blip"
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "vocab.txt").write_text("\n".join(VOCABULARY[:-1]))
    assert "its vocabulary has 157" in refused(capsys, *work, "--model", other)


def test_captions_of_photos_as_transformers_writes_them(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the file to the text: the same preparation of pictures that are not square, too."""
    import transformers

    folder = tmp_path / "model"
    transformers_blip("BlipForConditionalGeneration", folder)
    theirs = transformers.BlipForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    images = [photos / f"{i}.png" for i in range(5)]
    inputs = processor([Image.open(path) for path in images], return_tensors="pt")
    ids = theirs.generate(**inputs, num_beams=3, max_new_tokens=12)
    capsys.readouterr()
    lines, _ = said(capsys, "caption", photos, "--model", folder, "--max-tokens", 12)
    words = med.real(folder)
    texts = [words.decode(row[1:]) for row in ids.tolist()]
    assert lines == [f"{path}: {text}" for path, text in zip(images, texts, strict=True)]


def test_the_prompt_of_the_training_is_the_default(
    photos: Path, tiny: models.Named, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    one = (photos / "1.png", "--max-tokens", 8)
    led, _ = said(capsys, "caption", *one, "--prompt", "a red")
    free, _ = said(capsys, "caption", *one)
    trained = models.Named(tiny.model, tiny.tokenizer, "a red")
    monkeypatch.setattr(models, "find", lambda name: trained)
    assert said(capsys, "caption", *one)[0] == led != free
    assert said(capsys, "caption", *one, "--prompt", "")[0] == free
