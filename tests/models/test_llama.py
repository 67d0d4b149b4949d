"""LLaMA: sizes, parity with transformers (whole, cached, padded), rotations, the cache, masks."""

from __future__ import annotations

import math

import pytest
import torch
from llama_twin import HEADS, VOCAB, WIDTH, text, twin
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.llama import modeling_llama as hf

from vlcourse import losses, weights
from vlcourse.layers import masks
from vlcourse.layers.block import RMSNorm
from vlcourse.layers.cache import CacheFull, KVCache
from vlcourse.layers.rotary import rotate, rotations
from vlcourse.models.llama import PRESETS, LLaMA, LLaMAConfig
from vlcourse.weights import llama as layouts
from vlcourse.weights.rename import Rule, to_theirs

EXACT = {"rtol": 1e-5, "atol": 1e-5}
KV = pytest.mark.parametrize("kv_heads", [HEADS, 1], ids=["MHA", "GQA"])
SMALL = LLaMAConfig(vocab_size=11, width=12, layers=2, heads=2, hidden=7)


# Sizes


@pytest.mark.parametrize(
    ("name", "parameters", "ffn"),
    [
        ("7B", 6_738_415_616, 11008),
        ("13B", 13_015_864_320, 13824),
        ("33B", 32_528_943_616, 17920),
        ("65B", 65_285_660_672, 22016),
    ],
)
def test_published_sizes(name: str, parameters: int, ffn: int) -> None:
    config = LLaMAConfig.preset(name)
    with torch.device("meta"):
        model = config.build()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert config.ffn == ffn and config.width // config.heads == 128
    assert config.norm_eps == (1e-5 if name == "65B" else 1e-6)
    assert all(block.norm2.eps == config.norm_eps for block in model.blocks)


def test_the_feed_forward_width_is_rounded_up_to_256() -> None:
    for width, ffn in ((96, 256), (98, 512), (192, 512), (194, 768), (4096, 11008)):
        assert LLaMAConfig(width=width, heads=1).ffn == ffn
    assert LLaMAConfig(width=96, heads=1, hidden=61).ffn == 61


def test_nothing_has_a_bias_and_the_head_is_its_own() -> None:
    model = SMALL.build()
    assert not [name for name, _ in model.named_parameters() if "bias" in name]
    assert model.head.weight is not model.token.weight
    with pytest.raises(ValueError, match="did you mean '13B'"):
        LLaMAConfig.preset("13b")
    assert set(PRESETS) == {"7B", "13B", "33B", "65B"}


# Parity


@KV
def test_logits_loss_and_gradients(kv_heads: int) -> None:
    theirs = twin(num_key_value_heads=kv_heads)
    ours = weights.from_hf(theirs)
    tokens = text(2, 17)
    out = theirs(tokens, labels=tokens)
    torch.testing.assert_close(ours(tokens), out.logits, **EXACT)
    assert out.logits.std() > 0.3  # not the parity of zeros
    targets = F.pad(tokens[:, 1:], (0, 1), value=-100)
    loss = ours.losses({"tokens": tokens, "targets": targets})["lm"]
    torch.testing.assert_close(loss, out.loss, **EXACT)
    loss.backward()
    out.loss.backward()
    mine = to_theirs({n: p.grad for n, p in ours.named_parameters()}, layouts.hf_table(ours.config))
    other = {n: p.grad for n, p in theirs.named_parameters()}
    assert mine.keys() == other.keys()
    for name, gradient in other.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-4, atol=1e-4, msg=name)
        assert gradient.abs().max() > 2e-3, name  # far above the tolerance


