"""What a run reads: a dataclass for each kind of data, which makes its datasets and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from vlcourse import llama_tokenizer, paths, tokenizers
from vlcourse.data.batch import Collate
from vlcourse.data.text import PrefixCollate, TextCollate
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.training import TrainConfig

PHOTO_TEMPLATES = (
    "a photo of a {}.",
    "a picture of a {}.",
    "an image of a {}.",
    "a small photo of a {}.",
    "there is a {} in the photo.",
)

VALIDATION = 64  # windows of the context's length on which the loss of other texts is measured

Measure = Callable[[nn.Module], dict[str, float]]


class RecipeError(ValueError):
    """A recipe that cannot be run as it stands, in one sentence."""


@dataclass(frozen=True)
class DataConfig:
    """Pictures with captions. ``model`` in its methods is a `CLIPConfig`."""

    source: str = "world"
    """"world"; a local path; a folder's name to be looked for in the data folders; or a hub id."""
    n_train: int = 0
    """Training samples; 0 takes all of a real source."""
    objects: tuple[int, int] = (1, 4)
    """Fewest and most objects in a toy scene."""
    templates: tuple[str, ...] = PHOTO_TEMPLATES
    """Captions of a labelled source, with {} where the class name goes."""
    tokenizer: Literal["toy", "clip"] = "toy"
    """toy: the toy world's, shipped. clip: CLIP's own, whose merges must be on this machine."""
    context: int = 64
    """Most tokens of a caption; longer ones are cut."""
    augment: str = "none"
    """none, crop, crop+flip or random-square; never flip where captions say left and right."""

    def make_tokenizer(self, model: Any) -> tokenizers.ByteBPE:
        """The tokenizer that the text tower was built for.

        Raises:
            MergesError: when it is CLIP's and its merges are not on this machine.
            RecipeError: when it has more ids than the model.
        """
        tokenizer = tokenizers.clip() if self.tokenizer == "clip" else tokenizers.toy()
        if tokenizer.vocab_size > model.text.vocab_size:
            raise RecipeError(
                f"data.tokenizer={self.tokenizer} has {tokenizer.vocab_size} ids, but "
                f"model.text.vocab_size is {model.text.vocab_size}"
            )
        return tokenizer

    def dataset(self, name: str, model: Any, train: TrainConfig, split: str) -> Any:
        """The map-style dataset of a split.

        Raises:
            RecipeError: when the source is a plain name and no data folder has it.
        """
        from vlcourse.data import hub, world

        if self.source == "world":
            samples = self.n_train or train.steps * train.batch_size
            return world.World(
                split, samples, model.image.image_size, self.objects, seed=train.seed
            )
        source = find_source(name, self.source)
        limit = self.n_train if split == "train" else 0
        return hub.open_source(source, split=split, template=self.templates, limit=limit or None)

    def collate(self, model: Any, train: bool) -> Collate:
        """Samples → batch; augmented only for training."""
        augment = self.augment if train else "none"
        return Collate(self.make_tokenizer(model), model.image.image_size, self.context, augment)

    def evaluator(self, name: str, model: Any, train: TrainConfig) -> Measure:
        """The measurements of such a run as a function of a model."""
        from vlcourse import evals

        tokenizer = self.make_tokenizer(model)
        if self.source == "world":
            return lambda model: evals.clip_world(evals.as_clip(model), tokenizer)
        test = self.dataset(name, model, train, "test")
        if not test.classes:
            return lambda model: evals.clip_pairs(evals.as_clip(model), tokenizer, test)
        return lambda model: evals.clip_labelled(
            evals.as_clip(model), tokenizer, test, self.templates
        )


