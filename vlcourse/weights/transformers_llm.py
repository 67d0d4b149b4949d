"""Language models of transformers with their own weights, for a frozen part of ours."""

from __future__ import annotations

import torch

from vlcourse.models.transformers_llm import (
    TransformersConfig,
    TransformersDecoder,
    TransformersSeq2Seq,
)
from vlcourse.weights.rename import WeightsError
from vlcourse.weights.state import CheckpointError, check_fit


def language_model(
    config: TransformersConfig, source: str
) -> TransformersDecoder | TransformersSeq2Seq:
    """The model of a folder or hub id, in the precision that it is stored in.

    Args:
        config: what it must be.
        source: a folder, or a hub id "owner/name". No code from the hub is run.

    Raises:
        WeightsError: no such model, no safetensors, or another shape than the config's.
    """
    import transformers

    kind = "Seq2SeqLM" if config.encodes else "CausalLM"
    try:
        theirs = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
            source, dtype="auto", use_safetensors=True
        )
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{source} is no language model that can be read: {said:.200}") from None
    with torch.device("meta"):
        wanted = config.build().model.state_dict()
    shapes = ({n: t.shape for n, t in tensors.items()} for tensors in (theirs.state_dict(), wanted))
    try:
        check_fit(f"{source} is another language model than the config says", *shapes)
    except CheckpointError as error:
        raise WeightsError(str(error)) from None
    wrapper = TransformersSeq2Seq if config.encodes else TransformersDecoder
    return wrapper(config, theirs).eval()
