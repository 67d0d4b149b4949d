"""Published models by their names: what every config's ``preset`` looks up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from vlcourse.layers.errors import ModelError
from vlcourse.names import no_such

C = TypeVar("C")


def published(kind: str, name: str, presets: Mapping[str, C]) -> C:
    """The config of a published model.

    Args:
        kind: of model, as an error calls it: "CLIP".
        name: of the model.
        presets: name → config.

    Raises:
        ModelError: for an unknown name; the nearest one is named, or all where none is near.
    """
    if name in presets:
        return presets[name]
    raise ModelError(no_such(f"published {kind}", name, presets))
