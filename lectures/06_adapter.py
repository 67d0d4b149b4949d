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
# # 06 · LLaMA-Adapter: teach a frozen model to do what it is told
#
# Zhang et al. 2023, "LLaMA-Adapter: Efficient Fine-tuning of Language Models with Zero-init Attention", arXiv 2303.16199 (*V1*). Gao et al. 2023, "LLaMA-Adapter V2: Parameter-Efficient Visual Instruction Model", arXiv 2304.15010 (*V2*).
#
# **75 minutes to read**: about 25 of reading and 50 of exercises · **2 minutes to run** on two CPU cores.
# The folded sections called *More* at the end add about 15 minutes.
#
# A language model continues texts. It does not do what it is told. You could train all of its seven billion numbers again, or you could train 1.2 million new ones and leave the old ones as they are. You will write the attention, the gate and the labels that make this possible, put them together into your own adapter, and chat with it.

# %% [markdown]
# ## Objectives
#
# After this lecture you can
#
# 1. compute what an adapter costs, in parameters and bytes, next to LoRA and full fine-tuning;
# 2. write zero-init attention, and explain why text and prompts need a softmax each;
# 3. prove that an adapter starts as the old model, and say what learns in the first step;
# 4. turn instructions into tokens and labels, so that only answers are learned;
# 5. explain V2's four ideas, and say what each one is for;
# 6. show how two tasks disturb each other, and how disjoint parameters prevent it.

# %% [markdown]
# ## Terms
#
# | term | Chinese | meaning here |
# |---|---|---|
# | instruction following | 指令跟随 | to do what a text asks, instead of continuing it |
# | parameter-efficient fine-tuning, PEFT | 参数高效微调 | train a few new numbers, leave the old ones |
# | adapter | 适配器 | what is trained around a frozen model |
# | adaption prompt | 适应提示 | learned vectors that a layer can look at |
# | zero-init attention | 零初始化注意力 | attention to the prompts, multiplied by a gate that starts at 0 |
# | gate | 门控因子 | one learned number a head: how much gets through |
# | bias and scale | 偏置与比例因子 | y = s · (Wx + b) around a frozen W |
# | disjoint parameters | 不相交参数 | no parameter learns from both kinds of data |
# | early fusion | 早期融合 | the picture enters the first layers, not the last |
# | expert | 专家模型 | any program that turns a picture into words |
# | LoRA | 低秩适配 | a map of low rank beside a frozen one |

# %%
import copy
from dataclasses import replace

import torch
from einops import rearrange
from torch.nn import functional as F

from vlcourse import tokenizers, zoo
from vlcourse.data.collate.pictures import normalise
from vlcourse.data.corpus.describe import describe
from vlcourse.data.corpus.instructions import Instructions
from vlcourse.data.corpus.shown import Captioned, asked
from vlcourse.data.corpus.teacher import VISUAL_KINDS, context_of, visual_instruction
from vlcourse.data.instructed import alpaca_prompt
from vlcourse.evals import experts, instructions
from vlcourse.generate import Options, stream_text
from vlcourse.layers import around as layers_around
from vlcourse.layers import prompts as layers_prompts
from vlcourse.layers.block import rms_norm
from vlcourse.layers.frozen import evaluating
from vlcourse.layers.rotary import rotate, rotations
from vlcourse.layers.tuned import BiasScale
from vlcourse.models import adapter, adapter_v2, lora
from vlcourse.recipes import RECIPES, parts
from vlcourse.teach import capstone, claims, quick, show
from vlcourse.teach.adapter import captions, figures, opening, plots
from vlcourse.teach.blip import figures as blip_figures
from vlcourse.teach.exercise import answer, exercise
from vlcourse.tokenizers import med

show.style()

# The names of your functions: the reference's, until yours pass.
gated_attention = answer("adapter.gated_attention")
zero_init_check = answer("adapter.zero_init")
answer_only = answer("adapter.answer_only")
bias_scale = answer("adapter.bias_scale")
parameter_groups = answer("adapter.groups")
adapter_logits = answer("adapter.model")

# What several sections use: the language model of lecture 05, its words, and some tasks.
llm = zoo.load("llm-toy")
words_of = tokenizers.llama()
told_run = RECIPES["adapter-capstone"]  # instructions about scenes that are told in words
told_collate = told_run.collate(train=True)
tasks = Instructions("test", 64, seed=3, objects=(2, 3))
test_batch = told_collate(tasks.__getitems__(range(64)))


def reply(model, text, **seen):
    """What a model writes after a text (and a picture), up to the first full stop."""
    ids = torch.tensor([[words_of.bos, *words_of.encode(text)]])
    options = Options(24, end=words_of.eos, stop=(".",))
    return "".join(stream_text(model, ids, options, tokenizer=words_of, **seen)).strip()


def fresh(name, **changes):
    """A model of a recipe that nobody has trained, around the frozen llm-toy."""
    recipe = RECIPES[name]
    torch.manual_seed(0)
    recipe = replace(recipe, model=replace(recipe.model, **changes))
    return parts.started(recipe, RECIPES).eval()


# %% [markdown]
# ## Before you start
#
# You need lecture 05: a LLaMA block (RMSNorm, attention with rotary positions, SwiGLU), and its loss on the next token. Section 5 mentions pictures; what you know of CLIP (lecture 01) is enough.
#
# ## 1 · A model that does not listen
#
# `llm-toy` has read about our toy world and can answer questions in the form that its texts had. Now we ask in a new form, that of an *instruction*, as chat assistants use it:

# %%
for sample in [tasks[i] for i in (0, 5, 9)]:
    text = " ".join(part for part, learned in sample["parts"] if not learned)
    print(text)
    print("   it writes:", reply(llm, text))
    print("   it should:", sample["instructions"][0].response, "\n")

