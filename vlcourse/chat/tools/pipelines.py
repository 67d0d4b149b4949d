"""Perception by models of the transformers library: a folder that you have, or a hub id.

Nothing is downloaded unless a hub id is named, and no code of a repository is run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlcourse.chat import ChatError
from vlcourse.chat.perception import Kind, Tool
from vlcourse.chat.tools.frames import EachFrame
from vlcourse.chat.tools.toy import DENSE_EVERY
from vlcourse.data.media import Media
from vlcourse.data.segments import Segment
from vlcourse.data.sources.audio import RATE, read_sound
from vlcourse.data.sources.decode import shorten
from vlcourse.jobs.transformers_blip import TransformersCaptioner

PIECE = 30 * RATE  # samples: what Whisper hears at a time


def captions(source: str, beams: int = 3) -> Tool:
    """A caption of each frame by a ``BlipForConditionalGeneration``.

    Raises:
        JobError: there is no such model.
    """
    writer = TransformersCaptioner(source, beams=beams)
    return EachFrame("caption", source, lambda frames: writer.caption([*frames], [0] * len(frames)))


class Detector:
    """Things with boxes every five seconds, by any model for ``object-detection``.

    Args:
        source: its folder or hub id.
        least: probability from which on a thing is told.
    """

    kind: Kind = "dense"

    def __init__(self, source: str, least: float = 0.5) -> None:
        self.name, self.least = source, least
        self._finds = _pipeline("object-detection", source)

    def look(self, media: Media) -> list[Segment]:
        """A segment for each thing, which holds until the next frame that is looked at."""
        some = media.at_rate(1 / DENSE_EVERY)
        found = []
        for start, end, frame in zip(some.times, some.ends, some.frames, strict=True):
            for thing in self._finds(picture(frame), threshold=self.least):
                box = thing["box"]
                corners = (box["xmin"], box["ymin"], box["xmax"], box["ymax"])
                found.append(Segment(start, end, thing["label"], corners))
        return found


class ActionLabel:
    """The name of what is done in the whole video, by any model that classifies videos.

    Args:
        source: its folder or hub id: VideoMAE, ViViT, TimeSformer, …
    """

    kind: Kind = "action"

    def __init__(self, source: str) -> None:
        self.name = source
        with _said_in_a_sentence(source, "video classification"):
            from transformers import AutoImageProcessor, AutoModelForVideoClassification

            self._model = AutoModelForVideoClassification.from_pretrained(source).eval()
            self._processor = AutoImageProcessor.from_pretrained(source)

    @torch.inference_mode()
    def look(self, media: Media) -> list[Segment]:
        """One segment: the likeliest label. A video of fewer frames shows some of them longer."""
        n = self._model.config.num_frames
        which = [min(int((k + 0.5) / n * len(media.times)), len(media.times) - 1) for k in range(n)]
        frames = [picture(media.frames[i]) for i in which]
        inputs = self._processor(frames, return_tensors="pt")
        best = int(self._model(**inputs).logits[0].argmax())
        return [Segment(0.0, media.ends[-1], self._model.config.id2label[best])]


class Whisper:
    """What is spoken, in the language that it is spoken in.

    Args:
        source: a Whisper's folder or hub id.
    """

    kind: Kind = "speech"

    def __init__(self, source: str) -> None:
        self.name = source
        self._hears = _pipeline("automatic-speech-recognition", source)

    def look(self, media: Media) -> list[Segment]:
        """What is heard in the media's file; nothing where it has no file, or no sound."""
        if media.path is None or media.still:
            return []
        found, held, begun = list[Segment](), list[np.ndarray](), 0
        for piece in read_sound(media.path):
            held.append(piece)
            if (size := sum(map(len, held))) >= PIECE:
                found += self._heard(np.concatenate(held), begun / RATE)
                held, begun = [], begun + size
        return found + (self._heard(np.concatenate(held), begun / RATE) if held else [])

    def _heard(self, sound: np.ndarray, begun: float) -> list[Segment]:
        """Segments of 16-bit sound that begins at ``begun`` seconds."""
        wave = {"raw": sound.astype(np.float32) / 2**15, "sampling_rate": RATE}
        found, end = [], begun + len(sound) / RATE
        for chunk in self._hears(wave, return_timestamps=True)["chunks"]:
            start, stop = chunk["timestamp"]
            if text := chunk["text"].strip():
                last = end if stop is None else min(begun + stop, end)
                found.append(Segment(begun + (start or 0.0), last, text))
        return found


def picture(frame: Tensor) -> Image.Image:
    """uint8 (3, H, W) → as Pillow has it."""
    return Image.fromarray(frame.permute(1, 2, 0).numpy())  # (H, W, 3)


def _pipeline(task: str, source: str) -> Any:
    with _said_in_a_sentence(source, task):
        from transformers import pipeline

        made: Any = pipeline  # its overloads know literal tasks only
        return made(task, model=source, trust_remote_code=False)


class _said_in_a_sentence:
    """Whatever goes wrong while a model is loaded, as a ChatError."""

    def __init__(self, source: str, task: str) -> None:
        self.source, self.task = source, task

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, at: Any) -> None:
        if isinstance(error, ImportError):
            raise ChatError(
                f"{self.source} is a model of the transformers library, and something is missing "
                f"for it: {shorten(str(error).strip().partition(chr(10))[0], 200)}"
            ) from error
        if isinstance(error, OSError | ValueError | KeyError | RuntimeError):
            said = shorten(str(error).strip().partition("\n")[0], 300)
            raise ChatError(f"{self.source} cannot be used for {self.task}: {said}") from error
