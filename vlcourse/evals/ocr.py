"""An expert that reads: the words of signs in a picture, offline (the extra ``ocr``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from vlcourse.layers.errors import ModelError

SIDE = 32  # of the smallest picture that is read, in pixels


class Reader:
    """rapidocr as an expert (:mod:`vlcourse.evals.experts`): PaddleOCR's models, which are in the
    package, so that nothing is downloaded.

    Args:
        least: how sure it has to be of a line, 0 to 1.

    Raises:
        ModelError: where the package is not there.
    """

    def __init__(self, least: float = 0.5) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise ModelError(
                "signs are read by rapidocr and onnxruntime, which are not here: "
                "pip install 'vlcourse[ocr]', or pip install rapidocr onnxruntime"
            ) from error
        self.least = least
        self._read: Any = RapidOCR(params={"Global.log_level": "error"})
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)

    def __call__(self, pictures: Sequence[Tensor]) -> list[str]:
        """uint8 pictures (3, H, W) → 'a sign says "…".', a line after the other; "" without one."""
        return [self._said(picture) for picture in pictures]

    def _said(self, picture: Tensor) -> str:
        if picture.ndim != 3 or len(picture) != 3 or min(picture.shape[1:]) < SIDE:
            raise ModelError(
                f"a picture to be read is uint8 (3, H, W) of at least {SIDE} pixels a side, "
                f"not {tuple(picture.shape)}"
            )
        found = self._read(picture.permute(1, 2, 0).contiguous().numpy())  # (H, W, 3), RGB
        sure = zip(found.txts or (), found.scores or (), strict=True)
        lines = [text.strip() for text, score in sure if score >= self.least and text.strip()]
        return f'a sign says "{" ".join(lines)}".' if lines else ""
