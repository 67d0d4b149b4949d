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
# **35 minutes to read**: about 15 of reading and 20 of exercises · **1 minute to run** on two CPU cores.
#
# This course builds five kinds of systems that see and speak: CLIP, BLIP, BLIP-2, LLaMA with its adapter, and
# VideoChat. This lecture says what they have in common and introduces the laboratory in which we
# take them apart: a small world of drawn shapes about which we know everything.
#
# You need Python, and the first steps of PyTorch: a tensor, its shape, a mean over one axis. Everything else is taught as it comes.

# %% [markdown]
# ## Objectives
#
# After this lecture you can
#
# 1. define a foundation model, and name the four traits that set it apart from a model built for one task;
# 2. say which gap a *multimodal* foundation model bridges;
# 3. sort the well-known systems into four stages, by how you tell them what to do;
# 4. read a scene of the toy world with its captions, questions and foils, and say what each split tests;
# 5. check that a test is fair: nothing leaked from training, and you know what guessing would score.

# %% [markdown]
# ## Terms
#
# | term | Chinese | meaning here |
# |---|---|---|
# | foundation model | 基础模型 | trained once on broad data, adapted to many tasks |
# | multimodal | 多模态 | with several kinds of input: pictures, text, video, sound |
# | self-supervised | 自监督 | trained on a signal that is in the data itself, not on labels |
# | adaptation | 适配 | prompt, probe or fine-tune a trained model for a task |
# | prompt | 提示 | input that says what to do: words, points, boxes |
# | zero-shot | 零样本 | on a task of which no labelled example was given |
# | emergence | 涌现 | an ability that shows up with scale, though nobody trained for it |
# | semantic gap | 语义鸿沟 | between what is measured (pixels) and what is meant (words) |
# | caption | 图像描述 | a sentence about a picture |
# | foil | 干扰描述 | a caption made false by one change |
# | split | 数据划分 | training, validation and test data, kept apart |
# | held-out composition | 留出的组合 | a colour and a shape that training never shows together |
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
from vlcourse.teach import claims, quick, show
from vlcourse.teach.exercise import answer, exercise
from vlcourse.teach.overview import figures

show.style()

# The names of your three functions: the reference's, until yours pass.
is_true = answer("world.is_true")
blind_accuracy = answer("overview.blind_accuracy")
leaks = answer("overview.leaks")
scene = world.Scene.sample(3, n_objects=3)  # the example of section 5

# %% [markdown]
# ## 1 · What is a foundation model?

# %%
figures.paradigms()

# %% [markdown]
# For a long time every task had its own data set, its own labels and its own model. A **foundation model** turns this around:
# BERT (2018) did so for text, CLIP (2021) for pictures and text.
# Bommasani and many colleagues at Stanford, who coined the name in 2021, mean a model that is
# trained on *broad* data, mostly by *self-supervision at scale*, and can be *adapted* to a wide range of tasks.
#
# Four traits follow, and each has its price:
#
# | trait | what you gain | what to ask |
# |---|---|---|
# | **generality** (通用性) | one model for many tasks and fields | is it as good as a specialist on *my* task? |
# | **transfer** (全域性能) | it works on data that it was not trained for | how far from the training data? did it really never see this? |
# | **cheap adaptation** (开发效率) | train once, adapt many times: a prompt, a probe, a few trained weights | what does the one training cost, and who can pay it? |
# | **emergence** (涌现) | abilities nobody trained for: zero-shot use, learning from examples in the prompt | did the ability jump, or only the measure of it? |
#
# The second column is what papers claim. The third is why this course measures.
#
# ## 2 · What does a multimodal one bridge?

# %%
figures.bridge()

# %% [markdown]
# A camera delivers numbers: 3 × 224 × 224 = 150,528 for one small colour picture. People speak in words. Between the two lies the
# **semantic gap**. A multimodal foundation model learns one representation in which both can meet, from pictures *and* the
# texts that appear beside them. What it can do depends on how the two meet, and that is how our lectures differ:
#
# - **compare** them: two towers, one space (CLIP);
# - **read one with the other**: words that look at the picture while they are written (BLIP);
# - **translate** one for the other: pictures as soft words for a language model (BLIP-2, LLaMA-Adapter, VideoChat).
#
# This brings new ways to say what you want: ask a question about a picture, point at the thing to cut out, tell a robot
# what to fetch. None of them needs new training. All of them are *prompts*.
#
# > **Predict first.** Which of these did people have first: models you *ask* in words, or models you *point* for?
#
# ## 3 · Four stages

