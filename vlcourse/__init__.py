"""vlcourse: multimodal foundation models, understood by building them.

The package imports nothing heavy; pull in what you need: ``from vlcourse.models.clip import CLIP``.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

# Modules that moved, for code that was written before.
_MOVED = {"llama_tokenizer": "vlcourse.tokenizers.sentence_bpe"}


class VlcourseError(Exception):
    """What every error of the library that a user can cause and cure is: one clear sentence."""


def __getattr__(name: str) -> ModuleType:
    if name in _MOVED:
        return import_module(_MOVED[name])
    raise AttributeError(f"module 'vlcourse' has no attribute {name!r}")
