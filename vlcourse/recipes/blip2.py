"""BLIP-2's runs: the toy world's, and the paper's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.blip2 import BLIP2Config
from vlcourse.models.blip2_llm import BLIP2LLMConfig
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.recipes import llama
from vlcourse.recipes.blip import COCO_PAIRS, PAPER_RUN
from vlcourse.recipes.blip2_data import BLIP2Data, CaptionTexts, TextsData
from vlcourse.recipes.clip import TOY_GRID
from vlcourse.recipes.recipe import Part, Recipe
from vlcourse.tokenizers import TOY_VOCAB

TOY_QFORMER = QFormerConfig(
    queries=8, vocab_size=TOY_VOCAB + 2, context=64, width=128, layers=4, heads=4,
    image_width=32 * TOY_GRID.width, cls=TOY_VOCAB - 2, sep=TOY_VOCAB - 1, dec=TOY_VOCAB + 1,
)  # fmt: skip
TOY_BLIP2 = BLIP2Config(embed=128, image=TOY_GRID, qformer=TOY_QFORMER, temperature_lr=0.1)
# The toy language models' vectors are half as wide as the queries: each becomes several, so that
# nothing is lost. The Q-Former learns slowly: at the projection's rate it learned the pairs of
# colour and shape that there are by heart, and forgot how to see others.
TOY_MUTE = BLIP2LLMConfig(
    image=TOY_GRID, image_embed=TOY_BLIP2.embed, qformer=replace(TOY_QFORMER, text="none"),
    spread=4, qformer_lr=0.1,
)  # fmt: skip
TOY_TOWER = Part("image", "clip-toy-grid", frozen=True)
# The paper's Q-Former begins as BERT, the toy one as the text side of blip-toy; its looks are new.
# From nothing it learned in 3,000 steps to match words, and not who stands where.
TOY_BERT = Part("qformer", "blip-toy")
LLMS: dict[str, Any] = {recipe.name: recipe.model for recipe in llama.RECIPES}

# Li et al. 2023, section 3.4. The lowest learning rates are the authors' word (LAVIS, issue 243).
PAPER_TRAIN = TrainConfig(lr=1e-4, warmup=2000, weight_decay=0.05, clip_norm=0.0)
FIRST_STEPS, SECOND_STEPS = 250_000, 80_000
FIRST_MIN, SECOND_MIN = 0.1, 0.5  # of the peak: 1e-5 and 5e-5
FIRST_BATCH = {"L": 2320, "g": 1680}
SECOND_BATCH = {"OPT": 1920, "FlanT5": 1520}
# Where the frozen towers' weights are: CLIP's own, and EVA's within a published first stage.
TOWERS = {
    "L": Part("image", "openai/clip-vit-large-patch14", frozen=True),
    "g": Part("image", "Salesforce/blip2-itm-vit-g", frozen=True),
}


def toy_second(name: str, llm: str, at: int, steps: int) -> Recipe:
    """A second stage of the toy world before a frozen language model of the course."""
    model = replace(TOY_MUTE, llm=LLMS[llm], queries_at=at)
    return Recipe(
        name=name,
        doc=f"BLIP-2's second stage on the toy world: blip2-toy's queries speak to a frozen {llm}.",
        model=model,
        data=TextsData(objects=(1, 2), n_train=20_000),
        train=TrainConfig(steps=steps, batch_size=48, lr=3e-3, weight_decay=0.05),
        run=RunConfig(save_every=1000, eval_every=1000),
        parts=(Part("", "blip2-toy"), TOY_TOWER, Part("llm", llm, frozen=True)),
    )


def paper_first(image: str) -> Recipe:
    """The first stage with CLIP's ViT-L/14 or EVA-CLIP's ViT-g/14.

    The Q-Former begins as BERT (:mod:`vlcourse.weights.bert`).
    """
    return Recipe(
        name=f"blip2-{image.lower()}",
        doc=f"BLIP-2's first stage with ViT-{image}/14 as in the paper: 129 M pairs; yours with "
        "data.source=…",
        model=BLIP2Config.preset(f"ViT-{image}/14"),
        data=BLIP2Data(
            source="blip2-129m", tokenizer="bert", context=32, augment="resized-crop+flip"
        ),
        train=replace(
            PAPER_TRAIN, steps=FIRST_STEPS, batch_size=FIRST_BATCH[image], min_lr=FIRST_MIN
        ),
        run=PAPER_RUN,
        parts=(TOWERS[image], Part("qformer", "google-bert/bert-base-uncased")),
    )


def paper_second(image: str, llm: str, source: str) -> Recipe:
    """The second stage with an OPT or a Flan-T5 of transformers."""
    family, size = llm.split("-")
    return Recipe(
        name=f"blip2-{image.lower()}-{llm.lower()}",
        doc=f"BLIP-2's second stage with ViT-{image}/14 and {llm} as in the paper; yours with "
        "data.source=…",
        model=BLIP2LLMConfig.preset(f"ViT-{image} {llm}"),
        data=CaptionTexts(
            source="blip2-129m", tokenizer=source, context=32, augment="resized-crop+flip",
            stop="\n" if family == "OPT" else "",
        ),
        train=replace(
            PAPER_TRAIN, steps=SECOND_STEPS, batch_size=SECOND_BATCH[family], min_lr=SECOND_MIN
        ),
        run=PAPER_RUN,
        parts=(
            Part("", f"blip2-{image.lower()}"),
            TOWERS[image],
            Part("llm", source, frozen=True),
        ),
    )  # fmt: skip


def paper_captions(llm: str, source: str) -> Recipe:
    """Fine-tuned for captions (section 4.2 and table 12): the image tower learns, too."""
    second = paper_second("g", llm, source)
    assert isinstance(second.model, BLIP2LLMConfig) and isinstance(second.data, CaptionTexts)
    return replace(
        second,
        name=f"{second.name}-caption",
        doc=f"BLIP-2 with {llm} fine-tuned for captions as in the paper: 5 epochs of COCO at "
        "364 px; yours with data.source=…",
        model=replace(
            second.model, image=replace(second.model.image, image_size=364), tune_image=True
        ),
        data=replace(second.data, source="coco", prompt="a photo of"),
        train=replace(
            PAPER_TRAIN, steps=5 * COCO_PAIRS // 256, batch_size=256, lr=1e-5, warmup=1000
        ),
        parts=(Part("", second.name), Part("llm", source, frozen=True)),
    )  # fmt: skip


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="blip2-toy",
        doc="BLIP-2's first stage on the toy world: a Q-Former on clip-toy-grid's frozen tower; it "
        "begins as blip-toy's text side.",
        model=TOY_BLIP2,
        data=BLIP2Data(objects=(1, 2), foils=True, every_foil=True),
        train=TrainConfig(steps=1400, batch_size=64, lr=1e-3),
        run=RunConfig(save_every=500),
        parts=(TOY_TOWER, TOY_BERT),
    ),
    toy_second("blip2-toy-llm", "llm-toy", at=1, steps=4000),
    # Longer training makes its captions of known pairs truer, and its answers about others worse.
    toy_second("blip2-toy-seq2seq", "seq2seq-toy", at=0, steps=1200),
    paper_first("L"),
    paper_first("g"),
    paper_second("L", "OPT-2.7B", "facebook/opt-2.7b"),
    paper_second("g", "OPT-2.7B", "facebook/opt-2.7b"),
    paper_second("g", "OPT-6.7B", "facebook/opt-6.7b"),
    paper_second("L", "FlanT5-XL", "google/flan-t5-xl"),
    paper_second("g", "FlanT5-XL", "google/flan-t5-xl"),
    paper_second("g", "FlanT5-XXL", "google/flan-t5-xxl"),
    paper_captions("OPT-2.7B", "facebook/opt-2.7b"),
    paper_captions("OPT-6.7B", "facebook/opt-6.7b"),
    paper_captions("FlanT5-XL", "google/flan-t5-xl"),
)
