"""Pictures of the toy world, each with a text that a language model would write after a telling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from vlcourse.data.corpus.pictured import said_again, told, what_follows
from vlcourse.data.world import World
from vlcourse.data.world.dice import Dice
from vlcourse.layers.ranges import RangeError

TEXTS = {"again": said_again, "told": told, "facts": what_follows}


def check_mixture(mixture: Sequence[int]) -> Sequence[int]:
    """RangeError unless these are shares in a hundred for each kind of `TEXTS`."""
    if len(mixture) != len(TEXTS) or sum(mixture) != 100 or min(mixture) < 0:
        raise RangeError(
            f"mixture needs a share in a hundred for each of {', '.join(TEXTS)}; got "
            f"{tuple(mixture)}"
        )
    return mixture


class WorldTexts(Dataset[dict[str, Any]]):
    """A picture of a `World` with a text about it: said again, told, or facts that follow.

    A sample is {"id", "image": uint8 (3, size, size), "kind": one of `TEXTS`, "parts": pieces
    of text, each with whether it is to be learned, "scene": Scene}. Sample i depends on the
    arguments and on i only. There may be more samples than pictures: each round through them brings
    other texts.

    Args:
        world: the pictures.
        n: number of samples; 0 for as many as pictures.
        mixture: how many in a hundred are of each kind of `TEXTS`.
    """

    def __init__(self, world: World, n: int = 0, mixture: Sequence[int] = (20, 0, 80)) -> None:
        self.world, self.n = world, n or len(world)
        self.kinds = [
            kind
            for kind, share in zip(TEXTS, check_mixture(mixture), strict=True)
            for _ in range(share)
        ]

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
            kind = self.kinds[dice.below(100)]
            found.append({**sample, "kind": kind, "parts": TEXTS[kind](scene, turn)})
        return found
