"""BLIP-2 from LAVIS's files and back: both stages, and the temperature."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blip2_twins import SIZE, VOCAB, hf_retrieval, to_lavis
from tiny_blip2 import TOWERS, batch, blip2, told, writer
from torch import Tensor

from vlcourse import weights
from vlcourse.models.blip2 import BLIP2, PRESETS
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.models.blip2_llm import PRESETS as SECOND
from vlcourse.weights.blip2_lavis import _published
from vlcourse.weights.rename import WeightsError
from vlcourse.weights.state import weights_of

PREDICTIONS = "Qformer.cls.predictions"


def lavis_file() -> tuple[Any, dict[str, Tensor]]:
    """transformers' random model under LAVIS's names, with what transformers has no place for."""
    theirs = hf_retrieval()
    found = to_lavis(theirs.state_dict())
    generator = torch.Generator().manual_seed(2)
    words = found["Qformer.bert.embeddings.word_embeddings.weight"]
    bias = torch.randn(VOCAB, generator=generator)
    found |= {
        "temp": torch.tensor(0.031),
        f"{PREDICTIONS}.decoder.weight": words,
        f"{PREDICTIONS}.bias": bias,
        f"{PREDICTIONS}.decoder.bias": bias,
        f"{PREDICTIONS}.transform.dense.weight": torch.randn(24, 24, generator=generator),
        f"{PREDICTIONS}.transform.dense.bias": torch.randn(24, generator=generator),
        f"{PREDICTIONS}.transform.LayerNorm.weight": torch.randn(24, generator=generator),
        f"{PREDICTIONS}.transform.LayerNorm.bias": torch.randn(24, generator=generator),
        "Qformer.bert.embeddings.position_ids": torch.arange(23)[None],
    }
    return theirs, found


def config_of(theirs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Any = weights.from_hf(theirs).config
    qformer = replace(found.qformer, text="writes", dec=VOCAB - 1)
    return replace(found, qformer=qformer, tasks=("itc", "itm", "itg"))


def test_a_first_stage_there_and_back_with_its_temperature(tmp_path: Path) -> None:
    theirs, file = lavis_file()
    torch.save({"model": file}, tmp_path / "blip2.pth")
    ours = weights.from_lavis(tmp_path / "blip2.pth", config=config_of(theirs))
    assert isinstance(ours, BLIP2) and not ours.training
    assert ours.temperature.item() == pytest.approx(0.031)
    pixels = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    tokens = torch.randint(4, VOCAB, (3, 6), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        asked = {"pixel_values": pixels, "input_ids": tokens}
        asked["attention_mask"] = torch.ones_like(tokens)
        found = theirs(**asked).logits_per_image
        torch.testing.assert_close(ours(pixels, tokens) * 0.031, found, rtol=1e-5, atol=1e-5)
        matched = theirs(**asked, use_image_text_matching_head=True).logits_per_image
        torch.testing.assert_close(ours.match(pixels, tokens), matched, rtol=1e-5, atol=1e-5)
    back = weights.to_lavis(ours, tower=True)
    assert back.keys() == file.keys() - {"Qformer.bert.embeddings.position_ids"}
    assert all(tensor.equal(file[name]) for name, tensor in back.items())
    assert back["temp"].shape == ()


def test_the_tower_comes_from_elsewhere_where_the_file_has_none() -> None:
    theirs, file = lavis_file()
    trained = {n: t for n, t in file.items() if not n.startswith("visual_encoder.")}
    config = config_of(theirs)
    with pytest.raises(WeightsError, match="and no image tower: pass it as image"):
        weights.from_lavis(trained, config=config)
    whole = weights.from_lavis(file, config=config)
    ours = weights.from_lavis(trained, config=config, image=whole.image)
    for name, tensor in weights_of(whole).items():
        assert tensor.equal(weights_of(ours)[name])
    assert set(weights.to_lavis(ours)) == set(trained) - {"Qformer.bert.embeddings.position_ids"}
    vit = blip2("vit")  # CLIP's tower: LAVIS never stores it
    again = weights.from_lavis(weights.to_lavis(vit), config=vit.config, image=vit.image)
    data = batch()
    assert again.match(**data).equal(vit.match(**data))  # type: ignore[union-attr]
    assert not any(p.requires_grad for p in again.image.parameters())


@pytest.mark.parametrize(("llm", "projection"), [("opt", "opt_proj"), ("seq2seq", "t5_proj")])
def test_a_second_stage_there_and_back(llm: str, projection: str) -> None:
    model, data = writer(llm, "eva"), told(llm)
    file = weights.to_lavis(model)
    parts = {name.split(".")[0] for name in file}
    assert parts == {"query_tokens", "Qformer", "ln_vision", projection}
    inner = {n.split("layer.0.")[1].split(".")[0] for n in file if "layer.0." in n}
    assert inner == {"attention", "crossattention", "intermediate_query", "output_query"}
    with pytest.raises(WeightsError, match="no language model: pass it as llm"):
        weights.from_lavis(file, config=model.config, image=model.image)
    again = weights.from_lavis(file, config=model.config, image=model.image, llm=model.llm)
    assert isinstance(again, BLIP2LLM)
    assert again.losses(data)["lm"].equal(model.losses(data)["lm"])


def test_published_files_are_known_by_their_sizes() -> None:
    for presets in (PRESETS, SECOND):
        for name, config in presets.items():
            with torch.device("meta"):
                model: Any = config.build()
            assert _published(weights.to_lavis(model), name) == config
    with pytest.raises(WeightsError, match="has not the sizes of a published BLIP-2"):
        weights.from_lavis(weights.to_lavis(blip2()))


def test_what_does_not_fit_is_refused() -> None:
    theirs, file = lavis_file()
    config = config_of(theirs)
    head = f"{PREDICTIONS}.decoder.weight"
    for change, said in (
        ({head: file[head] + 1}, "is not Qformer.bert.embeddings.word_embeddings.weight"),
        ({"more": torch.ones(2)}, "1 unused: more"),
        ({"query_tokens": torch.ones(1, 6, 24)}, r"query_tokens \(1, 6, 24\) instead of"),
    ):
        with pytest.raises(WeightsError, match=said):
            weights.from_lavis(file | change, config=config)
    with pytest.raises(WeightsError, match="1 missing: temp"):
        weights.from_lavis({n: t for n, t in file.items() if n != "temp"}, config=config)
    with pytest.raises(WeightsError, match="no positions for a grid"):
        weights.to_lavis(blip2("grid"))
    with pytest.raises(WeightsError, match="layout of a ViTConfig is not known"):
        weights.to_lavis(blip2("vit"), tower=True)
    assert set(TOWERS) == {"vit", "eva", "blip", "grid"}
