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
# # 05 · LLaMA: a language model to build on
#
# Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models", arXiv 2302.13971.
#
# **75 minutes to read**: about 22 of reading and 53 of exercises · **2 minutes to run** on two CPU cores.
# The folded sections called *More* at the end add two exercises and about 60 minutes, if you want them.
#
# CLIP can choose among texts, but it cannot write one. BLIP-2, LLaMA-Adapter and VideoChat (lectures to come) all give eyes to a language model that somebody else has trained. Here we are that somebody:
# you clean a small web, write the pieces of a LLaMA, train it, let it write, watch another one learn to *read*, and do the sums for 65 billion parameters.

# %% [markdown]
# ## Objectives
#
# After this lecture you can
#
# 1. say what a language model is trained on, and why LLaMA is small for the number of tokens it reads;
# 2. clean web text in three steps, and say what they wrongly throw away;
# 3. write RMSNorm, SwiGLU and rotary positions, and say what each one changes and what it does not;
# 4. write attention with a key–value cache, and say what the cache costs;
# 5. assemble a LLaMA from your own functions, train it, and let it write;
# 6. test whether a language model understands what it reads;
# 7. compute what a 65B training run costs from first principles.

# %% [markdown]
# ## Terms
#
# | term | Chinese | meaning here |
# |---|---|---|
# | perplexity | 困惑度 | exp of the mean loss: as unsure as a choice among this many equally likely tokens |
# | RMSNorm | 均方根归一化 | divide by the root of the mean square; no mean, no bias |
# | SwiGLU | SwiGLU 门控激活 | an MLP with two ways up, one of which gates the other |
# | rotary position embedding, RoPE | 旋转位置编码 | turn queries and keys by angles that grow with the position |
# | KV cache | 键值缓存 | keys and values of the past, kept instead of computed again |
# | temperature | 温度 | the number by which logits are divided before drawing a token |
# | top-p (nucleus) | 核采样 | draw only from the most probable tokens |
# | MFU, model FLOPs utilisation | 模型算力利用率 | the share of the hardware's peak that the model's own arithmetic uses |
# | emergence | 涌现 | an ability that appears suddenly in training, or with size |

# %%
import math
import time
from collections import Counter, defaultdict
from itertools import accumulate

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from vlcourse import tokenizers, weights, zoo
from vlcourse.data.collate.text import IGNORED, TextCollate
from vlcourse.data.corpus import Corpus, ask, sentences, topic
from vlcourse.evals import metrics, reading
from vlcourse.generate import generate, sampling
from vlcourse.layers import block as layers_block
from vlcourse.layers.attention import Attention
from vlcourse.layers.block import MLP, RMSNorm, SwiGLU
from vlcourse.layers.cache import LayerCache
from vlcourse.models.llama import PRESETS, LLaMA, LLaMABlock, LLaMAConfig
from vlcourse.recipes import RECIPES
from vlcourse.teach import capstone, claims, is_quick, quick, show
from vlcourse.teach.exercise import answer, exercise
from vlcourse.teach.llama import cleaning, cleaning_pages, figures, figures_parts, plots
from vlcourse.tokenizers import sentence_bpe
from vlcourse.tokenizers.sentence_training import train_sentence_bpe

show.style()

# The names of your functions: the reference's, until yours pass.
rms_norm = answer("llama.rms_norm")
swiglu = answer("llama.swiglu")
rope = answer("llama.rope")
attend_with_cache = answer("llama.attention_cache")
llama_logits = answer("llama.model")
encode_bpe = answer("llama.bpe")
top_p = answer("llama.top_p")

# What several sections use: the toy corpus, its tokenizer, a trained reader, the paper's sizes.
tokenizer = sentence_bpe.toy()
texts = list(sentences(1500, seed=31))
reader = zoo.load("llm-toy")
asked = reading.comprehension_set("heldout", scenes=quick(120, 10))
answers_only = TextCollate(tokenizer, context=512, end=False)
PAPER_TOKENS = {"7B": 1.0e12, "13B": 1.0e12, "33B": 1.4e12, "65B": 1.4e12}  # table 2
with torch.device("meta"):  # shapes without numbers
    giants = {name: shape.build() for name, shape in PRESETS.items()}
parameters = {name: sum(p.numel() for p in big.parameters()) for name, big in giants.items()}


def documents(n, seed, mixture=(0, 30, 20, 50)):
    """Texts of the toy corpus; of a hundred: reading, retelling, facts, stories."""
    return [sample["text"] for sample in Corpus("train", n, seed, mixture).__getitems__(range(n))]


web = cleaning_pages.toy_web(documents(2000, seed=21), pages=500)
languages = cleaning.LanguageFilter(cleaning_pages.EXAMPLES)
good_text = cleaning.KneserNey(documents(1200, seed=22))  # an n-gram model of good text
LIMIT = cleaning.limit(good_text, documents(600, seed=23))  # lets 99 % of other good pages pass


def write(model, start, rows=1, seed=0, **how):
    """Continuations of a beginning, as texts; greedy unless a temperature is given."""
    start_ids = torch.tensor([tokenizer.encode(start, bos=True)]).expand(rows, -1)
    dice = torch.Generator().manual_seed(seed)
    how = {"max_new_tokens": 60, "end": tokenizer.eos, "generator": dice, **how}
    both = torch.cat([start_ids, generate(model, start_ids, **how)], dim=1)
    return [tokenizer.decode(ids) for ids in both.tolist()]


def guessing():
    """Kind of question → how often its most frequent answer is right."""
    answers = defaultdict(list)
    for _, question, _ in asked:
        answers[question.kind].append(question.answer)
    return {kind: Counter(a).most_common(1)[0][1] / len(a) for kind, a in answers.items()}


