"""Things in a frame of the toy world: where each one is, and a CLIP's name for it.

The ground is dark and each thing has one colour: pixels of one colour that hang together are one
thing. For its name everything else is painted over, so that CLIP sees a picture of that thing alone
at its true size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from vlcourse.data.world.facts import Thing
from vlcourse.data.world.render import RGB
from vlcourse.data.world.words import CLASSES, COLOURS, SIZES
from vlcourse.evals.clip import embed_images, embed_texts
from vlcourse.models.clip import CLIP

FAR = 60  # of 255: what differs so much from the ground in some channel is no ground
SMALLEST = 1 / 600  # of the picture: smaller spots are noise
PALETTE = np.array([RGB[colour] for colour in COLOURS])
NAMES = tuple(Thing(colour, shape, size) for size in SIZES for colour, shape in CLASSES)
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Seen:
    """A thing in a frame."""

    box: Box
    """Left, top, right, bottom, in pixels."""
    place: tuple[float, float]
    """Of its middle: x and y, as parts of the picture's width and height."""
    scores: Tensor
    """(96,) how well each of :data:`NAMES` fits: a CLIP's similarities over its temperature."""

    @property
    def name(self) -> Thing:
        """The best of the names."""
        return NAMES[int(self.scores.argmax())]


def parts(frame: Tensor) -> list[tuple[Box, Tensor]]:
    """uint8 (3, H, W) → the box of each thing, and the frame without all others; as they stand from
    left to right."""
    pixels = frame.permute(1, 2, 0).numpy().astype(np.int16)  # (H, W, 3)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(edge, axis=0).astype(np.int16)
    there = np.abs(pixels - ground).max(axis=2) > FAR  # (H, W)
    nearest = np.full(there.shape, -1)
    distance = ((pixels[there][:, None] - PALETTE[None]) ** 2).sum(axis=2)  # (N, 8)
    nearest[there] = distance.argmin(axis=1)
    found: list[tuple[Box, Tensor]] = []
    least = max(there.size * SMALLEST, 4)
    for colour in np.unique(nearest[there]):
        inside = ndimage.binary_opening(nearest == colour)  # without the blurred edges of others
        marked, number = ndimage.label(inside)
        sizes = np.bincount(marked.ravel(), minlength=number + 1)
        for which, place in enumerate(ndimage.find_objects(marked), 1):
            if sizes[which] < least:
                continue
            rows, columns = place
            box = (columns.start, rows.start, columns.stop, rows.stop)
            own = ndimage.binary_dilation(marked == which, iterations=max(len(frame[0]) // 64, 1))
            alone = np.where(own[:, :, None], pixels, ground).astype(np.uint8)
            found.append((box, torch.from_numpy(alone).permute(2, 0, 1)))
    return sorted(found, key=lambda part: part[0])


class Namer:
    """A CLIP that names things of the toy world.

    Args:
        model: trained on the toy world.
        tokenizer: its own.
    """

    def __init__(self, model: CLIP, tokenizer: Any) -> None:
        self.model = model
        self.texts = embed_texts(model, tokenizer, [str(name) for name in NAMES])  # (96, D)

    @torch.no_grad()
    def seen(self, frames: Tensor) -> list[list[Seen]]:
        """(T, 3, H, W) uint8 → the things of each frame."""
        height, width = frames.shape[-2:]
        boxes = [parts(frame) for frame in frames]
        alone = [picture for found in boxes for _, picture in found]
        if not alone:
            return [[] for _ in boxes]
        scale = float(self.model.scale())
        scores = iter(scale * embed_images(self.model, torch.stack(alone)) @ self.texts.T)
        return [
            [
                Seen(box, ((box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height), score)
                for (box, _), score in zip(found, scores, strict=False)
            ]
            for found in boxes
        ]
