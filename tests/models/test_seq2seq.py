"""The encoder–decoder beside tiny random T5 models of transformers, of both kinds and odd sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vlcourse import weights
from vlcourse.data.collate.prefix import cut_points, prefix_lm, shift_right
from vlcourse.generate import generate
from vlcourse.layers.cache import CacheFull
from vlcourse.models.seq2seq import PRESETS, Seq2Seq, Seq2SeqConfig
from vlcourse.weights import t5 as layouts
from vlcourse.weights.rename import WeightsError, fill, once, to_theirs

transformers = pytest.importorskip("transformers")

KINDS = ("T5 1.0", "T5 v1.1")
VOCAB = 31
# Lengths beyond 12, so that the last bucket is used; head_width · heads is not the width.
SHAPE: dict[str, Any] = dict(
    vocab_size=VOCAB, d_model=20, d_kv=7, d_ff=37, num_heads=3, num_layers=2, num_decoder_layers=3,
    relative_attention_num_buckets=8, relative_attention_max_distance=12, dropout_rate=0.0,
    decoder_start_token_id=0,
)  # fmt: skip


def hf_config(kind: str, **changes: Any) -> Any:
    old = kind == "T5 1.0"
    proj = "relu" if old else "gated-gelu"
    return transformers.T5Config(
        **(SHAPE | changes), feed_forward_proj=proj, tie_word_embeddings=old
    )


def untie(model: nn.Module) -> None:
    """transformers 5 ties the head of a new model in any case; the published ones are not."""
    model.lm_head.weight = nn.Parameter(torch.empty_like(model.shared.weight))


def hf_twin(kind: str, **changes: Any) -> nn.Module:
    model = transformers.T5ForConditionalGeneration(hf_config(kind, **changes))
    if kind != "T5 1.0":
        untie(model)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(1 + 0.2 * noise if "norm" in name else 0.2 * noise)
    return model.eval()


def batch() -> dict[str, Tensor]:
    """Rows padded on the right, on the left, in the middle, and not at all."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randint(1, VOCAB, (4, 21), generator=generator)
    mask = torch.ones(4, 21, dtype=torch.bool)
    mask[0, 9:], mask[1, :5], mask[2, 3:17] = False, False, False
    targets = torch.randint(1, VOCAB, (4, 18), generator=generator)
    targets[0, 4:], targets[2, 17:] = -100, -100
    tokens = shift_right(targets, start=0)
    return {"inputs": inputs, "inputs_mask": mask, "tokens": tokens, "targets": targets}


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_loss_and_gradients_are_those_of_transformers(kind, training):
    theirs = hf_twin(kind).train(training)
    ours = weights.from_hf(theirs).train(training)
    b = batch()
    out = theirs(input_ids=b["inputs"], attention_mask=b["inputs_mask"].long(), labels=b["targets"])
    close(ours(b["inputs"], b["tokens"], b["inputs_mask"]), out.logits)
    loss = ours.losses(b)["lm"]
    close(loss, out.loss)
    loss.backward()
    out.loss.backward()
    mine = to_theirs(
        {name: p.grad for name, p in ours.named_parameters()}, layouts.hf_table(ours.config)
    )
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    assert mine.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.abs().max() > 1e-6, name  # the test would not see what has no influence
        close(mine[name], gradient, 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_without_padding_no_mask_is_needed(kind):
    theirs = hf_twin(kind)
    ours, b = weights.from_hf(theirs), batch()
    with torch.no_grad():
        expected = theirs(input_ids=b["inputs"], decoder_input_ids=b["tokens"]).logits
        close(ours(b["inputs"], b["tokens"]), expected)
        del b["inputs_mask"]
        all_text = b | {"inputs_mask": torch.ones_like(b["inputs"], dtype=torch.bool)}
        close(ours.losses(b)["lm"], ours.losses(all_text)["lm"])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_out_as_they_came_in(kind, tmp_path):
    theirs = hf_twin(kind)
    ours = weights.from_hf(theirs)
    assert (ours.head.weight is ours.token.weight) == (kind == "T5 1.0")
    out = to_theirs(ours.state_dict(), layouts.hf_table(ours.config))
    assert set(theirs.state_dict()) - set(out) == {
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
    }
    for name, tensor in out.items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name
    assert layouts.config_from_hf(layouts.config_to_hf(ours.config)) == ours.config
    theirs.save_pretrained(tmp_path / "theirs")
    weights.save_hf(ours, tmp_path / "ours")
    read = weights.from_hf(tmp_path / "theirs")
    again = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "ours")
    b = batch()
    with torch.no_grad():
        logits = ours(b["inputs"], b["tokens"])
        assert torch.equal(read(b["inputs"], b["tokens"]), logits)
        close(again(input_ids=b["inputs"], decoder_input_ids=b["tokens"]).logits, logits)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_equals_all_at_once(kind, masked):
    ours, b = weights.from_hf(hf_twin(kind)), batch()
    mask = b["inputs_mask"] if masked else None
    with torch.no_grad():
        full = ours(b["inputs"], b["tokens"], mask)
        started = ours.start(b["inputs"], mask, new_tokens=17)
        assert started.tokens.tolist() == [[ours.config.start]] * 4
        close(started.logits, full[:, 0])
        contexts = [layer.context for layer in started.cache.layers]
        for i in range(1, 15):
            close(ours.step(b["tokens"][:, i : i + 1], started.cache), full[:, i])
        close(ours.step(b["tokens"][:, 15:], started.cache), full[:, -1])  # several at once
        for layer, context in zip(started.cache.layers, contexts, strict=True):
            assert layer.context is context  # made once
        with pytest.raises(CacheFull):
            ours.step(b["tokens"][:, :1], started.cache)


