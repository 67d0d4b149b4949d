"""What happens inside a model, when asked: the states of its blocks, the weights of its attentions.

A model's ``forward`` is run as it is, and what passes is written down; so nothing is computed in
two places, and a run that nobody looks into costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from vlcourse.layers.attention import Attention


def block_states(blocks: Iterable[nn.Module], run: Callable[[], Any]) -> tuple[Tensor, ...]:
    """What each block gives while ``run()`` runs, in the order in which they are called."""
    found: list[Tensor] = []
    with ExitStack() as hooks:
        for block in blocks:
            hooks.enter_context(block.register_forward_hook(lambda *call: found.append(call[2])))
        run()
    return tuple(found)


def attention_weights(model: nn.Module, run: Callable[[], Any]) -> dict[str, Tensor]:
    """Who looks at whom: (B, heads, L, S) for each attention that ``run()`` calls, by its name.

    Rows sum to 1. Each attention computes its products twice; those with a cache are refused.

    >>> attention_weights(llama, lambda: llama(tokens))["blocks.0.attention"]
    """
    found: dict[str, Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(attention: Any, inputs: tuple[Any, ...], named: dict[str, Any], _: Any) -> None:
            found[name] = attention.weights(*inputs, **named)

        return hook

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, Attention):
                hooks.enter_context(module.register_forward_hook(note(name), with_kwargs=True))
        run()
    return found
