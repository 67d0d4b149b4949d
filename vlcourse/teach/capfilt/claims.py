"""CapFilt's claims. The rules were written before the experiments were run.

A rule reads the numbers of the arms from ``others``, each as "name", "name low" and "name high".
What is judged is a model as it comes from its pretraining; what is left of it after fine-tuning all
on the same clean pairs, as the paper measures, is told in the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from vlcourse.teach.clip.claims import effect, side
from vlcourse.teach.measurement import Claim, Measurement, Verdict

_EXPERIMENTS = "vlcourse.teach.capfilt.experiments"
JUDGED = {"recall": "recall@1", "true": "true captions"}


def told(others: Mapping[str, float], end: str = "") -> str:
    """ "recall@1 +4.0 (2.0 to 6.0), true captions +1.0 (−1.0 to 3.0), no clear difference"."""
    said = []
    for name, words in JUDGED.items():
        full = f"gain: {name}{end}"
        unclear = "" if side(others, full) else ", no clear difference"
        said.append(f"{words} {effect(others, full)}{unclear}")
    return ", ".join(said)


def after_fine_tuning(others: Mapping[str, float]) -> str:
    """The same differences, once all models have learned from the clean pairs too."""
    return f"after fine-tuning on the same clean pairs: {told(others, ', fine-tuned')}"


def capfilt(m: Measurement) -> Verdict:
    """Holds where the intervals of both arms do not overlap, in recall and in true captions.

    Fails where they do not overlap the other way round in one of them. What each half does alone
    and how well the filter judges is told.
    """
    o, sides = m.others, []
    for name in JUDGED:
        above = o[f"both: {name} low"] > o[f"web: {name} high"]
        below = o[f"both: {name} high"] < o[f"web: {name} low"]
        sides.append(above - below)
    said = [f"both against the noisy web: {told(o)}", after_fine_tuning(o)]
    alone = (f"{way} {100 * o[f'{way}: recall']:.1f} %" for way in ("filter", "captioner"))
    said.append(f"alone, recall@1: web {100 * o['web: recall']:.1f} %, {', '.join(alone)}")
    kept, found = (f"{100 * o[f'web texts: {name}']:.1f} %" for name in ("precision", "recall"))
    said.append(f"the filter on web texts: precision {kept} at recall {found}")
    reason = "; ".join(said)
    if min(sides) < 0:
        return Verdict("fails", reason)
    return Verdict("holds" if min(sides) > 0 else "does not show here", reason)


def _judged(m: Measurement, synthetic: str) -> Verdict:
    """Holds where recall and true captions both gain; fails where one loses and none gains."""
    sides = [side(m.others, f"gain: {name}") for name in JUDGED]
    reason = f"{told(m.others)}; {after_fine_tuning(m.others)}; {synthetic}"
    if min(sides) < 0 and max(sides) <= 0:
        return Verdict("fails", reason)
    return Verdict("holds" if min(sides) > 0 else "does not show here", reason)


def _texts(others: Mapping[str, float], ways: Mapping[str, str]) -> str:
    """What there is to say of the synthetic texts of each way."""
    return "; ".join(
        f"{name}: {100 * others[f'{way} texts: true']:.0f} % of the texts true, "
        f"{100 * others[f'{way} texts: dropped']:.0f} % dropped"
        for way, name in ways.items()
    )


def diversity(m: Measurement) -> Verdict:
    """See :func:`_judged`; the share of true, dropped and different texts is told."""
    different = " and ".join(
        f"{100 * m.others[f'{way} texts: distinct']:.0f} %" for way in ("both", "beam")
    )
    texts = _texts(m.others, {"both": "nucleus", "beam": "beam"})
    return _judged(m, f"{texts}; different texts: {different}")


def decouple(m: Measurement) -> Verdict:
    """See :func:`_judged`; the share of true and dropped texts is told."""
    return _judged(m, _texts(m.others, {"both": "separate", "shared": "shared"}))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="blip.capfilt",
        statement="a captioner and a filter make of a noisy web a set that teaches more",
        paper="TR@1 78.4 → 80.6, IR@1 60.7 → 63.1, CIDEr 127.8 → 129.7, 14M [paper, table 1]",
        metric="recall@1 of 256, captions and filter minus noisy web, equal steps",
        unit="points",
        experiment=f"{_EXPERIMENTS}.tables:capfilt",
        rule=capfilt,
    ),
    Claim(
        id="blip.diversity",
        statement="captions drawn from the nucleus teach more than those of beam search",
        paper="noise 25 % against 19 %, yet better results [paper, table 2]",
        metric="recall@1 of 256, nucleus minus beam search",
        unit="points",
        experiment=f"{_EXPERIMENTS}.tables:diversity",
        rule=diversity,
    ),
    Claim(
        id="blip.decouple",
        statement="captioner and filter do better apart than as one model",
        paper="noise 25 % against 8 % when shared, and better results [paper, table 4]",
        metric="recall@1 of 256, separate minus shared",
        unit="points",
        experiment=f"{_EXPERIMENTS}.tables:decouple",
        rule=decouple,
    ),
)
