"""The student's own model: trained beside the library's from the same start, compared, and kept.

    run = capstone.train("clip-capstone", clip_loss)
    print(run)
    capstone.curves(run)
    capstone.keep(run)

Both begin with the same weights and read the same batches, so right answers give one curve: bit for
bit if they compute the same operations in the same order, else until rounding errors have grown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vlcourse import zoo
from vlcourse.engine import Result, fit
from vlcourse.models.base import Trainable
from vlcourse.names import no_such
from vlcourse.recipes import RECIPES, Recipe, parts
from vlcourse.teach import drawing, show
from vlcourse.teach.adapter.exercises import capstone as adapter
from vlcourse.teach.blip.exercises import capstone as blip
from vlcourse.teach.blip2.exercises import capstone as blip2
from vlcourse.teach.clip.exercises import capstone as clip
from vlcourse.teach.exercise import is_yours
from vlcourse.teach.llama.exercises import capstone as llama
from vlcourse.teach.videochat.exercises import capstone as videochat
from vlcourse.teach.yours import Capstone

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPSTONES: dict[str, Capstone] = {
    c.recipe: c
    for c in (
        clip.CAPSTONE, blip.CAPSTONE, blip2.CAPSTONE, llama.CAPSTONE, adapter.CAPSTONE,
        videochat.CAPSTONE,
    )
}  # fmt: skip

FIRST = 1e-5
"""Relative difference of the first step's losses, of one and the same weights: rounding at most."""
FIRST_GRADIENT = 1e-3
"""The same for the length of its gradient."""
EARLY, SOON = 1e-3, 5
"""Relative difference of the losses that rounding may have grown to after so many steps."""
END = 0.1
"""Relative difference of the mean losses of the last tenth: two trainings of one model."""


class Assembled(Trainable):
    """A model whose losses are computed by another forward pass than its own.

    Args:
        model: holds the parameters.
        forward: (model, batch) → losses by name.
    """

    def __init__(
        self, model: Trainable, forward: Callable[[Any, dict[str, Any]], dict[str, Tensor]]
    ) -> None:
        super().__init__()
        self.model, self.config, self.way = model, model.config, forward

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What the given forward pass says."""
        return self.way(self.model, batch)

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The model's own."""
        return self.model.counts(batch)

    def lr_factors(self) -> dict[str, float]:
        """The model's own, whose parts are now parts of its."""
        return {f"model.{name}": factor for name, factor in self.model.lr_factors().items()}

    def after_step(self, step: int) -> None:
        """The model's own: momentum encoders follow."""
        self.model.after_step(step)


