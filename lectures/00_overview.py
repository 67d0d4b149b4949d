# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Overview and the toy world
#
# **35 minutes to read**, exercises included · **1 minute to run** on two CPU cores.
#
# The course builds five kinds of systems that see and speak: CLIP, BLIP, BLIP-2, LLaMA with its adapter, and
# VideoChat. This lecture says what they have in common, and introduces the laboratory in which we
# take them apart: a small world of drawn shapes about which we know everything.

# %% [markdown]
# ## Objectives
#
# After this lecture you can
#
# 1. define a foundation model, and name the four traits that set it apart from a model for one task;
# 2. say which gap a *multimodal* foundation model bridges;
# 3. place the well-known systems in four stages, by how one tells them what to do;
# 4. read a scene of the toy world with its captions, questions and foils, and say what each split tests;
# 5. check that a test is fair: no leak from training, and a number that says what guessing gives.

# %% [markdown]
# ## Terms
#
# | term | Chinese | meaning here |
# |---|---|---|
# | foundation model | 基础模型 | trained once on broad data, adapted to many tasks |
# | multimodal | 多模态 | with several kinds of input: pictures, text, video, sound |
# | self-supervised | 自监督 | the training signal comes from the data itself, not from labels |
# | adaptation | 适配 | prompt, probe or fine-tune a trained model for a task |
# | prompt | 提示 | input that says what to do: words, points, boxes |
# | zero-shot | 零样本 | on a task without any of its labelled examples |
# | emergence | 涌现 | an ability that appears with scale and was not trained for |
# | semantic gap | 语义鸿沟 | between what is measured (pixels) and what is meant (words) |
# | caption | 图像描述 | a sentence about a picture |
# | foil | 干扰描述 | a caption changed in one place so that it is false |
# | split | 数据划分 | training, validation and test data, kept apart |
# | held-out composition | 留出的组合 | a colour with a shape that training never shows together |
# | distribution shift | 分布偏移 | test data made in another way than training data |
# | chance | 随机水平 | what guessing gives |

# %%
import tempfile
import time
from collections import Counter

import torch

from vlcourse import tokenizers
from vlcourse.data import sources, world
from vlcourse.data.collate.pictures import Collate
from vlcourse.data.world.facts import CLEARLY, Relation, holds
from vlcourse.evals import metrics
from vlcourse.recipes import RECIPES
from vlcourse.teach import claims, show
from vlcourse.teach.exercise import exercise
from vlcourse.teach.overview import figures

show.style()

# %% [markdown]
# ## 1 · What is a foundation model?

# %%
figures.paradigms()

# %% [markdown]
# Until about 2020, a task got its own data set, its own labels, its own model. A **foundation model** turns this round.
# Bommasani and many others at Stanford, who gave it the name in 2021, call it a model that is
# trained on *broad* data, mostly by *self-supervision at scale*, and can be *adapted* to a wide range of tasks.
#
# Four traits follow, and each has its price:
#
# | trait | what one gains | what to ask |
# |---|---|---|
# | **generality** (通用性) | one model for many tasks and fields | is it as good as a specialist on *my* task? |
# | **transfer** (全域性能) | it works on data that it was not trained for | how far from the training data? did it really never see this? |
# | **cheap adaptation** (开发效率) | train once, adapt many times: a prompt, a probe, a few trained weights | what does the one training cost, and who can pay it? |
# | **emergence** (涌现) | abilities nobody trained for: zero-shot use, learning from examples in the prompt | is it a jump in ability, or in the way of measuring it? |
#
# The second column is what the papers claim. The third is why this course measures.
#
# ## 2 · What does a multimodal one bridge?

# %%
figures.bridge()

