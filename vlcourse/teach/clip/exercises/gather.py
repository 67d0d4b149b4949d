"""Find the bug: the gather that loses the gradient. Ranks are played one after another here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlcourse import losses
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect_close, expect_shape, fail


def gather_rows(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    """The reference: the received rows, with this rank's own differentiable ones in their place."""
    parts = list(received)
    parts[rank] = local
    return torch.cat(parts)


_RANKS, _ROWS, _WIDTH, _SCALE = 3, 2, 4, 5.0


def _check(candidate: Any) -> None:
    image, text = (torch.randn(_RANKS * _ROWS, _WIDTH, requires_grad=True) for _ in range(2))
    losses.itc(image, text, _SCALE).backward()  # what one process with the whole batch gets
    for rank in range(_RANKS):
        mine = slice(rank * _ROWS, (rank + 1) * _ROWS)
        own = [side.detach()[mine].clone().requires_grad_() for side in (image, text)]
        received = [list(side.detach().clone().split(_ROWS)) for side in (image, text)]
        gathered = [call(candidate, *part, rank) for part in zip(own, received, strict=True)]
        for rows, side in zip(gathered, (image, text), strict=True):
            _check_values(rows, side.detach(), rank)
        _check_gradients(gathered, own, (image, text), mine)


def _check_values(rows: Tensor, right: Tensor, rank: int) -> None:
    expect_shape(rows, right.shape, "the gathered batch", "Each rank's rows, once: torch.cat.")
    first = torch.cat(
        [right[rank * _ROWS : (rank + 1) * _ROWS], right[: rank * _ROWS], right[-_ROWS:]]
    )
    if rank == 1 and torch.allclose(rows.detach(), first):
        fail(
            "your own rows come first on every rank, so row i is another sample on each of them",
            "Keep the order of the ranks: your rows belong at position `rank`.",
        )
    own = right[rank * _ROWS : (rank + 1) * _ROWS]
    for place in (0, _RANKS - 1):
        put = torch.cat([right[: place * _ROWS], own, right[(place + 1) * _ROWS :]])
        if place != rank and torch.allclose(rows.detach(), put):
            fail(
                f"rank {rank} puts its own rows in the place of rank {place}",
                "Each rank has a place of its own: parts[rank], not a number written down.",
            )
    expect_close(
        rows,
        right,
        "the gathered batch",
        "The values of torch.cat(received) were right: only their gradient was missing.",
    )


def _check_gradients(
    gathered: Sequence[Tensor], own: Sequence[Tensor], whole: Sequence[Tensor], mine: slice
) -> None:
    loss = losses.itc(gathered[0], gathered[1], _SCALE)
    if loss.requires_grad:
        loss.backward()
    names = ("image", "text")
    for name, local, side in zip(names, own, whole, strict=True):
        assert side.grad is not None
        if local.grad is None:
            fail(
                f"no gradient reaches this rank's {name} embeddings, so nothing is learned",
                "What all_gather returns are constants, a copy of your own rows among them: "
                "put `local` itself where that copy is.",
            )
            return
        expect_close(
            local.grad,
            side.grad[mine],
            f"the gradient of this rank's {name} embeddings",
            "It should be that of one process with the whole batch: `local` enters once, as it is.",
        )


def _constants(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat(list(received))


def _new_leaf(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat(list(received)).requires_grad_()


def _own_first(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([local, *received[:rank], *received[rank + 1 :]])


def _own_added(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    parts = list(received)
    parts[rank] = parts[rank] + local
    return torch.cat(parts)


def _own_appended(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([*received, local])


def _averaged(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    parts = list(received)
    parts[rank] = (parts[rank] + local) / 2
    return torch.cat(parts)


def _in_place(local: Tensor, received: list[Tensor], rank: int) -> Tensor:
    received[rank] = local
    return torch.cat(received)


def _always_first(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([local, *received[1:]])


def _always_last(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([*received[:-1], local])


def _detached(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([*received[:rank], local.detach(), *received[rank + 1 :]])


def _times_the_ranks(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    extra = (len(received) - 1) * (local - local.detach())  # DDP's mean made good by hand
    return torch.cat([*received[:rank], local + extra, *received[rank + 1 :]])


def _stacked(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.stack([*received[:rank], local, *received[rank + 1 :]])


def _by_slices(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([*received[:rank], local, *received[rank + 1 :]])


def _by_comprehension(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    return torch.cat([local if r == rank else part for r, part in enumerate(received)])


def _by_assignment(local: Tensor, received: Sequence[Tensor], rank: int) -> Tensor:
    rows = torch.cat(list(received))
    rows[rank * len(local) : (rank + 1) * len(local)] = local
    return rows


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="clip.gather_bug",
        title="Find the bug: a gather without gradient",
        minutes=8,
        difficulty=2,
        reference=gather_rows,
        check=_check,
        hints=(
            "The loss is right and yet the model learns nothing: which tensors have a gradient?",
            "One of the received parts is a copy of `local`, without its history.",
            "parts = list(received); parts[rank] = local; return torch.cat(parts)",
        ),
        wrong=(
            Wrong("the bug itself", _constants, "are constants"),
            Wrong("a new leaf", _new_leaf, "put `local` itself"),
            Wrong("own rows first", _own_first, "order of the ranks"),
            Wrong("own rows added", _own_added, "values of torch.cat(received)"),
            Wrong("own rows appended", _own_appended, "once"),
            Wrong("copy and rows averaged", _averaged, "`local` enters once"),
            Wrong("changed in place", _in_place, "list(received)"),
            Wrong("always first", _always_first, "not a number written down"),
            Wrong("always last", _always_last, "not a number written down"),
            Wrong("detached", _detached, "put `local` itself"),
            Wrong("times the number of ranks", _times_the_ranks, "`local` enters once"),
            Wrong("stacked", _stacked, "torch.cat"),
        ),
        right=(
            Right("slices", _by_slices),
            Right("a comprehension", _by_comprehension),
            Right("assigned into the whole", _by_assignment),
        ),
    ),
)
