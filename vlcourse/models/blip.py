"""BLIP: it compares, matches and writes with one text model (Li et al. 2022, section 3)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.layers.errors import ModelError
from vlcourse.layers.momentum import FeatureQueue, Momentum
from vlcourse.layers.ranges import check
from vlcourse.models.base import WIDTH
from vlcourse.models.blip_image import check_width
from vlcourse.models.blip_parts import BLIPParts
from vlcourse.models.blip_vit import BLIPViT, BLIPViTConfig
from vlcourse.models.matching import hard_pairs
from vlcourse.models.med import MED
from vlcourse.models.med_config import MEDConfig
from vlcourse.models.presets import published
from vlcourse.models.resnet import ResNetConfig
from vlcourse.names import no_such

TASKS = ("itc", "itm", "lm")


@dataclass(frozen=True)
class BLIPConfig:
    """Shape of a BLIP, and how it is pretrained."""

    embed: int = 256
    """Dimension of the space in which image and text are compared."""
    image: BLIPViTConfig | ResNetConfig = field(default_factory=BLIPViTConfig)
    """The image tower."""
    text: MEDConfig = field(default_factory=MEDConfig)
    """The text model."""
    tasks: tuple[str, ...] = TASKS
    """The losses: itc, itm, lm, or some of them. What the others need is not trained."""
    queue: int = 57_600
    """Features of earlier batches that the ITC compares with."""
    momentum: float = 0.995
    """How slowly the momentum encoders follow; 0: none, no queue, and CLIP's plain ITC."""
    alpha: float = 0.4
    """How much the momentum encoders' opinion counts in the ITC's targets, after the ramp."""
    alpha_steps: int = 10_000
    """Steps over which that rises from 0; two epochs of 14M images are about as many."""
    temperature_lr: float = 1.0
    """τ's learning rate, in multiples of the others': at 1e-3 Adam moves 0.07 to 0 in 70 steps."""
    smoothing: float = 0.1
    """Label smoothing of the LM loss."""
    prompt: int = 1
    """Tokens at the beginning of each text that the LM loss leaves out, [CLS] included."""

    def __post_init__(self) -> None:
        check(self, embed=WIDTH, queue=(0, 10_000_000), momentum=(0, 1), alpha=(0, 1))
        check(self, alpha_steps=(0, 1e9), temperature_lr=(0, 1_000), smoothing=(0, 1))
        check(self, prompt=(1, self.text.context))
        for task in self.tasks:
            if task not in TASKS:
                raise ModelError(no_such("loss of BLIP's", task, TASKS))
        role = {"itc": self.text.reads, "itm": self.text.reads, "lm": self.text.writes}
        if absent := [task for task in self.tasks if not role[task]]:
            raise ModelError(f"a text model that is a {self.text.roles} only has no {absent[0]}")
        check_width(self.image, self.text)

    def build(self) -> BLIP:
        """A freshly initialised model of this shape."""
        return BLIP(self)

    @staticmethod
    def preset(name: str) -> BLIPConfig:
        """The shape of a published model, by its name in :data:`PRESETS`.

        Raises:
            ModelError: for an unknown name; the nearest one is named.
        """
        return published("BLIP", name, PRESETS)

    def adopt(self, model: BLIP) -> BLIP:
        """A trained BLIP for this config's losses and image size; ModelError if it differs in more.

        Momentum encoders and queues go along where neither the size of the image nor that of the
        queue changes; else they begin anew.
        """
        if model.config == self:
            return model
        old = model.config
        same = (old.embed, old.text) == (self.embed, self.text)
        at_size = replace(old.image, image_size=self.image.image_size)
        if not same or at_size != self.image:
            raise ModelError("their models differ in more than their losses and the size of images")
        image = model.image
        if at_size != old.image:
            if not isinstance(image, BLIPViT):
                raise ModelError("a ResNet's BLIP cannot take images of another size")
            image = image.at_resolution(self.image.image_size)
        other = BLIP(self).to(model.steps.device).train(model.training)
        fresh, found = other.state_dict(), model.state_dict()
        if at_size != old.image or old.queue != self.queue or model.twin is None:
            found = {n: t for n, t in found.items() if not n.startswith(BLIP.only_training)}
        found |= {f"image.{name}": tensor for name, tensor in image.state_dict().items()}
        other.load_state_dict(fresh | {n: t for n, t in found.items() if n in fresh})
        return other


# Section 4.1; the official code's create_vit for the heads.
PRESETS: dict[str, BLIPConfig] = {
    "ViT-B/16": BLIPConfig(),
    "ViT-L/16": BLIPConfig(
        image=BLIPViTConfig(width=1024, layers=24, heads=16), text=MEDConfig(image_width=1024)
    ),
}