# %% [markdown]
# A camera delivers numbers, 150,528 of them for a small colour picture. People speak in words. Between the two lies the
# **semantic gap**. A multimodal foundation model learns one representation in which both can meet, from pictures *with* the
# texts that stand beside them. What it can do then depends on how the two meet, and that is what our lectures differ in:
#
# - **compare** them: two towers, one space (CLIP);
# - **read one with the other**: words that look at the picture while they are written (BLIP);
# - **translate** one for the other: pictures as soft words for a language model (BLIP-2, LLaMA-Adapter, VideoChat).
#
# With it come new ways to give orders: ask a question about a picture, point at what shall be cut out, tell a robot
# what to fetch. None of them needs a new training; all of them are *prompts*.
#
# ## 3 · Four stages

# %%
figures.timeline()

# %% [markdown]
# The stages sort systems by **how one tells them what to do**: not at all (the task is built in), by text, by points and
# boxes, or by several kinds of input together. They overlap: the fourth began before the third.
# Each mark stands at the month of the system's first paper.
#
# ## 4 · The map of the course

# %%
figures.course_map()

# %% [markdown]
# Every lecture builds its system from scratch on one shared library, `vlcourse`. What you run here on two CPU cores
# is the same code that trains at the paper's size; only the recipe's numbers differ.
#
# ## 5 · The toy world
#
# Real pictures have a flaw for teaching: nobody knows *everything* that is true of them. Our scenes are drawn by a program,
# so for each picture there is an exact list of facts. A scene has one to four objects, each with a colour, a shape,
# a size and a place, on a textured background.

# %%
examples = [world.Scene.sample(seed, n_objects=1 + seed % 4) for seed in range(8)]
small = [scene.render(32) for scene in examples]
show.grid(small, [f"seed {scene.seed}" for scene in examples], columns=8, size=1.6)

# %% [markdown]
# This is what our models see: 32 × 32 pixels. The same scenes can be drawn at any size up to 448 pixels. A scene
# depends on its seed alone, and is the same on every machine, down to the last pixel.

# %%
scene = world.Scene.sample(3, n_objects=3)
show.grid([scene.render(32), scene.render(96), scene.render(224)], ["32 px", "96 px", "224 px"])

# %%
# NBVAL_CHECK_OUTPUT
for thing in scene.objects:
    print(f"{thing.size:5} {thing.colour:6} {thing.shape:8} at x {thing.x:.2f}, y {thing.y:.2f}")

# %% [markdown]
# Places are fractions of the picture's side; $y$ grows **downwards**, as in all image formats.
#
# ### Captions, and what they state
#
# A grammar writes captions. Each knows which facts it states, so that a program can check it:

# %%
# NBVAL_CHECK_OUTPUT
for caption in scene.captions()[:4]:
    print(caption)
    for fact in caption.facts:
        print("     ", fact, "→", scene.is_true(fact))

# %% [markdown]
# There are many ways to say the same. A model that learns only one of them has learned a form, not a meaning.

# %%
# NBVAL_CHECK_OUTPUT
single = world.Scene.sample(5, n_objects=1)
ways = {str(caption) for caption in single.captions()}
print(len(ways), "captions for one scene with one object, such as")
for text in sorted(ways)[:6]:
    print("  ", text)

# %% [markdown]
# **Exercise 1 of 3 · When is a caption true?** (10 minutes, difficulty 1 of 3)
#
# Take a relation such as "a red circle left of a blue star": `fact.a`, `fact.relation`, `fact.b`. It is true if **some** pair
# of objects fits. `fact.a.fits(object)` says whether an object looks like `a`. Write the three relations *left of*,
# *right of* and *above*. A difference counts from `CLEARLY` on, the distance from which people agree.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("world.is_true")
def is_true(fact, objects):
    """Is this relation true of the objects? An object has x and y, in 0 … 1, y downwards."""

    ### BEGIN SOLUTION
    def related(a, b):
        gap = {"left of": b.x - a.x, "right of": a.x - b.x, "above": b.y - a.y}[fact.relation]
        return gap >= CLEARLY

    return any(
        fact.a.fits(a) and fact.b.fits(b) and related(a, b) for a in objects for b in objects
    )
    ### END SOLUTION


