"""Three ways to learn from captions, as in figure 2 of the CLIP paper: heads on one image tower.

Each model is trained on ``{"pixels", "tokens"}`` and scores prompts for pictures, which makes a
zero-shot classifier of each: the class is the one whose prompt scores highest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse import losses
from vlcourse.layers.block import Block
from vlcourse.models.clip import TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.teach.clip.experiments.arms import image_tower


class Objective(nn.Module):
    """The shared part: the image tower, and what the tokens of a caption are."""

    def __init__(self, image: ResNetConfig, text: TextConfig, embed: int) -> None:
        super().__init__()
        self.text = text
        self.image, self.width = image_tower(image, embed)

    def words(self, tokens: Tensor) -> Tensor:
        """(B, L) tokens → (B, vocab) float: how often each is in the text, ends left out."""
        bag = torch.zeros(len(tokens), self.text.vocab_size, device=tokens.device)
        bag.scatter_add_(1, tokens, torch.ones_like(tokens, dtype=bag.dtype))
        bag[:, 0] = 0  # the padding ("!" has this id too; no caption of the toy world has one)
        bag[:, self.text.vocab_size - 2 :] = 0
        return bag

    def scores(self, pixels: Tensor, prompts: Tensor) -> Tensor:
        """(B, 3, S, S) pictures and (C, L) prompts → (B, C)."""
        raise NotImplementedError


class BagOfWords(Objective):
    """Predict which words the caption has, in no order (Joulin et al. 2016)."""

    def __init__(self, image: ResNetConfig, text: TextConfig, embed: int) -> None:
        super().__init__(image, text, embed)
        self.head = nn.Linear(self.width, text.vocab_size)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``{"bag": cross-entropy against the caption's words, each as likely as it is often}``."""
        bag = self.words(batch["tokens"])
        target = bag / bag.sum(dim=1, keepdim=True).clamp(min=1)
        return {"bag": F.cross_entropy(self.head(self.image(batch["pixels"])[0]), target)}

    def scores(self, pixels: Tensor, prompts: Tensor) -> Tensor:
        """Mean log-probability of a prompt's words."""
        log_p = self.head(self.image(pixels)[0]).log_softmax(dim=-1)  # (B, vocab)
        bag = self.words(prompts)
        return log_p @ (bag / bag.sum(dim=1, keepdim=True)).T


class BagContrastive(Objective):
    """Tell which caption belongs to which picture; the caption's encoder is a bag of words too.

    So it differs from `BagOfWords` in the objective alone, as the paper's figure 2 has it.
    """

    def __init__(self, image: ResNetConfig, text: TextConfig, embed: int) -> None:
        super().__init__(image, text, embed)
        self.embedding = nn.Linear(text.vocab_size, self.width, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / 0.07)]))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(B, L) → (B, width): the mean of the words' vectors (its length does not matter)."""
        return self.embedding(self.words(tokens))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``{"itc": contrastive loss}``."""
        image, text = self.image(batch["pixels"])[0], self.encode_text(batch["tokens"])
        return {"itc": losses.itc(image, text, self.log_scale.exp().clamp(max=100))}

    def scores(self, pixels: Tensor, prompts: Tensor) -> Tensor:
        """Cosine similarities."""
        return losses.similarity(self.image(pixels)[0], self.encode_text(prompts))


class LanguageModel(Objective):
    """Write the caption, word for word: a causal Transformer that reads the picture first."""

    def __init__(self, image: ResNetConfig, text: TextConfig, embed: int) -> None:
        super().__init__(image, text, embed)
        self.prefix = nn.Linear(self.width, text.width)
        self.token = nn.Embedding(text.vocab_size, text.width)
        self.positions = nn.Parameter(torch.randn(text.context, text.width) * 0.01)
        self.blocks = nn.ModuleList(
            Block(text.width, text.heads, 4 * text.width, text.activation)
            for _ in range(text.layers)
        )
        self.norm_final = nn.LayerNorm(text.width)
        self.head = nn.Linear(text.width, text.vocab_size)
        nn.init.normal_(self.token.weight, std=0.02)

    def log_p(self, prefix: Tensor, tokens: Tensor) -> Tensor:
        """(B, D) pictures and (B, L) tokens → (B, L − 1): log-probability of each next token."""
        x = self.token(tokens[:, :-1]) + self.positions[: tokens.shape[1] - 1]
        x = torch.cat([prefix[:, None], x], dim=1)  # (B, L, D): the picture comes first
        for block in self.blocks:
            x = block(x, causal=True)
        logits = self.head(self.norm_final(x[:, 1:]))  # (B, L − 1, vocab)
        return -F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``{"lm": mean negative log-likelihood of the captions' tokens, the end included}``."""
        tokens = batch["tokens"]
        log_p = self.log_p(self.prefix(self.image(batch["pixels"])[0]), tokens)
        real = (tokens[:, 1:] != 0).float()
        return {"lm": -(log_p * real).sum() / real.sum()}

    def scores(self, pixels: Tensor, prompts: Tensor) -> Tensor:
        """Log-likelihood of each prompt, the end of text left out: it may go on."""
        count, end = len(prompts), self.text.vocab_size - 1
        prefix = self.prefix(self.image(pixels)[0])  # (B, D)
        pairs = prefix.repeat_interleave(count, dim=0), prompts.repeat(len(prefix), 1)
        log_p = self.log_p(*pairs)  # (B·C, L − 1)
        real = (pairs[1][:, 1:] != 0) & (pairs[1][:, 1:] != end)
        return (log_p * real).sum(dim=1).view(-1, count)
