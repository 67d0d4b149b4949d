"""A stream of samples: one pass over the shards of a source, shared among DataLoader workers."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from vlcourse.data.sources.columns import Columns
from vlcourse.data.sources.decode import BadSampleError
from vlcourse.data.sources.rows import Rows, each_row
from vlcourse.data.sources.skipped import Skipped


class StreamSource(IterableDataset[dict[str, Any]]):
    """A streamed source. The order depends on seed and epoch only.

    The workers of a DataLoader share the shards (or, when there are fewer shards than workers, the
    rows), so that each sample comes once. Each worker reports its own part.
    """

    def __init__(
        self,
        rows: Rows,
        columns: Columns,
        limit: int | None,
        max_bad: float,
        shuffle: int,
        seed: int,
    ) -> None:
        self.classes = columns.classes
        self._rows = rows
        self._columns = columns
        self._limit = limit
        self._skipped = Skipped(columns.name, max_bad)
        self._shuffle = shuffle
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another order of the shuffle buffer, from (seed, epoch)."""
        self._epoch = epoch

    def report(self) -> str:
        """How many samples this process skipped in the latest pass, why, and the first three."""
        return self._skipped.report()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._skipped.clear()
        order = random.Random(f"{self._seed}/{self._epoch}")
        buffer: list[tuple[Any, int, int | None]] = []
        for item in self._mine(order):
            buffer.append(item)
            if len(buffer) > self._shuffle:
                place = order.randrange(len(buffer))
                buffer[place], buffer[-1] = buffer[-1], buffer[place]
                yield from self._sample(*buffer.pop())
        order.shuffle(buffer)
        for item in buffer:
            yield from self._sample(*item)
        self._skipped.judge()
        if self._skipped:
            warnings.warn(self.report(), stacklevel=2)

    def _mine(self, order: random.Random) -> Iterator[tuple[dict[str, Any], int, int | None]]:
        """This worker's raw rows, each with its row number and shard."""
        worker = get_worker_info()
        part, parts = (worker.id, worker.num_workers) if worker else (0, 1)
        data, starts = self._rows.data, self._rows.starts
        # A limit is on rows of the whole stream, so that its shards cannot be read side by side.
        count = data.num_shards if self._limit is None else 1
        shards = list(range(count))
        if self._shuffle:
            order.shuffle(shards)
        if count >= parts:
            shards, part, parts = shards[part::parts], 0, 1
        for shard in shards:
            one = data.shard(count, shard) if count > 1 else data
            aligned = starts is not None and (count == len(starts) or shard == 0)
            first = starts[shard] if starts is not None and aligned else 0
            rows = islice(each_row(one, self._columns.name), self._limit)
            for number, row in enumerate(rows):
                if number % parts == part:
                    yield row, first + number, None if aligned or count == 1 else shard

    def _sample(
        self, row: dict[str, Any], number: int, shard: int | None
    ) -> Iterator[dict[str, Any]]:
        self._skipped.tried()
        try:
            sample = self._columns.sample(row, number, shard)
        except BadSampleError as bad:
            self._skipped.add(self._columns.key(row, number, shard), bad)
            return
        yield sample