# %% [markdown]
# Does your function agree with the library's? On every such relation that the captions and the foils (below) of 300 scenes state:

# %%
# NBVAL_CHECK_OUTPUT
yours, library = [], []
for other in world.World("test", n=300, objects=(2, 4)).scenes():
    texts = {text for texts in other.foils("swapped relation") for text in texts}
    for fact in (fact for text in texts for fact in text.facts):
        if isinstance(fact, Relation) and fact.relation in ("left of", "right of", "above"):
            yours.append(is_true(fact, other.objects))
            library.append(other.is_true(fact))
assert yours == library
print(
    f"{len(yours):,} relations, {sum(yours):,} true, {len(yours) - sum(yours):,} false: all agree"
)

# %% [markdown]
# The library checks each kind of fact in this way:

# %%
show.source(holds)

# %% [markdown]
# ### Questions
#
# Every scene also asks questions and knows the answers: colour, shape, count, existence, relation, comparison.

# %%
# NBVAL_CHECK_OUTPUT
shown = set()
for question in scene.questions():
    if question.kind not in shown:
        shown.add(question.kind)
        print(f"{question.kind:11} {question.text}  →  {question.answer}")

# %% [markdown]
# A score on such questions means nothing before one knows what a **blind** player gets, who never looks at the picture. In the first
# large sets of questions about photos, "yes" was so often right that blind models looked clever.
#
# **Exercise 2 of 3 · What does a guesser get?** (5 minutes, difficulty 1 of 3)


# %%
# NBVAL_CHECK_OUTPUT
@exercise("overview.blind_accuracy")
def blind_accuracy(answers):
    """The share of right answers, 0 to 1, of a player who always gives the most frequent answer."""
    ### BEGIN SOLUTION
    return Counter(answers).most_common(1)[0][1] / len(answers)
    ### END SOLUTION


# %%
# NBVAL_CHECK_OUTPUT
asked = [q for s in world.World(n=1500).scenes() for q in s.questions()]
for kind in world.QUESTION_KINDS:
    answers = [q.answer for q in asked if q.kind == kind]
    blind = blind_accuracy(answers)
    print(f"{kind:11} {len(set(answers))} different answers, blind {blind:.0%}")

# %% [markdown]
# The yes/no questions are balanced: blind is near 50 %. Every result of this course stands beside its chance.
#
# ### Foils
#
# A **foil** is a true caption with one change that makes it false. Retrieval among random captions is easy: some word is
# usually wrong. A foil asks whether the model knows *who* has *what*, and *who* stands *where*.

# %%
pair = world.Scene.sample(11, n_objects=2)
show.grid([pair.render(160)], [str(pair.captions()[0])], columns=1, size=3.2)

# %%
# NBVAL_CHECK_OUTPUT
for kind in world.FOILS:
    if found := pair.foils(kind):
        true, false = found[0]
        print(f"{kind}\n   true   {true!s}\n   false  {false!s}")
        assert pair.is_true(true) and not pair.is_true(false)

# %% [markdown]
# How hard is each kind? Let us build a judge that knows every word and every picture perfectly, but not what belongs
# together: it accepts a caption if each of its colours, shapes and sizes is *somewhere* in the picture.

# %%
vocabulary = {*world.COLOURS, *world.SHAPES, *world.SIZES}


def bag_of_words(text, scene):
    """True if all these words fit the picture, no matter who has what."""
    words = vocabulary & set(text.replace(",", "").split())
    return words <= {word for o in scene.objects for word in (o.colour, o.shape, o.size)}


wins = {kind: [] for kind in world.FOILS}  # 1: only the caption is accepted, ½: both are
for other in world.World("test", n=500, objects=(2, 4)).scenes():
    for true, false in other.foils():
        wins[false.kind].append((1 + bag_of_words(true, other) - bag_of_words(false, other)) / 2)
