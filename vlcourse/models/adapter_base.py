"""What all adapters of a LLaMA have in common: a frozen language model, and something around it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from vlcourse import losses
from vlcourse.layers.around import Around
from vlcourse.layers.cache import KVCache, Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.frozen import freeze
from vlcourse.models.base import Trainable
from vlcourse.models.llama import LLaMA, LLaMAConfig


class AdaptedLLaMA(Trainable):
    """A LLaMA that somebody else has trained, and an adapter around its blocks.

    The LLaMA is as it was: it has no gradient, stays in eval mode whatever calls ``train()``, may
    be of half precision (``model.llm.bfloat16()``), and none of its names change. So a checkpoint
    holds the adapter alone (:func:`vlcourse.weights.state.trained_of`), several adapters can stand
    around one LLaMA, and ``model.llm`` by itself is the LLaMA without any of them.

    Attributes:
        llm: the LLaMA.
    """

    def __init__(self, llm: LLaMAConfig) -> None:
        super().__init__()
        self.llm: Any = freeze(LLaMA(llm))

    @abstractmethod
    def around(self, seen: Tensor | None = None) -> Sequence[Around | None]:
        """What stands around each of the LLaMA's blocks; nothing at all leaves it as it is.

        Args:
            seen: what :meth:`look` gave; None without an image.
        """

    def whole(self) -> LLaMA:
        """The LLaMA with what stands around parts of it that are no blocks."""
        return self.llm

    def look(self, pixels: Tensor | None = None, features: Tensor | None = None) -> Tensor | None:
        """Images → what the adapter makes of them; None when there are none.

        Args:
            pixels: (B, 3, S, S) normalised images.
            features: what was computed of them before and stored.

        Raises:
            ModelError: when this adapter sees no images.
        """
        if pixels is not None or features is not None:
            raise ModelError(f"{type(self).__name__} here reads text only: leave the images out")
        return None

    def forward(
        self,
        tokens: Tensor,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
        pixels: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """(B, L, V) logits of the next token at each position.

        Args:
            tokens, cache, mask: as :meth:`LLaMA.forward` takes them.
            pixels, features: as :meth:`look` takes them.
        """
        llm, around = self.whole(), self.around(self.look(pixels, features))
        return llm.head(llm.hidden(llm.token(tokens), cache, mask, around))

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"lm": …}``, the loss of the learned tokens.

        Args:
            batch: ``"tokens"`` and ``"targets"`` (B, L) as :class:`LLaMA` takes them; and maybe
                ``"pixels"`` or ``"features"``.
        """
        llm = self.whole()
        around = self.around(self.look(batch.get("pixels"), batch.get("features")))
        hidden = llm.hidden(llm.token(batch["tokens"]), around=around)
        return {"lm": losses.lm(hidden, llm.head, batch["targets"])}

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The loss is a mean over the targets that are learned."""
        return {"lm": (batch["targets"] != -100).sum()}

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return int(self.llm.vocab_size)

    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        pixels: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Started:
        """Look, read a prompt, make room for more (:mod:`vlcourse.generate.loop`).

        Args:
            tokens, mask, new_tokens: as :meth:`LLaMA.start` takes them.
            pixels, features: as :meth:`look` takes them.
        """
        around = self.around(self.look(pixels, features))
        return self.whole().start(tokens, mask, new_tokens, around=around)

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the next; the cache knows what was seen."""
        return self.whole().step(tokens, cache, self.around())
