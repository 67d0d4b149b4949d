"""CLIP's claims. Most rules were written before their experiments were run.

Those of clip.efficiency, clip.prompts and clip.robust were written anew, and stricter, once a first
measurement was known: each half of a claim is now judged by itself. What clip.efficiency asks of
rich captions was fixed after one trial with them.

A rule reads the interval of the measurement, and further intervals by name from ``others``, as
"name", "name low" and "name high".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vlcourse.teach.measurement import Claim, Measurement, Verdict, with_interval

_EXPERIMENTS = "vlcourse.teach.clip.experiments"


def over_chance(chance: float, times: float, why_not: str) -> Callable[[Measurement], Verdict]:
    """Holds when the interval lies above ``times`` × chance; fails when it reaches chance."""

    def rule(m: Measurement) -> Verdict:
        assert m.low is not None
        if m.low > times * chance:
            return Verdict("holds")
        if m.low <= chance:
            return Verdict("fails", f"no better than chance, {chance:.1%}")
        return Verdict("does not show here", why_not)

    return rule


def above_zero(against: str, unclear: str) -> Callable[[Measurement], Verdict]:
    """Holds when the interval of a difference lies above 0; fails when it lies below."""

    def rule(m: Measurement) -> Verdict:
        assert m.low is not None and m.high is not None
        if m.low > 0:
            return Verdict("holds")
        return Verdict("fails", against) if m.high < 0 else Verdict("does not show here", unclear)

    return rule


def side(others: Mapping[str, float], name: str, zero: float = 0.0) -> int:
    """1 when the interval of ``name`` lies above ``zero``, −1 when it lies below, else 0."""
    return (others[f"{name} low"] > zero) - (others[f"{name} high"] < zero)


def effect(others: Mapping[str, float], name: str, unit: str = "points") -> str:
    """The number of ``name`` with its interval: "+1.0 (0.5 to 1.5)", or "3.64 (2.22 to 5.97) ×"."""
    sign, end = ("+", "") if unit == "points" else ("", f" {unit}")
    ends = others[f"{name} low"], others[f"{name} high"]
    return with_interval(others[name], *ends, unit, sign) + end


def efficiency(m: Measurement) -> Verdict:
    """Both steps must save images: language model → bag of words → contrastive.

    A step is a ratio of images, with its interval; it fails where that lies below 1. The first is
    judged with plain captions, the only ones that the language model was trained on, the second
    with rich captions where they were measured: they are more like the web's. What plain captions
    give for it is told. "censored …" counts runs that never got there: their images are a lower
    bound, which the contrastive arm must not have.
    """
    kind = "rich" if "contrastive, rich" in m.others else "plain"
    steps = {
        "language model ÷ bag of words": ("language model, plain", "plain"),
        "bag of words ÷ contrastive": (f"contrastive, {kind}", kind),
    }
    sides = [side(m.others, name, zero=1) for name, _ in steps.values()]
    said = []
    for (step, (name, captions)), clear in zip(steps.items(), sides, strict=True):
        goal = f"{captions} captions, to {100 * m.others[f'goal, {captions}']:.0f} %"
        note = "" if clear else ", no clear difference"
        said.append(f"{step} {effect(m.others, name, '×')}{note} ({goal})")
    if kind == "rich":
        same = effect(m.others, "contrastive, plain, goal of rich", "×")
        said.append(f"with plain captions {same} to the same accuracy")
    if count := int(m.others["censored"]):
        said.append(f"runs that never got there and count with their last image: {count}")
    reason = "; ".join(said)
    if m.others["censored contrastive"]:
        return Verdict("does not show here", f"the contrastive arm never got there; {reason}")
    if min(sides) < 0:
        return Verdict("fails", reason)
    return Verdict("holds" if min(sides) > 0 else "does not show here", reason)


def prompts(m: Measurement) -> Verdict:
    """Each step is judged by itself: bare name → one template → ensemble.

    Holds where both help on the toy world; fails where one of them hurts there. Photos, where they
    were measured, are told in the reason alone: they are few, and of another model.
    """
    steps = {
        "one template": "one template − bare name",
        "an ensemble": "ensemble − one template",
    }
    words = {1: "helps", 0: "adds nothing clear", -1: "hurts"}

    def told(prefix: str) -> str:
        return ", ".join(
            f"{step} {words[side(m.others, prefix + name)]} {effect(m.others, prefix + name)}"
            for step, name in steps.items()
        )

    reason = told("")
    if f"CIFAR-10 {steps['an ensemble']}" in m.others:
        reason += f"; on photos, {told('CIFAR-10 ')}"
    sides = [side(m.others, name) for name in steps.values()]
    if min(sides) < 0:
        return Verdict("fails", reason)
    return Verdict("holds" if min(sides) > 0 else "does not show here", reason)


def robust(m: Measurement) -> Verdict:
    """The objective's effect is judged at equal pictures, of one generator and varied ones.

    Holds where captions lose less with both kinds, fails where labels do with both. What variety
    saves at equal objective is told in the reason: it may be the cause instead. Pictures of one
    generator alone cannot make it hold.
    """
    kinds = [k for k in ("one generator", "varied") if f"objective, {k}" in m.others]
    sides = [side(m.others, f"objective, {kind}") for kind in kinds]
    told = [f"{effect(m.others, f'objective, {kind}')} ({kind})" for kind in kinds]
    reason = f"points saved by captions instead of labels: {' and '.join(told)}"
    if len(kinds) == 1:
        reason += "; both learn from pictures without the web's variety"
        return Verdict("fails" if sides[0] < 0 else "does not show here", reason)
    saved = [f"{effect(m.others, f'variety, {arm}')} for {arm}" for arm in ("captions", "labels")]
    reason += f"; by varied pictures: {' and '.join(saved)}"
    if min(sides) > 0:
        return Verdict("holds", reason)
    return Verdict("fails" if max(sides) < 0 else "does not show here", reason)


def limits(m: Measurement) -> Verdict:
    """The limit shows where both swapped foils are nearer to chance than to the replaced one."""
    replaced = m.others["replaced attribute"]
    middle = (0.5 + replaced) / 2
    swapped = {"relations": (m.low, m.high)}
    swapped["attributes"] = (
        m.others["swapped attribute low"],
        m.others["swapped attribute high"],
    )
    if m.others["replaced attribute low"] <= 0.6:
        return Verdict("does not show here", "it hardly knows the replaced attribute either")
    bound = [name for name, (low, _) in swapped.items() if low is not None and low >= middle]
    blind = [name for name, (_, high) in swapped.items() if high is not None and high < middle]
    if len(blind) == 2:
        above = [name for name, (low, _) in swapped.items() if low is not None and low > 0.5]
        rest = f"swapped {' and '.join(above)} a little above chance; " if above else ""
        return Verdict("holds", f"{rest}a replaced attribute is noticed {replaced:.1%} of the time")
    if len(bound) == 2:
        return Verdict("fails", "trained on such captions, it does bind relations and attributes")
    said = f"bound: {', '.join(bound) or 'neither'}; near chance: {', '.join(blind) or 'neither'}"
    return Verdict("does not show here", said)


def real(m: Measurement) -> Verdict:
    """As `over_chance`; the reason also tells of the classes that were left out of training."""
    verdict = over_chance(1 / 10, 2, "above chance, but below twice chance")(m)
    if "left out" not in m.others:
        return verdict
    said = "above" if m.others["left out low"] > 0.1 else "not above"
    reason = f"classes left out of training: {m.others['left out']:.1%}, {said} chance"
    return Verdict(verdict.word, f"{verdict.reason}; {reason}" if verdict.reason else reason)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="clip.efficiency",
        statement="contrastive learning needs fewer images than predicting the caption",
        paper="bag-of-words 3 × a language model, contrastive 4 × bag-of-words [paper, figure 2]",
        metric="images to equal zero-shot accuracy, bag of words ÷ contrastive",
        unit="×",
        experiment=f"{_EXPERIMENTS}.efficiency:efficiency",
        rule=efficiency,
    ),
    Claim(
        id="clip.zero_shot",
        statement="names combinations it never saw, without labels",
        paper="ImageNet 76.2 % zero-shot, like a supervised ResNet-50 [paper, 3.1]",
        metric="accuracy on held-out colour × shape pairs, chance 1/48",
        unit="%",
        experiment=f"{_EXPERIMENTS}.zero_shot:zero_shot",
        rule=over_chance(1 / 48, 10, "above chance, but below ten times chance"),
        items="pictures",
    ),
    Claim(
        id="clip.robust",
        statement="loses less under shift than a supervised classifier, by its objective",
        paper="closes up to 75 % of the robustness gap, for reasons not told apart [paper, 3.3]",
        metric="accuracy lost under shift, labels minus captions on the same pictures",
        unit="points",
        experiment=f"{_EXPERIMENTS}.robust:robust",
        rule=robust,
    ),
    Claim(
        id="clip.prompts",
        statement="templates help, and an ensemble of them helps more",
        paper="≈ +5 points on ImageNet together, a template alone +1.3 [paper, 3.1.4]",
        metric="accuracy with an ensemble of prompts minus with the bare name",
        unit="points",
        experiment=f"{_EXPERIMENTS}.prompts:prompts",
        rule=prompts,
        items="pictures",
    ),
    Claim(
        id="clip.linear_probe",
        statement="its features save labels",
        paper="linear probe competitive on 27 data sets [paper, 3.2]",
        metric="accuracy from 16 labels a class, probe minus same tower trained on them alone",
        unit="points",
        experiment=f"{_EXPERIMENTS}.probe:probe_by_labels",
        rule=above_zero("training from scratch is better", "no clear difference"),
        items="pictures",
    ),
    Claim(
        id="clip.limits",
        statement="hardly notices who has what and who stands where",
        paper="— (fine detail, counting [paper, 6]; word order: Yuksekgonul et al. 2023)",
        metric="caption preferred to its swapped relation, chance 1/2",
        unit="%",
        experiment=f"{_EXPERIMENTS}.limits:limits",
        rule=limits,
        items="pictures",
    ),
    Claim(
        id="clip.real",
        statement="learns from real photos too",
        paper="— (the paper trains on 400 million pairs from the web [paper, 2.2])",
        metric="accuracy on CIFAR-10 photos, trained with template captions, chance 1/10",
        unit="%",
        experiment=f"{_EXPERIMENTS}.real:real_photos",
        rule=real,
        items="pictures",
    ),
)
