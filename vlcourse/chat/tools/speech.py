"""What is spoken in a video, recognised offline by pocketsphinx: the optional extra ``speech``.

Its package brings an English model along. Quiet, clear English is understood half-way; for anything
else name a Whisper (:func:`vlcourse.chat.tools.pipelines.whisper`).
"""

from __future__ import annotations

from typing import Any

from vlcourse.chat import ChatError
from vlcourse.chat.perception import Kind
from vlcourse.data.media import Media
from vlcourse.data.segments import Segment
from vlcourse.data.sources.audio import RATE, read_sound

PAUSE = 0.5  # seconds without a word, after which another segment begins
LONGEST = 10.0  # seconds of a segment
CHUNK = RATE * 30  # samples that are recognised at a time


class PocketSphinx:
    """English, word by word.

    Raises:
        ChatError: where the package is not installed.
    """

    kind: Kind = "speech"
    name = "pocketsphinx"

    def __init__(self) -> None:
        try:
            import pocketsphinx
        except ImportError as error:
            raise ChatError(
                "speech is recognised by pocketsphinx, which is not here: "
                "pip install 'vlcourse[speech]'"
            ) from error
        self._sphinx: Any = pocketsphinx

    def look(self, media: Media) -> list[Segment]:
        """What is heard in the media's file; nothing where it has no file, or no sound."""
        if media.path is None or media.still:
            return []
        words: list[tuple[float, float, str]] = []
        decoder = self._sphinx.Decoder(samprate=RATE, loglevel="FATAL")
        frame = 1 / decoder.config["frate"]
        begun, held, size = 0.0, list[bytes](), 0
        for piece in read_sound(media.path):
            held.append(piece.tobytes())
            size += len(piece)
            if size >= CHUNK:
                words += _heard(decoder, b"".join(held), begun, frame)
                begun, held, size = begun + size / RATE, [], 0
        if size:
            words += _heard(decoder, b"".join(held), begun, frame)
        return joined(words)


def _heard(
    decoder: Any, sound: bytes, begun: float, frame: float
) -> list[tuple[float, float, str]]:
    """(start, end, word) of 16-bit sound that begins at ``begun`` seconds."""
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    return [
        (begun + part.start_frame * frame, begun + (part.end_frame + 1) * frame, _word(part.word))
        for part in decoder.seg()
        if part.word[0] not in "<["  # silence, and noises
    ]


def _word(entry: str) -> str:
    """A dictionary's entry without the number of its pronunciation: "the(2)" → "the"."""
    return entry.partition("(")[0]


def joined(words: list[tuple[float, float, str]]) -> list[Segment]:
    """Words → segments: a pause ends one, and so does its length."""
    found: list[Segment] = []
    for start, end, word in words:
        last = found[-1] if found else None
        if last is None or start - last.end > PAUSE or end - last.start > LONGEST:
            found.append(Segment(start, end, word))
        else:
            found[-1] = Segment(last.start, end, f"{last.text} {word}")
    return found