def lessons(name):
    """The stages of a reader's training → the step at which each one begins."""
    stages = ("things", "sizes", "pairs", "all ways", "descriptions", "everything")
    recipe = RECIPES[name]
    starts = accumulate((n // recipe.train.batch_size for n in recipe.data.recall), initial=0)
    return dict(zip(stages, starts, strict=True))


# %% [markdown]
# ## Before you start
#
# You need PyTorch's basics and lecture 01's exercises. Everything else fits into ten minutes.
#
# **Cross-entropy.** A model that gives the right token the probability $P$ pays $-\log P$. With the natural logarithm the unit is the *nat*: 0 for
# sure and right, $\log V$ for a blind guess among $V$ tokens.
#
# **Attention** lets the vectors of a sequence read each other. Three learned matrices turn each vector $x$ into a *query* $q = W_q x$ (what am I
# looking for?), a *key* $k = W_k x$ (what do I offer?) and a *value* $v = W_v x$ (what do I pass on?). With queries, keys and values stacked in rows,
#
# $$\operatorname{Attention}(Q, K, V) = \operatorname{softmax}\!\Bigl(\frac{Q K^\top}{\sqrt{d_h}} + \text{mask}\Bigr) V .$$
#
# Row $i$ of the softmax says how much token $i$ takes from each token. The **causal mask** holds $-\infty$ wherever a token would look ahead, so those
# weights are 0. *Multi-head* attention does this several times in parallel, on slices of the vectors with $d_h$ channels each.
#
# **LayerNorm** subtracts a vector's mean, divides by its standard deviation, then scales and shifts by learned numbers. A **Transformer
# block** is attention, then an MLP (two matrices, a non-linearity between them) for each token alone; each adds its result to its input.
#
# Four tokens under the causal mask, with all scores 0:

# %%
# NBVAL_CHECK_OUTPUT
later = torch.ones(4, 4, dtype=torch.bool).triu(1)  # True: a token that comes later
for row in torch.zeros(4, 4).masked_fill(later, -math.inf).softmax(dim=-1).tolist():
    print("  ".join(f"{weight:.2f}" for weight in row))

# %% [markdown]
# **Symbols.** $N$: parameters; $D$: training tokens; $V$: tokens in the vocabulary; $\mathcal L$: loss in nats a token; $d$: width, the channels of a
# token's vector; $d_h$: channels of a head; $m$: a position; $T$ and $p$: temperature and nucleus. In shapes, B is the batch, L the number of positions, and … any leading dimensions.
#
# Further reading: Vaswani et al. 2017, "Attention Is All You Need"; Devlin et al. 2018, BERT, the other way to train a Transformer on text.

# %% [markdown]
# ## 1 · Why an open model, and why a small one
#
# A language model gives a probability to a text $x_1, \dots, x_n$ by giving one to each next token:
#
# $$P(x_1, \dots, x_n) = \prod_{t=1}^{n} P(x_t \mid x_1, \dots, x_{t-1}), \qquad
# \mathcal L = -\frac1n \sum_{t=1}^{n} \log P(x_t \mid x_1, \dots, x_{t-1}) .$$
#
# That is the whole objective. It needs no labels; yet to guess the next word of a proof or a quarrel, you must have understood a little of it.
# From 2020 on, the field found that the loss falls predictably with parameters, data and compute, and built ever larger models.
#
# > **Predict first.** Which has read more tokens *for each parameter*, GPT-3 or LLaMA-7B? By what factor?

# %%
figures.models()


# %% [markdown]
# GPT-3, Gopher and PaLM have hundreds of billions of parameters and read few tokens for each. For GPT-3 it is 1.7, for LLaMA-7B 149. Hoffmann et al. 2022 asked which size is best *for a given training budget*. Their answer, Chinchilla, has
# 70 billion parameters and read 1.4 trillion tokens, about **20 tokens a parameter**. It beat Gopher, which is four times larger.
#
# LLaMA asks another question. Training happens once, but the model is **used** every day. In floating-point operations (FLOPs),
#
# $$C_\text{train} \approx 6\,N D, \qquad C_\text{use} \approx 2\,N \ \text{ for each token read or written}$$
#
# (Kaplan et al. 2020, section 2.1). A multiplication and an addition for each weight make 2; the backward pass costs twice as much, so
# training makes 6. So it pays to **train a smaller model for longer** than Chinchilla's rule says: more expensive
# training for the same quality, but cheaper use ever after. The paper found that a 7B model still improves after 1 T (trillion) tokens,
# seven times the rule (section 1).
#
# The other half of the title is *open*. Nobody outside could get the weights of the four orange-red models. LLaMA is
# trained on **publicly available data only**, and researchers could have its weights. LLaMA-Adapter, a lecture to come, started from the 7B.
#
# ## 2 · Data
#
# What does it read?

# %%
figures.mixture()


# %% [markdown]
# (Table 1 of the paper.) Two thirds are CommonCrawl, a public copy of the web. C4 is web text too; the authors observed that
# *differently* cleaned copies help. The good sources are small, and Wikipedia and the books are read more than twice.
#
# ### Cleaning: a small CCNet

# %%
figures.pipeline()


# %% [markdown]
# The raw web is full of menus, notices and word lists. CCNet cleans it in three steps, and LLaMA adds a fourth.
#
# 1. **Line dedup.** A menu stands on every page of a site, an article on one. So a line that occurred before goes.
# 2. **Language.** Short runs of characters give a language away. CCNet's fastText knows 176.
# 3. **Quality.** An n-gram model of good text (CCNet: of Wikipedia) is surprised by bad text. Its *perplexity* measures how much, and pages above a limit go.
#
# To judge a filter you must know the truth. So **we make the dirt ourselves**: good text comes from the toy corpus, half of the pages are made dirty
# on purpose, and every line knows what it is.
#
# > **Predict first.** How much good English about *other* topics will survive the quality filter?

# %%
cleaned = cleaning.stages(web, languages, good_text, LIMIT)
plots.cleaning(
    {
        stage: Counter(line.kind for page in pages for line in page.lines)
        for stage, pages in cleaned.items()
    }
)

# %%
# NBVAL_CHECK_OUTPUT
for stage, pages in cleaned.items():
    precision, recall = cleaning.precision_recall(pages, web)
    print(f"{stage:20} precision {precision:6.1%}, recall {recall:6.1%}")
assert precision > 0.97 and recall > 0.75

# %% [markdown]
# *Precision* is the share of good lines among those that are left, *recall* the share of all good lines that survive. Nearly everything left is worth keeping. But the last step throws away **all** good English that is not about our shapes.
# A quality filter has a *taste*: it keeps what resembles its reference. With Wikipedia as the reference you get encyclopaedic prose
# and lose dialects and chats. LLaMA's fourth step has the same taste: a linear
# classifier for pages that Wikipedia *cites* (paper, section 2.1). *More · Cleaning in detail* has the formulas.
#
# ## 3 · Tokens
#
# CLIP's tokenizer (lecture 01) starts from bytes and lower-cases its text. LLaMA's is **SentencePiece BPE**. It learns in the same way, by merging the most frequent pair
# of neighbours again and again, but the rest differs:
#
# | | CLIP (byte-level BPE) | LLaMA (SentencePiece BPE) |
# |---|---|---|
# | starts from | 256 bytes | the characters of the corpus |
# | spaces | dropped; `</w>` ends a word | kept, as `▁`, at the *beginning* of a word |
# | unknown character | cannot happen | **byte fallback**: its UTF-8 bytes, 256 tokens of their own |
# | text comes back | lower-cased, spaces normalised | exactly as it was |
# | size | 49,408 | 32,000 |
#
# One thing does not differ: both split numbers into **single digits**.

# %%
# NBVAL_CHECK_OUTPUT
clip_tokenizer = tokenizers.toy()  # CLIP's way
for sentence in ("a red circle", "2023", "红 circle"):
    print(f"{sentence!r:15} LLaMA:", *[tokenizer.piece(i) for i in tokenizer.encode(sentence)])
print("'2023', CLIP:        ", *[clip_tokenizer.decode([i]) for i in clip_tokenizer.encode("2023")])
print(tokenizer.vocab_size, "pieces; and back:", tokenizer.decode(tokenizer.encode("红 circle")))

# %% [markdown]
# You write the encoder in *More · SentencePiece BPE*.
#
# ## 4 · The norm: before, and simpler
#
# LLaMA's blocks are the Transformer's, with three changes.

# %%
figures.blocks()


# %% [markdown]
# **Before, not after.** The Transformer of 2017 normalised the sum, $x \leftarrow \operatorname{LN}(x + f(x))$, where $f$ is attention or the MLP. From GPT-2 on, the norm stands in the branch, $x \leftarrow x + f(\operatorname{LN}(x))$: the stream of
# states runs from the embedding to the head without a norm on it, and so does the gradient on its way back. That is what LLaMA took *from GPT-3* (paper, section 2.2).
#
# We train a deep, narrow stack at two learning rates, with and without warm-up, with the norm in either place: three seeds each.
#
# > **Predict first.** At the higher rate, will the 2017 block catch up with the others if it gets a warm-up?

# %%
claims.stored("llama.pre_norm")

# %% [markdown]
# At the lower rate the place of the norm makes no clear difference. At ten times that rate the 2017 block is 2.7 nats worse. A warm-up only delays this: the block learns for some eighty steps, then falls back.
# LayerNorm and RMSNorm, both in the branch, differ by about 0.01 nats.
#
# **Root mean square only.** RMSNorm (Zhang and Sennrich 2019) drops LayerNorm's mean and bias. It divides by the root of the mean square and multiplies by learned weights $g$:
#
# $$\operatorname{RMSNorm}(x) = \frac{x}{\sqrt{\frac1d\sum_{i=1}^{d} x_i^2 + \epsilon}} \odot g$$
#
# Models run in 16 bits, and a sum of squares needs more.
# LLaMA therefore goes **to float32, divides, casts back to the type of x**, and only then multiplies by $g$. (And $\epsilon$ is $10^{-6}$, but $10^{-5}$ in the released 65B.)
#
# **Exercise 1 of 5 · RMSNorm, in the right precision** (8 minutes, difficulty 1 of 3).


# %%
# NBVAL_CHECK_OUTPUT
@exercise("llama.rms_norm")
def rms_norm(x, weight, eps):
    """(…, d) vectors of any type, (d,) weight of the same type, eps → (…, d), of x's type."""
    ### BEGIN SOLUTION
    wide = x.float()
    mean_square = wide.pow(2).mean(dim=-1, keepdim=True)  # (…, 1)
    return (wide * torch.rsqrt(mean_square + eps)).type_as(x) * weight
    ### END SOLUTION


# %% [markdown]
# > **Predict first.** Float16 ends at 65,504. What happens to a vector with one channel of 300 if you compute its norm in float16?

# %%
# NBVAL_CHECK_OUTPUT
spiky = torch.tensor([[300.0, 1.0, -1.0, 2.0]], dtype=torch.float16)
in_half = spiky * torch.rsqrt(spiky.pow(2).mean(dim=-1, keepdim=True) + 1e-6)
print("in float16:", in_half.tolist())
print("in float32:", [round(v, 3) for v in rms_norm(spiky, torch.ones(4).half(), 1e-6)[0].tolist()])

# %% [markdown]
# $300^2$ becomes infinite, and the vector is lost. Both norms forget a vector's *length*, which keeps a deep network stable. LayerNorm also removes
# the common shift of all channels; RMSNorm bets that nobody needs that. *More · What a norm keeps, and what it costs* draws and times both.
#
# ## 5 · A gate in the MLP

# %%
figures_parts.activations()


# %% [markdown]
# The three curves hardly differ; the point is the
# **gate**: an ordinary neuron looks in one direction $w_1$; a gated one has two, and its value is $\operatorname{SiLU}(w_1 \cdot x)$ *times* $w_3 \cdot x$. One part of the input decides how much of another part goes through.
#
# $$\operatorname{SwiGLU}(x) = \bigl(\operatorname{SiLU}(x W_g^\top) \odot x W_u^\top\bigr)\, W_d^\top, \qquad \operatorname{SiLU}(z) = \frac{z}{1 + e^{-z}} .$$
#
# $W_g$ (gate) and $W_u$ (up) are $h \times d$ for a hidden size $h$, and $W_d$ (down) is $d \times h$.
#
# **Exercise 2 of 5 · SwiGLU, an MLP with a gate** (6 minutes, difficulty 1 of 3). The matrices lie as in `nn.Linear`: (out, in).


# %%
# NBVAL_CHECK_OUTPUT
@exercise("llama.swiglu")
def swiglu(x, gate, up, down):
    """(…, d) vectors; (h, d), (h, d) and (d, h) matrices → (…, d)."""
    ### BEGIN SOLUTION
    return (F.silu(x @ gate.T) * (x @ up.T)) @ down.T
    ### END SOLUTION


# %% [markdown]
# An MLP has two matrices with hidden size $4d$; SwiGLU has three. Which hidden size gives as many weights?

# %%
# NBVAL_CHECK_OUTPUT
gated, x8 = SwiGLU(width=8, hidden=24), torch.randn(3, 8)
hidden_by_hand = swiglu(x8, gated.gate.weight, gated.up.weight, gated.down.weight)
assert torch.allclose(hidden_by_hand, gated(x8), atol=1e-5)
print(sum(p.numel() for p in gated.parameters()), "weights: three matrices of 8 × 24, no biases")


# %%
figures_parts.two_thirds()


# %% [markdown]
# The hidden size **shrinks to two thirds**, from $4d$ to $\tfrac23 \cdot 4d = \tfrac83 d$. The official code rounds $\lfloor 8d/3 \rfloor$ up to a multiple of 256: 11,008 for the 7B's $d = 4{,}096$.
#
# Is a gate better? A gate multiplies, so it learns products with ease, and kinks with difficulty (*More · Products and kinks* measures both). That
# gates win on *language* is an observation: Shazeer 2020, who introduced SwiGLU, offered no explanation but divine benevolence.
#
# ## 6 · Positions as rotations
#
# Attention compares contents; without positions it could not tell "dog bites man" from "man bites dog". GPT-3 *adds* a learned vector for each absolute position, once, at the
# input. But what matters is *three words ago* rather than *word 1,207*. **RoPE** (Su et al. 2021) leaves the stream alone and turns queries and keys, in every layer, right before they are compared.
#
# Read the channels of a query or key in **pairs of neighbours**, $(x_0, x_1), (x_2, x_3), \dots$, each an arrow in a plane. At position $m$, pair
# $j = 0, 1, \dots, d_h/2 - 1$ is turned by the angle $m\,\omega_j$, where $\omega_j = \theta^{-2j/d_h}$ and $\theta = 10{,}000$:
#
# $$\begin{pmatrix} x'_{2j} \\ x'_{2j+1} \end{pmatrix} = \begin{pmatrix} \cos m\omega_j & -\sin m\omega_j \\ \sin m\omega_j & \cos m\omega_j \end{pmatrix}
# \begin{pmatrix} x_{2j} \\ x_{2j+1} \end{pmatrix}$$
#
# Here is a head of 8 channels, so 4 pairs:

# %%
figures_parts.rotation()


# %% [markdown]
# Like the hands of a clock, the first pair turns fast and the last one hardly at all. Why does this give *relative* positions? Write a pair as a
# complex number, $q$ for the query at position $m$ and $k$ for the key at $m'$, so that turning means multiplying by $e^{i m \omega_j}$. Their dot product is then the real part of
#
# $$\bigl(q\, e^{i m \omega_j}\bigr)\,\overline{\bigl(k\, e^{i m' \omega_j}\bigr)} = q\,\bar k \; e^{i (m - m')\omega_j},$$
#
# and only the difference $m - m'$ is left.
#
# **Exercise 3 of 5 · Rotary positions** (12 minutes, difficulty 2 of 3). `positions` need not start at 0: with a cache, the new token may be the 500th.
# Compute the angles in float32 and return the type of `x`.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("llama.rope")
def rope(x, positions, theta):
    """(…, L, d_h) queries or keys, (L,) integer positions, base → (…, L, d_h), each pair turned."""
    ### BEGIN SOLUTION
    width = x.shape[-1]
    frequencies = theta ** (-torch.arange(0, width, 2) / width)  # (d_h/2,)
    angles = positions[:, None] * frequencies  # (L, d_h/2), float32
    cos, sin = angles.cos(), angles.sin()
    a, b = x[..., 0::2], x[..., 1::2]  # (…, L, d_h/2) each
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)  # (…, L, d_h/2, 2)
    return turned.flatten(-2).type_as(x)
    ### END SOLUTION


# %% [markdown]
# > **Predict first.** A query and a key three positions apart, at the beginning of a text and far inside it: will the scores be similar, or equal?

# %%
# NBVAL_CHECK_OUTPUT
one_query, one_key = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
scores_at = {}
for m in (0, 10, 500):
    turned = rope(torch.stack([one_query, one_key]), torch.tensor([m + 3, m]), 10_000.0)
    scores_at[m] = float(turned[0] @ turned[1])
    print(f"query at {m + 3:3}, key at {m:3}: score {scores_at[m]:.2f}")
assert max(scores_at.values()) - min(scores_at.values()) < 1e-2

# %% [markdown]
# All pairs of positions, with positions added as random vectors (as before any training), and with rotations:

# %%
length = 40
added = 0.5 * torch.randn(length, 64, generator=torch.Generator().manual_seed(1))
turned_q, turned_k = (
    rope(v.expand(length, 64), torch.arange(length), 1e4) for v in (one_query, one_key)
)
figures_parts.relative(
    {
        "positions added": (one_query + added) @ (one_key + added).T,
        "positions as rotations": turned_q @ turned_k.T,
    }
)

# %% [markdown]
# On the right, each diagonal has one colour: the score depends on the distance alone, without any parameters. The values stay as they are.
#
# **Longer texts for free?** A common claim says so. But 23 of 64 pairs never complete a turn within LLaMA's 2,048 tokens; at position 4,000 they point where they never
# pointed in training. So there is **no free length extrapolation** (*More · Beyond the length of the training*).
#
# ## 7 · The model
#
# A block, and the model: embed the tokens, run the blocks, norm once more, and one matrix gives the logits of the next token. There are no biases anywhere, and the head is a matrix of its own, not the embedding's.

# %%
show.source(LLaMABlock)


# %%
show.source(LLaMA.hidden)


# %% [markdown]
# > **Predict first.** Where do the 65 billion parameters sit: in attention, in SwiGLU, or in the vocabulary? And how many are in the norms?

# %%
# NBVAL_CHECK_OUTPUT
print("      layers  heads  width  hidden      parameters  attention  SwiGLU  vocabulary  in norms")
for name, shape in PRESETS.items():
    part_of = Counter()
    for path, parameter in giants[name].named_parameters():
        part = next((p for p in ("attention", "mlp", "norm") if p in path), "vocabulary")
        part_of[part] += parameter.numel()
    total = parameters[name]
    print(
        f"{name:4} {shape.layers:7} {shape.heads:6} {shape.width:6,} {shape.ffn:7,}"
        f" {total:15,} {part_of['attention'] / total:10.1%} {part_of['mlp'] / total:7.1%}"
        f" {part_of['vocabulary'] / total:11.1%} {part_of['norm']:9,}"
    )
assert list(parameters.values()) == [6738415616, 13015864320, 32528943616, 65285660672]

# %% [markdown]
# Two thirds of the weights are in SwiGLU and one third in attention. The norms have 1.3 million out of 65 billion. By hand: a block has $4d^2$ weights in attention and
# $3 \cdot d \cdot \tfrac83 d = 8d^2$ in SwiGLU, so $N \approx 12\,d^2 \cdot \text{layers}$, and every head has $d_h = 128$ channels. *More · Other layouts of the same weights* loads real ones.
#
# ## 8 · The KV cache
#
# To write token 500, must the model read the 499 before it again? No: under the causal mask, **keys and values of the past stay as they are.** So keep them.

# %%
figures.cache()


# %% [markdown]
# A `LayerCache` has room for the whole text; `cache.length` says how many positions are filled,
# and `cache.extend(k, v)` adds the new ones and returns **all keys and values so far**, (B, heads, past + L, $d_h$).
#
# In writing, new positions come one at a time; in reading a prompt, $L$ at a time. Each sees all
# of the past, itself, and nothing later. What does the mask with $L$ rows and past + $L$ columns look like?
#
# **Exercise 4 of 5 · Causal attention with a cache** (12 minutes, difficulty 3 of 3). The mask is your work:
# $\operatorname{softmax}(q k^\top / \sqrt{d_h} + \text{mask})\, v$.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("llama.attention_cache")
def attend_with_cache(q, k, v, cache):
    """(B, heads, L, d_h) queries, keys, values of L new positions, cache of the past → the same shape."""
    ### BEGIN SOLUTION
    past, length = cache.length, q.shape[2]
    keys, values = cache.extend(k, v)  # (B, heads, past + L, d_h)
    scores = q @ keys.mT / math.sqrt(q.shape[-1])  # (B, heads, L, past + L)
    seen = torch.ones(length, past + length, dtype=torch.bool).tril(past)
    return scores.masked_fill(~seen, -math.inf).softmax(dim=-1) @ values
    ### END SOLUTION


# %% [markdown]
# However you cut a text, the result is the same:

# %%
# NBVAL_CHECK_OUTPUT
six_q, six_k, six_v = torch.randn(3, 1, 2, 6, 4)
whole = F.scaled_dot_product_attention(six_q, six_k, six_v, is_causal=True)
for chunks in ([6], [4, 2], [3, 1, 1, 1]):
    cache = LayerCache(torch.empty(1, 2, 6, 4), torch.empty(1, 2, 6, 4))
    pieces = [
        attend_with_cache(*new, cache)
        for new in zip(*(t.split(chunks, dim=2) for t in (six_q, six_k, six_v)), strict=True)
    ]
    assert torch.allclose(torch.cat(pieces, dim=2), whole, atol=1e-5)
    print("chunks of", chunks, "→", cache.length, "positions in the cache")


# %% [markdown]
# How much does the cache save? A larger model with random weights writes one more token.
#
# > **Predict first.** How will both times grow with the text?

# %%
torch.manual_seed(0)
fast = LLaMAConfig(vocab_size=1000, width=512, layers=6, heads=8).build().eval()
print(f"{sum(p.numel() for p in fast.parameters()) / 1e6:.1f} M parameters")
lengths, seconds = (16, 64, 128, 256, 384), {"without a cache": [], "with a cache": []}
with torch.inference_mode():
    random_ids = torch.randint(1000, (1, max(lengths) + 8))
    for n_past in lengths:
        kept = fast.new_cache(1, max(lengths) + 8)
        fast(random_ids[:, :n_past], kept)
        tries = {"without a cache": [], "with a cache": []}
        for more in range(n_past, n_past + quick(4, 2)):
            start = time.perf_counter()
            fast(random_ids[:, : more + 1])
            middle = time.perf_counter()
            fast(random_ids[:, more : more + 1], kept)
            tries["without a cache"].append(middle - start)
            tries["with a cache"].append(time.perf_counter() - middle)
        for way, found in tries.items():
            seconds[way].append(sorted(found)[len(found) // 2])
plots.decoding(seconds, lengths)


# %% [markdown]
# Without the cache a token costs more, the longer the text is: $n$ tokens cost $1 + 2 + \dots + n \approx n^2/2$ passes over single tokens. With it, each costs one. The full experiment, with a small model and longer texts:

# %%
claims.stored("llama.cache")


# %% [markdown]
# Each cached step still reads **all weights once**, so writing one text waits for memory, not for arithmetic, and servers write many
# texts at once. The price is memory: two vectors for each layer and token, half a megabyte a token for the 7B (*More · Memory sums*).
#
# ## 9 · Your own LLaMA
#
# You have all the pieces. Put them together, and train the result next to the library's model, from the same weights and on the same batches.
#
# - `model.token(tokens)`: (B, L, d) vectors; at the end `model.norm_final.weight` and `model.head(x)`
# - `block.norm1.weight`, `block.norm2.weight`: for `rms_norm`, with `model.config.norm_eps`
# - `block.attention.q`, `.k`, `.v`, `.out`: linear layers (call them), with `model.config.heads` heads
# - `block.mlp.gate.weight`, `.up.weight`, `.down.weight`: for `swiglu`; `model.config.theta`: for `rope`
#
# **Exercise 5 of 5 · Your own LLaMA** (15 minutes, difficulty 3 of 3). `caches` holds one cache for each block; all of them hold the same past, and
# `tokens` come after it, so positions start at `caches[0].length` (read it before the loop). A block is `x = x + attention(norm1(x))`, then
# `x = x + swiglu(norm2(x))`.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("llama.model")
def llama_logits(model, tokens, caches):
    """A LLaMA, (B, L) tokens, one cache a block → (B, L, V) logits of the next tokens."""
    ### BEGIN SOLUTION
    config, past = model.config, caches[0].length
    positions = torch.arange(past, past + tokens.shape[1])
    x = model.token(tokens)  # (B, L, d)
    for block, cache in zip(model.blocks, caches, strict=True):
        attention, mlp = block.attention, block.mlp
        h = rms_norm(x, block.norm1.weight, config.norm_eps)
        q, k, v = (
            rearrange(linear(h), "b l (h d) -> b h l d", h=config.heads)
            for linear in (attention.q, attention.k, attention.v)
        )
        q, k = rope(q, positions, config.theta), rope(k, positions, config.theta)
        y = attend_with_cache(q, k, v, cache)  # (B, heads, L, d_h)
        x = x + attention.out(rearrange(y, "b h l d -> b l (h d)"))
        h = rms_norm(x, block.norm2.weight, config.norm_eps)
        x = x + swiglu(h, mlp.gate.weight, mlp.up.weight, mlp.down.weight)
    return model.head(rms_norm(x, model.norm_final.weight, config.norm_eps))
    ### END SOLUTION


# %% [markdown]
# > **Predict first.** Where does the loss start, with 622 words to choose from? How far apart will the two curves be at the end?

# %%
run = capstone.train("llm-capstone", llama_logits, steps=quick(None, 8))
print(run)

# %%
capstone.curves(run)

# %% [markdown]
# The loss starts a little above $\log 622 = 6.43$, the loss of a uniform guess, because a new model's logits are not all equal. First the model learns how frequent each word is, then pairs, phrases, and what the context says.
# The same operations in the same order give equal curves, bit for bit; otherwise rounding errors of $10^{-7}$ grow from step to step, and neither curve is better. Your model can already write. Greedy, that is, the most probable token each time:

# %%
capstone.keep(run)
for beginning in ("once there was", "one day", "mia had"):
    print(write(run.model, beginning)[0], "\n")

# %% [markdown]
# It is kept as `llm-yours`; later lectures can build on it.
#
# ### Choosing the next word
#
# The model gives a distribution, and you have to choose. Here is a place where a story can go on in many ways.
#
# > **Predict first.** At temperature 2, is the top word more or less probable? How many words does a nucleus of 90 % keep?

# %%
with torch.no_grad():
    so_far = (
        "once there was a small red circle. it met a large blue star. they played together all day."
    )
    next_logits = run.model(torch.tensor([tokenizer.encode(so_far, bos=True)]))[0, -1]
plots.sampling(
    next_logits, [tokenizer.piece(i).lstrip("▁") or "▁" for i in range(len(next_logits))]
)

# %% [markdown]
# **Temperature** divides the logits $z_i$: $P(i) \propto e^{z_i / T}$. Below 1 the likely get likelier; $T \to 0$ is greedy. **Top-k** keeps the $k$ most probable tokens. **Top-p** adapts: it keeps the *nucleus*, the smallest set of
# most probable tokens whose probabilities sum to $p$ or more (Holtzman et al. 2020): one token where the model is sure, and many where it is not.

# %%
for T, nucleus in ((0.7, None), (1.0, 0.9), (1.5, None)):
    how = {"temperature": T} if nucleus is None else {"temperature": T, "top_p": nucleus}
    print(how, write(run.model, "one day", seed=3, **how)[0], "\n")

# %% [markdown]
# Temperature buys variety with mistakes; a nucleus takes mistakes away. *More · Top-p, and quality against variety* has the exercise and the numbers.
#
# ## 10 · Does it understand what it reads?
#
# A model that writes nice stories may only know which words go together. **Reading comprehension** asks for more: a text describes a scene, then come questions that only this text answers. Our shipped `llm-toy` learned from such documents, but only the lines with an arrow count in its loss:

# %%
# NBVAL_CHECK_OUTPUT
test_scene = Corpus("heldout", 40, seed=9, mixture=(100, 0, 0, 0), brief=0)[1]
for part, is_learned in test_scene["parts"][:9]:
    print("→" if is_learned else " ", part)

# %% [markdown]
# The test scenes contain a colour and a shape that **no training document ever put together** (the eight held-out pairs of lecture 00).
#
# > **Predict first.** It never read about that colour and that shape together. How many of six answers will be right?

# %%
card = zoo.card("llm-toy")
print(f"{card['parameters']:,} parameters, {card['steps']:,} steps, {card['seconds'] / 60:.0f} min")
description = test_scene["parts"][0][0]
print(description)
for question in test_scene["questions"][:6]:
    prompt = torch.tensor([tokenizer.encode(f"{description} {ask(question)}", bos=True)])
    said = tokenizer.decode(generate(reader, prompt, max_new_tokens=4)[0].tolist()).split(".")[0]
    print(f"   {question.text:45} {said:8} {'✓' if said == question.answer else '✗'}")

# %% [markdown]
# Each kind of question, with a 95 % bootstrap interval. *Blind* is always giving the kind's most frequent answer.

# %%
blind = guessing()
details = reading.comprehension_details(reader, answers_only, "heldout", quick(120, 10))
for kind, hits in details.items():
    low, high = metrics.bootstrap_interval(hits)
    print(f"{kind:11} {hits.mean():6.1%} ({low:.1%} to {high:.1%})   blind {blind[kind]:.0%}")
if not is_quick():
    assert all(float(hits.mean()) > 0.9 for hits in details.values())
plots.comprehension(
    {k: (float(h.mean()), *metrics.bootstrap_interval(h)) for k, h in details.items()}, blind
)

# %% [markdown]
# "What colour is the ring?" takes two steps: find *ring*, and take the word in front of *that* ring. This **binding** is what CLIP could not do (lecture 01). How did the model learn it?
#
# ### The moment of emergence, and what loss is reasonable
#
# With such documents alone it did not. So training begins with *lists*, which show nothing but the mechanism (associative recall: Arora et al. 2023, "Zoology"). This is the
# training log that ships with the model.
#
# > **Predict first.** Will the loss fall smoothly or in steps? And which kind of question will come last?

# %%
plots.emergence(zoo.log("llm-toy"), guessing(), lessons("llm-toy"))

# %% [markdown]
# Above, the loss falls in *steps*. After a plateau on which nothing seems to happen, a mechanism is there within some hundred steps: "find the word again and take its neighbour", then the same with two words, then the partner in a pair, then
# which of the two is above. Such jumps are known from large models (Olsson et al. 2022, "induction heads"). Below, accuracy asks full sentences, which the lists never show. So it stays at zero or at guessing until sentences come. Counting, which the lists hardly touch, comes last.
#
# **What loss is reasonable?** It should start near $\log V$ (here 6.43; the first batch says 7.3) and leave it within the first hundred steps. Where it ends depends on the data: compare losses over the same tokens only, and judge by accuracy; the last stage's loss is
# mostly the words of stories, which nobody can foresee.
#
# *More · A diary of trials* has the trials before, and the log of the second reader, `seq2seq-toy`.
#
# ## 11 · Size or tokens?
#
# How many more tokens does a smaller model need to be as good? Hoffmann et al. 2022 fitted
#
# $$\mathcal L(N, D) = E + \frac{A}{N^\alpha} + \frac{B}{D^\beta}, \qquad E = 1.69,\ A = 406.4,\ B = 410.7,\ \alpha = 0.34,\ \beta = 0.28$$
#
# to more than 400 training runs (their approach 3). The constants belong to their data and are disputed in detail; we use the form.
#
# > **Predict first.** GPT-3 (175B, 0.3 T tokens) or LLaMA-13B (1.0 T): which is better by this law, and by how much?


# %%
# NBVAL_CHECK_OUTPUT
def predicted_loss(size, tokens):
    return 1.69 + 406.4 / size**0.34 + 410.7 / tokens**0.28


for name, n, d in (("GPT-3", 175e9, 300e9), ("LLaMA-13B", 13.0e9, 1.0e12)):
    print(
        f"{name:10} predicted loss {predicted_loss(n, d):.3f} nats, training {6 * n * d:.1e} FLOPs,"
        f" a token in use {2 * n:.1e} FLOPs"
    )


# %% [markdown]
# It expects nearly the same loss, for a quarter of the training compute and **one thirteenth of the cost of use**.
#
# Now fix a quality, that of the 65B with its 1.4 T tokens, and ask what every size would need to reach it.

# %%
# NBVAL_CHECK_OUTPUT
goal = predicted_loss(65.2e9, 1.4e12)
same_quality = {}
for size in (130e9, 65.2e9, 32.5e9, 13.0e9):
    needed = (410.7 / (goal - 1.69 - 406.4 / size**0.34)) ** (1 / 0.28)
    label = f"{size / 1e9:.3g} B, {needed / 1e12:.2g} T tokens"
    same_quality[label] = {"parameters": size, "tokens": needed}
    print(
        f"{label:24} training {6 * size * needed:.1e} FLOPs, {needed / size:5.0f} tokens a parameter"
    )


# %%
served = torch.logspace(9, 14, 60)
plots.isoloss(same_quality, served)


# %% [markdown]
# At the left edge, training is all there is: the most expensive model is the largest, but the smallest is not the cheapest, and a size in the middle wins. Towards the right, **the more a model is used, the smaller it should be.** But not at any price: the 13B would need 7.8 T tokens,
# more text than there was.
#
# Our own experiment has three tiny sizes, each trained on five budgets, with three seeds.
#
# > **Predict first.** At equal training compute, which is better: the smaller model that has read more, or the larger one?

# %%
claims.stored("llama.inference_budget")


# %% [markdown]
# Left: it depends on the budget. With little compute the smallest model leads, because it reads the most. Then its capacity runs out, and the middle one is ahead: that is Chinchilla's point.
# LLaMA's is on the right. Train the small model until it matches the middle one at the dot, which takes 1.4 to 3.7 times the compute. Each token it serves then costs less than half as much, so after about 2.8 million tokens
# (0.5 to 5), roughly as many as it was trained on, it is cheaper in all. The interval is wide; one seed of three fell 0.002 nats short and was trained further.
#
# ## 12 · What did the 65B cost?
#
# The paper says: 65B parameters, 1.4 T tokens, 2,048 A100 GPUs with 80 GB, "around 380 tokens/sec/GPU", about 21 days (section 2.4). Do these numbers agree with each other?
#
# > **Predict first.** What share of an A100's 312 TFLOP/s did the training use: 10 %, 50 % or 90 %?

# %%
# NBVAL_CHECK_OUTPUT
N, D, gpus, rate, peak = parameters["65B"], 1.4e12, 2048, 380, 312e12  # peak: A100, bf16, dense
days = D / (rate * gpus) / 86_400
print(f"{rate} × {gpus:,} = {rate * gpus:,} tokens a second; 1.4 T tokens take {days:.1f} days")
print(f"training: 6ND = {6 * N * D:.2e} FLOPs")
used = 6 * N * rate
print(f"a GPU: 6N × {rate} = {used / 1e12:.0f} TFLOP/s of {peak / 1e12:.0f}: MFU {used / peak:.0%}")
print(f"GPU-hours: {D / rate / 3600:,.0f}")
assert 20 < days < 21.5 and 0.46 < used / peak < 0.5

# %% [markdown]
# 20.8 days: everything fits, if the rate is *per GPU*. An MFU of 48 % is very good. The same sum for all four sizes, from the paper's GPU-hours (table 15):

# %%
HOURS = {"7B": 82_432, "13B": 135_168, "33B": 530_432, "65B": 1_022_362}  # table 15
plots.utilisation(
    {
        f"LLaMA-{name}": (
            hours,
            6 * parameters[name] * PAPER_TOKENS[name] / (hours * 3600 * 312e12),
        )
        for name, hours in HOURS.items()
    }
)

# %% [markdown]
# ## 13 · What came of it
#
# Zero-shot accuracy minus GPT-3's, on the seven benchmarks of common sense and reading that both report (table 3 of the paper; SIQA has no GPT-3).

# %%
plots.zero_shot()


# %%
# NBVAL_CHECK_OUTPUT
gpt3, ours13 = (plots.ZERO_SHOT[name] for name in ("GPT-3 175B", "LLaMA-13B"))
better = [
    benchmark
    for benchmark, a, b in zip(plots.BENCHMARKS, gpt3, ours13, strict=True)
    if a is not None and b > a
]
compared = sum(a is not None for a in gpt3)
print(f"LLaMA-13B is better on {len(better)} of {compared}: {', '.join(better)}")


# %% [markdown]
# "On most benchmarks" holds; look also at PIQA and OpenBookQA, where it does not. The 65B is close to Chinchilla (70B) and PaLM (540B), but behind both on MMLU, an exam in 57 subjects.
#
# A base model only continues text. Making it follow instructions is the subject of LLaMA-Adapter, a lecture to come.

# %% [markdown]
# ## Claims
#
# The headline claims, measured by full experiments (`vlcourse claims` repeats them); a rule computes each verdict.

# %%
# NBVAL_CHECK_OUTPUT
claims.table(["llama.architecture", "llama.pre_norm", "llama.inference_budget", "llama.cache"])

# %%
claims.stored("llama.architecture")


# %% [markdown]
# All arms have the same number of parameters, data and steps, and each its best learning rate. Together the three changes save 0.08 nats, nearly all of it by the rotary positions; RMSNorm alone makes no clear difference, and its case is less arithmetic.
# Four seeds at toy scale show that an effect is there, not how large it is at 7B. The sizes and budgets of `llama.inference_budget`, the rate that decides `llama.pre_norm` and the lengths in `llama.cache` were chosen after trials.

# %% [markdown]
# ## Scale it up
#
# The four published sizes are recipes, with the numbers of the paper's table 2 and section 2.3:

# %%
# NBVAL_CHECK_OUTPUT
for name in PRESETS:
    paper = RECIPES[f"llama-{name.lower()}"].train
    print(
        f"llama-{name.lower():4} lr {paper.lr:.1e} → {paper.min_lr:.0%}, warm-up {paper.warmup:,},"
        f" β {paper.beta1}, {paper.beta2}, decay {paper.weight_decay}, clip {paper.clip_norm},"
        f" {paper.batch_size:,} × 2,048 tokens a step,"
        f" {paper.steps * paper.batch_size * 2048 / 1e12:.2f} T tokens"
    )

# %% [markdown]
# ```bash
# vlcourse train llama-7b --help                                    # every number, with its meaning
# torchrun --nnodes 256 --nproc-per-node 8 -m vlcourse train llama-65b data.source=FOLDER data.tokenizer=tokenizer.model
# ```
#
# `FOLDER` holds your own text, cleaned; the paper's mixture was not published as files. The recipes use *FSDP* (fully sharded data parallel): each GPU reads its own texts, but stores only its share
# of weights, gradients and optimiser state, and fetches the rest when needed. On one GPU take `run.parallel=none`, a small `train.batch_size` and `train.accumulate`: for a language
# model, unlike for CLIP, accumulating *is* the same as a bigger batch, because no text's loss depends on the other texts. *More · Memory sums* says what fits where.

# %% [markdown]
# ## Corrections
#
# Where the lecture's slides, or common claims, disagree with the paper or its code:
#
# 1. **"About 1.4 TB tokens"** is 1.4 T: trillions of tokens, not terabytes; 7B and 13B read 1.0 T. **"Billions of tokens"** (数十亿) is a thousand times too few.
# 2. **"The dimension grows from 4d to 34d/3"**: the fraction lost its bar. It *shrinks*, to $\tfrac23 \cdot 4d = \tfrac83 d$.
# 3. **"About 380 tokens a second"** is per GPU. Otherwise the training would have taken more than a century.
# 4. **"Pre-norm and RMSNorm, inspired by GPT-3"**: GPT-3 has LayerNorm. RMSNorm is from Zhang and Sennrich 2019.
# 5. **"One tenth of the size"**: 13 of 175 is 1/13. (The paper's introduction and conclusion say 10×, too.)
# 6. **"RoPE, inspired by GPTNeo, supports longer contexts"**: RoPE is from Su et al. 2021; GPT-Neo itself has absolute positions. RoPE does not extrapolate by itself.
# 7. **"Runs on a single GPU"**: the paper says that of the 13B. The 65B has 131 GB of weights in 16 bits.
# 8. **"Gutenberg + Books3: books in the public domain"**: Gutenberg is. Books3 holds books under copyright and was withdrawn.
# 9. **The cleaning pipeline** of the slides lacks the paper's last step, the classifier for pages like those that Wikipedia cites.
# 10. **"Open source"** (开源): the code was; the weights came on request, for research only.

# %% [markdown]
# ## Recap
#
# - **Idea.** Use costs $2N$ a token for ever, training $6ND$ once: train a smaller model for longer.
# - **Data.** Public sources; two thirds web, cleaned by line dedup, language and perplexity. Each filter has its taste.
# - **Model.** Pre-norm with RMSNorm, SwiGLU at 2/3 of the width (a gate), RoPE (relative positions without parameters, no free extrapolation). $N \approx 12 d^2 \cdot$ layers.
# - **Writing.** The KV cache makes each token cost the same, for $4 \cdot \text{layers} \cdot d$ bytes a token in 16 bits. Temperature and nucleus choose between safe and varied.
# - **Reading.** A small model can learn to bind words of a text that it has just read; the ability appears suddenly.
# - **Cost.** $6ND$ over the hardware's peak and an MFU: 65B on 2,048 A100s takes 20.8 days at 48 %.

# %% [markdown]
# ## Quiz
#
# **1.** Your language model starts with a loss of 10.4 nats at a vocabulary of 32,000. Is something wrong?
#
# <details><summary>Answer</summary>
#
# No: log 32,000 = 10.37. Before training, all tokens are about equally likely. A start far *above* that means that the logits are too large at initialisation.
#
# </details>
#
# **2.** RMSNorm(x + c) and LayerNorm(x + c), with the same number c added to all channels: what happens?
#
# <details><summary>Answer</summary>
#
# LayerNorm subtracts the mean, so nothing changes. RMSNorm's result changes: the common shift is one direction like any other.
#
# </details>
#
# **3.** A model with rotary positions was trained on 2,048 tokens and is given 4,000. Does it fail with an error?
#
# <details><summary>Answer</summary>
#
# No, and that is the danger: every formula works, and the answers get bad. The slow pairs reach angles that never occurred in training.
#
# </details>
#
# **4.** You write one text with a 7B model in 16 bits on a GPU that reads 2 TB a second. How many tokens a second at most?
#
# <details><summary>Answer</summary>
#
# Each token reads 13.5 GB of weights: about 150 a second, however fast the GPU computes. 16 texts at once give nearly 16 times as many tokens, because one reading of the weights serves all.
#
# </details>
#
# **5.** A 7B model has read 140 billion tokens, as Chinchilla's rule says. You have ten times the compute. Larger, or longer?
#
# <details><summary>Answer</summary>
#
# For the lowest loss at this training cost: both, about $\sqrt{10}$ times each. If many people will use it: longer, at the same size. That is LLaMA.
#
# </details>

# %% [markdown]
# ## More · Cleaning in detail
#
# One line of each kind from our web, with what it is in truth:

# %%
# NBVAL_CHECK_OUTPUT
examples = {}
for page in web:
    for line in page.lines:
        examples.setdefault(line.kind, line.text)
for kind in cleaning_pages.KINDS:
    print(f"{kind:15} {examples[kind][:100]}{'…' * (len(examples[kind]) > 100)}")
print(len(web), "pages with", sum(len(page.lines) for page in web), "lines")

# %% [markdown]
# **Step 1.** Lines are compared after lower-casing, without punctuation, and with every number as 0, so that
# *Page 3 of 12* equals *Page 7 of 9*. The first copy stays.

# %%
show.source(cleaning.without_repeats)


# %% [markdown]
# **Step 2** is naive Bayes on runs $g$ of one to three characters: $P(\text{language} \mid \text{text}) \propto \prod_{g} P(g \mid \text{language})$. It looks at a page *after* the repeated lines
# are gone, because an English menu would make a French page look English.

# %%
# NBVAL_CHECK_OUTPUT
for phrase in ("the river is near", "der fluss ist nah", "la rivière est proche", "河很近", "taxi"):
    best = languages.language(phrase)
    print(f"{phrase:22} {best:8} {languages.probabilities(phrase)[best]:.2f}")

# %% [markdown]
# **Step 3.** The perplexity of a page with words $w_1, \dots, w_n$ is $\exp(-\frac1n \sum_i \log P(w_i \mid w_{i-2}, w_{i-1}))$. A trigram that was never seen must not get probability 0, so each order passes
# a part $\delta$ of its counts down to the order below (interpolated Kneser–Ney; Kneser and Ney 1995):
#
# $$P(w \mid u v) = \frac{\max(c(u v w) - \delta,\, 0)}{c(u v)} + \frac{\delta \cdot n(u v\,\cdot)}{c(u v)}\, P(w \mid v),$$
#
# where $c$ counts occurrences and $n(u v\,\cdot)$ is the number of different words that follow $u v$. In the lower orders, $c$ counts in *how many different contexts* a word occurs: "francisco" may
# be frequent, but it follows only "san", and it is a poor guess after an unknown word.

# %%
show.source(cleaning.KneserNey.probability)


# %% [markdown]
# The limit is a choice too. Ours lets 99 % of other good pages pass. To the reference, text about another topic is as strange as scrambled words:

# %%
by_kind = defaultdict(list)
for page in cleaning.stages(web, languages, good_text, LIMIT)["English only"]:
    true_kinds = Counter(line.kind for line in page.lines if line.kind != "boilerplate")
    if true_kinds:
        by_kind[true_kinds.most_common(1)[0][0]].append(good_text.perplexity(page.text))
plots.perplexities(by_kind, LIMIT)

# %% [markdown]
# ## More · SentencePiece BPE
#
# Learning is the same loop as in lecture 01: join the most frequent pair of neighbours, again and again, never across a space.

# %%
# NBVAL_CHECK_OUTPUT
learned = train_sentence_bpe(texts, vocab_size=10_000)
merges = [piece.text for piece in learned if piece.kind == "normal" and len(piece.text) > 1]
print(len(learned), "pieces:", Counter(piece.kind for piece in learned).most_common())
print("first merges:", *merges[:14])
print("last merges: ", *merges[-8:])


# %% [markdown]
# How large should a vocabulary be? More pieces make shorter texts, so each forward pass covers more text. But each piece needs an embedding and
# a row of the head, and rare ones see little training. And the gain shrinks:

# %%
sizes, few = [], texts[:60]
special = [piece for piece in learned if piece.kind != "normal"]
normal = [piece for piece in learned if piece.kind == "normal"]
characters = [piece for piece in normal if len(piece.text) == 1]
for count in range(0, len(merges) + 1, 25):
    smaller = sentence_bpe.FastSentenceBPE([*special, *normal[:count], *characters])
    n_tokens = sum(len(smaller.encode(text)) for text in few)
    per_token = sum(map(len, few)) / n_tokens
    sizes.append({"size": smaller.vocab_size, "characters a token": per_token})
show.curve(
    sizes,
    ["characters a token"],
    x="size",
    xlabel="vocabulary (pieces)",
    ylabel="characters a token",
)


# %% [markdown]
# Once learned, a vocabulary is a table of pieces with scores: the earlier a piece was learned, the higher its score. To **encode** a text
#
# 1. mark the spaces: put `▁` in front of the text and in place of each space; then every character is a symbol;
# 2. as long as two neighbours together make a piece of the table, join the two whose piece has the **highest score**
#    (of equal scores the leftmost), one pair at a time;
# 3. a symbol that is no piece (it is then a single character) becomes its **UTF-8 bytes**, each written `<0xE7>`: two hexadecimal digits, in capitals.
#
# The 256 byte pieces are always part of the vocabulary and do not stand in `scores`. So no text is ever unknown, and nothing is lost.
#
# **Exercise · A text in pieces, with bytes for the rest** (15 minutes, difficulty 3 of 3).


# %%
# NBVAL_CHECK_OUTPUT
@exercise("llama.bpe")
def encode_bpe(text, scores):
    """A text, {piece: score} → the list of its pieces, "<0xNN>" for bytes."""
    ### BEGIN SOLUTION
    symbols = list("▁" + text.replace(" ", "▁"))
    while True:
        pairs = enumerate(zip(symbols, symbols[1:], strict=False))
        places = [(scores[a + b], -i) for i, (a, b) in pairs if a + b in scores]
        if not places:
            break
        i = -max(places)[1]  # the best score, and of equal ones the leftmost
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    pieces = []
    for symbol in symbols:
        if symbol in scores:
            pieces.append(symbol)
        else:
            pieces += [f"<0x{byte:02X}>" for byte in symbol.encode("utf-8")]
    return pieces
    ### END SOLUTION


# %% [markdown]
# Yours and the library's, on the vocabulary of the course's language models:

# %%
# NBVAL_CHECK_OUTPUT
piece_scores = {piece.text: piece.score for piece in tokenizer.pieces if piece.kind == "normal"}
for phrase in ("a small red circle", "circles", "红 circle", "¡olé!", "2023"):
    yours = encode_bpe(phrase, piece_scores)
    assert yours == [tokenizer.piece(i) for i in tokenizer.encode(phrase)]
    print(f"{phrase!r:22}", *yours)

# %% [markdown]
# (The tokenizer of the published LLaMA is a file: `tokenizers.llama("tokenizer.model")` reads it, if you have one.)
#
# ## More · What a norm keeps, and what it costs
#
# Vectors of two channels, before and after each norm. (In two dimensions LayerNorm leaves two points; in 4,096 the missing direction hardly matters.)

# %%
torch.manual_seed(0)
points, weights2 = torch.randn(60, 2), torch.ones(2)
figures_parts.norms(points, F.layer_norm(points, (2,)), rms_norm(points, weights2, 1e-6))


# %%
# NBVAL_CHECK_OUTPUT
wide, ones = torch.randn(5, 64), torch.ones(64)
for name, norm in (
    ("LayerNorm", lambda x: F.layer_norm(x, (64,))),
    ("RMSNorm", lambda x: rms_norm(x, ones, 1e-6)),
):
    larger = torch.allclose(norm(10 * wide), norm(wide), atol=1e-4)
    shifted = torch.allclose(norm(wide + 3), norm(wide), atol=1e-4)
    print(f"{name:10} the same for 10·x: {larger!s:6} the same for x + 3: {shifted}")


# %% [markdown]
# And the time? Each statistic is one more pass over the data, and norms cost memory traffic rather than arithmetic. On this machine, 512 tokens of LLaMA-7B's width:


# %%
def milliseconds(function, repeats=20):
    function()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return 1000 * (time.perf_counter() - start) / repeats


def layer_norm_in_steps(x, weight, bias):
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred * torch.rsqrt(variance + 1e-5) * weight + bias


states, weight = torch.randn(512, 4096), torch.ones(4096)
square = torch.randn(4096, 4096)
cost = {
    "LayerNorm,\nin steps": milliseconds(lambda: layer_norm_in_steps(states, weight, weight)),
    "RMSNorm,\nin steps": milliseconds(lambda: rms_norm(states, weight, 1e-6)),
    "LayerNorm,\none kernel": milliseconds(lambda: F.layer_norm(states, (4096,), weight, weight)),
    "one of the 7\nmatrices": milliseconds(lambda: states @ square, repeats=2),
}
show.bars(cost, ylabel="time (ms)", percent=False)


# %% [markdown]
# Written out, RMSNorm is cheaper than LayerNorm: it makes fewer passes. But one good kernel, which reads the data once, changes more than
# the formula does, and beside a single one of the block's matrices every norm is small. Zhang and Sennrich report 7 to 64 % less
# time *for whole models*, small ones, with the software of 2019. Today the gain is simplicity, half of the norm's weights, and some per cent of the time.

# %%
show.source(layers_block.rms_norm)


# %% [markdown]
# ### The place of the norm, live
#
# Thirty steps of a deep stack, one seed, without warm-up. Small differences mean nothing here; the large one does (the black line knows only how frequent each token is):


# %%
class Layer(nn.Module):
    """Attention and MLP with a norm of either kind, behind the sum or in the branch."""

    def __init__(self, norm, after, width=64):
        super().__init__()
        self.attention, self.mlp = Attention(width, 4), MLP(width, 4 * width)
        self.norm1, self.norm2, self.after = norm(width), norm(width), after

    def forward(self, x):
        if self.after:
            x = self.norm1(x + self.attention(x, causal=True))
            return self.norm2(x + self.mlp(x))
        x = x + self.attention(self.norm1(x), causal=True)
        return x + self.mlp(self.norm2(x))


stream = torch.tensor([i for text in texts[:400] for i in tokenizer.encode(text)])


def short_training(norm, after, lr, steps, depth=8, length=32):
    """Mean loss (nats) of the last steps of a short training."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Embedding(tokenizer.vocab_size, 64),
        *(Layer(norm, after) for _ in range(depth)),
        nn.Identity() if after else norm(64),
        nn.Linear(64, tokenizer.vocab_size),
    )
    optimizer, losses = torch.optim.AdamW(net.parameters(), lr), []
    for _ in range(steps):
        starts = torch.randint(len(stream) - length, (4, 1))
        rows = stream[starts + torch.arange(length + 1)[:-1]]
        loss = F.cross_entropy(net(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-5:]) / len(losses[-5:])


# %%
rates = (1e-3, 1e-2, 3e-2)
ways = {
    "LayerNorm after the sum (2017)": (nn.LayerNorm, True),
    "LayerNorm in the branch (GPT-2)": (nn.LayerNorm, False),
    "RMSNorm in the branch (LLaMA)": (RMSNorm, False),
}
trained = {
    name: [short_training(*way, rate, steps=quick(30, 2)) for rate in rates]
    for name, way in ways.items()
}
share = stream.bincount().float() / len(stream)
ignorant = float(-(share[share > 0] * share[share > 0].log()).sum())
if not is_quick():
    assert (
        trained["LayerNorm after the sum (2017)"][1] > trained["RMSNorm in the branch (LLaMA)"][1]
    )
figures_parts.stability(trained, rates, ignorant)

# %% [markdown]
# ## More · Products and kinks
#
# Is a gate better? At equal numbers of weights, let each layer learn two functions of 16 inputs: a **product** of neighbours, and a **kink**, the absolute value.
#
# > **Predict first.** Which layer wins on the product, and which on the kink?


# %%
def learn(layer, target, steps):
    """The loss at each step of training ``layer`` on random inputs."""
    torch.manual_seed(1)
    optimizer, losses = torch.optim.Adam(layer.parameters(), 5e-3), []
    for _ in range(steps):
        x = torch.randn(128, 16)
        loss = F.mse_loss(layer(x), target(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def layers_to_compare():
    torch.manual_seed(0)
    up, down = (16, 96), (96, 16)
    plain = {
        name: nn.Sequential(nn.Linear(*up, bias=False), kind(), nn.Linear(*down, bias=False))
        for name, kind in (("ReLU, hidden 96", nn.ReLU), ("GELU, hidden 96", nn.GELU))
    }
    return {**plain, "SwiGLU, hidden 64": SwiGLU(16, 64)}


counted = {sum(p.numel() for p in layer.parameters()) for layer in layers_to_compare().values()}
assert counted == {3072}  # the same for all three
targets = {
    "a product: xᵢ · xᵢ₊₁": lambda x: x * x.roll(1, dims=1),
    "a kink: |xᵢ|": lambda x: x.abs(),
}
losses_of = {
    target: {n: learn(layer, f, quick(400, 20)) for n, layer in layers_to_compare().items()}
    for target, f in targets.items()
}
figures_parts.learned(losses_of)


# %% [markdown]
# SwiGLU multiplies, so products come easily; it must patch a kink together, and there ReLU, which *is* a kink, wins by far. No layer is better at everything.
#
# ## More · Other layouts of the same weights
#
# Meta's files and the transformers library name the tensors differently, which is easy. One difference is not a name: **which channels form a pair.** Meta turns neighbours, $(x_0, x_1)$; transformers turns $x_j$ with $x_{j + d_h/2}$. Attention does not care, as long
# as the rows of $W_q$ and $W_k$ are put into the matching order. If you forget it, you get a model that loads and writes nonsense:

# %%
# NBVAL_CHECK_OUTPUT
torch.manual_seed(0)
little = LLaMAConfig(vocab_size=50, width=32, layers=2, heads=4).build().eval()
theirs, config_ = weights.to_transformers(little)
print(
    "model.layers.0.self_attn.q_proj.weight",
    tuple(theirs["model.layers.0.self_attn.q_proj.weight"].shape),
)
ours = little.blocks[0].attention.q.weight
moved = theirs["model.layers.0.self_attn.q_proj.weight"]
print(
    "rows of head 0 there are our rows",
    [int((ours == row).all(1).nonzero()[0, 0]) for row in moved[:8]],
)
official, params = weights.to_official(little)
back = weights.from_official(official, params)
ids50 = torch.randint(50, (1, 9))
print("there and back, the same logits:", torch.equal(back(ids50), little(ids50)))


# %% [markdown]
# Real weights come in with `weights.from_official(folder)` or `weights.from_hf(folder_or_hub_id)`. Loading is strict: a tensor that is missing or left over is an error.
#
# ## More · Top-p, and quality against variety
#
# **Exercise · Top-p, the filter of nucleus sampling** (10 minutes, difficulty 2 of 3). Tokens outside the nucleus get the logit $-\infty$, and the
# others keep theirs.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("llama.top_p")
def top_p(logits, p):
    """(…, V) logits, 0 < p ≤ 1 → (…, V): -inf outside of the nucleus."""
    ### BEGIN SOLUTION
    shares, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
    before = shares.cumsum(dim=-1) - shares  # what the more probable tokens hold together
    kept = (before < p).gather(-1, order.argsort(dim=-1))  # back in the order of the vocabulary
    return logits.masked_fill(~kept, -math.inf)
    ### END SOLUTION


# %%
# NBVAL_CHECK_OUTPUT
words = ("red", "blue", "green", "cross", "of")
moods = {"sure": (0.92, 0.04, 0.02, 0.01, 0.01), "unsure": (0.3, 0.28, 0.25, 0.1, 0.07)}
for mood, probabilities in moods.items():
    left = top_p(torch.tensor(probabilities).log(), 0.9).softmax(dim=-1).tolist()
    print(f"{mood:7}", {word: round(share, 2) for word, share in zip(words, left, strict=True)})


# %%
show.source(sampling.top_p_filter)


# %% [markdown]
# One beginning, several ways, by the shipped reader, which has read stories too:

# %%
ways_to_write = {
    "greedy": {},
    "T = 0.7": {"temperature": 0.7},
    "T = 1": {"temperature": 1.0},
    "T = 1, top-p 0.9": {"temperature": 1.0, "top_p": 0.9},
    "T = 1.5": {"temperature": 1.5},
    "T = 1.5, top-p 0.9": {"temperature": 1.5, "top_p": 0.9},
}
for name, how in ways_to_write.items():
    print(f"[{name}] {write(reader, 'one day', seed=3, **how)[0]}\n")

# %% [markdown]
# Now with numbers. The n-gram model of section 2 judges how strange a text is, and the share of different word triples in 32 texts says how varied they are.
#
# > **Predict first.** Which way comes closest to real stories in both numbers?

# %%
table = {}
stories = {name: write(reader, "one day", rows=32, **how) for name, how in ways_to_write.items()}
stories["real stories"] = documents(32, seed=24, mixture=(0, 0, 0, 100))
for name, written in stories.items():
    triples = [
        t for text in written for t in zip(*(text.split()[i:] for i in range(3)), strict=False)
    ]
    table[name] = sum(map(good_text.perplexity, written)) / len(written)
    varied = len(set(triples)) / len(triples)
    print(f"{name:18} perplexity {table[name]:7.1f}, different triples {varied:4.0%}")
if not is_quick():
    assert table["T = 1.5"] > 1.5 * table["T = 1.5, top-p 0.9"]

# %% [markdown]
# Greedy text is always the same and therefore not varied at all. Drawing at $T = 1$ comes close to real stories, because that is what training fits: the distribution of the texts. A higher temperature buys more variety with mistakes. A nucleus changes little at $T = 1$,
# where our model's tail is clean already; at $T = 1.5$ it takes away the mistakes, and with them the variety. A large model's tail is less clean, so it is common to draw stories at a $T$ of about 1 with top-p 0.9 or 0.95, and answers to questions greedily or at a low temperature.
#
# ## More · A diary of trials
#
# The lessons of `llm-toy`, with an example of each:

# %%
# NBVAL_CHECK_OUTPUT
recipe = RECIPES["llm-toy"]
curriculum = recipe.build_data("train")
for stage, first_step in lessons("llm-toy").items():
    lesson = curriculum[recipe.train.batch_size * first_step + 4]["text"]
    print(f"{stage}, from step {first_step:,}: {lesson[:200]} … {lesson[-60:]}\n")

# %% [markdown]
# The odd little questions have their reasons. Take *pairs* ("circle? square above."). Whether the circle is above the square depends on which of them was named first *and* on which word was used: exchange either, and the answer is the opposite. Each alone says nothing, so no step in a good direction
# is rewarded. (This is an exclusive or.) Asked by yes or no alone, relations stayed a coin toss in all our trials, for as long as we looked: 800 steps on lists, and 2,000 on descriptions. Naming the *partner* can be learned at once, and with both names at hand, the relation follows. The fourth
# stage asks the same with the relation first, and by yes or no; the fifth asks about relations and comparisons in whole descriptions, and only then comes everything.
#
# The *order* of the lessons counts too. *Sizes* asks for "the large circle" where there is also a small one: one word does not find it. Our first reader had no such lesson. It found what one word finds, and tossed a coin here, as it did for "bigger". We then gave it such lists for more than a thousand further steps: it learned "bigger", and "the large circle" stayed a coin toss.
# Right after *things*, both are learned within 300 steps. (Why? We can only guess: a model that does well with one word is hard to move.)
#
# A kind of question may have an easy half and a hard one, and an average hides it. So take the kinds apart: "by size" are questions about colour or shape that only the size decides, "bigger" the comparisons that ask about sizes and not about numbers.

# %%
hits_of = defaultdict(list)
verdicts = reading.answers_right(reader, answers_only, [parts for _, _, parts in asked])
for (asked_scene, asked_question, _), hit in zip(asked, verdicts.tolist(), strict=True):
    hits_of[topic(asked_question, asked_scene)].append(hit)
for name, found in hits_of.items():
    print(f"{name:11} {sum(found) / len(found):6.1%} of {len(found)}")

# %% [markdown]
# The course has a second reader, `seq2seq-toy`: an encoder–decoder, which BLIP-2 will need. Its encoder reads description and question, and its decoder writes the answer. The lessons are the same, at other lengths:

# %%
about = zoo.card("seq2seq-toy")
print(f"{about['parameters']:,} parameters, {about['steps']:,} steps")
plots.emergence(zoo.log("seq2seq-toy"), guessing(), lessons("seq2seq-toy"))

# %% [markdown]
# One thing was different. At first its encoder read the description only, and all questions were put to the decoder, many in a row. The loss went to nearly nothing; yet a question that the *encoder* read was answered by guessing. A network learns what its loss asks for, and nothing else.
# Now the encoder reads every question about a description, one at a time (`PrefixCollate`). (Is a mixture worse? In one trial a quarter of the batches kept the old way, and counting stood at 56 % after 560 steps in the last stage. In three trials without them it stood at 63, 80 and 83 %: a hint, and no more.)
#
# ## More · Beyond the length of the training
#
# How many tokens does each pair of a head need for one full turn?

# %%
figures_parts.wavelengths()

# %% [markdown]
# The pairs in orange-red never complete one in training. Remedies rescale the angles: "NTK-aware" scaling enlarges $\theta$ and helps even without training (bloc97 2023, a public post);
# position interpolation (Chen et al. 2023) needs a short fine-tuning. And our reader? The description stands at the beginning, and we go on asking until the questions stand far beyond the longest document of the training.
#
# > **Predict first.** Will accuracy fall at once beyond the longest training text, slowly, or not at all?

# %%
read_before = RECIPES["llm-toy"].build_data("train")
longest = max(
    len(tokenizer.encode(s["text"]))
    for s in read_before.__getitems__(range(len(read_before) - 300, len(read_before)))
)
long_texts = Corpus(
    "test", quick(48, 6), seed=33, mixture=(100, 0, 0, 0), objects=(4, 4), asked=200, brief=0
)
BIN = 50  # tokens
hits_at = defaultdict(list)
with torch.inference_mode():
    for start in range(0, len(long_texts), 6):
        six = TextCollate(tokenizer, context=2000)(long_texts.__getitems__(range(start, start + 6)))
        best_ids = reader(six["tokens"]).argmax(dim=-1)
        for row, place in (six["targets"] != IGNORED).nonzero().tolist():
            if six["targets"][row, place] != tokenizer.eos:
                hit = bool(best_ids[row, place] == six["targets"][row, place])
                hits_at[place // BIN].append(hit)
right = [100 * sum(h) / len(h) if (h := hits_at[i]) else math.nan for i in range(max(hits_at) + 1)]
figures_parts.by_position({"tokens of answers": right}, BIN, longest, "answer tokens right (%)")

# %% [markdown]
# Left of the line, the questions stand at distances from the description that occurred in training. Right of it the questions are no harder (the hardest come up first), but the description is farther away than ever before. The score still depends on the distance alone;
# the model just never learned what to do with *this* distance.
#
# ## More · Memory sums
#
# The cache: two vectors for each layer and token, 2 bytes a number.

# %%
# NBVAL_CHECK_OUTPUT
for name, shape in PRESETS.items():
    a_token = 2 * shape.layers * shape.width * 2  # keys and values, 2 bytes each
    print(
        f"{name:4} weights {2 * parameters[name] / 1e9:6.1f} GB, cache {a_token / 2**20:4.2f} MiB a token,"
        f" {a_token * 2048 / 2**30:4.2f} GiB at 2,048 tokens; for 64 texts {64 * a_token * 2048 / 2**30:5.0f} GiB"
    )


# %% [markdown]
# 64 texts at 7B need five times the memory of the weights. Later models therefore share keys and values among heads (*grouped-query attention*, `kv_heads` in our config; LLaMA-1 does not).
#
# Training: AdamW keeps, for each weight, the weight itself, its gradient and two moments: 16 bytes in float32. FSDP spreads them over all GPUs.

# %%
# NBVAL_CHECK_OUTPUT
for name, count in parameters.items():
    state = 16 * count / 1e9
    flops = 6 * count * PAPER_TOKENS[name]
    print(
        f"{name:4} state {state:5,.0f} GB: at least {math.ceil(state / 80):2} GPUs of 80 GB, {state / 2048:.2f} GB on each of 2,048;"
        f" at 40 % of an H100's 989 TFLOP/s {flops / (0.4 * 989e12) / 3600:9,.0f} GPU-hours"
    )


# %% [markdown]
# The rest is activations. The authors kept those that are expensive to compute and recomputed the others (section 2.4); `run.checkpointing=true` keeps only each block's input.
#
# And the paper's recipe beside the toy's:
#
# | | the paper | `llm-toy` |
# |---|---|---|
# | parameters | 6.7 to 65.3 billion | 230,592 |
# | tokens | 1.0 or 1.4 T, most of them once | drawn on demand |
# | batch | 4 M tokens | some thousand |
# | optimiser | AdamW, β 0.9 and 0.95, weight decay 0.1, clip 1.0 | AdamW, β 0.9 and 0.98, weight decay 0.3, clip 1.0 |
# | learning rate | 3e-4 (7B, 13B), 1.5e-4 (33B, 65B), 2,000 warm-up steps, cosine to 10 % | 1.8e-3, 50 warm-up steps, cosine to 10 % |
# | context | 2,048 | 512 |
# | loss on | every token | answers only, in reading documents |
# | hardware | 2,048 A100s, 21 days (65B) | two cores, 16 minutes |
#
# ## More · Questions
#
# **1.** Why does the language filter come after the removal of repeated lines?
#
# <details><summary>Answer</summary>
#
# Pages in other languages carry English boilerplate. With it, a short French page looks English.
#
# </details>
#
# **2.** SwiGLU has three matrices. Does a block with SwiGLU have more parameters than one with an MLP?
#
# <details><summary>Answer</summary>
#
# Not if the hidden size is 8d/3 instead of 4d: three times 8/3 is two times 4. Rounding up to a multiple of 256 adds a per cent or so.
#
# </details>
#
# **3.** Why does RoPE not turn the values?
#
# <details><summary>Answer</summary>
#
# Positions should decide *who looks at whom*, which is the business of query and key. The result of attention is a sum of values from many positions; turned values would mix absolute positions into the content.
#
# </details>
#
# **4.** The most probable token has 95 %. How many tokens does top-p 0.9 keep, and how many top-k 40?
#
# <details><summary>Answer</summary>
#
# One, and forty, of which 39 share the last 5 % at most.
#
# </details>
#
# **5.** May you change a key in the cache once the next token is known?
#
# <details><summary>Answer</summary>
#
# There is no reason to: under the causal mask a state depends only on the tokens before it. In a model that looks in both directions, every state would change, and a cache would be wrong.
#
# </details>
#
# **6.** Your model reaches 50 % on "is there a red circle?" and 12 % on "what colour is the star?", with 8 colours. What has it learned?
#
# <details><summary>Answer</summary>
#
# That the answer to the first is yes or no, and to the second a colour: the form, and nothing of the text. Both numbers are what guessing gives.
#
# </details>
#
# **7.** Two tokens have logits 2 and 1. What are the odds between them at T = 1, T = 0.5 and T = 2?
#
# <details><summary>Answer</summary>
#
# $e^{1/T}$: 2.7 to 1, 7.4 to 1, and 1.6 to 1.
#
# </details>
#
# **8.** 33B and 65B were trained on the same 1.4 T tokens. By Chinchilla's rule, which of them is undertrained?
#
# <details><summary>Answer</summary>
#
# Neither: 20 tokens a parameter are 0.65 T and 1.3 T. The 33B has read twice the rule, the 65B just above it.
#
# </details>
#
# **9.** You clean the web with an n-gram model of Wikipedia. What is missing from your corpus afterwards, and would another limit help?
#
# <details><summary>Answer</summary>
#
# Good text of another kind: conversations, dialects, fiction. A lower limit throws away more of it; a higher one keeps more of everything, scrambled text included. You need another reference, not another limit.
#
# </details>