@dataclass(frozen=True)
class Run:
    """Two trainings of one recipe, from the same weights, over the same batches.

    Attributes:
        recipe: what was trained, with the steps that it was.
        model: the student's, of the library's class, in eval mode.
        yours, library: the rows of the two logs, a row a step: "step", "loss", "grad_norm", ….
        seconds: both trainings together.
        mine: the exercises of it whose answers were the student's own.
    """

    recipe: Recipe
    model: Trainable
    yours: list[dict[str, float]]
    library: list[dict[str, float]]
    seconds: float
    mine: tuple[str, ...]

    def differences(self) -> list[float]:
        """|your loss − the library's| at each step, in nats."""
        return [abs(a - b) for a, b in zip(_losses(self.yours), _losses(self.library), strict=True)]

    def verdict(self) -> str:
        """ "identical"; "rounding", which may have grown; or "apart": they are not one model."""
        if _losses(self.yours) == _losses(self.library):
            return "identical"
        mine, theirs = self.yours[0], self.library[0]
        tail = max(1, len(self.yours) // 10)
        ends = [sum(_losses(rows)[-tail:]) / tail for rows in (self.yours, self.library)]
        same = (
            _relative(mine["loss"], theirs["loss"]) <= FIRST
            and _relative(mine["grad_norm"], theirs["grad_norm"]) <= FIRST_GRADIENT
            and all(
                _relative(a, b) <= EARLY
                for a, b in zip(_losses(self.yours)[:SOON], _losses(self.library), strict=False)
            )
            and _relative(*ends) <= END
        )
        return "rounding" if same else "apart"

    def __str__(self) -> str:
        """In one line by how much the two curves differ, and what that may mean."""
        steps, found = len(self.yours), self.differences()
        most = max(found)
        if self.verdict() == "identical":
            return f"identical bit for bit: {steps} steps, and not one loss differs"
        if self.verdict() == "rounding" and most <= 1e-5:
            return f"the same model: over {steps} steps the losses differ by {most:.0e} at most"
        at = next((i for i, d in enumerate(found, start=1) if d > 1e-5), steps)
        if self.verdict() == "rounding":
            return (
                f"the same model, computed in another order: rounding errors grow with each step, "
                f"past 1e-5 at step {at}, to {most:.0e} at most"
            )
        return (
            f"not the same model: the losses part at step {at} and differ by up to {most:.2g}. At "
            "step 1 the weights are equal: a loss that differs there is the forward pass, a later "
            "one the gradient"
        )


def train(name: str, function: Callable[..., Tensor], steps: int | None = None) -> Run:
    """Train the library's model of a recipe, and the student's forward pass on a twin of it.

    Args:
        name: of the recipe, "clip-capstone" say.
        function: the answer to the recipe's exercise.
        steps: of each; None takes the recipe's.

    Raises:
        KeyError: for a recipe that no lecture's capstone trains; the nearest one is named.
    """
    if name not in CAPSTONES:
        raise KeyError(no_such("capstone", name, CAPSTONES))
    capstone, recipe = CAPSTONES[name], RECIPES[name]
    recipe = replace(recipe, train=replace(recipe.train, steps=steps or recipe.train.steps))
    results = [
        _fit(recipe, way)
        for way in (capstone.library, lambda model, batch: capstone.losses(function, model, batch))
    ]
    theirs, mine = results
    assert isinstance(mine.model, Assembled)
    own = tuple(id for id in (*capstone.uses, capstone.exercise) if is_yours(id))
    seconds = theirs.seconds + mine.seconds
    return Run(recipe, mine.model.model, mine.history, theirs.history, seconds, own)


def _fit(recipe: Recipe, way: Callable[..., dict[str, Tensor]]) -> Result:
    torch.manual_seed(recipe.train.seed)  # the initial weights
    model = Assembled(parts.started(recipe, RECIPES), way)
    each = replace(recipe.run, log_every=1)
    data, collate = recipe.build_data("train"), recipe.collate(train=True)
    return fit(model, data, collate, recipe.train, each, plot=False)


def curves(run: Run) -> Figure:
    """Both losses, and below them how far apart they are, on a log axis."""
    figure, (top, bottom) = drawing.new_figure(
        8, 5.5, rows=2, sharex=True, gridspec_kw={"height_ratios": (2, 1)}
    )
    steps = [row["step"] for row in run.yours]
    light, dark = show.COLOURS[5], show.COLOURS[1]
    top.plot(steps, _losses(run.library), color=light, linewidth=7, label="the library's")
    top.plot(steps, _losses(run.yours), color=dark, linewidth=1.8, label="yours")
    top.set(ylabel="training loss (nats)", title="Your model and the library's, same start")
    top.legend(loc="upper right")
    found = run.differences()
    bottom.set(xlabel="optimiser step", ylabel="|difference| (nats)")
    if any(found):
        bottom.semilogy(steps, [d or float("nan") for d in found], ".", color=dark, markersize=4)
    else:
        bottom.set(ylim=(-1, 1), yticks=(0,))
        bottom.axhline(0, color=dark, linewidth=1.8)
        bottom.text(steps[-1] / 2, 0.25, "0 at every step", ha="center")
    return figure


def keep(run: Run) -> None:
    """Save the student's model under its name, for later lectures: ``zoo.load("clip-yours")``."""
    about = {"recipe": asdict(run.recipe), "steps": len(run.yours), "yours": list(run.mine)}
    name = zoo.keep_yours(run.recipe.name, run.model, about, _rows(run.yours))
    capstone = CAPSTONES[run.recipe.name]
    total = len(capstone.uses) + 1
    own = f"{len(run.mine)} of its {total} functions are your own"
    print(f"kept as {name} ({len(run.yours)} steps; {own}): zoo.load({name!r}) gives it back")


def _rows(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{"step": int(row["step"]), "loss": round(row["loss"], 4)} for row in history]


def _losses(rows: list[dict[str, float]]) -> list[float]:
    return [row["loss"] for row in rows]


def _relative(a: float, b: float) -> float:
    return abs(a - b) / max(abs(b), 1e-9)