@KV
@torch.no_grad()
def test_cached_prefill_single_steps_and_chunks(kv_heads: int) -> None:
    theirs = twin(num_key_value_heads=kv_heads)
    ours = weights.from_hf(theirs)
    tokens = text(2, 17)
    expected = theirs(tokens).logits
    cache, past, parts, other = ours.new_cache(2, 17), None, [], []
    assert cache.layers[0].keys.shape == (2, kv_heads, 17, WIDTH // HEADS)
    for chunk in tokens.split([6, 1, 1, 4, 1, 3, 1], dim=1):
        parts.append(ours(chunk, cache))
        out = theirs(chunk, past_key_values=past, use_cache=True)
        other.append(out.logits)
        past = out.past_key_values
    assert cache.length == 17
    torch.testing.assert_close(torch.cat(parts, 1), torch.cat(other, 1), **EXACT)
    torch.testing.assert_close(torch.cat(parts, 1), expected, **EXACT)
    with pytest.raises(CacheFull, match="room for 17 positions, not 18"):
        ours(tokens[:, :1], cache)


PADDING = (0, 5, 3)


def padded(length: int) -> tuple[Tensor, Tensor]:
    """Three texts with padding on their left, and the mask."""
    tokens = text(3, length)
    mask = torch.arange(length) >= torch.tensor(PADDING)[:, None]
    return tokens.masked_fill(~mask, 0), mask


@KV
@torch.no_grad()
def test_left_padding(kv_heads: int) -> None:
    theirs = twin(num_key_value_heads=kv_heads)
    ours = weights.from_hf(theirs)
    tokens, mask = padded(13)
    places = (mask.long().cumsum(1) - 1).clamp(min=0)
    expected = theirs(tokens, attention_mask=mask.long(), position_ids=places).logits
    logits = ours(tokens, mask=mask)
    assert logits.isfinite().all()  # also where there is nothing to see
    torch.testing.assert_close(logits[mask], expected[mask], **EXACT)
    for row, padding in enumerate(PADDING):  # padding changes nothing
        alone = ours(tokens[row : row + 1, padding:])
        torch.testing.assert_close(logits[row : row + 1, padding:], alone, **EXACT)


# In the second, a chunk is nothing but padding for one row and ends inside that of another.
@pytest.mark.parametrize("chunks", [(7, 1, 1, 3, 1), (4, 2, 1, 6)], ids=["after", "inside"])
@KV
@torch.no_grad()
def test_left_padding_cached(kv_heads: int, chunks: tuple[int, ...]) -> None:
    theirs = twin(num_key_value_heads=kv_heads)
    ours = weights.from_hf(theirs)
    tokens, mask = padded(13)
    expected = theirs(tokens, attention_mask=mask.long()).logits  # positions count all: the same
    cache = ours.new_cache(3, 13)
    parts, at = [], 0
    for n in chunks:
        seen = mask[:, at : at + n]
        # What is generated needs no mask of its own.
        parts.append(ours(tokens[:, at : at + n], cache, None if seen.all() else seen))
        at += n
    logits = torch.cat(parts, dim=1)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits[mask], expected[mask], **EXACT)


@torch.no_grad()
def test_padding_that_begins_after_the_first_chunk() -> None:
    """A later chunk with a mask, after one without."""
    ours = SMALL.build()
    tokens = torch.arange(8)[None].repeat(2, 1)
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[1, 4:6] = False
    cache = ours.new_cache(2, 8)
    logits = torch.cat([ours(tokens[:, :4], cache), ours(tokens[:, 4:], cache, mask[:, 4:])], dim=1)
    torch.testing.assert_close(logits[0], ours(tokens[:1])[0], **EXACT)
    without = ours(torch.tensor([[0, 1, 2, 3, 6, 7]]))[0]
    torch.testing.assert_close(logits[1][mask[1]], without, **EXACT)


@torch.no_grad()
def test_soft_prompts_go_through_hidden() -> None:
    ours = SMALL.build()
    tokens = torch.randint(11, (2, 5))
    x = ours.token(tokens)
    assert torch.equal(ours.head(ours.hidden(x)), ours(tokens))
    cache = ours.new_cache(2, 5)
    ours.hidden(x[:, :3], cache)
    torch.testing.assert_close(ours(tokens[:, 3:], cache), ours(tokens)[:, 3:], **EXACT)


@pytest.mark.parametrize("autocast", [False, True], ids=["weights", "autocast"])
@torch.no_grad()
def test_bfloat16(autocast: bool) -> None:
    theirs = twin(num_key_value_heads=1)
    exact, tokens = theirs(text(2, 9)).logits, text(2, 9)
    ours = weights.from_hf(theirs, dtype=torch.float32 if autocast else torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        whole = ours(tokens)
        cache = ours.new_cache(2, 9)
        steps = torch.cat([ours(chunk, cache) for chunk in tokens.split([5, 1, 3], dim=1)], dim=1)
    assert whole.dtype == steps.dtype == torch.bfloat16
    for logits in (whole, steps):
        assert (logits.float() - exact).abs().mean() < 0.02 * exact.std()


# RMSNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rms_norm_is_transformers(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours, theirs = RMSNorm(37, 1e-3), hf.LlamaRMSNorm(37, 1e-3)
    with torch.no_grad():
        ours.weight.normal_()
        theirs.weight.copy_(ours.weight)
    ours, theirs, x = ours.to(dtype), theirs.to(dtype), torch.randn(5, 37, dtype=dtype)
    assert ours(x).dtype == dtype
    step = max(torch.finfo(dtype).eps, 1e-6)  # the last bit may differ
    torch.testing.assert_close(ours(x), theirs(x), rtol=step, atol=1e-6)


def test_rms_norm_computes_in_float32() -> None:
    x = torch.full((1, 64), 1000.0, dtype=torch.float16)  # its square is no float16
    torch.testing.assert_close(RMSNorm(64).half()(x), torch.ones_like(x))
    x = torch.ones(1, 4096, dtype=torch.bfloat16)  # bfloat16 cannot count so far by ones
    torch.testing.assert_close(RMSNorm(4096).bfloat16()(x), x, rtol=0, atol=0)


# Rotary positions


def test_scores_depend_on_the_difference_of_the_positions_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=generator).unbind(0)

    def score(m: int, n: int) -> Tensor:
        turned = [rotate(x, rotations(torch.tensor([p]), 16)) for x, p in ((q, m), (k, n))]
        return (turned[0] * turned[1]).sum()

    for m, n in ((0, 0), (3, 0), (9, 4), (2, 30)):
        for shift in (1, 17, 500):
            torch.testing.assert_close(score(m + shift, n + shift), score(m, n), atol=1e-3, rtol=0)
        assert (score(m + 1, n) - score(m, n)).abs() > 0.05
        assert (score(m, n) - score(n, m)).abs() > 0.05 or m == n  # before is not after


