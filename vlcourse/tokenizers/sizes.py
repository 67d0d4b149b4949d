"""Does a tokenizer belong to a model? As far as their numbers of ids say."""

from __future__ import annotations

MULTIPLE = 64  # what vocabularies are rounded up to, so that the head's matrix has a fast shape


def misfit(model_ids: int, tokenizer_ids: int) -> str:
    """Why a tokenizer cannot be the model's, as part of a sentence; "" when it can.

    The numbers must be the same. One exception: a model may have the tokenizer's number rounded up
    to a multiple of :data:`MULTIPLE`, as many published ones do; the ids above it mean nothing.
    """
    rounded = -(-tokenizer_ids // MULTIPLE) * MULTIPLE
    if model_ids in (tokenizer_ids, rounded):
        return ""
    return f"it has {tokenizer_ids} ids, the model {model_ids}"
