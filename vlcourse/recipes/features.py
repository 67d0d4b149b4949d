"""Image features of a frozen tower, computed once and kept on disk: the same run without it.

A video's frames are pictures, and one that does not change is there once.

    FOLDER/tower.json           whose they are: the tower's hash, the size of its pictures
           00000.safetensors    "keys" (n,) int64, of the pictures; "features" (n, N, C)

A picture is known by a hash of its pixels. So several runs and datasets may share a folder, a
picture that several samples show is there once, and what is missing is added.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vlcourse.data.collate.pictures import Augmentation, pixels
from vlcourse.data.order import OfPictures, Order, Ordered
from vlcourse.engine import parallel
from vlcourse.files import write_json
from vlcourse.models.blip2_image import SeesImages
from vlcourse.recipes.recipe import RecipeError
from vlcourse.weights.state import digest, weights_of, write_weights

SHARD = 1024  # pictures in a file
AT_ONCE = 64


class Sees(Protocol):
    """A collate whose batches show pictures."""

    @property
    def image_size(self) -> int:
        """Side of the pictures."""

    @property
    def augment(self) -> Augmentation:
        """How chance changes them."""


@dataclass(frozen=True)
class Place:
    """Where a picture's features are: the number of the file, and the row in it."""

    shard: int
    row: int


class Store:
    """A folder of features.

    Args:
        folder: made when it is missing.
        tower: hash of the tower that they are of.
        image_size: side of the pictures that it saw, in pixels.

    Raises:
        RecipeError: when the folder is another tower's, or damaged.
    """

    def __init__(self, folder: Path, tower: str, image_size: int) -> None:
        self.folder, about = folder, {"tower": tower, "image_size": image_size}
        mark = folder / "tower.json"
        if mark.is_file():
            self._check(json.loads(mark.read_text("utf-8")), about)
        elif folder.exists() and any(folder.iterdir()):
            raise RecipeError(f"{folder} holds other things than features: name another folder")
        else:
            write_json(mark, about)
        self.places: dict[int, Place] = {}
        self._open: dict[int, Any] = {}
        self.shards = 0
        while self._path(self.shards).is_file():
            self._take(self.shards)

    def _check(self, then: dict[str, Any], now: dict[str, Any]) -> None:
        for key, value in now.items():
            if then.get(key) != value:
                has, wanted = (f"{str(each)[:12]}" for each in (then.get(key), value))
                raise RecipeError(
                    f"{self.folder} has the features of another tower ({key} {has}, and this run's "
                    f"is {wanted}): name another folder with run.features=…"
                )

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:05}.safetensors"

    def _take(self, shard: int) -> None:
        keys = self._file(shard).get_tensor("keys").tolist()
        self.places |= {key: Place(shard, row) for row, key in enumerate(keys)}
        self.shards = shard + 1

    def _file(self, shard: int) -> Any:
        if shard not in self._open:
            try:
                self._open[shard] = safe_open(self._path(shard), "pt")
            except (OSError, SafetensorError) as error:
                raise RecipeError(
                    f"{self._path(shard)} is damaged ({error}): delete {self.folder}, and it is "
                    "computed anew"
                ) from None
        return self._open[shard]

    def __getitem__(self, key: int) -> Tensor:
        """(N, C), as the tower left them."""
        place = self.places[key]
        return self._file(place.shard).get_slice("features")[place.row]

    def add(self, keys: Sequence[int], features: Tensor) -> None:
        """A file more: (n,) keys and (n, N, C) features."""
        tensors = {"keys": torch.tensor(keys), "features": features}
        write_weights(self._path(self.shards), tensors)
        self._take(self.shards)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": {}}  # each process opens the files for itself


