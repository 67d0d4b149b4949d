"""BLIP-2 from transformers and back: queries, matches, losses and texts, at odd sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from blip2_twins import (
    IMAGE,
    LLMS,
    QUERIES,
    SIZE,
    VOCAB,
    WORDS,
    hf_config,
    hf_retrieval,
    hf_writer,
    qformer_config,
    with_images,
)
from blip_twins import randomise, transformers
from torch import Tensor

from vlcourse import weights
from vlcourse.generate import generate, left_pad
from vlcourse.models import qformer_masks
from vlcourse.models.blip2 import BLIP2
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.models.llama import LLaMA
from vlcourse.models.seq2seq import Seq2Seq
from vlcourse.models.transformers_llm import TransformersDecoder
from vlcourse.weights.blip2 import (
    config_from_hf,
    config_to_hf,
    qformer_from_hf,
    qformer_to_transformers,
)
from vlcourse.weights.rename import WeightsError, WeightsWarning

OURS = {"opt": TransformersDecoder, "gpt_neox": TransformersDecoder, "llama": LLaMA, "t5": Seq2Seq}
EACH = pytest.mark.parametrize("llm", OURS)


def near(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert theirs.numel() == 1 or theirs.std() > 1e-2  # it is not all the same


def data(rows: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures; texts of different lengths, padded on the right; their mask."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, VOCAB, (rows, 9), generator=generator)
    mask = torch.arange(9) < torch.tensor([9, 4, 7, 3, 8, 5][:rows])[:, None]
    return torch.randn(rows, 3, SIZE, SIZE, generator=generator), tokens.where(mask, 0), mask


def first_stage() -> tuple[Any, BLIP2]:
    theirs = hf_retrieval()
    with pytest.warns(WeightsWarning, match="no place for the temperature: it is 0.07"):
        ours = weights.from_hf(theirs)
    assert isinstance(ours, BLIP2) and not ours.training
    return theirs, ours


def test_a_bare_qformer() -> None:
    theirs: Any = randomise(transformers.Blip2QFormerModel(qformer_config(False)))
    ours = qformer_from_hf(theirs, QUERIES)
    image = data()[0].flatten(2)[:, :, :140].reshape(4, 21, 20)
    with torch.no_grad():
        asked = ours.queries.expand(4, -1, -1)
        found = theirs(query_embeds=asked, encoder_hidden_states=image).last_hidden_state
        near(ours.look(image)[-1], found)
    back, config = qformer_to_transformers(ours)
    again = transformers.Blip2QFormerModel(transformers.Blip2QFormerConfig(**config))
    again.load_state_dict(back)
    assert {n: t.sum() for n, t in back.items()} == {
        n: t.sum() for n, t in theirs.state_dict().items()
    }
    with pytest.raises(WeightsError, match="a bare Q-Former has no words"):
        qformer_from_hf(transformers.Blip2QFormerModel(qformer_config(True)))


def test_the_first_stage_compares_and_matches_as_theirs() -> None:
    theirs, ours = first_stage()
    assert ours.config.tasks == ("itc", "itm") and ours.config.qformer.text == "reads"
    pixels, tokens, mask = data()
    with torch.no_grad():
        near(ours.image_tokens(pixels), theirs.vision_model(pixels).last_hidden_state)
        asked = {"pixel_values": pixels, "input_ids": tokens, "attention_mask": mask.long()}
        found = theirs(**asked)
        near(ours(pixels, tokens, mask) * 0.07, found.logits_per_image)
        image, text = ours.encode_image(pixels), ours.encode_text(tokens, mask)
        near(torch.nn.functional.normalize(image, dim=-1), found.image_embeds)
        near(torch.nn.functional.normalize(text, dim=-1), found.text_embeds)
        matched = theirs(**asked, use_image_text_matching_head=True).logits_per_image
        near(ours.match(pixels, tokens, mask), matched)


@pytest.mark.parametrize("name", ["unimodal", "multimodal_causal", "bidirectional"])
def test_their_blocks_under_each_of_our_masks(name: str) -> None:
    theirs, ours = first_stage()
    pixels, tokens, mask = data()
    allowed = getattr(qformer_masks, name)(QUERIES, mask)
    least = torch.finfo(torch.float32).min
    with torch.no_grad():
        seen = theirs.vision_model(pixels).last_hidden_state
        words = theirs.embeddings(tokens, query_embeds=theirs.query_tokens.expand(4, -1, -1))
        found = theirs.qformer(
            query_embeds=words, query_length=QUERIES, encoder_hidden_states=seen,
            attention_mask=torch.zeros(allowed.shape).masked_fill(~allowed, least),
        ).last_hidden_state  # fmt: skip
        near(ours.qformer(ours.image_tokens(pixels), tokens, allowed), found)


def test_the_first_stage_back_again(tmp_path: Path) -> None:
    theirs, ours = first_stage()
    with pytest.warns(WeightsWarning, match="no place for the temperature: left out"):
        back, config = weights.to_transformers(ours)
    wanted = theirs.state_dict()
    assert back.keys() == wanted.keys()
    for name, tensor in back.items():
        if name.endswith("qkv.bias"):  # of the keys' third nothing is left, nor does it matter
            third = len(tensor) // 3
            assert not tensor[third : 2 * third].any()
            tensor = tensor.clone()
            tensor[third : 2 * third] = wanted[name][third : 2 * third]
        assert tensor.equal(wanted[name]), name
    with pytest.warns(WeightsWarning):
        weights.save_hf(ours, tmp_path / "model")
        again = weights.from_hf(tmp_path / "model")
    loaded = transformers.Blip2ForImageTextRetrieval.from_pretrained(tmp_path / "model").eval()
    pixels, tokens, mask = data()
    assert again.config == ours.config == config_from_hf(config)
    asked = {"pixel_values": pixels, "input_ids": tokens, "attention_mask": mask.long()}
    with torch.no_grad():
        assert again.match(pixels, tokens, mask).equal(ours.match(pixels, tokens, mask))
        near(loaded(**asked).logits_per_image, theirs(**asked).logits_per_image)


def test_parts_in_half_precision() -> None:
    """transformers keeps the Q-Former in float32 and halves the tower with its last norm; ours has
    that norm in float32, as the official code, or halves all."""
    theirs, exact = first_stage()
    theirs.vision_model.bfloat16()
    pixels, tokens, mask = data()
    asked = {"pixel_values": pixels, "input_ids": tokens, "attention_mask": mask.long()}
    with torch.no_grad():
        found = theirs(**asked, use_image_text_matching_head=True).logits_per_image
        exact.image.bfloat16()
        with pytest.warns(WeightsWarning):
            halved = weights.from_hf(hf_retrieval(), dtype=torch.bfloat16)
        assert isinstance(halved, BLIP2)
        for ours in (exact, halved):
            logits = ours.match(pixels, tokens, mask).float()
            assert 0 < (logits - found).abs().max() < 0.1 * found.std()


@EACH
def test_the_loss_of_the_second_stage(llm: str) -> None:
    theirs = hf_writer(llm)
    ours = weights.from_hf(theirs)
    assert isinstance(ours, BLIP2LLM) and isinstance(ours.llm, OURS[llm]) and not ours.training
    pixels, tokens, mask = data()
    asked: dict[str, Any] = {"pixel_values": pixels}
    with torch.no_grad():
        if llm == "t5":
            inputs, seen = tokens[:, :4], mask[:, :4]
            # Without padding between the queries and the text: there transformers moves them apart.
            asked |= {"input_ids": with_images(inputs)}
            labels = tokens[:, 4:].masked_fill(~mask[:, 4:], -100)
            found = theirs(**asked, labels=labels)
            written = torch.cat([torch.zeros_like(labels[:, :1]), tokens[:, 4:-1]], dim=1)
            batch = {"inputs": inputs, "tokens": written, "targets": labels}
            assert seen.any()
        else:
            whole = torch.cat([torch.ones(4, QUERIES, dtype=torch.bool), mask], dim=1)
            asked |= {"input_ids": with_images(tokens), "attention_mask": whole.long()}
            labels = torch.full((4, QUERIES + 9), -100)
            labels[:, QUERIES + 1 :] = tokens[:, 1:].masked_fill(~mask[:, 1:], -100)
            found = theirs(**asked, labels=labels)
            targets = torch.cat([labels[:, QUERIES + 1 :], labels[:, :1]], dim=1)
            batch = {"tokens": tokens, "targets": targets}
        near(ours.losses({"pixels": pixels, **batch})["lm"], found.loss)


@EACH
@pytest.mark.parametrize("beams", [1, 3])
def test_the_text_of_the_second_stage_token_for_token(llm: str, beams: int) -> None:
    theirs = hf_writer(llm)
    ours = weights.from_hf(theirs)
    pixels = data()[0]
    prompts = [[2, 9, 12, 30], [2, 7, 31, 8], [2, 5, 4, 21], [2, 6, 8, 11]]
    said = []
    for tokens in (torch.tensor(prompts), torch.tensor(prompts)[:, :1]):
        found = theirs.generate(
            pixel_values=pixels, input_ids=with_images(tokens), do_sample=False, num_beams=beams,
            attention_mask=torch.ones(4, QUERIES + tokens.shape[1], dtype=torch.long),
            max_new_tokens=8, eos_token_id=3, pad_token_id=0,
        )  # fmt: skip
        new = found[:, 1:] if llm == "t5" else found[:, QUERIES + tokens.shape[1] :]
        written = generate(ours, tokens, pixels=pixels, max_new_tokens=8, beams=beams, end=3, pad=0)
        rows = [cut(row) for row in written.tolist()]
        assert rows == [cut(row) for row in new.tolist()]
        said.append(str(rows))
    assert len(set(said)) == 2
    # A batch of unequal prompts gives what transformers gives for each alone.
    unequal = [prompts[0], prompts[1][:2], prompts[2][:3], prompts[3][:1]]
    tokens, mask = left_pad(unequal, pad=4)
    together = generate(
        ours, tokens, mask=mask, pixels=pixels, max_new_tokens=8, beams=beams, end=3, pad=0
    )
    for i, prompt in enumerate(unequal):
        alone = theirs.generate(
            pixel_values=pixels[i : i + 1], input_ids=with_images(torch.tensor([prompt])),
            attention_mask=torch.ones(1, QUERIES + len(prompt), dtype=torch.long),
            max_new_tokens=8, eos_token_id=3, pad_token_id=0, do_sample=False, num_beams=beams,
        )[0].tolist()  # fmt: skip
        new_ids = alone[1:] if llm == "t5" else alone[QUERIES + len(prompt) :]
        assert cut(together[i].tolist()) == cut(new_ids)


def cut(row: list[int]) -> list[int]:
    """A row up to its end."""
    return row[: row.index(3) + 1] if 3 in row else row


@EACH
def test_the_second_stage_back_again(llm: str, tmp_path: Path) -> None:
    theirs = hf_writer(llm)
    ours = weights.from_hf(theirs)
    weights.save_hf(ours, tmp_path / "model")
    again: Any = weights.from_hf(tmp_path / "model")
    loaded = transformers.Blip2ForConditionalGeneration.from_pretrained(tmp_path / "model").eval()
    assert loaded.config.image_token_index == IMAGE == WORDS - 1
    pixels, tokens, _ = data()
    ids = with_images(tokens)
    extra = {"decoder_input_ids": tokens} if llm == "t5" else {}
    batch = {"pixels": pixels, "tokens": tokens, "targets": tokens.roll(-1, 1)}
    with torch.no_grad():
        assert again.losses(batch)["lm"].equal(ours.losses(batch)["lm"])
        found, wanted = (
            m(pixel_values=pixels, input_ids=ids, **extra).logits for m in (loaded, theirs)
        )
        near(found, wanted)


def test_what_does_not_fit_is_refused() -> None:
    settings = hf_config(True).to_dict() | {"architectures": ["Blip2ForImageTextRetrieval"]}
    for change, said in (
        ({"model_type": "blip"}, "is of the type 'blip'"),
        ({"architectures": ["Blip2Model"]}, "is a 'Blip2Model'; of transformers' BLIP-2s we have"),
        ({"architectures": None}, "is a None"),
        ({"num_query_tokens": 0}, "num_query_tokens 0"),
        ({"vision_config": settings["vision_config"] | {"qkv_bias": False}}, "qkv_bias False"),
        ({"vision_config": settings["vision_config"] | {"num_attention_heads": 3}}, "cannot be b"),
        (
            {"qformer_config": settings["qformer_config"] | {"use_qformer_text_input": False}},
            "use_qformer_text_input False",
        ),
    ):
        with pytest.raises(WeightsError, match=said):
            config_from_hf(settings | change)
    theirs, _ = first_stage()
    state = theirs.state_dict()
    del state["query_tokens"]
    with pytest.raises(WeightsError, match="is a 'Blip2Model'"):
        weights.from_hf(transformers.Blip2Model(hf_config(False, image_token_index=IMAGE)))
    import tiny_blip2

    with pytest.raises(WeightsError, match="has EVA's tower only, no ViTConfig"):
        config_to_hf(tiny_blip2.config("vit"))
    with pytest.warns(WeightsWarning, match="has one epsilon"):
        config_to_hf(tiny_blip2.config("eva"))
    assert set(LLMS) == set(OURS)
