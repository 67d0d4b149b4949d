"""`Videos`, films of the toy world drawn on demand, as `World` draws its scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from vlcourse.data.world.film import frames, uniform_times
from vlcourse.data.world.script import LONGEST
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.words import check_seed, hash_int
from vlcourse.layers.ranges import RangeError

_SEED = 52  # of a film; `World` has 51
KEPT = 20_000  # films; a film is some KiB, and finding everybody's way takes longer than drawing it


class Videos(Dataset[dict[str, Any]]):
    """A map-style data set of films of the toy world, drawn when they are read.

    A sample is {"id": "videos/train/123", "frames": uint8 (T, 3, size, size), "times": T seconds,
    "caption": str, "timeline": Timeline}. Sample i depends on the arguments and on i only.

    Args:
        split: "train", "val", "test" or "heldout".
        n: number of films.
        size: frames' side in pixels, 32 to 448.
        n_frames: T, the frames of a film, from the middles of T equal parts of it.
        seconds: least and greatest duration, within 2 to 10.
        seed: another seed gives other films of the same split.

    Raises:
        ValueError: an argument is out of range or unknown.
    """

    def __init__(
        self,
        split: str = "train",
        n: int = 20_000,
        size: int = 32,
        n_frames: int = 8,
        seconds: tuple[int, int] = (6, LONGEST),
        seed: int = 0,
    ) -> None:
        if n < 1:
            raise RangeError(f"n, the number of films, must be at least 1; got {n}.")
        self.split, self.n, self.size, self.n_frames = split, int(n), size, n_frames
        self.seconds, self.seed = seconds, check_seed(seed)
        self.name = f"videos/{split}" + (f"-{seed}" if seed else "")
        self._films = dict[int, Timeline]()
        self[0]  # a bad argument fails here and not in a worker

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index`. Raises IndexError outside the data set."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once."""
        return [self._drawn(index) for index in indices]

    def timeline(self, index: int) -> Timeline:
        """The film of sample `index`, not drawn. Raises IndexError outside the data set.

        The first `KEPT` films that are asked for are kept for the next time.
        """
        if not -self.n <= index < self.n:
            raise IndexError(f"{self.name} has {self.n} films; there is no sample {index}.")
        number = index % self.n
        film = self._films.get(number)
        if film is None:
            seed = hash_int(self.seed, _SEED, number)
            film = Timeline.sample(seed, self.split, self.seconds)
            if len(self._films) < KEPT:
                self._films[number] = film
        return film

    def _drawn(self, index: int) -> dict[str, Any]:
        film = self.timeline(index)
        times = uniform_times(film.duration, self.n_frames)
        return {
            "id": f"{self.name}/{index % self.n}",
            "frames": frames(film, times, self.size),
            "times": tuple(times),
            "caption": film.captions()[0],
            "timeline": film,
        }
