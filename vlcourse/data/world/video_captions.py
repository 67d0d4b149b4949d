"""Films of the toy world in words: captions, timed sentences, tags and subtitles."""

from __future__ import annotations

from collections.abc import Sequence

from vlcourse.data.segments import Segment
from vlcourse.data.world.facts import Thing
from vlcourse.data.world.script import Event, Line, Script, shuffled
from vlcourse.data.world.words import CLASSES, class_index

VERBS: dict[str, str] = {
    "come": "came in",
    "leave": "went away",
    "move": "went {value}",
    "colour": "turned {value}",
    "size": "turned {value}",
    "hit": "hit",
}


def clause(script: Script, event: Event, full: bool = False) -> str:
    """An event in words, without its time: "the red ring went left".

    Args:
        script: the film.
        event: one of its events.
        full: what comes in is new: "a small red ring came in".
    """
    thing = script.thing(event.who)
    subject = f"the {thing.noun()}"
    if full and event.kind == "come":
        subject = str(seen_at(script, event.who, event.time))
    words = f"{subject} {VERBS[event.kind].format(value=event.value)}"
    return words if event.whom is None else f"{words} the {script.thing(event.whom).noun()}"


def seen_at(script: Script, who: int, time: float) -> Thing:
    """Colour, shape and size of an actor at a time."""
    actor = script.actors[who]
    colour, size = actor.colour, actor.size
    for event in script.events:
        if event.who == who and event.time <= time:
            colour = event.value if event.kind == "colour" else colour
            size = event.value if event.kind == "size" else size
    return Thing(colour, actor.shape, size)


def listed(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def cast(script: Script) -> list[int]:
    """The actors in an order of the film's own, which tells nothing of what they will do."""
    return shuffled(range(len(script.actors)), script.seed, "cast of a film")


def opening(script: Script) -> str:
    """What is there at first."""
    there = [str(script.actors[who]) for who in cast(script) if script.present(who, 0)]
    return f"there is {listed(there)}."


def timed(script: Script, event: Event) -> str:
    """An event with its time: "at 3 s the red ring went left."."""
    return f"at {event.time} s {clause(script, event, full=True)}."


def told(script: Script, heard: bool = True) -> str:
    """All of a film in words: what is there at first, then what happens or is said, with its time.

    Without what is said where it is not ``heard``.
    """
    happened = [(float(event.time), timed(script, event)) for event in script.events]
    return " ".join([opening(script), *_in_order([*(_spoken(script) if heard else ()), *happened])])


def seen(script: Script, heard: bool = True) -> str:
    """A film as tags at each second, which do not say what happens: "at 0 s: red ring, blue star."

    Things stand in the order of the vocabulary, as a tagger names them. What is said stands among
    them, where it is ``heard``.
    """
    shown = []
    for time in range(script.duration):
        there = [who for who in range(len(script.actors)) if script.present(who, time)]
        things = [seen_at(script, who, time) for who in there]
        pairs = sorted(class_index(t.colour or "", t.shape or "") for t in things)
        names = ", ".join(" ".join(CLASSES[pair]) for pair in pairs)
        shown.append((float(time), f"at {time} s: {names}."))
    return " ".join(_in_order([*shown, *(_spoken(script) if heard else ())]))


def _spoken(script: Script) -> list[tuple[float, str]]:
    """What is said, with its time."""
    return [(line.begin, f"at {line.begin:g} s a voice said: {line.text}") for line in script.lines]


def _in_order(texts: Sequence[tuple[float, str]]) -> list[str]:
    """Texts by their times; of the same time as they were given."""
    return [text for _, text in sorted(texts, key=lambda each: each[0])]


def dense(script: Script) -> list[Segment]:
    """What is there at first, up to the first event; then each event in its span."""
    first = script.events[0].span[0] if script.events else script.duration
    found = [Segment(0, max(first, 1), opening(script))]
    for event in script.events:
        begin, end = event.span
        found.append(Segment(begin, max(end, begin + 1), f"{clause(script, event, full=True)}."))
    return found


def captions(script: Script) -> list[str]:
    """True sentences: all that happens in order, who is in it, and each event alone."""
    clauses = [clause(script, event, full=True) for event in script.events]
    found = [", then ".join(clauses)] if clauses else []
    found.append(f"a film of {listed([str(script.actors[who]) for who in cast(script)])}")
    return list(dict.fromkeys([*found, *clauses]))


def tags(script: Script) -> list[str]:
    """Colours, shapes and verbs."""
    words = {actor.shape for actor in script.actors} | {actor.colour for actor in script.actors}
    for event in script.events:
        words.add({"colour": "turn", "size": "turn"}.get(event.kind, event.kind))
        words |= {event.value} if event.kind == "colour" else set()
    return sorted(word for word in words if word)


def srt(lines: Sequence[Line]) -> str:
    """Subtitles as the text of an SRT file (SubRip): numbered, with milliseconds after a comma."""
    return "\n".join(
        f"{i}\n{_clock(line.begin)} --> {_clock(line.end)}\n{line.text}\n"
        for i, line in enumerate(lines, 1)
    )


def _clock(seconds: float) -> str:
    whole = round(1000 * seconds)
    hours, rest = divmod(whole, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"
