"""BLIP from transformers and back: features, matches, captions and answers, at odd sizes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blip_twins import (
    CLS,
    DEC,
    ENC,
    KINDS,
    PAD,
    SEP,
    SIZE,
    VOCAB,
    batch,
    hf_config,
    hf_twin,
    transformers,
)  # fmt: skip
from torch import Tensor
from torch.nn import functional as F

from vlcourse import weights
from vlcourse.generate import generate
from vlcourse.layers.errors import ModelError
from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.blip_vqa import BLIPAnswerer
from vlcourse.models.med import MEDConfig
from vlcourse.weights.blip import config_from_hf, config_to_hf
from vlcourse.weights.rename import WeightsError, WeightsWarning

TEMPERATURE = "ignore:.*no place for the temperature:vlcourse.weights.rename.WeightsWarning"


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert theirs.std() > 1e-2  # it is not all the same


def test_features_and_matches_of_a_retrieval_model() -> None:
    theirs, data = hf_twin("retrieval"), batch()
    with pytest.warns(WeightsWarning, match="no place for the temperature: it is 0.07"):
        ours = weights.from_hf(theirs)
    assert isinstance(ours, BLIP) and ours.config.tasks == ("itc", "itm") and not ours.training
    assert ours.config.text.roles == "reader" and ours.twin is None
    pixels, tokens, mask = data["pixels"], data["tokens"], data["mask"]
    with torch.no_grad():
        seen = theirs.vision_model(pixels).last_hidden_state
        read = theirs.text_encoder(tokens, attention_mask=mask.long()).last_hidden_state
        assert_near(ours.image_tokens(pixels), seen)
        assert_near(ours.encode_image(pixels), theirs.vision_proj(seen[:, 0]))
        assert_near(ours.encode_text(tokens, mask), theirs.text_proj(read[:, 0]))
        asked = {"pixel_values": pixels, "attention_mask": mask.long()}
        cosines = theirs(input_ids=tokens, use_itm_head=False, **asked).itm_score
        assert_near(ours(pixels, tokens, mask) * 0.07, cosines)
        # Trap: what reads beside an image should begin with [ENC]; transformers leaves [CLS].
        as_paper = theirs(input_ids=with_first(tokens, ENC), **asked).itm_score
        as_hub = theirs(input_ids=tokens, **asked).itm_score
        assert_near(ours.match(pixels, tokens, mask), as_paper)
        assert_near(ours.match(pixels, tokens, mask, cls_for_enc=True), as_hub)
        assert (as_paper - as_hub).abs().max() > 1e-2
    with pytest.raises(ModelError, match="no writer"):
        generate(ours, None, max_new_tokens=3, pixels=pixels)


def with_first(tokens: Tensor, id: int) -> Tensor:
    return torch.cat([torch.full_like(tokens[:, :1], id), tokens[:, 1:]], dim=1)


@pytest.fixture(scope="module")
def captioners() -> tuple[Any, BLIP]:
    """Theirs and ours; [SEP] is likely, so that captions end, at different lengths."""
    theirs = hf_twin("caption", seed=4, std=0.3)
    with torch.no_grad():
        theirs.text_decoder.cls.predictions.bias[SEP] += 2.5
    return theirs, weights.from_hf(theirs)


def test_logits_of_a_captioner(captioners: tuple[Any, BLIP]) -> None:
    theirs, ours = captioners
    assert ours.config.tasks == ("lm",) and ours.config.text.roles == "writer"
    data = batch()
    pixels, tokens, mask = data["pixels"], data["tokens"], data["mask"]
    with torch.no_grad():
        written = with_first(tokens, DEC)
        logits = theirs(pixel_values=pixels, input_ids=written, attention_mask=mask.long()).logits
        hidden = ours.text.decode(tokens, ours.image_tokens(pixels))
        assert_near(ours.text.lm_logits(hidden)[mask], logits[mask])
        labels = written.masked_fill(~mask, -100)
        theirs.text_decoder.label_smoothing = 0.1
        loss = theirs(
            pixel_values=pixels, input_ids=written, attention_mask=mask.long(), labels=labels
        ).loss
        found = ours.losses(data)
        assert found.keys() == {"lm"}
        torch.testing.assert_close(found["lm"], loss, rtol=1e-5, atol=1e-5)
    for absent in (ours.encode_image, lambda x: ours.match(x, tokens, mask)):
        with pytest.raises(ModelError, match="only writes|no reader"):
            absent(pixels)


def cut(rows: Tensor) -> list[list[int]]:
    """Each row up to its [SEP]."""
    lists = [row.tolist() for row in rows]
    return [row[: row.index(SEP) + 1] if SEP in row else row for row in lists]


@pytest.mark.parametrize("beams", [1, 3])
def test_captions(captioners: tuple[Any, BLIP], beams: int) -> None:
    theirs, ours = captioners
    pixels = batch(6)["pixels"]
    lengths = set()
    for prompt in (None, torch.tensor([[CLS, 7, 8]])):
        read = 1 if prompt is None else prompt.shape[1]
        # Their lengths count [DEC] and the prompt, ours what is new. They cut a prompt's last id.
        for shortest, longest in ((0, 16), (6, 16), (0, 5), (9, 12)):
            asked = {} if prompt is None else {"input_ids": F.pad(prompt, (0, 1)).repeat(6, 1)}
            expected = theirs.generate(
                pixels, max_length=longest, min_length=shortest, num_beams=beams, **asked
            )
            found = generate(
                ours, None if prompt is None else prompt.repeat(6, 1), pixels=pixels, beams=beams,
                max_new_tokens=longest - read, min_new_tokens=max(0, shortest - read), end=SEP,
                pad=PAD,
            )  # fmt: skip
            assert cut(found) == cut(expected[:, read:])
            lengths |= {len(row) for row in cut(found)}
    assert len(lengths) > 4, lengths


def test_answers() -> None:
    theirs = hf_twin("vqa", seed=2, std=0.3)
    with torch.no_grad():
        theirs.text_decoder.cls.predictions.bias[SEP] += 2
    ours = weights.from_hf(theirs)
    assert isinstance(ours, BLIPAnswerer)
    data = batch()
    pixels, questions = data["pixels"], data["tokens"]
    asked = with_first(questions, ENC)  # theirs leaves what it is given
    for beams in (1, 3):  # theirs looks at a question's padding, ours does not: so each alone
        for i, length in enumerate(data["mask"].sum(1).tolist()):
            row = slice(i, i + 1)
            expected = theirs.generate(
                asked[row, :length], pixels[row], max_length=9, min_length=2, num_beams=beams
            )
            found = generate(
                ours, None, pixels=pixels[row], questions=questions[row, :length], beams=beams,
                max_new_tokens=8, min_new_tokens=1, end=SEP, pad=PAD,
            )  # fmt: skip
            assert cut(found) == cut(expected[:, 1:])
    # Ranked: the log-probability of each answer, by their logits. Ours has the questions padded.
    candidates, kept = batch(6)["tokens"], batch(6)["mask"]
    candidates[1, 1] = candidates[0, 1]
    with torch.no_grad():
        scores = ours.rank(pixels, questions, data["mask"], candidates, kept, k=99)
        for i in range(len(pixels)):
            question = asked[i : i + 1, : int(data["mask"][i].sum())]
            seen = theirs.vision_model(pixels[i : i + 1]).last_hidden_state
            states = theirs.text_encoder(question, encoder_hidden_states=seen).last_hidden_state
            logits = theirs.text_decoder(
                with_first(candidates, DEC), encoder_hidden_states=states.repeat(6, 1, 1)
            ).logits
            log_p = logits[:, :-1].log_softmax(-1).gather(2, candidates[:, 1:, None])[..., 0]
            expected = log_p.masked_fill(~kept[:, 1:], 0).sum(1)
            torch.testing.assert_close(scores[i], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings(TEMPERATURE)
@pytest.mark.parametrize("kind", KINDS)
def test_out_and_in_again(kind: str, tmp_path: Path) -> None:
    theirs = hf_twin(kind)
    ours = weights.from_hf(theirs)
    weights.save_hf(ours, tmp_path / "saved")
    again = weights.from_hf(tmp_path / "saved")
    assert again.config == ours.config
    assert again.state_dict().keys() == ours.state_dict().keys()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    loaded, said = getattr(transformers, KINDS[kind]).from_pretrained(
        tmp_path / "saved", output_loading_info=True
    )
    assert not any(said[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert loaded.state_dict().keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    theirs.save_pretrained(tmp_path / "theirs")  # it stores what is tied once
    assert weights.from_hf(str(tmp_path / "theirs")).config == ours.config


def both() -> BLIP:
    """A BLIP that reads and writes, of odd sizes, with momentum encoders."""
    torch.manual_seed(5)
    image = BLIPViTConfig(SIZE, 6, 20, 3, 2, 44 / 20)
    text = MEDConfig(VOCAB, 23, 24, 2, 3, 50 / 24, 20, cls=CLS, sep=SEP, pad=PAD, dec=DEC, enc=ENC)
    return BLIPConfig(10, image, text, queue=7).build().eval()


def test_a_whole_blip_is_two_models_there() -> None:
    model, data = both(), batch()
    pixels, tokens, mask = data["pixels"], data["tokens"], data["mask"]
    with pytest.raises(WeightsError, match="as BlipForImageTextRetrieval and BlipForConditional"):
        weights.to_transformers(model)
    loaded = {}
    for kind, left in (("retrieval", "temperature, the writer, the mom"), ("caption", "ITM head")):
        with pytest.warns(WeightsWarning, match=left):
            tensors, config = weights.to_transformers(model, KINDS[kind])
        twin = getattr(transformers, KINDS[kind])(transformers.BlipConfig.from_dict(config))
        said = twin.load_state_dict(tensors, strict=False)
        tied = "text_decoder.cls.predictions.decoder."
        assert not said.unexpected_keys and all(n.startswith(tied) for n in said.missing_keys)
        twin.tie_weights()
        loaded[kind] = twin.eval()
    with torch.no_grad():
        score = loaded["retrieval"](
            input_ids=with_first(tokens, ENC), pixel_values=pixels, attention_mask=mask.long()
        ).itm_score
        torch.testing.assert_close(model.match(pixels, tokens, mask), score, rtol=1e-5, atol=1e-5)
        logits = loaded["caption"](pixel_values=pixels, input_ids=with_first(tokens, DEC)).logits
        hidden = model.text.decode(tokens, model.image_tokens(pixels))
        assert_near(model.text.lm_logits(hidden), logits)


@pytest.mark.filterwarnings(TEMPERATURE)
@pytest.mark.parametrize("size", [(48, 48), (18, 42), (36, 12)])
def test_positions_at_another_resolution(size: tuple[int, int]) -> None:
    theirs = hf_twin("retrieval")
    ours, pixels = weights.from_hf(theirs), batch(size=size)["pixels"]
    assert isinstance(ours, BLIP)
    with torch.no_grad():
        expected = theirs.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state
        assert_near(ours.image.at_resolution(*size)(pixels)[1]["tokens"], expected)


def counts(architecture: str, config: dict[str, Any]) -> int:
    with torch.device("meta"):
        model = getattr(transformers, architecture)(transformers.BlipConfig.from_dict(config))
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", ["ViT-B/16", "ViT-L/16"])
def test_presets_have_as_many_parameters_as_theirs(name: str) -> None:
    preset = BLIPConfig.preset(name)
    with torch.device("meta"):
        answerer = BLIPAnswerer.from_blip(replace(preset, momentum=0.0).build())
    for kind, tasks in (("reader", ("itc", "itm")), ("writer", ("lm",))):
        text = replace(preset.text, roles=kind)
        config = replace(preset, text=text, tasks=tasks, momentum=0.0, queue=0)
        with torch.device("meta"):
            ours = config.build()
        theirs = config_to_hf(config)
        count = sum(p.numel() for p in ours.parameters()) - (kind == "reader")  # the temperature
        assert count == counts(theirs["architectures"][0], theirs)
    if preset.image.width == preset.text.width:
        theirs = config_to_hf(answerer.config)
        count = sum(p.numel() for p in answerer.parameters())
        assert count == counts("BlipForQuestionAnswering", theirs)
    else:
        with pytest.raises(WeightsError, match="one width, not with 1024 and 768"):
            config_to_hf(answerer.config)


def test_heads_that_the_hub_once_had_wrong() -> None:
    config = hf_config().to_dict() | {"architectures": [KINDS["caption"]]}
    del config["text_config"]["num_attention_heads"]
    config["text_config"]["hidden_size"] = 768
    with pytest.warns(WeightsWarning, match="BLIP was trained with 12"):
        assert config_from_hf(config).text.heads == 8


def test_other_models_are_refused() -> None:
    with pytest.raises(WeightsError, match="'BlipModel'; of transformers' BLIPs we have BlipFor"):
        weights.from_hf(transformers.BlipModel(hf_config()))
    with pytest.raises(WeightsError, match="must stand under architectures"):
        config_from_hf({"model_type": "blip"})
    config = hf_config().to_dict() | {"architectures": [KINDS["caption"]]}
    for change, said in (
        ({"text_config": {"hidden_act": "relu"}}, "hidden_act 'relu'; our model needs gelu"),
        ({"text_config": {"is_decoder": False}}, "is_decoder False"),
        ({"vision_config": {"image_size": [30, 24]}}, r"image_size \[30, 24\]"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings False"),
        ({"vision_config": {"num_attention_heads": 7}}, "shape that cannot be built.*7 heads"),
    ):
        part, value = next(iter(change.items()))
        value = config[part] | value if isinstance(value, dict) else value
        with pytest.raises(WeightsError, match=said):
            config_from_hf(config | {part: value})


def test_weights_that_are_not_tied_as_they_should_be() -> None:
    theirs = hf_twin("caption")
    stored = dict(theirs.state_dict())
    head = "text_decoder.cls.predictions.decoder.weight"
    stored[head] = stored[head] + 1
    theirs.state_dict = lambda: stored
    with pytest.raises(WeightsError, match=f"{head} of .* is not text_decoder.bert.emb"):
        weights.from_hf(theirs)
    del stored[head], stored["text_decoder.bert.encoder.layer.1.crossattention.self.key.bias"]
    stored["text_decoder.bert.pooler.dense.weight"] = torch.ones(2, 2)
    with pytest.raises(WeightsError, match=r"1 missing: .*key.bias; 1 unused: .*pooler"):
        weights.from_hf(theirs)


def test_what_old_files_hold() -> None:
    theirs = hf_twin("caption")
    stored = dict(theirs.state_dict())
    stored["text_decoder.bert.embeddings.position_ids"] = torch.arange(23)[None]
    theirs.state_dict = lambda: stored
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(weights.from_hf(theirs), BLIP)
