"""Language models of the transformers library, asked as ours are: for logits after any vectors.

:class:`TransformersDecoder` has the methods of :class:`vlcourse.models.llama.LLaMA` that a soft
prompt needs, :class:`TransformersSeq2Seq` those of :class:`vlcourse.models.seq2seq.Seq2Seq`. How a
model makes logits of its states is its own affair, so ``hidden`` and ``decode`` give logits
already, and ``head`` hands them on.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.layers import masks
from vlcourse.layers.cache import KVCache, Started
from vlcourse.layers.errors import ModelError


@dataclass(frozen=True)
class TransformersConfig:
    """A language model of the transformers library: OPT, Flan-T5, LLaMA, …"""

    settings: str = '{"model_type": "opt"}'
    """The content of its config.json."""

    def __post_init__(self) -> None:
        try:
            said = json.loads(self.settings)
        except ValueError as error:
            raise ModelError(f"settings are no JSON: {error}") from None
        if not isinstance(said, dict) or not isinstance(said.get("model_type"), str):
            raise ModelError("settings are those of a config.json, with a model_type")

    @staticmethod
    def of(model_type: str, **settings: Any) -> TransformersConfig:
        """The settings as arguments: ``of("opt", hidden_size=2560)``."""
        return TransformersConfig(json.dumps({"model_type": model_type, **settings}))

    def theirs(self) -> Any:
        """As transformers' own config; ModelError for a type that it does not know."""
        import transformers

        said = json.loads(self.settings)
        try:
            return transformers.AutoConfig.for_model(**said)
        except (ValueError, TypeError) as error:
            kind = said["model_type"]
            raise ModelError(f"transformers makes no {kind!r}: {error}".splitlines()[0]) from None

    @property
    def encodes(self) -> bool:
        """Whether it is an encoder–decoder."""
        return bool(self.theirs().is_encoder_decoder)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return int(self.theirs().vocab_size)

    @property
    def start(self) -> int:
        """The id that an encoder–decoder's decoder starts from."""
        return int(self.theirs().decoder_start_token_id)

    def build(self) -> TransformersDecoder | TransformersSeq2Seq:
        """A freshly initialised model."""
        import transformers

        theirs = self.theirs()
        if theirs.is_encoder_decoder:
            return TransformersSeq2Seq(self, transformers.AutoModelForSeq2SeqLM.from_config(theirs))
        return TransformersDecoder(self, transformers.AutoModelForCausalLM.from_config(theirs))

    def adopt(self, model: Any) -> Any:
        """A model of these very settings; ModelError if it has others."""
        if model.config != self:
            raise ModelError("their models differ")
        return model


class _Asked(nn.Module):
    """What both kinds have in common."""

    def __init__(self, config: TransformersConfig, model: Any) -> None:
        super().__init__()
        self.config = config
        self.model: Any = model
        self.head = nn.Identity()

    @property
    def width(self) -> int:
        """Size of the token vectors."""
        return int(self.model.get_input_embeddings().embedding_dim)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return int(self.model.get_input_embeddings().num_embeddings)

    def token(self, tokens: Tensor) -> Tensor:
        """(B, L) ids → (B, L, D) vectors."""
        return self.model.get_input_embeddings()(tokens)