# %%
figures.timeline()

# %% [markdown]
# The stages sort systems by **how you tell them what to do**: not at all (the task is built in), by text, by points and
# boxes, or with several kinds of input together. They overlap: the fourth began before the third.
# Each mark stands at the month in which the system was first shown. CLIP came first in January 2021; ALIGN, a month later, already compares itself with it.
#
# ## 4 · The map of the course

# %%
figures.course_map()

# %% [markdown]
# Every lecture builds its system from scratch on one shared library, `vlcourse`. What you run here on two CPU cores
# is the code that trains at the paper's size; only the recipe's numbers differ. Grey lectures are still to come.
#
# ## 5 · The toy world
#
# Real pictures have a drawback for teaching: nobody knows *everything* that is true of them. Our scenes are drawn by a program,
# so each comes with an exact list of facts. A scene has one to four objects on a textured background, each with a colour, a shape,
# a size and a place.

# %%
examples = [world.Scene.sample(seed, n_objects=1 + seed % 4) for seed in range(8)]
tiny = [example.render(32) for example in examples]
show.grid(tiny, [f"seed {example.seed}" for example in examples], columns=8, size=1.6)

# %% [markdown]
# This is what our models see: 32 × 32 pixels. The same scenes can be drawn at any size up to 448 pixels. A scene
# depends on nothing but its seed, and is the same on every machine, down to the last pixel.

# %%
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
# A grammar writes captions. Each caption knows which facts it states, so a program can check it:

# %%
# NBVAL_CHECK_OUTPUT
for caption in scene.captions()[:4]:
    print(caption)
    for fact in caption.facts:
        print("     ", fact, "→", scene.is_true(fact))

# %% [markdown]
# There are many ways to say the same thing. A model that learns only one of them has learned a form, not a meaning.
#
# > **Predict first.** A scene with a single object: how many different captions can be true of it? Five? Fifty?

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
# *right of* and *above*. A difference counts only if it is **at least** `CLEARLY`: nearer than that, people would argue about it.


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
# Does your function agree with the library's? Try it on every such relation in the captions and foils (see below) of 300 scenes:

# %%
# NBVAL_CHECK_OUTPUT
yours, library = [], []
for crowd in world.World("test", n=300, objects=(2, 4)).scenes():
    stated = {text for texts in crowd.foils("swapped relation") for text in texts}
    for claim in (claim for text in stated for claim in text.facts):
        if isinstance(claim, Relation) and claim.relation in ("left of", "right of", "above"):
            yours.append(is_true(claim, crowd.objects))
            library.append(crowd.is_true(claim))
assert yours == library
print(
    f"{len(yours):,} relations, {sum(yours):,} true, {len(yours) - sum(yours):,} false: all agree"
)

# %% [markdown]
# This is how the library checks each kind of fact:

# %%
show.source(holds)

# %% [markdown]
# ### Questions
#
# Every scene also asks questions and knows the answers: colour, shape, count, existence, relation, comparison.

# %%
# NBVAL_CHECK_OUTPUT
kinds_shown = set()
for question in scene.questions():
    if question.kind not in kinds_shown:
        kinds_shown.add(question.kind)
        print(f"{question.kind:11} {question.text}  →  {question.answer}")

# %% [markdown]
# A score on such questions means nothing until you know what a **blind** player gets, one who never looks at the picture. In VQA, the first
# large set of questions about photos, a model that never saw the picture was right on about half of them: the most frequent answer to "what sport is …?" was
# "tennis", and "yes" was the right answer to most yes/no questions (Antol et al. 2015, table 2; Goyal et al. 2017, "Making the V in VQA Matter", section 1).
#
# > **Predict first.** In our world, on which kind of question will the blind player do best: colour, count, or existence (yes or no)?
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
    given = [q.answer for q in asked if q.kind == kind]
    blind = blind_accuracy(given)
    print(f"{kind:11} {len(set(given))} different answers, blind {blind:.0%}")

