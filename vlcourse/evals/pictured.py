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
from vlcourse.data.collate.pictures import normalise
from vlcourse.data.corpus import ask
from vlcourse.data.corpus.tellings import AGAIN
from vlcourse.data.world import Scene
from vlcourse.evals import captions, vqa
from vlcourse.evals.vqa import Asked
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
    device = next(model.parameters()).device
    options = replace(options, end=tokenizer.eos)
    writer: Any = model if scenes is not None else model.llm
    begins = scenes is None or not model.config.encodes  # an encoder reads the queries first
    rows = [tokenizer.encode(prompt, bos=begins) for prompt in prompts]
    tokens, mask = left_pad(rows, tokenizer.eos, device) if all(rows) else (None, None)
    shown = {} if scenes is None else {"pixels": drawn(scenes, model)}
    found = search(writer, tokens, options, mask=mask, tokenizer=tokenizer, **shown)
    assert found.texts is not None
    return [texts[0].strip() for texts in found.texts]


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
    """Accuracy by kind of question, their mean, both without the picture; and captions.

    Args:
        model, tokenizer: as of :func:`answers`.
        objects: fewest and most objects of a scene.
        split: "heldout": each scene has an object whose colour and shape never came together in
            training.
        scenes: of how many, each asked about and described.
    """
    asked = vqa.question_set(split, scenes, objects=objects)
    found: dict[str, float] = {}
    for name, blind in (("", False), (" blind", True)):
        right = vqa.by_kind(asked, answers(model, tokenizer, asked, blind=blind))
        each = {kind: float(values.mean()) for kind, values in right.items()}
        found |= {f"{kind}{name}": value for kind, value in each.items()}
        found[f"mean{name}"] = sum(each.values()) / len(each)
    told = captions.caption_set(scenes, objects, split)
    texts = written(model, tokenizer, told)
    judged = captions.judge(texts, told)
    return found | {name: float(values.mean()) for name, values in judged.items()}
