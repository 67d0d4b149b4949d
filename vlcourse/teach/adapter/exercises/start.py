"""The zero-init check: is the start the old model, bit for bit, and what learns first?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vlcourse.models.adapter import Adapter, AdapterConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.teach.checking import Exercise, Right, Wrong, call, expect

Found = tuple[bool, set[str]]


def zero_init_check(model: Any, tokens: Tensor, targets: Tensor) -> Found:
    """The reference.

    Args:
        model: an adapter; ``model.llm`` is the frozen LLaMA in it.
        tokens: (B, L) ids.
        targets: (B, L) next ids, -100 where nothing is learned.

    Returns:
        Whether its logits are the LLaMA's, bit for bit; and the names of the parameters whose
        gradient of the loss is not zero.
    """
    logits = model(tokens)
    with torch.no_grad():
        same = torch.equal(logits, model.llm(tokens))
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(learned.values()), allow_unused=True)
    moving = {n for n, g in zip(learned, found, strict=True) if g is not None and g.any()}
    return same, moving


def _with(slip: str, model: Any, tokens: Tensor, targets: Tensor) -> Any:
    """By backward(), with one mistake or none."""
    logits, before = model(tokens), model.llm(tokens)
    if slip == "against itself":
        before = model(tokens)
    same = torch.equal(logits, before)
    if slip == "nearly the same":
        same = torch.allclose(logits, before, atol=1e-4)
    if slip == "only the best tokens":
        same = torch.equal(logits.argmax(-1), before.argmax(-1))
    if slip == "a tensor":
        same = (logits == before).all()
    if slip != "old gradients":
        model.zero_grad()
    own = targets.clamp(min=0) if slip == "all tokens learned" else targets
    F.cross_entropy(logits.flatten(0, 1), own.flatten()).backward()
    named = dict(model.named_parameters())
    if slip == "what may learn":
        return same, {n for n, p in named.items() if p.requires_grad}
    if slip == "has a gradient":
        return same, {n for n, p in named.items() if p.grad is not None}
    if slip == "all gradients at once":
        still = [n for n, p in named.items() if p.grad is not None and p.grad.all()]
        return same, set(still)
    moving = {n for n, p in named.items() if p.grad is not None and p.grad.abs().max() > 0}
    if slip == "how many":
        return same, len(moving)
    return same, moving


_EQUAL = "Bit for bit: torch.equal(model(tokens), model.llm(tokens))."
_ZERO = "A gradient can be there and be all zeros: look at its numbers, p.grad.any()."
_OLD = "Old gradients may still be there: model.zero_grad() before backward()."


def _adapter(gates: Tensor | float) -> Adapter:
    llm = LLaMAConfig(11, 16, layers=3, heads=2, hidden=24, context=16)
    model = AdapterConfig(llm, prompts=3, layers=2).build()
    with torch.no_grad():
        for layer in model.layers:
            layer.gate.value.copy_(torch.as_tensor(gates).expand(2))
    return model.eval()


def _check(candidate: Callable[..., Any]) -> None:
    tokens = torch.randint(11, (2, 6))
    targets = torch.randint(11, (2, 6)).masked_fill(torch.arange(6) < 3, -100)
    gates = {"layers.0.gate.value", "layers.1.gate.value"}
    prompts = {"layers.0.prompts", "layers.1.prompts"}
    cases = (
        ("with all gates 0", 0.0, True, gates),
        ("with gates of 0.5", 0.5, False, gates | prompts),
        ("with gates of 0.000001", 1e-6, False, gates | prompts),
        ("with one head open", torch.tensor([0.0, 0.8]), False, gates | prompts),
    )
    for told, value, identical, moving in cases:
        model = _adapter(value)
        model.layers[0].prompts.grad = torch.ones(3, 16)  # from an earlier step
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        found = call(candidate, model, tokens, targets)
        pair = isinstance(found, (tuple, list)) and len(found) == 2
        expect(pair, "the answer is not two things", "return same, names")
        same, names = found
        is_bool = isinstance(same, bool)
        expect(is_bool, f"{told} the first answer is no bool", "torch.equal gives True or False.")
        expect(same == identical, f"{told} it says same={same}", _EQUAL)
        several = isinstance(names, (set, list, tuple)) and all(isinstance(n, str) for n in names)
        expect(several, f"{told} the second answer is no set of names", "{name for name, p in …}")
        more, less = set(names) - moving, moving - set(names)
        hint = _OLD if more and value == 0.0 and more == {"layers.0.prompts"} else _ZERO
        expect(not more, f"{told} it names {', '.join(sorted(more))}, which has no gradient", hint)
        few = "Any number of it that is not zero is enough: .any(), not .all()."
        expect(not less, f"{told} it leaves out {', '.join(sorted(less))}", few)
        kept = all(torch.equal(p, before[n]) for n, p in model.named_parameters())
        expect(kept, "your code changes the weights", "Only look: no optimiser takes a step here.")


def _by_names(model: Any, tokens: Tensor, targets: Tensor) -> Any:
    model.zero_grad(set_to_none=True)
    loss = F.cross_entropy(model(tokens).transpose(1, 2), targets)
    loss.backward()
    names = []
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and bool((parameter.grad != 0).any()):
            names.append(name)
    return bool((model(tokens) == model.llm(tokens)).all()), names


def _by_losses(model: Any, tokens: Tensor, targets: Tensor) -> Any:
    model.zero_grad()
    sum(model.losses({"tokens": tokens, "targets": targets}).values()).backward()
    same = torch.equal(model(tokens), model.llm(tokens))
    named = model.named_parameters()
    return same, {n for n, p in named if p.grad is not None and torch.count_nonzero(p.grad)}


def _stepped(model: Any, tokens: Tensor, targets: Tensor) -> Any:
    found = _with("", model, tokens, targets)
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 if p.grad is None else 0.1 * p.grad
    return found


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="adapter.zero_init",
        title="Is the start the old model?",
        minutes=8,
        difficulty=2,
        reference=zero_init_check,
        check=_check,
        hints=(
            "First compare model(tokens) with model.llm(tokens); then one backward pass.",
            "F.cross_entropy(logits.flatten(0, 1), targets.flatten()) already leaves out -100.",
            "{name for name, p in model.named_parameters() if p.grad is not None and "
            "p.grad.any()}, after model.zero_grad() and loss.backward().",
        ),
        wrong=(
            Wrong("against itself", partial(_with, "against itself"), "model.llm(tokens)"),
            Wrong("nearly the same", partial(_with, "nearly the same"), "Bit for bit"),
            Wrong("only the best tokens", partial(_with, "only the best tokens"), "Bit for bit"),
            Wrong("a tensor", partial(_with, "a tensor"), "True or False"),
            Wrong("old gradients", partial(_with, "old gradients"), "zero_grad"),
            Wrong("what may learn", partial(_with, "what may learn"), "be all zeros"),
            Wrong("has a gradient", partial(_with, "has a gradient"), "be all zeros"),
            Wrong("how many", partial(_with, "how many"), "{name for name"),
            Wrong("a step taken", _stepped, "Only look"),
            Wrong("names alone", lambda *a: zero_init_check(*a)[1], "return same, names"),
        ),
        right=(
            Right("by backward()", partial(_with, "")),
            Right("a list of names", _by_names),
            Right("by the model's own loss", _by_losses),
        ),
    ),
)
