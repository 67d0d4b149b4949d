"""Instructions that others collected, from JSON: Alpaca's form, LLaVA's, and VideoChat's.

    Alpaca     {"instruction": "…", "input": "…" (may be absent), "output": "…"}
    LLaVA      {"image": "a.jpg" (may be absent), "conversations": [{"from": "human", "value": "…"},
               {"from": "gpt", "value": "…"}, …]}
    VideoChat  {"image" or "video": "a.jpg", "QA": [{"i": "…" (may be absent), "q": "…", "a": "…"}],
               "start": 2.5 (may be absent)}
               {"image" or "video": "a.jpg", "caption": "…"} for its first stage

A file is a JSON list of such records, or JSON lines. Each record may be of another form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlcourse.data.sources.decode import BadSampleError, SourceError, describe
from vlcourse.data.sources.find import local_path
from vlcourse.data.sources.json_rows import is_lines, json_document, json_lines, readable

FORMS = '"instruction" and "output", "conversations", or "QA"'


@dataclass(frozen=True)
class Turn:
    """One thing that is asked, and its answer."""

    instruction: str
    answer: str
    input: str = ""
    """Further context of the instruction (Alpaca)."""


@dataclass(frozen=True)
class Record:
    """What one record of a file asks, in its order."""

    name: str
    """The file and the record's index in it, from 0: "alpaca.json:3"."""
    turns: tuple[Turn, ...]
    image: str = ""
    """The path of its picture or film, below the file's folder; "" when there is none."""
    film: bool = False
    """Whether that is a film."""
    start: float = 0.0
    """From which second on the film is meant."""


def read_instructions(source: str | Path, captions: bool = False) -> list[Record]:
    """All the records of a .json or .jsonl file (.gz or not), each checked.

    ``<image>`` in LLaVA's texts marks where the picture stood, and is left out.

    Args:
        source: the file.
        captions: a record may also be a picture or film with a "caption" alone: what is asked is
            then "", and the caption is the answer.

    Raises:
        SourceError: for a file that cannot be read or has no records; for a record that is none of
            the forms, with the file, the record's index and the key. A whole file is refused for
            one such record: it is another form of file, or damaged.
    """
    path = local_path(str(source))
    if not path.is_file():
        raise SourceError(f"there is no file {path}: name a .json or .jsonl of instructions.")
    with readable(path, ".json"):
        lines = ".jsonl" in path.suffixes or is_lines(path)
        values = _lines(path) if lines else _document(path)
        found = [
            _record(value, f"{path.name}:{i}", f"{path}, record {i}", captions)
            for i, value in values
        ]
    if not found:
        raise SourceError(f"{path} has no records.")
    return found


def _document(path: Path) -> Iterator[tuple[int, Any]]:
    whole = json_document(path)
    if not isinstance(whole, list):
        raise SourceError(f"{path} holds {describe(whole)}, and no list of records.")
    yield from enumerate(whole)


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    for i, (line, value) in enumerate(json_lines(path)):
        if isinstance(value, BadSampleError):
            raise SourceError(f"{path}, line {line} is not valid JSON: {value.detail}.")
        yield i, value


def _record(value: Any, name: str, where: str, captions: bool) -> Record:
    if not isinstance(value, dict):
        raise SourceError(f"{where} is {describe(value)}, and no object with {FORMS}.")
    kinds = {"conversations": _conversation, "QA": _questions, "instruction": _alpaca}
    if captions:
        kinds["caption"] = _caption
    for key, turns in kinds.items():
        if key in value:
            image = "image" if "image" in value else "video"
            seen = _text(value, image, where) if value.get(image) is not None else ""
            film = bool(seen) and image == "video"
            return Record(name, tuple(turns(value, where)), seen, film, _start(value, where))
    forms = f'{FORMS}, or "caption"' if captions else FORMS
    raise SourceError(f"{where} has neither {forms}; it has {describe(value)}.")


def _caption(value: dict[str, Any], where: str) -> Iterator[Turn]:
    yield Turn("", _text(value, "caption", where))


def _start(value: dict[str, Any], where: str) -> float:
    start = value.get("start")
    if start is None:
        return 0.0
    if isinstance(start, bool) or not isinstance(start, int | float) or not 0 <= start < 1e7:
        raise SourceError(f"{where}: 'start' is {describe(start)}, and no number of seconds.")
    return float(start)


def _alpaca(value: dict[str, Any], where: str) -> Iterator[Turn]:
    given = _text(value, "input", where) if value.get("input") is not None else ""
    yield Turn(_text(value, "instruction", where), _text(value, "output", where), given)


def _conversation(value: dict[str, Any], where: str) -> Iterator[Turn]:
    said = _list(value, "conversations", where)
    if len(said) % 2:
        raise SourceError(
            f"{where}: 'conversations' has {len(said)} turns, which do not alternate between a "
            "question and its answer."
        )
    for i in range(0, len(said), 2):
        pair = []
        for j, who in ((i, "human"), (i + 1, "gpt")):
            inside = f"{where}, conversations[{j}]"
            if not isinstance(said[j], dict):
                raise SourceError(f"{inside} is {describe(said[j])}, and no object.")
            if _text(said[j], "from", inside) != who:
                raise SourceError(
                    f"{inside}: 'from' is {describe(said[j]['from'])}, where {who!r} should speak."
                )
            pair.append(_text(said[j], "value", inside).replace("<image>", "").strip())
        yield Turn(*pair)


def _questions(value: dict[str, Any], where: str) -> Iterator[Turn]:
    for i, each in enumerate(_list(value, "QA", where)):
        inside = f"{where}, QA[{i}]"
        if not isinstance(each, dict):
            raise SourceError(f"{inside} is {describe(each)}, and no object.")
        system = _text(each, "i", inside) if each.get("i") is not None else ""
        question = _text(each, "q", inside)
        yield Turn(f"{system} {question}".strip(), _text(each, "a", inside))


def _list(value: dict[str, Any], key: str, where: str) -> Sequence[Any]:
    if not isinstance(value[key], list) or not value[key]:
        raise SourceError(f"{where}: {key!r} is {describe(value[key])}, and no list of turns.")
    return value[key]


def _text(value: dict[str, Any], key: str, where: str) -> str:
    if key not in value:
        raise SourceError(f"{where}: {key!r} is missing; it has {describe(value)}.")
    if not isinstance(value[key], str):
        raise SourceError(f"{where}: {key!r} is {describe(value[key])}, and no text.")
    return value[key]
