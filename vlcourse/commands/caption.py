"""``vlcourse caption``: what a model writes about any picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from vlcourse.commands import UsageError, models, pictures
from vlcourse.evals.pictured import described
from vlcourse.evals.writing import Writing, write
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.models.matching import Matcher

AT_ONCE = 16  # pictures


def caption(places: Sequence[str], model: str, writing: Writing) -> Iterator[tuple[Path, str]]:
    """A caption for each picture, as they are written.

    Args:
        places: pictures, or folders of them.
        model: which model (:func:`vlcourse.commands.models.find`).
        writing: how. A seed gives the same captions again for the same pictures.

    Raises:
        UsageError: for a model that does not write, or no picture that can be read.
        ModelError: when a caption of ``writing.max_tokens`` does not fit the model's context.
        RangeError: for numbers that are out of range.
    """
    writing.options()  # a wrong number is refused before a model is loaded
    files = pictures.files(places)
    named = models.find(model)
    network = named.model
    if not isinstance(network, (Matcher, BLIP2LLM)):
        raise UsageError(f"{model} is a {type(network).__name__}, which does not write captions")
    if isinstance(network, Matcher) and not {"lm", "itg"} & {*network.config.tasks}:
        raise UsageError(f"{model} is a {type(network).__name__} that was not trained to write")
    if writing.prompt is None:
        writing = replace(writing, prompt=named.prompt)
    size = network.config.image.image_size
    for chunk in pictures.batches(files, size, AT_ONCE, named.squeezes):
        images = torch.stack([image for _, image in chunk])
        if isinstance(network, BLIP2LLM):
            texts = described(network, named.tokenizer, images, writing, named.stop)
        else:
            texts = write(network, named.tokenizer, images, writing)
        yield from zip((path for path, _ in chunk), texts, strict=True)
