"""Lists with very short questions, for what films need: times, causes and names, each many times.

They do for films what :mod:`vlcourse.data.corpus.lessons` does for pictures.
"""

from __future__ import annotations

from vlcourse.data.corpus.lessons import RECALLS, Part
from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import Thing
from vlcourse.data.world.script import LONGEST, NAMES, shuffled
from vlcourse.data.world.words import COLOURS, allowed_pairs


def film_list(key: int, split: str) -> tuple[Part, ...]:
    """A list of times, of causes or of names, with a dozen questions.

    Args:
        key: chooses everything at random.
        split: whose pairs of colour and shape may be named.
    """
    way = Dice(key, "film list").below(10)
    if way < 4:
        return timed_things(key, split)
    return causes(key, split) if way < 8 else names(key, split)


def timed_things(key: int, split: str) -> tuple[Part, ...]:
    """ "at 2 s a red ring, at 5 s a blue star." then "when red ring? 2 s. at 5 s? blue star. …"."""
    number = 2 + Dice(key, "film list", 1).below(4)
    times = sorted(shuffled(range(1, LONGEST), key, "film list", 2)[:number])
    things = _different(key, split, number)
    told = ", ".join(f"at {t} s {thing}" for t, thing in zip(times, things, strict=True))
    parts: list[Part] = [(f"{told}.", False)]
    for turn in range(RECALLS):
        dice = Dice(key, "film list: asked", turn)
        i, way = dice.below(number, at=8), dice.below(3)
        j = (i + 1 + dice.below(number - 1, at=16)) % number
        if way == 0:
            question, answer = f"when {things[i].noun()}?", f"{times[i]} s."
        elif way == 1:
            question, answer = f"at {times[i]} s?", f"{things[i].noun()}."
        else:
            question = f"first, {things[i].noun()} or {things[j].noun()}?"
            answer = f"{things[min(i, j)].noun()}."
        parts += [(question, False), (answer, True)]
    return tuple(parts)


def causes(key: int, split: str) -> tuple[Part, ...]:
    """ "at 1 s the red ring hit the square. at 4 s the blue star hit the square. at 4 s the square
    turned pink." then "why square? the blue star hit it. …", for one thing or two."""
    dice = Dice(key, "film list", 1)
    groups, things = 1 + dice.below(2), _different(key, split, 6)
    times = shuffled(range(1, LONGEST), key, "film list", 2)
    happened: list[tuple[int, str]] = []
    asked: list[tuple[str, str]] = []
    for group in range(groups):
        target, *hitters = things[3 * group : 3 * group + 3]
        when = times[2 * group : 2 * group + 2]
        cause = dice.below(2, at=8 + 8 * group)
        changed = Thing(None, target.shape)
        colour = dice.pick([c for c in COLOURS if (c, target.shape) in allowed_pairs(split)], at=32)
        for i, (hitter, time) in enumerate(zip(hitters, when, strict=True)):
            text = f"at {time} s the {hitter.noun()} hit the {changed.noun()}."
            if i == cause:
                text += f" at {time} s the {changed.noun()} turned {colour}."
            happened.append((time, text))
            asked.append((f"when {hitter.noun()} hit the {changed.noun()}?", f"{time} s."))
        by = f"the {hitters[cause].noun()} hit it."
        asked += [(f"why {changed.noun()}?", by)] * 3
        first = min(zip(when, hitters, strict=True), key=lambda each: each[0])[1]
        one, other = hitters[:: 1 if dice.coin(at=24 + group) else -1]
        asked.append((f"first, {one.noun()} or {other.noun()}?", f"{first.noun()}."))
    parts: list[Part] = [(" ".join(text for _, text in sorted(happened)), False)]
    for turn in range(6 * groups):
        question, answer = Dice(key, "film list: asked", turn).pick(asked)
        parts += [(question, False), (answer, True)]
    return tuple(parts)


def names(key: int, split: str) -> tuple[Part, ...]:
    """ "the red ring is called leo. the star is called zoe." then "star called? zoe. …"."""
    number = 2 + Dice(key, "film list", 1).below(4)
    things = _different(key, split, number)
    called = shuffled(NAMES, key, "film list", 2, number)
    coins = Dice(key, "film list", 3)
    nouns = [
        (thing if coins.coin(at=i) else Thing(None, thing.shape)).noun()
        for i, thing in enumerate(things)
    ]
    told = [f"the {noun} is called {name}." for noun, name in zip(nouns, called, strict=True)]
    parts: list[Part] = [(" ".join(told), False)]
    for turn in range(RECALLS):
        dice = Dice(key, "film list: asked", turn)
        i = dice.below(number, at=8)
        if dice.below(3):
            parts += [(f"{nouns[i]} called?", False), (f"{called[i]}.", True)]
        else:
            parts += [(f"{called[i]}?", False), (f"{nouns[i]}.", True)]
    return tuple(parts)


def _different(key: int, split: str, number: int) -> list[Thing]:
    """Up to six things, all of different colour and shape."""
    pairs, found = list(allowed_pairs(split)), list[Thing]()
    turn = 0
    while len(found) < number:
        if not pairs:  # the shapes that are left have none of the colours that are left
            pairs, found = list(allowed_pairs(split)), []
        colour, shape = Dice(key, "film list: things", turn).take(pairs)
        found.append(Thing(colour, shape))
        pairs = [pair for pair in pairs if pair[0] != colour and pair[1] != shape]
        turn += 1
    return found
