"""BLIP's claims. The rules were written before the experiments were run.

A rule reads further numbers from ``others``, each as "name", "name low" and "name high".
"""

from __future__ import annotations

from vlcourse.teach.clip.claims import effect, side
from vlcourse.teach.measurement import Claim, Measurement, Verdict, with_interval

_EXPERIMENTS = "vlcourse.teach.blip.experiments"
TASKS = {
    "recall@1": "retrieval",
    "relations": "swapped relations",
    "true captions": "captions true",
    "answers": "answers",
}
GENERALIST = {
    "comparing and matching": ("recall", "recall@1"),
    "writing": ("true", "true captions"),
}
NAMES = {"none": "nothing", "all": "all", "all-but-ca": "all but cross-attention"}


def tasks(m: Measurement) -> Verdict:
    """Holds where each task's interval is nearer to 100 % than to what is had without looking.

    Fails where one task's interval reaches down to that. What a specialist of the same size and
    steps does better is told.
    """
    o, said, sides = m.others, [], []
    for name, words in TASKS.items():
        low, blind = o[f"{name} low"], o[f"blind: {name}"]
        sides.append((low > (1 + blind) / 2) - (low <= blind))
        value = with_interval(o[name], low, o[f"{name} high"], "%")
        said.append(f"{words} {value} %, without looking {100 * blind:.1f} %")
    for name, (what, words) in GENERALIST.items():
        full = f"all tasks − {name}: {what}"
        unclear = "" if side(o, full) else ", no clear difference"
        said.append(f"a small model of all tasks minus one of {name} only: {words} "
                    f"{effect(o, full)}{unclear}")  # fmt: skip
    reason = "; ".join(said)
    if min(sides) < 0:
        return Verdict("fails", reason)
    return Verdict("holds" if min(sides) > 0 else "does not show here", reason)


def hard_negatives(m: Measurement) -> Verdict:
    """Holds when more relations are noticed with hard negatives, fails when fewer are.

    It is a claim about foils; the other foils, recall and captions are told.
    """
    o = m.others
    shown = ("swapped attribute", "replaced attribute", "recall", "true")
    both = (f"{name} {100 * o[f'{name}: swapped relation']:.1f} %" for name in ("hard", "random"))
    rest = (
        f"{what.replace('true', 'true captions')} {effect(o, f'gain: {what}')}" for what in shown
    )
    reason = f"swapped relations noticed: {', '.join(both)}; the rest: {', '.join(rest)}"
    which = side(o, "gain: swapped relation")
    return Verdict(("does not show here", "holds", "fails")[which], reason)


def rerank(m: Measurement) -> Verdict:
    """Holds when recall rises in the small arms and in blip-toy; fails when it falls in one.

    The arms' interval is over trainings, blip-toy's over pictures.
    """
    assert m.low is not None and m.high is not None
    o = m.others
    reason = (
        f"blip-toy {effect(o, 'blip-toy')} over pictures, from {100 * o['blip-toy before']:.1f} to "
        f"{100 * o['blip-toy after']:.1f} %; small arms from {100 * o['before']:.1f} to "
        f"{100 * o['after']:.1f} %"
    )
    sides = [(m.low > 0) - (m.high < 0), side(o, "blip-toy")]
    if min(sides) < 0:
        return Verdict("fails", reason)
    return Verdict("holds" if min(sides) > 0 else "does not show here", reason)


def sharing(m: Measurement) -> Verdict:
    """The paper says: better than the other kinds in both, and smaller than sharing nothing.

    Holds where it is above each other kind in recall and in true captions; fails where another
    kind is above it in either. No clear difference, with fewer parameters, is told as such.
    """
    o, said, sides = m.others, [], []
    for name, words in NAMES.items():
        mine = [side(o, f"{what}, {name}") for what in ("recall", "true")]
        sides += mine
        clear = "" if any(mine) else ", no clear difference"
        said.append(
            f"against sharing {words}: recall@1 {effect(o, f'recall, {name}')}, true captions "
            f"{effect(o, f'true, {name}')}{clear}"
        )
    own, none = (o[f"{name}: parameters"] for name in ("all-but-sa", "none"))
    said.append(f"its text model has {100 * own / none:.0f} % of the parameters of sharing nothing")
    reason = "; ".join(said)
    if min(sides) < 0:
        return Verdict("fails", reason)
    return Verdict("holds" if min(sides) > 0 else "does not show here", reason)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="blip.tasks",
        statement="one model finds, matches, describes and answers",
        paper="state of the art in retrieval, captions and VQA at once [paper, tables 5 to 8]",
        metric="the weakest of recall@1, relations noticed, true captions and right answers",
        unit="%",
        experiment=f"{_EXPERIMENTS}.tasks:tasks",
        rule=tasks,
        items="pictures",
    ),
    Claim(
        id="blip.hard_negatives",
        statement="hard negatives teach to notice who stands where",
        paper="— (used in ITM [paper, 3.2])",
        metric="caption preferred to its swapped relation, hard minus random negatives",
        unit="points",
        experiment=f"{_EXPERIMENTS}.sharing:hard_negatives",
        rule=hard_negatives,
    ),
    Claim(
        id="blip.rerank",
        statement="looking at the most similar ones improves retrieval",
        paper="— (used in testing, k = 256 on COCO [paper, 5.1])",
        metric="recall@1 of 256 after re-ranking 16 minus before",
        unit="points",
        experiment=f"{_EXPERIMENTS}.rerank:rerank",
        rule=rerank,
    ),
    Claim(
        id="blip.sharing",
        statement="reader and writer best share all but self-attention",
        paper="best in retrieval and captions, with fewer parameters [paper, table 3]",
        metric="recall@1 of 256, all but self-attention minus the best other kind",
        unit="points",
        experiment=f"{_EXPERIMENTS}.sharing:sharing",
        rule=sharing,
    ),
)
