"""BLIP in the layout of the official code, in and out: files as it writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blip_twins import (
    CLS,
    DEC,
    ENC,
    PAD,
    SEP,
    SIZE,
    VOCAB,
    batch,
    hf_twin,
    randomise,
    to_official,
)  # fmt: skip
from torch import Tensor

from vlcourse import weights
from vlcourse.models.blip import BLIP, TASKS, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.blip_vqa import BLIPAnswerer, BLIPAnswererConfig
from vlcourse.models.med import MEDConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.weights.rename import WeightsError, WeightsWarning

TEMPERATURE = "ignore:.*no place for the temperature:vlcourse.weights.rename.WeightsWarning"
QUEUE = 11


def small_config(*tasks: str, **text: Any) -> BLIPConfig:
    image = BLIPViTConfig(SIZE, 6, 20, 3, 2, 44 / 20)
    med = MEDConfig(VOCAB, 23, 24, 2, 3, 50 / 24, 20, cls=CLS, sep=SEP, pad=PAD, dec=DEC, enc=ENC)
    return BLIPConfig(10, image, replace(med, **text), tasks or TASKS, queue=QUEUE)


def pretraining() -> tuple[BLIP, dict[str, Tensor]]:
    """A BLIP whose every number is random, and its official weights, named by hand."""
    model = small_config().build().eval()
    randomise(model, seed=3)
    queues = model.image_queue, model.text_queue
    for queue in queues:
        queue.rows.copy_(torch.randn(QUEUE, 10))
        queue.place.fill_(4)
    model.steps.fill_(model.config.alpha_steps)
    stored = weights.to_salesforce(model)
    assert torch.equal(stored["image_queue"], queues[0].rows.T)
    assert torch.equal(stored["text_queue"], queues[1].rows.T)
    assert stored["queue_ptr"].shape == (1,) and stored["queue_ptr"].item() == 4
    assert stored["temp"].shape == () and "idx_queue" not in stored and "steps" not in stored
    return model, stored


def official_names(stored: dict[str, Tensor]) -> set[str]:
    """What the official pretraining model's state dict has, of these layers."""
    names = set()
    vision = to_official(hf_twin("caption").state_dict()).keys()
    for name in vision:
        if name.startswith("visual_encoder."):
            names |= {name, name.replace("visual_encoder.", "visual_encoder_m.")}
        if name.startswith("text_decoder."):
            names.add(name)
        if name.startswith("text_decoder.bert."):
            reader = name.removeprefix("text_decoder.bert.")
            names |= {f"text_encoder.{reader}", f"text_encoder_m.{reader}"}
    heads = ("vision_proj", "text_proj", "vision_proj_m", "text_proj_m", "itm_head")
    names |= {f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias")}
    return names | {"temp", "image_queue", "text_queue", "queue_ptr"}


def as_file(stored: dict[str, Tensor], path: Path) -> Path:
    """As the official training writes it, with what else it holds."""
    extras = {
        "text_encoder.embeddings.position_ids": torch.arange(23)[None],
        "text_decoder.bert.embeddings.position_ids": torch.arange(23)[None],
        "text_encoder_m.embeddings.position_ids": torch.arange(23)[None],
    }
    kept = {n: t for n, t in extras.items() if any(s.startswith(n[:13]) for s in stored)}
    torch.save({"model": stored | kept, "epoch": 19, "config": {"vit": "base"}}, path)
    return path


def assert_equal_state(a: torch.nn.Module, b: torch.nn.Module) -> None:
    left, right = a.state_dict(), b.state_dict()
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def test_pretraining_in_and_out(tmp_path: Path) -> None:
    model, stored = pretraining()
    assert stored.keys() == official_names(stored)
    path = as_file(stored, tmp_path / "model_base.pth")
    again = weights.from_salesforce(path, config=model.config)
    assert isinstance(again, BLIP) and not again.training
    assert_equal_state(again, model)
    # shared again by construction
    block: Any = again.text.blocks[0]
    assert block.reader.mlp is block.writer.mlp and again.text.head.out.weight is (
        again.text.reading.token.weight
    )
    again.train()  # the momentum encoders are those of the file, not copies made anew
    assert_equal_state(again, model)


def test_its_reader_and_writer_are_those_of_transformers() -> None:
    """The official text layers have transformers' names: the same numbers, computed by it."""
    model, stored = pretraining()
    data = batch()
    pixels, tokens, mask = data["pixels"], data["tokens"], data["mask"]
    for kind in ("retrieval", "caption"):
        theirs = hf_twin(kind)
        names = theirs.state_dict().keys()  # in the same order as the official ones
        pairs = zip(names, to_official(theirs.state_dict()), strict=True)
        theirs.load_state_dict({name: stored[official] for name, official in pairs})
        with torch.no_grad():
            if kind == "retrieval":
                first = torch.full_like(tokens[:, :1], ENC)
                asked = torch.cat([first, tokens[:, 1:]], 1)
                expected = theirs(
                    input_ids=asked, pixel_values=pixels, attention_mask=mask.long()
                ).itm_score
                found = model.match(pixels, tokens, mask)
            else:
                first = torch.full_like(tokens[:, :1], DEC)
                asked = torch.cat([first, tokens[:, 1:]], 1)
                expected = theirs(pixel_values=pixels, input_ids=asked).logits
                found = model.text.lm_logits(model.text.decode(tokens, model.image_tokens(pixels)))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_what_is_shared_must_be_equal() -> None:
    model, stored = pretraining()
    name = "text_decoder.bert.encoder.layer.1.crossattention.self.value.weight"
    stored[name] = stored[name] + 1
    first = name.replace("text_decoder.bert", "text_encoder")
    with pytest.raises(WeightsError, match=f'^{name} of .* is not {first}, .*sharing, "none" say$'):
        weights.from_salesforce(stored, config=model.config)
    apart = replace(model.config, text=replace(model.config.text, sharing="none"))
    head = "text_decoder.cls.predictions.decoder.weight"
    stored[head] = stored["text_decoder.bert.embeddings.word_embeddings.weight"].clone()
    again = weights.from_salesforce(stored, config=apart)
    values: Any = again.text.blocks[1]
    assert torch.equal(values.writer.cross.v.weight, values.reader.cross.v.weight + 1)
    stored[head] = stored[head] + 1  # in the official pretraining the head is a matrix of its own
    with pytest.raises(WeightsError, match=f"^{head} of .*: pass a config that is not tied$"):
        weights.from_salesforce(stored, config=apart)
    untied = replace(apart, text=replace(apart.text, tied=False))
    assert torch.equal(
        weights.from_salesforce(stored, config=untied).text.head.out.weight, stored[head]
    )


@pytest.mark.filterwarnings(TEMPERATURE)
@pytest.mark.parametrize("kind", ["retrieval", "caption", "vqa"])
def test_what_was_fine_tuned(kind: str, tmp_path: Path) -> None:
    theirs = hf_twin(kind)
    stored = to_official(theirs.state_dict())
    expected = weights.from_hf(theirs)
    if kind == "retrieval":
        stored["temp"] = torch.tensor(0.05)
    path = as_file(stored, tmp_path / "model.pth")
    found = weights.from_salesforce(path, config=expected.config)
    if isinstance(found, BLIP) and kind == "retrieval":
        assert found.temperature.item() == pytest.approx(0.05)
        found.temperature.data.fill_(0.07)
        stored["temp"] = torch.tensor(0.07)
    assert type(found) is type(expected)
    assert_equal_state(found, expected)
    out = weights.to_salesforce(found)
    assert out.keys() == stored.keys()
    assert all(torch.equal(out[name], stored[name]) for name in stored)


def test_retrieval_with_its_momentum_and_ids() -> None:
    config = small_config("itc", "itm", roles="reader")
    model = config.build().eval()
    randomise(model, seed=6)
    model.image_queue.ids.copy_(torch.arange(QUEUE))
    model.text_queue.ids.copy_(torch.arange(QUEUE))
    model.steps.fill_(config.alpha_steps)
    stored = weights.to_salesforce(model)
    assert "ptr_queue" in stored and "queue_ptr" not in stored
    assert torch.equal(stored["idx_queue"], torch.arange(QUEUE)[None])
    assert_equal_state(weights.from_salesforce(stored, config=config), model)
    del stored["idx_queue"], stored["visual_encoder_m.norm.bias"]
    with pytest.raises(WeightsError, match=r"missing: .*visual_encoder_m.norm.bias.*idx_queue"):
        weights.from_salesforce(stored, config=config)


def test_sizes_that_tell_the_rest() -> None:
    """Widths of the published models, with few layers: heads, ids and kind follow."""
    image = BLIPViTConfig(32, 16, 1024, 1, 16, 64 / 1024)
    text = MEDConfig(context=6, layers=1, mlp_ratio=16 / 768, image_width=1024)
    config = BLIPConfig(4, image, text, queue=3)
    stored = weights.to_salesforce(config.build())
    assert weights.from_salesforce(stored).config == config
    stored["text_decoder.cls.predictions.decoder.weight"] = torch.zeros(30_524, 768)
    assert not weights.from_salesforce(stored).config.text.tied
    answerer = BLIPAnswererConfig(
        image, replace(text, sharing="none", source_width=768)
    )  # looks at images of 1024 and at questions of 768 channels
    found = weights.from_salesforce(weights.to_salesforce(answerer.build()))
    assert isinstance(found, BLIPAnswerer) and found.config == answerer


def test_what_is_no_official_blip() -> None:
    model, stored = pretraining()
    with pytest.raises(WeightsError, match="has not the sizes of the published BLIPs .*pass conf"):
        weights.from_salesforce(stored)
    with pytest.raises(WeightsError, match="none of the official BLIPs"):
        weights.from_salesforce({"weight": torch.ones(2)})
    with pytest.raises(WeightsError, match="should have 4 axes: none"):
        weights.from_salesforce({"text_decoder.a": torch.ones(2)})
    with pytest.raises(WeightsError, match="holds a pretrained model, and config is of another"):
        config = small_config("lm", roles="writer")
        weights.from_salesforce(stored, config=config)
    del stored["temp"]
    stored["text_encoder.pooler.dense.bias"] = torch.ones(24)
    with pytest.raises(WeightsError, match=r"1 missing: temp; 1 unused: text_encoder.pooler"):
        weights.from_salesforce(stored, config=model.config)


def test_without_momentum_encoders_and_with_a_resnet() -> None:
    model = small_config("itm", "lm").build().eval()  # what has no ITC has no momentum encoders
    randomise(model, seed=1)
    stored = weights.to_salesforce(model)
    assert not any("_m." in name or "queue" in name for name in stored)
    assert_equal_state(weights.from_salesforce(stored, config=model.config), model)
    text = MEDConfig(VOCAB, 23, 24, 2, 3, 2.0, 256, cls=CLS, sep=SEP, pad=PAD, dec=DEC, enc=ENC)
    resnet = BLIPConfig(8, ResNetConfig(32, (1, 1, 1, 1), 8, 4), text, queue=3).build()
    with pytest.raises(WeightsError, match="official BLIP has no ResNet tower"):
        weights.to_salesforce(resnet)
    with pytest.warns(WeightsWarning), pytest.raises(WeightsError, match="no ResNet tower"):
        weights.to_transformers(resnet, "BlipForConditionalGeneration")