def test_the_cache_follows_its_rows():
    ours, b = weights.from_hf(hf_twin("T5 v1.1")), batch()
    rows = torch.tensor([2, 0, 0, 1, 1])
    with torch.no_grad():
        full = ours(b["inputs"][rows], b["tokens"][rows], b["inputs_mask"][rows])
        cache = ours.new_cache(ours.encode(b["inputs"], b["inputs_mask"]), b["inputs_mask"], 9)
        ours.decode(b["tokens"][:, :4], cache=cache)
        cache.select(rows)
        close(ours.step(b["tokens"][rows, 4:5], cache), full[:, 4])


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_it_writes_what_transformers_writes(kind, beams):
    # With more blocks in the decoder than in the encoder transformers' cache is too small.
    theirs, b = hf_twin(kind, num_layers=3, num_decoder_layers=2), batch()
    ours = weights.from_hf(theirs)
    expected = theirs.generate(
        b["inputs"], attention_mask=b["inputs_mask"].long(), num_beams=beams, do_sample=False,
        max_new_tokens=12, eos_token_id=5, pad_token_id=3,
    )  # fmt: skip
    for use_cache in (True, False):
        found = generate(
            ours, b["inputs"], mask=b["inputs_mask"], beams=beams, max_new_tokens=12, end=5, pad=3,
            use_cache=use_cache,
        )  # fmt: skip
        assert found.tolist() == expected[:, 1:].tolist()  # theirs has the start id


def test_soft_prompts_are_read_in_place_of_tokens():
    ours, b = weights.from_hf(hf_twin("T5 v1.1")), batch()
    x = ours.token(b["inputs"]).detach().requires_grad_()
    states = ours.encode(x=x, mask=b["inputs_mask"])
    close(states, ours.encode(b["inputs"], b["inputs_mask"]))
    started = ours.start(None, b["inputs_mask"], 1, x=x)
    close(started.logits, ours.start(b["inputs"], b["inputs_mask"], 1).logits)
    started.logits.sum().backward()
    assert (x.grad[b["inputs_mask"]] != 0).any(dim=1).all()  # a gradient for each that is read
    assert not x.grad[~b["inputs_mask"]].any()
    for wrong in ({}, {"tokens": b["inputs"], "x": x}):
        with pytest.raises(ValueError, match="tokens or vectors"):
            ours.encode(**wrong)
    with pytest.raises(ValueError, match="states or a cache"):
        ours.decode(b["tokens"])