# %% [markdown]
# It knows the words, and it knows the answers. It does not know that an answer is wanted, because nothing in its texts looked like this. In early 2023 this was exactly the state of LLaMA.
#
# Stanford's *Alpaca* solved it by brute force: 52,000 instructions, and **all** parameters of LLaMA 7B trained on them. The result is a second model of 13 GB. For each further task you would store 13 GB more.
#
# > **Predict first.** An adapter has ten learned vectors (*prompts*) of 4,096 numbers in each of 30 layers, and one number for each of the 32 heads of these layers. How many parameters is that?

# %%
# NBVAL_CHECK_OUTPUT
with torch.device("meta"):  # shapes without numbers
    ways = {
        "LLaMA-Adapter V1": adapter.AdapterConfig.preset("7B").build(),
        "LoRA, rank 8 at q and v": lora.PRESETS["7B"].build(),
    }
costs = {}
for name, model in ways.items():
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    costs[name] = trained, 4 * trained  # stored as float32
everything = sum(p.numel() for p in ways["LLaMA-Adapter V1"].llm.parameters())
costs["all parameters"] = everything, 2 * everything  # stored as float16
for name, (count, size) in costs.items():
    share = 100 * count / everything
    print(f"{name:24} {count:13,} parameters {share:8.3f} %   {size / 2**20:9,.1f} MiB")

# %%
plots.costs(costs)

# %% [markdown]
# That is the paper's 1.2 M. It measured one hour of training for V1, one and a half for LoRA (Hu et al. 2022: beside a frozen W stands a map of low rank, $y = Wx + \frac{\alpha}{r}BAx$, and B begins at 0) and three for all parameters, on eight A100 each. Less time, because most gradients are not needed; less memory, because Adam's averages exist for 1.2 M numbers only.
#
# And at our size, where everything can be trained in minutes?

# %%
claims.stored("adapter.cost")

# %% [markdown]
# V1 fails this test, and not for want of parameters: five times as many prompts follow no more. Prompts learn slowly. Trained ten times as long, `adapter-toy` follows 51 %, and ships with the course. LoRA reaches 95 % of the full score with 5 % of the parameters, a larger *share* than a giant needs, because a toy of 0.2 M has little to spare. Nor is a step much cheaper at this size. What carries over is the question: how much score for how many parameters?
#
# ## 2 · Prompts, and a softmax of their own
#
# V1 changes one thing in a frozen LLaMA:

# %%
figures.stack()

# %% [markdown]
# Each of the top layers owns K learned vectors, the **adaption prompts**. The layer's own frozen maps turn them into keys and values, and each word may look at them, as if they were further words. A prompt is no word, though: it is whatever helps. Three details of the paper and its code:
#
# - Prompts have **no position**: their keys are not rotated. No mask hides them: even the first word sees all of them.
# - They are the same for every text. Only a word's *query* decides what it takes from them.
# - The lowest layers have none. What a word means is left alone; what is done with it changes.
#
# ### Why not one softmax?
#
# The obvious way is to put prompts and words into one softmax. Here it is for one word, with made-up scores:

# %%
word_scores = {"<s>": 1.0, "what": 0.2, "colour": 1.6, "is": -0.5, "it": 0.8}
plots.softmaxes(word_scores, [1.5, 2.2, 0.4], gate=0.3)

# %% [markdown]
# With one softmax, whatever the prompts get is taken away from the text. At the beginning the prompts are random numbers, and the frozen layers above get noise for more than half of what they expect. With **two** softmaxes the text's part stays whole, and the prompts' part is *added*, multiplied by a gate:
#
# $$y = \underbrace{\mathrm{softmax}\!\left(\frac{QK^\top}{\sqrt d}\right)V}_{\text{the text, as before}} \;+\; \tanh(g)\,\underbrace{\mathrm{softmax}\!\left(\frac{QK_p^\top}{\sqrt d}\right)V_p}_{\text{the prompts}}$$
#
# There is one $g$ for each head, and it begins at 0. The tanh keeps it between −1 and 1: a head may also *subtract* what the prompts say.
#
# **Exercise 1 of 6 · A softmax of their own** (10 minutes, difficulty 2 of 3). Queries and keys of the text are already rotated; the text is causal. The prompts have one row for the whole batch. The gate comes without its tanh.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("adapter.gated_attention")
def gated_attention(q, k, v, prompt_k, prompt_v, gate):
    """(B, H, L, d) three times, (1, H, K, d) twice, (H,) → (B, H, L, d)."""
    ### BEGIN SOLUTION
    prompt_k, prompt_v = (p.expand(len(q), -1, -1, -1) for p in (prompt_k, prompt_v))
    text = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    prompts = F.scaled_dot_product_attention(q, prompt_k, prompt_v)
    return text + gate.tanh()[:, None, None] * prompts
    ### END SOLUTION


# %%
# NBVAL_CHECK_OUTPUT
torch.manual_seed(0)
q, k, v = torch.randn(3, 1, 4, 6, 8).unbind()  # one text, 4 heads, 6 words
prompt_k, prompt_v = torch.randn(2, 1, 4, 10, 8).unbind()
alone = F.scaled_dot_product_attention(q, k, v, is_causal=True)
for g in (0.0, 0.1, 1.0, -1.0):
    y = gated_attention(q, k, v, prompt_k, prompt_v, torch.full((4,), g))
    print(f"g = {g:4}: changes the result by {(y - alone).norm() / alone.norm():.2f} of its size")

# %% [markdown]
# In the library, the frozen attention is an argument, so that nothing of it is copied:

# %%
show.source(layers_prompts.prompted)

