"""The toy world of the course: coloured shapes on dark grounds, and everything true of them.

A scene is a function of an integer seed. `Scene.render` draws it, `Scene.captions`,
`Scene.questions` and `Scene.foils` talk about it, and `Scene.is_true` checks any fact.
`World` is a data set of such scenes, drawn on demand, with held-out and shifted splits.
"""

from __future__ import annotations

from vlcourse.data.world.arrays import sample_arrays
from vlcourse.data.world.captions import TEMPLATES, Caption, class_prompt
from vlcourse.data.world.dataset import (
    World,
    single_object_set,
    two_object_scenes,
    two_object_set,
)
from vlcourse.data.world.facts import (
    RELATIONS,
    Comparison,
    Count,
    Fact,
    HasObject,
    Object,
    Relation,
    Thing,
)
from vlcourse.data.world.foils import FOILS
from vlcourse.data.world.questions import QUESTION_KINDS, Question
from vlcourse.data.world.render import RGB
from vlcourse.data.world.scene import Scene, render_batch
from vlcourse.data.world.words import (
    CLASSES,
    COLOURS,
    HELD_OUT,
    SEEN,
    SHAPES,
    SHIFTS,
    SIZES,
    SPLITS,
    class_index,
)

__all__ = [
    "CLASSES",
    "COLOURS",
    "FOILS",
    "HELD_OUT",
    "QUESTION_KINDS",
    "RELATIONS",
    "RGB",
    "SEEN",
    "SHAPES",
    "SHIFTS",
    "SIZES",
    "SPLITS",
    "TEMPLATES",
    "Caption",
    "Comparison",
    "Count",
    "Fact",
    "HasObject",
    "Object",
    "Question",
    "Relation",
    "Scene",
    "Thing",
    "World",
    "class_index",
    "class_prompt",
    "render_batch",
    "sample_arrays",
    "single_object_set",
    "two_object_scenes",
    "two_object_set",
]