shares = {kind.replace(" ", "\n"): sum(won) / len(won) for kind, won in wins.items()}
show.bars(shares, chance=0.5, ylabel="caption preferred to foil (%)", title="A bag of words")

# %% [markdown]
# Perfect knowledge of the parts, and still a coin's score where relations or attributes are swapped, or a number is
# wrong. A model can thus
# look excellent in retrieval and know nothing of *who has what*. Foils are how we shall see it.
#
# ### Splits: what is tested, and is it fair?

# %%
figures.splits()

# %% [markdown]
# Eight colours and six shapes are 48 classes. For eight of them (framed), training shows the colour and the shape, but never
# together, in no picture and in no sentence. A model that has understood *red* and *triangle* can name a red triangle.
# One that has learned 40 pictures by heart cannot.
#
# | split | what it is | what it tests |
# |---|---|---|
# | `train`, `val`, `test` | the 40 seen pairs; no scene is in two of them | has it learned what it was shown? |
# | `heldout` | every scene has at least one of the 8 pairs | does it compose what it has learned? |
# | `shifted` | other backgrounds, sizes below and above all that training shows, pixel noise | does it hold when the world looks different? |
#
# A test is fair only if nothing leaked. Do not believe it; count.
#
# **Exercise 3 of 3 · Is the split clean?** (5 minutes, difficulty 1 of 3)


# %%
# NBVAL_CHECK_OUTPUT
@exercise("overview.leaks")
def leaks(scenes, held_out):
    """How many scenes show at least one of the held-out (colour, shape) pairs?"""
    ### BEGIN SOLUTION
    return sum(any((o.colour, o.shape) in held_out for o in scene.objects) for scene in scenes)
    ### END SOLUTION


# %%
# NBVAL_CHECK_OUTPUT
for split in ("train", "test", "heldout"):
    scenes = world.World(split, n=2000).scenes()
    print(
        f"{split:8} {leaks(scenes, world.HELD_OUT):4} of {len(scenes)} scenes show a held-out pair"
    )

# %%
# NBVAL_CHECK_OUTPUT
looks = {
    split: {tuple(map(repr, s.objects)) for s in world.World(split, n=5000).scenes()}
    for split in ("train", "test")
}
print("scenes of test that occur in training:", len(looks["train"] & looks["test"]))

# %% [markdown]
# For 5,000 scenes each, that is a count. For all of them it is a construction: a scene's content decides by a hash to
# which split it belongs, so that no scene *can* belong to two.

# %%
shifts = [("test", None), *(("shifted", kind) for kind in world.SHIFTS)]
pictures = [world.World(split, n=4, size=64, shift=kind)[2]["image"] for split, kind in shifts]
show.grid(pictures, [kind or "as in training" for _, kind in shifts], columns=4, size=2.4)

# %% [markdown]
# ### From scenes to batches
#
# To the models, our world is a data set like any other: a list of samples, and a function that makes a batch of some of
# them. Photos come in the same form, from `vlcourse.data.sources.open_source`.

# %%
# NBVAL_CHECK_OUTPUT
data = world.World("train", n=50_000, size=32)
sample = data[7]
print(sample["id"], tuple(sample["image"].shape), sample["image"].dtype)
print(sample["caption"])
batch = Collate(tokenizers.toy(), image_size=32)(data.__getitems__(range(128)))
print({name: tuple(batch[name].shape) for name in ("pixels", "tokens")})

# %% [markdown]
# The scenes can leave our house, too: as a Hugging Face data set, here stored as a parquet file and read back in
# the way in which photos are read.

# %%
from datasets import disable_progress_bars

disable_progress_bars()
with tempfile.TemporaryDirectory() as folder:
    world.World("test", n=64).to_hf().to_parquet(f"{folder}/scenes.parquet")
    photos = sources.open_source(f"{folder}/scenes.parquet")
    again = photos[7]
