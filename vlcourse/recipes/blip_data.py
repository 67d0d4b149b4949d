"""What BLIP's runs read: pictures with captions, and pictures with questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlcourse.data.asked import WorldQuestions, open_questions
from vlcourse.data.collate.captions import CaptionCollate
from vlcourse.data.collate.questions import QuestionCollate
from vlcourse.data.world import World
from vlcourse.data.world.web import Halved
from vlcourse.engine import evaluate_loss, parallel
from vlcourse.engine.config import TrainConfig
from vlcourse.evals import captions, filtering, matching, rerank, vqa
from vlcourse.evals.clip import distinct_pairs, recalls
from vlcourse.layers.frozen import evaluating
from vlcourse.layers.ranges import check
from vlcourse.models.base import Trainable
from vlcourse.models.blip_vqa import BLIPAnswerer
from vlcourse.models.matching import Matcher
from vlcourse.models.med_config import MEDConfig
from vlcourse.recipes.pairs import Pairs, Pictures
from vlcourse.recipes.recipe import Measure, RecipeError, find_source, fitting
from vlcourse.tokenizers import TokenizerError, med

WRITE = {"lm", "itg"}  # the losses of texts that are written
TEST_PAIRS = 1000  # of the reader's own data, that retrieval is measured on


def make_tokenizer(name: str, text: MEDConfig) -> med.MEDTokenizer:
    """The tokenizer that a MED was built for: "toy", "bert", or the path of BERT's file.

    Raises:
        RecipeError: when there is no such file, or its ids are others than the model's.
    """
    return with_ids(name, words(name), text, ("vocab_size", "cls", "sep", "enc", "dec"))


def words(name: str) -> med.MEDTokenizer:
    """The tokenizer of that name; RecipeError when there is no such file."""
    try:
        return med.toy() if name == "toy" else med.real(None if name == "bert" else name)
    except TokenizerError as error:
        raise RecipeError(f"{error}; or name a file with data.tokenizer=…") from error


def with_ids(
    name: str, tokenizer: med.MEDTokenizer, text: Any, keys: Sequence[str]
) -> med.MEDTokenizer:
    """The tokenizer, if these ids are those of a text model's config; else RecipeError."""
    for key in keys:
        here, there = getattr(tokenizer, key), getattr(text, key)
        if here != there:
            raise RecipeError(
                f"data.tokenizer={name} has {key} {here}, but model.text.{key} is {there}: they "
                "do not belong together"
            )
    return tokenizer