# %% [markdown]
# The yes/no questions are balanced, so a blind player scores near 50 %. Every result in this course stands beside its chance level.
#
# ### Foils
#
# A **foil** is a true caption with one change that makes it false. Picking the right caption among random ones is easy, since
# some word in the wrong ones usually gives them away. A foil asks whether the model knows *which thing* has *which property*, and *which* stands *where*.

# %%
pair = world.Scene.sample(11, n_objects=2)
show.grid([pair.render(160)], [str(pair.captions()[0])], columns=1, size=3.2)

# %%
# NBVAL_CHECK_OUTPUT
for change in world.FOILS:
    if foils := pair.foils(change):
        true, false = foils[0]
        print(f"{change}\n   true   {true!s}\n   false  {false!s}")
        assert pair.is_true(true) and not pair.is_true(false)

# %% [markdown]
# How hard is each kind? Let us build a judge that knows every word and sees every picture perfectly, but not what belongs
# together: it accepts a caption if each of its colours, shapes and sizes is *somewhere* in the picture.
#
# > **Predict first.** On which kinds of foil will this judge do no better than a coin?

# %%
vocabulary = {*world.COLOURS, *world.SHAPES, *world.SIZES}


def bag_of_words(text, picture):
    """True if all these words fit the picture, no matter which thing has which property."""
    words = vocabulary & set(text.replace(",", "").split())
    return words <= {word for o in picture.objects for word in (o.colour, o.shape, o.size)}


wins = {change: [] for change in world.FOILS}  # 1: only the caption is accepted, ½: both are
for judged in world.World("test", n=quick(500, 50), objects=(2, 4)).scenes():
    for caption_, foil in judged.foils():
        point = bag_of_words(caption_, judged) - bag_of_words(foil, judged)
        wins[foil.kind].append((1 + point) / 2)
shares = {change.replace(" ", "\n"): sum(won) / len(won) for change, won in wins.items()}
show.bars(shares, chance=0.5, ylabel="caption preferred to foil (%)", title="A bag of words")

# %% [markdown]
# It knows the parts perfectly, and still scores like a coin where relations or attributes are swapped or a number is
# wrong. So a model can look excellent at retrieval and know nothing about *which thing has which property*. Foils will show us.
#
# ### Splits: what is tested, and is it fair?

# %%
figures.splits()

# %% [markdown]
# Eight colours and six shapes make 48 classes. For eight of them (framed), training shows the colour and the shape but never
# the two together, not in a picture and not in a sentence. A model that has understood *red* and *triangle* can name a red triangle.
# One that has learned 40 kinds of picture by heart cannot.
#
# | split | what it is | what it tests |
# |---|---|---|
# | `train`, `val`, `test` | the 40 seen pairs; no scene is in two of these splits | has it learned what it was shown? |
# | `heldout` | every scene has at least one of the 8 pairs | does it compose what it has learned? |
# | `shifted` | other backgrounds, sizes below and above all that training shows, pixel noise | does it hold when the world looks different? |
#
# A test is fair only if nothing leaked into training. Do not take our word for it: count.
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
    drawn = world.World(split, n=2000).scenes()
    count = leaks(drawn, world.HELD_OUT)
    print(f"{split:8} {count:4} of {len(drawn)} scenes show a held-out pair")

# %%
# NBVAL_CHECK_OUTPUT
looks = {
    part: {tuple(map(repr, s.objects)) for s in world.World(part, n=quick(5000, 500)).scenes()}
    for part in ("train", "test")
}
print("scenes of test that occur in training:", len(looks["train"] & looks["test"]))

# %% [markdown]
# For 5,000 scenes of each, we counted. For all others it holds by construction: a hash of a scene's content decides
# which split it belongs to, so no scene *can* belong to two.
#
# Later lectures end their exercises with a capstone, a model of your own. This one trains no model, so it has none: the first is in lecture 01.

# %%
shifts = [("test", None), *(("shifted", shift) for shift in world.SHIFTS)]
pictures = [world.World(part, n=4, size=64, shift=shift)[2]["image"] for part, shift in shifts]
show.grid(pictures, [shift or "as in training" for _, shift in shifts], columns=4, size=2.4)