def test_padding_changes_nothing_and_a_row_of_padding_gives_numbers():
    torch.manual_seed(0)
    ours, b = replace(TOY, heads=3, head_width=5).build(), batch()
    with torch.no_grad():
        full = ours(b["inputs"], b["tokens"], b["inputs_mask"])
        alone = ours(b["inputs"][1:2, 5:], b["tokens"][1:2])  # the row padded on the left
        close(full[1:2], alone)
    b["inputs_mask"][0] = False
    loss = ours.losses(b)["lm"]
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in ours.parameters())


def test_mixed_precision_gives_nearly_the_same():
    ours, b = weights.from_hf(hf_twin("T5 v1.1")), batch()
    b["inputs_mask"][3] = False
    with torch.autocast("cpu", torch.bfloat16):
        loss = ours.losses(b)["lm"]
    close(loss, ours.losses(b)["lm"], 0.05)
    half = ours.bfloat16()
    started = half.start(b["inputs"], b["inputs_mask"], 3)
    assert started.logits.dtype == torch.bfloat16 and started.logits.isfinite().all()


TOY = Seq2SeqConfig(VOCAB, 24, 2, 2, 2, 8, 32)


@pytest.mark.parametrize("tied", [False, True])
def test_a_fresh_model_is_nearly_undecided_and_uses_its_inputs(tied):
    torch.manual_seed(0)
    config = Seq2SeqConfig(500, 64, 4, 4, 4, 16, 128, gated=not tied, tied=tied)
    ours, targets = config.build(), torch.randint(1, 500, (8, 30))
    b = {"inputs": targets, "tokens": shift_right(targets, 0), "targets": targets}
    loss = ours.losses(b)["lm"].item()
    assert 6.0 < loss < 7.5  # ln 500 = 6.2; logits of variance 1 add a half
    attention = ours.encoder.blocks[0].attention
    x = torch.randn(1000, 64)
    scores = (
        attention.q(x) @ attention.k(x).T / 4**0.5
    )  # 4 heads together have 4 times the variance
    assert 0.8 < scores.std().item() < 1.25  # as if they had been divided by √head_width


def test_counts_of_the_published_models():
    counts = {
        "small": 76_961_152,
        "base": 247_577_856,
        "large": 783_150_080,
        "xl": 2_849_757_184,
        "xxl": 11_135_332_352,
    }
    assert counts.keys() == PRESETS.keys()
    for name, count in counts.items():
        c = Seq2SeqConfig.preset(name)
        with torch.device("meta"):
            ours = c.build()
            theirs = transformers.T5ForConditionalGeneration(
                hf_config(
                    "T5 v1.1", vocab_size=c.vocab_size, d_model=c.width, d_kv=c.head_width,
                    d_ff=c.hidden, num_heads=c.heads, num_layers=c.encoder_layers,
                    num_decoder_layers=None, relative_attention_num_buckets=c.buckets,
                    relative_attention_max_distance=c.max_distance,
                )
            )  # fmt: skip
            untie(theirs)
        assert sum(p.numel() for p in ours.parameters()) == count, name
        assert sum(p.numel() for p in theirs.parameters()) == count, name
        assert layouts.config_from_hf(theirs.config.to_dict()) == c
        mine = to_theirs(dict(ours.named_parameters()), layouts.hf_table(c))
        assert {n: t.shape for n, t in mine.items()} == {
            n: p.shape for n, p in theirs.named_parameters()
        }


def test_unknown_presets_are_refused():
    with pytest.raises(ValueError, match="did you mean 'xxl'"):
        Seq2SeqConfig.preset("XXXL")
    with pytest.raises(ValueError, match="known: small, base"):
        Seq2SeqConfig.preset("huge?!")