# %% [markdown]
# ## 3 · A gate that is closed
#
# At $g = 0$ the adapted model *is* the old model: not nearly, but bit for bit. Then training opens the gates as far as it helps.
#
# > **Predict first.** Prompts random, gates 0. In the first step, which parameters have a gradient that is not zero: the prompts, the gates, or both?
#
# **Exercise 2 of 6 · Is the start the old model?** (8 minutes, difficulty 2 of 3). Write the test that every adapter should pass. `model.llm` is the frozen LLaMA inside; both are called with tokens and return logits. Compute the loss with `F.cross_entropy` on the flattened logits and targets. Return a bool and a set of names.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("adapter.zero_init")
def zero_init_check(model, tokens, targets):
    """An adapter, (B, L) ids, (B, L) next ids or -100 → are the logits those of model.llm, bit for
    bit? And which parameters, by name, have a gradient that is not zero?"""
    ### BEGIN SOLUTION
    logits = model(tokens)
    same = torch.equal(logits, model.llm(tokens))
    model.zero_grad()
    F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    named = model.named_parameters()
    return same, {name for name, p in named if p.grad is not None and p.grad.any()}
    ### END SOLUTION


# %%
# NBVAL_CHECK_OUTPUT
for said, deviation in (("zero-init", 0.0), ("random gates", 1.0)):
    same, learns = zero_init_check(
        fresh("adapter-toy", gate_std=deviation), test_batch["tokens"], test_batch["targets"]
    )
    print(f"{said}: the old model bit for bit: {same}. First to learn:")
    print("  ", ", ".join(sorted(learns)))

# %% [markdown]
# Only the gates. The prompts' gradient is multiplied by $\tanh(0) = 0$; the gates' is not, because it is multiplied by what the prompts say, and the prompts are random, not zero. After one step the gates are open by a crack, and from then on the prompts learn, too.
#
# What happens if the gates are *not* closed? We measure the loss on plain descriptions that `llm-toy` knows well, before any training, with gates drawn at random, and with 1, 2 or 20 prompts a layer.
#
# > **Predict first.** Which does more damage: 1 random prompt, or 20?

# %%
known = [{"id": "", "text": describe(s["scene"].objects, s["scene"].seed).text} for s in tasks]
known_batch = told_collate(known)
deviations = (0, 0.1, 0.3, 1, 3)
with torch.no_grad():
    opened = {
        f"{count} prompt{'s' if count > 1 else ''}": [
            fresh("adapter-toy", gate_std=wide, prompts=count).losses(known_batch)["lm"].item()
            for wide in deviations
        ]
        for count in (1, 2, 20)
    }
    before_it = llm.losses(known_batch)["lm"].item()
plots.starts(deviations, opened, before_it)

# %% [markdown]
# A single random prompt, with open gates, ruins a model before the first step. Twenty nearly cancel: a softmax takes a mean over them, and the mean of twenty random vectors is short. So the damage depends on the sizes, and zero-init makes it 0 for all of them. The paper's ablation on ScienceQA (school questions, some with a picture): 83.85 with zero-init, 40.77 with random init. That is a large claim.
#
# Now we let two V1s learn for a short time, one with closed gates, one with random ones, and write down the gates at each step.
#
# > **Predict first.** Our V1 has 20 prompts, 3 layers and 4 heads. Will all twelve gates open? In the same direction?

# %%
steps = quick(150, 4)
openings = {
    "zero-init": opening.train(fresh("adapter-toy"), steps),
    "random gates": opening.train(fresh("adapter-toy", gate_std=1.0), steps),
}
plots.gates(openings["zero-init"][1], first=1)

# %% [markdown]
# Each head finds its own sign and size; half of them add what the prompts say, half subtract it.

# %%
plots.learning({name: rows for name, (rows, _) in openings.items()})

# %% [markdown]
# At the beginning, random gates are *not* slower here: their prompts learn from the first step on, and with 20 prompts there is hardly any damage to repair. Ours is one seed, and only the beginning. With three seeds, and for longer:

# %%
claims.stored("adapter.zero_init")

# %% [markdown]
# At our size it makes no difference: twenty random prompts do little damage, and training repairs it. The paper's giant is another matter. And a start that is exact, for any K and any size, costs nothing.
#
# ## 4 · Learn the answers only
#
# ### What an instruction looks like
#
# A language model sees one text. So an instruction needs a form in which it can be recognised: a *template*. Alpaca's is used by V1, too:

# %%
# NBVAL_CHECK_OUTPUT
print(alpaca_prompt("Tell me about alpacas."))

# %% [markdown]
# Our toy has a shorter one, `instruction: … response:`, because its vocabulary is small. There are six kinds of tasks. Four ask for something that `llm-toy` could do in another form: describe, count, compare, refuse what is not there. Two ask for something new: list everything, and answer in a full sentence (*form*).

# %%
seen_kinds = {}
for sample in tasks:
    seen_kinds.setdefault(sample["kind"], sample["instructions"][0])
for kind in ("describe", "count", "compare", "refuse", "list", "form"):
    print(f"{kind:9} {seen_kinds[kind].text}  →  {seen_kinds[kind].response}")

# %% [markdown]
# ### Labels
#
# The model should learn to *answer*, not to ask. So the loss looks at the tokens of answers only; everywhere else the target is −100. As always in a language model, the target of a position is the token that comes **next**.
#
# > **Predict first.** Where is the first token of an answer learned? And what would happen without the end-of-text token?
#
# **Exercise 3 of 6 · Learn the answers only** (7 minutes, difficulty 1 of 3). A text comes in parts: lists of ids, each with `True` if it is an answer. It begins with `bos`, which is not learned, and ends with one `eos`, which is learned if the last part is.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("adapter.answer_only")
def answer_only(parts, bos, eos):
    """[(list of ids, is it an answer?), …], two ids → what is read, what is learned there (or
    -100): two lists of the same length."""
    ### BEGIN SOLUTION
    ids, learned = [bos], [False]
    for part, is_answer in parts:
        ids, learned = ids + part, learned + [is_answer] * len(part)
    ids, learned = [*ids, eos], [*learned, parts[-1][1]]
    return ids[:-1], [i if own else -100 for i, own in zip(ids[1:], learned[1:], strict=True)]
    ### END SOLUTION


