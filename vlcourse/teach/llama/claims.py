"""LLaMA's claims. The condition of each rule was written before its experiment was run.

Changed after trial runs were the words of the reason in `inference_budget`, and the lengths of
text in the experiment behind `cache`.
"""

from __future__ import annotations

from vlcourse.teach.measurement import Claim, Measurement, Verdict

_EXPERIMENTS = "vlcourse.teach.experiments"
ALONE = ("RMSNorm", "SwiGLU", "rotary")


def architecture(m: Measurement) -> Verdict:
    """All three together against GPT-2's block decide; the reason tells of each change alone.

    ``measured`` and each of `ALONE` in ``others`` are test losses, GPT-2's minus the changed one's,
    with their intervals.
    """
    assert m.low is not None and m.high is not None
    found: dict[str, list[str]] = {"better": [], "worse": [], "no clear difference": []}
    for name in ALONE:
        low, high = m.others[f"{name} low"], m.others[f"{name} high"]
        found[
            "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        ].append(name)  # fmt: skip
    told = "; ".join(f"{said}: {', '.join(names)}" for said, names in found.items() if names)
    reason = f"alone, {told}"
    if m.low > 0:
        return Verdict("holds", reason)
    if m.high < 0:
        return Verdict("fails", f"GPT-2's block is better; {reason}")
    return Verdict("does not show here", f"no clear difference; {reason}")


def inference_budget(m: Measurement) -> Verdict:
    """A smaller model must do as well as the biggest for as much training compute.

    ``measured`` says how many times cheaper than the biggest a token of the smallest such model is;
    1 where there is none. In ``others``, "at the bound" counts the seeds in which it is the
    smallest model of all, and "middle compute" is the training compute that the middle size needs
    for the biggest one's loss, as a share of the biggest one's.
    """
    assert m.low is not None and m.high is not None
    if m.low > 1:
        low, high = m.others["middle compute low"], m.others["middle compute high"]
        share = f"the middle size needs {low:.0%} to {high:.0%} of the biggest one's compute"
        least = "at least, as no smaller model was tried; " if m.others["at the bound"] else ""
        return Verdict("holds", f"{least}{share}")
    if m.high <= 1:
        return Verdict("fails", "with as much training compute no smaller model is as good")
    return Verdict("does not show here", "no clear difference between the sizes")


def cache(m: Measurement) -> Verdict:
    """Linear with the cache, and not without: 5/4 and 3/2 lie between n¹ and n² for n tokens.

    ``measured`` is b with the cache, where the time for n tokens grows as n^b; "without low" and
    "without high" in ``others`` are the interval of b without it.
    """
    assert m.low is not None and m.high is not None
    low, high = m.others["without low"], m.others["without high"]
    reason = f"without it the exponent is {low:.2f} to {high:.2f}"
    if m.high < 1.25 and low > 1.5:
        return Verdict("holds", reason)
    if m.low >= 1.25:
        return Verdict("fails", f"more than linear with the cache too; {reason}")
    if high <= 1.25:
        return Verdict("fails", f"linear without the cache too; {reason}")
    return Verdict("does not show here", f"too uncertain, or texts too short; {reason}")


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="llama.architecture",
        statement="RMSNorm, SwiGLU and rotary positions learn more than GPT-2's block",
        paper="— (taken over from other papers, not ablated [paper, 2.2])",
        metric="test loss at equal parameters and steps, GPT-2's block minus all three changes",
        unit="nats",
        experiment=f"{_EXPERIMENTS}.llama_architecture:architecture",
        rule=architecture,
    ),
    Claim(
        id="llama.inference_budget",
        statement="smaller and trained longer beats bigger and shorter at inference",
        paper="13B on 1 T tokens beats GPT-3, 175B on 0.3 T, on most tasks [paper, 3]",
        metric="cost of a token, biggest model ÷ smallest as good for as much training compute",
        unit="×",
        experiment=f"{_EXPERIMENTS}.llama_budget:inference_budget",
        rule=inference_budget,
    ),
    Claim(
        id="llama.cache",
        statement="with a cache of keys and values the time to write n tokens is linear in n",
        paper="without, each token reads the whole text again [Shazeer 2019, 2.4]",
        metric="exponent b of the time for n tokens, n^b, with the cache",
        unit="",
        experiment=f"{_EXPERIMENTS}.llama_cache:cache",
        rule=cache,
    ),
)
