"""Questions about films that a model sees, and what is left when it sees less of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from vlcourse.data.collate.video import VideoCollate
from vlcourse.data.corpus.films import ask
from vlcourse.data.filmed import SEEN_KINDS
from vlcourse.data.world.film import frames, uniform_times
from vlcourse.data.world.script import Script
from vlcourse.data.world.timeline import Timeline
from vlcourse.data.world.video_questions import VideoQuestion
from vlcourse.evals.video import Asked, film_questions, score
from vlcourse.generate import Options, left_pad, search
from vlcourse.models.videochat import VideoChat

Shown = Literal["film", "middle", "nothing"]
LONGEST = 12  # tokens of an answer


def answers(
    model: VideoChat,
    collate: VideoCollate,
    asked: Sequence[Asked],
    *,
    count: int = 8,
    shown: Shown = "film",
    brief: bool = False,
    batch_size: int = 64,
) -> list[str]:
    """The answer that is written to each question, greedily, up to its full stop.

    Args:
        model: the model.
        collate: the one of its runs, whose template stands around the questions.
        asked: scripts of films, each with a question.
        count: frames of a film, at the middles of equal parts.
        shown: the film; the frame from its middle alone; or nothing: the language model is asked.
        brief: ask in very few words.
        batch_size: questions at a time.
    """
    device, found = next(model.parameters()).device, list[str]()
    tokenizer = collate.text.tokenizer
    options = Options(LONGEST, stop=(".",), end=tokenizer.eos)
    for start in range(0, len(asked), batch_size):
        chunk = asked[start : start + batch_size]
        samples = [_sample(*each, collate.image_size, count, shown, brief) for each in chunk]
        rows = []
        for sample in samples:
            told = collate.text.told(sample)
            rows.append(collate.text.encoded(told, collate.text.context)[0])
        tokens, mask = left_pad(rows, tokenizer.eos, device)
        seen: dict[str, Any] = {}
        if shown != "nothing":
            batch = collate(samples)
            names = ("pixels", "seconds", "shown", "at")
            seen = {name: batch[name].to(device) for name in names if name in batch}
        writer: Any = model.llm if shown == "nothing" else model
        texts = search(writer, tokens, options, mask=mask, tokenizer=tokenizer, **seen).texts
        assert texts is not None
        found += [text[0].strip() for text in texts]
    return found


def _sample(
    script: Script, question: VideoQuestion, size: int, count: int, shown: Shown, brief: bool
) -> dict[str, Any]:
    film = Timeline.of(script)
    if shown == "nothing":
        return {"id": str(script.seed), "parts": ((ask(question, brief), False),)}
    times = [film.duration / 2] if shown == "middle" else uniform_times(film.duration, count)
    return {
        "id": str(script.seed),
        "frames": frames(film, times, size),
        "seconds": tuple(times),
        "parts": ((ask(question, brief), False),),
    }


def seen(
    model: VideoChat,
    collate: VideoCollate,
    split: str = "heldout",
    per_kind: int = 100,
    count: int = 8,
    kinds: Sequence[str] = SEEN_KINDS,
) -> dict[str, float]:
    """Accuracy by kind of question as :func:`vlcourse.evals.video.score` gives it; and the same
    when only the middle frame is shown ("temporal middle" and so on).

    Args:
        model, collate, count: as in :func:`answers`.
        split: of the films.
        per_kind: questions of each kind.
        kinds: of questions.
    """
    asked = film_questions(split, per_kind, kinds)
    found = score(asked, answers(model, collate, asked, count=count))
    middle = score(asked, answers(model, collate, asked, count=count, shown="middle"))
    return found | {f"{name} middle": value for name, value in middle.items()}


def as_videochat(model: Any) -> VideoChat:
    """The same model, known to be a VideoChat; else TypeError."""
    if not isinstance(model, VideoChat):
        raise TypeError(f"this measurement needs a VideoChat, not a {type(model).__name__}")
    return model