class WithFeatures(Ordered):
    """A dataset whose samples have "features" (N, C) in the place of "image", or (T, N, C) in that
    of "frames"."""

    def __init__(self, dataset: Any, store: Store) -> None:
        self.dataset, self.store = dataset, store
        self.order = dataset.order if isinstance(dataset, Ordered) else Order()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once.

        Raises:
            RecipeError: when a picture is not in the folder: the dataset has changed meanwhile.
        """
        found = []
        for sample in read(self.dataset, indices):
            each = [self._known(picture, sample["id"]) for picture in shown(sample)]
            features = torch.stack(each) if "frames" in sample else each[0]
            rest = {n: value for n, value in sample.items() if n not in ("image", "frames")}
            found.append({**rest, "features": features})
        return found

    def _known(self, picture: Tensor, name: str) -> Tensor:
        key = key_of(picture)
        if key not in self.store.places:
            raise RecipeError(
                f"{self.store.folder} has no features of the picture of {name}: it is another one "
                "than when they were computed; begin the run again"
            )
        return self.store[key]


def with_features(model: Any, dataset: Any, collate: Sees, folder: Path) -> WithFeatures:
    """A run's dataset, whose pictures have gone through the model's frozen tower.

    What is not in the folder yet is computed now; a run that is stopped meanwhile goes on from the
    last whole file.

    Args:
        model: whose tower is frozen.
        dataset: map-style, of samples with "image".
        collate: the run's: how pictures are brought to the tower's size.
        folder: where the features are kept.

    Raises:
        RecipeError: for a model without a frozen image tower, pictures that chance changes, a
            stream, a folder of another tower's features; or when several processes would compute
            them.
    """
    if not isinstance(model, SeesImages) or any(p.requires_grad for p in model.image.parameters()):
        raise RecipeError(
            "run.features: only a frozen image tower gives the same features at each step, and "
            f"this {type(model).__name__} has none; leave run.features empty"
        )
    if collate.augment != "none":
        raise RecipeError(
            f"run.features: data.augment={collate.augment} changes the pictures at each step: set "
            "data.augment=none, or leave run.features empty"
        )
    if not hasattr(dataset, "__len__"):
        raise RecipeError("run.features: a stream has no pictures to come back to")
    store = Store(folder, digest(weights_of(model.image)), collate.image_size)
    pictures = dataset.pictures if isinstance(dataset, OfPictures) else dataset
    missing: list[tuple[int, Tensor]] = []
    known = set(store.places)
    for key, image in _keyed(pictures):
        if key not in known:
            known.add(key)
            missing.append((key, image))
        if len(missing) == SHARD:
            _compute(model, collate.image_size, missing, store)
            missing = []
    if missing:
        _compute(model, collate.image_size, missing, store)
    return WithFeatures(dataset, store)


def _keyed(dataset: Any) -> Iterator[tuple[int, Tensor]]:
    """Each sample's picture with its key."""
    for start in range(0, len(dataset), AT_ONCE):
        for sample in read(dataset, range(start, min(start + AT_ONCE, len(dataset)))):
            for picture in shown(sample):
                yield key_of(picture), picture


@torch.no_grad()
def _compute(
    model: SeesImages, size: int, pictures: Sequence[tuple[int, Tensor]], store: Store
) -> None:
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise RecipeError(
            f"{store.folder} lacks features of this run's pictures: begin it once in one process, "
            "without torchrun, which computes them"
        )
    home, device = next(model.image.parameters()).device, parallel.device()
    model.image.to(device)
    found = []
    for start in range(0, len(pictures), AT_ONCE):
        images = [image for _, image in pictures[start : start + AT_ONCE]]
        seen = pixels(images, size, "none", None).to(device)
        found.append(model.image_features(seen).to(next(model.image.parameters()).dtype).cpu())
    model.image.to(home)
    store.add([key for key, _ in pictures], torch.cat(found))


def read(dataset: Any, rows: Sequence[int]) -> list[dict[str, Any]]:
    """The samples of these rows."""
    many = getattr(dataset, "__getitems__", None)
    return many(rows) if many else [dataset[row] for row in rows]


def shown(sample: dict[str, Any]) -> Tensor:
    """A sample's pictures (T, 3, H, W): the frames of its video, or its one picture."""
    return sample["frames"] if "frames" in sample else sample["image"][None]


def key_of(image: Tensor) -> int:
    """A picture's pixels, and its size, as a number of 63 bits."""
    said = repr(tuple(image.shape)).encode() + image.contiguous().numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest()) >> 1