def test_config_files_of_both_kinds():
    published = {"model_type": "t5", "d_model": 8, "d_ff": 9, "num_heads": 2, "d_kv": 3}
    old = layouts.config_from_hf(published)  # t5-small's file says no more than that
    assert old == Seq2SeqConfig(32_128, 8, 6, 6, 2, 3, 9, gated=False, tied=True)
    new = published | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    assert layouts.config_from_hf(new) == replace(old, gated=True, tied=False)
    resaved = new | {"tie_word_embeddings": True, "scale_decoder_outputs": False}
    assert layouts.config_from_hf(resaved) == replace(old, gated=True, tied=False)
    assert layouts.config_from_hf(new | {"decoder_start_token_id": 5}).start == 5
    assert layouts.config_from_hf(new | {"pad_token_id": 3}).start == 3


@pytest.mark.parametrize(
    "change, said",
    [
        ({"model_type": "mt5"}, "is of the type 'mt5'"),
        ({"is_encoder_decoder": False}, "an encoder or a decoder alone"),
        ({"feed_forward_proj": "gated-silu"}, "'gated-silu'; our model needs relu or gated-gelu"),
    ],
)
def test_settings_that_ours_cannot_have_are_refused(change, said):
    with pytest.raises(WeightsError, match=said):
        layouts.config_from_hf({"model_type": "t5"} | change, "their model")


def test_copies_that_are_none_are_refused():
    theirs = hf_twin("T5 1.0")
    config = layouts.config_from_hf(theirs.config.to_dict())
    tensors = dict(theirs.state_dict()) | {layouts.UNREAD: torch.zeros(8, 3)}
    assert once(tensors, layouts.hf_copies(config), "a file") is tensors
    fill(Seq2Seq(config), tensors, layouts.hf_table(config), layouts.hf_buffers(config))
    tensors["lm_head.weight"] = tensors["lm_head.weight"] + 1
    with pytest.raises(WeightsError, match="lm_head.weight of a file is not shared.weight"):
        once(tensors, layouts.hf_copies(config), "a file")
    theirs.lm_head.weight = nn.Parameter(tensors["lm_head.weight"])
    with pytest.raises(WeightsError, match="lm_head.weight of T5For.* is not shared.weight"):
        weights.from_hf(theirs)


def test_shift_right_is_that_of_transformers():
    targets = batch()["targets"]
    assert torch.equal(shift_right(targets, 0), hf_twin("T5 1.0")._shift_right(targets))
    assert shift_right(torch.tensor([[7, -100, 8]]), start=2, pad=3).tolist() == [[2, 7, 3]]


def test_prefix_lm_cuts_each_text_where_it_is_told():
    tokens = torch.tensor([[11, 12, 13, 14, 15], [21, 22, 0, 0, 0], [31, 32, 33, 34, 0]])
    b = prefix_lm(tokens, torch.tensor([5, 2, 4]), torch.tensor([2, 1, 3]), start=1)
    assert b["inputs"].tolist() == [[11, 12, 1], [21, 1, 1], [31, 32, 33]]
    assert b["inputs_mask"].tolist() == [[True, True, False], [True, False, False], [True] * 3]
    assert b["targets"].tolist() == [[13, 14, 15], [22, -100, -100], [34, -100, -100]]
    assert b["tokens"].tolist() == [[1, 13, 14], [1, 22, 1], [1, 34, 1]]
    assert replace(TOY, vocab_size=40).build().losses(b)["lm"].isfinite()
    for cut in (0, 2):
        with pytest.raises(ValueError, match="a prefix and a continuation"):
            prefix_lm(tokens, torch.tensor([5, 2, 4]), torch.tensor([2, cut, 3]))


def test_cuts_are_uniform_from_one_to_the_middle():
    lengths = torch.tensor([2, 3, 9]).repeat(4000)
    cuts = cut_points(lengths, torch.Generator().manual_seed(0)).view(-1, 3)
    assert torch.equal(cuts, cut_points(lengths, torch.Generator().manual_seed(0)).view(-1, 3))
    assert (cuts[:, :2] == 1).all()
    share = cuts[:, 2].bincount() / len(cuts)
    close(share, torch.tensor([0, 0.25, 0.25, 0.25, 0.25]), 0.03)
