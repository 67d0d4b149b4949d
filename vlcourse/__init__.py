"""vlcourse: multimodal foundation models, understood by building them.

The package imports nothing heavy; pull in what you need: ``from vlcourse.models.clip import CLIP``.
"""

__version__ = "0.1.0"
