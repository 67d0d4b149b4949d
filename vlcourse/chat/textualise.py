"""A video as text: what the tools said, in the template of VideoChat-Text, with its times.

    Video: moving; …                                    action, and what is seen through all of it
    00:00-00:02 a caption. tags: …. things: …: [left, top, right, bottom]. change: at 00:01 ….
    00:02-00:03 …

Li et al. 2023, section 3.1 (the lecture's template: video class and caption, then for each clip its
caption, tags, dense captions and subtitles). The text is all that the language model gets: what no
tool said is lost here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vlcourse.chat.perception import Kind, Perceived
from vlcourse.data.segments import Segment, clock
from vlcourse.data.world.video_captions import listed

LABELS: dict[Kind, str] = {
    "tags": "tags", "dense": "things", "change": "change", "subtitle": "subtitle",
    "speech": "heard",
}  # fmt: skip


def textualised(seen: Perceived) -> list[str]:
    """The lines of a video's text, in the order of time; one line of a picture.

    Frames one after the other of which the same is said are one clip. What is said at some moment
    (a thing with its box, a change, a subtitle) stands with the clip in which it begins.
    """
    head = "; ".join(dict.fromkeys(segment.text for segment in seen.of("action")))
    lines = [f"Video: {head}."] if head else []
    spans = clips(seen)
    for number, (start, end) in enumerate(spans):
        until = spans[number + 1][0] if number + 1 < len(spans) else float("inf")
        inside = [part for kind in ("caption", "tags") for part in _at(seen, kind, start)]
        for kind in ("dense", "change", "subtitle", "speech"):
            since = start if number else float("-inf")  # what came before the first frame, too
            inside += _told(kind, [s for s in seen.of(kind) if since <= s.start < until])
        when = f"{clock(start)}-{clock(end)} " if seen.duration else ""
        lines.append(f"{when}{' '.join(inside)}".rstrip())
    return lines


def clips(seen: Perceived) -> list[tuple[float, float]]:
    """(start, end) of the spans through which captions and tags stay the same; else all of it."""
    starts = sorted({s.start for kind in ("caption", "tags") for s in seen.of(kind)})
    found: list[tuple[float, list[str]]] = []
    for start in starts:
        parts = [part for kind in ("caption", "tags") for part in _at(seen, kind, start)]
        if not found or found[-1][1] != parts:
            found.append((start, parts))
    begun = [start for start, _ in found] or [0.0]
    return list(zip(begun, [*begun[1:], seen.duration], strict=True))


def _at(seen: Perceived, kind: Kind, time: float) -> list[str]:
    """What is said of a kind at a time, as a sentence."""
    return _told(kind, [s for s in seen.of(kind) if s.start <= time < max(s.end, s.start + 1e-9)])


def _told(kind: Kind, segments: Sequence[Segment]) -> list[str]:
    if not segments:
        return []
    said = "; ".join(f"{_moment(kind, s)}{s.text.rstrip('.')}{_where(s)}" for s in segments)
    return [f"{LABELS[kind]}: {said}." if kind in LABELS else f"{said}."]


def _moment(kind: Kind, segment: Segment) -> str:
    """When something short happens, within its clip."""
    return f"at {clock(segment.start)} " if kind in ("change", "subtitle", "speech") else ""


def _where(segment: Segment) -> str:
    return f": [{', '.join(map(str, segment.box))}]" if segment.box else ""


def in_toy_words(seen: Perceived) -> list[str]:
    """A video as the toy world's films are told: what is there at first, and then what happens.

    "there is a small red ring.", "at 3 s the red ring went left.", "at 4 s a voice said: …". A
    small language model that was taught this reads nothing else. Without changes it is what the
    captions say, each with its time; of a picture, one.
    """
    lines: list[tuple[float, str]] = [
        (s.start, f"{_when(s)}a voice said: {s.text.rstrip('.')}.")
        for kind in ("subtitle", "speech")
        for s in seen.of(kind)
    ]
    things = seen.of("dense")
    if things:
        first = [_a(s.text) for s in things if s.start == things[0].start]
        lines.append((-1.0, f"there is {listed(first)}."))
    elif captions := seen.of("caption"):
        several = len(captions) > 1
        lines += [(s.start, f"{_when(s) if several else ''}{s.text}.") for s in _changed(captions)]
    lines += [(s.start, f"{_when(s)}{s.text}.") for s in seen.of("change")]
    return [text for _, text in sorted(lines, key=lambda line: line[0])]


def _when(segment: Segment) -> str:
    return f"at {round(segment.start)} s "


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _changed(segments: Iterable[Segment]) -> list[Segment]:
    """Without those that say what the one before said."""
    found: list[Segment] = []
    for segment in segments:
        if not found or found[-1].text != segment.text:
            found.append(segment)
    return found
