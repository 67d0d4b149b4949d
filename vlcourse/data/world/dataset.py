"""`World`, toy scenes drawn on demand, with held-out and shifted splits; and test sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vlcourse.data.world.arrays import MAX_OBJECTS, SceneArrays, sample_arrays
from vlcourse.data.world.captions import Caption, full_caption
from vlcourse.data.world.scene import Scene, render_batch, scenes_from
from vlcourse.data.world.words import (
    CLASSES,
    HELD_OUT,
    SEEN,
    check_seed,
    hash64,
)

if TYPE_CHECKING:
    import datasets


class World(torch.utils.data.Dataset[dict[str, Any]]):
    """A map-style data set of toy scenes, drawn when they are read.

    A sample is {"id": "world/train/123", "image": uint8 (3, size, size), "caption": Caption (a
    str), "scene": Scene, "facts": the facts that the caption states}. Sample i depends on the
    arguments and on i only, so that any number of workers and any order give the same data.

    Args:
        split: "train", "val", "test", "heldout" or "shifted".
        n: number of scenes.
        size: picture side in pixels, 32 to 448.
        objects: least and greatest number of objects of a scene, within 1 to 4.
        seed: another seed gives other scenes of the same split.
        shift: for the split "shifted": "background", "size", "noise", or None to mix them.

    Raises:
        ValueError: an argument is out of range or unknown.
    """

    classes = CLASSES

    def __init__(
        self,
        split: str = "train",
        n: int = 50_000,
        size: int = 32,
        objects: tuple[int, int] = (1, MAX_OBJECTS),
        seed: int = 0,
        shift: str | None = None,
    ) -> None:
        if n < 1:
            raise ValueError(f"n, the number of scenes, must be at least 1; got {n}.")
        self.split, self.n, self.size, self.shift = split, int(n), size, shift
        self.objects, self.seed = (int(objects[0]), int(objects[1])), check_seed(seed)
        # Draw one scene now, so that a bad argument fails here and not in a worker.
        render_batch(self.arrays([0]), size)
        name = f"world/{split}" + (f"-{shift}" if shift else "") + (f"-{seed}" if seed else "")
        self._name = name

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample `index`, as described above. Raises IndexError outside the data set."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once, which is much faster than one by one."""
        wanted = self._checked(indices)
        arrays = self.arrays(wanted)
        images = torch.from_numpy(render_batch(arrays, self.size))
        samples = []
        for i, image, scene in zip(wanted, images, scenes_from(arrays, self.split), strict=True):
            caption = scene.caption()
            samples.append(
                {
                    "id": f"{self._name}/{i}",
                    "image": image,
                    "caption": caption,
                    "scene": scene,
                    "facts": caption.facts,
                }
            )
        return samples

    def arrays(self, indices: Sequence[int] | np.ndarray[Any, Any]) -> SceneArrays:
        """The scenes of these samples as arrays, not drawn."""
        # All splits hash one and the same seeds; the split itself keeps their scenes apart.
        seeds = hash64(self.seed, 51, np.asarray(indices, dtype=np.uint64))
        return sample_arrays(seeds, self.split, self.objects, self.shift)

    def scenes(self, indices: Sequence[int] | None = None) -> list[Scene]:
        """The scenes of these samples, or of all, without drawing them."""
        wanted = range(self.n) if indices is None else self._checked(indices)
        return scenes_from(self.arrays(np.array(wanted)), self.split)

    def _checked(self, indices: Sequence[int]) -> list[int]:
        wanted = []
        for index in indices:
            if not -self.n <= index < self.n:
                raise IndexError(f"{self._name} has {self.n} scenes; there is no sample {index}.")
            wanted.append(int(index) % self.n)
        return wanted

    def to_hf(self) -> datasets.Dataset:
        """The data set as a Hugging Face `datasets.Dataset`, made here, without the network.

        Columns: id, image (an Image feature), caption, facts (as sentences), questions (a list
        of question, answer, kind).
        """
        import datasets

        features = datasets.Features(
            {
                "id": datasets.Value("string"),
                "image": datasets.Image(),
                "caption": datasets.Value("string"),
                "facts": [datasets.Value("string")],
                "questions": [
                    {
                        "question": datasets.Value("string"),
                        "answer": datasets.Value("string"),
                        "kind": datasets.Value("string"),
                    }
                ],
            }
        )
        rows = (row for start in range(0, self.n, 256) for row in self._rows(start))
        columns: dict[str, list[Any]] = {name: [] for name in features}
        for row in rows:
            for name, value in row.items():
                columns[name].append(value)
        return datasets.Dataset.from_dict(columns, features=features)

    def _rows(self, start: int) -> list[dict[str, Any]]:
        rows = []
        for sample in self.__getitems__(range(start, min(start + 256, self.n))):
            asked = sample["scene"].questions()
            rows.append(
                {
                    "id": sample["id"],
                    "image": sample["image"].permute(1, 2, 0).numpy(),
                    "caption": sample["caption"].text,
                    "facts": [str(fact) for fact in sample["facts"]],
                    "questions": [
                        {"question": q.text, "answer": q.answer, "kind": q.kind} for q in asked
                    ],
                }
            )
        return rows


