"""Captions as the web has them: most say something else than what the picture shows.

CapFilt (Li et al., "BLIP", 2022, section 3.3) cleans such data. Here the noise is made, so that the
truth is known: each text keeps what it was made of, and how. The kinds are those of real alt texts:
a file's name, a camera's settings, a page's phrases, one wrong word, half of what is seen, another
language.

What counts as noise is what is not true of the picture, or cannot be read by a model of English.
Half the scene is *not* noise: it is a poor caption, but a true one, and a filter that keeps it is
right (a captioner may still say more).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from vlcourse.data.shards import png, write_shard
from vlcourse.data.world.captions import TEMPLATES, Caption, Content, Pattern, compose
from vlcourse.data.world.dataset import World
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import Thing
from vlcourse.data.world.foils import FOILS, foil
from vlcourse.data.world.scene import Scene
from vlcourse.data.world.tongues import in_another_language
from vlcourse.data.world.words import allowed_pairs, check_choice

KINDS = ("file name", "camera", "unrelated", "wrong word", "half", "language")
TRUE = ("clean", "half")
"""The kinds of text that are true of the picture."""
MIX: Mapping[str, float] = dict.fromkeys(KINDS, 1.0)

_FILES = (
    "{date}{time}.JPG", "IMG_{n}.jpg", "DSC0{n}.JPG", "P{date}{n}.jpeg", "image-{n}-300x200.png",
    "photo{n}", "Screenshot {date} {time}.png", "{date}_{time}_resized.jpg",
)  # fmt: skip
_CAMERAS = (
    "f/{f} 1/{s} s ISO {i}", "Canon EOS {n}D, {mm} mm, f/{f}, 1/{s}", "Nikon D{n} {mm}mm ISO{i}",
    "exposure 1/{s}, aperture {f}, no flash", "{mm} mm lens, ISO {i}, tripod",
)  # fmt: skip
_UNRELATED = (
    "click to enlarge", "free shipping on all orders", "home page", "see more from this seller",
    "my holiday last summer", "best price in town", "posted by admin", "read the full story",
    "all rights reserved", "advertisement", "thank you for visiting", "add to cart",
    "one of my favourite shots", "new arrivals this week", "sign up for our newsletter",
)  # fmt: skip
_HALF = {1: Pattern("object", "{a}"), 2: Pattern("list", "{all}")}
_PARTS = {
    kind: tuple(Pattern(pattern.kind, text.replace("{}", pattern.text)) for text in TEMPLATES)
    for kind, pattern in _HALF.items()
}


class WebCaption(str):
    """A text beside a picture, with the truth about it.

    Attributes:
        clean: a caption that is true of the picture and says it well.
        kind: "clean" (then the text is ``clean``), or one of :data:`KINDS`.
    """

    clean: str
    kind: str

    def __new__(cls, text: str, clean: str, kind: str) -> WebCaption:
        made = super().__new__(cls, text)
        made.clean, made.kind = clean, kind
        return made

    @property
    def is_clean(self) -> bool:
        """Whether the text is true of the picture, in English."""
        return self.kind in TRUE


def kind_of(key: int, rate: float, mix: Mapping[str, float] = MIX) -> str:
    """What happens to the text of a key: "clean", or a kind drawn by its weight in the mix.

    Args:
        key: of the picture, in [0, 2**64).
        rate: the share of texts that something happens to, 0 to 1.
        mix: weights by kind; they need not sum to 1.

    Raises:
        ValueError: a rate or weight out of range, an unknown kind, or nothing to choose from.
    """
    for kind in mix:
        check_choice("kind of noise", kind, KINDS)
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is a share of the texts, 0 to 1, not {rate}.")
    if any(not weight >= 0 for weight in mix.values()) or not sum(mix.values()) > 0:
        raise ValueError(f"the weights of a mix are 0 or more, and one above 0; got {dict(mix)}.")
    dice, total = Dice(key, "web: kind"), sum(mix.values())
    if dice.below(1 << 24) >= rate * (1 << 24):
        return "clean"
    point = dice.below(1 << 24, at=24) / (1 << 24) * total
    ends = accumulate(mix.values())
    return next(kind for kind, end in zip(mix, ends, strict=True) if point < end)


def corrupt(
    scene: Scene, key: int = 0, rate: float = 0.5, mix: Mapping[str, float] = MIX
) -> WebCaption:
    """A text beside a toy scene, as the web would have it.

    Args:
        scene: what the picture shows.
        key: chooses the clean caption, and with the scene's seed everything else.
        rate, mix: see :func:`kind_of`.

    Raises:
        ValueError: see :func:`kind_of`.
    """
    said = scene.caption(key)
    chance = _chance(scene, key)
    kind = kind_of(chance, rate, mix)
    if kind == "clean":
        return WebCaption(said, said, kind)
    if kind == "wrong word":
        text: str = _wrong(scene, said, chance)
    elif kind == "half":
        text = _half(scene, chance)
    elif kind == "language":
        text = in_another_language([(o.colour, o.shape) for o in scene.objects], chance)
    else:
        text = litter(kind, chance)
    return WebCaption(text, said.text, kind)


def corrupt_name(
    name: str,
    names: Sequence[str],
    templates: Sequence[str],
    key: int,
    rate: float = 0.5,
    mix: Mapping[str, float] | None = None,
) -> WebCaption:
    """A text beside a photo of which only the class is known.

    Args:
        name: of the class.
        names: of all classes, from which the wrong one is taken; at least two.
        templates: captions, with ``{}`` where the name goes.
        key: of the photo, in [0, 2**64).
        rate, mix: see :func:`kind_of`; without a scene there is neither "half" nor "language".

    Raises:
        ValueError: see :func:`kind_of`, or a kind of noise that needs a scene.
    """
    mix = mix or {kind: 1.0 for kind in KINDS if kind not in ("half", "language")}
    if wrong := [kind for kind in ("half", "language") if mix.get(kind)]:
        raise ValueError(f"{wrong[0]!r} needs a scene: leave it out of the mix.")
    dice = Dice(key, "web: words")
    clean = dice.pick(templates).format(name)
    kind = kind_of(key, rate, mix)
    if kind == "clean":
        return WebCaption(clean, clean, kind)
    if kind == "wrong word":
        other = dice.pick([one for one in names if one != name], at=16)
        return WebCaption(dice.pick(templates).format(other), clean, kind)
    return WebCaption(litter(kind, key), clean, kind)


def litter(kind: str, key: int) -> str:
    """A "file name", the settings of a "camera", or an "unrelated" phrase."""
    dice, when = Dice(key, "web: words"), Dice(key, "web: numbers")
    if kind == "unrelated":
        return dice.pick(_UNRELATED)
    day = f"{2004 + when.below(20)}{1 + when.below(12, 8):02d}{1 + when.below(28, 16):02d}"
    time = f"{when.below(24, 24):02d}{when.below(60, 32):02d}{when.below(60, 40):02d}"
    return dice.pick(_FILES if kind == "file name" else _CAMERAS).format(
        date=day,
        time=time,
        n=1000 + when.below(9000, 48),
        f=dice.pick(("1.8", "2.8", "4.0", "5.6", "8.0"), at=8),
        s=dice.pick((30, 60, 125, 250, 500, 1000), at=16),
        i=dice.pick((100, 200, 400, 800, 1600), at=24),
        mm=dice.pick((18, 35, 50, 85, 200), at=32),
    )


def _wrong(scene: Scene, said: Caption, key: int) -> Caption:
    """The caption with one word that makes it false; another caption where it has none such."""
    start = Dice(key, "web: words").below(1 << 16)
    kinds = ("replaced attribute", *FOILS)
    pairs = allowed_pairs(scene.split)
    for caption in (said, *scene.captions()):
        for kind in kinds:
            if made := foil(caption, scene.objects, pairs, kind, start):
                return made
    raise AssertionError("every scene has a caption of its first object, which can be recoloured")


def _half(scene: Scene, key: int) -> Caption:
    """True words for half of the objects; of a single object, its shape or its colour only."""
    dice, objects = Dice(key, "web: words"), list(scene.objects)
    if len(objects) == 1:
        (one,) = objects
        things = [Thing(one.colour) if dice.coin(at=32) else Thing(shape=one.shape)]
    else:
        chosen = [dice.take(objects, at=8 * i) for i in range(len(objects) // 2)]
        things = [Thing(one.colour, one.shape) for one in chosen]
    pattern = dice.pick(_PARTS[min(len(things), 2)], at=40)
    return compose(pattern, Content(tuple(things), len(scene.objects)), "half")


class WebWorld(World):
    """Toy scenes with the texts of a noisy web: see :func:`corrupt`.

    A sample is World's, with "caption" a :class:`WebCaption`, and "clean", "kind" and "is_clean" as
    it has them; without "facts", since the text may state none.

    Args:
        rate, mix: see :func:`kind_of`.
        options: World's.

    Raises:
        ValueError: an argument is out of range or unknown.
    """

    def __init__(
        self, *options: Any, rate: float = 0.5, mix: Mapping[str, float] = MIX, **more: Any
    ) -> None:
        super().__init__(*options, **more)
        kind_of(0, rate, mix)  # a bad argument fails here and not in a worker
        self.rate, self.mix = rate, dict(mix)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once."""
        samples = super().__getitems__(indices)
        for sample in samples:
            said = corrupt(sample["scene"], 0, self.rate, self.mix)
            del sample["facts"]
            sample |= {"caption": said, "clean": said.clean, "kind": said.kind}
            sample["is_clean"] = said.is_clean
        return samples

    def write(self, folder: Path, rows: int = 1000) -> list[Path]:
        """The data set as Parquet shards of so many rows: id, image (PNG), caption, and the truth.

        Returns:
            The files. ``open_source(folder)`` reads them, and so does ``vlcourse capfilt``.
        """
        files = []
        for number, start in enumerate(range(0, self.n, rows)):
            files.append(folder / f"web-{number:05d}.parquet")
            write_shard(files[-1], list(self._web_rows(range(start, min(start + rows, self.n)))))
        return files

    def _web_rows(self, numbers: range) -> Iterator[dict[str, Any]]:
        for sample in self.__getitems__(numbers):
            del sample["scene"]
            image = {"bytes": png(sample["image"]), "path": None}
            yield {**sample, "image": image, "caption": str(sample["caption"])}


class Halved(World):
    """Toy scenes of whose captions some say half of what is seen: poor ones, and true.

    A sample is World's. The halves are those of a :class:`WebWorld` with no other noise at the same
    rate, and keep the facts that they state.

    Args:
        halves: how many of a hundred captions, 0 to 100.
        options: World's.

    Raises:
        ValueError: an argument is out of range or unknown.
    """

    def __init__(self, *options: Any, halves: int = 50, **more: Any) -> None:
        super().__init__(*options, **more)
        kind_of(0, halves / 100)
        self.halves = halves

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once."""
        samples = super().__getitems__(indices)
        for sample in samples:
            chance = _chance(sample["scene"], 0)
            if kind_of(chance, self.halves / 100, {"half": 1.0}) == "half":
                said = _half(sample["scene"], chance)
                sample |= {"caption": said, "facts": said.facts}
        return samples


def _chance(scene: Scene, key: int) -> int:
    """What befalls the text of a scene, for each key another number in [0, 2**64)."""
    return Dice(scene.seed, "web: scene", key).bits
