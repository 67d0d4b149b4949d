"""LLaMA-Adapter's claims. The rules were written before the experiments were run.

A rule reads further numbers from ``others``, each as "name", "name low" and "name high".
"""

from __future__ import annotations

from vlcourse.teach.clip.claims import effect, side
from vlcourse.teach.measurement import Claim, Measurement, Verdict, with_interval

_EXPERIMENTS = "vlcourse.teach.adapter.experiments"
ENOUGH, SMALL, FILE = 0.95, 0.02, 1 / 50  # of the full score, of the parameters, of the file
NEAR = 0.02  # two points from training on one task alone
FULL = "all parameters"


def own(m: Measurement, zero: float = 0.0) -> int:
    """1 when the measurement's interval lies above ``zero``, −1 when below, else 0."""
    assert m.low is not None and m.high is not None
    return (m.low > zero) - (m.high < zero)


def judged(sides: list[int], reason: str) -> Verdict:
    """Fails where one is −1, holds where all are 1."""
    if min(sides) < 0:
        return Verdict("fails", reason)
    return Verdict("holds" if min(sides) > 0 else "does not show here", reason)


def of(m: Measurement, name: str) -> str:
    """A number of ``others`` in % with its interval."""
    o = m.others
    return with_interval(o[name], o[f"{name} low"], o[f"{name} high"], "%") + " %"


def zero_init(m: Measurement) -> Verdict:
    """Holds where closed gates follow more instructions at the end, fails where fewer."""
    reason = (
        f"instructions followed: gates closed {of(m, 'V1: score')}, random "
        f"{of(m, 'V1, random gates: score')}; closed minus random after the first part of the "
        f"training {effect(m.others, 'first')}; training loss at the end, random minus closed "
        f"{effect(m.others, 'loss', 'nats')}"
    )
    return judged([own(m)], reason)


def cost(m: Measurement) -> Verdict:
    """Holds where version 1 has 95 % of the full score, with 2 % of the parameters and 1/50 of the
    file; fails where its interval lies below 95 %. What the others reach with how much is told.
    """
    o = m.others
    names = sorted((n.removesuffix(": share") for n in o if n.endswith(": share")),
                   key=lambda name: o[f"{name}: share"])  # fmt: skip
    said = []
    for name in names:
        share = 100 * o[f"{name}: share"]
        size, seconds = o[f"{name}: bytes"] / 1024, 1000 * o[f"{name}: seconds"]
        said.append(
            f"{name}: {of(m, f'{name}: score')} with {share:.3g} % of the parameters, "
            f"{size:.3g} KiB, {seconds:.0f} ms a step"
        )
    enough = [n for n in names if n != FULL and o[f"{n}: ratio"] >= ENOUGH]
    least = f"{enough[0]}, {100 * o[f'{enough[0]}: share']:.3g} %" if enough else "none here"
    small = o["V1: share"] <= SMALL and o["V1: bytes"] <= FILE * o[f"{FULL}: bytes"]
    said.append(f"the smallest share with 95 % of the full score, in the mean: {least}")
    return judged([own(m, ENOUGH), 1 if small else 0], "; ".join(said))


def v2_bias(m: Measurement) -> Verdict:
    """Holds where biases, scales and norms follow more than as many parameters of prompts do, and
    more than version 2's prompts alone; fails where they follow less than either."""
    o = m.others
    shares = ", ".join(
        f"{name} {of(m, f'{name}: score')} ({o[f'{name}: trained']:,.0f} parameters)"
        for name in ("V2", "V1, 26 prompts", "V2, prompts only")
    )
    reason = f"instructions followed: {shares}; over the same prompts alone {effect(o, 'bare')}"
    return judged([own(m), side(o, "bare")], reason)


