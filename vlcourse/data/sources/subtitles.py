"""Subtitles from SRT files (SubRip): numbered blocks of a span of time and what is said in it."""

from __future__ import annotations

import re
from pathlib import Path

from vlcourse.data.segments import Segment
from vlcourse.data.sources.decode import SourceError, shorten
from vlcourse.data.sources.find import local_path

MOST_BYTES = 20_000_000  # a film's subtitles have some 100 kB
# Hours may lack, and milliseconds stand after a comma, or after a point as in WebVTT.
TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
SPAN = re.compile(rf"\s*{TIME}\s*-->\s*{TIME}(\s.*)?")
MARKUP = re.compile(r"</?(?:i|b|u|s|font|c|v)\b[^<>]*>|\{\\[^{}]*\}", re.IGNORECASE)


def read_subtitles(path: str | Path) -> tuple[Segment, ...]:
    """What is said in a .srt file, in the order of time, without its markup.

    Blocks of no words are left out. A byte-order mark, any ends of lines, and texts of several
    lines are read; UTF-8, or else Latin-1.

    Raises:
        SourceError: for no such file, or a block that is none, with its line.
    """
    path = local_path(str(path))
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", "") or str(error)
        raise SourceError(f"{shorten(str(path))} cannot be read: {said}") from error
    if len(raw) > MOST_BYTES:
        raise SourceError(f"{path} has {len(raw):,} bytes: subtitles are not so long")
    return parsed(_text(raw), path.name)


def subtitles_beside(video: Path) -> tuple[Segment, ...]:
    """Those of the .srt file of a video's name in its folder; none where there is none."""
    path = video.with_suffix(".srt")
    return read_subtitles(path) if path.is_file() else ()


def _text(raw: bytes) -> str:
    for encoding in ("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "latin-1"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("Latin-1 has a sign for every byte")


def parsed(text: str, name: str) -> tuple[Segment, ...]:
    """The segments of an SRT's text; ``name`` is what errors call it.

    Raises:
        SourceError: see :func:`read_subtitles`.
    """
    found: list[Segment] = []
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if not line or line.isdigit() and "-->" in "".join(lines[number : number + 1]):
            continue
        match = SPAN.fullmatch(line)
        if match is None:
            raise SourceError(
                f"{name}, line {number}: found {shorten(line, 60)!r} in the place of a time as "
                "00:00:01,000 --> 00:00:02,500; is it an SRT file?"
            )
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:8])
        if end < start:
            raise SourceError(f"{name}, line {number}: it ends before it begins: {line}")
        said = []
        while number < len(lines) and lines[number].strip():
            said.append(MARKUP.sub("", lines[number]).strip())
            number += 1
        if words := " ".join(" ".join(said).split()):
            found.append(Segment(start, end, words))
    return tuple(sorted(found, key=lambda segment: (segment.start, segment.end)))


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole + float(f"0.{fraction}")
