"""Short stories about the things of the toy world: several sentences that hang together."""

from __future__ import annotations

from collections.abc import Sequence

from vlcourse.data.world.dice import Dice
from vlcourse.data.world.facts import NUMBERS, Object, Thing
from vlcourse.data.world.words import COLOURS, SHAPES

_NAMES = ("tom", "anna", "ben", "mia", "leo", "zoe")
_OPENINGS = (
    "once there was {a}.",
    "one day {a} came to a dark place.",
    "{name} had {a}.",
    "{name} was looking for {a}.",
    "a long time ago {a} lived alone.",
)
_MEETINGS = (
    "then {b} came along.",
    "it met {b}.",
    "it saw {b} and was happy.",
    "near it there was {b}.",
    "one night it found {b}.",
)
_MIDDLES = (
    "the {bn} said: i am {bs}, and you are {as_}.",
    "the {an} was {as_}, but the {bn} was {bs}.",
    "they played together all day.",
    "the {an} wanted to be a {other}, like the star in the sky.",
    "the {bn} was {bc}, so everyone called it {bc}.",
    "nobody had ever seen {b} before.",
    "the {an} and the {bn} went for a walk.",
)
_ENDINGS = (
    "so now there were {n} friends: the {an} and the {bn}.",
    "in the end the {an} stayed with the {bn}.",
    "then {name} went home with the {an} and the {bn}.",
    "at night the {bn} went away, and only the {an} was left.",
    "and the {an} was never alone again.",
)


def story(objects: Sequence[Object], key: int) -> str:
    """A story of four to six sentences about two objects of a scene (one may be made up).

    Args:
        objects: whose colours, shapes and sizes the story uses.
        key: chooses the sentences.
    """
    first = Dice(key, "hero").pick(objects)
    others = [o for o in objects if o.shape != first.shape]
    a = Thing(first.colour, first.shape, first.size)
    if others:
        second = Dice(key, "friend").pick(others)
        b = Thing(second.colour, second.shape, second.size)
    else:
        shapes = [shape for shape in SHAPES if shape != first.shape]
        dice = Dice(key, "made-up friend")
        b = Thing(None, dice.pick(shapes), dice.pick(("small", "large"), at=8))
    slots = {
        "a": a,
        "b": b,
        "an": a.shape,
        "bn": b.shape,
        "as_": a.size,
        "bs": b.size,
        "bc": b.colour or Dice(key, "friend's colour").pick(COLOURS),
        "other": "star" if a.shape != "star" else "circle",
        "n": NUMBERS[2],
        "name": Dice(key, "name").pick(_NAMES),
    }
    middles = list(_MIDDLES)
    chosen = [Dice(key, "opening").pick(_OPENINGS), Dice(key, "meeting").pick(_MEETINGS)]
    for i in range(1 + Dice(key, "length").below(3)):
        chosen.append(Dice(key, "middle", i).take(middles))
    chosen.append(Dice(key, "ending").pick(_ENDINGS))
    return " ".join(sentence.format(**slots) for sentence in chosen)
