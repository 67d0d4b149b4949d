"""VideoChat from files of its release and back; its aggregators against torch's own modules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_blip2 import LLMS, QFORMER, blip2, writer
from tiny_videochat import asked, videochat
from torch import Tensor, nn

from vlcourse import weights
from vlcourse.models.eva import EVAConfig
from vlcourse.models.gmhra import GMHRAConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.videochat import VideoChat, VideoChatConfig
from vlcourse.weights.rename import WeightsError

TOWER = EVAConfig(image_size=24, patch_size=8, width=20, layers=4, heads=2, mlp_ratio=1.5)
CONFIG = VideoChatConfig(
    image=TOWER, qformer=replace(QFORMER, text="none", image_width=20), llm=LLMS["llama"],
    gmhra=GMHRAConfig(layers=3, heads=5, mlp_ratio=1.35), extra_queries=7,
)  # fmt: skip
PATCH = "visual_encoder.patch_embed.proj.weight"


def odd(seed: int = 0) -> VideoChat:
    """Odd sizes, and weights that all matter."""
    torch.manual_seed(seed)
    model = CONFIG.build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def released(width: int = 20, layers: int = 3, hidden: int = 27) -> dict[str, Tensor]:
    """What the release's training saves, by the names and shapes of its modules."""
    generator = torch.Generator().manual_seed(5)

    def r(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.3

    found = {
        "extra_query_tokens": r(1, 7, 12),
        "visual_encoder.gmhra_cls_token": r(1, 1, width),
        "ln_vision.weight": r(width), "ln_vision.bias": r(width),
        "llama_proj.weight": r(16, 12), "llama_proj.bias": r(16),
    }  # fmt: skip
    for j in range(layers):
        at = f"visual_encoder.gmhra.{j}"
        found |= {
            f"{at}.dpe.weight": r(width, 1, 3, 3, 3), f"{at}.dpe.bias": r(width),
            f"{at}.attn.in_proj_weight": r(3 * width, width),
            f"{at}.attn.in_proj_bias": r(3 * width),
            f"{at}.attn.out_proj.weight": r(width, width), f"{at}.attn.out_proj.bias": r(width),
            f"{at}.mlp.c_fc.weight": r(hidden, width), f"{at}.mlp.c_fc.bias": r(hidden),
            f"{at}.mlp.c_proj.weight": r(width, hidden), f"{at}.mlp.c_proj.bias": r(width),
        }  # fmt: skip
        for n in (1, 2, 3):
            found |= {f"{at}.ln_{n}.weight": 1 + r(width), f"{at}.ln_{n}.bias": r(width)}
    return found


def given() -> dict[str, Any]:
    torch.manual_seed(1)
    first = odd(seed=1)
    return {"blip2": first, "llm": first.llm, "config": CONFIG}


def test_a_file_of_the_release_at_odd_sizes(tmp_path: Path) -> None:
    file, parts = released(), given()
    rotary = {"llama_model.model.layers.1.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    torch.save({"model": file | rotary, "epoch": 2}, tmp_path / "videochat.pth")
    ours = weights.from_opengvlab(tmp_path / "videochat.pth", **parts)
    assert isinstance(ours, VideoChat) and not ours.training
    again = weights.to_opengvlab(ours)
    assert again.keys() == file.keys()
    for name, tensor in file.items():
        assert torch.equal(again[name], tensor), name
    for part in ("image", "qformer", "llm"):  # and the parts that were given
        theirs = getattr(parts["blip2"], part).state_dict()
        for name, tensor in getattr(ours, part).state_dict().items():
            assert torch.equal(tensor, theirs[name])
        assert not any(p.requires_grad for p in getattr(ours, part).parameters())


def test_its_aggregators_are_torchs_own_modules_under_the_released_names() -> None:
    """The token after three blocks of nn.MultiheadAttention, nn.Conv3d and nn.LayerNorm."""
    file = released()
    ours = weights.from_opengvlab(file, **given())
    pixels = torch.randn(2, 4, 3, 24, 24)
    states = ours.frame_states(pixels.flatten(0, 1))  # (8, 1 + 9, 20) each
    token = file["visual_encoder.gmhra_cls_token"].expand(2, 1, -1)
    for j, state in enumerate(states):
        own = {
            name.removeprefix(f"visual_encoder.gmhra.{j}."): tensor
            for name, tensor in file.items()
            if f".gmhra.{j}." in name
        }

        def norm(x: Tensor, n: int, own: dict[str, Tensor] = own) -> Tensor:
            return nn.functional.layer_norm(x, (20,), own[f"ln_{n}.weight"], own[f"ln_{n}.bias"])

        y = norm(state, 3)
        cube = y[:, 1:].reshape(2, 4, 3, 3, 20).permute(0, 4, 1, 2, 3)
        conv = nn.functional.conv3d(cube, own["dpe.weight"], own["dpe.bias"], padding=1, groups=20)
        moved = conv.flatten(3).permute(0, 2, 3, 1).flatten(0, 1)  # (8, 9, 20)
        y = torch.cat([y[:, :1], y[:, 1:] + moved], dim=1).reshape(2, 40, 20)
        attention = nn.MultiheadAttention(20, 5, batch_first=True)
        attention.load_state_dict(
            {n.removeprefix("attn."): t for n, t in own.items() if n.startswith("attn.")}
        )
        token = token + attention(norm(token, 1), y, y)[0]
        hidden = norm(token, 2) @ own["mlp.c_fc.weight"].T + own["mlp.c_fc.bias"]
        token = token + nn.functional.gelu(hidden) @ own["mlp.c_proj.weight"].T
        token = token + own["mlp.c_proj.bias"]
    expected = torch.cat([states[-1].reshape(2, 40, 20), token], dim=1)
    expected = nn.functional.layer_norm(
        expected, (20,), file["ln_vision.weight"], file["ln_vision.bias"], 1e-5
    )
    torch.testing.assert_close(ours.video(pixels).tokens, expected, rtol=1e-4, atol=1e-5)


def test_the_whole_there_and_back() -> None:
    model = odd()
    file = weights.to_opengvlab(model, whole=True)
    assert file[PATCH].shape == (20, 3, 1, 8, 8)  # of a video, one frame at a time
    again = weights.from_opengvlab({"model": file}, llm=model.llm, config=CONFIG)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    data = asked() | {"pixels": torch.randn(4, 3, 3, 24, 24)}
    assert again.losses(data)["lm"].equal(model.losses(data)["lm"])


def test_a_first_stages_qformer_comes_without_its_words() -> None:
    torch.manual_seed(0)
    first = replace(
        blip2("vit").config, image=TOWER, qformer=replace(QFORMER, image_width=20)
    ).build()
    ours = weights.from_opengvlab(released(), blip2=first, llm=writer("llama").llm, config=CONFIG)
    assert torch.equal(ours.qformer.queries, first.qformer.queries)
    assert not [n for n, _ in ours.named_parameters() if "words" in n or "_text" in n]


def test_the_released_shapes_are_known_by_their_projection() -> None:
    for name, width in (("7B", 4096), ("13B", 5120)):
        with torch.device("meta"):
            config = VideoChatConfig.preset(name)
            assert isinstance(config.llm, LLaMAConfig) and config.llm.width == width
            model = config.build()
        file = weights.to_opengvlab(model)
        assert len(file) == 6 + 8 * 16
        assert file["visual_encoder.gmhra.7.attn.in_proj_weight"].shape == (4224, 1408)
        assert file["visual_encoder.gmhra.0.mlp.c_fc.weight"].shape == (6144, 1408)
        assert file["extra_query_tokens"].shape == (1, 64, 768)
        assert file["llama_proj.weight"].shape == (width, 768)
        with pytest.raises(WeightsError, match="neither tower nor Q-Former: pass a BLIP-2"):
            weights.from_opengvlab(file, llm=model.llm)


def test_what_does_not_fit_is_refused() -> None:
    file, parts = released(), given()
    for change, said in (
        ({"ln_vision.bias": None}, "1 missing: ln_vision.bias"),
        ({"ln_video.bias": torch.ones(1)}, "1 unused: ln_video.bias"),
        ({"extra_query_tokens": torch.ones(1, 5, 12)}, r"\(1, 5, 12\) instead of \(1, 7, 12\)"),
        ({"visual_encoder.blocks.3.lmhra1.pos_embed.1.weight": torch.ones(1)}, "no released"),
    ):  # fmt: skip
        changed = {n: t for n, t in {**file, **change}.items() if t is not None}
        with pytest.raises(WeightsError, match=said):
            weights.from_opengvlab(changed, **parts)
    with pytest.raises(WeightsError, match="no language model: pass it as llm"):
        weights.from_opengvlab(file, blip2=parts["blip2"], config=CONFIG)
    with pytest.raises(WeightsError, match="has not the sizes of a released VideoChat"):
        weights.from_opengvlab(file, blip2=parts["blip2"], llm=parts["llm"])
    for changes, said in (
        ({}, "a tower that is not EVA's"),
        ({"clock": "order"}, "a clock"),
        ({"spread": 2}, "several vectors a query"),
    ):
        with pytest.raises(WeightsError, match=said):
            weights.to_opengvlab(videochat(**changes))  # type: ignore[arg-type]
