"""BLIP answers questions: one MED reads the question, another writes the answer.

Li et al. 2022, section 5.3 and figure 5. The question is read beside the image; the answer is
written by a decoder that looks at what became of the *question*, and at the image only through it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vlcourse import losses
from vlcourse.layers.cache import KVCache, Started
from vlcourse.layers.errors import ModelError
from vlcourse.layers.ranges import check
from vlcourse.models.base import WIDTH, Trainable
from vlcourse.models.blip import BLIP
from vlcourse.models.blip_image import check_width, tower
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.med import MED
from vlcourse.models.med_config import MEDConfig
from vlcourse.models.resnet import ResNet, ResNetConfig


def _answering(text: MEDConfig) -> MEDConfig:
    """The MED's config whose writer shares nothing with its reader and looks at its states."""
    return replace(text, roles="both", sharing="none", source_width=text.width)


@dataclass(frozen=True)
class BLIPAnswererConfig:
    """Shape of a BLIP that answers questions."""

    image: BLIPViTConfig | ResNetConfig = field(
        default_factory=lambda: BLIPViTConfig(image_size=480)
    )
    """The image tower."""
    text: MEDConfig = field(default_factory=lambda: _answering(MEDConfig()))
    """The text model; its writer looks at the reader's states, so source_width is its width."""
    embed: int = 256
    """What a ResNet's pooling gives: not needed here, but part of the tower it comes from."""
    smoothing: float = 0.1
    """Label smoothing of the loss; the ranking of answers has none."""

    def __post_init__(self) -> None:
        check(self, embed=WIDTH, smoothing=(0, 1))
        check_width(self.image, self.text)
        if self.text != _answering(self.text):
            raise ModelError(
                "an answerer's text model has both roles, sharing none, and as source_width its "
                f"width: set source_width to {self.text.width}"
            )

    def build(self) -> BLIPAnswerer:
        """A freshly initialised model of this shape."""
        return BLIPAnswerer(self)

    def adopt(self, model: BLIPAnswerer | BLIP) -> BLIPAnswerer:
        """A trained answerer of this very shape, or one that begins from a pretrained BLIP.

        The BLIP's images may have another size. ModelError if it differs in more.
        """
        if isinstance(model, BLIP):
            at_size = model
            if model.config.image != self.image:
                at_size = replace(model.config, image=self.image).adopt(model)
            model = BLIPAnswerer.from_blip(at_size, self.smoothing)
        if replace(model.config, smoothing=self.smoothing) != self:
            raise ModelError("their models differ in more than the size of images")
        return model


class BLIPAnswerer(Trainable):
    """An image, a question → an answer, written freely or chosen from a list."""

    begins_from = (BLIP,)

    def __init__(self, config: BLIPAnswererConfig) -> None:
        super().__init__()
        self.config = config
        self.image, self.grid = tower(config.image, config.embed)
        if isinstance(self.image, ResNet):
            self.image.pool.requires_grad_(False)
        self.text = MED(config.text)

    @staticmethod
    def from_blip(blip: BLIP, smoothing: float = 0.1) -> BLIPAnswerer:
        """Begin from a pretrained BLIP: reader and writer each get a copy of what they shared.

        Where the image's tokens have another width than the text's (ViT-L), the answer's cross-
        attention cannot look at a question with the old keys and values, and begins anew.
        """
        c = blip.config
        if c.text.roles != "both":
            raise ModelError("an answerer begins from a BLIP that reads and writes, not from half")
        model = BLIPAnswerer(BLIPAnswererConfig(c.image, _answering(c.text), c.embed, smoothing))
        own = model.state_dict()
        found = {n: t for n, t in blip.state_dict().items() if n in own and t.shape == own[n].shape}
        model.load_state_dict(own | found)
        return model.to(blip.steps.device)

    def read(self, pixels: Tensor, questions: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, 3, S, S) images, (B, Q) ids of questions → (B, Q, D): the questions' states."""
        seen = self.grid(self.image(pixels)[1]["tokens"])
        return self.text.ground(questions, seen, mask)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``{"lm": …}``: nats of an answer, summed over its tokens; the mean over the questions.

        Args:
            batch: ``"pixels"`` (B, 3, S, S); ``"questions"`` (B, Q) ids and ``"questions_mask"``;
                ``"answers"`` (A, L) and ``"answers_mask"``. Without more there is one answer to
                each question. ``"rows"`` (A,) says whose answers they are, ``"weights"`` (A,) how
                much each counts: VQA v2 has ten people's answers to a question, and a weight is the
                share of the people who gave this one.
        """
        states = self.read(batch["pixels"], batch["questions"], batch["questions_mask"])
        answers, rows = batch["answers"], batch.get("rows")
        targets = losses.lm_targets(answers, batch["answers_mask"])
        hidden = self.text.decode(answers, states, image_mask=batch["questions_mask"], rows=rows)
        each = losses.lm_sums(hidden, self.text.head, targets, self.config.smoothing)
        weights = batch.get("weights")
        total = each.sum() if weights is None else (weights * each).sum()
        return {"lm": total / len(states)}

    def rank(
        self,
        pixels: Tensor,
        questions: Tensor,
        mask: Tensor | None,
        candidates: Tensor,
        candidates_mask: Tensor,
        k: int = 128,
    ) -> Tensor:
        """How likely each answer of a list is, for each image and question.

        The k answers whose first token is likeliest are read to their end; the score is the exact
        log-probability of the whole answer, its [SEP] included.

        Args:
            pixels, questions, mask: as in :meth:`read`.
            candidates, candidates_mask: (n, L) ids, [CLS] w … [SEP], and their mask.
            k: how many are read to the end; more than there are means all.

        Returns:
            (B, n) nats; -inf for answers that are not among the k.
        """
        states = self.read(pixels, questions, mask)
        batch, n = len(states), len(candidates)
        k = min(k, n)
        start = self.text.lm_logits(
            self.text.decode(candidates[:1, :1].expand(batch, 1), states, image_mask=mask)
        )
        first = start[:, 0].float().log_softmax(dim=-1)[:, candidates[:, 1]]  # (B, n)
        chosen = first.topk(k, dim=1).indices  # (B, k)
        rows = torch.arange(batch, device=states.device).repeat_interleave(k)  # (B · k,)
        answers, answers_mask = candidates[chosen.flatten()], candidates_mask[chosen.flatten()]
        hidden = self.text.decode(answers, states, image_mask=mask, rows=rows)
        targets = losses.lm_targets(answers, answers_mask)
        log_p = -losses.lm_sums(hidden, self.text.head, targets)  # (B · k,)
        scores = torch.full((batch, n), float("-inf"), device=states.device)
        return scores.scatter(1, chosen, log_p.view(batch, k))

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.config.text.vocab_size

    def start(
        self,
        tokens: Tensor | None,
        mask: Tensor | None,
        new_tokens: int,
        pixels: Tensor,
        questions: Tensor,
        questions_mask: Tensor | None = None,
    ) -> Started:
        """Look, read the question, make room for an answer (:mod:`vlcourse.generate.loop`).

        Args:
            tokens, mask, new_tokens: the answer's beginning; as in :meth:`MED.start`.
            pixels, questions, questions_mask: as in :meth:`read`.
        """
        states = self.read(pixels, questions, questions_mask)
        return self.text.start(tokens, mask, new_tokens, states, questions_mask)

    def step(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """(B, L) newest tokens → (B, V) logits of the one that follows."""
        return self.text.step(tokens, cache)
