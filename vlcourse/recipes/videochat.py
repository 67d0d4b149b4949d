"""VideoChat's runs: the toy world's, and the paper's."""

from __future__ import annotations

from dataclasses import replace

from vlcourse.engine.config import RunConfig, TrainConfig
from vlcourse.models.gmhra import GMHRAConfig
from vlcourse.models.videochat import VideoChatConfig
from vlcourse.recipes.blip2 import TOWERS, TOY_BLIP2, TOY_MUTE, TOY_TOWER
from vlcourse.recipes.clip import TOY_GRID
from vlcourse.recipes.llama import TOY_LLAMA
from vlcourse.recipes.recipe import Part, Recipe
from vlcourse.recipes.videochat_data import ChatFiles, FilmData

# The toy tower gives a grid without a class token, and its last blocks are of other sizes: one
# aggregator of each kind looks at what it gives at last; the local one also around each place, for
# what moves crosses from cell to cell. A clock tells frames their seconds. 16 queries become 64 of
# the language model's vectors, about as many as a telling of a film has words.
TOY_VIDEOCHAT = VideoChatConfig(
    image=TOY_GRID, image_embed=TOY_BLIP2.embed, qformer=TOY_MUTE.qformer, llm=TOY_LLAMA,
    spread=4, qformer_lr=0.2, queries_at=1, tune_qformer=True, clock="seconds",
    gmhra=GMHRAConfig(
        layers=1, heads=8, mlp_ratio=0.25, dropout=0.1, local=1, tube="space-time", reduction=4.0
    ),
    extra_queries=8, extra_std=0.02,
)  # fmt: skip
# Ten frames show each second of a film of ten.
TOY_FILMS = FilmData(n_train=12_000, frames=10)
TOY_TRAIN = TrainConfig(batch_size=32, lr=2e-3, warmup=100, min_lr=0.05, weight_decay=0.05)
TOY_RUN = RunConfig(save_every=500)
TOY_LLM = Part("llm", "llm-time", frozen=True)

# The release's scripts (config_7b_stage1.py, …): GPUs, 10 M videos and 15 M pictures with captions,
# and the records of the second stage.
GPUS, FIRST_PAIRS, SECOND_RECORDS = 32, 25_000_000, 2_000 + 2_000 + 3_362 + 11_000
FIRST_BATCH = {"7B": 32, "13B": 16}  # of each GPU
BLIP2 = "Salesforce/blip2-flan-t5-xxl"
VICUNA = {"7B": "vicuna-7b-v0", "13B": "stable-vicuna-13b"}
PAPER_TRAIN = TrainConfig(weight_decay=0.02, beta1=0.9, beta2=0.999, clip_norm=0.0)
PAPER_RUN = RunConfig(
    precision="bf16", checkpointing=True, parallel="ddp", workers=6, save_every=1000, log_every=100
)
RELEASED_FILES = (
    "llava_conversation_2k.json", "llava_complex_reasoning_2k.json", "minigpt_caption_3k.json",
    "videochat_instruct_11k.json",
)  # fmt: skip


def paper_stage(stage: int, size: str) -> Recipe:
    """A stage of the paper with a language model of 7B or 13B, with the release's numbers.

    The second one begins from the first (in the release's code it does not, though its script names
    the file). The data are the reader's to name: WebVid-10M is no longer given out.
    """
    first = stage == 1
    batch = GPUS * (FIRST_BATCH[size] if first else 1)
    epoch = (FIRST_PAIRS if first else SECOND_RECORDS) // batch
    llm = f"models/{VICUNA[size]}"
    name = f"videochat-{size.lower()}"
    return Recipe(
        name=f"{name}-stage{stage}",
        doc=f"VideoChat's stage {stage} with {VICUNA[size]} as in the paper: "
        + ("captions of 4 frames" if first else "chats about 8 frames")
        + "; yours with data.source=…",
        model=VideoChatConfig.preset(size),
        data=ChatFiles(
            source=("webvid10m_14m.json",) if first else RELEASED_FILES,
            frames=4 if first else 8,
            tokenizer=llm,
            context=64 if first else 512,
            augment="resized-crop+flip",
            times=not first,
        ),
        train=replace(
            PAPER_TRAIN,
            steps=epoch if first else 3 * epoch,
            batch_size=batch,
            lr=1e-4 if first else 2e-5,
            warmup=round((0.2 if first else 0.6) * epoch),
            min_lr=0.01 if first else 0.25,
        ),
        run=PAPER_RUN,
        parts=(
            *(() if first else (Part("", f"{name}-stage1"),)),
            TOWERS["g"],
            *((Part("norm_image", BLIP2),) if first else ()),
            Part("qformer", BLIP2, frozen=True),
            Part("llm", llm, frozen=True),
        ),
    )


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="videochat-toy-stage1",
        doc="VideoChat's first stage on the toy world: films and pictures with what tells of them.",
        model=TOY_VIDEOCHAT,
        data=replace(TOY_FILMS, described=100, pictures=15),
        train=replace(TOY_TRAIN, steps=800),
        run=TOY_RUN,
        parts=(Part("", "blip2-toy-llm"), TOY_TOWER, TOY_LLM),
    ),
    Recipe(
        name="videochat-toy",
        doc="VideoChat's second stage on the toy world: chats about what happens in films.",
        model=TOY_VIDEOCHAT,
        # Of few questions in a chat, more are of the rare kinds: of causes, above all.
        data=replace(TOY_FILMS, described=15, asked=6),
        train=replace(TOY_TRAIN, steps=1800),
        run=TOY_RUN,
        parts=(Part("", "videochat-toy-stage1"), TOY_TOWER, TOY_LLM),
    ),
    *(paper_stage(stage, size) for size in VICUNA for stage in (1, 2)),
)
