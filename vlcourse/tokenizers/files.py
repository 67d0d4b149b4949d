"""What goes wrong with tokenizers, and reading their files."""

from __future__ import annotations

from pathlib import Path

from vlcourse import VlcourseError

LFS = b"version https://git-lfs.github.com/spec/"  # what a Git LFS pointer file begins with


class TokenizerError(VlcourseError, ValueError):
    """A tokenizer's file, vocabulary or text with which nothing can be done."""


class MissingTokenizer(TokenizerError, FileNotFoundError):
    """There is no such file."""


class NoSuchId(TokenizerError, IndexError):
    """An id that the vocabulary does not have."""


def read(path: str | Path, what: str) -> bytes:
    """The bytes of a tokenizer's file.

    Args:
        path: the file.
        what: what it should be, "SentencePiece model" say.

    Raises:
        MissingTokenizer: when there is no such file.
        TokenizerError: when it cannot be read, or is a pointer of Git LFS in the file's place.
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise MissingTokenizer(f"there is no {what} at {path}") from None
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{str(path)!r:.200} cannot be read: {error!s:.200}") from None
    if raw.startswith(LFS):
        raise TokenizerError(
            f"{path} is a Git LFS pointer, not the {what} itself: fetch the file with `git lfs "
            "pull`, or download it from its page"
        )
    return raw
