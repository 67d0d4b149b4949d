"""What was said before, as much of it as fits: the newest turns, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlcourse.chat.protocol import Turn


def newest(history: Sequence[Turn], budget: int, count: Callable[[Turn], int]) -> list[Turn]:
    """The newest turns that cost no more than the budget in all; oldest first.

    Args:
        history: all turns, oldest first.
        budget: of tokens.
        count: how many a turn costs.
    """
    kept: list[Turn] = []
    for turn in reversed(history):
        budget -= count(turn)
        if budget < 0:
            break
        kept.append(turn)
    return kept[::-1]


def thinned(lines: Sequence[str], budget: int, count: Callable[[str], int]) -> list[str]:
    """Lines of a video's text that cost no more than the budget, spread over all of its time.

    Every second line is left out, as often as it is needed; the first stays. In the end there is
    none, if even that is too long.

    Args:
        lines: in the order of time.
        budget: of tokens.
        count: how many a text costs.
    """
    kept = list(lines)
    while kept and sum(map(count, kept)) > budget:
        kept = kept[::2] if len(kept) > 1 else []
    return kept