# %% [markdown]
# ### From scenes to batches
#
# To the models, our world is a data set like any other: a list of samples, and a function that puts some of
# them into a batch. Photos come in the same form, from `vlcourse.data.sources.open_source`.

# %%
# NBVAL_CHECK_OUTPUT
data = world.World("train", n=50_000, size=32)
sample = data[7]
print(sample["id"], tuple(sample["image"].shape), sample["image"].dtype)
print(sample["caption"])
batch = Collate(tokenizers.toy(), image_size=32)(data.__getitems__(range(128)))
print({name: tuple(batch[name].shape) for name in ("pixels", "tokens")})

# %% [markdown]
# You can take the scenes elsewhere, too, as a Hugging Face data set. Here we store one as a parquet file and read it back
# the way photos are read.

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
rounds, start = quick(100, 10), time.perf_counter()
for k in range(rounds):
    world.render_batch(data.arrays(range(128 * k, 128 * (k + 1))), size=32)
print(f"{128 * rounds / (time.perf_counter() - start):,.0f} scenes a second, sampled and drawn")

# %% [markdown]
# ## Claims
#
# A course that repeats what papers say would be a summary. This one keeps a **ledger**: for every headline claim it gives
# the paper's number, the number measured here with its interval, and a verdict. A rule, not a person, computes the verdict:
# *holds*, *does not show here* (with the reason), or *fails*.

# %%
# NBVAL_CHECK_OUTPUT
claims.table(["clip.zero_shot"])

# %% [markdown]
# What would a guesser's row look like? Let one name 2,000 pictures of held-out pairs by rolling a die with 48 faces.
#
# > **Predict first.** What verdict does the guesser get, and what interval?

# %%
_, labels = world.single_object_set("heldout", 2000)
guesses = torch.randint(48, labels.shape, generator=torch.Generator().manual_seed(0))
hits = (guesses == labels).float()
low, high = metrics.bootstrap_interval(hits)
guesser = claims.Measurement(hits.mean().item(), low, high, bootstrap=2000)
print(claims.judge("clip.zero_shot", guesser))
assert low < 1 / 48 < high

# %% [markdown]
# With 48 names to choose from, **chance** is $1/48 \approx 2.1\,\%$. It belongs to the *test*, not to the model: offer only the
# eight held-out names, and a guesser scores $1/8$.
#
# The rule of this claim looks at the whole interval, not at its middle. For the claim to hold, even the lower end must be above ten times chance:

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
# The interval comes from a **bootstrap**: draw 2,000 pictures with replacement from the 2,000 and measure again; do so 2,000 times. The middle
# 95 % of the results make up the interval. It says how much the number depends on *which* pictures happened to be in
# the test. It says nothing about another training run: for that you train with several seeds.

# %%
show.source(metrics.bootstrap_interval)

# %% [markdown]
# ## Scale it up
#
# Everything here is small on purpose. To go up, you change numbers:
#
# ```bash
# vlcourse train --help                                  # the recipes
# vlcourse train clip-toy --help                         # every number of one, with its meaning
# vlcourse train clip-toy data.source=folder/of/photos   # the same model on your pictures
# torchrun --nproc-per-node 8 -m vlcourse train clip-toy run.parallel=ddp
# ```
#
# How small is small? Our training run beside CLIP's:

# %%
# NBVAL_CHECK_OUTPUT
toy = RECIPES["clip-toy"].train
seen = {"clip-toy": toy.steps * toy.batch_size, "CLIP": 400_000_000 * 32}
print(f"pairs seen in training: {seen['clip-toy']:,} and {seen['CLIP']:,}")
print(f"that is {seen['CLIP'] / seen['clip-toy']:,.0f} times as many")
print(f"numbers in a picture: {3 * 32**2:,} and {3 * 224**2:,}")
print(f"CLIP's largest ResNet: 592 V100s for 18 days, {592 * 18 * 24:,} GPU-hours")
print(f"CLIP's largest ViT:    256 V100s for 12 days, {256 * 12 * 24:,} GPU-hours")