# %%
example = [("colour?", False), ("red.", True), ("shape?", False), ("ring.", True)]
encoded = [(words_of.encode(text), learned) for text, learned in example]
read, goals = answer_only(encoded, words_of.bos, words_of.eos)
blip_figures.targets(
    ["<s>" if i == words_of.bos else words_of.decode([i]).strip() for i in read],
    [
        "" if i == -100 else "(end)" if i == words_of.eos else words_of.decode([i]).strip()
        for i in goals
    ],
)

# %% [markdown]
# Two traps from public bug reports. If a long instruction fills the whole context, its answer is cut off: then *nothing* is learned, and a mean over nothing is NaN. And if the ids that are not learned are marked by 0 instead of −100, the token 0 can never be learned. The library drops such samples with a warning, and uses −100.
#
# ## 5 · Version 2: four ideas
#
# V1 with a picture gives short, plain answers. And it did not get better when its authors took a finished instruction model and trained a visual projection on 567,000 captions: then it described every picture, whatever it was told. *Captions had pushed the instructions out.* V2 keeps V1's attention, and adds four ideas:

# %%
figures.ideas()

# %% [markdown]
# ### Idea 1 · Bias and scale everywhere
#
# Prompts are a narrow way in. V2 also unfreezes the norms' gains, and puts a bias and a scale around **every** linear map:
#
# $$y = s \cdot (Wx + b), \qquad b = 0,\; s = 1 \text{ at the beginning.}$$
#
# So the start is still the old model, and the new knowledge is spread over the whole network.
#
# **Exercise 4 of 6 · Bias and scale** (5 minutes, difficulty 1 of 3). The weight is stored as `nn.Linear` stores it.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("adapter.bias_scale")
def bias_scale(x, weight, bias, scale):
    """(…, in), (out, in), (out,), (out,) → (…, out)."""
    ### BEGIN SOLUTION
    return scale * (F.linear(x, weight) + bias)
    ### END SOLUTION


# %% [markdown]
# > **Predict first.** A prompt costs time at each step, forever. Does a bias with a scale, too, once it is trained?

# %%
# NBVAL_CHECK_OUTPUT
torch.manual_seed(0)
x, weight, b, s = torch.randn(3, 5), torch.randn(4, 5), torch.randn(4), torch.randn(4)
one_map = F.linear(x, s[:, None] * weight, s * b)  # a plain linear map with a bias
print(
    "one linear map does the same:", torch.allclose(one_map, bias_scale(x, weight, b, s), atol=1e-5)
)

# %%
show.source(BiasScale)

# %% [markdown]
# It can be **merged**: afterwards the model has its old speed. Prompts cannot be merged. And it is cheap. Counted at 7B:

# %%
# NBVAL_CHECK_OUTPUT
with torch.device("meta"):
    second = adapter_v2.AdapterV2Config.preset("7B").build()
total = sum(p.numel() for p in second.llm.parameters())
named = [(n, p.numel()) for n, p in second.named_parameters() if p.requires_grad]
for said, own in (
    ("bias and scale", lambda name: ".linears." in name),
    ("norms", lambda name: name.startswith(("tuned", "norm_final")) and ".linears." not in name),
    ("prompts, gates", lambda name: name.startswith(("layers", "early"))),
    ("visual projection", lambda name: name.startswith("visual")),
):
    count = sum(size for name, size in named if own(name))
    print(f"{said:18} {count:11,}  {100 * count / total:.3f} %")

# %%
claims.stored("adapter.v2_bias")

# %% [markdown]
# ### Idea 2 · Disjoint parameters
#
# V2 has two kinds of data. **Captions** (567,000 pictures) teach it what is to be seen. **Instructions** (52,000 texts, no pictures) teach it to do what it is told. Train everything on both, and the many short captions win: the model describes when it should answer. That is **interference**.
#
# The idea is simple. Each kind of data has parameters of its own, and no parameter has both:
#
# | data | what it trains |
# |---|---|
# | captions | the visual projection, and the gates through which the first layers see it |
# | instructions | the late prompts and their gates, norms, biases, scales |
#
# Both kinds stand in one batch, so this is *joint* training, not one after the other.
#
# **Exercise 5 of 6 · Disjoint groups** (6 minutes, difficulty 1 of 3). Sort the names of the trained parameters. `visual` and `early` are what sees; `layers` (prompts and gates), `tuned` (bias, scale, norms) and `norm_final` do what they are told. Mind the frozen ones, and mind words that occur on both sides.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("adapter.groups")
def parameter_groups(model):
    """A V2 → the names of the parameters that captions train, and of those that instructions do."""
    ### BEGIN SOLUTION
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    sees = {name for name in names if name.split(".")[0] in ("visual", "early")}
    return sees, names - sees
    ### END SOLUTION


# %% [markdown]
# How can a parameter learn from some rows of a batch only? For the other rows it is a constant:

# %%
show.source(layers_around.learned_in)

# %% [markdown]
# Does it hold? We open all gates, take a batch with captions and instructions, and look where each loss sends its gradient:

# %%
# NBVAL_CHECK_OUTPUT
joint_run = RECIPES["adapter-v2-toy"]
joint_data = joint_run.data.dataset(joint_run.model, joint_run.train, "train")
joint_batch = joint_run.collate(train=True)([joint_data[i] for i in range(16)])
for sharing in ("disjoint", "shared"):
    both = fresh("adapter-v2-toy", groups=sharing)
    with torch.no_grad():
        for gate in (*both.early, *(layer.gate for layer in both.layers)):
            gate.value.fill_(0.5)
    of_captions, of_instructions = parameter_groups(both)
    for kind, loss in both.losses(joint_batch).items():
        both.zero_grad()
        loss.backward(retain_graph=True)
        named = both.named_parameters()
        hit = {name for name, p in named if p.grad is not None and p.grad.any()}
        print(
            f"{sharing:8}  {kind:8} trains {len(hit & set(of_captions)):2} of the captions' "
            f"and {len(hit & set(of_instructions)):2} of the instructions' parameters"
        )

