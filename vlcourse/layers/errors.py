"""The error of a model or layer that is asked for what it cannot do."""

from vlcourse import VlcourseError


class ModelError(VlcourseError, ValueError):
    """Shapes that do not fit each other, or an input that the model does not take; in words."""
