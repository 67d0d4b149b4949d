"""In which order a dataset's samples are trained on: the dataset says it, the engine does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch.utils.data import Dataset


def text_length(sample: dict[str, Any]) -> int:
    """Characters of a sample's text."""
    return len(sample["text"])


@dataclass(frozen=True)
class Order:
    """How the samples of a map-style dataset become batches."""

    shuffled: bool = True
    """Each epoch is a new permutation; else the samples come as they are (a curriculum)."""
    window: int = 1
    """The samples of so many batches are shared out among these batches by their size, in random
    order, so that less is padded."""
    size: Callable[[Any], Any] = text_length
    """The size of a sample; what can be sorted."""


class Ordered(Dataset[dict[str, Any]]):
    """A map-style dataset with an order of its own. Any other is shuffled, without a window."""

    order: Order = Order()


@runtime_checkable
class ReadsMany(Protocol):
    """PyTorch's batched protocol: many samples at once, which is faster than one by one."""

    def __getitems__(self, rows: Sequence[int], /) -> list[Any]:
        """The samples of these rows."""
        ...


@runtime_checkable
class Epochs(Protocol):
    """A stream that has another order in each epoch. Any other begins again as it was."""

    def set_epoch(self, epoch: int, /) -> None:
        """Take the order of this epoch, from 0, for the next pass."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The samples of one pass."""
        ...


@runtime_checkable
class OfPictures(Protocol):
    """A map-style dataset that shows the pictures of another, some of them several times."""

    @property
    def pictures(self) -> Any:
        """The dataset of the pictures, each once."""
        ...
