"""What the engine asks of a model that it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

# What the settings of any model may be: beyond every published one, and small enough that a slip of
# the hand is refused before memory is asked for.
WIDTH = (1, 65_536)
HIDDEN = (1, 1_048_576)
LAYERS = (1, 1_000)
HEADS = (1, 1_024)
VOCAB = (1, 10_000_000)
CONTEXT = (1, 10_000_000)
EPS = (1e-30, 1.0)


class Trainable(nn.Module, ABC):
    """A model that says what its losses are. Its ``forward`` is free for what the paper computes.

    Attributes:
        config: the frozen dataclass that describes the model.
        begins_from: other kinds of model that the config's ``adopt`` takes up, too.
        only_training: beginnings of names in the state that nothing but training needs, such as
            "twin."; a file of weights may lack all of these, and training then begins them anew.
    """

    config: Any
    begins_from: tuple[type[Trainable], ...] = ()
    only_training: tuple[str, ...] = ()

    @abstractmethod
    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """A batch's tensors → scalar losses by name; their sum is what training makes smaller."""

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """How many items a loss is the mean of, where batches differ in that: its name → number.

        A mean over several batches is then one over all their items. Default: none; for a loss that
        is not named, a contrastive one say, it is the mean of the batches' losses.
        """
        return {}

    def lr_factors(self) -> dict[str, float]:
        """What the learning rate of some parts is multiplied by: a part's name → its factor.

        A name is that of a submodule or parameter, and stands for all below it. Default: none.
        """
        return {}

    def after_step(self, step: int) -> None:
        """Called after the optimiser's step number ``step`` (1, 2, …); momentum encoders need it.

        Default: nothing.
        """
        return None
