"""Finding and reading the merges of CLIP's own tokenizer, a file that the course does not ship."""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import zlib
from pathlib import Path

from vlcourse.tokenizers import files
from vlcourse.tokenizers.files import TokenizerError

MERGES = 49_152 - 256 - 2  # openai/CLIP, simple_tokenizer.py: it reads this many lines of its file
LARGEST = 32_000_000  # bytes; the file has 3 million
FILE = "bpe_simple_vocab_16e6.txt.gz"


class MergesError(TokenizerError):
    """CLIP's merges cannot be found or read."""


def find(path: str | Path | None = None) -> Path:
    """The file of CLIP's merges: ``path``, else ``VLCOURSE_CLIP_BPE``, else an installed package's.

    Raises:
        MergesError: when there is none.
    """
    named = path or os.environ.get("VLCOURSE_CLIP_BPE")
    if named:
        file = Path(named).expanduser()
        if not file.is_file():
            raise MergesError(f"there is no file {file} with CLIP's merges")
        return file
    for package in ("open_clip", "clip"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            if (file := Path(folder) / FILE).is_file():
                return file
    raise MergesError(
        f"CLIP's merges are not shipped with the course: install open_clip_torch, which has them, "
        f"or get {FILE} from openai/CLIP and set VLCOURSE_CLIP_BPE to its path"
    )


def read(path: Path) -> list[tuple[str, str]]:
    """CLIP's 48,894 merges from its vocabulary file, plain or gzipped, or from a ``merges.txt``.

    Raises:
        MergesError: when the file is damaged or another one, at the line where that shows.
    """
    try:
        raw = files.read(path, "file of CLIP's merges")
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(LARGEST)
        text = raw.decode("utf-8")
    except (TokenizerError, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise MergesError(f"{path} cannot be read: {error}") from None
    lines = text.split("\n")[1 : 1 + MERGES]  # the first line says the version
    merges = []
    for number, line in enumerate(lines, 2):
        pair = line.split()
        if len(pair) != 2:
            raise MergesError(f"{path}, line {number}: expected two symbols, got {line[:40]!r}")
        merges.append((pair[0], pair[1]))
    if len(merges) < MERGES:
        raise MergesError(f"{path} has {len(merges)} merges, CLIP's tokenizer {MERGES}")
    return merges
