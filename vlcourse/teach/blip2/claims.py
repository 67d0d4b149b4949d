"""BLIP-2's claims. The rules were written before the experiments were run.

A rule reads further numbers from ``others``, each as "name", "name low" and "name high".
"""

from __future__ import annotations

from vlcourse.teach.clip.claims import effect, side
from vlcourse.teach.measurement import Claim, Measurement, Verdict, with_interval

_EXPERIMENTS = "vlcourse.teach.blip2.experiments"
FEWER = (1, 2, 4, 8, 16)


def _own(m: Measurement) -> int:
    """1 when the measurement's interval lies above 0, −1 when below, else 0."""
    assert m.low is not None and m.high is not None
    return (m.low > 0) - (m.high < 0)


def _judged(sides: list[int], reason: str) -> Verdict:
    """Fails where one is −1, holds where all are 1."""
    if min(sides) < 0:
        return Verdict("fails", reason)
    return Verdict("holds" if min(sides) > 0 else "does not show here", reason)


def _of(m: Measurement, name: str) -> str:
    """A number of ``others`` in % with its interval."""
    o = m.others
    return with_interval(o[name], o[f"{name} low"], o[f"{name} high"], "%") + " %"


def bottleneck(m: Measurement) -> Verdict:
    """Few trained parameters suffice: better than a linear layer, not worse than training more.

    Holds where the Q-Former answers more than a linear layer does, and the interval of frozen minus
    learning language model does not lie below 0; fails where either difference lies below 0.
    """
    o = m.others
    shares = (
        f"{name} {100 * o[f'{name}: trained'] / o[f'{name}: all']:.0f} %"
        for name in ("Q-Former", "linear", "language model too")
    )
    reason = (
        f"language model frozen minus learning along {effect(o, 'frozen')}; trained share of all "
        f"parameters: {', '.join(shares)}; questions answered by a language model that learned "
        f"along {_of(m, 'language model too: mean')}, without the picture "
        f"{_of(m, 'language model too: mean blind')}; captions true, Q-Former "
        f"{_of(m, 'Q-Former: true')}, linear layer {_of(m, 'linear: true')}, language model too "
        f"{_of(m, 'language model too: true')}"
    )
    more = 1 if side(o, "frozen") >= 0 else -1
    return _judged([_own(m), more], reason)


def stage1(m: Measurement) -> Verdict:
    """Holds where a first stage helps, at equal steps of the second and at equal steps in all."""
    o = m.others
    reason = (
        f"against a second stage that has the first one's steps as well {effect(o, 'longer')}; "
        f"with {_of(m, 'Q-Former: mean')}, without {_of(m, 'without: mean')}, without and longer "
        f"{_of(m, 'without, longer: mean')}; true captions, with minus without {effect(o, 'true')}"
    )
    return _judged([_own(m), side(o, "longer")], reason)


def queries(m: Measurement) -> Verdict:
    """Holds where one query answers less than the most do; says how few are as good as these."""
    o = m.others
    alike = [n for n in FEWER if side(o, f"most − {n}") == 0]
    worse = [n for n in FEWER if side(o, f"most − {n}") > 0]
    said = [f"32 minus {n}: {effect(o, f'most − {n}')}" for n in FEWER]
    few = f"no clear difference from 32: {', '.join(map(str, alike)) or 'none'}"
    less = f"clearly less than 32: {', '.join(map(str, worse)) or 'none'}"
    return _judged([_own(m)], f"{less}; {few}; {'; '.join(said)}")


def masks(m: Measurement) -> Verdict:
    """Holds where a leaking ITC has the smaller training loss, and finds less; both are needed.

    Fails where the leak does no harm to retrieval but helps it. What a leaking ITG does is told.
    """
    o = m.others
    itc, itg = (effect(o, f"{name}'s loss", "nats") for name in ("ITC", "ITG"))
    reason = (
        f"ITC's training loss, right minus leaking {itc}; recall@1 "
        f"{_of(m, 'right masks: recall')}, leaking {_of(m, 'ITC leaks: recall')}; ITG: training "
        f"loss, right minus leaking {itg}, true captions {effect(o, 'true captions')}"
    )
    return _judged([_own(m), side(o, "ITC's loss")], reason)


def zero_shot_vqa(m: Measurement) -> Verdict:
    """Holds where both models' intervals lie above all that is had without the picture."""
    o, said, sides = m.others, [], []
    for kind in ("decoder", "encoder–decoder"):
        for blind in (f"{kind}: blind", "most frequent"):
            above = o[f"{kind} low"] > o[f"{blind} high"]
            below = o[f"{kind} high"] < o[f"{blind} low"]
            sides.append(above - below)
        said.append(
            f"{kind} {_of(m, kind)}, its language model alone {_of(m, f'{kind}: blind')}, captions "
            f"true in every word {_of(m, f'{kind}: true')}"
        )
    said.append(f"the most frequent answer {_of(m, 'most frequent')}")
    return _judged(sides, "; ".join(said))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="blip2.bottleneck",
        statement="few trained parameters suffice, if a Q-Former has them",
        paper="188 M trained, not Flamingo-80B's 10.2 B: +8.7 on VQAv2 [paper, abstract]",
        metric="questions answered about unseen compositions, Q-Former minus linear layer",
        unit="points",
        experiment=f"{_EXPERIMENTS}.second:bottleneck",
        rule=bottleneck,
    ),
    Claim(
        id="blip2.stage1",
        statement="learning to see for texts first helps",
        paper="without it zero-shot VQA is far lower, and falls with OPT [paper, figure 5]",
        metric="questions answered, with minus without a first stage",
        unit="points",
        experiment=f"{_EXPERIMENTS}.second:stage1",
        rule=stage1,
    ),
    Claim(
        id="blip2.queries",
        statement="the number of queries is the bottleneck",
        paper="— (32 × 768 numbers for 257 × 1,024 [paper, 3.1])",
        metric="questions answered with 32 queries minus with 1",
        unit="points",
        experiment=f"{_EXPERIMENTS}.second:queries",
        rule=queries,
    ),
    Claim(
        id="blip2.masks",
        statement="a mask that leaks makes the loss smaller and the model worse",
        paper="— (masks avoid that information leaks [paper, 3.2])",
        metric="recall@1 of 256, right masks minus leaking ITC",
        unit="points",
        experiment=f"{_EXPERIMENTS}.masks:masks",
        rule=masks,
    ),
    Claim(
        id="blip2.zero_shot_vqa",
        statement="a frozen language model answers about pictures it was never trained on",
        paper="65.0 on VQAv2 (Flan-T5-XXL), 52.6 (OPT-6.7B) [paper, table 2]",
        metric="questions answered about unseen compositions, the lesser of both models",
        unit="%",
        experiment=f"{_EXPERIMENTS}.zero_shot:zero_shot_vqa",
        rule=zero_shot_vqa,
        items="questions",
    ),
)
