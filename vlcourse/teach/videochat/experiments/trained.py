"""videochat.gmhra and videochat.timestamps: the trained model with one piece exchanged."""

from __future__ import annotations

from collections.abc import Sequence

from vlcourse.teach.adapter.experiments.told import late
from vlcourse.teach.blip.experiments.score import Scores, measurement, minus, with_ends
from vlcourse.teach.measurement import Measurement
from vlcourse.teach.videochat.experiments import arms
from vlcourse.teach.videochat.experiments.arms import SEEDS, Settings

TOLD = ("temporal", "mean", "off")


def gmhra(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """The token looks at all tokens, or is told their mean; or there is no local aggregator.

    Args:
        seeds: of what is fresh and of the order of the chats, the same for all arms; three or more.
        settings: the numbers of an arm.

    Returns:
        ``measured``: questions about time, the token that looks minus the one that is told the
        mean, of as many parameters, paired by seed. In ``others``: "local" for the same with minus
        without a local aggregator; "loss" for the training loss at the end, mean minus looking.
    """
    s = settings or Settings()
    names = (arms.ALL, arms.MEAN, arms.NO_LOCAL)
    return compare_gmhra(arms.all_of(names, seeds, s), seeds, s)


def compare_gmhra(scores: Scores, seeds: Sequence[int], settings: Settings) -> Measurement:
    """From the arms' numbers to what `gmhra` returns."""
    full, mean, bare = (scores[n] for n in (arms.ALL, arms.MEAN, arms.NO_LOCAL))
    others = with_ends("local", minus(full, bare, "temporal"))
    others |= with_ends("loss", [late(b) - late(a) for a, b in zip(full, mean, strict=True)])
    others |= {f"{name}: trained": found[0]["trained"] for name, found in scores.items()}
    values = minus(full, mean, "temporal")
    return measurement(values, scores, TOLD, seeds, settings, others)


def timestamps(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """Frames know their seconds by a clock; or only their order; or that, and the sentence is told.

    Films are of several lengths, so that the order of frames does not tell seconds. Arguments as of
    :func:`gmhra`.

    Returns:
        ``measured``: how far answers about time are off, order minus seconds, in seconds, paired by
        seed. In ``others``: "sentence" for order alone minus order with the sentence.
    """
    s = settings or Settings()
    names = (arms.ALL, arms.ORDER, arms.SENTENCE)
    return compare_timestamps(arms.all_of(names, seeds, s), seeds, s)


def compare_timestamps(scores: Scores, seeds: Sequence[int], settings: Settings) -> Measurement:
    """From the arms' numbers to what `timestamps` returns."""
    clock, order, said = (scores[n] for n in (arms.ALL, arms.ORDER, arms.SENTENCE))
    others = with_ends("sentence", minus(order, said, "off"))
    values = minus(order, clock, "off")
    return measurement(values, scores, TOLD, seeds, settings, others)