def v2_disjoint(m: Measurement) -> Verdict:
    """Holds where disjoint groups are better than shared ones in the mean of both scores, and no
    score is more than two points below training on its task alone; fails where they are worse.
    """
    o, said = m.others, []
    for what, words in (("captions", "captions true"), ("score", "instructions followed")):
        said.append(
            f"{words}: disjoint {of(m, f'disjoint: {what}')}, shared {of(m, f'shared: {what}')}, "
            f"alone {of(m, f'alone: {what}')}; disjoint minus shared "
            f"{effect(o, f'{what}, shared')}, minus alone {effect(o, f'{what}, alone')}"
        )
    near = all(o[f"{what}, alone"] >= -NEAR for what in ("captions", "score"))
    which = own(m)
    return judged([which if near else min(which, 0)], "; ".join(said))


def v2_early(m: Measurement) -> Verdict:
    """Holds where pictures that the first layers see are answered about better than those that are
    added to the last layers' prompts, fails where worse."""
    arms = ", ".join(f"{name} {of(m, f'{name}: score')}" for name in ("early", "late", "blind"))
    reason = (
        f"instructions about pictures followed: {arms}; training loss at the end, late minus early "
        f"{effect(m.others, 'loss', 'nats')}"
    )
    return judged([own(m)], reason)


def v2_expert(m: Measurement) -> Verdict:
    """Holds where an expert's caption in the prompt helps, fails where it harms."""
    reason = (
        f"instructions about pictures followed: picture alone {of(m, 'picture: score')}, with the "
        f"expert's caption {of(m, 'both: score')}, caption alone {of(m, 'caption: score')}; "
        f"captions true {of(m, 'expert: true')}"
    )
    return judged([own(m)], reason)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="adapter.zero_init",
        statement="zero-init attention is what makes it work",
        paper="83.85 on ScienceQA with it, 40.77 with random init [V1, ablation of the gate]",
        metric="instructions followed, gates closed at first minus random",
        unit="points",
        experiment=f"{_EXPERIMENTS}.told:zero_init",
        rule=zero_init,
    ),
    Claim(
        id="adapter.cost",
        statement="a small adapter follows instructions as well as full fine-tuning",
        paper="1.2 M, 4.7 MB, 1 h; LoRA 4.2 M, 16.8 MB, 1.5 h; Alpaca 7 B, 13 GB, 3 h "
        "[V1, efficiency]",
        metric="instructions followed by version 1, as a part of full fine-tuning's",
        unit="%",
        experiment=f"{_EXPERIMENTS}.told:cost",
        rule=cost,
    ),
    Claim(
        id="adapter.v2_bias",
        statement="tuned biases, scales and norms follow instructions better than prompts",
        paper="— (some 0.04 % more parameters [V2, 4.1])",
        metric="instructions followed, version 2 minus version 1 of as many parameters",
        unit="points",
        experiment=f"{_EXPERIMENTS}.told:v2_bias",
        rule=v2_bias,
    ),
    Claim(
        id="adapter.v2_disjoint",
        statement="disjoint parameters keep captions and instructions from interfering",
        paper="— (joint training with disjoint parameters [V2, 4.2])",
        metric="captions true and instructions followed (mean), disjoint minus shared groups",
        unit="points",
        experiment=f"{_EXPERIMENTS}.seen:v2_disjoint",
        rule=v2_disjoint,
    ),
    Claim(
        id="adapter.v2_early",
        statement="pictures are best seen by the first layers",
        paper="— (early fusion of visual knowledge [V2, 4.3])",
        metric="instructions about pictures followed, early minus late fusion",
        unit="points",
        experiment=f"{_EXPERIMENTS}.seen:v2_early",
        rule=v2_early,
    ),
    Claim(
        id="adapter.v2_expert",
        statement="an expert's caption in the prompt helps",
        paper="— (integration with experts at inference [V2, 4.4])",
        metric="instructions about pictures followed, with minus without the expert's caption",
        unit="points",
        experiment=f"{_EXPERIMENTS}.expert:v2_expert",
        rule=v2_expert,
    ),
)
