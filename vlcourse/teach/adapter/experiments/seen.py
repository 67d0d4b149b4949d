"""adapter.v2_disjoint and adapter.v2_early: version 2 looks at pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vlcourse.evals import instructions
from vlcourse.recipes import Recipe
from vlcourse.teach.adapter.experiments import arms
from vlcourse.teach.adapter.experiments.arms import SEEDS, Arm, Scores, Settings
from vlcourse.teach.adapter.experiments.told import late
from vlcourse.teach.blip.experiments.cache import kept
from vlcourse.teach.blip.experiments.score import Found, minus, with_ends
from vlcourse.teach.measurement import Measurement

DISJOINT, SHARED, ALONE = "disjoint", "shared", "alone"
EARLY, LATE = "early", "late"
JOINT, VISUAL = "adapter-v2-toy", "adapter-v2-toy-visual"
BOTH = ("captions", "score")
# Late fusion adds each visual token to a prompt: as many of these as cells in the grid. In both
# arms two layers see the picture.
CELLS = 16
# In 300 steps of 16 captions beside 16 instructions captions hardly begin: what cannot be learned
# alone cannot be disturbed either.
TOGETHER = Settings(steps=500, batch_size=64, pictures=600)
# Apart, the two sides learn at the recipe's rates. Where both train everything, one rate for all
# but the picture's matrices is better: 91.0 % of captions and 70.4 % of instructions; with the
# recipe's 76.2 and 64.6 (one seed).
EVEN: tuple[tuple[str, Any], ...] = (("visual_lr", 0.1), ("early_lr", 1.0), ("late_lr", 1.0))
ARMS: dict[str, Arm] = {
    DISJOINT: Arm(JOINT, told=False),
    SHARED: Arm(JOINT, (*EVEN, ("groups", "shared")), told=False),
    "captions alone": Arm(JOINT, (), (("tasks", ("captions",)),), half=True, told=False,
                          tuned=DISJOINT),
    "instructions alone": Arm(JOINT, (), (("tasks", ("instructions",)),), half=True, told=False,
                              tuned=DISJOINT),
    EARLY: Arm(VISUAL, (("prompts", CELLS), ("layers", 1), ("early", 2)), told=False),
    LATE: Arm(VISUAL, (("prompts", CELLS), ("layers", 2), ("early", 1), ("fusion", "late")),
              told=False),
}  # fmt: skip


def joint_arm(name: str, seed: int, rate: float, settings: Settings) -> Found:
    """What an arm that may have learned both kinds of data can do.

    Returns:
        ``captions``: the share that is true of their pictures; ``score`` and each kind of
        instruction, told in words; "loss 15" and so on.
    """
    recipe = arms.recipe_of(ARMS[name], settings, seed, rate)

    def make() -> dict[str, float]:
        result = arms.fit(ARMS[name], settings, seed, rate, keep=True)
        data: Any = recipe.data
        collate = recipe.collate(train=False)
        told = instructions.following(
            result.model, collate, scenes=settings.scenes, objects=data.objects
        )
        said = instructions.captions(
            result.model, data.make_tokenizer(recipe.model), collate.image_size, data.captioned,
            settings.pictures,
        )  # fmt: skip
        return {**told, "captions": said["caption_true"], "coverage": said["caption_coverage"],
                **losses(result)}  # fmt: skip

    key = [recipe.model, recipe.train, recipe.data, settings.scenes, settings.pictures]
    return kept("adapter joint", key, make)


def losses(result: Any) -> dict[str, float]:
    """The training loss on the way, "loss 15" and so on."""
    return {f"loss {row['step']}": row["loss"] for row in result.history}


def visual_arm(name: str, seed: int, rate: float, settings: Settings) -> Found:
    """What an arm follows that was instructed about pictures; ``blind``: without seeing them."""
    recipe = arms.recipe_of(ARMS[name], settings, seed, rate)

    def make() -> dict[str, float]:
        result = arms.fit(ARMS[name], settings, seed, rate)
        blind: Any = recipe.data
        seen = asked(result.model, recipe, settings, recipe.collate(train=False))
        unseen = asked(result.model, recipe, settings, blind.texts(recipe.model, end=False))
        return {**seen, "blind": unseen["score"], **losses(result)}

    key = [recipe.model, recipe.train, recipe.data, settings.scenes]
    return kept("adapter visual", key, make)


def asked(model: Any, recipe: Recipe, settings: Settings, collate: Any) -> dict[str, float]:
    """Instructions about pictures of unseen compositions."""
    data: Any = recipe.data
    return instructions.following(
        model, collate, scenes=settings.scenes, objects=data.objects, images=True
    )


def v2_disjoint(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """Captions and instructions at once, each training its own parameters, or both all of them.

    Args:
        seeds: of weights and data, the same for all arms; three or more.
        settings: the numbers of an arm.

    Returns:
        ``measured``: the mean of captions true and instructions followed, disjoint minus shared,
        paired by seed. In ``others`` "captions, shared" and "score, shared" for each of the two,
        and "captions, alone" and "score, alone" for disjoint minus training on one kind of data.
    """
    s = settings or TOGETHER
    names = (DISJOINT, SHARED, "captions alone", "instructions alone")
    return compare_disjoint(arms.all_of(joint_arm, names, ARMS, seeds, s), seeds, s)


def compare_disjoint(scores: Scores, seeds: Sequence[int], settings: Settings) -> Measurement:
    """From the arms' numbers to what `v2_disjoint` returns."""
    alone = [
        {"captions": c["captions"], "score": i["score"]}
        for c, i in zip(scores["captions alone"], scores["instructions alone"], strict=True)
    ]
    three: dict[str, Any] = {name: scores[name] for name in (DISJOINT, SHARED)} | {ALONE: alone}
    others: dict[str, float] = {}
    gains = []
    for what in BOTH:
        for name in (SHARED, ALONE):
            others |= with_ends(f"{what}, {name}", minus(three[DISJOINT], three[name], what))
        gains.append(minus(three[DISJOINT], three[SHARED], what))
    values = torch.tensor(gains).mean(dim=0).tolist()
    return arms.measurement(values, three, BOTH, seeds, settings, others)


def v2_early(seeds: Sequence[int] = SEEDS, settings: Settings | None = None) -> Measurement:
    """Two layers see the picture: the first ones, apart from prompts, or the last ones, in theirs.

    Arguments as of :func:`v2_disjoint`.

    Returns:
        ``measured``: instructions about pictures followed, early minus late, paired by seed. In
        ``others``: "blind: score", what "early" answers without its pictures; "loss" for the
        training loss at the end, late minus early.
    """
    s = settings or Settings()
    return compare_early(arms.all_of(visual_arm, (EARLY, LATE), ARMS, seeds, s), seeds, s)


def compare_early(scores: Scores, seeds: Sequence[int], settings: Settings) -> Measurement:
    """From both arms' numbers to what `v2_early` returns."""
    first, last = scores[EARLY], scores[LATE]
    others = with_ends("loss", [late(b) - late(a) for a, b in zip(first, last, strict=True)])
    others |= with_ends("blind: score", [own["blind"] for own in first])
    kinds = ("score", *instructions.INSTRUCTION_KINDS)
    return arms.measurement(minus(first, last, "score"), scores, kinds, seeds, settings, others)
