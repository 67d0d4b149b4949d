"""One scene of the toy world: its objects, its picture, and what is true of it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vlcourse.data.world import captions
from vlcourse.data.world.arrays import MAX_OBJECTS, TEXTURES, UNIT, SceneArrays, sample_arrays
from vlcourse.data.world.captions import Caption
from vlcourse.data.world.facts import Fact, Object, holds
from vlcourse.data.world.foils import FOILS, foil
from vlcourse.data.world.questions import Question, questions
from vlcourse.data.world.render import render_arrays
from vlcourse.data.world.words import (
    CLASSES,
    SIZES,
    SPLITS,
    allowed_pairs,
    check_choice,
    check_seed,
    class_index,
    hash_int,
)


@dataclass(frozen=True)
class Scene:
    """One to four objects on a textured ground.

    Sample one with `Scene.sample`, or build one from `Object`s; `dataclasses.replace` moves or
    recolours its objects. Objects later in the tuple are drawn over earlier ones.

    Attributes:
        objects: the objects.
        seed: what the ground and the choice of words are drawn from.
        split: where it was sampled from; says which pairs its questions and foils may name.
        texture: "noise" or "gradient"; in shifted scenes also "stripes" or "checks".
        noise: half-width of the pixel noise in grey levels; 0 for none.
    """

    objects: tuple[Object, ...]
    seed: int = 0
    split: str = "train"
    texture: str = "noise"
    noise: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.objects) <= MAX_OBJECTS:
            raise ValueError(f"A scene has 1 to {MAX_OBJECTS} objects; got {len(self.objects)}.")
        if len({(obj.colour, obj.shape) for obj in self.objects}) < len(self.objects):
            raise ValueError("Two objects share colour and shape, so words cannot tell them apart.")
        check_seed(self.seed)
        check_choice("split", self.split, SPLITS)
        check_choice("texture", self.texture, TEXTURES)

    @classmethod
    def sample(
        cls,
        seed: int,
        split: str = "train",
        n_objects: int | None = None,
        objects: tuple[int, int] = (1, MAX_OBJECTS),
        shift: str | None = None,
    ) -> Scene:
        """The scene of a seed; the same one on every machine.

        Args:
            seed: an integer in [0, 2**64).
            split: "train", "val", "test", "heldout" or "shifted".
            n_objects: exactly so many objects, 1 to 4; overrides `objects`.
            objects: least and greatest number of objects.
            shift: for the split "shifted": "background", "size", "noise", or None for any.

        Raises:
            ValueError: an argument is out of range or unknown.
        """
        counts = objects if n_objects is None else (n_objects, n_objects)
        seeds = np.array([check_seed(seed)], np.uint64)
        return scenes_from(sample_arrays(seeds, split, counts, shift), split)[0]

    def render(self, size: int = 32) -> torch.Tensor:
        """The picture: torch uint8 (3, size, size), RGB, anti-aliased; size 32 to 448 pixels."""
        return torch.from_numpy(render_batch([self], size)[0])

    def is_true(self, fact: Fact | Caption) -> bool:
        """Whether a fact, or every fact that a caption states, is true of this scene.

        Raises TypeError for anything else, and ValueError for a caption without facts.
        """
        if isinstance(fact, Caption):
            if not fact.facts:
                raise ValueError(f"The caption {fact.text!r} is not tagged with facts to check.")
            return all(holds(one, self.objects) for one in fact.facts)
        return holds(fact, self.objects)

    def caption(self, key: int = 0) -> Caption:
        """One true caption; `key` chooses which."""
        return captions.caption(self.objects, hash_int(self.seed, key))

    def captions(self) -> list[Caption]:
        """True captions, one for each sentence pattern that suits the scene; at least 12."""
        return captions.captions(self.objects, self.seed)

    def questions(self) -> list[Question]:
        """Questions with answers, of the kinds in `QUESTION_KINDS`; yes and no balanced."""
        return questions(self.objects, self.seed, allowed_pairs(self.split))

    def foil(self, caption: Caption, kind: str | None = None) -> Caption:
        """A caption like `caption`, with one change, that is false of this scene.

        Args:
            caption: a caption of this scene.
            kind: one of `FOILS`; None takes the first kind that the caption allows.

        Raises:
            ValueError: unknown kind, or the caption has nothing to change in this way.
        """
        kinds = FOILS if kind is None else (check_choice("foil kind", kind, FOILS),)
        for one in kinds:
            if made := self.find_foil(caption, one):
                return made
        raise ValueError(f"No foil of kind {kind!r} can be made of the caption {caption.text!r}.")

    def foils(self, kind: str | None = None) -> list[tuple[Caption, Caption]]:
        """(caption, foil) pairs: for each caption, one foil of each kind that it allows.

        Raises ValueError for a `kind` that is not one of `FOILS`.
        """
        kinds = FOILS if kind is None else (check_choice("foil kind", kind, FOILS),)
        made = [(true, self.find_foil(true, one)) for true in self.captions() for one in kinds]
        return [(true, false) for true, false in made if false is not None]

    def find_foil(self, caption: Caption, kind: str) -> Caption | None:
        """As :meth:`foil` of one of `FOILS`, or None where the caption has nothing to change."""
        turn = hash_int(self.seed, zlib.crc32(caption.encode()))
        return foil(caption, self.objects, allowed_pairs(self.split), kind, turn)


def scenes_from(arrays: SceneArrays, split: str) -> list[Scene]:
    """Scene objects from arrays."""
    out = []
    columns = (arrays.pair, arrays.size, arrays.x, arrays.y, arrays.radius)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    others = zip(
        arrays.seed.tolist(),
        arrays.count.tolist(),
        arrays.texture.tolist(),
        arrays.noise.tolist(),
        strict=True,
    )
    for (pair, size, x, y, radius), (seed, n, texture, noise) in zip(rows, others, strict=True):
        objects = tuple(
            Object(colour, shape, SIZES[size[i]], x[i] / UNIT, y[i] / UNIT, radius[i] / UNIT)
            for i, (colour, shape) in enumerate(CLASSES[k] for k in pair[:n])
        )
        out.append(Scene(objects, seed, split, TEXTURES[texture], noise))
    return out


def arrays_from(scenes: Sequence[Scene]) -> SceneArrays:
    """Arrays from scene objects; places are rounded to 1/1024 of the picture."""
    fields = np.zeros((5, len(scenes), MAX_OBJECTS), np.int64)
    for i, scene in enumerate(scenes):
        for j, obj in enumerate(scene.objects):
            place = (round(v * UNIT) for v in (obj.x, obj.y, obj.radius))
            kind, size = class_index(obj.colour, obj.shape), SIZES.index(obj.size)
            fields[:, i, j] = kind, size, *place
    pair, sizes, x, y, radius = fields
    return SceneArrays(
        np.array([scene.seed for scene in scenes], np.uint64),
        np.array([len(scene.objects) for scene in scenes]),
        pair,
        sizes,
        x,
        y,
        radius,
        np.array([TEXTURES.index(scene.texture) for scene in scenes]),
        np.array([scene.noise for scene in scenes]),
    )


def render_batch(scenes: Sequence[Scene] | SceneArrays, size: int = 32) -> np.ndarray[Any, Any]:
    """Draw B scenes: numpy uint8 (B, 3, size, size), RGB. Raises ValueError for a bad size."""
    arrays = scenes if isinstance(scenes, SceneArrays) else arrays_from(scenes)
    return render_arrays(arrays, size)
