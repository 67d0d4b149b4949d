"""Texts for an encoder–decoder: cut in two, and moved by one position for the decoder."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def shift_right(targets: Tensor, start: int, pad: int = 0) -> Tensor:
    """(B, L) targets → (B, L) what the decoder has written before each, ``start`` first.

    Where a target is -100, ``pad`` comes after it.
    """
    written = targets.masked_fill(targets == -100, pad)
    return F.pad(written[:, :-1], (1, 0), value=start)


def cut_points(lengths: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """(B,) lengths of texts → (B,) lengths of their prefixes, uniform from 1 to the middle.

    As BLIP-2's authors cut captions for Flan-T5. Texts need two tokens or more.
    """
    share = torch.rand(lengths.shape, generator=generator).to(lengths.device)
    return 1 + (share * (lengths // 2)).long()


def prefix_lm(tokens: Tensor, lengths: Tensor, cuts: Tensor, start: int = 0) -> dict[str, Tensor]:
    """Texts cut in two: the encoder reads the prefix, the decoder continues it.

    Prefix language modelling, Raffel et al. 2020, section 3.2.3.

    Args:
        tokens: (B, N) ids, padded on the right.
        lengths: (B,) tokens of each text.
        cuts: (B,) tokens of each prefix, at least 1 and less than the text's.
        start: the decoder's start id, also used as padding.

    Returns:
        A batch for :class:`Seq2Seq`: ``inputs`` and ``inputs_mask`` (B, longest prefix), ``tokens``
        and ``targets`` (B, longest continuation).

    Raises:
        ValueError: when a cut leaves nothing on one side.
    """
    if not ((cuts >= 1) & (cuts < lengths) & (lengths <= tokens.shape[1])).all():
        raise ValueError(
            f"each text needs a prefix and a continuation: cuts {cuts.tolist()} do not lie inside "
            f"lengths {lengths.tolist()}"
        )
    rest = lengths - cuts
    prefix = torch.arange(int(cuts.max()), device=tokens.device) < cuts[:, None]
    place = torch.arange(int(rest.max()), device=tokens.device)
    after = (cuts[:, None] + place).clamp(max=tokens.shape[1] - 1)
    targets = tokens.gather(1, after).masked_fill(place >= rest[:, None], -100)
    return {
        "inputs": tokens[:, : prefix.shape[1]].masked_fill(~prefix, start),
        "inputs_mask": prefix,
        "tokens": shift_right(targets, start, start),
        "targets": targets,
    }
