"""An image as a sequence of patches: a convolution whose stride is its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.models.vit import patch_embedding
from vlcourse.teach import checking
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect_close, expect_shape, fail
from vlcourse.teach.mistakes import Mistake, expect_right


def _by_column(images: Tensor, weight: Tensor) -> Tensor:
    grid = F.conv2d(images, weight, stride=weight.shape[-1])
    return rearrange(grid, "b d h w -> b (w h) d")


def _pixels_in_order(images: Tensor, weight: Tensor, order: str) -> Tensor:
    p = weight.shape[-1]
    patches = rearrange(images, f"b c (h p) (w q) -> b (h w) ({order})", p=p, q=p)
    return patches @ weight.flatten(1).T


def _cut_by_view(images: Tensor, weight: Tensor) -> Tensor:
    return images.reshape(len(images), -1, weight[0].numel()) @ weight.flatten(1).T


def _turned_by_view(images: Tensor, weight: Tensor) -> Tensor:
    grid = F.conv2d(images, weight, stride=weight.shape[-1])
    return grid.reshape(len(grid), -1, len(weight))


def _sums_of_pixels(images: Tensor, weight: Tensor) -> Tensor:
    p = weight.shape[-1]
    means = F.avg_pool2d(images, p)  # (B, 3, H/P, W/P)
    return rearrange(means, "b c h w -> b (h w) c") @ weight.sum((-2, -1)).T


_MISTAKES = (
    Mistake(
        "column by column",
        _by_column,
        "the patches run down the columns",
        "Number them row by row, as one reads.",
    ),
    Mistake(
        "channels last in a patch",
        lambda images, weight: _pixels_in_order(images, weight, "p q c"),
        "the pixels of a patch are in another order than the weight's",
        "Flatten a patch in the order of the weight: channel, then row, then column.",
    ),
    Mistake(
        "patches transposed",
        lambda images, weight: _pixels_in_order(images, weight, "c q p"),
        "each patch is transposed",
        "Within a patch the row comes before the column: (c p q), as in the weight.",
    ),
    Mistake(
        "patches by view",
        _cut_by_view,
        "a “patch” here is a stretch of memory, not a square of the image",
        "view only counts on in memory: split both sides, permute, then flatten (or rearrange).",
    ),
    Mistake(
        "axes swapped by view",
        _turned_by_view,
        "the numbers of different channels and patches are mixed: view does not swap axes",
        "Swap them with .flatten(2).transpose(1, 2): view keeps the order in memory.",
    ),
    Mistake(
        "mean of a patch",
        _sums_of_pixels,
        "each patch is averaged before the weight is applied",
        "Each pixel has a weight of its own: multiply first, then add up.",
    ),
)


def _check(candidate: Callable[..., Any]) -> None:
    images, weight = torch.randn(2, 3, 8, 12), torch.randn(5, 3, 4, 4)
    tokens = call(candidate, images, weight)
    shapes = {
        (2, 5, 6): (
            "the tokens lie along the last axis: shape (2, 5, 6) for 6 tokens of width 5",
            "Swap the last two axes: a Transformer wants (batch, tokens, width).",
        ),
        (2, 5, 2, 3): (
            "this is still a grid of shape (2, 5, 2, 3), not a sequence",
            "Flatten the grid, .flatten(2), then swap the last two axes.",
        ),
        (2, 45, 5): (
            "the patches overlap: there are 5·9 of them",
            "The window moves on by a whole patch: stride = weight.shape[-1].",
        ),
    }
    if isinstance(tokens, Tensor) and tuple(tokens.shape) in shapes:
        fail(*shapes[tuple(tokens.shape)])
    shape_hint = "An image of 8×12 has 2×3 patches of 4×4: (batch, 6, width)."
    expect_shape(tokens, (2, 6, 5), "the token sequence", shape_hint)
    if not torch.equal(tokens, candidate(images, weight)):
        fail(
            "called twice with the same image your function gives two answers",
            "A new nn.Conv2d or nn.Linear has random weights: use F.conv2d(images, weight, …).",
        )

    def run(function: Callable[..., Any]) -> Any:
        return function(images, weight)

    expect_right(
        run,
        candidate,
        patch_embedding,
        _MISTAKES,
        "the token sequence",
        "Multiply each flat patch (c p q) with weight.flatten(1).T, and add nothing.",
    )
    size_hint = "Take the patch size from the weight: weight.shape[-1]."
    for shape in ((6, 3, 2, 2), (2, 3, 6, 6)):
        other, small = torch.randn(shape), torch.randn(2, 3, 12, 18)
        right = patch_embedding(small, other)
        expect_close(
            candidate(small, other),
            right,
            f"the token sequence for patches of {shape[-1]}×{shape[-1]}",
            size_hint,
            atol=1e-4,
        )
    checking.batch_of_one(candidate, patch_embedding, images, weight, what="the token sequence")
    checking.differentiable(
        candidate,
        patch_embedding,
        images,
        weight,
        what="the token sequence",
        hint="Use `weight` itself: nn.Parameter(weight), .data and .detach() are copies from which"
        " nothing is learned.",
    )


def _not_transposed(images: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(images, weight, stride=weight.shape[-1]).flatten(2)


def _grid(images: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(images, weight, stride=weight.shape[-1])


def _stride_of_four(images: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(images, weight, stride=4).flatten(2).transpose(1, 2)


def _stride_of_one(images: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(images, weight).flatten(2).transpose(1, 2)


def _new_convolution(images: Tensor, weight: Tensor) -> Tensor:
    size = weight.shape[-1]
    convolution = nn.Conv2d(3, len(weight), size, stride=size)
    return convolution(images).flatten(2).transpose(1, 2)


def _new_parameter(images: Tensor, weight: Tensor) -> Tensor:
    size = weight.shape[-1]
    convolution = nn.Conv2d(3, len(weight), size, stride=size, bias=False)
    convolution.weight = nn.Parameter(weight.detach())
    return convolution(images).flatten(2).transpose(1, 2)


def _squeezed(images: Tensor, weight: Tensor) -> Tensor:
    return patch_embedding(images, weight).squeeze()


def _by_rearrange(images: Tensor, weight: Tensor) -> Tensor:
    return _pixels_in_order(images, weight, "c p q")


def _by_unfold(images: Tensor, weight: Tensor) -> Tensor:
    size = weight.shape[-1]
    columns = F.unfold(images, size, stride=size)  # (B, C·P·P, patches)
    return (weight.flatten(1) @ columns).transpose(1, 2)


def _by_permute(images: Tensor, weight: Tensor) -> Tensor:
    b, c, height, width = images.shape
    d, _, p, _ = weight.shape
    cut = images.reshape(b, c, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
    return torch.einsum("bhwcpq,dcpq->bhwd", cut, weight).reshape(b, -1, d)


def _by_loops(images: Tensor, weight: Tensor) -> Tensor:
    p, tokens = weight.shape[-1], []
    for top in range(0, images.shape[2], p):
        for left in range(0, images.shape[3], p):
            patch = images[:, :, top : top + p, left : left + p]
            tokens.append(patch.flatten(1) @ weight.flatten(1).T)
    return torch.stack(tokens, dim=1)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="clip.patch_embedding",
        title="An image as a sequence of patches",
        minutes=10,
        difficulty=2,
        reference=patch_embedding,
        check=_check,
        hints=(
            "Each patch is looked at once, with the same weights: a convolution that does not"
            " overlap.",
            "F.conv2d with stride = the patch size gives (B, D, rows, columns): make the grid a"
            " sequence, and put D last.",
            "F.conv2d(images, weight, stride=weight.shape[-1]).flatten(2).transpose(1, 2)",
        ),
        wrong=(
            *(mistake.wrong() for mistake in _MISTAKES),
            Wrong("width before tokens", _not_transposed, "Swap the last two axes"),
            Wrong("a grid, no sequence", _grid, "Flatten the grid"),
            Wrong("a stride of four", _stride_of_four, "Take the patch size from the weight"),
            Wrong("a stride of one", _stride_of_one, "moves on by a whole patch"),
            Wrong("a new convolution", _new_convolution, "random weights"),
            Wrong("a new parameter", _new_parameter, "Use `weight` itself"),
            Wrong("squeezed", _squeezed, "no .squeeze()"),
        ),
        right=(
            Right("rearrange and a product", _by_rearrange),
            Right("unfold", _by_unfold),
            Right("permute and einsum", _by_permute),
            Right("two loops", _by_loops),
        ),
    ),
)
