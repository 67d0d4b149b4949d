"""How the two shipped tokenizers were learned from the toy world's texts."""

from __future__ import annotations

from vlcourse.data import world
from vlcourse.data.corpus import sentences
from vlcourse.tokenizers.byte_bpe import ByteBPE, train_bpe
from vlcourse.tokenizers.sentence_bpe import SentenceBPE
from vlcourse.tokenizers.sentence_training import train_sentence_bpe


def train_toy() -> ByteBPE:
    """Learn the toy tokenizer anew: 20,000 captions of the toy world and CIFAR-10's class names.

    Merging goes on until each of these words is one token; any other text falls back to bytes.
    """
    scenes = world.World("train", n=20_000, size=32)
    captions = [str(s["caption"]) for s in scenes.__getitems__(range(len(scenes)))]
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    photos = [f"a photo of a {name}." for name in names.split()]
    return ByteBPE(train_bpe([*captions, *photos], merges=10_000))


def train_toy_llama() -> SentenceBPE:
    """Learn a tokenizer like the toy language models', on 3,000 documents of their corpus.

    Merging goes on until each of their words is one token; any other text falls back to bytes. The
    one that ships stays as it is, since models depend on its ids: the corpus may change after it.
    """
    return SentenceBPE(train_sentence_bpe(sentences(3000, 0), vocab_size=10_000))
