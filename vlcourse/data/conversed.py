"""Chats about videos and pictures in files of the form that VideoChat's release has."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlcourse.data.collate.dialogue import DialogueCollate
from vlcourse.data.corpus.dialogues import asked_to_describe
from vlcourse.data.instructed import HELD_OUT
from vlcourse.data.order import Order, Ordered
from vlcourse.data.sources.decode import BadSampleError, SourceError, decode
from vlcourse.data.sources.instruct import Record, Turn, read_instructions
from vlcourse.data.sources.skipped import Skipped
from vlcourse.data.sources.video import Sampling, read_video

MOST_BAD = 0.05  # of the records read so far: more of them is an error
CUT_OFF, BROKEN = "answer cut off", "video that cannot be read"


class Conversed(Ordered):
    """Records as a map-style dataset of {"id", "turns", "text"} with "frames" and "seconds", or
    "image".

    A record of which nothing could be learned, because the context cuts its first answer off, is
    dropped at once, with a warning. A video or picture that cannot be read is found on the way;
    item i is then the next good one. They are counted (:meth:`report`), and more than one in twenty
    is an error: a broken set is never trained on in silence.

    Args:
        sources: files of records, in the order in which they are numbered.
        folders: where the paths of each file's videos and pictures begin; none: beside the file.
        collate: that of the batches: it tells what is cut off.
        frames: of a video, at the middles of equal parts; fewer where it has fewer.
        split: "train", or "test": one record in a hundred of each file, the first one too.
        side: the longer side of a frame that is read, in pixels.
        limit: at most so many records; 0: all.

    Raises:
        SourceError: for a file that cannot be read, or a record that is none, with its index and
            key; a record with neither video nor picture; folders for other files; or when nothing
            is left.
    """

    def __init__(
        self,
        sources: Sequence[str | Path],
        collate: DialogueCollate,
        folders: Sequence[str | Path] = (),
        frames: int = 8,
        split: str = "train",
        side: int = 448,
        limit: int = 0,
    ) -> None:
        self.order = Order(window=8)
        if folders and len(folders) != len(sources):
            raise SourceError(
                f"there are {len(sources)} files of chats and {len(folders)} folders for their "
                "videos: name one for each, or none"
            )
        self.sampling = Sampling(frames=frames, side=side)
        self.records: list[tuple[Record, Path]] = []
        name = ", ".join(str(source) for source in sources)
        self.dropped, self.skipped = Skipped(name, 1.0), Skipped(name, MOST_BAD)
        self._bad: set[str] = set()
        for number, source in enumerate(sources):
            folder = Path(folders[number] if folders else Path(source).parent)
            for i, record in enumerate(read_instructions(source, captions=True)):
                if (i % HELD_OUT == 0) == (split != "train"):
                    self._take(record, folder, collate)
        if not self.records:
            raise SourceError(f"nothing is left for '{split}'. {self.dropped.report()}")
        if len(self.dropped):
            warnings.warn(self.dropped.report(), stacklevel=2)
        self.records = self.records[: limit or None]

    def _take(self, record: Record, folder: Path, collate: DialogueCollate) -> None:
        if not record.image:
            raise SourceError(f"{record.name} has neither 'video' nor 'image': leave it out")
        self.dropped.tried()
        times = {"seconds": (0.0,) * self.sampling.frames} if record.film else {}
        if collate.learns({"turns": _turns(record), **times}):
            self.records.append((record, folder))
        else:
            self.dropped.add(record.name, BadSampleError(CUT_OFF))

    def report(self) -> str:
        """How many videos and pictures could not be read, why, and the first three."""
        return self.skipped.report()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample ``index``, or the next that can be read. IndexError outside the dataset."""
        if not 0 <= index < len(self.records):
            raise IndexError(f"there are {len(self.records)} chats: {index}")
        for step in range(len(self.records)):
            record, folder = self.records[(index + step) % len(self.records)]
            if record.name in self._bad:
                continue
            try:
                return self._sample(record, folder)
            except BadSampleError as bad:
                self._bad.add(record.name)
                self.skipped.tried()
                self.skipped.add(record.name, bad)
                if len(self._bad) > max(1, MOST_BAD * len(self.records)):
                    share = f"More than {MOST_BAD:.0%} of {len(self.records):,} is too many."
                    raise SourceError(f"{self.report()} {share}") from bad
        raise SourceError(f"no video or picture could be read. {self.report()}")

    def _sample(self, record: Record, folder: Path) -> dict[str, Any]:
        turns = _turns(record)
        found = {
            "id": record.name,
            "turns": turns,
            "text": " ".join(text for turn in turns for text in turn),
        }
        if not record.film:
            return {**found, "image": decode(record.image, folder)}
        sampling = self.sampling
        if record.start:
            sampling = Sampling(frames=sampling.frames, start=record.start, side=sampling.side)
        try:
            media = read_video(folder / record.image, sampling)
        except SourceError as error:
            raise BadSampleError(BROKEN, str(error)) from error
        return {**found, "frames": media.frames, "seconds": media.times}


def _turns(record: Record) -> tuple[tuple[str, str], ...]:
    """Questions with answers; before a caption a request to describe."""

    def question(turn: Turn) -> str:
        asked = " ".join(filter(None, (turn.instruction, turn.input)))
        return asked or asked_to_describe(zlib.crc32(record.name.encode()), record.film)

    return tuple((question(turn), turn.answer) for turn in record.turns)