@dataclass(frozen=True)
class TextData:
    """Text for a language model; ``model`` is a `LLaMAConfig` or a `Seq2SeqConfig`."""

    source: str = "corpus"
    """"corpus", the toy world's; a file, folder or glob of texts; or a hub id."""
    n_train: int = 0
    """Training documents; 0 makes a new one for every place in a batch, or takes all there are."""
    mixture: tuple[int, int, int, int] = (55, 20, 10, 15)
    """Of a hundred toy documents: reading with questions, retelling, facts, stories."""
    objects: tuple[int, int] = (2, 4)
    """Fewest and most objects in the scene of a toy document."""
    asked: int = 8
    """Questions in a toy document of the first kind."""
    brief: int = 50
    """Of a hundred toy documents of the first kind, how many ask in brief, and twice as much."""
    recall: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    """A curriculum: how many documents first teach things, sizes, pairs, pairs asked about in all
    ways, and relations and comparisons in descriptions (`vlcourse.data.recall.LESSONS`)."""
    focused: int = 0
    """Of a hundred toy documents of the first kind, how many ask one kind of question only."""
    learn_all: bool = False
    """Learn to write the description and the questions there too, not only the answers."""
    tokenizer: str = "toy"
    """toy: the toy corpus's, shipped; else the path of a LLaMA tokenizer.model."""
    context: int = 512
    """Most tokens of a toy document, longer ones being cut; of other texts, those of a window."""

    def make_tokenizer(self, model: Any) -> llama_tokenizer.FastSentenceBPE:
        """The tokenizer that the model was built for.

        Raises:
            RecipeError: when there is no such file, when it is no tokenizer.model, or when it has
                more ids than the model.
        """
        fast = llama_tokenizer.FastSentenceBPE
        try:
            toy = self.tokenizer == "toy"
            tokenizer = llama_tokenizer.toy() if toy else fast.from_model(self.tokenizer)
        except (FileNotFoundError, ValueError) as error:
            raise RecipeError(
                f"{error}; name a LLaMA tokenizer.model with data.tokenizer=…"
            ) from error
        if tokenizer.vocab_size > model.vocab_size:
            raise RecipeError(
                f"data.tokenizer={self.tokenizer} has {tokenizer.vocab_size} ids, but "
                f"model.vocab_size is {model.vocab_size}"
            )
        return tokenizer

    def dataset(self, name: str, model: Any, train: TrainConfig, split: str) -> Any:
        """The documents of a split: map-style, or a stream of packed windows of other texts.

        Raises:
            RecipeError: when the source is a plain name and no data folder has it, or the model is
                an encoder–decoder, which reads the corpus only.
            SourceError: when the source cannot be read.
        """
        if self.source == "corpus":
            from vlcourse.data.corpus import NO_LESSONS, Corpus

            documents = self.n_train or train.steps * train.batch_size
            return Corpus(
                split, documents, train.seed, self.mixture, self.objects, self.asked,
                brief=self.brief, recall=self.recall if split == "train" else NO_LESSONS,
                focused=self.focused, learn_all=self.learn_all,
            )  # fmt: skip
        from vlcourse.data.documents import Documents

        if isinstance(model, Seq2SeqConfig):
            raise RecipeError(
                f"{name} is an encoder–decoder, which reads data.source=corpus only: packed texts "
                "have no prefix to read"
            )
        source, tokenizer = find_source(name, self.source), self.make_tokenizer(model)
        limit = self.n_train if split == "train" else 0
        packed = Documents(source, split, tokenizer, self.context, train.seed, limit)
        return packed if split == "train" else packed.first(VALIDATION)

    def collate(self, model: Any, train: bool) -> TextCollate | PrefixCollate:
        """Documents → batch; without the end-of-text token where answers are measured."""
        tokenizer = self.make_tokenizer(model)
        if isinstance(model, Seq2SeqConfig):
            return PrefixCollate(tokenizer, self.context, end=train, start=model.start)
        return TextCollate(tokenizer, self.context, end=train)

    def evaluator(self, name: str, model: Any, train: TrainConfig) -> Measure:
        """Reading comprehension on unseen compositions; on other texts the loss on a test split."""
        from vlcourse import engine, evals_text, parallel

        if self.source == "corpus":
            collate = self.collate(model, train=False)
            return lambda model: evals_text.comprehension(model, collate)
        test = self.dataset(name, model, train, "test")
        whole = self.collate(model, train=True)

        def loss(model: nn.Module) -> dict[str, float]:
            ranks = parallel.current(next(model.parameters()).device).world
            shared = test * -(-ranks // len(test))  # at least one window for each rank
            means = engine.evaluate_loss(model, shared, whole, batch_size=ranks)
            return {"test_loss": means["lm"]}

        return loss


def find_source(name: str, source: str) -> str:
    """A local path or hub id as it is; a plain name as the folder that the data folders have."""
    if "/" in source or "." in source:
        return source
    if not (found := paths.find_data(source)):
        looked = ", ".join(str(folder) for folder in paths.data_folders())
        raise RecipeError(
            f"the recipe {name} reads the folder {source!r}, which is in none of "
            f"{looked}: put it there, or name a path or a hub id with data.source=…"
        )
    return str(found)
