"""What a CLIP's weights do not tell: open_clip's settings, arguments, or the paper's tables."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vlcourse import weights
from vlcourse.models.clip import PRESETS, CLIPConfig, TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.weights.clip import OPENAI_SCALARS, openai_table
from vlcourse.weights.open_clip import config_from_open_clip, config_from_shapes
from vlcourse.weights.rename import WeightsError, WeightsWarning, to_theirs

open_clip = pytest.importorskip("open_clip.model")

# 4 heads of 10 and 5 heads of 8: nothing in the shapes says so.
VISION = {"image_size": 12, "layers": 2, "width": 40, "head_width": 10, "patch_size": 4}
TEXT = {"context_length": 9, "vocab_size": 23, "width": 40, "heads": 5, "layers": 2}


def published(folder: Path, quick_gelu: bool, **vision: Any) -> nn.Module:
    """A folder as open_clip publishes its models, and its model."""
    cfg = {"embed_dim": 12, "vision_cfg": VISION | vision, "text_cfg": TEXT}
    if quick_gelu:
        cfg["quick_gelu"] = True
    torch.manual_seed(0)
    model = open_clip.CLIP(**cfg).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3) if parameter.ndim else None
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    content = {"model_cfg": cfg, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    return model


@torch.no_grad()
def same(ours: nn.Module, theirs: nn.Module, size: int = 12) -> None:
    pixels, tokens = torch.randn(3, 3, size, size), torch.randint(1, 22, (3, 9))
    tokens[:, -1] = 22
    for mine, other in (
        (ours.encode_image(pixels), theirs.encode_image(pixels)),
        (ours.encode_text(tokens), theirs.encode_text(tokens)),
    ):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_the_settings_beside_the_file(tmp_path: Path, quick_gelu: bool) -> None:
    theirs = published(tmp_path, quick_gelu)
    ours = weights.from_openai(tmp_path)
    assert (ours.config.image.heads, ours.config.text.heads) == (4, 5)
    same(ours, theirs)
    file = tmp_path / "open_clip_model.safetensors"
    same(weights.from_openai(file), theirs)
    other = weights.from_openai(file, image_heads=2)  # who says it, is right
    assert other.config.image.heads == 2
    torch.testing.assert_close(other.text.token.weight, theirs.token_embedding.weight)


def test_a_resnet_with_settings(tmp_path: Path) -> None:
    vision = {"layers": [1, 2, 1, 1], "width": 6, "head_width": 32, "image_size": 32}
    theirs = published(tmp_path, False, **vision)
    ours = weights.from_openai(tmp_path)
    assert ours.config.image == ResNetConfig(32, (1, 2, 1, 1), 6, 6)
    same(ours, theirs, 32)


def test_without_settings_all_that_is_not_told_is_demanded(tmp_path: Path) -> None:
    theirs = published(tmp_path, False)
    (tmp_path / "open_clip_config.json").unlink()
    with pytest.raises(WeightsError, match="do not tell activation, image_heads, text_heads: pass"):
        weights.from_openai(tmp_path)
    with pytest.raises(WeightsError, match="do not tell activation: pass them, or put open_clip_"):
        weights.from_openai(tmp_path, image_heads=4, text_heads=5)
    state = theirs.state_dict()
    del state["ln_final.bias"]
    with pytest.raises(WeightsError, match="1 missing: ln_final.bias$"):  # the worse fault first
        weights.from_openai(state, image_heads=4, text_heads=5)
    ours = weights.from_openai(tmp_path, image_heads=4, text_heads=5, activation="gelu")
    same(ours, theirs)
    same(weights.from_openai(theirs.state_dict(), config=ours.config), theirs)


def test_the_large_ones_of_open_clip() -> None:
    """ViT-H, g and bigG have 16 heads of 80, 88 and 104 channels; their published settings."""
    for width, head, layers, ratio, hidden in (
        (1280, 80, 32, 4.0, 5120), (1408, 88, 40, 4.3637, 6144), (1664, 104, 48, 4.9231, 8192),
    ):  # fmt: skip
        vision = dict(image_size=224, layers=layers, width=width, head_width=head, patch_size=14)
        text = dict(context_length=77, vocab_size=49408, width=1024, heads=16, layers=24)
        cfg = {"embed_dim": 1024, "vision_cfg": vision | {"mlp_ratio": ratio}, "text_cfg": text}
        config = config_from_open_clip(cfg)
        assert config.image.heads == 16 and config.image.activation == "gelu"
        assert round(config.image.mlp_ratio * width) == hidden


@pytest.mark.parametrize("name", PRESETS)
def test_openais_own_shapes_are_known(name: str) -> None:
    with torch.device("meta"):
        model = PRESETS[name].build()
    state = to_theirs(model.state_dict(), openai_table(PRESETS[name]))
    assert config_from_shapes(state, "", None, None, None) == (PRESETS[name], [])
    told = config_from_shapes(state, "", "gelu", None, 4)[0]
    assert told.text.activation == "gelu" and told.text.heads == 4
    assert told.image.heads == PRESETS[name].image.heads


def test_the_same_shapes_may_be_open_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's files say their sizes in three numbers; without them there is a doubt."""
    tower = dict(width=16, layers=1, heads=2)
    config = CLIPConfig(8, ViTConfig(8, 4, **tower), TextConfig(20, 7, **tower))
    monkeypatch.setitem(PRESETS, "tiny", config)
    state = weights.to_openai(config.build())
    with pytest.warns(WeightsWarning, match='is taken for it, with QuickGELU: pass activation="ge'):
        assert weights.from_openai(state).config == config
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights.from_openai(state, activation="quick_gelu")
        weights.from_openai(state | {name: torch.tensor(1) for name in OPENAI_SCALARS})


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("vision_cfg", {"timm_model_name": "vit_base"}, "timm_model_name 'vit_base'"),
        ("vision_cfg", {"pool_type": "avg"}, "pool_type 'avg', which our CLIP does not have"),
        ("vision_cfg", {"head_width": 7}, "head_width 7; our model needs a divisor of the width"),
        ("vision_cfg", {"layers": [1, 2, 3]}, "four stages"),
        ("vision_cfg", {"width": "wide"}, "width 'wide'; our model needs a whole number"),
        ("text_cfg", {"no_causal_mask": True}, "no_causal_mask True"),
        ("text_cfg", {"pool_type": "tok"}, "pool_type 'tok'"),
        ("text_cfg", {"norm_kwargs": {"eps": 1e-6}}, "norm_kwargs"),
        ("text_cfg", {"layers": 10**9}, "from 1 to 1,000"),
        (None, {"init_logit_bias": -10}, "init_logit_bias -10"),
        (None, {"quick_gelu": "no"}, "true or false"),
        (None, {"vision_cfg": 3}, "no JSON object"),
        (None, {"embed_dim": None}, "no embed_dim"),
    ],
)
def test_settings_that_our_clip_does_not_have(part, change, said) -> None:
    cfg = {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT}
    cfg |= {part: cfg[part] | change} if part else change
    with pytest.raises(WeightsError, match=said):
        config_from_open_clip(cfg)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in state.items()}},
        lambda state: {"model": {f"_orig_mod.module.{n}": t for n, t in state.items()}},
        lambda state: {f"module._orig_mod.{n}": t for n, t in state.items()},
        lambda state: {n.replace("visual.", "visual._orig_mod."): t for n, t in state.items()},
        lambda state: state | {"logit_scale": state["logit_scale"].reshape(1)},
    ],
    ids=["DDP", "compiled DDP", "DDP of compiled", "a compiled tower", "a vector of one"],
)
def test_training_checkpoints(tmp_path: Path, wrap: Any) -> None:
    theirs = published(tmp_path, False)
    file = tmp_path / "epoch_3.pt"
    torch.save(wrap(theirs.state_dict()), file)
    for source in (file, torch.load(file)):
        ours = weights.from_openai(source, activation="gelu", image_heads=4, text_heads=5)
        same(ours, theirs)
        assert ours.log_scale.item() == pytest.approx(theirs.logit_scale.item())


def test_folders_with_other_files(tmp_path: Path) -> None:
    published(tmp_path, False)
    file = tmp_path / "open_clip_model.safetensors"
    (tmp_path / "vae.pt").write_bytes(b"another thing")
    assert weights.from_openai(tmp_path).config.text.heads == 5
    file = file.rename(tmp_path / "mine.safetensors")
    with pytest.raises(WeightsError, match="but mine.safetensors, vae.pt: name the file"):
        weights.from_openai(tmp_path)
    (tmp_path / "vae.pt").unlink()
    assert weights.from_openai(tmp_path).config.text.heads == 5
    file.unlink()
    with pytest.raises(WeightsError, match="but no file of weights"):
        weights.from_openai(tmp_path)


def test_a_hub_id_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, asked = published(tmp_path, True), {}

    def download(source: str, allow_patterns: list[str]) -> str:
        asked[source] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    same(weights.from_openai("someone/some-clip"), theirs)
    assert "open_clip_config.json" in asked["someone/some-clip"]
    assert not any(name.endswith((".bin", ".pt", "*")) for name in asked["someone/some-clip"])