class TransformersDecoder(_Asked):
    """A decoder-only model: vectors → logits of the next token at each position."""

    def __init__(self, config: TransformersConfig, model: Any) -> None:
        super().__init__(config, model)
        self._placed = "position_ids" in inspect.signature(model.forward).parameters

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L) ids → (B, L, V) logits; ``mask`` as in :meth:`hidden`."""
        return self.hidden(self.token(tokens), mask=mask)

    def hidden(self, x: Tensor, cache: Past | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, L, D) vectors → (B, L, V) logits.

        Args:
            x: token vectors or any others.
            cache: what came before; ``x`` is added to it.
            mask: (B, L) bool, False for padding, which is on the left if text is to be generated.
        """
        batch, length, _ = x.shape
        past = cache.length if cache else 0
        seen = cache.add_mask(mask, batch, length) if cache else mask
        given: dict[str, Any] = {}
        if self._placed:
            places = masks.positions(seen, past, length, x.device)
            given["position_ids"] = places.expand(batch, length)
        if seen is None:
            seen = torch.ones(batch, past + length, dtype=torch.bool, device=x.device)
        return self.model(
            inputs_embeds=x, attention_mask=seen.long(), use_cache=cache is not None,
            past_key_values=cache.past if cache else None, **given,
        ).logits  # fmt: skip

    def start(
        self, tokens: Tensor | None, mask: Tensor | None, new_tokens: int, x: Tensor | None = None
    ) -> Started:
        """Read a prompt of ids or of vectors ``x`` (:mod:`vlcourse.generate.loop`)."""
        from transformers import DynamicCache

        vectors = self.token(tokens) if x is None else x  # type: ignore[arg-type]
        if mask is not None and mask.all():
            mask = None
        read = torch.empty(len(vectors), 0, dtype=torch.long, device=vectors.device)
        if tokens is not None:
            read = tokens if mask is None else tokens.masked_fill(~mask, -1)
        cache = Past(DynamicCache(config=self.model.config), vectors)
        return Started(self.hidden(vectors, cache, mask)[:, -1], cache, read)

    def step(self, tokens: Tensor, cache: Past) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.hidden(self.token(tokens), cache)[:, -1]


class TransformersSeq2Seq(_Asked):
    """An encoder–decoder: vectors to read, tokens written so far → logits of the next token."""

    def encode(
        self, tokens: Tensor | None = None, mask: Tensor | None = None, x: Tensor | None = None
    ) -> Tensor:
        """(B, S) ids, or (B, S, D) vectors → (B, S, D) states; ``mask``: (B, S) bool."""
        vectors = self.token(tokens) if x is None else x  # type: ignore[arg-type]
        encoder = self.model.get_encoder()
        return encoder(inputs_embeds=vectors, attention_mask=_long(mask)).last_hidden_state

    def decode(
        self,
        tokens: Tensor,
        states: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Past | None = None,
    ) -> Tensor:
        """(B, L) ids → (B, L, V) logits; ``states`` and ``mask`` are :meth:`encode`'s, or
        ``cache`` has them, and ``tokens`` are the newest only."""
        from transformers.modeling_outputs import BaseModelOutput

        if cache is not None:
            states, mask = cache.states, cache.states_mask
        return self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states), attention_mask=_long(mask),
            decoder_input_ids=tokens, use_cache=cache is not None,
            past_key_values=cache.past if cache else None,
        ).logits  # fmt: skip

    def start(
        self, tokens: Tensor | None, mask: Tensor | None, new_tokens: int, x: Tensor | None = None
    ) -> Started:
        """Read, and begin a new text (:mod:`vlcourse.generate.loop`)."""
        from transformers import DynamicCache, EncoderDecoderCache

        states, own = self.encode(tokens, mask, x), self.model.config
        past = EncoderDecoderCache(DynamicCache(config=own), DynamicCache(config=own))
        cache = Past(past, states, states, mask)
        first = torch.full((len(states), 1), own.decoder_start_token_id, device=states.device)
        return Started(self.step(first, cache), cache, first)

    def step(self, tokens: Tensor, cache: Past) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.decode(tokens, cache=cache)[:, -1]


class Past(KVCache):
    """A cache of transformers' as ours is asked.

    Attributes:
        past: theirs.
        states, states_mask: what an encoder read; None without one.
    """

    def __init__(
        self,
        past: Any,
        like: Tensor,
        states: Tensor | None = None,
        states_mask: Tensor | None = None,
    ) -> None:
        super().__init__(0, len(like), 1, 1, 1, like)
        self.past, self.states, self.states_mask = past, states, states_mask

    @property
    def length(self) -> int:
        """Positions filled so far, padding included."""
        return int(self.past.get_seq_length())

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order; a row may come several times, or never."""
        self.past.reorder_cache(rows)
        for name in ("mask", "states", "states_mask"):
            if (value := getattr(self, name)) is not None:
                setattr(self, name, value[rows])


def _long(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.long()
