"""Runs of LLaMA-Adapter and its rivals: instructions about the toy world, and the papers'."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vlcourse.data.collate.text import TextCollate
from vlcourse.data.corpus.instructions import Instructions
from vlcourse.data.world.arrays import check_objects
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import instructions
from vlcourse.layers.ranges import check
from vlcourse.models.adapter import AdapterConfig
from vlcourse.models.lora import LoRAConfig
from vlcourse.recipes.llama import TOY_LLAMA, make_tokenizer
from vlcourse.recipes.recipe import Measure, Part, Recipe, fitting
from vlcourse.tokenizers import TextTokenizer


def context_of(config: Any) -> int:
    """The longest text of an adapter's LLaMA, or of a LLaMA itself."""
    return int(getattr(config, "llm", config).context)


@dataclass(frozen=True)
class ToldData:
    """Instructions about the toy world's scenes, told in words; ``config`` in the methods is that
    of an adapter, or a `LLaMAConfig` (fine-tuning of everything)."""

    n_train: int = 0
    """Training scenes; 0 makes a new one for every place in a batch."""
    objects: tuple[int, int] = (2, 4)
    """Fewest and most objects in a scene."""
    turns: int = 3
    """Instructions about a scene, one after the other; it is measured with one."""
    tokenizer: str = "toy"
    """toy: the toy corpus's, shipped; else the path of a LLaMA tokenizer.model."""
    context: int = 512
    """Most tokens of a sample; longer ones are cut."""

    def __post_init__(self) -> None:
        check(self, n_train=(0, 10**12), context=(2, 10**6), turns=(1, 1000))
        check_objects(self.objects)

    def make_tokenizer(self, config: Any) -> TextTokenizer:
        """See :func:`vlcourse.recipes.llama.make_tokenizer`."""
        return make_tokenizer(self.tokenizer, getattr(config, "llm", config).vocab_size)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Instructions:
        """The scenes of a split, map-style."""
        n = self.n_train or run.steps * run.batch_size
        return Instructions(split, n, run.seed, self.objects, self.turns)

    def collate(self, config: Any, train: bool) -> TextCollate:
        """Samples → batch; without the end-of-text token where responses are measured."""
        context = fitting(self.context, context_of(config))
        return TextCollate(self.make_tokenizer(config), context, end=train)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Exact responses on unseen compositions, by kind of instruction."""
        collate = self.collate(config, train=False)
        return lambda model: instructions.following(model, collate, objects=self.objects)


TOLD_TRAIN = TrainConfig(
    steps=1500, batch_size=32, lr=1e-2, warmup=50, min_lr=0.05, weight_decay=0.02, beta2=0.95
)
TOLD_RUN = RunConfig(eval_every=500)
TOY_ADAPTER = AdapterConfig(TOY_LLAMA, prompts=20, layers=3)

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="adapter-toy",
        doc="LLaMA-Adapter V1 around the frozen llm-toy, which learns to do what it is told.",
        model=TOY_ADAPTER,
        data=ToldData(),
        train=TOLD_TRAIN,
        run=TOLD_RUN,
        parts=(Part("llm", "llm-toy", frozen=True),),
    ),
    Recipe(
        name="adapter-toy-lora",
        doc="LoRA around the frozen llm-toy, on the same instructions.",
        model=LoRAConfig(TOY_LLAMA, rank=4),
        data=ToldData(),
        train=replace(TOLD_TRAIN, lr=1e-2),
        run=TOLD_RUN,
        parts=(Part("llm", "llm-toy", frozen=True),),
    ),
    Recipe(
        name="adapter-toy-full",
        doc="All of llm-toy trained on, on the same instructions.",
        model=TOY_LLAMA,
        data=ToldData(),
        train=replace(TOLD_TRAIN, lr=1e-3),
        run=TOLD_RUN,
        parts=(Part("", "llm-toy"),),
    ),
)
