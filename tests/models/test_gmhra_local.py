"""What tokens of frames learn of their neighbours: around them, and where something goes."""

from __future__ import annotations

import pytest
import torch

from vlcourse.layers.errors import ModelError
from vlcourse.models.gmhra import GMHRAConfig
from vlcourse.models.gmhra_local import Depthwise3d, LocalMHRA

WIDTH = 12


def test_the_convolution_is_torchs_own_in_three_dimensions() -> None:
    torch.manual_seed(0)
    ours = Depthwise3d(WIDTH)
    cube = torch.randn(2, 5, 4, 3, WIDTH, requires_grad=True)
    theirs = super(Depthwise3d, ours).forward(cube.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(ours(cube), theirs, atol=1e-6, rtol=1e-5)
    weight = torch.randn_like(theirs)
    for given in (cube, ours.weight, ours.bias):
        (one,) = torch.autograd.grad((ours(cube) * weight).sum(), given)
        again = super(Depthwise3d, ours).forward(cube.permute(0, 4, 1, 2, 3))
        (other,) = torch.autograd.grad((again.permute(0, 2, 3, 4, 1) * weight).sum(), given)
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


def test_a_tube_in_space_time_sees_the_places_around_as_well() -> None:
    torch.manual_seed(0)
    local = LocalMHRA(WIDTH, tube="space-time").eval()
    torch.nn.init.normal_(local.up.weight)
    x, shown = torch.randn(1, 5, 16, WIDTH), torch.ones(1, 5, dtype=torch.bool)
    other = x.clone()
    other[:, 2, 5] += 1  # row 1, column 1 of a grid of 4 × 4
    changed = (local(other, shown) - local(x, shown)).abs().sum(-1) > 1e-6
    around = [4 * row + column for row in range(3) for column in range(3)]
    assert changed[0].nonzero().tolist() == [[t, n] for t in (1, 2, 3) for n in around]


def test_one_linear_filter_tells_which_way_something_went_in_a_tube_only() -> None:
    """Something of one channel goes right, left, up or down by a cell, wherever it is."""
    ways = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}
    shown = torch.ones(1, 2, dtype=torch.bool)

    def answers(tube: str, seen: tuple[int, int]) -> dict[str, float]:
        local = LocalMHRA(1, reduction=1, tube=tube).eval()  # type: ignore[arg-type]
        for linear in (local.down, local.up):
            torch.nn.init.ones_(linear.weight)
            torch.nn.init.zeros_(linear.bias)
        with torch.no_grad():
            local.mix.bias.zero_()  # type: ignore[union-attr]
            local.mix.weight.zero_()
            if tube == "space-time":  # now: there and not here; before: here
                local.mix.weight[0, 0, 1, 1 + seen[0], 1 + seen[1]] = 0
                local.mix.weight[0, 0, 0, 1 - seen[0], 1 - seen[1]] = 1
                local.mix.weight[0, 0, 1, 1, 1] = 1
            else:
                local.mix.weight[0, 0] = torch.tensor([1.0, 1.0, 0.0])
        found = {}
        for way, (down, right) in ways.items():
            film = torch.zeros(1, 2, 4, 4, 1)
            film[0, 0, 1, 1], film[0, 1, 1 + down, 1 + right] = 1, 1
            with torch.no_grad():
                found[way] = float(local(film.flatten(2, 3), shown)[0, 1].max())
        return found

    for way, step in ways.items():
        told = answers("space-time", step)
        assert told[way] > 1.9 and all(v < 1.1 for w, v in told.items() if w != way), (way, told)
    assert len(set(answers("time", (0, 0)).values())) == 1  # the same for all


def test_an_unknown_tube_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="space-time"):
        GMHRAConfig(tube="spacetime")  # type: ignore[arg-type]
