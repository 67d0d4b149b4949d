"""What a trained model can do, measured: zero-shot classification and retrieval."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.data.sources.columns import check_templates
from vlcourse.evals import metrics
from vlcourse.layers.frozen import evaluating
from vlcourse.models.clip import CLIP
from vlcourse.models.matching import Matcher
from vlcourse.tokenizers.byte_bpe import ByteBPE


@torch.no_grad()
def embed_images(model: CLIP | Matcher, images: Tensor, batch_size: int = 256) -> Tensor:
    """uint8 pictures (N, 3, H, W) → L2-normalised embeddings (N, …, embed) on the CPU."""
    device = next(model.parameters()).device
    size = model.config.image.image_size
    parts = [
        model.encode_image(normalise(resize(chunk, size).to(device))).float().cpu()
        for chunk in images.split(batch_size)
    ]
    return F.normalize(torch.cat(parts), dim=-1)


@torch.no_grad()
def embed_texts(
    model: CLIP,
    tokenizer: ByteBPE,
    texts: Sequence[str],
    batch_size: int = 256,
    truncate: bool = False,
) -> Tensor:
    """N texts → L2-normalised embeddings (N, embed) on the CPU; long ones are cut or refused."""
    device, context = model.log_scale.device, model.config.text.context
    chunks = [texts[i : i + batch_size] for i in range(0, len(texts), batch_size)]
    tokens = (tokenizer(chunk, context, truncate=truncate).to(device) for chunk in chunks)
    parts = [model.encode_text(batch).float().cpu() for batch in tokens]
    return F.normalize(torch.cat(parts), dim=-1)


def classifier(
    model: CLIP, tokenizer: ByteBPE, names: Sequence[str], templates: Sequence[str] = ("{}",)
) -> Tensor:
    """A classifier written in words: one weight vector a class (Radford et al. 2021, 3.1.4).

    Each class's weight is the normalised mean of the normalised embeddings of its prompts.

    Args:
        model: a trained CLIP.
        tokenizer: the one it was trained with.
        names: C class names.
        templates: T prompts with ``{}`` where the name goes.

    Returns:
        (C, embed) unit vectors; a picture's class is the largest dot product.

    Raises:
        SourceError: a template that is never filled, and makes all classes equal.
    """
    templates = check_templates(templates)
    prompts = [template.format(name) for name in names for template in templates]
    embeddings = embed_texts(model, tokenizer, prompts)  # (C·T, D)
    return ensemble(embeddings.view(len(names), len(templates), -1))


def ensemble(prompts: Tensor) -> Tensor:
    """(C, T, D) embeddings of T prompts a class → (C, D): the direction of their mean, length 1.

    Each prompt's embedding is brought to length 1 first, so that all of them weigh the same.
    """
    return F.normalize(F.normalize(prompts, dim=-1).mean(dim=1), dim=-1)


def world_class_names() -> list[str]:
    """The 48 classes of the toy world as prompts: "a red circle" and so on."""
    return [world.class_prompt(colour, shape) for colour, shape in world.CLASSES]


def clip_world_details(
    model: CLIP, tokenizer: ByteBPE, per_split: int = 512, pairs: int = 256
) -> dict[str, Tensor]:
    """Right or wrong for each test item, as float (N,) vectors, for intervals.

    Returns:
        ``seen`` and ``heldout`` (one-object pictures among all 48 classes), ``text_to_image`` and
        ``image_to_text`` (the own one of ``pairs`` two-object captions and pictures comes first).
    """
    details = {}
    with evaluating(model):
        size = model.config.image.image_size
        weights = classifier(model, tokenizer, world_class_names(), world.TEMPLATES)
        for name, split in (("seen", "test"), ("heldout", "heldout")):
            images, labels = world.single_object_set(split, per_split, size)
            predicted = (embed_images(model, images) @ weights.T).argmax(dim=-1)
            details[name] = (predicted == labels).float()
        images, captions = world.two_object_set(pairs, size, seed=0)
        similarity = embed_texts(model, tokenizer, captions) @ embed_images(model, images).T
        details["text_to_image"] = (metrics.ranks(similarity) == 0).float()
        details["image_to_text"] = (metrics.ranks(similarity.T) == 0).float()
    return details


def clip_world(
    model: CLIP, tokenizer: ByteBPE, per_split: int = 512, pairs: int = 256
) -> dict[str, float]:
    """Accuracy by prompts on seen and held-out compositions, and recall@1 in both directions."""
    details = clip_world_details(model, tokenizer, per_split, pairs)
    return {name: float(values.mean()) for name, values in details.items()}


def as_clip(model: nn.Module) -> CLIP:
    """The same model, known to be a CLIP; TypeError when it is another."""
    if not isinstance(model, CLIP):
        raise TypeError(f"this measurement needs a CLIP, not a {type(model).__name__}")
    return model


def labelled_details(
    model: CLIP, tokenizer: ByteBPE, dataset: Any, templates: Sequence[str]
) -> Tensor:
    """Right (1) or wrong (0) for each sample of a labelled dataset, by prompts: float (N,)."""
    with evaluating(model):
        weights = classifier(model, tokenizer, dataset.classes, templates)
        size, hits = model.config.image.image_size, []
        for start in range(0, len(dataset), 256):
            samples = dataset.__getitems__(range(start, min(start + 256, len(dataset))))
            images = torch.stack([resize(sample["image"], size) for sample in samples])
            labels = torch.tensor([sample["label"] for sample in samples])
            predicted = (embed_images(model, images) @ weights.T).argmax(dim=-1)
            hits.append((predicted == labels).float())
    return torch.cat(hits)


def clip_labelled(
    model: CLIP, tokenizer: ByteBPE, dataset: Any, templates: Sequence[str]
) -> dict[str, float]:
    """Accuracy by prompts on a labelled dataset: ``{"accuracy": …}``."""
    return {"accuracy": float(labelled_details(model, tokenizer, dataset, templates).mean())}


def distinct_pairs(dataset: Any, size: int, limit: int) -> tuple[Tensor, list[str], Tensor]:
    """The first ``limit`` pairs of a captioned dataset, each picture and each caption once.

    A picture that comes with several captions (Flickr8k has a row for each of five) is there once,
    and each of its captions is right for it; so is one caption for all the pictures that have it.

    Returns:
        (N, 3, size, size) uint8 pictures, T captions, and (T, N) bool: which belong together.
    """
    found: list[Tensor] = []
    captions: dict[str, int] = {}  # → its row
    pictures: dict[bytes, int] = {}  # → its column
    pairs = []
    for row in range(min(limit, len(dataset))):
        sample = dataset[row]
        key = sample["image"].numpy().tobytes() + repr(sample["image"].shape).encode()
        key = hashlib.sha256(key).digest()
        if key not in pictures:
            found.append(resize(sample["image"], size))
        column = pictures.setdefault(key, len(pictures))
        pairs.append((captions.setdefault(str(sample["caption"]), len(captions)), column))
    right = torch.zeros(len(captions), len(pictures), dtype=torch.bool)
    right[tuple(zip(*pairs, strict=True))] = True
    return torch.stack(found), list(captions), right


def recalls(similarity: Tensor, right: Tensor) -> dict[str, float]:
    """(T, N) scores of texts and pictures, (T, N) bool → recall@1 both ways."""
    return {
        "text_to_image": metrics.recall_at_k(similarity, 1, right),
        "image_to_text": metrics.recall_at_k(similarity.T, 1, right.T),
    }


def clip_pairs(
    model: CLIP, tokenizer: ByteBPE, dataset: Any, limit: int = 1000
) -> dict[str, float]:
    """Retrieval among the first ``limit`` pairs of a captioned dataset: recall@1 both ways."""
    images, captions, right = distinct_pairs(dataset, model.config.image.image_size, limit)
    with evaluating(model):
        texts = embed_texts(model, tokenizer, captions, truncate=True)
        return recalls(texts @ embed_images(model, images).T, right)