def test_rotations() -> None:
    x = torch.randn(2, 3, 5, 8)
    turned = rotate(x, rotations(torch.arange(5), 8))
    assert torch.equal(turned[:, :, 0], x[:, :, 0])  # position 0 is not turned
    pairs, other = x.unflatten(-1, (4, 2)), turned.unflatten(-1, (4, 2))
    torch.testing.assert_close(other.norm(dim=-1), pairs.norm(dim=-1))
    # Pair j of position m turns by m · 10000^(-2j / 8).
    for m, j in ((1, 0), (3, 1), (4, 3)):
        angle = m * 10_000 ** (-2 * j / 8)
        a, b = pairs[1, 2, m, j].tolist()
        wanted = (
            a * math.cos(angle) - b * math.sin(angle),
            a * math.sin(angle) + b * math.cos(angle),
        )
        torch.testing.assert_close(other[1, 2, m, j], torch.tensor(wanted), **EXACT)
    rows = rotate(x, rotations(torch.stack([torch.arange(5), torch.arange(5) + 7]), 8))
    assert torch.equal(rows[0], turned[0])
    torch.testing.assert_close(rows[1], rotate(x, rotations(torch.arange(7, 12), 8))[1])
    assert rotate(x.bfloat16(), rotations(torch.arange(5), 8)).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="even number of channels a head, not 7"):
        rotations(torch.arange(5), 7)


def test_rotations_are_transformers_after_the_permutation() -> None:
    theirs = twin()
    head = WIDTH // HEADS
    q, k = torch.randn(2, 2, HEADS, 6, head).unbind(0)
    places = torch.randint(40, (2, 6))
    cos, sin = theirs.model.rotary_emb(q, places)

    def permuted(x: Tensor) -> Tensor:
        """The last dimension as the rows of a matrix in transformers' layout."""
        rows = x.movedim(-1, 0).flatten(1)
        rows = to_theirs({"x": rows}, [Rule("x", "x", "halves", head)])["x"]
        return rows.view(head, *x.shape[:-1]).movedim(0, -1)

    ours = [permuted(rotate(x, rotations(places, head, theta=300.0))) for x in (q, k)]
    expected = hf.apply_rotary_pos_emb(permuted(q), permuted(k), cos, sin)
    for mine, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, other, **EXACT)
    assert not torch.equal(permuted(q), q)


# Cache and masks


def filled(rows: int, positions: int, room: int) -> KVCache:
    cache = KVCache(2, rows, 3, room, 4, like=torch.zeros(()))
    for layer in cache.layers:
        layer.extend(*torch.randn(2, rows, 3, positions, 4).unbind(0))
    return cache


def test_the_cache_grows_in_memory_that_it_has() -> None:
    cache = filled(2, 3, 5)
    layer = cache.layers[1]
    before, place = layer.keys[:, :, :3].clone(), layer.keys.data_ptr()
    new = torch.randn(2, 2, 3, 2, 4)
    keys, values = layer.extend(new[0], new[1])
    assert torch.equal(keys, torch.cat([before, new[0]], dim=2)) and values.shape[2] == 5
    assert keys.data_ptr() == place and layer.length == 5
    with pytest.raises(CacheFull, match="room for 5 positions, not 6: make it longer"):
        layer.extend(new[0][:, :, :1], new[1][:, :, :1])
    assert layer.length == 5
    half = KVCache(1, 1, 1, 1, 2, like=torch.zeros((), dtype=torch.bfloat16))
    assert half.layers[0].keys.dtype == torch.bfloat16 and half.length == 0


