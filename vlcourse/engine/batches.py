"""Which samples make the batch of step i: a pure function of the seed, so that resume is exact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sized
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from vlcourse import VlcourseError, paths
from vlcourse.data.order import Epochs, Order, Ordered, ReadsMany
from vlcourse.engine.config import TrainConfig
from vlcourse.engine.parallel import Ranks

Collate = Callable[..., dict[str, Any]]
MOST = 2**29  # samples that are shuffled: their permutation takes 4 GB


class BatchError(VlcourseError, ValueError):
    """A batch size that does not fit the dataset or the number of ranks."""


def derive_seed(*parts: int | str) -> int:
    """One 63-bit seed from several numbers; neighbouring parts give unrelated seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Batches(Dataset):
    """Item i is this rank's part of the collated batch of global step i, for any i ≥ 0.

    Each epoch is a new permutation of the dataset, and its remainder (fewer than ``batch_size``
    samples) is left out. Rank r of W gets a contiguous slice of the batch that one process would
    get. Because the position in the data is the step, nothing about the data needs saving, and any
    number of loader workers gives the same batches. Augmentation has its own generator for each
    (seed, step, slice): without augmentation W ranks see exactly what one process sees.

    A dataset that is :class:`Ordered` says more: that it is a curriculum, or that samples of
    similar size are to come together.

    Args:
        dataset: map-style; :class:`ReadsMany` is used where it can.
        collate: ``collate(samples, generator=…)`` → batch.
        batch_size: samples of one batch over all ranks.
        seed: of the permutations and of the augmentation.
        rank, world: which slice of each batch, of how many.

    Raises:
        BatchError: when a batch does not divide by ``world`` or the dataset is smaller than one.
    """

    def __init__(
        self,
        dataset: Any,
        collate: Collate,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.dataset, self.collate, self.seed = dataset, collate, seed
        self.batch_size, self.local = batch_size, split_evenly(batch_size, world)
        self.offset = rank * self.local
        if len(dataset) < batch_size:
            raise BatchError(
                f"a batch of {batch_size} needs at least as many samples, the dataset has "
                f"{len(dataset)}: use a smaller batch_size or more data"
            )
        self.order = dataset.order if isinstance(dataset, Ordered) else Order()
        if self.order.shuffled and len(dataset) > MOST:
            raise BatchError(
                f"{len(dataset):,} samples are too many to shuffle (at most {MOST:,}): make fewer "
                "steps, smaller batches or a dataset of fewer samples (n_train)"
            )
        self._epoch: tuple[int, torch.Tensor] = (-1, torch.empty(0))
        self._window: tuple[tuple[int, int], list[Any]] = ((-1, -1), [])

    def __len__(self) -> int:
        """Batches in one epoch."""
        return len(self.dataset) // self.batch_size

    def rows(self, i: int) -> list[int]:
        """Which rows of the dataset all ranks together read at step i, but for a window."""
        epoch, within = divmod(i, len(self))
        own = slice(within * self.batch_size, (within + 1) * self.batch_size)
        if not self.order.shuffled:
            return list(range(len(self.dataset))[own])
        if self._epoch[0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "epoch", epoch))
            self._epoch = (epoch, torch.randperm(len(self.dataset), generator=generator))
        return self._epoch[1][own].tolist()

    def __getitem__(self, i: int) -> dict[str, Any]:
        own = slice(self.offset, self.offset + self.local)
        alike = self.order.window > 1
        samples = self._alike(i)[own] if alike else self._read(self.rows(i)[own])
        return self.collate(samples, generator=augmentation(self.seed, i, self.offset))

    def _read(self, rows: list[int]) -> list[Any]:
        if isinstance(self.dataset, ReadsMany):
            return self.dataset.__getitems__(rows)
        return [self.dataset[row] for row in rows]

    def _alike(self, i: int) -> list[Any]:
        """The samples of step i for all ranks, of similar size."""
        epoch, within = divmod(i, len(self))
        first = within - within % self.order.window
        steps = range(first, min(first + self.order.window, len(self)))  # of one epoch
        if self._window[0] != (epoch, first):
            rows = [row for step in steps for row in self.rows(epoch * len(self) + step)]
            self._window = ((epoch, first), sorted(self._read(rows), key=self.order.size))
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "window", epoch, first))
        turn = int(torch.randperm(len(steps), generator=generator)[within - first])
        return self._window[1][turn * self.batch_size : (turn + 1) * self.batch_size]


class StreamBatches(IterableDataset):
    """The same for a stream: batches ``start``, ``start + 1``, … in the stream's own order.

    To resume, the first ``start`` batches are read and dropped. Every rank reads the whole stream
    and keeps its slice. When the stream ends it begins again, in another order if it has
    :class:`Epochs`; a remainder is carried over into the next epoch.
    """

    def __init__(
        self,
        source: Any,
        collate: Collate,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> None:
        self.source, self.collate, self.seed, self.start = source, collate, seed, start
        self.batch_size, self.local = batch_size, split_evenly(batch_size, world)
        self.offset = rank * self.local

    def _samples(self) -> Iterator[dict[str, Any]]:
        """Samples for ever, from batch ``start`` on."""
        skip, epoch = self.start * self.batch_size, 0
        while True:
            read = 0
            if isinstance(self.source, Epochs):
                self.source.set_epoch(epoch)
            for sample in self.source:
                read += 1
                if skip:
                    skip -= 1
                else:
                    yield sample
            if not read:
                raise BatchError("the stream has no samples")
            epoch += 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        samples, step = self._samples(), self.start
        while True:
            batch = [next(samples) for _ in range(self.batch_size)]
            own = batch[self.offset : self.offset + self.local]
            yield self.collate(own, generator=augmentation(self.seed, step, self.offset))
            step += 1


def split_evenly(batch_size: int, world: int) -> int:
    """Samples per rank."""
    if batch_size % world:
        raise BatchError(
            f"a batch of {batch_size} does not divide over {world} ranks: "
            f"use a batch_size that is a multiple of {world}"
        )
    return batch_size // world


def augmentation(seed: int, step: int, offset: int) -> torch.Generator:
    """The generator of one slice of one batch."""
    return torch.Generator().manual_seed(derive_seed(seed, "augment", step, offset))


def loader(
    dataset: Any,
    collate: Collate,
    config: TrainConfig,
    ranks: Ranks,
    steps: range,
    workers: int = 0,
) -> Iterator[dict[str, Any]]:
    """This rank's batches of the positions ``steps``, read ahead by ``workers`` processes.

    A stream has one reader at most, which keeps its order.
    """
    source: Dataset
    arguments = (dataset, collate, config.batch_size, config.seed, ranks.rank, ranks.world)
    if isinstance(dataset, Sized):
        source, sampler, readers = Batches(*arguments), steps, workers
    else:
        source, sampler, readers = StreamBatches(*arguments, steps.start), None, workers > 0
    if readers:
        paths.shorten_temporary()  # workers hand their batches over through sockets
    return iter(
        DataLoader(
            source,
            batch_size=None,
            sampler=sampler,
            num_workers=int(readers),
            collate_fn=_unchanged,
            pin_memory=ranks.device.type == "cuda",
            worker_init_fn=_ignore_interrupt,
        )
    )


def _unchanged(batch: Any) -> Any:
    return batch


def _ignore_interrupt(worker: int) -> None:
    """Ctrl-C is for the main process, which stops its workers after it has saved."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
