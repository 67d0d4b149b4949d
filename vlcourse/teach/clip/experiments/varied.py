"""One-object scenes with the variety that one generator lacks, for `clip.robust`.

What varies, and how it stands to the test's shifts:

- sizes: any radius between the smallest and the largest of the plain training (it has two narrow
  bands). The shift's sizes lie outside of that range, on both sides.
- backgrounds: colour clouds from coarse to fine, of any tint and brightness that a dark ground can
  have. The shift's tints lie inside this range; its patterns, stripes and checks, never occur.
- noise: from none to half the strength that the shift has, on each picture another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from vlcourse.data.world.arrays import NOISE_LEVEL, RADII, UNIT, SceneArrays
from vlcourse.data.world.render import draw_objects
from vlcourse.data.world.words import Array, hash64, scale
from vlcourse.teach.clip.experiments.arms import OneObject, Sample

SMALL, LARGE = (RADII[0][0], 150), (162, RADII[1][1])  # no gap to speak of, "small" stays small
CLOUDS = (2, 3, 5, 9)  # nodes of a ground along one side
_GROUND, _SIZE, _NOISE = 201, 202, 203  # purposes of the hash


class VariedObject(OneObject):
    """`OneObject` with the same objects, places and captions, in varied pictures."""

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Samples with "label", their pictures drawn anew."""
        samples = super().__getitems__(indices)
        images = draw(self.world.arrays(indices), self.world.size)
        for sample, image in zip(samples, images, strict=True):
            sample["image"] = image
        return samples


def draw(scenes: SceneArrays, size: int) -> torch.Tensor:
    """One-object scenes in other sizes, on other grounds: uint8 (B, 3, size, size)."""
    scenes = resized(scenes)
    image = grounds(scenes.seed, size)
    draw_objects(image, scenes, size)
    place = np.arange(3 * size * size).reshape(3, size, size)
    bits = hash64(scenes.seed[:, None, None, None], _NOISE, place)
    level = scale(hash64(scenes.seed, _NOISE), NOISE_LEVEL // 2 + 1)[:, None, None, None]
    image += (scale(bits, 2001) / 1000 - 1) * level
    return torch.from_numpy(np.clip(image + 0.5, 0, 255).astype(np.uint8))


def resized(scenes: SceneArrays) -> SceneArrays:
    """The same scenes with a radius from the whole range, moved off the edge where they touch."""
    low, high = np.array([SMALL, LARGE])[scenes.size].transpose(2, 0, 1)  # (B, 4) each
    radius = low + scale(hash64(scenes.seed[:, None], _SIZE, np.arange(4)), high - low + 1)
    radius = radius * (scenes.radius > 0)  # slots without an object stay empty
    edge = radius + 16
    x, y = (np.clip(v, edge, UNIT - edge) for v in (scenes.x, scenes.y))
    return replace(scenes, radius=radius, x=x, y=y)


def grounds(seed: Array, size: int) -> Array:
    """Clouds of colour, one a scene: float32 (B, 3, size, size), 0 to 110."""
    out = np.empty((len(seed), 3, size, size), np.float32)
    kind = scale(hash64(seed, _GROUND), len(CLOUDS))
    tint = 10 + scale(hash64(seed[:, None], _GROUND, 1, np.arange(3)), 71)  # (B, 3): 10 to 80
    contrast = scale(hash64(seed, _GROUND, 2), 31)  # (B,): 0 to 30
    for index, nodes in enumerate(CLOUDS):
        (mine,) = np.nonzero(kind == index)
        if len(mine):
            place = np.arange(3 * nodes * nodes).reshape(3, nodes, nodes)
            values = scale(hash64(seed[mine, None, None, None], _GROUND, 3, place), 2001) / 1000 - 1
            table = torch.from_numpy(values.astype(np.float32))  # (M, 3, nodes, nodes)
            cloud = F.interpolate(table, size=(size, size), mode="bilinear", align_corners=True)
            out[mine] = cloud.numpy() * contrast[mine, None, None, None]
    return np.clip(out + tint[:, :, None, None].astype(np.float32), 0, 110)
