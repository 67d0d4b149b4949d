"""The Q-Former: its three masks give what the official code computes in passes of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vlcourse.generate import generate, left_pad, search
from vlcourse.generate.options import Options
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import RangeError
from vlcourse.models import qformer_masks
from vlcourse.models.med_parts import cross_block
from vlcourse.models.qformer import QFormer
from vlcourse.models.qformer_config import QFormerConfig

Q, N, L, B = 5, 7, 8, 4
DEC = 30
SMALL = QFormerConfig(
    queries=Q, vocab_size=31, context=12, width=12, layers=4, heads=3, mlp_ratio=1.5,
    image_width=10, cls=27, sep=28, dec=DEC,
)  # fmt: skip


def qformer(config: QFormerConfig = SMALL, seed: int = 0) -> QFormer:
    """Every parameter random, so that each of them matters."""
    torch.manual_seed(seed)
    model = QFormer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def inputs(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Image tokens, ids and their mask, padded on the right with something."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(B, N, 10, generator=generator)
    tokens = torch.randint(0, 27, (B, L), generator=generator)
    mask = torch.arange(L) < torch.tensor([8, 3, 5, 1])[:, None]
    return image, tokens, mask


def near(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert theirs.std() > 1e-2


def official_queries(model: QFormer, image: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The official first pass, ``use_cache=True``: queries alone, and each layer's keys, values."""
    x, past = model.norm(model.queries).expand(len(image), -1, -1), []
    for block in model.blocks:
        past.append(block.attention.keys_values(x))
        x = block.norm_attention(x + block.attention(x))
        if block.looks:
            x = cross_block(x, image, block.cross, block.norm_cross)
        x = block.norm_query(x + block.mlp_query(x))
    return x, past


def official_text(
    model: QFormer, tokens: Tensor, mask: Tensor, past: list[tuple[Tensor, Tensor]] | None
) -> Tensor:
    """The official second pass: the text alone; or causal, with the queries' keys and values."""
    x = model.norm(model.words.token(tokens) + model.words.positions[: tokens.shape[1]])
    allowed = mask[:, None, None, :]
    if past is not None:
        allowed = allowed & torch.ones(L, L, dtype=torch.bool).tril()
        allowed = torch.cat([allowed.new_ones(*allowed.shape[:3], Q), allowed], dim=3)
    for i, block in enumerate(model.blocks):
        keys, values = block.attention.keys_values(x)
        if past is not None:
            keys, values = torch.cat([past[i][0], keys], 2), torch.cat([past[i][1], values], 2)
        x = block.norm_attention(x + block.attention(x, (keys, values), allowed))
        x = block.norm_text(x + block.mlp_text(x))
    return x


def with_dec(tokens: Tensor) -> Tensor:
    return torch.cat([torch.full_like(tokens[:, :1], DEC), tokens[:, 1:]], dim=1)


def test_the_masks_are_those_of_the_figure() -> None:
    seen = torch.tensor([[True, True, False]])
    pictures = {  # the last token is padding: it is seen by itself only
        qformer_masks.unimodal: "11000 11000 00110 00110 00111",
        qformer_masks.multimodal_causal: "11000 11000 11100 11110 11111",
        qformer_masks.bidirectional: "11110 11110 11110 11110 11111",
    }
    for mask, expected in pictures.items():
        found = mask(2, seen)
        assert found.dtype == torch.bool and found.shape == (1, 1, 5, 5)
        assert ["".join(str(int(x)) for x in row) for row in found[0, 0].tolist()] == (
            expected.split()
        )


def test_the_unimodal_mask_is_two_separate_passes() -> None:
    model, (image, tokens, mask) = qformer(), inputs()
    states = model(image, tokens, qformer_masks.unimodal(Q, mask))
    near(states[:, :Q], official_queries(model, image)[0])
    near(states[:, Q:][mask], official_text(model, tokens, mask, None)[mask])
    near(states[:, :Q], model.look(image)[-1])
    near(states[:, Q:][mask], model.read(tokens, mask)[mask])
    near(states[:, Q], model.read(tokens, mask, only_first=True)[:, 0])


