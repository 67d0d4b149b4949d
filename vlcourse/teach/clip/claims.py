"""CLIP's claims. Each rule was written before its experiment was run.

A rule reads the interval of the measurement, and further intervals by name from ``others``, as
"name", "name low" and "name high".
"""

from __future__ import annotations

from collections.abc import Callable

from vlcourse.teach.measurement import Claim, Measurement, Verdict

_EXPERIMENTS = "vlcourse.teach.experiments"


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


def efficiency(m: Measurement) -> Verdict:
    """Both steps must save images: language model → bag of words → contrastive.

    ``measured`` is the ratio of images bag of words / contrastive, "language model" in ``others``
    the ratio language model / bag of words. Where "censored" counts runs, their arm did not reach
    the accuracy, and its images are a lower bound.
    """
    assert m.low is not None and m.high is not None
    steps = {
        "contrastive against bag of words": (m.low, m.high),
        "bag of words against a language model": (
            m.others["language model low"],
            m.others["language model high"],
        ),
    }
    note = ""
    if count := int(m.others.get("censored", 0)):
        note = f" ({count} runs never reached the accuracy: their images are a lower bound)"
    slower = [name for name, (_, high) in steps.items() if high < 1]
    unclear = [name for name, (low, high) in steps.items() if low <= 1 <= high]
    if slower:
        return Verdict("fails", f"needs more images, not fewer: {', '.join(slower)}{note}")
    if m.others.get("censored fastest", 0):
        return Verdict("does not show here", "the contrastive arm never got there")
    if unclear:
        return Verdict("does not show here", f"no clear difference: {', '.join(unclear)}{note}")
    return Verdict("holds", note.strip(" ()"))


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
        return Verdict("holds")
    if len(bound) == 2:
        return Verdict("fails", "trained on such captions, it does bind relations and attributes")
    said = f"bound: {', '.join(bound) or 'neither'}; near chance: {', '.join(blind) or 'neither'}"
    return Verdict("does not show here", said)


def real(m: Measurement) -> Verdict:
    """As `over_chance`; the reason also tells of the classes that were left out of training."""
    verdict = over_chance(1 / 10, 2, "above chance, but below twice chance")(m)
    if "left out" not in m.others:
        return verdict
    low, mean = m.others["left out low"], m.others["left out"]
    said = "above" if low > 0.1 else "not above"
    reason = f"classes left out of training: {mean:.1%}, {said} chance"
    return Verdict(verdict.word, f"{verdict.reason}; {reason}" if verdict.reason else reason)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="clip.efficiency",
        statement="contrastive learning needs fewer images than predicting the caption",
        paper="bag-of-words 3 × a language model, contrastive 4 × bag-of-words [paper, figure 2]",
        metric="images to equal zero-shot accuracy, bag of words ÷ contrastive",
        unit="×",
        experiment=f"{_EXPERIMENTS}.clip_efficiency:efficiency",
        rule=efficiency,
    ),
    Claim(
        id="clip.zero_shot",
        statement="names classes it never saw, without labels",
        paper="ImageNet 76.2 % zero-shot, like a supervised ResNet-50 [paper, 3.1]",
        metric="accuracy on held-out colour × shape pairs, chance 1/48",
        unit="%",
        experiment=f"{_EXPERIMENTS}.clip:zero_shot",
        rule=over_chance(1 / 48, 10, "above chance, but below ten times chance"),
    ),
    Claim(
        id="clip.robust",
        statement="loses less under shift than a supervised classifier",
        paper="closes up to 75 % of the robustness gap [paper, 3.3]",
        metric="accuracy lost under shift, labels minus contrastive",
        unit="%",
        experiment=f"{_EXPERIMENTS}.clip_robust:robust",
        rule=above_zero(
            "the classifier trained on labels loses less",
            "both lose about as much: they learn from the same pictures, without the web's variety",
        ),
    ),
    Claim(
        id="clip.prompts",
        statement="templates and ensembling help",
        paper="≈ +5 points on ImageNet [paper, 3.1.4]",
        metric="accuracy with an ensemble of prompts minus with the bare name",
        unit="%",
        experiment=f"{_EXPERIMENTS}.clip_prompts:prompts",
        rule=above_zero("the bare name is better", "no clear difference"),
    ),
    Claim(
        id="clip.linear_probe",
        statement="its features are linearly good",
        paper="linear probe competitive on 27 data sets [paper, 3.2]",
        metric="accuracy from 16 labels a class, probe minus trained from scratch on the labels",
        unit="%",
        experiment=f"{_EXPERIMENTS}.clip_probe:probe_by_labels",
        rule=above_zero("training from scratch is better", "no clear difference"),
    ),
    Claim(
        id="clip.limits",
        statement="does not bind words to things",
        paper="fine detail and counting are weak [paper, 6]",
        metric="caption preferred to its swapped relation, chance 1/2",
        unit="%",
        experiment=f"{_EXPERIMENTS}.clip_limits:limits",
        rule=limits,
    ),
    Claim(
        id="clip.real",
        statement="learns from real photos too",
        paper="— (the paper trains on 400 million pairs from the web [paper, 2.2])",
        metric="accuracy on CIFAR-10 photos, trained with template captions, chance 1/10",
        unit="%",
        experiment=f"{_EXPERIMENTS}.clip_real:real_photos",
        rule=real,
    ),
)
