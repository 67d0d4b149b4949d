"""UniFormerV2's relation aggregators: they begin as nothing, and see what they should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.layers.attention import Attention
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import RangeError
from vlcourse.models.gmhra import GMHRA, GMHRAConfig, Kind, OneAsks
from vlcourse.models.gmhra_local import DynamicPositions, LocalMHRA

SMALL = GMHRAConfig(layers=3, heads=2, mlp_ratio=1.5, dropout=0.0, local=1)
KINDS: tuple[Kind, ...] = ("videochat", "uniformer", "mean")
WIDTH = 12


def made(moved: bool = True, **changes: Any) -> GMHRA:
    """Aggregators; moved: every weight is large enough to matter."""
    torch.manual_seed(0)
    model = GMHRA(replace(SMALL, **changes), WIDTH).eval()
    if moved:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def states(n: int = 3, frames: int = 4, places: int = 9, classes: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, frames, classes + places, WIDTH, generator=generator) for _ in range(n)]


def test_its_size_on_vit_g_is_the_published_one() -> None:
    for kind in KINDS:
        with torch.device("meta"):
            model = GMHRA(GMHRAConfig(kind=kind), 1408)
        each = [sum(p.numel() for p in block.parameters()) for block in model.blocks]
        assert [round(n / 1e6, 2) for n in each] == [25.29] * 8
        assert each == [25_292_416] * 8  # the baseline has exactly as many
        assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 202.3


@pytest.mark.parametrize("classes", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_the_frames_come_out_bit_by_bit_and_the_token_is_nothing_yet(
    kind: str, classes: int
) -> None:
    model = made(moved=False, kind=kind, dropout=0.5, local=2).train()
    given = states(classes=classes)
    before = [state.clone() for state in given]
    frames, token = model(given, classes)
    assert frames.equal(before[-1]) and token is not None
    assert all(a.equal(b) for a, b in zip(given, before, strict=True))  # none is changed in place
    if kind == "uniformer":  # half of it is the mean already
        mean = (given[-1][:, :, :1] if classes else given[-1]).mean(dim=(1, 2))
        torch.testing.assert_close(token[:, 0], mean / 2)
    else:
        assert not token.any()
    (frames.square().mean() + (token - 1).square().mean()).backward()
    moving = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert "local.0.up.weight" in moving and "token" in moving
    out = "out" if kind == "mean" else "attention.out"
    assert {f"blocks.{j}.{out}.weight" for j in range(3)} <= moving


def test_positions_come_from_the_neighbours_in_time_and_space() -> None:
    torch.manual_seed(0)
    positions = DynamicPositions(WIDTH)
    assert not positions.conv.bias.any()  # type: ignore[union-attr]
    (y,) = states(1)
    shown = torch.ones(2, 4, dtype=torch.bool)
    out = positions(y, 1, shown)
    assert out[:, :, 0].equal(y[:, :, 0])  # a class token has no place
    by_hand = F.pad(y[:, :, 1:].unflatten(2, (3, 3)), (0, 0, 1, 1, 1, 1, 1, 1))
    weight = positions.conv.weight[:, 0]  # (C, 3, 3, 3): time, row, column
    around = by_hand[0, 2:5, 0:3, 1:4]  # of frame 2, row 0, column 1
    expected = y[0, 2, 1 + 1] + torch.einsum("thwc,cthw->c", around, weight)
    torch.testing.assert_close(out[0, 2, 1 + 1], expected)
    with pytest.raises(ModelError, match="8 tokens are no square grid"):
        positions(y[:, :, :9], 1, shown)


def test_local_aggregation_sees_the_frames_beside_and_this_place_only() -> None:
    torch.manual_seed(0)
    local = LocalMHRA(WIDTH).eval()
    torch.nn.init.normal_(local.up.weight)
    x, shown = states(1, frames=5, classes=0)[0], torch.ones(2, 5, dtype=torch.bool)
    other = x.clone()
    other[:, 2, 4] += 1
    changed = (local(other, shown) - local(x, shown)).abs().sum(-1) > 1e-6  # (B, T, N)
    assert changed[0].nonzero().tolist() == [[1, 4], [2, 4], [3, 4]]
    assert local.mix.weight.shape == (6, 1, 3)  # depthwise, at half of the width


def test_the_token_is_told_in_which_order_frames_come() -> None:
    given = states(1)
    swapped = [given[0][:, [0, 2, 1, 3]]]
    one, other = (made(layers=1, local=0)(s, 1)[1] for s in (given, swapped))
    assert one is not None and (one - other).abs().max() > 1e-3
    blind = made(layers=1, local=0)
    torch.nn.init.zeros_(blind.blocks[0].positions.conv.weight)  # type: ignore
    one, other = (blind(s, 1)[1] for s in (given, swapped))
    torch.testing.assert_close(one, other)  # without positions it cannot know


def test_the_two_orders_of_norm_and_positions() -> None:
    given = states(1)
    shown = torch.ones(2, 4, dtype=torch.bool)
    for kind in ("videochat", "uniformer"):
        model = made(kind=kind, layers=1, local=0)
        block: Any = model.blocks[0]
        norm, place = block.norm_frames, lambda y, b=block: b.positions(y, 1, shown)
        y = place(norm(given[0])) if kind == "videochat" else norm(place(given[0]))
        token = model.token.expand(2, 1, -1)
        token = token + block.attention(block.norm_token(token), y.flatten(1, 2))
        token = token + block.mlp(block.norm_mlp(token))
        if kind == "uniformer":
            share = model.balance.sigmoid()
            token = (1 - share) * token + share * given[0][:, :, 0].mean(1, keepdim=True)
        torch.testing.assert_close(model(given, 1)[1], token)


def test_the_token_goes_from_block_to_block_and_each_looks_at_its_own_state() -> None:
    model, given = made(local=0), states()
    whole = model(given, 1)[1]
    for i in range(3):
        changed = [s + (j == i) for j, s in enumerate(given)]
        changed[i] = torch.randn_like(given[i])
        assert (model(changed, 1)[1] - whole).abs().max() > 1e-4
    assert model(given[-1:], 1)[1].shape == (2, 1, WIDTH)  # all look at the last
    with pytest.raises(ModelError, match="3 aggregators look at 3 states, or at one; not at 2"):
        model(given[:2], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_there_that_learns_nothing(kind: Kind) -> None:
    model = made(kind=kind)
    frames, token = model(states(), 1)
    (frames.square().mean() + (token - 1).square().mean()).backward()
    for name, parameter in model.named_parameters():  # a key's bias has a gradient, of zero
        assert parameter.grad is not None, name
        assert parameter.grad.any() or name.endswith("k.bias"), name


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_are_not_there_change_nothing(kind: str) -> None:
    model, given = made(kind=kind), states()
    shown = torch.tensor([[True] * 4, [True, True, False, False]])
    frames, token = model(given, 1, shown)
    alone = model([s[1:, :2] for s in given], 1)
    torch.testing.assert_close(frames[1:, :2], alone[0])
    torch.testing.assert_close(token[1:], alone[1])
    whole = model([s[:1] for s in given], 1)
    torch.testing.assert_close(token[:1], whole[1])


def test_one_query_is_answered_as_any_attention_would() -> None:
    torch.manual_seed(0)
    one = OneAsks(WIDTH, 3)
    torch.nn.init.normal_(one.k.bias)
    torch.nn.init.normal_(one.v.bias)
    plain = Attention(WIDTH, 3)
    plain.load_state_dict(one.state_dict())
    x, context = torch.randn(2, 1, WIDTH), torch.randn(2, 7, WIDTH)
    mask = torch.rand(2, 1, 1, 7) > 0.4
    mask[..., 0] = True
    torch.testing.assert_close(one(x, context, mask), plain(x, context, mask))
    torch.testing.assert_close(one(x, context), plain(x, context))
    torch.testing.assert_close(one.weights(x, context, mask).sum(-1), torch.ones(2, 3, 1))


def test_without_layers_there_is_no_token() -> None:
    frames, token = made(layers=0, local=0)(states(1), 1)
    assert token is None and not list(made(layers=0, local=0).parameters())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ModelError, match="did you mean 'uniformer'"):
        made(kind="uniforme")
    with pytest.raises(RangeError, match="dropout"):
        replace(SMALL, dropout=1.0)
    with pytest.raises(ModelError, match="not divisible by 5 heads"):
        made(heads=5)
    with pytest.raises(ModelError, match="no size of an MLP"):
        made(mlp_ratio=0.0)
