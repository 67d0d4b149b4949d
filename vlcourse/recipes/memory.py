"""Whether a run's weights fit into this machine, before anything is allocated.

Linux hands out memory that it does not have and ends the process when it is written to, so without
this a model that is too large dies without a word.
"""

from __future__ import annotations

import os

import torch

from vlcourse.engine import parallel
from vlcourse.recipes.recipe import Recipe, RecipeError

STATE = 16  # bytes a parameter in float32: itself, its gradient, and AdamW's two means
FROZEN = 4  # itself alone


def check_memory(recipe: Recipe) -> None:
    """Raise RecipeError where weights, gradients and AdamW's means exceed the whole memory.

    On a CPU only: a GPU that is too small says so itself. Activations come on top.
    """
    if parallel.device().type != "cpu" or "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return
    here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with torch.device("meta"):
        parameters = list(recipe.build_model().parameters())
    count = sum(p.numel() for p in parameters)
    each = sum(p.numel() * (STATE if p.requires_grad else FROZEN) for p in parameters)
    ranks = int(os.environ.get("WORLD_SIZE", 1))
    copies = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))  # on this machine
    needed = each * copies / (ranks if recipe.run.parallel == "fsdp" else 1)
    if needed > here:
        raise RecipeError(
            f"{recipe.name} has {count:,} parameters and needs {needed / 1e9:,.0f} GB for them, "
            f"their gradients and AdamW, but this machine has {here / 1e9:,.0f} GB: choose a "
            f"smaller model, or more machines (vlcourse plan {recipe.name})"
        )
