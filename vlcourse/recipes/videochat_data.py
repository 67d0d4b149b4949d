"""What VideoChat's runs read: films of the toy world with chats, and the release's files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vlcourse.data.collate.dialogue import DialogueCollate
from vlcourse.data.collate.pictures import Augmentation
from vlcourse.data.collate.video import VideoCollate
from vlcourse.data.conversed import Conversed
from vlcourse.data.corpus.dialogues import TEMPLATES, TOY
from vlcourse.data.filmed import SEEN_KINDS, Filmed, WithPictures
from vlcourse.data.told import WorldTexts
from vlcourse.data.world import World
from vlcourse.data.world.arrays import check_objects
from vlcourse.data.world.script import LONGEST, check_seconds
from vlcourse.data.world.video_questions import VIDEO_KINDS
from vlcourse.data.world.videos import Videos
from vlcourse.data.world.words import check_choice
from vlcourse.engine.config import TrainConfig
from vlcourse.evals import filmed
from vlcourse.layers.ranges import check
from vlcourse.recipes.blip2_data import language_tokenizer
from vlcourse.recipes.blip_data import loss_on
from vlcourse.recipes.llama import make_tokenizer
from vlcourse.recipes.recipe import Measure, find_source, fitting
from vlcourse.tokenizers import TextTokenizer


@dataclass(frozen=True)
class FilmData:
    """Films of the toy world with chats about them; ``config`` in the methods is a
    `VideoChatConfig`."""

    n_train: int = 0
    """Films for training, asked about again and again; 0 makes a new one for every sample."""
    frames: int = 8
    """Frames of a film, at the middles of equal parts."""
    seconds: tuple[int, int] = (6, LONGEST)
    """Shortest and longest film."""
    asked: int = 10
    """Most questions of a chat."""
    brief: int = 50
    """Of a hundred chats, how many ask in very few words."""
    described: int = 0
    """Of a hundred films, how many are told "in other words", and not asked about."""
    kinds: tuple[str, ...] = SEEN_KINDS
    """Kinds of questions."""
    pictures: int = 0
    """Of a hundred samples, how many are pictures with texts, as BLIP-2's second stage has them."""
    objects: tuple[int, int] = (1, 3)
    """Fewest and most objects in a picture."""
    tokenizer: str = "toy"
    """toy: the toy language models', shipped; else the path of a LLaMA tokenizer.model."""
    context: int = 320
    """Most tokens of a chat, without the queries; longer ones are cut."""
    augment: Augmentation = "none"
    """none, random-square or resized-crop+flip; never flip where words say left and right."""

    def __post_init__(self) -> None:
        check(self, n_train=(0, 10**12), frames=(1, 1000), asked=(1, 1000), context=(2, 10**6))
        check(self, brief=(0, 100), described=(0, 100), pictures=(0, 100))
        check_seconds(self.seconds)
        check_objects(self.objects)
        for kind in self.kinds:
            check_choice("kind of question about a film", kind, VIDEO_KINDS)

    def make_tokenizer(self, config: Any) -> TextTokenizer:
        """See :func:`vlcourse.recipes.llama.make_tokenizer`."""
        return make_tokenizer(self.tokenizer, config.llm.vocab_size)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Any:
        """The films of a split, map-style, with pictures among them."""
        n, size = run.steps * run.batch_size, config.image.image_size
        videos = Videos(split, self.n_train or n, size, self.frames, self.seconds, run.seed)
        films = Filmed(videos, n, self.asked, self.brief, self.described, self.kinds)
        if not self.pictures:
            return films
        world = World(split, self.n_train or n, size, self.objects, seed=run.seed)
        return WithPictures(films, WorldTexts(world, n), self.pictures, run.seed)

    def collate(self, config: Any, train: bool) -> VideoCollate:
        """Samples → batch; augmented only for training."""
        context = fitting(self.context, config.llm.context)
        text = DialogueCollate(self.make_tokenizer(config), context, TOY)
        augment = self.augment if train else "none"
        return VideoCollate(text, config.image.image_size, augment)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """Questions about films on unseen compositions and, as "known: …", about new films of known
        ones; each with the middle frame alone, too."""
        collate = self.collate(config, train=False)

        def both(model: Any) -> dict[str, float]:
            chat = filmed.as_videochat(model)
            unseen, known = (
                filmed.seen(chat, collate, split, count=self.frames, kinds=self.kinds)
                for split in ("heldout", "test")
            )
            return unseen | {f"known: {name}": value for name, value in known.items()}

        return both


TEST_CHATS = 64  # of the reader's own data, that the loss is measured on


@dataclass(frozen=True)
class ChatFiles:
    """Chats about videos and pictures of your own: JSON files of the release's form; ``config`` in
    the methods is a `VideoChatConfig`."""

    source: tuple[str, ...] = ("videochat_instruct_11k.json",)
    """.json or .jsonl files; or their names, to be looked for in the data folders. Records are
    {"video" or "image", "QA": [{"q", "a"}], and maybe "start"}, or {"video" or "image",
    "caption"}."""
    folders: tuple[str, ...] = ()
    """Where the paths in each file begin; none: beside the file."""
    n_train: int = 0
    """Training records; 0 takes all."""
    frames: int = 8
    """Frames of a video, at the middles of equal parts."""
    tokenizer: str = ""
    """A folder with the language model's tokenizer, as transformers reads it, or a hub id that this
    machine has; toy: the toy language models'."""
    context: int = 512
    """Most tokens of a chat, without the queries; longer ones are cut."""
    augment: Augmentation = "none"
    """none, random-square or resized-crop+flip, the same for all frames of a video."""
    template: str = "videochat"
    """The words around questions and answers: videochat, or toy."""
    times: bool = True
    """Tell the language model how many frames there are and when each was."""

    def __post_init__(self) -> None:
        check(self, n_train=(0, 10**12), frames=(1, 1000), context=(2, 10**6))
        check_choice("template of a chat", self.template, tuple(TEMPLATES))

    def make_tokenizer(self, config: Any) -> TextTokenizer:
        """See :func:`vlcourse.recipes.blip2_data.language_tokenizer`."""
        return language_tokenizer(self.tokenizer, config.llm.vocab_size)

    def _texts(self, config: Any) -> DialogueCollate:
        template = TEMPLATES[self.template]
        template = replace(template, times=template.times and self.times)
        return DialogueCollate(self.make_tokenizer(config), self.context, template)

    def dataset(self, config: Any, run: TrainConfig, split: str) -> Conversed:
        """The records of a split, map-style.

        Raises:
            SourceError: for a file that cannot be read; with the index and the key of a bad record.
        """
        sources = [find_source(source) for source in self.source]
        return Conversed(
            sources, self._texts(config), self.folders, self.frames, split,
            side=2 * config.image.image_size, limit=self.n_train if split == "train" else 0,
        )  # fmt: skip

    def collate(self, config: Any, train: bool) -> VideoCollate:
        """Records → batch; augmented only for training."""
        augment = self.augment if train else "none"
        return VideoCollate(self._texts(config), config.image.image_size, augment)

    def measure(self, config: Any, run: TrainConfig) -> Measure:
        """The loss on records that are kept from training."""
        test, collate = self.dataset(config, run, "test"), self.collate(config, train=False)
        return loss_on(test, collate, run.batch_size, TEST_CHATS)