def loss_on(test: Any, collate: Any, batch_size: int, limit: int) -> Measure:
    """The losses on the first ``limit`` samples of a test split, as ``test_lm`` and so on."""

    def losses(model: Trainable) -> dict[str, float]:
        ranks = parallel.current(next(model.parameters()).device).world
        size = -(-min(batch_size, len(test)) // ranks) * ranks
        found = evaluate_loss(model, test, collate, size, limit=max(size, limit))
        return {f"test_{name}": value for name, value in found.items()}

    return losses


@dataclass(frozen=True)
class BLIPData(Pairs):
    """Pictures with captions. ``config`` in its methods is a `BLIPConfig`."""

    tokenizer: str = "toy"
    """toy: the toy world's, shipped. bert: bert-base-uncased, which must be on this machine. Else
    the path of its vocab.txt or tokenizer.json."""
    prompt: str = ""
    """Words before each caption, which the model is given and does not learn to write."""
    groups: bool = False
    """Pairs that show one picture fit each other, as in the fine-tuning for retrieval."""
    foils: bool = False
    """The toy world: a caption that says left, or two colours, comes with one in which right stands
    there, or the colours are exchanged, and a loss of their own teaches ITM to tell the two apart
    (NegCLIP's hard negative texts, Yuksekgonul et al. 2023, section 4.1)."""
    every_foil: bool = False
    """With ``foils``: a caption comes with one of each kind, and also with one in which an
    attribute is replaced."""
    halves: int = 0
    """The toy world: how many of a hundred captions say half of what is seen, and are true."""
    truth: bool = False
    """The toy world: a caption that is true of another picture, too, is never its wrong one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, halves=(0, 100))
        if self.every_foil and not self.foils:
            raise RecipeError("data.every_foil=true adds to data.foils=true: set both, or neither")
        asked = {"foils": ("true", "false"), "truth": ("true", "false"),
                 "halves": (self.halves, 0)}  # fmt: skip
        for key, (value, none) in asked.items():
            if getattr(self, key) and self.source != "world":
                raise RecipeError(
                    f"data.{key}={value}: only the toy world knows what is true and false of its "
                    f"pictures, and data.source={self.source} does not; set data.{key}={none}"
                )

    def make_tokenizer(self, config: Any) -> med.MEDTokenizer:
        """See :func:`make_tokenizer`.

        Raises:
            RecipeError: also when the model leaves out another number of tokens than the prompt's.
        """
        tokenizer = self.known(config)
        given = 1 + len(tokenizer.encode(self.prompt))
        if config.prompt != given:
            raise RecipeError(
                f"data.prompt={self.prompt!r} is {given} tokens with [CLS], but model.prompt is "
                f"{config.prompt}: set model.prompt={given}"
            )
        return tokenizer

    def known(self, config: Any) -> med.MEDTokenizer:
        """The tokenizer of that name, with the ids of the model."""
        return make_tokenizer(self.tokenizer, config.text)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """The map-style dataset of a split.

        Raises:
            RecipeError: when the source is a plain name and no data folder has it, or a batch is a
                single pair, and there are losses that need another.
        """
        if split == "train" and run.batch_size < 2 and {"itc", "itm"} & set(config.tasks):
            raise RecipeError(
                "train.batch_size=1: a single pair has nothing to be compared with; use 2 or more"
            )
        if self.halves:
            samples = self.n_train or run.steps * run.batch_size
            size = config.image.image_size
            return Halved(split, samples, size, self.objects, seed=run.seed, halves=self.halves)
        return super().dataset(config, run, split)

    def collate(self, config: Any, train: bool) -> CaptionCollate:
        """Samples → batch; augmented only for training."""
        context, size = fitting(self.context, config.text.context), config.image.image_size
        augment = self.augment if train else "none"
        tokenizer = self.make_tokenizer(config)
        foils, truth = self.foils and train, self.truth and train
        return CaptionCollate(
            tokenizer, size, context, augment, self.prompt, self.groups, foils, truth,
            self.every_foil,
        )  # fmt: skip

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """What the losses are for: retrieval and matching, and captions; else the loss of these."""
        tokenizer = self.make_tokenizer(config)
        tasks, world = set(config.tasks), self.source == "world"
        measures: list[Measure] = []
        if world and "itm" in tasks:
            measures += [
                lambda model: rerank.retrieval(as_matcher(model), tokenizer),
                lambda model: matching.matching(as_matcher(model), tokenizer),
            ]
        if self.halves and "itm" in tasks:
            measures.append(lambda model: filtering.filtering(as_matcher(model), tokenizer))
        if world and tasks & WRITE:
            writing = captions.Writing(self.prompt)
            measures.append(
                lambda model: captions.captions(as_matcher(model), tokenizer, writing=writing)
            )
        if not measures:
            test = self.dataset(config, run, "test")
            if "itc" in tasks:
                measures.append(lambda model: pairs(as_matcher(model), tokenizer, test))
            if tasks & WRITE:
                collate = self.collate(config, train=False)
                measures.append(loss_on(test, collate, run.batch_size, TEST_PAIRS))
        return lambda model: {k: v for measure in measures for k, v in measure(model).items()}


def pairs(model: Matcher, tokenizer: med.MEDTokenizer, test: Any) -> dict[str, float]:
    """Retrieval among a captioned dataset's first pairs, by cosines: recall@1 both ways."""
    images, texts, right = distinct_pairs(test, model.config.image.image_size, TEST_PAIRS)
    with evaluating(model):
        seen = rerank.embed_images(model, images)
        said = rerank.embed_texts(model, tokenizer, texts, truncate=True)
    return recalls(model.similarity(seen, said).T, right)


def as_matcher(model: Trainable) -> Matcher:
    """The same model, known to be a BLIP or a BLIP-2; TypeError when it is another."""
    if not isinstance(model, Matcher):
        raise TypeError(f"this measurement needs a BLIP, not a {type(model).__name__}")
    return model


@dataclass(frozen=True)
class QuestionData(Pictures):
    """Pictures with questions. ``config`` in its methods is a `BLIPAnswererConfig`."""

    question: str = "question"
    """The column of questions."""
    answer: str = "answer"
    """The column of answers: one, or a list of what several people said."""
    tokenizer: str = "toy"
    """As in `BLIPData`: toy, bert, or a path."""

    def make_tokenizer(self, config: Any) -> med.MEDTokenizer:
        """See :func:`make_tokenizer`."""
        return make_tokenizer(self.tokenizer, config.text)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """The map-style dataset of a split.

        Raises:
            RecipeError: when the source is a plain name and no data folder has it.
        """
        if self.source == "world":
            samples, size = self.n_train or run.steps * run.batch_size, config.image.image_size
            return WorldQuestions(World(split, samples, size, self.objects, seed=run.seed))
        limit = self.n_train if split == "train" else 0
        source = find_source(self.source)
        return open_questions(source, split, self.image, self.question, self.answer, limit or None)

    def collate(self, config: Any, train: bool) -> QuestionCollate:
        """Samples → batch; augmented only for training."""
        context = fitting(self.context, config.text.context)
        augment = self.augment if train else "none"
        return QuestionCollate(
            self.make_tokenizer(config), config.image.image_size, context, augment
        )

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Accuracy by kind of question in the toy world; the loss on a test split elsewhere."""
        if self.source == "world":
            tokenizer, asked = self.make_tokenizer(config), vqa.question_set(objects=self.objects)
            return lambda model: vqa.vqa(as_answerer(model), tokenizer, asked)
        test, collate = self.dataset(config, run, "test"), self.collate(config, train=False)
        return loss_on(test, collate, run.batch_size, TEST_PAIRS)


def as_answerer(model: Trainable) -> BLIPAnswerer:
    """The same model, known to answer questions; TypeError when it is another."""
    if not isinstance(model, BLIPAnswerer):
        raise TypeError(f"this measurement needs an answerer, not a {type(model).__name__}")
    return model
