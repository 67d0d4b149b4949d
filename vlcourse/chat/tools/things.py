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

from vlcourse.data.collate.pictures import resize
from vlcourse.data.world.facts import Thing
from vlcourse.data.world.render import RGB
from vlcourse.data.world.words import CLASSES, COLOURS, SIZES
from vlcourse.evals.clip import embed_images, embed_texts
from vlcourse.models.clip import CLIP

FAR = 60  # of 255: what differs so much from the ground in some channel is no ground
MOST = 12  # things in a frame; photos have hundreds of spots
AT_ONCE = 16  # frames
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


def parts(frame: Tensor, size: int) -> list[tuple[Box, Tensor]]:
    """The things of a frame, and a picture of each alone.

    Args:
        frame: uint8 (3, H, W).
        size: side of the pictures, in pixels.

    Returns:
        Boxes, and uint8 (3, size, size) pictures: all of the frame in a square, with nothing but
        the ground beside that thing. At most the :data:`MOST` largest, from left to right.
    """
    pixels = frame.permute(1, 2, 0).numpy().astype(np.int16)  # (H, W, 3)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(edge, axis=0).astype(np.int16)
    there = np.abs(pixels - ground).max(axis=2) > FAR  # (H, W)
    nearest = np.full(there.shape, -1)
    distance = ((pixels[there][:, None] - PALETTE[None]) ** 2).sum(axis=2)  # (N, 8)
    nearest[there] = distance.argmin(axis=1)
    found: list[tuple[int, Box, np.ndarray]] = []
    for colour in np.unique(nearest[there]):
        inside = ndimage.binary_opening(nearest == colour)  # without the blurred edges of others
        marked, number = ndimage.label(inside)
        sizes = np.bincount(marked.ravel(), minlength=number + 1)
        for which, (rows, columns) in enumerate(ndimage.find_objects(marked), 1):
            if sizes[which] >= max(there.size * SMALLEST, 4):
                box = (columns.start, rows.start, columns.stop, rows.stop)
                found.append((int(sizes[which]), box, marked == which))
    largest = sorted(found, key=lambda part: -part[0])[:MOST]
    kept = sorted(largest, key=lambda part: part[1])
    return [(box, _alone(pixels, own, ground, size)) for _, box, own in kept]


def _alone(pixels: np.ndarray, own: np.ndarray, ground: np.ndarray, size: int) -> Tensor:
    """(H, W, 3) pixels, (H, W) which of them are the thing's → (3, size, size) without others."""
    height, width = own.shape
    around = ndimage.binary_dilation(own, iterations=max(height // 64, 1))
    square = np.broadcast_to(ground, (max(height, width),) * 2 + (3,)).astype(np.uint8)
    top, left = (len(square) - height) // 2, (len(square) - width) // 2
    square[top : top + height, left : left + width][around] = pixels[around]
    return resize(torch.from_numpy(square).permute(2, 0, 1), size)


class Namer:
    """A CLIP that names things of the toy world.

    Args:
        model: trained on the toy world.
        tokenizer: its own.
    """

    def __init__(self, model: CLIP, tokenizer: Any) -> None:
        self.model = model
        self.texts = embed_texts(model, tokenizer, [str(name) for name in NAMES])  # (96, D)

    def seen(self, frames: Tensor) -> list[list[Seen]]:
        """(T, 3, H, W) uint8 → the things of each frame."""
        # A few frames at a time: between what is kept of each the memory would fall to pieces.
        return [of_frame for some in frames.split(AT_ONCE) for of_frame in self._seen(some)]

    @torch.no_grad()
    def _seen(self, frames: Tensor) -> list[list[Seen]]:
        height, width = frames.shape[-2:]
        side = self.model.config.image.image_size
        alone = torch.empty(len(frames) * MOST, 3, side, side, dtype=torch.uint8)
        boxes: list[list[Box]] = []
        count = 0
        for frame in frames:
            found = parts(frame, side)
            boxes.append([box for box, _ in found])
            for _, picture in found:
                alone[count] = picture
                count += 1
        if not count:
            return [[] for _ in boxes]
        scale = float(self.model.scale())
        scores = iter(scale * embed_images(self.model, alone[:count]) @ self.texts.T)
        return [
            [
                Seen(box, ((box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height), score)
                for box, score in zip(of_frame, scores, strict=False)
            ]
            for of_frame in boxes
        ]