class BLIP(BLIPParts):
    """An image tower and a MED, with three losses that train them at once.

    ITC compares the two alone, ITM looks at them together, LM writes the text. The temperature τ is
    learned, starts at 0.07, and is kept within 0.001 and 0.5.

    Attributes:
        twin: the momentum encoders; None where the config has no momentum, or no ITC.
        steps: optimiser steps so far, for α's ramp.
    """

    only_training = ("twin.", "image_queue.", "text_queue.", "steps")

    def __init__(self, config: BLIPConfig) -> None:
        c = config
        super().__init__(c.image, c.text, c.embed)
        self.config = c
        self.train_only(c.tasks)
        self.twin: Momentum | None = None
        if c.momentum and "itc" in c.tasks:
            self.twin = Momentum(
                image=copy.deepcopy(self.image),
                image_projection=copy.deepcopy(self.image_projection),
                text=MED(c.text, unimodal=True),
                text_projection=copy.deepcopy(self.text_projection),
            )
            self.twin.copy(self)
            self.image_queue = FeatureQueue(c.queue, c.embed)
            self.text_queue = FeatureQueue(c.queue, c.embed)
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> BLIP:
        """As every module's. Before the first step the twins become copies of what is there now:
        weights may have come from elsewhere since they were made. A frozen part's twin is as still
        as the part."""
        super().train(mode)
        if self.twin is not None:
            for name, part in self.twin.named_children():
                part.train(self.get_submodule(name).training)
            if mode and not self.steps.is_meta and not int(self.steps):
                self.twin.copy(self)
        return self

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The losses of ``config.tasks``, of pairs of an image and its text.

        Args:
            batch: ``"pixels"`` (B, 3, S, S); ``"tokens"`` (B, L) ids, [CLS] w … [SEP] and padding;
                ``"mask"`` (B, L) bool. Where some images occur several times also ``"groups"``
                (B,): pairs with one number show the same image, and fit each other. Foils, where
                there are any (:func:`vlcourse.models.matching.hard_pairs`), are a loss apart.

        Over ranks the batch is all ranks' batches together, for the hard negatives too. (The
        paper's code draws them within each GPU's 75 pairs in pretraining, from all GPUs' in the
        fine-tuning for retrieval.)
        """
        tasks, tokens, mask = self.config.tasks, batch["tokens"], batch["mask"]
        found = {}
        if tasks == ("lm",):
            seen = self.image_tokens(batch["pixels"])
        else:
            feature, seen = self.look(batch["pixels"])
            text = self.encode_text(tokens, mask)
            anchors = self._anchors(batch, feature, text)
        if "itc" in tasks:
            found["itc"] = self._itc(feature, text, anchors, batch.get("groups"))
        if "itm" in tasks:
            found |= self._itm(feature, text, anchors, seen, batch)
        if "lm" in tasks:
            targets = losses.lm_targets(tokens, mask, self.config.prompt)
            hidden = self.text.decode(tokens, seen)
            found["lm"] = losses.lm(hidden, self.text.head, targets, self.config.smoothing)
        return found

    def counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The LM loss is a mean over the tokens that are learned, that of foils over the foils."""
        found = {}
        if "lm" in self.config.tasks:
            targets = losses.lm_targets(batch["tokens"], batch["mask"], self.config.prompt)
            found["lm"] = (targets != -100).sum()
        if "itm" in self.config.tasks and "foil_rows" in batch:
            found["foils"] = torch.tensor(len(batch["foil_rows"]))
        return found

    def lr_factors(self) -> dict[str, float]:
        """τ is no weight of a network, and need not learn as fast as they do."""
        return {"temperature": self.config.temperature_lr} if self.config.text.reads else {}

    @torch.no_grad()
    def _anchors(
        self, batch: dict[str, Any], feature: Tensor, text: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(N, embed) unit vectors of all ranks' images and texts, by the twins if there are any."""
        if self.twin is not None:
            twin: Any = self.twin
            feature = twin.image_projection(twin.image(batch["pixels"])[0])
            states = twin.text.encode(batch["tokens"], batch["mask"], only_first=True)
            text = twin.text_projection(states[:, 0])
        sides = (nn.functional.normalize(side, dim=-1) for side in (feature, text))
        image, text = (losses.gather_rows(side) for side in sides)
        return image, text

    def _itc(
        self, feature: Tensor, text: Tensor, anchors: tuple[Tensor, Tensor], groups: Tensor | None
    ) -> Tensor:
        if self.twin is None:
            return losses.itc(feature, text, 1 / self.temperature)
        positives, ids = None, None
        if groups is not None:
            ids = losses.gather_rows(groups)
            positives = groups[:, None] == torch.cat([ids, self.image_queue.ids])
        if self.training:
            for queue, rows in zip((self.image_queue, self.text_queue), anchors, strict=True):
                queue.hold(rows, ids)
        queues = (self.image_queue.rows, self.text_queue.rows)
        return losses.itc_momentum(
            feature, text, *anchors, *queues, self.temperature, self.alpha(), positives
        )

    def alpha(self) -> float:
        """α now: it rises with the steps, from 0 to ``config.alpha``."""
        c = self.config
        return c.alpha * min(1.0, int(self.steps) / c.alpha_steps) if c.alpha_steps else c.alpha

    def _itm(
        self,
        feature: Tensor,
        text: Tensor,
        anchors: tuple[Tensor, Tensor],
        seen: Tensor,
        batch: dict[str, Any],
    ) -> dict[str, Tensor]:
        """Each pair, its image with a wrong text, its text with a wrong image; and any foils."""
        with torch.no_grad():
            to_text = losses.similarity(feature, anchors[1], 1 / self.temperature)  # (n, N)
            to_image = losses.similarity(text, anchors[0], 1 / self.temperature)
        pairs = hard_pairs(to_text, to_image, seen, batch)
        logits = self.match(None, pairs.tokens, pairs.mask, pairs.images, rows=pairs.rows)
        return pairs.losses(logits)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """The queue takes the step's features, the twins follow, τ goes back into its bounds."""
        if self.config.text.reads:
            self.temperature.clamp_(0.001, 0.5)
        self.steps.fill_(step)
        if self.twin is not None:
            self.image_queue.write()
            self.text_queue.write()
            self.twin.follow(self, self.config.momentum)
