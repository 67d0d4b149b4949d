"""Questions about a film, with answers that cannot be guessed from the words of the question.

Nor from one frame of its middle: what must be told apart is on the same side of the middle, where
there is a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from vlcourse.data.world.dice import Dice
from vlcourse.data.world.script import Event, Script
from vlcourse.data.world.words import check_choice

VIDEO_KINDS: tuple[str, ...] = (
    "order",
    "direction",
    "localisation",
    "cause",
    "counting",
    "speech",
    "image",
)
TEMPORAL: tuple[str, ...] = VIDEO_KINDS[:4]
"""What only a film, or a text with times, can tell."""
LONG_ENOUGH = 8  # seconds: in a shorter film most guesses of a time are right within a second

_FIRST = {
    "come": "what came in first, the {} or the {}?",
    "leave": "what went away first, the {} or the {}?",
    "move": "what moved first, the {} or the {}?",
    "colour": "what turned first, the {} or the {}?",
    "size": "what turned first, the {} or the {}?",
    "hit": "what hit the {2} first, the {0} or the {1}?",
}
_WHEN = {
    "come": "when did the {} come in?",
    "leave": "when did the {} go away?",
    "move": "when did the {} move?",
    "colour": "when did the {} turn {}?",
    "size": "when did the {} turn {}?",
    "hit": "when did the {} hit the {}?",
}
_HOW_MANY = {
    "come": "how many came in?",
    "leave": "how many went away?",
    "move": "how many moved?",
    "colour": "how many turned another colour?",
}


@dataclass(frozen=True)
class VideoQuestion:
    """A question with its answer: words, a number in digits, or a time such as "3 s".

    ``events`` are those that it is about, by their places in the script; ``brief`` asks the same in
    very few words.
    """

    text: str
    answer: str
    kind: str
    events: tuple[int, ...] = ()
    brief: str = ""

    @property
    def seconds(self) -> float | None:
        """The time that answers a question of localisation."""
        return seconds_of(self.answer) if self.kind == "localisation" else None


def seconds_of(answer: str) -> float | None:
    """The time that an answer gives, in seconds; None where it gives none."""
    for word in answer.replace(".", " ").split():
        if word.isdigit():
            return float(word)
    return None


def questions(
    script: Script, kinds: Sequence[str] = VIDEO_KINDS, easy: bool = False
) -> list[VideoQuestion]:
    """Questions of these kinds, as far as the script allows them.

    ``easy`` adds questions that a single frame or a guess would often answer: they are good to
    learn to read from, not to measure with.
    """
    for kind in kinds:
        check_choice("kind of question about a film", kind, VIDEO_KINDS)
    return [question for kind in kinds for question in _ASKED[kind](script, easy)]


def in_tags(script: Script, question: VideoQuestion) -> bool:
    """Whether tags at each second, and what is said, answer a question: they show neither places
    nor sizes, and so neither moves nor hits nor causes."""
    return question.kind != "cause" and all(
        script.events[i].kind in ("come", "leave", "colour") for i in question.events
    )


def same_side(script: Script, a: Event, b: Event) -> bool:
    """Whether two events are both before the middle of the film, or both after it."""
    middle = script.duration / 2
    return (a.time - middle) * (b.time - middle) > 0


def _order(script: Script, easy: bool) -> list[VideoQuestion]:
    """Which of two things that did the same came first."""
    found = []
    for (i, a), (j, b) in combinations(enumerate(script.events), 2):
        same = a.kind == b.kind and a.who != b.who and a.whom == b.whom
        if same and a.cause is None and b.cause is None and (easy or same_side(script, a, b)):
            names = [script.thing(event.who).noun() for event in (a, b)]
            ways = [names, names[::-1]]
            if not easy:
                ways = [Dice(script.seed, "asked of a film", i, j).pick(ways)]
            target = "" if a.whom is None else script.thing(a.whom).noun()
            for one, other in ways:
                text, brief = _FIRST[a.kind].format(one, other, target), f"first, {one} or {other}?"
                found.append(VideoQuestion(text, names[0], "order", (i, j), brief))
    return found


def _direction(script: Script, easy: bool) -> list[VideoQuestion]:
    """Which way something moved."""
    return [
        VideoQuestion(
            f"which way did the {name} go?", event.value, "direction", (i,), f"{name} went?"
        )
        for i, event in enumerate(script.events)
        if event.kind == "move"
        for name in [script.thing(event.who).noun()]
    ]


def _localisation(script: Script, easy: bool) -> list[VideoQuestion]:
    """When something happened, in films of 8 seconds and more."""
    if script.duration < LONG_ENOUGH and not easy:
        return []
    found = []
    for i, event in enumerate(script.events):
        name = script.thing(event.who).noun()
        last = event.value if event.whom is None else script.thing(event.whom).noun()
        text = _WHEN[event.kind].format(name, last)
        does = text.removeprefix("when did the ").removeprefix(f"{name} ")
        found.append(
            VideoQuestion(text, f"{event.time} s", "localisation", (i,), f"when {name} {does}")
        )
    return found


def _cause(script: Script, easy: bool) -> list[VideoQuestion]:
    """What brought a change about, where several things could have."""
    found = []
    for i, event in enumerate(script.events):
        if event.cause is not None:
            by, name = script.events[event.cause], script.thing(event.who).noun()
            text = f"why did the {name} turn {event.value}?"
            answer = f"the {script.thing(by.who).noun()} hit it"
            found.append(VideoQuestion(text, answer, "cause", (event.cause, i), f"why {name}?"))
    return found


def _counting(script: Script, easy: bool) -> list[VideoQuestion]:
    """How many did what the film is about: one, two or three, equally often."""
    if not script.about or script.duration < 4 and not easy:  # too short for three
        return []
    which = tuple(i for i, event in enumerate(script.events) if event.kind == script.about)
    text = _HOW_MANY[script.about]
    brief = text.removeprefix("how many ")
    return [VideoQuestion(text, str(len(which)), "counting", which, brief)]


def _speech(script: Script, easy: bool) -> list[VideoQuestion]:
    """The name of something, which is only said."""
    return [
        VideoQuestion(f"what is the {name} called?", line.name, "speech", (), f"{name} called?")
        for line in script.lines
        for name in [script.thing(line.who).noun()]
    ]


def _image(script: Script, easy: bool) -> list[VideoQuestion]:
    """The colour of something that is there all the time and stays as it is."""
    changed = {e.who for e in script.events if e.kind in ("come", "leave", "colour")}
    return [
        VideoQuestion(
            f"what colour is the {actor.shape}?", actor.colour or "", "image", (), f"{actor.shape}?"
        )
        for who, actor in enumerate(script.actors)
        if who not in changed
    ]


_ASKED: dict[str, Callable[[Script, bool], list[VideoQuestion]]] = {
    "order": _order,
    "direction": _direction,
    "localisation": _localisation,
    "cause": _cause,
    "counting": _counting,
    "speech": _speech,
    "image": _image,
}
