"""BLIPs with random weights, small enough to write and judge in a blink."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vlcourse.jobs.blip import BLIPCaptioner, BLIPJudge
from vlcourse.jobs.transformers_blip import TransformersJudge
from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.med import MEDConfig

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]", "[ENC]", "a", "picture", "of", "red", "blue"]
WORDS += ["circle", "star", "small", "large", "and", "the", "left", "right", "above", ",", "1", "2"]


def write_transformers(folder: Path, kind: str, seed: int = 0) -> Path:
    """A tiny model of the transformers library in a folder of its own, with its processor."""
    import transformers

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n")
    ids = {"bos_token_id": 4, "sep_token_id": 3, "eos_token_id": 2, "pad_token_id": 0}
    text = transformers.BlipTextConfig(
        vocab_size=len(WORDS), hidden_size=16, encoder_hidden_size=12, intermediate_size=24,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=40,
        initializer_range=0.5, **ids,
    )  # fmt: skip
    vision = transformers.BlipVisionConfig(
        hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
        image_size=16, patch_size=8, initializer_range=0.5,
    )  # fmt: skip
    config = transformers.BlipConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), image_text_hidden_size=8
    )
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer = transformers.BertTokenizer(str(vocabulary), do_lower_case=True)
    size = {"height": 16, "width": 16}
    images = transformers.BlipImageProcessor(size=size)
    transformers.BlipProcessor(images, tokenizer).save_pretrained(folder)
    return folder


class Words:
    """The words above as a MED's tokenizer."""

    pad, cls, sep, dec, enc = 0, 2, 3, 4, 5
    vocab_size = len(WORDS)

    def encode(self, text: str) -> list[int]:
        """Ids of the words, [UNK] for those that are not known."""
        return [WORDS.index(word) if word in WORDS else 1 for word in text.split()]

    def decode(self, ids: Iterable[int]) -> str:
        """The words, without [CLS], [SEP], [DEC] and [ENC]."""
        return " ".join(WORDS[i] for i in ids if i not in (0, 2, 3, 4, 5))

    def __call__(
        self, texts: Sequence[str], context: int = 512, truncate: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(B, L) ids and mask."""
        rows = [[self.cls, *self.encode(text), self.sep] for text in texts]
        assert truncate or all(len(row) <= context for row in rows)
        rows = [row if len(row) <= context else [*row[: context - 1], self.sep] for row in rows]
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max())
        tokens = torch.tensor([row + [self.pad] * (width - len(row)) for row in rows])
        return tokens, torch.arange(width) < lengths[:, None]


def ours(seed: int = 0, tasks: tuple[str, ...] = ("itc", "itm", "lm")) -> BLIP:
    """A tiny BLIP of this library."""
    torch.manual_seed(seed)
    ids = {"cls": 2, "sep": 3, "pad": 0, "dec": 4, "enc": 5}
    text = MEDConfig(
        vocab_size=len(WORDS), context=24, width=16, layers=2, heads=2, image_width=12, **ids
    )
    image = BLIPViTConfig(image_size=16, patch_size=8, width=12, layers=1, heads=2)
    model = BLIPConfig(embed=8, image=image, text=text, queue=0, momentum=0, tasks=tasks).build()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.nn.init.zeros_(model.itm_head.bias)
    return model.eval()


def make_ours() -> tuple[BLIPCaptioner, BLIPJudge]:
    """A captioner and a filter, each a model of its own."""
    return BLIPCaptioner(ours(1), Words()), BLIPJudge(ours(2), Words())


def die() -> tuple[BLIPCaptioner, BLIPJudge]:
    """As a process that the system kills."""
    os._exit(9)


def their_judge(folder: str) -> tuple[BLIPCaptioner, TransformersJudge]:
    """A filter of the transformers library."""
    return make_ours()[0], TransformersJudge(folder)