def single_object_set(
    split: str = "test", n: int = 400, size: int = 32, seed: int = 0, shift: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One-object pictures for zero-shot classification, with the classes equally often.

    Args:
        split: "heldout" gives the 8 held-out classes, every other split the 40 seen ones.
        n: number of pictures; class counts differ by one at most.
        size: picture side in pixels.
        seed: another seed gives other scenes.
        shift: for the split "shifted".

    Returns:
        images uint8 (n, 3, size, size), and labels int64 (n,), indices into `CLASSES`.

    Raises:
        ValueError: an argument is out of range or unknown.
    """
    world = World(split, max(n, 1), size, (1, 1), seed + 1, shift)
    if n < 1:
        raise ValueError(f"n, the number of pictures, must be at least 1; got {n}.")
    n_classes = len(HELD_OUT) if split == "heldout" else len(SEEN)
    arrays = world.arrays(np.arange(4 * n + 50 * n_classes))
    labels = arrays.pair[:, 0]
    # The r-th scene of its class, over all classes, comes before every (r + 1)-th.
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - starts
    chosen = np.sort(np.argsort(rank, kind="stable")[:n])
    images = torch.from_numpy(render_batch(arrays[chosen], size))
    return images, torch.from_numpy(labels[chosen])


def two_object_scenes(n: int, seed: int = 0, split: str = "test") -> list[Scene]:
    """n scenes of two objects, no two with the same two (colour, shape, size).

    A caption that gives both objects in full is therefore true of one of these scenes at most.

    Raises:
        ValueError: n is not from 1 to 2000 (500 in the held-out split), or an unknown split.
    """
    limit = 500 if split == "heldout" else 2000
    if not 1 <= n <= limit:
        raise ValueError(
            f"n must be from 1 to {limit} scenes that differ in what is shown; got {n}."
        )
    found: dict[frozenset[tuple[str, str, str]], Scene] = {}
    world, start = World(split, 1, objects=(2, 2), seed=seed + 1), 0
    while len(found) < n:
        for scene in scenes_from(world.arrays(np.arange(start, start + n)), split):
            key = frozenset((obj.colour, obj.shape, obj.size) for obj in scene.objects)
            found.setdefault(key, scene)
        start += n
    return list(found.values())[:n]


def two_object_set(
    n: int = 256, size: int = 32, seed: int = 0, split: str = "test"
) -> tuple[torch.Tensor, list[Caption]]:
    """Two-object pictures with full captions, for retrieval: caption i is true of picture i only.

    A caption gives the colour, shape and size of both objects and a relation between them.

    Returns:
        images uint8 (n, 3, size, size), and n captions.

    Raises:
        ValueError: see `two_object_scenes`; or a bad size.
    """
    scenes = two_object_scenes(n, seed, split)
    images = torch.from_numpy(render_batch(scenes, size))
    return images, [full_caption(scene.objects, scene.seed) for scene in scenes]
