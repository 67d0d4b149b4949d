"""CLIP's exercises: the references are what the library's own towers and classifier compute."""

from __future__ import annotations

import torch
from einops import rearrange

from vlcourse.evals.clip import ensemble
from vlcourse.models.clip import TextConfig, TextTower
from vlcourse.models.vit import ViT, ViTConfig
from vlcourse.teach.exercise import find


def test_patches_are_bit_for_bit_those_of_the_towers_convolution() -> None:
    torch.manual_seed(0)
    tower = ViT(ViTConfig(image_size=16, patch_size=4, width=8, layers=1, heads=2))
    pixels = torch.randn(2, 3, 16, 16)
    tokens = find("clip.patch_embedding").reference(pixels, tower.patch.weight)
    assert torch.equal(tokens, rearrange(tower.patch(pixels), "b d h w -> b (h w) d"))


def test_pooling_gives_the_text_towers_feature() -> None:
    torch.manual_seed(0)
    tower = TextTower(TextConfig(vocab_size=20, context=6, width=8, layers=1, heads=2))
    tokens = torch.tensor([[18, 3, 19, 0], [18, 0, 5, 19]])
    feature, parts = tower(tokens)
    assert torch.equal(find("clip.eot_pooling").reference(parts["tokens"], tokens), feature)
    assert torch.equal(feature, parts["tokens"][[0, 1], [2, 3]])


def test_the_classifier_in_words_has_rows_of_length_one() -> None:
    rows = ensemble(torch.tensor([[[2.0, 0.0], [0.0, 9.0]]]))  # two prompts of one class
    torch.testing.assert_close(rows, torch.full((1, 2), 0.5**0.5))
    assert find("clip.zero_shot_classifier").reference is ensemble