# %% [markdown]
# You will see interference with your own adapter in section 6. The measurement over whole trainings:

# %%
claims.stored("adapter.v2_disjoint")

# %% [markdown]
# Nobody is clearly disturbed here. With disjoint groups both tasks come out on average as they do alone: captions 62 and 64 % (they differ much from seed to seed), instructions 74 and 73 %. But shared parameters follow as many instructions, and describe more pictures, 82 %. Interference needs tasks that pull apart, and in the toy world captions and instructions speak of the same things in the same few hundred words. It is there early on: after 300 steps of half the batch, shared parameters followed nine points fewer instructions than disjoint ones (62.6 and 71.4 %). With more training they catch up.
# What the groups cost is seen as well: captions have few parameters of their own. And disjoint is not independent: captions are written *through* what instructions train, and cannot push it back. In our trials, with one seed each, captions were the better the slower that moved (`AdapterV2Config.late_lr`), and what they gained the instructions lost.
#
# ### Idea 3 · Early fusion
#
# V1 adds what CLIP saw to each prompt of the *late* layers. There the picture and the instruction share one narrow way, and disturb each other. V2 separates them: visual tokens enter the **first** K layers, static prompts the **last** L of N layers, and no layer has both. In the paper N = 32, L = 31 and K = 1.
#
# There is a second argument. A word that has met the picture in layer 1 has all other layers left to think about it. In the last layers there is not much time.
#
# > **Predict first.** Our `llm-toy` has three layers. In one run the first two see the picture, in another the last two do. Will early fusion help here as well?

# %%
claims.stored("adapter.v2_early")

# %% [markdown]
# ### Idea 4 · Ask an expert
#
# The last idea trains nothing. Another model turns the picture into words: a captioner, or a reader of signs (OCR). Its words are simply put **into the prompt**, before the instruction. In the paper the captioner is a LLaMA-Adapter trained on COCO's captions; any function from pictures to texts will do. So one part of the system can be exchanged without training the other, and far fewer image–text pairs are needed.

# %%
# NBVAL_CHECK_OUTPUT
print(asked("what colour is the ring?", given="a red ring is above a blue star."))

# %% [markdown]
# The price: what the expert does not say is lost, and what it says wrongly is believed.

# %%
claims.stored("adapter.v2_expert")

# %% [markdown]
# Read who was asked. These models followed instructions in words only, and saw pictures only with captions. With the expert's caption *alone* they follow 69 %, and showing them the picture as well disturbs them: 22 %. An expert helps a model that cannot see. One whose eyes were trained for something else would do better to close them.
#
# ## 6 · Your own adapter
#
# Now put it together: a LLaMA-Adapter V2 around `llm-toy`, for instructions in words. Yours learns beside the library's, from the same weights and on the same batches.
#
# | frozen, `model.llm` | yours, for block i: `own = model.tuned[i]` | in the last blocks: `model.layers[i - below]` |
# |---|---|---|
# | `token`, `blocks`, `norm_final`, `head` | `own.linears["q"].bias`, `.scale`, and so on | `.prompts` (K, D) |
# | `block.norm1`, `block.norm2`: `.weight` | `own.norm1.shift`, `own.norm2.shift`: added to the weight | `.gate.value` (H,) |
# | `block.attention`: `q`, `k`, `v`, `out` | `model.norm_final.shift` | |
# | `block.mlp`: `gate`, `up`, `down` | | |
#
# Two helpers are given. `linear(part, name, x)` is a linear map with your bias and scale; `heads(name, x)` is q, k or v, split into heads. Prompts become keys and values through the *same* tuned maps; they do not pass the norm, and are not rotated. `rms_norm(x, weight, eps)` and `rotate(q, rotation)` are lecture 05's.
#
# **Exercise 6 of 6 · Your own adapter** (15 minutes, difficulty 3 of 3). In each block: norm, q k v, rotate, attention (in the last blocks yours, with prompts), `out`, `+ x`; norm, SwiGLU, `+ x`.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("adapter.model")
def adapter_logits(model, tokens):
    """A V2 that is shown no picture, (B, L) ids → (B, L, V) logits."""
    llm, c = model.llm, model.llm.config
    rotation = rotations(torch.arange(tokens.shape[1]), c.channels, c.theta)
    below = c.layers - len(model.layers)  # so many blocks have no prompts
    x = llm.token(tokens)  # (B, L, D)
    for i, (block, own) in enumerate(zip(llm.blocks, model.tuned, strict=True)):

        def linear(part, name, x, own=own):
            tuned = own.linears[name]
            return bias_scale(x, getattr(part, name).weight, tuned.bias, tuned.scale)

        def heads(name, x, attention=block.attention, linear=linear):
            return rearrange(linear(attention, name, x), "b l (h d) -> b h l d", h=c.heads)

        ### BEGIN SOLUTION
        h = rms_norm(x, block.norm1.weight + own.norm1.shift, c.norm_eps)
        q, k, v = heads("q", h), heads("k", h), heads("v", h)
        q, k = rotate(q, rotation), rotate(k, rotation)
        if i < below:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            layer = model.layers[i - below]
            told = layer.prompts[None]  # (1, K, D)
            y = gated_attention(q, k, v, heads("k", told), heads("v", told), layer.gate.value)
        x = x + linear(block.attention, "out", rearrange(y, "b h l d -> b l (h d)"))
        h = rms_norm(x, block.norm2.weight + own.norm2.shift, c.norm_eps)
        inner = F.silu(linear(block.mlp, "gate", h)) * linear(block.mlp, "up", h)
        x = x + linear(block.mlp, "down", inner)
        ### END SOLUTION
    return llm.head(rms_norm(x, llm.norm_final.weight + model.norm_final.shift, c.norm_eps))


# %% [markdown]
# While it trains, we write down the gates at each step.
#
# > **Predict first.** In section 3 the gates had to do all the work. Here there are biases, scales and norms besides. Will the gates open as far?

