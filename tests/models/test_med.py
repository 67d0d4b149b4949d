"""MED: what its three modes see, what its two roles share, and that a cache changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vlcourse.generate import generate
from vlcourse.layers.errors import ModelError
from vlcourse.models.med import MED, SHARING, MEDConfig, switch_first

CLS, SEP, DEC, ENC = 27, 28, 29, 30
SMALL = MEDConfig(
    vocab_size=31, context=16, width=12, layers=3, heads=3, image_width=10, cls=CLS, sep=SEP,
    dec=DEC, enc=ENC,
)  # fmt: skip


def med(config: MEDConfig = SMALL) -> MED:
    torch.manual_seed(0)
    model = MED(config).eval()
    with torch.no_grad():  # far from the start, where biases are 0 and norms are 1
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Texts of 7, 4 and 5 tokens, their mask, and images of 5 tokens."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, CLS, (3, 7), generator=generator)
    tokens[:, 0] = CLS
    lengths = torch.tensor([7, 4, 5])
    tokens[torch.arange(3), lengths - 1] = SEP
    mask = torch.arange(7) < lengths[:, None]
    return tokens.masked_fill(~mask, 0), mask, torch.randn(3, 5, 10, generator=generator)


def run(model: MED, mode: str, tokens: Tensor, mask: Tensor, images: Tensor) -> Tensor:
    if mode == "encode":
        return model.encode(tokens, mask)
    if mode == "ground":
        return model.ground(tokens, images, mask)
    return model.decode(tokens, images)


@pytest.mark.parametrize("sharing", SHARING)
def test_what_exists_once_and_what_exists_twice(sharing: Any) -> None:
    model = MED(replace(SMALL, sharing=sharing))
    for block in model.blocks:
        same = {
            part for part in ("attention", "cross", "mlp")
            if getattr(block.reader, part) is getattr(block.writer, part)
            and getattr(block.reader, f"norm_{part}") is getattr(block.writer, f"norm_{part}")
        }  # fmt: skip
        assert same == SHARING[sharing] - {"embedding"}
    assert (model.reading is model.writing) == ("embedding" in SHARING[sharing])
    assert model.head.out.weight is model.writing.token.weight
    parameters = list(model.parameters())
    assert len({id(p) for p in parameters}) == len(parameters)


def test_the_numbers_of_parameters_are_table_3s() -> None:
    """Li et al. 2022, table 3: 224, 252, 252 and 361 M with the 86 M of ViT-B/16."""
    millions = {}
    for sharing in SHARING:
        with torch.device("meta"):
            model = MED(replace(MEDConfig(), sharing=sharing))
        millions[sharing] = sum(p.numel() for p in model.parameters()) / 1e6
    rounded = {name: round(count + 86) for name, count in millions.items()}
    assert rounded == {"all-but-sa": 252, "all": 224, "all-but-ca": 252, "none": 361}
    attention = 12 * (4 * (768**2 + 768) + 2 * 768) / 1e6
    assert millions["all-but-sa"] - millions["all"] == pytest.approx(attention)


@pytest.mark.parametrize("mode", ["encode", "ground", "decode"])
def test_padding_changes_nothing(mode: str) -> None:
    model = med()
    tokens, mask, images = batch()
    expected = run(model, mode, tokens, mask, images)[mask]
    other = tokens.masked_fill(~mask, 17)
    torch.testing.assert_close(run(model, mode, other, mask, images)[mask], expected)
    longer = torch.nn.functional.pad(tokens, (0, 4), value=5)
    longer_mask = torch.nn.functional.pad(mask, (0, 4))
    found = run(model, mode, longer, longer_mask, images)[longer_mask]
    torch.testing.assert_close(found, expected)
    for row in range(3):  # alone, without any padding
        n = int(mask[row].sum())
        one = (tokens[row : row + 1, :n], mask[row : row + 1, :n], images[row : row + 1])
        torch.testing.assert_close(
            run(model, mode, *one)[0], run(model, mode, tokens, mask, images)[row, :n]
        )


def test_a_writer_sees_no_future_and_a_reader_does() -> None:
    model = med()
    tokens, mask, images = batch()
    changed = tokens.clone()
    changed[0, 4] = tokens[0, 4] % 26 + 1
    differs = {}
    for mode in ("encode", "ground", "decode"):
        before, after = (run(model, mode, t, mask, images)[0] for t in (tokens, changed))
        differs[mode] = (before - after).abs().amax(dim=1) > 1e-5
    assert differs["decode"].tolist() == [False] * 4 + [True] * 3
    assert differs["encode"].all() and differs["ground"].all()


def test_each_mode_writes_its_own_first_token() -> None:
    model = med()
    tokens, mask, images = batch()
    for mode, first in (("encode", CLS), ("ground", ENC), ("decode", DEC)):
        own = switch_first(tokens, first)
        assert own[:, 0].eq(first).all() and own[:, 1:].equal(tokens[:, 1:])
        states = run(model, mode, own, mask, images)
        assert torch.equal(run(model, mode, tokens, mask, images), states)
        other = tokens.clone()
        other[:, 0] = 3
        moved = (run(model, mode, other, mask, images) - states).abs().max()
        assert (moved > 1e-3) == (mode == "encode")
    with_cls = model.ground(tokens, images, mask, cls_for_enc=True)
    assert (with_cls - model.ground(tokens, images, mask)).abs().max() > 1e-3
    left = switch_first(tokens, 9, mask.flip(1))  # the first True of 7, 4 and 5 at the end
    assert (left == 9).nonzero().tolist() == [[0, 0], [1, 3], [2, 2]]


def test_only_two_modes_look_at_the_image() -> None:
    model = med()
    tokens, mask, images = batch()
    for mode in ("ground", "decode"):
        found = run(model, mode, tokens, mask, images)
        assert (run(model, mode, tokens, mask, images + 1) - found).abs().max() > 1e-3
    seen = torch.tensor([[True, True, True, False, False]]).expand(3, 5)
    states = model.ground(tokens, images, mask, seen)
    torch.testing.assert_close(states, model.ground(tokens, images[:, :3], mask))


def test_texts_may_share_an_image_and_its_keys_are_made_once() -> None:
    model = med()
    tokens, mask, images = batch()
    rows = torch.tensor([2, 0, 2])
    made = []
    cross = model.blocks[0].reader.cross
    with cross.k.register_forward_hook(lambda *call: made.append(call[2].shape)):
        found = model.ground(tokens, images, mask, rows=rows)
    assert made == [(3, 5, 12)]
    torch.testing.assert_close(found, model.ground(tokens, images[rows], mask))
    torch.testing.assert_close(
        model.decode(tokens, images, rows=rows), model.decode(tokens, images[rows])
    )


def test_the_first_state_alone_is_the_same() -> None:
    model = med()
    tokens, mask, images = batch()
    for name, more in (("encode", ()), ("ground", (images,))):
        mode = getattr(model, name)
        whole, first = (mode(tokens, *more, mask, only_first=only) for only in (False, True))
        assert first.shape == (3, 1, 12)
        torch.testing.assert_close(first, whole[:, :1])


class Writer:
    """A MED as what `generate` takes."""

    def __init__(self, model: MED) -> None:
        self.model, self.vocab_size, self.step = model, model.config.vocab_size, model.step

    def start(self, tokens: Any, mask: Any, new_tokens: int, images: Tensor) -> Any:
        return self.model.start(tokens, mask, new_tokens, images)


OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {}, "beam": {"beams": 3}, "nucleus": {"temperature": 1.0, "top_p": 0.9},
}  # fmt: skip


@pytest.mark.parametrize("how", OPTIONS)
@pytest.mark.parametrize("sharing", ["all-but-sa", "none"])
def test_a_cache_changes_nothing(how: str, sharing: Any) -> None:
    writer, (tokens, _, images) = Writer(med(replace(SMALL, sharing=sharing))), batch()
    texts = [
        generate(
            writer, tokens[:, :3], max_new_tokens=9, end=SEP, images=images, use_cache=use_cache,
            generator=torch.Generator().manual_seed(0), **OPTIONS[how],
        )
        for use_cache in (True, False)
    ]  # fmt: skip
    assert torch.equal(*texts) and texts[0].shape[1] > 2


@pytest.mark.parametrize("masked", [False, True])
def test_beams_share_their_images_keys_and_rows_of_others_take_theirs_along(masked: bool) -> None:
    model, (_, _, images) = med(), batch()
    seen = torch.arange(5) < torch.tensor([[5], [3], [4]]) if masked else None
    cache = model.start(None, None, 5, images, seen).cache
    context = cache.layers[0].context
    assert context is not None and len(context[0]) == 3
    tokens = torch.arange(1, 7)[:, None]

    def check(which: list[int]) -> None:
        found = model.step(tokens[: len(which)], cache)
        for row, image in enumerate(which):
            one = slice(image, image + 1)
            alone = model.start(None, None, 5, images[one], None if seen is None else seen[one])
            expected = model.step(tokens[row : row + 1], alone.cache)
            torch.testing.assert_close(found[row : row + 1], expected)

    cache.select(torch.tensor([0, 0, 1, 1, 2, 2]))
    cache.select(torch.tensor([1, 1, 3, 2, 4, 5]))  # within each image
    assert cache.layers[0].context is context
    check([0, 0, 1, 1, 2, 2])
    for layer in cache.layers:
        layer.length -= 1  # take the step back
    cache.select(torch.tensor([5, 0, 0, 3]))
    check([2, 0, 0, 1])


def test_greedy_writing_is_the_argmax_of_the_whole_text_read_again() -> None:
    model, (_, _, images) = med(), batch()
    written = generate(Writer(model), None, max_new_tokens=6, images=images)
    text = torch.full((3, 1), CLS)
    for _ in range(6):
        logits = model.lm_logits(model.decode(text, images))
        text = torch.cat([text, logits[:, -1:].argmax(dim=-1)], dim=1)
    assert torch.equal(written, text[:, 1:])


def test_prompts_of_unequal_length_give_what_each_gives_alone() -> None:
    model, (tokens, _, images) = med(), batch()
    prompts = tokens[:, :4].clone()
    prompts[1] = torch.tensor([0, 0, CLS, 5])  # padded on the left
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, :2] = False
    together = generate(Writer(model), prompts, mask=mask, max_new_tokens=5, images=images)
    alone = generate(Writer(model), prompts[1:2, 2:], max_new_tokens=5, images=images[1:2])
    assert torch.equal(together[1:2], alone)


def test_where_a_word_looks() -> None:
    model, (tokens, _, images) = med(), batch()
    weights = model.cross_attention(lambda: model.decode(tokens, images))
    assert weights.shape == (3, 3, 3, 7, 5)  # layers, texts, heads, tokens, image tokens
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 3, 3, 7))
    states = model.states(lambda: model.encode(tokens))
    assert len(states) == 3 and torch.equal(states[-1], model.encode(tokens))


def test_what_does_not_fit_is_refused_in_words() -> None:
    model, (tokens, _, images) = med(), batch()
    with pytest.raises(ModelError, match="a text has 17 tokens, this model takes 16"):
        model.encode(tokens.repeat(1, 3)[:, :17])
    with pytest.raises(ModelError, match="3 tokens and 15 new ones do not fit"):
        model.start(tokens[:, :3], None, 15, images)
    assert model.start(tokens[:, :3], None, 14, images).logits.shape == (3, 31)
    with pytest.raises(ModelError, match="2 prompts for 3 images"):
        model.start(tokens[:2], None, 1, images)
    with pytest.raises(ModelError, match="no kind of sharing 'al'"):
        replace(SMALL, sharing="al")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="one cross-attention cannot look"):
        replace(SMALL, source_width=12)
