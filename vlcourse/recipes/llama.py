"""LLaMA's runs, and those of the encoder–decoder beside it: the toy corpus's, and the paper's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vlcourse import tokenizers
from vlcourse.data.collate.text import PrefixCollate, TextCollate, rows_size
from vlcourse.data.corpus import NO_LESSONS, Corpus, check_documents
from vlcourse.data.sources.documents import Documents
from vlcourse.data.world.arrays import check_objects
from vlcourse.engine import evaluate_loss, parallel
from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.evals import reading
from vlcourse.layers.ranges import check
from vlcourse.models.base import Trainable
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.recipes.recipe import Measure, Recipe, RecipeError, find_source, fitting
from vlcourse.tokenizers import TextTokenizer, TokenizerError
from vlcourse.tokenizers.sizes import misfit

VALIDATION = 64  # windows of the context's length on which the loss of other texts is measured


def make_tokenizer(name: str, vocab_size: int) -> TextTokenizer:
    """The tokenizer that a language model was built for: "toy", or the path of LLaMA's file.

    Both must have the same number of ids. A model may also have that number rounded up to a
    multiple of 64, as published ones do for a fast head; the ids above it are then never met.

    Raises:
        RecipeError: when there is no such file, when it is no tokenizer of a LLaMA, or when it has
            another number of ids than the model.
    """
    try:
        tokenizer = tokenizers.llama(None if name == "toy" else name)
    except TokenizerError as error:
        raise RecipeError(f"{error}; name a LLaMA tokenizer.model with data.tokenizer=…") from error
    if misfit(vocab_size, tokenizer.vocab_size):
        raise RecipeError(
            f"data.tokenizer={name} has {tokenizer.vocab_size} ids, but model.vocab_size is "
            f"{vocab_size}: they do not belong together"
        )
    return tokenizer


@dataclass(frozen=True)
class CorpusData:
    """The toy world's texts, read by a decoder; ``config`` in the methods is a `LLaMAConfig`."""

    n_train: int = 0
    """Training documents; 0 makes a new one for every place in a batch."""
    mixture: tuple[int, int, int, int] = (55, 20, 10, 15)
    """Of a hundred documents: reading with questions, retelling, facts, stories."""
    objects: tuple[int, int] = (2, 4)
    """Fewest and most objects in the scene of a document."""
    asked: int = 8
    """Questions in a document of the first kind."""
    brief: int = 50
    """Of a hundred documents of the first kind, how many ask in brief, and twice as much."""
    recall: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    """A curriculum: how many documents first teach things, sizes, pairs, pairs asked about in all
    ways, and relations and comparisons in descriptions (`vlcourse.data.corpus.lessons.LESSONS`)."""
    focused: int = 0
    """Of a hundred documents of the first kind, how many ask one kind of question only."""
    learn_all: bool = False
    """Learn to write the description and the questions there too, not only the answers."""
    tokenizer: str = "toy"
    """toy: the toy corpus's, shipped; else the path of a LLaMA tokenizer.model."""
    context: int = 512
    """Most tokens of a document; longer ones are cut."""

    def __post_init__(self) -> None:
        check(self, n_train=(0, 10**12), context=(2, 10**6))
        check_documents(self.mixture, self.recall, self.asked, self.brief, self.focused)
        check_objects(self.objects)

    def make_tokenizer(self, config: Any) -> TextTokenizer:
        """See :func:`make_tokenizer`."""
        return make_tokenizer(self.tokenizer, config.vocab_size)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Corpus:
        """The documents of a split, map-style."""
        return Corpus(
            split, self.n_train or run.steps * run.batch_size, run.seed, self.mixture,
            self.objects, self.asked, brief=self.brief,
            recall=self.recall if split == "train" else NO_LESSONS,
            focused=self.focused, learn_all=self.learn_all,
        )  # fmt: skip

    def collate(self, config: Any, train: bool) -> Any:
        """Documents → batch; without the end-of-text token where answers are measured."""
        context = fitting(self.context, config.context)
        return TextCollate(self.make_tokenizer(config), context, end=train)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Reading comprehension on unseen compositions."""
        collate = self.collate(config, train=False)
        return lambda model: reading.comprehension(model, collate)


@dataclass(frozen=True)
class PrefixData(CorpusData):
    """The same texts for an encoder–decoder, which reads first and then answers."""

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Corpus:
        """The same documents, put together by the size of the rows that they make."""
        documents = super().dataset(config, run, split)
        documents.order = replace(documents.order, size=rows_size)
        return documents

    def collate(self, config: Any, train: bool) -> Any:
        """Documents → batch, cut in two: what is read, and what is written."""
        tokenizer = self.make_tokenizer(config)
        return PrefixCollate(tokenizer, self.context, end=train, start=config.start)


@dataclass(frozen=True)
class DocumentData:
    """Texts of your own, packed into windows; ``config`` in the methods is a `LLaMAConfig`."""

    source: str = "mixture"
    """A file, folder or glob of texts; a folder's name to be looked for in the data folders; or a
    hub id."""
    n_train: int = 0
    """Training documents; 0 takes all there are."""
    tokenizer: str = "tokenizer.model"
    """The path of a LLaMA tokenizer.model; or toy, the toy corpus's."""
    context: int = 2048
    """Tokens of a window."""

    def __post_init__(self) -> None:
        check(self, n_train=(0, 10**12), context=(2, 10**6))

    def make_tokenizer(self, config: Any) -> TextTokenizer:
        """See :func:`make_tokenizer`."""
        return make_tokenizer(self.tokenizer, config.vocab_size)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """A stream of packed windows for training; the first few of the test split as a list.

        Raises:
            RecipeError: when the source is a plain name and no data folder has it.
            SourceError: when the source cannot be read.
        """
        source, tokenizer = find_source(self.source), self.make_tokenizer(config)
        limit = self.n_train if split == "train" else 0
        packed = Documents(source, split, tokenizer, self.context, run.seed, limit)
        return packed if split == "train" else packed.first(VALIDATION)

    def collate(self, config: Any, train: bool) -> TextCollate:
        """Windows → batch."""
        return TextCollate(self.make_tokenizer(config), fitting(self.context, config.context))

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """The loss on a test split."""
        test, collate = self.dataset(config, run, "test"), self.collate(config, train=False)

        def loss(model: Trainable) -> dict[str, float]:
            ranks = parallel.current(next(model.parameters()).device).world
            shared = test * -(-ranks // len(test))  # at least one window for each rank
            return {"test_loss": evaluate_loss(model, shared, collate, batch_size=ranks)["lm"]}

        return loss


TOY_WORDS = 622  # ids of the toy language models' tokenizer

LLAMA_BATCH, LLAMA_CONTEXT = 2048, 2048  # 4 M tokens (Touvron et al. 2023, table 2)

# Name, published shape, learning rate, tokens (Touvron et al. 2023, table 2).
LLAMA_RUNS = (
    ("llama-7b", "7B", 3e-4, 1.0e12),
    ("llama-13b", "13B", 3e-4, 1.0e12),
    ("llama-33b", "33B", 1.5e-4, 1.4e12),
    ("llama-65b", "65B", 1.5e-4, 1.4e12),
)


def llama_recipe(name: str, shape: str, lr: float, tokens: float) -> Recipe:
    """A run of the LLaMA paper, with the hyperparameters of its section 2.3.

    Its mixture of public texts is yours to name with ``data.source``, and so is the tokenizer.
    """
    train = TrainConfig(
        steps=round(tokens / (LLAMA_BATCH * LLAMA_CONTEXT)), batch_size=LLAMA_BATCH, lr=lr,
        warmup=2000, min_lr=0.1, weight_decay=0.1, beta1=0.9, beta2=0.95, clip_norm=1.0,
    )  # fmt: skip
    run = RunConfig(
        precision="bf16", checkpointing=True, parallel="fsdp", workers=1,
        eval_every=1000, save_every=1000, log_every=10,
    )  # fmt: skip
    data = DocumentData(context=LLAMA_CONTEXT)
    doc = f"LLaMA {shape} as in the paper: {tokens / 1e12:.1f} T tokens; yours with data.source=…"
    return Recipe(name, doc, LLaMAConfig.preset(shape), data, train, run)


TOY_LLAMA = LLaMAConfig(vocab_size=TOY_WORDS, width=64, layers=3, heads=4, hidden=176, context=512)

# What both readers share. How many documents each lesson takes, and so how many steps the whole,
# was found by going on to the next as soon as the training loss or new lists showed that the last
# was learned.
READER_DATA = CorpusData(mixture=(80, 10, 4, 6), brief=70, focused=30)
READER_TRAIN = TrainConfig(batch_size=64, lr=1.8e-3, warmup=50, min_lr=0.1, weight_decay=0.3)
READER_RUN = RunConfig(eval_every=200)

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="llm-toy",
        doc="A LLaMA on the toy corpus that reads a scene and answers questions about it.",
        model=TOY_LLAMA,
        data=replace(READER_DATA, recall=(19_200, 19_200, 25_600, 20_480, 30_720)),
        train=replace(READER_TRAIN, steps=5600),
        run=READER_RUN,
    ),
    Recipe(
        name="seq2seq-toy",
        doc="An encoder–decoder on the same corpus, which reads first and then answers.",
        model=Seq2SeqConfig(
            vocab_size=TOY_WORDS,
            width=64,
            encoder_layers=3,
            decoder_layers=3,
            heads=4,
            head_width=16,
            hidden=128,
            max_distance=64,
        ),
        data=PrefixData(
            mixture=(80, 10, 4, 6),
            brief=40,
            focused=30,
            recall=(12_800, 20_480, 17_920, 64_000, 15_360),
        ),
        train=replace(READER_TRAIN, steps=4000),
        run=READER_RUN,
    ),
    Recipe(
        name="llm-capstone",
        doc="A LLaMA on the toy corpus in 300 steps, for a forward pass of your own.",
        model=TOY_LLAMA,
        data=CorpusData(mixture=(0, 30, 20, 50), objects=(1, 3)),
        train=TrainConfig(steps=300, batch_size=32, lr=3e-3, warmup=20, min_lr=0.1),
    ),
    *(llama_recipe(*run) for run in LLAMA_RUNS),
)