# %%
gates_seen = []


def watched(model, tokens):
    """Your forward pass; the gates are written down before it."""
    gates_seen.append(model.gates().detach()[len(model.early) :])
    return adapter_logits(model, tokens)


run = capstone.train("adapter-capstone", watched, steps=quick(None, 4))
print(run)
capstone.keep(run)
mine = run.model.eval()

# %%
capstone.curves(run)

# %%
plots.gates(torch.stack(gates_seen), first=mine.config.llm.layers - mine.config.layers + 1)

# %% [markdown]
# Compare the numbers on the axis with those of section 3.
#
# ### Does it listen?
#
# Scenes are *held out*: each has a colour and a shape that never came together in training, in `llm-toy`'s texts or in yours. An answer counts only if it is exact.
#
# > **Predict first.** We also close the gates of your trained adapter again. How much is lost?

# %%
scenes_asked = quick(300, 30)
exam = told_run.collate(train=False)
closed = copy.deepcopy(mine)
with torch.no_grad():
    for layer in closed.layers:
        layer.gate.value.zero_()
followed = {
    who: instructions.following_details(model, exam, scenes=scenes_asked, objects=(2, 3))
    for who, model in (("llm-toy", llm), ("with your adapter", mine), ("its gates closed", closed))
}
for who, by_kind in followed.items():
    print(f"{who:18} {sum(float(x.mean()) for x in by_kind.values()) / len(by_kind):.0%}")
plots.followed(followed)

# %% [markdown]
# With closed gates hardly anything changes: in this toy, biases, scales and norms carry nearly everything, and they learn many times faster than prompts alone. That is V2's first idea, taken to its end. It does not make prompts useless: a prompt can be added for one row of a batch, or carry a picture.
#
# Which kind is learned last, and why? `list` is the longest answer, it was never asked for before, and one wrong word spoils it.
#
# How large is what you trained? Count what instructions have trained. (The file has the visual side besides, which has not learned anything yet. Of the LLaMA it has a hash only.)

# %%
own_parameters = sum(
    p.numel()
    for n, p in mine.named_parameters()
    if n.split(".")[0] in ("layers", "tuned", "norm_final")
)
base = sum(p.numel() for p in llm.parameters())
print(f"{own_parameters:,} parameters, {own_parameters / base:.1%} of the {base:,} of llm-toy")

# %% [markdown]
# ### A chat
#
# Change the description and the instructions, and run the cell again. Its vocabulary is the toy world's.

# %%
described = "there is a red circle. a blue square is left of the red circle."
for instruction in (
    "what colour is the square?",
    "how many circles are there?",
    "are there more circles than stars?",
    "is there a green ring?",
    "what are all the shapes?",
    "what shape is the red object? with all the words.",
):
    print("you:  ", instruction)
    print("model:", reply(mine, asked(instruction, given=described)), "\n")

# %% [markdown]
# ### An expert gives it eyes
#
# Your adapter has read words only. BLIP (lecture 02) has learned to caption pictures, and knows nothing of instructions. Idea 4 puts them together, without a single step of training.

