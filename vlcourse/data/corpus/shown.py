"""Pictures of the toy world with something to learn from: captions, and what a teacher wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlcourse.data.collate.text import Parts
from vlcourse.data.corpus.describe import describe
from vlcourse.data.corpus.instructions import INSTRUCTION, RESPONSE, Instructions
from vlcourse.data.corpus.teacher import VISUAL_KINDS, context_of, visual_instruction
from vlcourse.data.corpus.tellings import implied
from vlcourse.data.order import Order, Ordered
from vlcourse.data.world import World
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.scene import Scene

CAPTION = "what can we see?"


def asked(instruction: str, given: str = "") -> str:
    """What a toy model is told, up to where its response begins.

    Args:
        instruction: what to do.
        given: what is said of the picture first, such as an expert's caption; "" for nothing.
    """
    said = f"{INSTRUCTION.format(instruction)} {RESPONSE}"
    return f"{given} {said}" if given else said


def caption_parts(caption: str) -> Parts:
    """A caption as the answer to the question what can be seen."""
    return ((asked(CAPTION), False), (f"{caption}.", True))


def taught(scene: Scene, kind: str) -> Parts:
    """What the teacher writes of a kind about a scene; its answers are to be learned."""
    parts: list[tuple[str, bool]] = []
    for turn in visual_instruction(context_of(scene), scene.seed, kind, scene.split):
        parts += [(asked(turn.instruction), False), (turn.answer, True)]
    return tuple(parts)


class Captioned(Ordered):
    """Pictures with a caption, as samples of an instruction; map-style.

    {"id", "kind": "caption", "parts", "text", "image", "scene"}, for a `World`'s arguments.
    """

    def __init__(
        self, split: str, n: int, seed: int = 0, objects: tuple[int, int] = (1, 2), size: int = 32
    ) -> None:
        self.world = World(split, n, size, objects, seed)
        self.order = Order(window=8)

    def __len__(self) -> int:
        return len(self.world)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once, which is faster than one by one."""
        return [
            {
                "id": s["id"], "kind": "caption", "parts": caption_parts(s["caption"]),
                "text": str(s["caption"]), "image": s["image"], "scene": s["scene"],
            }
            for s in self.world.__getitems__(indices)
        ]  # fmt: skip


class Shown(Instructions):
    """Scenes that are shown, with instructions, some of them from the teacher.

    Args:
        teacher: of a hundred scenes, how many have one of the teacher's three kinds.
        others: as of :class:`Instructions`.
    """

    def __init__(self, split: str = "train", n: int = 10_000, teacher: int = 0, **others: Any):
        super().__init__(split, n, images=True, **others)
        self.teacher = teacher

    def _sample(self, index: int, scene: Scene) -> dict[str, Any]:
        found = super()._sample(index, scene)
        dice = Dice(scene.seed, "teacher: words")
        if dice.below(100, at=8) < self.teacher:
            kind = dice.pick(VISUAL_KINDS, at=32)
            parts = taught(scene, kind)
            found |= {"kind": kind, "parts": parts, "text": " ".join(text for text, _ in parts)}
        return found


class Retold(Instructions):
    """Scenes that are told, with instructions, some of them to say what can be seen.

    A language model that is tuned on short responses alone forgets how to say more, and then has no
    words for a picture.

    Args:
        retold: of a hundred scenes, how many are to be said again as a caption.
        others: as of :class:`Instructions`.
    """

    def __init__(self, split: str = "train", n: int = 10_000, retold: int = 0, **others: Any):
        super().__init__(split, n, **others)
        self.retold = retold

    def _sample(self, index: int, scene: Scene) -> dict[str, Any]:
        found = super()._sample(index, scene)
        dice = Dice(scene.seed, "retold when told")
        if dice.below(100, at=8) < self.retold:
            told = describe(scene.objects, scene.seed)
            caption = dice.pick(implied(scene, told), at=32)
            parts = ((told.text, False), *caption_parts(str(caption)))
            found |= {"kind": "retold", "parts": parts, "text": " ".join(text for text, _ in parts)}
        return found


class Joint(Ordered):
    """Two datasets as one: samples of the first and of the second take turns.

    As long as twice the longer one; the shorter begins again.
    """

    def __init__(self, first: Any, second: Any) -> None:
        self.parts = (first, second)
        self.order = Order()

    def __len__(self) -> int:
        return 2 * max(map(len, self.parts))

    def __getitem__(self, index: int) -> dict[str, Any]:
        own = self.parts[index % 2]
        return own[index // 2 % len(own)]