def test_the_causal_mask_is_a_pass_with_the_queries_as_its_past() -> None:
    model, (image, tokens, mask) = qformer(), inputs()
    written = with_dec(tokens)
    states = model(image, written, qformer_masks.multimodal_causal(Q, mask))
    queries, past = official_queries(model, image)
    near(states[:, :Q], queries)
    near(states[:, Q:][mask], official_text(model, written, mask, past)[mask])
    near(states[:, Q:][mask], model.decode(tokens, model.look(image)[:-1])[mask])


def test_gradients_are_the_same_through_the_mask_and_through_the_prefix() -> None:
    found = []
    for joint in (True, False):
        model, (image, tokens, mask) = qformer(), inputs()
        if joint:
            states = model(image, with_dec(tokens), qformer_masks.multimodal_causal(Q, mask))[:, Q:]
        else:
            states = model.decode(tokens, model.look(image)[:-1])
        states[mask].square().sum().backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    joint_ones, prefix_ones = found
    assert joint_ones["queries"].abs().max() > 1e-3
    assert not [n for n in joint_ones.keys() - prefix_ones.keys() if joint_ones[n].any()]
    for name, gradient in prefix_ones.items():
        torch.testing.assert_close(gradient, joint_ones[name], rtol=1e-4, atol=1e-4, msg=name)


def test_the_bidirectional_mask_is_matching() -> None:
    model, (image, tokens, mask) = qformer(), inputs()
    states = model(image, tokens, qformer_masks.bidirectional(Q, mask))
    near(model.ground(image, tokens, mask), states[:, :Q])
    rows = torch.tensor([2, 0, 0, 3])
    near(model.ground(image, tokens, mask, rows=rows), model.ground(image[rows], tokens, mask))


def test_who_looks_at_whom() -> None:
    """Change the text, or the image, and see which side moves under which mask."""
    model, (image, tokens, mask) = qformer(), inputs()
    mask = torch.ones_like(mask)
    other_text, other_image = tokens.clone(), image + 1
    other_text[:, 4] = (tokens[:, 4] + 1) % 27
    moved = {}
    for of in (
        qformer_masks.unimodal,
        qformer_masks.multimodal_causal,
        qformer_masks.bidirectional,
    ):
        allowed = of(Q, mask)
        before = model(image, tokens, allowed)
        by_text = (model(image, other_text, allowed) - before).abs().amax((0, 2)) > 1e-6
        by_image = (model(other_image, tokens, allowed) - before).abs().amax((0, 2)) > 1e-6
        moved[of.__name__] = [
            "".join(str(int(x)) for x in by.tolist()) for by in (by_text, by_image)
        ]
    assert moved == {
        "unimodal": ["00000" + "11111111", "11111" + "00000000"],
        "multimodal_causal": ["00000" + "00001111", "11111" + "11111111"],
        "bidirectional": ["11111" + "11111111", "11111" + "11111111"],
    }


def test_padding_changes_nothing() -> None:
    model, (image, tokens, mask) = qformer(), inputs()
    other = tokens.where(mask, (tokens + 5) % 27)
    for read in (
        lambda x: model.read(x, mask)[mask],
        lambda x: model.ground(image, x, mask),
        lambda x: model.decode(x, model.look(image)[:-1])[mask],
    ):
        near(read(other), read(tokens))
    long = torch.cat([image, torch.randn(B, 2, 10)], dim=1)
    image_mask = torch.arange(N + 2).expand(B, -1) < N
    near(model.look(long, image_mask)[-1], model.look(image)[-1])
    near(model.ground(long, tokens, mask, image_mask), model.ground(image, tokens, mask))


