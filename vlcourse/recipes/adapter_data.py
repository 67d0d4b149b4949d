"""What the runs of adapters read: instructions about the toy world, told or shown, and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlcourse.data.collate.text import TextCollate
from vlcourse.data.collate.told import ToldCollate
from vlcourse.data.corpus.instructions import INSTRUCTION_KINDS, Instructions
from vlcourse.data.corpus.shown import Captioned, Joint, Retold, Shown
from vlcourse.data.instructed import Instructed
from vlcourse.data.sources.find import local_path
from vlcourse.data.sources.instruct import read_instructions
from vlcourse.data.world.arrays import check_objects
from vlcourse.data.world.words import check_choice
from vlcourse.engine.config import TrainConfig
from vlcourse.evals import instructions
from vlcourse.layers.ranges import RangeError, check
from vlcourse.recipes.blip_data import loss_on
from vlcourse.recipes.llama import make_tokenizer
from vlcourse.recipes.recipe import Measure, find_source, fitting
from vlcourse.tokenizers import TextTokenizer

TASKS = ("captions", "instructions")  # version 2's two kinds of data
TEST_RECORDS = 64  # of the reader's own data, that the loss is measured on


def llm_of(config: Any) -> Any:
    """The config of an adapter's LLaMA, or of a LLaMA itself (fine-tuning of everything)."""
    return getattr(config, "llm", config)


@dataclass(frozen=True)
class Told:
    """Where the words come from; ``config`` in the methods is an adapter's, or a `LLaMAConfig`."""

    n_train: int = 0
    """Training samples; 0 makes a new one for every place in a batch, or takes all of a file."""
    tokenizer: str = "toy"
    """toy: the toy corpus's, shipped; else the path of a LLaMA tokenizer.model."""
    context: int = 512
    """Most tokens of a sample; longer ones are cut."""

    def __post_init__(self) -> None:
        check(self, n_train=(0, 10**12), context=(2, 10**6))

    def make_tokenizer(self, config: Any) -> TextTokenizer:
        """See :func:`vlcourse.recipes.llama.make_tokenizer`."""
        return make_tokenizer(self.tokenizer, llm_of(config).vocab_size)

    def texts(self, config: Any, end: bool) -> TextCollate:
        """Samples → batch, without pictures."""
        context = fitting(self.context, llm_of(config).context)
        return TextCollate(self.make_tokenizer(config), context, end)


@dataclass(frozen=True)
class ToldData(Told):
    """Instructions about the toy world's scenes, which are told in words."""

    objects: tuple[int, int] = (2, 4)
    """Fewest and most objects in a scene."""
    turns: int = 3
    """Instructions about a scene, one after the other; it is measured with one."""
    kinds: tuple[str, ...] = INSTRUCTION_KINDS
    """Kinds of instructions that are trained on; all are measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, turns=(1, 1000))
        check_objects(self.objects)
        for kind in self.kinds:
            check_choice("kind of instructions", kind, INSTRUCTION_KINDS)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """The scenes of a split, map-style."""
        n = self.n_train or run.steps * run.batch_size
        return Instructions(split, n, run.seed, self.objects, self.turns, self.kinds)

    def collate(self, config: Any, train: bool) -> TextCollate:
        """Samples → batch; without the end-of-text token where responses are measured."""
        return self.texts(config, end=train)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Exact responses on unseen compositions, by kind of instruction."""
        collate = self.collate(config, train=False)
        return lambda model: instructions.following(model, collate, objects=self.objects)


@dataclass(frozen=True)
class ShownData(ToldData):
    """The same about scenes that are shown; the model sees pictures."""

    teacher: int = 0
    """Of a hundred scenes, how many have what a teacher wrote from captions and boxes: a
    conversation, a detailed description, or complex reasoning."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, teacher=(0, 100))

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """The scenes of a split, map-style."""
        return Shown(
            split, self.n_train or run.steps * run.batch_size, self.teacher, seed=run.seed,
            objects=self.objects, turns=self.turns, kinds=self.kinds, size=config.image.image_size,
        )  # fmt: skip

    def collate(self, config: Any, train: bool) -> Any:
        """Samples → batch, with pictures."""
        return ToldCollate(self.texts(config, end=train), config.image.image_size)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Exact responses about pictures of unseen compositions, by kind of instruction."""
        collate = self.collate(config, train=False)
        return lambda model: instructions.following(
            model, collate, objects=self.objects, images=True
        )


@dataclass(frozen=True)
class JointData(ToldData):
    """Captions of pictures and instructions told in words, in turns: version 2's two kinds."""

    captioned: tuple[int, int] = (1, 2)
    """Fewest and most objects in a picture with a caption."""
    retold: int = 0
    """Of a hundred scenes that are told, how many are to be said again as a caption."""
    tasks: tuple[str, ...] = TASKS
    """Kinds of data that are trained on; both are measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, retold=(0, 100))
        check_objects(self.captioned)
        for task in self.tasks:
            check_choice("kind of data", task, TASKS)
        if not self.tasks:
            raise RangeError(f"tasks is empty: name some of {', '.join(TASKS)}")

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """Captions and instructions in turns, or one of the two."""
        n = self.n_train or -(-run.steps * run.batch_size // len(set(self.tasks)))
        size = config.image.image_size
        captions = Captioned(split, n, run.seed, self.captioned, size)
        told = Retold(
            split, n, self.retold, seed=run.seed + 1, objects=self.objects, turns=self.turns,
            kinds=self.kinds,
        )  # fmt: skip
        if len(set(self.tasks)) == 1:
            return captions if "captions" in self.tasks else told
        return Joint(captions, told)

    def collate(self, config: Any, train: bool) -> Any:
        """Samples → batch, with the pictures of those that have one."""
        return ToldCollate(self.texts(config, end=train), config.image.image_size)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Exact responses, and the share of captions that are true."""
        collate, tokenizer = self.collate(config, train=False), self.make_tokenizer(config)
        size = config.image.image_size
        return lambda model: {
            **instructions.following(model, collate, objects=self.objects),
            **instructions.captions(model, tokenizer, size, self.captioned),
        }


@dataclass(frozen=True)
class FileData(Told):
    """Instructions of your own: a JSON file in the form of Alpaca, LLaVA or VideoChat."""

    source: str = "alpaca.json"
    """A .json or .jsonl file; or a file's name to be looked for in the data folders."""
    tokenizer: str = "tokenizer.model"
    """The path of a LLaMA tokenizer.model; or toy, the toy corpus's."""

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Instructed:
        """The records of a split, map-style.

        Raises:
            SourceError: for a file that cannot be read; with the index and the key of a bad record.
        """
        source = find_source(self.source)
        records = read_instructions(source)
        limit = self.n_train if split == "train" and self.n_train else len(records)
        folder: Path | None = local_path(source).parent if hasattr(config, "image") else None
        tokenizer, context = self.make_tokenizer(config), self.context
        return Instructed(records[:limit], source, tokenizer, context, split, folder)

    def collate(self, config: Any, train: bool) -> Any:
        """Records → batch, with the pictures of those that have one, if the model sees."""
        texts = self.texts(config, end=True)
        if not hasattr(config, "image"):
            return texts
        return ToldCollate(texts, config.image.image_size)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """The loss on records that are kept from training."""
        test, collate = self.dataset(config, run, "test"), self.collate(config, train=False)
        return loss_on(test, collate, run.batch_size, TEST_RECORDS)
