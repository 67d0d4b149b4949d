"""Pictures of the toy world, each with a text that a language model would write after a telling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from vlcourse.data.corpus.pictured import said_again, what_follows
from vlcourse.data.world import World
from vlcourse.data.world.dice import Dice

_TELL = {"again": said_again, "facts": what_follows}


class WorldTexts(Dataset[dict[str, Any]]):
    """A picture of a `World` with a text about it: said again, or facts that follow.

    A sample is {"id", "image": uint8 (3, size, size), "kind": "again" or "facts", "parts": pieces
    of text, each with whether it is to be learned, "scene": Scene}. Sample i depends on the
    arguments and on i only. There may be more samples than pictures: each round through them brings
    other texts.

    Args:
        world: the pictures.
        n: number of samples; 0 for as many as pictures.
        again: of a hundred texts, how many say the picture again; the others are facts.
    """

    def __init__(self, world: World, n: int = 0, again: int = 50) -> None:
        self.world, self.n, self.again = world, n or len(world), again

    def __len__(self) -> int:
        return self.n

    @property
    def pictures(self) -> World:
        """The pictures, each once."""
        return self.world

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample ``index``."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once."""
        pictures = self.world.__getitems__([i % len(self.world) for i in indices])
        found = []
        for i, sample in zip(indices, pictures, strict=True):
            scene, turn = sample["scene"], i // len(self.world)
            dice = Dice(scene.seed, "text of a picture", turn)
            kind = "again" if dice.below(100) < self.again else "facts"
            found.append({**sample, "kind": kind, "parts": _TELL[kind](scene, turn)})
        return found
