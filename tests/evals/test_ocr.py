"""The expert that reads signs, and what it says where its package is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vlcourse.evals.experts import told_by
from vlcourse.evals.ocr import Reader
from vlcourse.layers.errors import ModelError


def sign(words: str) -> Tensor:
    """White words on a blue board, uint8 (3, 120, 360)."""
    image = Image.new("RGB", (360, 120), (0, 60, 160))
    font = ImageFont.load_default(48)
    ImageDraw.Draw(image).text((30, 30), words, fill="white", font=font)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.fixture(scope="module")
def reader() -> Reader:
    pytest.importorskip("rapidocr", reason="the extra ocr is not installed")
    return Reader()


def test_a_sign_is_read_and_its_words_enter_the_prompt(reader: Reader) -> None:
    blank = torch.full((3, 120, 360), 200, dtype=torch.uint8)
    pictures = [sign("EXIT 24"), blank]
    assert reader(pictures) == ['a sign says "EXIT 24".', ""]
    prompts = told_by([reader], pictures, ["where are we?"] * 2)
    assert prompts[0].startswith('a sign says "EXIT 24". instruction: where are we?')
    assert prompts[1].startswith("instruction: where are we?")


def test_what_it_is_not_sure_of_is_not_said(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "least", 1.1)
    assert reader([sign("EXIT")]) == [""]


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 8, 64), (64, 64)])
def test_no_picture_is_refused_in_words(reader: Reader, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="a picture to be read is uint8"):
        reader([torch.zeros(shape, dtype=torch.uint8)])


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(ModelError, match=r"pip install 'vlcourse\[ocr\]'"):
        Reader()
