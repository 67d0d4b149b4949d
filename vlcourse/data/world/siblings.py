"""`Siblings`: scenes in twos that show the same things, arranged or coloured the other way round.

Who stands where is decided by two words of a caption, and a batch of 64 random scenes hardly ever
has two that differ in nothing else: a model that must tell its texts apart can do so by their nouns
alone. In a batch of the paper's 2,880 such neighbours come by themselves; here they are made. They
are the hard negatives of NegCLIP (Yuksekgonul et al., ICLR 2023, section 4), with a picture each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from vlcourse.data.order import Order, Ordered
from vlcourse.data.world.arrays import signature
from vlcourse.data.world.captions import Caption, full_caption
from vlcourse.data.world.dataset import World
from vlcourse.data.world.scene import Scene, arrays_from, render_batch, scenes_from
from vlcourse.data.world.words import allowed_pairs, hash_int, in_split

TRIES = 8
"""Wordings that are tried for a caption that is false of the sibling."""


class Siblings(World, Ordered):
    """A `World` in which samples 2k and 2k + 1 are siblings, where scene 2k has two objects.

    Two of three such scenes are turned about their middle, so that all that stood left stands
    right and all that stood above stands below; in the third the objects exchange colours. Each of
    the two captions is false of the other scene. Where there is no sibling within the split, or
    another number of objects, 2k + 1 is a scene of its own. Batches of an even size, read in
    order, never part them.
    """

    order = Order(shuffled=False)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once."""
        wanted = self._checked(indices)
        firsts = sorted({index - index % 2 for index in wanted})
        one = scenes_from(self.arrays(firsts), self.split)
        two = scenes_from(self.arrays([first + 1 for first in firsts]), self.split)
        shown: dict[int, tuple[Scene, Caption]] = {}
        for first, scene, other in zip(firsts, one, two, strict=True):
            pair = scene, sibling(scene) or other
            for i in range(2):
                shown[first + i] = pair[i], caption_apart(pair[i], pair[1 - i])
        images = torch.from_numpy(render_batch([shown[index][0] for index in wanted], self.size))
        return [
            {
                "id": f"{self._name}/{index}",
                "image": image,
                "caption": caption,
                "scene": scene,
                "facts": caption.facts,
            }
            for index, image, (scene, caption) in zip(
                wanted, images, (shown[index] for index in wanted), strict=True
            )
        ]


def sibling(scene: Scene) -> Scene | None:
    """A scene of the same split with the same two things the other way round, if there is one."""
    if len(scene.objects) != 2:
        return None
    return (hash_int(scene.seed, 61) % 3 == 0 and recoloured(scene)) or turned(scene)


def turned(scene: Scene) -> Scene | None:
    """Each object at the place opposite its own; None where that is another split's scene."""
    moved = (replace(o, x=1 - o.x, y=1 - o.y) for o in scene.objects)
    return _of_split(replace(scene, objects=tuple(moved)))


def recoloured(scene: Scene) -> Scene | None:
    """Both objects in the other's colour; None where nothing changes, or the split does."""
    a, b = scene.objects
    made = replace(a, colour=b.colour), replace(b, colour=a.colour)
    named = {(o.colour, o.shape) for o in made}
    if a.colour == b.colour or a.shape == b.shape or not named <= {*allowed_pairs(scene.split)}:
        return None
    return _of_split(replace(scene, objects=made))


def _of_split(scene: Scene) -> Scene | None:
    a = arrays_from([scene])
    return scene if in_split(signature(a.count, a.pair, a.size, a.x, a.y), scene.split)[0] else None


def caption_apart(scene: Scene, other: Scene) -> Caption:
    """A caption of a scene that is false of the other; of the same things, one with a relation."""
    for key in range(TRIES):
        if not other.is_true(caption := scene.caption(key)):
            return caption
    if len(scene.objects) == 2:
        return full_caption(scene.objects, scene.seed)
    return scene.caption()
