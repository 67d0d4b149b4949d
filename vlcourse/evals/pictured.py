"""What a frozen language model says of pictures it was given as a soft prompt: answers, captions.

Li et al. 2023 (BLIP-2), section 4.1: questions are asked in words that it knows from text, and it
was never trained to answer about a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise, resize
from vlcourse.data.corpus import ask
from vlcourse.data.corpus.tellings import AGAIN
from vlcourse.data.world import Scene
from vlcourse.evals import captions, vqa
from vlcourse.evals.vqa import Asked
from vlcourse.evals.writing import Writing
from vlcourse.generate import Options, left_pad, search
from vlcourse.models.blip2_llm import BLIP2LLM
from vlcourse.tokenizers import TextTokenizer

ANSWER = Options(4, stop=(".",))
CAPTION = Options(48, stop=(".",))


def answers(
    model: BLIP2LLM,
    tokenizer: TextTokenizer,
    asked: Asked,
    *,
    brief: bool = False,
    blind: bool = False,
    batch_size: int = 128,
) -> list[str]:
    """The answer that the language model writes to each question, greedily, up to its full stop.

    Args:
        model: the model.
        tokenizer: its language model's.
        asked: scenes, each with a question.
        brief: ask in few words (:func:`vlcourse.data.corpus.ask`).
        blind: ask the language model alone, which sees no picture.
        batch_size: questions at a time.
    """
    found: list[str] = []
    for start in range(0, len(asked), batch_size):
        chunk = asked[start : start + batch_size]
        prompts = [ask(question, brief) for _, question in chunk]
        scenes = [scene for scene, _ in chunk]
        found += continued(model, tokenizer, None if blind else scenes, prompts, ANSWER)
    return found


def continued(
    model: BLIP2LLM,
    tokenizer: TextTokenizer,
    scenes: Sequence[Scene] | None,
    prompts: Sequence[str],
    options: Options,
) -> list[str]:
    """What follows each prompt, for the pictures of the scenes or without any: the new text only.

    An encoder–decoder that is given empty prompts reads nothing but the pictures.
    """
    pixels = None if scenes is None else drawn(scenes, model)
    return went_on(model, tokenizer, pixels, prompts, options)


def went_on(
    model: BLIP2LLM,
    tokenizer: TextTokenizer,
    pixels: Tensor | None,
    prompts: Sequence[str],
    options: Options,
    chance: torch.Generator | None = None,
) -> list[str]:
    """The same for pictures (B, 3, S, S) as the model's tower takes them, or None: without any."""
    device = next(model.parameters()).device
    options = replace(options, end=tokenizer.eos)
    writer: Any = model if pixels is not None else model.llm
    begins = pixels is None or not model.config.encodes  # an encoder reads the queries first
    rows = [tokenizer.encode(prompt, bos=begins) for prompt in prompts]
    tokens, mask = left_pad(rows, tokenizer.eos, device) if all(rows) else (None, None)
    shown: dict[str, Any] = {} if pixels is None else {"pixels": pixels}
    found = search(
        writer, tokens, options, mask=mask, tokenizer=tokenizer, generator=chance, **shown
    )
    assert found.texts is not None
    return [texts[0].strip() for texts in found.texts]


def described(
    model: BLIP2LLM,
    tokenizer: TextTokenizer,
    images: Tensor,
    writing: Writing,
    stop: str = "",
    batch_size: int = 16,
) -> list[str]:
    """One caption for each picture of any kind, without what it begins with and what ends it.

    Args:
        model, tokenizer: as of :func:`answers`.
        images: (N, 3, H, W) uint8.
        writing: how, and what the language model goes on from.
        stop: what ends a caption before the end of the text, such as a full stop; "": nothing.
        batch_size: pictures at a time.
    """
    prompt = writing.prompt or ""
    options = replace(writing.options(), stop=(stop,) if stop else ())
    device = next(model.parameters()).device
    chance = torch.Generator(device).manual_seed(writing.seed)
    found: list[str] = []
    for chunk in images.split(batch_size):
        pixels = normalise(resize(chunk, model.config.image.image_size).to(device))
        found += went_on(model, tokenizer, pixels, [prompt] * len(chunk), options, chance)
    return [text.removeprefix(AGAIN).strip() for text in found]


def drawn(scenes: Sequence[Scene], model: BLIP2LLM) -> Tensor:
    """The scenes' pictures (B, 3, S, S), as the model's tower takes them."""
    images = world.render_batch(scenes, model.config.image.image_size)
    return normalise(torch.from_numpy(images).to(next(model.parameters()).device))


def written(
    model: BLIP2LLM, tokenizer: TextTokenizer, scenes: Sequence[Scene], batch_size: int = 128
) -> list[str]:
    """A caption for each scene: what the language model says "in other words", without the stop."""
    prompt = "" if model.config.encodes else AGAIN
    found: list[str] = []
    for start in range(0, len(scenes), batch_size):
        chunk = scenes[start : start + batch_size]
        found += continued(model, tokenizer, chunk, [prompt] * len(chunk), CAPTION)
    return [text.removeprefix(AGAIN).strip() for text in found]


def zero_shot(
    model: BLIP2LLM,
    tokenizer: TextTokenizer,
    objects: tuple[int, int] = (1, 2),
    split: str = "heldout",
    scenes: int = 200,
) -> dict[str, float]:
    """Accuracy by kind of question, their mean, both without the picture; and captions, of known
    compositions ("true" and so on) and of those of the questions ("true heldout").

    Args:
        model, tokenizer: as of :func:`answers`.
        objects: fewest and most objects of a scene.
        split: "heldout": each scene has an object whose colour and shape never came together in
            training.
        scenes: of how many of each split, asked about and described.
    """
    asked = vqa.question_set(split, scenes, objects=objects)
    found: dict[str, float] = {}
    for name, blind in (("", False), (" blind", True)):
        right = vqa.by_kind(asked, answers(model, tokenizer, asked, blind=blind))
        each = {kind: float(values.mean()) for kind, values in right.items()}
        found |= {f"{kind}{name}": value for kind, value in each.items()}
        found[f"mean{name}"] = sum(each.values()) / len(each)
    for name, of in (("", "test"), (f" {split}", split)):
        told = captions.caption_set(scenes, objects, of)
        judged = captions.judge(written(model, tokenizer, told), told)
        found |= {f"{key}{name}": float(values.mean()) for key, values in judged.items()}
    return found