print(len(photos), "samples;", again["id"], tuple(again["image"].shape), again["caption"])
assert torch.equal(again["image"], world.World("test", n=64)[7]["image"])

# %%
start = time.perf_counter()
for first in range(0, 12_800, 128):
    world.render_batch(data.arrays(range(first, first + 128)), size=32)
print(f"{12_800 / (time.perf_counter() - start):,.0f} scenes a second, sampled and drawn")

# %% [markdown]
# ## Claims
#
# A course that repeats what papers say would be a summary. This one keeps a **ledger**: for every headline claim,
# the paper's number, the number measured here with its interval, and a verdict. The verdict is computed by a rule that was written
# before the measurement: *holds*, *does not show here* (with the reason), or *fails*.

# %%
# NBVAL_CHECK_OUTPUT
for row in claims.ledger_rows(["clip.zero_shot"]):
    print(row)

# %% [markdown]
# What would a guesser's row look like? Let one name 2,000 pictures of held-out pairs by throwing a die with 48 faces:

# %%
_, labels = world.single_object_set("heldout", 2000)
guesses = torch.randint(48, labels.shape, generator=torch.Generator().manual_seed(0))
hits = (guesses == labels).float()
low, high = metrics.bootstrap_interval(hits)
guesser = claims.Measurement(hits.mean().item(), low, high, bootstrap=2000)
print(claims.judge("clip.zero_shot", guesser))
assert low < 1 / 48 < high

# %% [markdown]
# With 48 names to choose from, $1/48 \approx 2.1\,\%$ is **chance**. It belongs to the *test*, not to the model: offer only the
# eight held-out names, and a guesser gets $1/8$.
#
# The rule of this claim looks at the whole interval, not at its middle. To hold, even the lower end must be above ten times chance:

# %%
show.source(claims.get("clip.zero_shot").rule)

# %%
weak = claims.Measurement(0.12, 0.10, 0.14, bootstrap=2000)  # made up
figures.verdicts(
    {
        "a guesser": claims.judge("clip.zero_shot", guesser),
        "a weak model\n(made up)": claims.judge("clip.zero_shot", weak),
        "our CLIP": claims.ledger_rows(["clip.zero_shot"])[0],
    },
    chance=1 / 48,
    bar=10 / 48,
)

# %% [markdown]
# The interval comes from a **bootstrap**: draw 2,000 pictures with replacement from the 2,000, measure again, two thousand times; the middle
# 95 % of the results are the interval. It says how much the number depends on *which* pictures happened to be in
# the test. It says nothing about another training run; for that one trains with several seeds.

# %%
show.source(metrics.bootstrap_interval)

# %% [markdown]
# ## Scale it up
#
# Everything here is small on purpose, and the way up is a change of numbers:
#
# ```bash
# vlcourse train --help                                  # the recipes
# vlcourse train clip-toy --help                         # every number of one, with its meaning
# vlcourse train clip-toy data.source=folder/of/photos   # the same model on your pictures
# torchrun --nproc-per-node 8 -m vlcourse train clip-toy run.parallel=ddp
# ```
#
# How small is small? Our training beside CLIP's:

# %%
# NBVAL_CHECK_OUTPUT
toy = RECIPES["clip-toy"].train
pairs = {"clip-toy": toy.steps * toy.batch_size, "CLIP": 400_000_000 * 32}
print(f"pairs seen in training: {pairs['clip-toy']:,} and {pairs['CLIP']:,}")
print(f"that is {pairs['CLIP'] / pairs['clip-toy']:,.0f} times as many")
pixels = 3 * 32**2, 3 * 224**2
print(f"numbers in a picture: {pixels[0]:,} and {pixels[1]:,}")
print(f"CLIP's largest ResNet: 592 V100s for 18 days, {592 * 18 * 24:,} GPU-hours")
print(f"CLIP's largest ViT:    256 V100s for 12 days, {256 * 12 * 24:,} GPU-hours")

