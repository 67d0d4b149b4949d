"""Captioner and filter from BLIPs of the transformers library: a folder that you have, or a hub id.

The library is not needed otherwise, so it is imported here only. No code of a repository is run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vlcourse.data.sources.decode import shorten
from vlcourse.generate.sampling import draw, top_p_filter
from vlcourse.generate.stream import uniform
from vlcourse.jobs import JobError
from vlcourse.jobs.blip import once

LONGEST = 30  # tokens of a caption, as in pretraining
LAYOUT = {"input_data_format": "channels_first"}  # not to be guessed from the sizes


class TransformersCaptioner:
    """Texts by a ``BlipForConditionalGeneration``.

    Args:
        source: its folder or hub id.
        beams: 0 draws from the nucleus (top-p 0.9, repetition penalty 1.1), else beam search.
        prompt: how every text begins; it is not part of what is given back.
        device: where it works.

    Raises:
        JobError: there is no such model, or it lacks weights for this.
    """

    def __init__(
        self, source: str, beams: int = 0, prompt: str = "", device: torch.device | str = "cpu"
    ) -> None:
        self.model, self.processor = _load(source, "BlipForConditionalGeneration", device)
        self.beams, self.prompt = beams, prompt

    @torch.inference_mode()
    def caption(self, pictures: list[Tensor], keys: list[int]) -> list[str]:
        """A text for each picture; what is drawn depends on its own key alone."""
        texts = {"text": [self.prompt] * len(pictures)} if self.prompt else {}
        inputs = self.processor(images=pictures, return_tensors="pt", **LAYOUT, **texts)
        inputs = inputs.to(self.model.device)
        if self.beams:
            how: dict[str, Any] = {"num_beams": self.beams}
        else:
            # Its own sampling draws for the batch as a whole: here each row draws for itself.
            how = {"repetition_penalty": 1.1, "logits_processor": [_Drawn(keys)]}
        ids = self.model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False, **how)
        read = inputs.input_ids.shape[1] - 1 if self.prompt else 1  # [DEC] and the prompt
        written = self.processor.batch_decode(ids[:, read:], skip_special_tokens=True)
        return [text.strip() for text in written]


class _Drawn:
    """Leaves of the logits one token, drawn from the nucleus: the likeliest is then the drawn."""

    def __init__(self, keys: list[int]) -> None:
        self.chance = uniform(len(keys), LONGEST, keys)  # (B, T)
        self.step = 0

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        """(B, V) → (B, V)."""
        token = draw(top_p_filter(logits, 0.9), self.chance[:, self.step].to(logits.device))
        self.step += 1
        return torch.full_like(logits, -torch.inf).scatter(1, token[:, None], 0.0)


class TransformersJudge:
    """The probability that a text matches, by a ``BlipForImageTextRetrieval``.

    As in that library, the text begins with [CLS]. (The authors trained their filters with [ENC]
    in its place, but their demonstration of matching forgets it as well.)

    Args:
        source: its folder or hub id.
        device: where it works.

    Raises:
        JobError: there is no such model, or it lacks weights for this.
    """

    def __init__(self, source: str, device: torch.device | str = "cpu") -> None:
        self.model, self.processor = _load(source, "BlipForImageTextRetrieval", device)

    @torch.inference_mode()
    def score(self, pictures: list[Tensor], texts: list[str]) -> Tensor:
        """(N,) probabilities; a text that is too long is cut to the context."""
        different, rows = once(pictures)
        context = self.model.config.text_config.max_position_embeddings
        inputs = self.processor(
            images=different, text=texts, return_tensors="pt", padding=True, truncation=True,
            max_length=context, **LAYOUT,
        ).to(self.model.device)  # fmt: skip
        seen = self.model.vision_model(inputs.pixel_values).last_hidden_state  # (M, N, C)
        states = self.model.text_encoder(
            inputs.input_ids,
            attention_mask=inputs.attention_mask,
            encoder_hidden_states=seen[rows.to(seen.device)],
        )
        logits = self.model.itm_head(states.last_hidden_state[:, 0])
        return logits.float().softmax(dim=-1)[:, 1]


def _load(source: str, kind: str, device: torch.device | str) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError as error:
        raise JobError(
            f"{source} is a model of the transformers library, which is not here: "
            "pip install transformers"
        ) from error
    logs, bars = transformers.logging, transformers.logging.is_progress_bar_enabled()
    before = logs.get_verbosity()
    logs.set_verbosity_error()  # what is missing is said below, in one sentence
    logs.disable_progress_bar()
    try:
        model, info = getattr(transformers, kind).from_pretrained(source, output_loading_info=True)
        processor = transformers.BlipProcessor.from_pretrained(source)
    except (OSError, ValueError, RuntimeError) as error:
        said = shorten(str(error).strip().partition("\n")[0], 300)
        raise JobError(f"{source} cannot be loaded as a {kind}: {said}") from error
    finally:
        logs.set_verbosity(before)
        if bars:
            logs.enable_progress_bar()
    if lacking := sorted(info["missing_keys"]):
        raise JobError(
            f"{source} is no {kind}: it has no weights for {lacking[0]} and {len(lacking) - 1} "
            "others"
        )
    return model.eval().to(device), processor
