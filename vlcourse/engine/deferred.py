"""A model that is built now and gets its weights later, tensor by tensor: for models of any size.

What a constructor does to its tensors is written down instead of done; afterwards each tensor can
be made alone, with the very numbers that it would have had. So a rank keeps its shard of it and
lets the rest go. The idea is torchdistX's ``deferred_init``; models need to know nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from vlcourse import VlcourseError

SMALL = 65_536  # numbers; what has fewer is made at once, so that a constructor may look at it


class DeferError(VlcourseError, RuntimeError):
    """A constructor that looks at the numbers of a large tensor."""


@dataclass(frozen=True)
class _View:
    """A tensor by where it lies in a storage."""

    storage: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class _Op:
    """One operation on large tensors, and the generator's state before it, if it draws numbers."""

    function: Any
    args: Any
    kwargs: Any
    made: tuple[_View, ...]
    state: Tensor | None


class Deferred(TorchDispatchMode):
    """``with Deferred() as deferred: model = build()``: its large tensors are on the meta device.

    Random numbers are drawn and dropped meanwhile, one tensor at a time, so the generator moves as
    it would have, and :meth:`make` repeats each draw from the state that it began with.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ops: list[_Op] = []
        self._of: dict[int, list[int]] = {}  # storage → the operations that touch it, in order
        self._kept: list[Any] = []  # storages, so that no two get the same number

    def __enter__(self) -> Deferred:
        # It draws until no number lies outside, and skips meta tensors without a word: one step.
        self._truncated: Any = nn.init._no_grad_trunc_normal_
        nn.init._no_grad_trunc_normal_ = self._truncated_normal
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        nn.init._no_grad_trunc_normal_ = self._truncated
        super().__exit__(*error)

    def _truncated_normal(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.utils._python_dispatch._disable_current_modes():
            if not tensor.is_meta:
                return self._truncated(tensor, *args, **kwargs)
            self._record(self._truncated, (tensor, *args), kwargs, [tensor], draws=True)
        return tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if inputs and not any(tensor.is_meta for tensor in inputs):
            return func(*args, **kwargs)  # small ones among themselves
        made_here = not inputs
        try:
            out = func(*args, **({**kwargs, "device": "meta"} if made_here else kwargs))
        except (NotImplementedError, RuntimeError) as error:
            raise DeferError(
                f"{func} needs the numbers of a tensor that is not made yet ({error}): build the "
                "model first, and give the model instead of the function that builds it"
            ) from None
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if made_here and all(tensor.numel() < SMALL for tensor in outputs):
            return func(*args, **kwargs)
        self._record(func, args, kwargs, outputs, torch.Tag.nondeterministic_seeded in func.tags)
        return out

    def _record(
        self, func: Any, args: Any, kwargs: Any, outputs: list[Tensor], draws: bool
    ) -> None:
        state = None
        if draws:
            generator = kwargs.get("generator") or torch.default_generator
            state = generator.get_state()
            func(*tree_map_only(Tensor, _room, args), **tree_map_only(Tensor, _room, kwargs))
        noted, named = (tree_map_only(Tensor, self._note, part) for part in (args, kwargs))
        made = tuple(self._view(tensor) for tensor in outputs)
        self._ops.append(_Op(func, noted, named, made, state))
        touched = [leaf for leaf in tree_leaves((noted, named)) if _is_view(leaf)]
        for storage in {view.storage for view in (*touched, *made)}:
            self._of.setdefault(storage, []).append(len(self._ops) - 1)

    def _note(self, tensor: Tensor) -> Any:
        if tensor.is_meta:
            return self._view(tensor)
        return tensor.detach().clone() if tensor.numel() < SMALL else tensor

    def _view(self, tensor: Tensor) -> _View:
        storage = tensor.untyped_storage()
        self._kept.append(storage)
        place = int(tensor.storage_offset())
        return _View(
            storage._cdata, tensor.dtype, tuple(tensor.shape), tuple(tensor.stride()), place
        )

    def tensors(self, model: nn.Module) -> dict[str, Any]:
        """What :meth:`make` needs for each parameter and buffer, by name; then all is on meta.

        Shared parameters have all their names.
        """
        named: list[tuple[str, Tensor]] = [*model.named_parameters(remove_duplicate=False)]
        named += model.named_buffers(remove_duplicate=False)
        found = {name: self._note(tensor.detach()) for name, tensor in named}
        swapped: dict[int, Tensor] = {}
        for name, tensor in named:
            if not tensor.is_meta:
                path, _, leaf = name.rpartition(".")
                hollow = tensor.detach().to("meta")
                if isinstance(tensor, nn.Parameter):
                    hollow = nn.Parameter(hollow, requires_grad=tensor.requires_grad)
                setattr(model.get_submodule(path), leaf, swapped.setdefault(id(tensor), hollow))
        return found

    def make(self, noted: Any) -> Tensor:
        """The tensor itself, on the CPU."""
        if isinstance(noted, Tensor):
            return noted
        storages: dict[int, Any] = {}

        def real(view: _View) -> Tensor:
            empty = torch.empty(0, dtype=view.dtype)
            return empty.set_(storages[view.storage], view.offset, view.size, view.stride)

        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for number in self._needed(noted.storage):
                op = self._ops[number]
                if op.state is not None:
                    (op.kwargs.get("generator") or torch.default_generator).set_state(op.state)
                args, kwargs = (tree_map_only(_View, real, part) for part in (op.args, op.kwargs))
                made = [t for t in tree_leaves(op.function(*args, **kwargs)) if _is_tensor(t)]
                for view, tensor in zip(op.made, made, strict=True):
                    storages.setdefault(view.storage, tensor.untyped_storage())
        return real(noted)

    def _needed(self, storage: int) -> list[int]:
        """The operations that a storage's numbers rest on, in order."""
        found: set[int] = set()
        waiting, seen = [storage], {storage}
        while waiting:
            for number in self._of[waiting.pop()]:
                found.add(number)
                op = self._ops[number]
                views = [leaf for leaf in tree_leaves((op.args, op.kwargs)) if _is_view(leaf)]
                for view in (*views, *op.made):
                    if view.storage not in seen:
                        seen.add(view.storage)
                        waiting.append(view.storage)
        return sorted(found)


def _room(tensor: Tensor) -> Tensor:
    """A tensor to draw random numbers into, laid out like this one."""
    size, stride = tensor.shape, tensor.stride()
    return torch.empty_strided(size, stride, dtype=tensor.dtype) if tensor.is_meta else tensor


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor)


def _is_view(leaf: Any) -> bool:
    return isinstance(leaf, _View)
