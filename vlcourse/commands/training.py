"""The commands around a recipe: train, eval, plan and checkpoints.

Only the standard library is imported up here, as in :mod:`vlcourse.cli`.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlcourse.commands import UsageError
from vlcourse.names import no_such

if TYPE_CHECKING:
    from vlcourse.recipes import Recipe


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Tell the parser of these commands."""
    sub = commands.add_parser("train", help="train a recipe", add_help=False)
    sub.add_argument("-h", "--help", action="store_true", dest="show_help")
    sub.add_argument("--out", type=Path)
    sub.add_argument("--fresh", action="store_true")
    sub.set_defaults(run=train, takes_words=True)

    sub = commands.add_parser("eval", help="print the metrics of a trained model")
    sub.usage = "vlcourse eval RECIPE [key=value ...] [--checkpoint DIR]"
    sub.add_argument("--checkpoint", type=Path, help="a run, or one of its step-… or best folders")
    sub.set_defaults(run=evaluate, takes_words=True)

    sub = commands.add_parser("plan", help="what each GPU would hold of a recipe under FSDP")
    sub.usage = "vlcourse plan RECIPE [key=value ...] [--ranks N]"
    sub.add_argument("--ranks", type=int, default=8, help="number of GPUs (default: 8)")
    sub.set_defaults(run=plan, takes_words=True)

    sub = commands.add_parser("checkpoints", help="train and store the shipped toy models")
    sub.usage = "vlcourse checkpoints [RECIPE ...]"
    sub.set_defaults(run=checkpoints, takes_words=True)


def train(args: argparse.Namespace) -> None:
    if not args.words:
        if not args.show_help:
            raise UsageError("which recipe? vlcourse train --help lists them")
        print_train_help()
        return
    recipe = find_recipe(args.words)
    if args.show_help:
        print_recipe(recipe)
        return
    from vlcourse import recipes
    from vlcourse.engine import parallel

    result = recipes.train_recipe(recipe, out=args.out, resume=not args.fresh)
    parallel.finish()  # only here: after an error torchrun ends the other ranks
    if os.environ.get("RANK", "0") == "0":  # under torchrun, once
        print_metrics(result.metrics)


def evaluate(args: argparse.Namespace) -> None:
    """Measure the shipped model of a recipe, or the weights in ``--checkpoint``."""
    if not args.words:
        raise UsageError("which recipe? vlcourse train --help lists them")
    recipe = find_recipe(args.words)
    from vlcourse import zoo
    from vlcourse.engine import checkpoint
    from vlcourse.recipes import RECIPES, parts

    if args.checkpoint is None:
        if recipe.model != find_recipe(args.words[:1]).model:
            raise UsageError("a changed model has no shipped weights; name them with --checkpoint")
        model = zoo.load(recipe.name)
    else:
        file = checkpoint.find_weights(args.checkpoint)
        model = parts.trained(recipe, RECIPES, file)
        print(f"weights: {file.parent}", file=sys.stderr)
    print_metrics(recipe.evaluator()(model.eval()))


def plan(args: argparse.Namespace) -> None:
    if not args.words:
        raise UsageError("which recipe? vlcourse train --help lists them")
    recipe = find_recipe(args.words)
    from vlcourse.engine import plan as planner

    shares = planner.plan(recipe.build_model, args.ranks)
    whole = sum(share.weights for share in shares) // 4
    print(f"{recipe.name}: {whole:,} parameters, float32 with AdamW, in GB a GPU, no activations")
    print(planner.table(shares))


def checkpoints(args: argparse.Namespace) -> None:
    """Publish the named recipes, or all shipped ones; names are checked before the first run."""
    from vlcourse import zoo
    from vlcourse.recipes import SHIPPED

    for name in [find_recipe([word]).name for word in args.words or SHIPPED]:
        print(f"{name}: {zoo.publish(name)}")


def find_recipe(words: list[str]) -> Recipe:
    """The recipe named by the first word, changed by the key=value words after it."""
    from vlcourse import overrides
    from vlcourse.recipes import RECIPES

    name, *changes = words
    if name not in RECIPES:
        raise UsageError(no_such("recipe", name, RECIPES))
    return overrides.apply(RECIPES[name], changes)


def print_train_help() -> None:
    from vlcourse.recipes import RECIPES

    print("usage: vlcourse train RECIPE [key=value ...] [--out DIR] [--fresh]\n")
    print("  --out DIR   folder of the run (default: runs/RECIPE); an unfinished run goes on there")
    print("  --fresh     begin again, even if the folder holds an unfinished run\n")
    print("recipes:")
    for name, recipe in RECIPES.items():
        print(
            textwrap.fill(
                recipe.doc, 96, initial_indent=f"  {name:<26}", subsequent_indent=" " * 28
            )
        )
    print("\nvlcourse train RECIPE --help shows every key that can be changed.")


def print_recipe(recipe: Recipe) -> None:
    from vlcourse import overrides

    print(f"usage: vlcourse train {recipe.name} [key=value ...] [--out DIR] [--fresh]\n")
    print(textwrap.fill(recipe.doc, 96))
    for row in overrides.describe(recipe):
        if "." not in row.key:  # the recipe's own name and doc
            continue
        print(f"\n  {row.key}={row.value}   ({row.type})")
        print(textwrap.indent(textwrap.fill(row.doc, 90), " " * 6))


def print_metrics(metrics: dict[str, float]) -> None:
    for name, value in metrics.items():
        print(f"{name:<32} {value:.4f}")
