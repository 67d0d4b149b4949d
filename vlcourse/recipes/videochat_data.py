"""What VideoChat's runs read: films of the toy world with chats, and the release's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vlcourse.data.collate.dialogue import DialogueCollate
from vlcourse.data.collate.pictures import Augmentation
from vlcourse.data.collate.video import VideoCollate
from vlcourse.data.corpus.dialogues import TOY
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
from vlcourse.recipes.llama import make_tokenizer
from vlcourse.recipes.recipe import Measure, fitting
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
    """Of a hundred films, how many are told instead of asked about."""
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
        """Questions about films on unseen compositions; and with the middle frame alone."""
        collate = self.collate(config, train=False)
        return lambda model: filmed.seen(
            filmed.as_videochat(model), collate, count=self.frames, kinds=self.kinds
        )