# %%
expert = experts.captioner(zoo.load("blip-toy"), med.toy())
shown = instructions.instruction_set("heldout", quick(60, 6), objects=(1, 2), images=True)
said = expert([sample["image"] for sample in shown])
texts = [sample["instructions"][0].text for sample in shown]
some = range(0, len(shown), max(1, len(shown) // 6))[:6]
show.grid(
    [shown[i]["scene"].render(96) for i in some],
    [f"BLIP: {said[i]} {texts[i]} → {reply(mine, asked(texts[i], given=said[i]))}" for i in some],
    columns=3,
    size=3.6,
)

# %%
wanted = [sample["instructions"][0].response for sample in shown]


def report(who, answers):
    share = sum(a == w for a, w in zip(answers, wanted, strict=True)) / len(wanted)
    print(f"{who:16} {share:.0%} of {len(wanted)} instructions about pictures followed exactly")


report("no expert", [reply(mine, asked(text)) for text in texts])
report(
    "with the expert", [reply(mine, asked(t, given=g)) for t, g in zip(texts, said, strict=True)]
)

# %% [markdown]
# Without an expert it can only guess: it has no picture. (Captions leave things out, and put them in another order than the answer wants; an expert is not an eye.)
#
# And with eyes of its own? `adapter-v2-toy-visual` ships with the course: V2 with early fusion, trained for 1,500 steps on instructions about pictures. It gets the same instructions, the picture, and no expert.
#
# > **Predict first.** Will it follow more of them than yours with its expert, or fewer?

# %%
sighted = zoo.load("adapter-v2-toy-visual")
views = normalise(torch.stack([sample["image"] for sample in shown]))
replies = [reply(sighted, asked(t), pixels=views[i : i + 1]) for i, t in enumerate(texts)]
report("with eyes", replies)
show.grid(
    [shown[i]["scene"].render(96) for i in some],
    [f"{texts[i]} → {replies[i]}" for i in some],
    columns=3,
    size=3.6,
)

# %% [markdown]
# Its card measures it on 600 such instructions:

# %%
# NBVAL_CHECK_OUTPUT
for kind, share in zoo.card("adapter-v2-toy-visual")["metrics"].items():
    print(f"{kind:9} {share:.0%}")

# %% [markdown]
# ### Interference, live
#
# Last, the experiment behind idea 2. Your adapter follows instructions. Now it shall learn to caption pictures. We train a copy of it on captions only, twice: once with all parameters, once with those of the captions' group. And we watch the *instructions*, which are not trained.
#
# > **Predict first.** Four curves: captions and instructions, for both runs. Which of them rises? Which one cannot move at all?

# %%
pictures = Captioned("train", 32 * quick(40, 3))
caption_collate = RECIPES["adapter-v2-toy"].collate(train=True)
batches = []
for start in range(0, len(pictures), 32):
    batch = caption_collate(pictures.__getitems__(range(start, start + 32)))
    batch["features"] = mine.image_features(batch.pop("pixels"))
    batches.append(batch)
to_captions, to_instructions = map(set, parameter_groups(mine))
runs = {
    "all parameters": captions.train_on(mine, to_captions | to_instructions, batches, test_batch),
    "the captions' group": captions.train_on(mine, to_captions, batches, test_batch),
}
plots.interference(runs)

# %% [markdown]
# With all parameters the captions are learned faster, and the instructions are forgotten within ten steps. (Much of what is learned so fast is how captions *sound*, not yet what is in the picture.) With the captions' group the loss of the instructions does not move by a single bit: a text without a picture never passes through these parameters. The price is that captions must do with the visual projection and two layers' gates.

# %%
rows = runs["the captions' group"]
assert all(row["instruct"] == rows[0]["instruct"] for row in rows)
for name, rows in runs.items():
    print(
        f"{name:20} instructions: {rows[0]['instruct']:.3f} before, {rows[-1]['instruct']:.3f} after"
    )

# %% [markdown]
# ## Claims
#
# Measured by full experiments (`vlcourse claims` repeats them); a rule computes each verdict.

# %%
# NBVAL_CHECK_OUTPUT
claims.table(
    [
        "adapter.zero_init",
        "adapter.cost",
        "adapter.v2_bias",
        "adapter.v2_disjoint",
        "adapter.v2_early",
        "adapter.v2_expert",
    ]
)

# %% [markdown]
# *Holds* says that the effect shows at toy scale, no more. *Does not show here* is a result, too. A row that is *not measured yet* says nothing.
#
# ## Scale it up
#
# | | V1, the paper | V2, the paper | toy |
# |---|---|---|---|
# | language model | LLaMA 7B, frozen | LLaMA 7B (and 65B), frozen | `llm-toy`, 3 layers, frozen |
# | prompts | 10 in the last 30 layers | 20 in the last 31, 20 visual ones in the first | 4 to 20 in the last 1 to 3, 16 visual ones in the first 2 |
# | image tower | CLIP, several depths | CLIP ViT-L/14 | ResNet as `blip-toy` has trained it |
# | data | Alpaca's 52 K | 52 K instructions of GPT-4, 567 K captions | drawn on demand |
# | trained | 1.2 M | 14 M (65B) | 4 to 43 thousand |
#
# Steps and batches are numbers of the recipes:

# %%
# NBVAL_CHECK_OUTPUT
for run_name in ("adapter-toy", "adapter-v2-toy", "adapter-7b", "adapter-7b-lora", "adapter-v2-7b"):
    numbers = RECIPES[run_name].train
    print(
        f"{run_name:16} {numbers.steps:6,} steps  batch {numbers.batch_size:4,}  lr {numbers.lr:.3g}"
    )

# %% [markdown]
# V1 took one hour on 8 A100: 8 GPU-hours. The frozen 7B needs 13.5 GB in half precision; weights, gradients and Adam's averages of the adapter need 16 bytes for each of 1.2 M parameters, 20 MB. What remains is activations, which checkpointing keeps small: one GPU of 24 GB is enough.
#
# ```bash
# vlcourse train adapter-toy                                     # V1 around llm-toy; adapter-toy-lora, adapter-toy-full
# vlcourse train adapter-v2-toy                                  # V2, captions and instructions together
# vlcourse train adapter-7b data.source=alpaca.json parts=llm:FOLDER:true data.tokenizer=FOLDER
# torchrun --nproc-per-node 8 -m vlcourse train adapter-7b data.source=alpaca.json parts=llm:FOLDER:true run.parallel=ddp
# ```
#
# ## Corrections
#
# Where the lecture's slides disagree with the papers or their code:
#
# 1. **"1,400 万个参数 … 仅占 0.04 %"** (slides: 14 M parameters, 0.04 % of the model): these are two different models. 14 M is what V2 trains around LLaMA **65B**: 0.02 % of it. 0.04 % belongs to **7B**, where bias and scale are about 2.7 M parameters (computed above; the paper says about 5 M).
# 2. **"以冻结的 LLaMA-Adapter 为起点，… 优化视觉投影层进行微调"** (slides: V2 starts from a frozen LLaMA-Adapter and optimises the visual projection on image–text pairs): that is V2's **failed first attempt** (sections 1 and 3 of the paper). The captions dominated, and instruction following was lost. V2 proper trains both groups jointly.
# 3. **"K < N − L"** (slides and paper: visual tokens in the first K layers): the paper's own numbers, N = 32, L = 31 and K = 1, give K **=** N − L. What matters is that no layer has both: K ≤ N − L.
#
# ## Recap
#
# - **Freeze, and add.** 1.2 M numbers around 6.7 billion; the file is 4.7 MiB; take it away, and the old model is back.
# - **A softmax of their own.** Prompts must not take attention away from the text.
# - **A closed gate.** The start is the old model, bit for bit. First the gates learn, then the prompts.
# - **Answers only.** Everything is read, and only answers are learned, each token one position earlier.
# - **Bias and scale.** Everywhere, cheap, and mergeable.
# - **Disjoint parameters.** What captions do not touch, captions cannot spoil.
# - **Early fusion, and experts.** Show the picture to the first layers; or let somebody else put it into words.
#
# Next: *VideoChat*, where pictures get an order in time.

# %% [markdown]
# ## Quiz
#
# **1.** A colleague initialises the gates *and* the prompts with zeros, "to be on the safe side". What happens?
#
# <details><summary>Answer</summary>
#
# Nothing, for ever. The value map is linear and has no bias, so zero prompts say zero: the gates get no gradient. And the prompts get none because the gates are 0.
#
# </details>
#
# **2.** Inference with a released V1 file gives strange texts, though training looked fine. The code multiplies by `gate`. What is missing?
#
# <details><summary>Answer</summary>
#
# The tanh. Training used tanh(gate); one released inference script forgot it. At gate 0 no test can see the difference: test with open gates.
#
# </details>
#
# **3.** Why are the prompts' keys not rotated, and what does that mean for a word at position 500?
#
# <details><summary>Answer</summary>
#
# Prompts have no place in the text. The query is rotated and the key is not, so it is as if all prompts stood at position 0, five hundred places away.
#
# </details>
#
# **4.** You merge V2's biases and scales into the weights. Which parts of the adapter remain?
#
# <details><summary>Answer</summary>
#
# Prompts and gates. A softmax over prompts is not linear in x, so no matrix can take it in.
#
# </details>
#
# **5.** Training loss is NaN in one batch of a hundred. The texts are long. What do you suspect?
#
# <details><summary>Answer</summary>
#
# All answers of that batch were cut off by the length limit: a mean over no learned token.
#
# </details>
#
# **6.** With disjoint groups, can captions still change what the model writes about a *picture*?
#
# <details><summary>Answer</summary>
#
# Yes, and they should: its words pass through the visual projection and the early gates. Only texts without a picture are safe from any change.
#
# </details>

# %% [markdown]
# ## More · Version 1 with eyes
#
# V1 can see, too. CLIP's image tower gives *global* features at several depths. They are put side by side, a small MLP makes one vector of the language model's width, $I_p$, and this is **added to every prompt**. The prompts then are no longer the same for all rows:

# %%
# NBVAL_CHECK_OUTPUT
eyes = fresh("adapter-toy-image")
drawn = Captioned("test", 4)
look = eyes.look(
    RECIPES["adapter-toy-image"].collate(train=False)(drawn.__getitems__(range(4)))["pixels"]
)
print("added to the prompts:", tuple(look.shape), "= pictures, one vector, width")
print("a layer's prompts:   ", tuple((eyes.layers[0].prompts + look).shape))
with torch.device("meta"):
    seeing = adapter.AdapterConfig.preset("7B multimodal").build()
count = sum(p.numel() for p in seeing.parameters() if p.requires_grad)
print(f"at 7B: {count:,} trained parameters")

# %% [markdown]
# The paper says 1.8 M. It gives no size for the MLP and its code was not released; 68 hidden units bring ours to that number.

# %% [markdown]
# ## More · A teacher who sees nothing
#
# Where do instructions *about pictures* come from? LLaVA (Liu et al. 2023) had a beautiful idea: a language model that sees no pictures writes them. It reads five captions and the boxes of the objects, and invents a conversation, a detailed description, and a question that needs reasoning. Ours is a few lines of code that read the same:

# %%
scene = next(s["scene"] for s in tasks if len(s["scene"].objects) == 2)
print(context_of(scene), "\n")
for kind in VISUAL_KINDS:
    for turn in visual_instruction(context_of(scene), scene.seed, kind):
        print(f"{kind:13} {turn.instruction}  →  {turn.answer}")

# %% [markdown]
# **Check yourself.** What can such a teacher never ask about?
#
# <details><summary>Answer</summary>
#
# Whatever neither captions nor boxes say: a texture, a mood, the text on a sign. And what captions get wrong, it teaches wrongly.
#
# </details>

# %% [markdown]
# ## More · Merged, switched, removed
#
# An adapter is an argument of the LLaMA's blocks, not a change of them. Three consequences:

# %%
# NBVAL_CHECK_OUTPUT
changed = fresh("adapter-v2-toy")
with torch.no_grad():
    for parameter in changed.tuned.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
merged = changed.merged()
with torch.no_grad(), evaluating(changed):
    tokens = test_batch["tokens"][:4]
    difference = (merged(tokens) - changed(tokens)).abs().max().item()
    removed = torch.equal(changed.llm(tokens), llm(tokens))
print("merged, the logits differ by rounding only:", difference < 1e-3)
print("without the adapter it is llm-toy again:   ", removed)
print(
    "the merged LLaMA has biases:               ", merged.llm.blocks[0].attention.q.bias is not None
)

# %% [markdown]
# ## More · What was released
#
# The released V2 code differs from the paper, which has confused many readers (issues 74 and 126 of its repository):
#
# - Its multimodal 7B model has **no early fusion**: visual queries are added to the prompts of the last 31 layers. It has no scale, and no bias at wk and wv.
# - It trains in **two phases**, first captions, then instructions, instead of jointly.
# - Its chat model of 65B has the scale at the *input*: W(s · x) + b.
#
# In this course you train what the paper says. The library loads the released layouts, too (`weights.adapter`), and that of Hugging Face's *peft*, whose "AdaptionPrompt" has one gate a layer and **no tanh**. A test holds both equal to 1e-5, with gates that are open.
#
# ## More · A project
#
# Choose one. (1) Train `adapter-toy` with `model.prompts` from 1 to 40: where does the score stop rising? (2) Train `adapter-toy` with `model.layers=1`, `2` and `3`: are prompts in the top layer enough? (3) Leave one kind of instructions out (`data.kinds=…`) and see whether the adapter follows it anyway. Write down what you expect before you measure.
#
# ## More · Further questions
#
# **1.** LoRA can be merged, prompts cannot. Is there anything that prompts can do and LoRA cannot?
#
# <details><summary>Answer</summary>
#
# Prompts can differ from row to row at no cost: a batch may hold ten users with ten adapters, or a picture each, as in V1 with eyes.
#
# </details>
#
# **2.** Why does training an adapter still take a third of the time of full fine-tuning, and not a thousandth?
#
# <details><summary>Answer</summary>
#
# The forward pass through all frozen layers is needed, and so is the backward pass through those above the lowest prompt. Only the weights' own gradients, and the optimiser's work, are saved.
#
# </details>
#
# **3.** Why are the lowest layers of V1 cheaper than the others in training?
#
# <details><summary>Answer</summary>
#
# Nothing below the first prompt learns, so no gradient has to pass there: the first two layers run without one.
#
# </details>