@pytest.mark.parametrize("rows", [(2, 0, 1), (1, 1, 1), (0,), (0, 0, 2, 2, 1)])
def test_selecting_rows_of_the_cache(rows: tuple[int, ...]) -> None:
    cache = filled(3, 4, 6)
    cache.mask, cache.context_mask = torch.rand(3, 4) > 0.5, torch.rand(3, 1, 1, 7) > 0.5
    for layer in cache.layers:
        layer.context = (torch.randn(3, 3, 7, 4), torch.randn(3, 3, 7, 4))
    before = [
        (layer.keys[:, :, :4].clone(), layer.values[:, :, :4].clone(), *layer.context)
        for layer in cache.layers
    ]
    mask, context_mask, place = cache.mask, cache.context_mask, cache.layers[0].keys.data_ptr()
    index = torch.tensor(rows)
    cache.select(index)
    assert cache.length == 4
    for layer, (keys, values, *context) in zip(cache.layers, before, strict=True):
        new_keys, new_values = layer.extend(*torch.zeros(2, len(rows), 3, 2, 4).unbind(0))
        assert torch.equal(new_keys[:, :, :4], keys[index])  # and there is room for the rest
        assert torch.equal(new_values[:, :, :4], values[index])
        assert all(torch.equal(a, b[index]) for a, b in zip(layer.context, context, strict=True))
    assert torch.equal(cache.mask, mask[index])
    assert torch.equal(cache.context_mask, context_mask[index])
    assert (cache.layers[0].keys.data_ptr() == place) == (len(rows) == 3)


def test_masks() -> None:
    assert masks.causal(3).int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert masks.causal(2, past=2).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert masks.positions(None, 4, 3).tolist() == [4, 5, 6]
    seen = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
    assert masks.positions(seen, 0, 5).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]]
    assert masks.positions(seen, 3, 2).tolist() == [[1, 2], [3, 4]]
    assert masks.decoder(None, 0, 5) == (None, True)
    assert masks.decoder(None, 0, 1) == masks.decoder(None, 7, 1) == (None, False)
    mask, causal = masks.decoder(None, 2, 2)
    assert not causal and torch.equal(mask, masks.causal(2, past=2))
    for past, n in ((0, 5), (1, 3), (4, 1)):  # the definition, position by position
        mask, causal = masks.decoder(seen[:, : past + n], past, n)
        assert not causal and mask.shape == (2, 1, n, past + n)
        for row in range(2):
            for i in range(n):
                at = past + i
                wanted = [j == at or (j <= at and bool(seen[row, j])) for j in range(past + n)]
                assert mask[row, 0, i].tolist() == wanted


# The loss (over ranks: test_losses_distributed.py)


def test_the_loss_is_the_cross_entropy_where_there_is_something_to_learn() -> None:
    torch.manual_seed(0)
    states, targets = torch.randn(3, 5, 8), torch.randint(VOCAB, (3, 5))
    targets[0, 2:], targets[2] = -100, -100
    head = nn.Linear(8, VOCAB)
    grads = []
    for loss in (losses.lm, lambda x, head, t: F.cross_entropy(head(x).flatten(0, 1), t.flatten())):
        x = states.clone().requires_grad_()
        head.zero_grad()
        value = loss(x, head, targets)
        value.backward()
        grads.append((value.detach(), x.grad, head.weight.grad, head.bias.grad))
    for mine, other in zip(*grads, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)
    rows: list[int] = []
    head.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    losses.lm(states, head, targets)
    assert rows == [7]  # the head is applied to nothing else


def test_the_loss_of_nothing_and_of_the_wrong_shape() -> None:
    head, states = nn.Linear(8, 5), torch.randn(2, 3, 8, requires_grad=True)
    loss = losses.lm(states, head, torch.full((2, 3), -100))
    loss.backward()
    assert loss == 0 and not states.grad.any() and not head.weight.grad.any()
    with pytest.raises(ValueError, match=r"states are \(2, 3, 8\), targets \(2, 4\)"):
        losses.lm(states, head, torch.zeros(2, 4, dtype=torch.long))


def test_the_first_loss_is_that_of_a_guess_and_falls() -> None:
    torch.manual_seed(0)
    model = LLaMA(LLaMAConfig(vocab_size=31, width=32, layers=2, heads=2, hidden=48))
    deviation = model.head.weight.std() * 32**0.5
    assert 0.9 < deviation < 1.1  # N(0, 1 / width), and half of it into the stream of 2 blocks
    assert 0.45 < model.blocks[0].attention.out.weight.std() * 32**0.5 < 0.55
    tokens = torch.randint(31, (4, 12))
    batch = {"tokens": tokens[:, :-1], "targets": tokens[:, 1:]}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    history = []
    for _ in range(25):
        loss = model.losses(batch)["lm"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    # Logits of a variance of 1 cost half a nat more than a guess.
    assert abs(history[0] - math.log(31) - 0.5) < 0.5 and history[-1] < 1.0