@pytest.mark.parametrize("every", [1, 2, 3])
def test_every_so_many_blocks_look(every: int) -> None:
    model = qformer(replace(SMALL, cross_every=every))
    assert [block.looks for block in model.blocks] == [i % every == 0 for i in range(4)]
    weights = model.cross_attention(lambda: model.look(inputs()[0]))
    assert weights.shape == (-(-4 // every), B, 3, Q, N)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert [x.shape for x in model.states(lambda: model.look(inputs()[0]))] == [(B, Q, 12)] * 4


def test_queries_and_text_have_their_own_mlps_and_one_attention() -> None:
    model = qformer()
    image, tokens, _ = inputs()
    model.look(image)[-1].square().sum().backward()
    by_queries = {n for n, p in model.named_parameters() if p.grad is not None}
    assert not [n for n in by_queries if "text" in n or "words" in n or "head" in n]
    model.zero_grad()
    model.read(tokens).square().sum().backward()
    by_text = {n for n, p in model.named_parameters() if p.grad is not None}
    assert not [n for n in by_text if "query" in n or "cross" in n or n == "queries"]
    assert "blocks.0.attention.q.weight" in by_text & by_queries and "norm.weight" in by_text


@pytest.mark.parametrize("beams", [1, 3])
def test_prompts_of_unequal_length_in_a_batch_give_what_each_gives_alone(beams: int) -> None:
    model, (image, _, _) = qformer(), inputs()
    rows = [[27, 4, 9], [27], [27, 5], [27, 1, 2]]
    tokens, mask = left_pad(rows, pad=3)
    options = Options(max_new_tokens=6, beams=beams)
    together = search(model, tokens, options, mask=mask, image_tokens=image)
    for i, row in enumerate(rows):
        alone = search(model, torch.tensor([row]), options, image_tokens=image[i : i + 1])
        assert together.tokens[i].equal(alone.tokens[0])
        torch.testing.assert_close(together.scores[i], alone.scores[0], rtol=1e-4, atol=1e-4)


def test_the_cache_changes_nothing_and_dec_is_the_prompt() -> None:
    model, (image, _, _) = qformer(), inputs()
    found = [
        generate(model, tokens, max_new_tokens=6, image_tokens=image, use_cache=use_cache)
        for tokens, use_cache in ((None, True), (None, False), (torch.full((B, 1), 27), True))
    ]
    assert found[0].equal(found[1]) and found[0].equal(found[2])
    looked = model.look(image)[:-1]
    again = torch.cat([torch.full((B, 1), DEC), found[0]], dim=1)
    logits = model.head(model.decode(again, looked))
    assert logits[:, :-1].argmax(-1).equal(found[0])


def test_what_it_cannot_do_is_said() -> None:
    image, tokens, mask = inputs()
    reads = qformer(replace(SMALL, text="reads"))
    with pytest.raises(ModelError, match="writes nothing: its text is 'reads'"):
        reads.decode(tokens, reads.look(image)[:-1])
    bare = qformer(replace(SMALL, text="none"))
    assert bare.look(image)[-1].shape == (B, Q, 12)
    for call in (lambda: bare.read(tokens), lambda: bare.ground(image, tokens, mask)):
        with pytest.raises(ModelError, match="reads no text"):
            call()
    assert not [n for n, _ in bare.named_parameters() if "text" in n or "words" in n]
    model = qformer()
    with pytest.raises(ModelError, match="a text has 13 tokens, this .* takes 12"):
        model.read(torch.zeros(1, 13, dtype=torch.long))
    with pytest.raises(ModelError, match="do not fit into the context of 12"):
        generate(model, None, max_new_tokens=13, image_tokens=image)
    with pytest.raises(ModelError, match="3 prompts for 4 images"):
        generate(model, tokens[:3], max_new_tokens=1, image_tokens=image)
    with pytest.raises(ModelError, match="look"):
        model.decode(tokens)
    for wrong, said in (
        ({"queries": 0}, "queries=0"), ({"cross_every": 0}, "cross_every=0"),
        ({"dec": 31}, "dec=31"), ({"text": "write"}, "did you mean"),
        ({"heads": 5}, "not divisible"),
    ):  # fmt: skip
        with pytest.raises((RangeError, ModelError), match=said):
            replace(SMALL, **wrong)
