"""Names that do not exist, and the nearest that do: what every "did you mean" says."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float = 0.4) -> str | None:
    """The known name that is most like ``name``, in upper or lower case, or None."""
    lower = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=cutoff)
    return lower[found[0]] if found else None


def no_such(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence that refuses an unknown name."""
    names = list(known)
    close = nearest(name, names)
    hint = f"did you mean {close!r}?" if close else f"known: {', '.join(names)}"
    return f"there is no {kind} {name!r}; {hint}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?", or nothing when no known name is close."""
    close = nearest(name, known)
    return f" Did you mean {close!r}?" if close else ""