# %% [markdown]
# ## Corrections
#
# Where the slides of the overview disagree with the papers, or with themselves:
#
# 1. **The text-prompt stage "2021–2022"** lists PaLM-E and GPT-4. Both appeared in March 2023. LLaMA (February 2023), on which half of this course rests, is missing.
# 2. **The first stage** is dated 1999–2021 on one slide and "before 2021" on another. The systems it lists run from
#    AlexNet (2012) to DINO (April 2021).
# 3. **The visual-prompt stage "2022–2023"**: SAM, SEEM, FastSAM and Grounding DINO are all of 2023, and Grounding DINO is
#    prompted by text.
# 4. **The multimodal stage "2023"**: MineDojo is of June 2022. It is a simulator with tasks and a collection of knowledge; the
#    model in it is MineCLIP. VOYAGER (2023) is not multimodal: it prompts GPT-4 in words and reads the state of the game as text, so our figure puts it in the second stage.
# 5. **"Massive unlabelled data, self- or semi-supervised"** is the usual case, not the definition. The Stanford report says *broad data*, and
#    *generally* self-supervision. CLIP's texts are a kind of label, and SAM learned from a billion masks.
# 6. **"Clearly more accurate than traditional models, inside and outside the known domain"** is more than the papers show. On satellite
#    and medical pictures and on counting, zero-shot CLIP is far below a supervised model (Radford et al. 2021, section 3.1.5).
# 7. **Emergence "beyond a critical size"**, up to "basic human-like cognition": the report means abilities that came out of training
#    and that nobody built in; it names no threshold. Whether abilities jump at a certain size is disputed: with smoother
#    measures many of the jumps vanish (Schaeffer et al. 2023). None of our papers measures cognition.
# 8. **"Without retraining, by a prompt"** holds for what pre-training covered. The rest needs adapting: a probe, an adapter, fine-tuning.

# %% [markdown]
# ## Recap
#
# - A foundation model is trained once on broad data and adapted often. Ask what it costs and how far it carries.
# - A multimodal one learns a representation in which pictures and words meet.
# - The stages differ in how you say what to do: built in, text, points and boxes, many inputs.
# - In the toy world every fact is known. Captions state facts, foils break one, splits keep the test honest.
# - A number needs its chance level and its interval. A verdict is computed.
#
# To go further: Bommasani et al. 2021, "On the Opportunities and Risks of Foundation Models", section 1; Awais et al. 2023, "Foundational Models
# Defining a New Era in Vision", from which our four stages come; Goyal et al. 2017 on blind answers.
#
# **A small project.** Write a foil of your own: a seventh kind of change, say a swapped *size*. Does the bag of words notice it?

# %% [markdown]
# ## Quiz
#
# **1.** A network is trained on a million labelled photos and classifies 1,000 classes very well. Is it a foundation model?
#
# <details><summary>Answer</summary>
#
# Not for that reason. What counts is how broad the data is and whether you can adapt the model to other tasks. In practice such networks *were*
# adapted, by fine-tuning, and they are forerunners.
#
# </details>
#
# **2.** A model answers 58 % of the yes/no questions right. Good?
#
# <details><summary>Answer</summary>
#
# It depends on chance and on the number of questions. If the answers are balanced, a blind player gets 50 %. With 100 questions the 95 %
# interval is about ±10 points, so 58 % could be guessing. With 10,000 questions it is a small but real ability.
#
# </details>
#
# **3.** Why hold out *compositions*, and not simply two of the colours?
#
# <details><summary>Answer</summary>
#
# A word that never occurs in training means nothing to the model, so nobody could pass. A composition of known words can
# be understood, and shows whether the model has learned the parts.
#
# </details>
#
# **4.** A foil and its caption have the same words: "a red circle left of a blue star", "a blue star left of a red circle". Which
# kind of model cannot tell them apart, whatever it is trained on?
#
# <details><summary>Answer</summary>
#
# One that only counts words: a *bag of words*. Keep it in mind; the next lecture asks how far CLIP is from one.
#
# </details>
#
# **5.** A test set is a random tenth of the frames of the training videos. What is wrong?
#
# <details><summary>Answer</summary>
#
# Neighbouring frames are almost the same picture, so training has seen the test. Split by video, or better still by whatever you want the
# model to generalise over, as our splits do.
#
# </details>