# %% [markdown]
# ## Corrections
#
# Where the slides of the overview disagree with the papers, or with themselves:
#
# 1. **The text-prompt stage "2021–2022"** lists PaLM-E and GPT-4. Both appeared in March 2023.
# 2. **The first stage** is dated 1999–2021 on one slide and "before 2021" on another. What it lists runs from
#    AlexNet (2012) to DINO (April 2021).
# 3. **The visual-prompt stage "2022–2023"**: SAM, SEEM, FastSAM and Grounding DINO are all of 2023, and Grounding DINO is
#    prompted by text.
# 4. **The multimodal stage "2023"**: MineDojo is of June 2022. It is a simulator with tasks and a collection of knowledge; the
#    model in it is MineCLIP. VOYAGER (2023) prompts GPT-4 in words: it reads the state of the game as text, not as pictures.
# 5. **"Massive unlabelled data, self- or semi-supervised"** is the usual case, not the definition. The report says *broad data*, and
#    *generally* self-supervision. CLIP's texts are a kind of label, and SAM learned from masks, a billion of them.
# 6. **"Clearly more accurate than traditional models, inside and outside the known domain"** is more than the papers show. On satellite
#    pictures, on medical ones and on counting, zero-shot CLIP is far below a supervised model (Radford et al. 2021, section 3.1.5).
# 7. **Emergence "beyond a critical size"**, up to "basic human-like cognition": the report means abilities that training brought about
#    and nobody built in; no threshold is part of it. Whether abilities jump at a size is disputed: with smoother
#    measures many of the jumps vanish (Schaeffer et al. 2023). None of our papers measures cognition.
# 8. **"Without retraining, by a prompt"** holds for what pretraining covered. For the rest one adapts: a probe, an adapter, fine-tuning.

# %% [markdown]
# ## Recap
#
# - A foundation model is trained once on broad data and adapted often. Ask what it costs, and how far it carries.
# - A multimodal one learns a representation in which pictures and words meet.
# - The stages differ in how one says what to do: built in, text, points and boxes, many inputs.
# - In the toy world every fact is known. Captions state facts, foils break one, splits keep the test honest.
# - A number needs its chance and its interval. A verdict is computed.

# %% [markdown]
# ## Quiz
#
# **1.** A network is trained on a million labelled photos and classifies 1,000 classes very well. Is it a foundation model?
#
# <details><summary>Answer</summary>
#
# Not by that. What counts is how broad the data is and whether one can adapt the model to other tasks. In practice such networks *were*
# adapted, by fine-tuning, and they are forerunners.
#
# </details>
#
# **2.** A model answers 58 % of the yes/no questions right. Good?
#
# <details><summary>Answer</summary>
#
# It depends on chance and on the number of questions. If the answers are balanced, a blind player has 50 %, and with 100 questions the 95 %
# interval is about ±10 points: not told from guessing. With 10,000 questions it is a small but real ability.
#
# </details>
#
# **3.** Why hold out *compositions*, and not simply two of the colours?
#
# <details><summary>Answer</summary>
#
# A word that never occurs in training has no meaning for the model, so nobody could pass. A composition of known words can
# be understood, and shows whether the model has learned its parts.
#
# </details>
#
# **4.** Foil and caption have the same words: "a red circle left of a blue star", "a blue star left of a red circle". Which
# kind of model cannot tell them apart, whatever it is trained on?
#
# <details><summary>Answer</summary>
#
# One that only counts words, a *bag of words*. Remember it: the next lecture asks how far CLIP is from one.
#
# </details>
#
# **5.** A test set is a random tenth of the frames of the training videos. What is wrong?
#
# <details><summary>Answer</summary>
#
# Neighbouring frames are almost the same picture, so the test was seen in training. Split by video, or better by what you want the
# model to generalise over, as our splits do.
#
# </details>
