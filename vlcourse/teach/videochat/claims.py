"""VideoChat's claims. The rules were written before the experiments were run.

A rule reads further numbers from ``others``, each as "name", "name low" and "name high".
"""

from __future__ import annotations

from vlcourse.data.world.video_questions import VIDEO_KINDS
from vlcourse.teach.adapter.claims import judged, of, own
from vlcourse.teach.clip.claims import effect, side
from vlcourse.teach.measurement import Claim, Measurement, Verdict, with_interval

_EXPERIMENTS = "vlcourse.teach.videochat.experiments"


def temporal(m: Measurement) -> Verdict:
    """Holds where all frames answer more about time than the middle one and than their mean, each
    trained alike, and the shipped model more than its language model alone and than itself with the
    middle frame; fails where less than any of these. VideoChat-Text is told."""
    o = m.others
    trained = ", ".join(
        f"{name} {of(m, f'{name}: temporal')}"
        for name in ("all frames", "middle frame", "mean of frames")
    )
    shipped = ", ".join(
        f"{name} {of(m, f'{name}: temporal')}"
        for name in ("Embed", "Embed, middle frame", "language model alone", "Text")
    )
    reason = (
        f"questions about time, trained alike: {trained}; as they ship: {shipped}; all frames "
        f"minus their mean {effect(o, 'pooled')}; Embed minus Text {effect(o, 'Embed − Text')}"
    )
    without = ("Embed − language model alone", "Embed − Embed, middle frame")
    return judged([own(m), side(o, "pooled"), *(side(o, name) for name in without)], reason)


def text_loses(m: Measurement) -> Verdict:
    """Holds where true tags of each second answer less about time than what happens, told; fails
    where more. Names the kinds that lose, and what the toy tools lose."""
    o = m.others
    lost = [kind for kind in VIDEO_KINDS if side(o, f"lost: {kind}") > 0]
    parts = [
        f"{words} {effect(o, name)}"
        for name, words in (
            ("not in tags", "on questions that tags do not answer"),
            ("answered by tags", "on those that they answer (the reader's share)"),
        )
        if name in o
    ]
    reason = (
        f"questions about time, read by the same language model: events "
        f"{of(m, 'events told: temporal')}, perfect tags {of(m, 'perfect tags: temporal')}, "
        f"toy tools {of(m, 'toy tools: temporal')}; events minus perfect tags {', '.join(parts)}; "
        f"kinds that clearly lose: {', '.join(lost) or 'none'}; events minus toy tools "
        f"{effect(o, 'tools')}"
    )
    return judged([own(m)], reason)


def gmhra(m: Measurement) -> Verdict:
    """Holds where a token that looks answers more about time than one told the mean, fails where
    less. What a local aggregator brings is told."""
    arms = ", ".join(
        f"{name} {of(m, f'{name}: temporal')}"
        for name in ("all frames", "token sees the mean", "no local")
    )
    o = m.others
    reason = (
        f"questions about time: {arms}; with minus without a local aggregator "
        f"{effect(o, 'local')}; "
        f"training loss at the end, mean minus looking {effect(o, 'loss', 'nats')}"
    )
    return judged([own(m)], reason)


def timestamps(m: Measurement) -> Verdict:
    """Holds where a clock of seconds brings answers about time nearer than the order of frames,
    fails where it takes them farther. What the sentence brings, told to a frozen language model
    that was never taught to read it, is told."""
    arms = ", ".join(
        f"{name} {_seconds(m, f'{name}: off')}"
        for name in ("all frames", "order", "order and sentence")
    ).replace("all frames", "seconds")
    reason = (
        f"off by: {arms}; order alone minus order with the sentence "
        f"{effect(m.others, 'sentence', 's')}"
    )
    return judged([own(m)], reason)


def _seconds(m: Measurement, name: str) -> str:
    o = m.others
    return with_interval(o[name], o[f"{name} low"], o[f"{name} high"], "s") + " s"


def stages(m: Measurement) -> Verdict:
    """Holds where two stages answer more than one of as many steps, fails where less."""
    o = m.others
    reason = (
        f"questions answered: two stages {of(m, 'two stages: mean')}, one "
        f"{of(m, 'one stage: mean')}; about time, two minus one {effect(o, 'temporal')}; loss of "
        f"chats about other films, one minus two {effect(o, 'validation', 'nats')}"
    )
    return judged([own(m)], reason)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="videochat.temporal",
        statement="video tokens answer what frames cannot",
        paper="— (time, events in time, cause [slides])",
        metric="questions about time answered, trained on all frames minus on the middle one",
        unit="points",
        experiment=f"{_EXPERIMENTS}.systems:temporal",
        rule=temporal,
    ),
    Claim(
        id="videochat.text_loses",
        statement="turning video into text loses information",
        paper="— (VideoChat-Text's limits [slides])",
        metric="questions about time answered by a reader of events minus of perfect tags",
        unit="points",
        experiment=f"{_EXPERIMENTS}.systems:text_loses",
        rule=text_loses,
        items="questions",
    ),
    Claim(
        id="videochat.gmhra",
        statement="a token that looks at all frames beats one that is told their mean",
        paper="— (global relation aggregators [UniFormerV2, 3.3])",
        metric="questions about time answered, looking minus mean, as many parameters",
        unit="points",
        experiment=f"{_EXPERIMENTS}.trained:gmhra",
        rule=gmhra,
    ),
    Claim(
        id="videochat.timestamps",
        statement="telling when each frame was helps, here by a clock in its tokens",
        paper='— ("The video contains T frames sampled at t0, t1, … seconds." [paper, 4])',
        metric="how far answers about time are off, frames with their order minus with seconds",
        unit="s",
        experiment=f"{_EXPERIMENTS}.trained:timestamps",
        rule=timestamps,
    ),
    Claim(
        id="videochat.stages",
        statement="describing first, then conversing, is better than conversing only",
        paper="— (two stages [paper, 3.2])",
        metric="questions answered, two stages minus one of as many steps",
        unit="points",
        experiment=f"{_EXPERIMENTS}.stages:stages",
        rule=stages,
    ),
)
