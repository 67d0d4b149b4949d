"""Training: the same loop on a CPU, on a GPU, and over ranks."""

from __future__ import annotations

from vlcourse.engine.batches import Batches as Batches
from vlcourse.engine.config import NonFiniteLoss as NonFiniteLoss
from vlcourse.engine.config import RunConfig as RunConfig
from vlcourse.engine.config import TrainConfig as TrainConfig
from vlcourse.engine.config import TrainingError as TrainingError
from vlcourse.engine.interrupts import Interrupted as Interrupted
from vlcourse.engine.loop import Result as Result
from vlcourse.engine.loop import evaluate_loss as evaluate_loss
from vlcourse.engine.loop import fit as fit
