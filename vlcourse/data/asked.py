"""Pictures with a question and its answers, of the toy world or of a source of the reader's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from vlcourse.data.sources import SourceError, open_source
from vlcourse.data.sources.images import MapSource
from vlcourse.data.world import QUESTION_KINDS, Scene, World
from vlcourse.data.world.dice import Dice


class WorldQuestions(Dataset[dict[str, Any]]):
    """A question about each scene of a `World`; its kind is drawn first, so that all are equal.

    A sample is {"id", "image": uint8 (3, size, size), "question": str, "kind": str, "answers":
    ((answer, 1.0),), "scene": Scene}, and depends on the scene only.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def __len__(self) -> int:
        return len(self.world)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample ``index``."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once."""
        return [self._asked(sample) for sample in self.world.__getitems__(indices)]

    def _asked(self, sample: dict[str, Any]) -> dict[str, Any]:
        scene: Scene = sample["scene"]
        asked, dice = scene.questions(), Dice(scene.seed, "asked about a picture")
        kinds = [kind for kind in QUESTION_KINDS if any(q.kind == kind for q in asked)]
        kind = dice.pick(kinds)
        question = dice.pick([q for q in asked if q.kind == kind], at=16)
        return {
            "id": sample["id"],
            "image": sample["image"],
            "question": question.text,
            "kind": kind,
            "answers": ((question.answer, 1.0),),
            "scene": scene,
        }


class SourceQuestions(Dataset[dict[str, Any]]):
    """Questions of a source; a sample is as in `WorldQuestions`, without kind and scene.

    Args:
        source: opened with :func:`open_questions`.
        column: of the answers.
    """

    def __init__(self, source: MapSource, column: str) -> None:
        self.source, self.column = source, column

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Sample ``index``."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many samples at once.

        Raises:
            SourceError: when a question has no answer.
        """
        found = []
        for sample in self.source.__getitems__(indices):
            if not (answers := shares(sample[self.column])):
                raise SourceError(
                    f"the question {sample['id']} has no answer in its column '{self.column}': "
                    "leave it out"
                )
            found.append(
                {
                    "id": sample["id"],
                    "image": sample["image"],
                    "question": sample["caption"],
                    "answers": answers,
                }
            )
        return found


def shares(value: Any) -> tuple[tuple[str, float], ...]:
    """A text, a number, or a list of them → each different answer and its share of the answers.

    Of VQA v2's ten people seven may have said "yes": (("yes", 0.7), …). Its rows of
    {"answer": "yes", …} are read as well.
    """
    several = value if isinstance(value, list | tuple) else [value]
    said = [item.get("answer") if isinstance(item, dict) else item for item in several]
    texts = [str(item).strip() for item in said if item is not None and str(item).strip()]
    return tuple((text, count / len(texts)) for text, count in Counter(texts).items())


def open_questions(
    source: str,
    split: str,
    image: str | None = None,
    question: str = "question",
    answer: str = "answer",
    limit: int | None = None,
) -> SourceQuestions:
    """Open a source whose rows have a picture, a question, and an answer or a list of answers.

    Args:
        source, split, image, limit: as in :func:`vlcourse.data.sources.open_source`.
        question, answer: names of the columns.

    Raises:
        SourceError: see there.
    """
    opened = open_source(
        source, split=split, image=image, caption=question, keep=(answer,), limit=limit
    )
    assert isinstance(opened, MapSource)
    return SourceQuestions(opened, answer)
