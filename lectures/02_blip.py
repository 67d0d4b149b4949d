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
# # 02 · BLIP: one model that understands and generates
#
# *Bootstrapping Language-Image Pre-training*: Li et al. 2022,
# "BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and Generation", arXiv 2201.12086.
#
# **75 minutes to read**: about 25 of reading and 50 of exercises · **2 minutes to run** on two CPU cores.
# The folded sections called *More* at the end add about 10 minutes.
#
# CLIP compares a picture with a text, but it cannot write one, and it barely notices who stands where. BLIP adds both
# abilities to one network. You will write its key pieces, train a small BLIP with all three losses, and watch a
# trained one find, check, describe and answer. (How BLIP cleans its own training data is the next lecture.)

# %% [markdown]
# ## Objectives
#
# After this lecture you can
#
# 1. say why a comparer cannot write, and why a writer is a slow comparer;
# 2. draw the three modes of BLIP's text model, with their masks, and write the cross-attention block;
# 3. say which parts the modes share, and count what that saves;
# 4. write the targets of each loss: soft targets, hard negatives, the next token;
# 5. assemble a BLIP from your own functions, train it, and judge its loss curves;
# 6. use it: search and re-rank, check a caption, describe a picture, answer a question;
# 7. see where a word looks in the picture.

# %% [markdown]
# ## Terms
#
# | term | Chinese | meaning here |
# |---|---|---|
# | understanding and generation | 理解与生成 | judging a given text, and writing a new one |
# | mixture of encoder–decoder, MED | 编码器-解码器混合模型 | one text network that can run in three modes |
# | cross-attention | 交叉注意力 | queries from the text, keys and values from the image |
# | image–text contrast, ITC | 图文对比 | compare two vectors, as CLIP does |
# | image–text matching, ITM | 图文匹配 | look at both together and say yes or no |
# | language modelling, LM | 语言建模 | predict the next token |
# | momentum encoder | 动量编码器 | a slowly moving average of an encoder |
# | soft target | 软目标 | a label mixed with a teacher's opinion |
# | hard negative | 困难负样本 | a wrong pair that looks right |
# | re-ranking | 重排序 | order the best few again, with a slower and better judge |
# | label smoothing | 标签平滑 | give a little of the label to every token |

# %%
import math

import torch
from einops import rearrange
from torch.nn import functional as F

from vlcourse import losses, zoo
from vlcourse.data import world
from vlcourse.data.collate.pictures import normalise
from vlcourse.evals import captions as caption_evals
from vlcourse.evals import matching, metrics, rerank, vqa
from vlcourse.layers.momentum import FeatureQueue, Momentum
from vlcourse.models.blip import BLIP, PRESETS
from vlcourse.models.med import MED, SHARING, MEDConfig
from vlcourse.models.med_parts import Role
from vlcourse.recipes import RECIPES
from vlcourse.teach import capstone, claims, quick, show
from vlcourse.teach.blip import figures, plots
from vlcourse.teach.exercise import answer, exercise

show.style()

# The names of your functions: the reference's, until yours pass.
switch_first = answer("blip.switch_first")
cross_block = answer("blip.cross_block")
soft_targets = answer("blip.soft_targets")
negative_odds = answer("blip.hard_negatives")
lm_targets = answer("blip.lm_targets")
blip_losses = answer("blip.model")

# What several sections use: a trained model, and 64 training pairs as it sees them.
blip = zoo.load("blip-toy")
recipe = RECIPES["blip-toy"]
tokenizer = recipe.tokenizer()
SIDE = blip.config.image.image_size  # 32 px
IDS = blip.config.text  # .cls, .sep, .enc, .dec

training_world = world.World("train", 64, SIDE, (1, 2), seed=5)
pairs = [training_world[i] for i in range(64)]
pictures = torch.stack([pair["image"] for pair in pairs])  # (64, 3, S, S) uint8
captions = [str(pair["caption"]) for pair in pairs]
pixels = normalise(pictures)
tokens, mask = tokenizer(captions)  # (64, L) ids, and True where there is text
with torch.no_grad():
    image_emb, seen = blip.look(pixels)  # (64, 128), and image tokens (64, 16, C)
    text_emb = blip.encode_text(tokens, mask)
image_emb, text_emb = F.normalize(image_emb, dim=-1), F.normalize(text_emb, dim=-1)


def smoothed_floor(vocabulary, smoothing):
    """The entropy of a smoothed label: what a decoder that is always right still pays, in nats."""
    spread = torch.full((vocabulary,), smoothing / vocabulary)
    spread[0] += 1 - smoothing
    return -(spread * spread.log()).sum().item()


def percent(hits):
    """The mean of zeros and ones in %, with its 95 % interval (bootstrap)."""
    low, high = metrics.bootstrap_interval(hits)
    return f"{hits.mean():.1%} ({low:.1%} to {high:.1%})"


# %% [markdown]
# ## 1 · Why both?
#
# Two families of models stood side by side in 2021, and each was good at half of the work.
#
# | | find the picture for a text | judge a pair closely | write a caption |
# |---|---|---|---|
# | **two towers** (CLIP): one vector each | fast | no: the towers never meet | no |
# | **encoder** (ALBEF): text beside image | with two towers below it | yes | no: it reads both ways |
# | **encoder–decoder** (SimVLM): image in, text out | very slow | only by how likely the text is | yes |
# | **BLIP** | fast, then closely | yes | yes |
#
# Why is a writer a slow searcher? It can score a caption by its probability, but each score needs a pass through the network
# *for that pair*. Two towers encode each side once, and a product of two matrices does the rest.
#
# > **Predict first.** 5,000 pictures and 25,000 captions (the size of COCO's test set). How many passes do two towers need, how many does a
# > model that must look at each pair? And one that looks only at the best 256 for each caption?

# %%
# NBVAL_CHECK_OUTPUT
n_pictures, n_captions, best_few = 5_000, 25_000, 256
for way, passes in (
    ("two towers", n_pictures + n_captions),
    ("each pair", n_pictures * n_captions),
    ("two towers, then the best 256", n_pictures + n_captions + best_few * n_captions),
):
    print(f"{way:30} {passes:>12,} passes")

# %% [markdown]
# The last line is how BLIP searches. It needs one model with all three abilities, and that has a second advantage: the losses can teach each other.
# Comparing finds the difficult pairs that matching should learn from (section 5).
#
# ## 2 · One text model, three modes
#
# BLIP has an image encoder (a ViT in the paper) and **one** text Transformer, which its authors call a *multimodal mixture of encoder–decoder*, **MED**.
# Here is the paper's figure 2. Parts of the same colour and name are the same weights.

# %%
figures.med()

# %% [markdown]
# - **Unimodal encoder.** The text alone, as in BERT: every token sees every other. It skips the cross-attention. Trained by **ITC**.
# - **Image-grounded encoder.** The same layers, plus *cross-attention* to the image between self-attention and feed-forward part. Trained by **ITM**.
# - **Image-grounded decoder.** Cross-attention, too, but each token sees only those before it. Trained by **LM**.
#
# How does the network know its mode? The calling code switches cross-attention and mask on or off. The model itself is told by the **first token**:
# `[CLS]`, `[ENC]` or `[DEC]`. The state at `[CLS]` stands for the text, the state at `[ENC]` for the *pair*; after `[DEC]`, writing begins.
#
# The new token **replaces** `[CLS]`. (A common claim is that `[ENC]` is appended to the text. The paper says so, too; its code overwrites position 0.)
#
# **Exercise 1 of 6 · One token says what to do** (5 minutes, difficulty 1 of 3).


# %%
# NBVAL_CHECK_OUTPUT
@exercise("blip.switch_first")
def switch_first(tokens, id):
    """(B, L) ids of texts that begin with [CLS], an id → (B, L), a new tensor that begins with id."""
    ### BEGIN SOLUTION
    return torch.cat([torch.full_like(tokens[:, :1], id), tokens[:, 1:]], dim=1)
    ### END SOLUTION


# %%
# NBVAL_CHECK_OUTPUT
one, _ = tokenizer(["a red circle"])
for mode_name, first_id in (("[CLS]", IDS.cls), ("[ENC]", IDS.enc), ("[DEC]", IDS.dec)):
    print(mode_name, switch_first(one, first_id)[0].tolist())

# %% [markdown]
# ### The text asks, the image answers
#
# Let $x$ be the text's states ($L \times D$) and $v$ the image tokens ($N \times C$). In **cross-attention** the queries come from the text, the keys and values
# from the image:
#
# $$Q = x W_q,\quad K = v W_k,\quad V = v W_v, \qquad
# \operatorname{cross}(x, v) = \operatorname{softmax}\!\Bigl(\frac{QK^\top}{\sqrt d}\Bigr) V\, W_o ,$$
#
# in each head on its own $d$ channels. The score matrix is $L \times N$: row $i$ says how word $i$ spreads its attention over the picture.
# BERT puts its LayerNorm *after* each sum (post-norm), so the block is $x \leftarrow \operatorname{LN}(x + \operatorname{cross}(x, v))$.
#
# **Exercise 2 of 6 · The cross-attention block** (8 minutes, difficulty 2 of 3). `attention` has the four matrices as layers (`attention.q(x)`, `.k`, `.v`, `.out`) and the number `attention.heads`.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("blip.cross_block")
def cross_block(x, seen, attention, norm):
    """(B, L, D) text states, (B, N, C) image tokens → (B, L, D)."""
    ### BEGIN SOLUTION
    q, k, v = attention.q(x), attention.k(seen), attention.v(seen)
    q, k, v = (rearrange(t, "b l (h d) -> b h l d", h=attention.heads) for t in (q, k, v))
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)  # (B, heads, L, N)
    heard = rearrange(weights @ v, "b h l d -> b l (h d)")
    return norm(x + attention.out(heard))
    ### END SOLUTION


# %% [markdown]
# One block of the library, in whatever role; the last lines are yours:

# %%
show.source(Role.forward)

# %% [markdown]
# ### Who sees what
#
# Rows are text tokens, coloured squares what they may look at:

# %%
figures.masks(["[CLS]", "a", "red", "circle", "[SEP]"])

# %% [markdown]
# > **Predict first.** Change the *last* word of a caption. In which modes does the state of the *first* token change? And in which if you change the picture?

# %%
# NBVAL_CHECK_OUTPUT
two_texts, _ = tokenizer(["a red circle", "a red star"])
first_text, other_text = two_texts[:1], two_texts[1:]
here, elsewhere = seen[:1], seen[1:2]
modes = {
    "ITC, text alone": lambda t, v: blip.text.encode(t),
    "ITM, [ENC] and image": lambda t, v: blip.text.ground(t, v),
    "LM, [DEC] and image": lambda t, v: blip.text.decode(t, v),
}
with torch.no_grad():
    for mode_name, run_mode in modes.items():
        before = run_mode(first_text, here)[0, 0]
        said = []
        for changed in (run_mode(other_text, here), run_mode(first_text, elsewhere)):
            same_state = torch.allclose(before, changed[0, 0], atol=1e-5)
            said.append("as before" if same_state else "changes")
        print(f"{mode_name:21} last word: {said[0]:10} picture: {said[1]}")

# %% [markdown]
# ITC's text encoder must not see the picture, or the comparison would be a fraud. `[DEC]` must not see the words that follow, or writing would be copying.
#
# ## 3 · What is shared
#
# Reader and writer use the same embeddings, the same cross-attention and the same feed-forward part. Only the **self-attention** exists twice, with its output matrix and its LayerNorm.
# The authors' reason: reading takes the text in as a whole, writing predicts what comes next; that difference lies between *tokens*. Looking at the picture and digesting it are alike in both.

# %%
# NBVAL_CHECK_OUTPUT
block = blip.text.blocks[0]
for part_name in ("attention", "norm_attention", "cross", "norm_cross", "mlp", "norm_mlp"):
    is_one = getattr(block.reader, part_name) is getattr(block.writer, part_name)
    print(f"{part_name:15} {'one, shared' if is_one else 'two'}")

# %% [markdown]
# > **Predict first.** BERT-base has 12 layers of width 768. How many million parameters does sharing save in the paper's text model: 10, 50, 100?

# %%
# NBVAL_CHECK_OUTPUT
sizes = {}
for kind in SHARING:
    with torch.device("meta"):  # shapes without numbers
        text_model = MED(MEDConfig(sharing=kind))
    sizes[kind] = sum(p.numel() for p in text_model.parameters())
for kind, count in sizes.items():
    print(
        f"sharing {kind:11} {count / 1e6:6.1f} M, {count / sizes['none']:4.0%} of sharing nothing"
    )

# %% [markdown]
# The paper compares these four in its table 3: sharing all but self-attention did best in retrieval and captioning there. Where self-attention was shared, both got worse: the authors see
# a conflict between encoding and decoding. Our measurement, on small models trained alike:

# %%
claims.stored("blip.sharing")

# %% [markdown]
# ## 4 · ITC: comparing, with a patient teacher
#
# The first loss is CLIP's contrast, with two changes that BLIP takes over from ALBEF (Li et al. 2021) and MoCo (He et al. 2020).
#
# **More negatives without a bigger batch.** A *queue* keeps the features of earlier batches (57,600 in the paper). They come from **momentum encoders**, twins of image and text encoder that
# get no gradient. After each step their weights $\bar\theta$ move a little towards the model's weights $\theta$:
#
# $$\bar\theta \leftarrow m\,\bar\theta + (1 - m)\,\theta, \qquad m = 0.995 .$$
#
# Because the twins change slowly, features from many steps ago still fit with today's.
#
# **Labels that admit doubt.** On the web a caption often fits other pictures of the batch, too. CLIP's labels call all of these wrong. So BLIP asks the twins: with $s_{ij}$ the cosine of the twins' features,
# $\tau$ the temperature, and $y_{ij}$ the label (1 for the pair's own text, else 0),
#
# $$q_{ij} = \alpha\, \frac{e^{s_{ij}/\tau}}{\sum_k e^{s_{ik}/\tau}} + (1 - \alpha)\, y_{ij} .$$
#
# $q$ replaces the label in the cross-entropy. $\alpha$ rises from 0 to 0.4 in the first epochs: a teacher who knows nothing yet should keep silent.

# %%
decay = {f"{m:g}": m ** torch.arange(1000) for m in (0.9, 0.98, 0.995)}
half_life = math.log(0.5) / math.log(0.995)
print(f"m = 0.995: half of a twin is older than {half_life:.0f} steps")
ramp = blip.config.alpha * (torch.arange(1000) / blip.config.alpha_steps).clamp(max=1)
plots.ramps(decay, ramp)

# %% [markdown]
# **Exercise 3 of 6 · Soft targets** (6 minutes, difficulty 1 of 3). A row may have several positives (`positives` is True there); they share the label equally.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("blip.soft_targets")
def soft_targets(similarity, positives, alpha):
    """(n, m) teacher's cosines / τ, (n, m) bool, a number → (n, m) targets without a gradient."""
    ### BEGIN SOLUTION
    labels = positives.float() / positives.sum(dim=1, keepdim=True)
    return (alpha * similarity.softmax(dim=1) + (1 - alpha) * labels).detach()
    ### END SOLUTION


# %% [markdown]
# Look for a picture in our 64 training pairs about which the teacher has doubts. (Momentum encoders are needed in training only, so they are not shipped; the trained encoders stand in for them.)
#
# > **Predict first.** What will the captions have in common to which the teacher gives some probability?

# %%
opinion = image_emb @ text_emb.T / blip.temperature.detach()  # (64, 64), row = picture
is_own = torch.eye(64, dtype=torch.bool)
q_targets = soft_targets(opinion, is_own, blip.config.alpha)
sureness = opinion.softmax(dim=1)
doubtful = int((-sureness * sureness.clamp(min=1e-9).log()).sum(dim=1).argmax())
print("the picture's own caption:", captions[doubtful])
plots.soft(
    training_world[doubtful]["scene"].render(96),
    is_own[doubtful].float(),
    sureness[doubtful],
    q_targets[doubtful],
    captions,
)

# %% [markdown]
# ## 5 · ITM: yes or no, on hard cases
#
# For matching, text and image go through the network together. A linear layer on the state of `[ENC]` gives two logits, *no* and *yes*, and the loss is a plain cross-entropy.
# Each picture comes with **three** pairs: its own text, a wrong text for it, and a wrong picture for its text.
#
# > **Predict first.** A head that looks at nothing knows only that one pair in three matches. What loss does it reach?

# %%
# NBVAL_CHECK_OUTPUT
prior = torch.tensor([2 / 3, 1 / 3])
print(f"entropy of 1 : 2 = {-(prior * prior.log()).sum():.4f} nats")

# %% [markdown]
# Remember this number. A run whose ITM loss sits at 0.64 has learned *nothing* yet, though 0.64 looks like a good loss. Many users of the official code have stumbled over that.
#
# ### Which wrong text?
#
# A random caption usually differs in everything: colour alone decides, and the head never needs to look closely. **Hard negatives** are wrong pairs that look right. ITC knows them already:
# they have high similarity. So BLIP draws the wrong text for picture $i$ with probability
#
# $$p_{ij} \propto \operatorname{softmax}_j(s_{ij}/\tau) + 10^{-4} \quad\text{where $j$ does not match $i$, and 0 where it does.}$$
#
# The $10^{-4}$ (from the code) makes sure that something can always be drawn. And *matching* means more than the diagonal: a caption that stands twice in the batch must not become a negative of its own picture.
#
# **Exercise 4 of 6 · Hard negatives** (8 minutes, difficulty 2 of 3). Give the weights; `torch.multinomial` draws with them, and does not ask that they sum to 1.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("blip.hard_negatives")
def negative_odds(similarity, same):
    """(n, N) cosines / τ, (n, N) bool (True: a match) → (n, N) weights to draw a negative with."""
    ### BEGIN SOLUTION
    return (similarity.softmax(dim=1) + 1e-4).masked_fill(same, 0.0)
    ### END SOLUTION


# %% [markdown]
# Here they are, for the six of our 64 pairs where the draw was least a matter of luck (its probability is in brackets), beside captions drawn at random.
#
# > **Predict first.** Cover the right-hand columns. For the first picture, what would a hard wrong caption look like?

# %%
same_caption = losses.equal_rows(tokens, tokens)  # (64, 64)
odds = negative_odds(image_emb @ text_emb.T / blip.temperature.detach(), same_caption)
odds = odds / odds.sum(dim=1, keepdim=True)
evenly = (~same_caption).float() / (~same_caption).sum(dim=1, keepdim=True)
torch.manual_seed(0)
drawn = {
    "a hard negative": (odds, torch.multinomial(odds, 1)[:, 0]),
    "a random negative": (evenly, torch.multinomial(evenly, 1)[:, 0]),
}
how_likely = odds.gather(1, drawn["a hard negative"][1][:, None])[:, 0]  # (64,)
some_rows = how_likely.topk(6).indices.tolist()
plots.negatives(
    pictures[some_rows],
    [captions[i] for i in some_rows],
    {
        how: [(captions[int(chosen[i])], float(weights[i, chosen[i]])) for i in some_rows]
        for how, (weights, chosen) in drawn.items()
    },
)

# %% [markdown]
# How alike are they, over the whole batch?


# %%
def in_common(a, b):
    """The share of two captions' words that both have."""
    first_words, second_words = set(a.split()), set(b.split())
    return len(first_words & second_words) / len(first_words | second_words)


with torch.no_grad():
    for how, (_, chosen) in drawn.items():
        alike = sum(in_common(captions[i], captions[int(j)]) for i, j in enumerate(chosen)) / 64
        logits = blip.match(None, tokens[chosen], mask[chosen], seen)  # (64, 2)
        fooled = (logits.argmax(dim=1) == 1).float().mean().item()
        print(f"{how:18} {alike:.0%} of the words in common; called a match: {fooled:.0%}")

# %% [markdown]
# Do hard negatives teach to notice *who stands where*? Two arms, alike but for the way negatives are drawn:

# %%
claims.stored("blip.hard_negatives")

# %% [markdown]
# Mind what the mining can offer: a foil such as "a star left of a circle" for "a circle left of a star" is a negative only if such a caption is *in the batch*. Mining finds the hardest pair there is; it does not make one up. So the `blip-toy` of this lecture was given some: with `data.foils=true` each caption that can be made false by an exchange of its words (left for right, or two colours) brings that foil along, and a loss of their own teaches the ITM head to tell the two apart (the hard negative texts of NegCLIP, Yuksekgonul et al. 2023). The two arms above had none.
#
# ## 6 · LM: writing
#
# The decoder learns the caption token by token, with the picture $I$ and the words before in view:
#
# $$L_{\text{LM}} = -\frac1T \sum_{t=1}^{T} \log P\bigl(w_t \mid w_0, \dots, w_{t-1}, I\bigr), \qquad w_0 = \texttt{[DEC]},\quad w_T = \texttt{[SEP]} .$$
#
# The causal mask lets all positions learn at once: position $t$ cannot see its answer. What must *not* be learned gets the target −100, which `cross_entropy` leaves out:
# padding, and a **prompt** that is given. (In fine-tuning for captions BLIP begins each text with "a picture of", and learns only what follows.)

# %%
words_read = ["[DEC]", "a", "picture", "of", "a", "ring", "[SEP]", "padding"]
words_learned = ["", "", "", "a", "ring", "[SEP]", "", ""]
figures.targets(words_read, words_learned)

# %% [markdown]
# **Exercise 5 of 6 · What the decoder learns** (8 minutes, difficulty 2 of 3). `prompt` counts the given tokens, `[DEC]` included: 4 in the figure. Note that the id 0 is both padding and a word: trust the mask.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("blip.lm_targets")
def lm_targets(tokens, mask, prompt):
    """(B, L) ids, (B, L) bool, a number → (B, L): the next token where it is learned, else -100."""
    ### BEGIN SOLUTION
    learned = mask & (torch.arange(tokens.shape[1]) >= prompt)
    return F.pad(tokens.masked_fill(~learned, -100)[:, 1:], (0, 1), value=-100)
    ### END SOLUTION


# %% [markdown]
# BLIP smooths the labels: 90 % of the probability goes to the right token, 10 % evenly to the whole vocabulary. This keeps the decoder from being too sure of one wording, and it lifts the floor of the loss.
#
# > **Predict first.** With a vocabulary of 723 tokens, what is the smoothed loss of a decoder that is *always right*? And what does a uniform guess cost?

# %%
# NBVAL_CHECK_OUTPUT
floor = smoothed_floor(IDS.vocab_size, blip.config.smoothing)
print(f"always right {floor:.2f} nats a token, guessing {math.log(IDS.vocab_size):.2f}")

# %% [markdown]
# The floor is reached only if each next word is certain. It is not: a scene has many true captions, and nobody can know which one was picked.

# %%
with torch.no_grad():
    hidden = blip.text.decode(switch_first(tokens, IDS.dec), seen)
    lm_logits = blip.text.lm_logits(hidden)  # (64, L, V)
goal = lm_targets(tokens, mask, 1)
unsure = F.cross_entropy(lm_logits.mT, goal, reduction="none")[0]  # (L,)
for place in range(int(mask[0].sum()) - 1):
    piece = tokenizer.decode([int(goal[0, place])]) or "[SEP]"
    print(
        f"{piece.strip():10} {'█' * round(10 * unsure[place].item()):30} {unsure[place]:.2f} nats"
    )

# %% [markdown]
# Compare the words that the picture decides with those that only the speaker decides. (Unsmoothed, for the first training picture.)
#
# ## 7 · Your own BLIP
#
# The three losses are simply added. Assemble the whole; your model then learns beside the library's, from the same weights and on the same batches. Its image tower starts from
# `clip-toy-grid`, a CLIP whose tower keeps a 4×4 grid of tokens (the paper starts from trained towers, too). The momentum encoders' features are given; the small model has no queue.
#
# | `model` | the text model, `model.text` | a role, `block.reader` or `block.writer` |
# |---|---|---|
# | `look(pixels)`: features (n, E), image tokens (n, N, C) | `reading(ids)`, `writing(ids)`: embeddings | `attention(x, None, mask, causal)` |
# | `text_projection(state)`, `itm_head(state)` | `blocks`, each with two roles | `cross`, `norm_cross`: for your `cross_block` |
# | `temperature`: τ; `alpha()`: α now | `head(states)`: logits (n, L, V) | `mlp(x)` |
# | `config.smoothing`; `config.text.enc`, `.dec` | | `norm_attention`, `norm_mlp`: after each sum |
#
# **Exercise 6 of 6 · Your own BLIP** (15 minutes, difficulty 3 of 3). First `walk`: through the blocks in one role, post-norm, with cross-attention only if there is an image. Then each loss takes a few lines; `mask[:, None, None, :]` is what
# `attention` wants. ITC: students (your features, normalised) against the *other* side's teachers, divided by τ; average both directions. ITM: draw the wrong texts first, then the wrong pictures.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("blip.model")
def blip_losses(model, pixels, tokens, mask, teacher):
    """A BLIP, a batch of n pairs, the teacher's unit features (images, texts) → itc, itm, lm."""

    def walk(roles, x, mask, seen, causal=False):
        ### BEGIN SOLUTION
        for role in roles:
            x = role.norm_attention(x + role.attention(x, None, mask, causal))
            if seen is not None:
                x = cross_block(x, seen, role.cross, role.norm_cross)
            x = role.norm_mlp(x + role.mlp(x))
        return x
        ### END SOLUTION

    readers = [block.reader for block in model.text.blocks]
    writers = [block.writer for block in model.text.blocks]
    image, seen = model.look(pixels)  # (n, E), (n, N, C)
    n, own = len(pixels), torch.eye(len(pixels), dtype=torch.bool)
    same = losses.equal_rows(tokens, tokens)  # (n, n), equal captions
    ### BEGIN SOLUTION
    first_states = walk(readers, model.text.reading(tokens), mask[:, None, None, :], None)
    text = model.text_projection(first_states[:, 0])
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    to_text = image @ teacher[1].T / model.temperature  # (n, n)
    to_image = text @ teacher[0].T / model.temperature
    taught = teacher[0] @ teacher[1].T / model.temperature
    text_goal = soft_targets(taught, own, model.alpha())
    image_goal = soft_targets(taught.T, own, model.alpha())
    itc = (F.cross_entropy(to_text, text_goal) + F.cross_entropy(to_image, image_goal)) / 2

    wrong_text = torch.multinomial(negative_odds(to_text.detach(), same), 1)[:, 0]
    wrong_image = torch.multinomial(negative_odds(to_image.detach(), same), 1)[:, 0]
    texts = torch.cat([tokens, tokens[wrong_text], tokens])  # (3n, L)
    masks = torch.cat([mask, mask[wrong_text], mask])[:, None, None, :]
    images = torch.cat([seen, seen, seen[wrong_image]])
    read = model.text.reading(switch_first(texts, model.config.text.enc))
    pair_states = walk(readers, read, masks, images)
    matches = (torch.arange(3 * n) < n).long()
    itm = F.cross_entropy(model.itm_head(pair_states[:, 0]), matches)

    begun = model.text.writing(switch_first(tokens, model.config.text.dec))
    logits = model.text.head(walk(writers, begun, None, seen, causal=True))  # (n, L, V)
    goals = lm_targets(tokens, mask, 1).flatten()
    smooth = model.config.smoothing
    lm = F.cross_entropy(logits.flatten(0, 1), goals, label_smoothing=smooth)
    return itc, itm, lm
    ### END SOLUTION


# %% [markdown]
# Batches of 32, about a minute for both models:

# %%
run = capstone.train("blip-capstone", blip_losses, steps=quick(None, 4))
print(run)

# %%
capstone.curves(run)

# %% [markdown]
# Your attention computes the same numbers in another order than PyTorch's fused one, so tiny differences grow; and as soon as one *drawn negative* differs, the curves visibly part.
# That is chance, not an error, as long as both end alike. And now let it write:

# %%
unseen = world.two_object_scenes(6, seed=21)
own_words = caption_evals.written_for(run.model, tokenizer, unseen)
own_verdict = caption_evals.judge(own_words, unseen)["true"]
capstone.keep(run)
show.grid(
    [s.render(96) for s in unseen],
    [said if ok else f"WRONG: {said}" for said, ok in zip(own_words, own_verdict, strict=True)],
    columns=3,
    size=3.2,
)

# %% [markdown]
# Each caption was read back and compared with the scene: WRONG means that something it says does not hold, or that it is no sentence (saying something twice is allowed). It is kept as `blip-yours`.
#
# ### What loss is reasonable?
#
# > **Predict first.** Batch 32, no queue, a vocabulary of 723 tokens. What does each of the three losses cost a model that knows nothing? Which of them moves first?

# %%
batch_size = run.recipe.train.batch_size
plots.losses(
    run.yours,
    {
        "itc": {"knowing nothing": math.log(batch_size)},
        "itm": {"knowing nothing": losses.ITM_PRIOR},
        "lm": {
            "knowing nothing": math.log(IDS.vocab_size),
            "always right": smoothed_floor(IDS.vocab_size, run.recipe.model.smoothing),
        },
    },
)

# %% [markdown]
# How to read such curves:
#
# - **LM** falls fast and then seems to stop. Its floor is that of the smoothing plus the choice among true captions, not 0 (section 6).
# - **ITM** waits at 0.64, and falls only when cross-attention begins to work. It need not reach 0, because its negatives get *harder* as ITC gets better.
# - **ITC** has a moving goal. Soft targets have an entropy of their own, and it changes with α and τ. So this loss can rise while the model improves.
#
# From here on we use `blip-toy`, trained longer and with a queue of earlier features, so its ITC starts higher. It has a fourth loss, for the foils of section 5: one true caption to one false, so a model that knows nothing pays ln 2 for it. Its shipped log, beside the sum that such a model pays:

# %%
know_nothing = {
    "ITC": math.log(blip.config.queue + recipe.train.batch_size),
    "ITM": losses.ITM_PRIOR,
    "foils": math.log(2) if recipe.data.foils else 0.0,
    "LM": math.log(IDS.vocab_size),
}
plots.training_log(zoo.log("blip-toy"), {"knowing nothing": sum(know_nothing.values())})

# %% [markdown]
# Look at the foils' line: it lies at ln 2 long after the other losses have fallen, and then gives way. Who stands where is learned last.
#
# None of these numbers says how good the model is. Measure what you want to use it for: the right panel.
#
# ## 8 · Find, then look
#
# Retrieval in two steps. Cosines of the two unimodal encoders order all candidates; then ITM looks at the best 16 (256 in the paper) and its *yes* logit is **added** to the cosine.
#
# > **Predict first.** Can re-ranking bring up a picture that ITC put in place 20? Can it make things worse?

# %%
gallery, queries = world.two_object_set(quick(128, 64), SIDE, seed=0)
cosines = rerank.cosines(blip, tokenizer, queries, gallery)  # row = text, column = picture
looked, _ = rerank.rerank(blip, tokenizer, queries, gallery, k=16, similarity=cosines)
places = {"compared": metrics.ranks(cosines), "re-ranked": metrics.ranks(looked)}
for step_name, place_of in places.items():
    print(f"{step_name:9} recall@1 of {len(queries)}: {percent((place_of == 0).float())}")
plots.moved(places["compared"].tolist(), places["re-ranked"].tolist())

# %%
claims.stored("blip.rerank")

# %% [markdown]
# ### Checking a caption
#
# The foils of lecture 01: a true caption against the same with one change. CLIP guessed when the change kept all the words. Now text and image have met, and in training it was given foils of other pictures; does it see them here?

# %%
foil_scenes = world.two_object_scenes(quick(300, 60), seed=2)
told = matching.foil_details(blip, tokenizer, foil_scenes)
for kind in matching.KINDS:
    low, high = metrics.bootstrap_interval(told[kind])
    verdict = "could be chance" if low <= 0.5 <= high else "differs from chance"
    print(f"{kind:18} true caption preferred: {percent(told[kind])}, {verdict}")

# %% [markdown]
# If a row says *could be chance*, remember section 5: what the loss never asked for is not learned, even by a model that could. How much is owed to the foils? `vlcourse train blip-toy data.foils=false` trains the same model without them.
#
# ## 9 · Describe
#
# Captions by beam search with 3 beams, for test scenes. In the toy world we can check each word; a wrong caption is marked.

# %%
new_scenes = world.two_object_scenes(8, seed=30)
written = caption_evals.written_for(blip, tokenizer, new_scenes)
true_words = caption_evals.judge(written, new_scenes)["true"]
show.grid(
    [s.render(96) for s in new_scenes],
    [said if ok else f"WRONG: {said}" for said, ok in zip(written, true_words, strict=True)],
    size=3.0,
)

# %% [markdown]
# Beam search looks for the likeliest text; *nucleus sampling* draws instead, and says other things each time. The next lecture needs both.
#
# > **Predict first.** One picture, three draws from the nucleus. Will they be three sentences? Will they all be true?

# %%
same_scene = new_scenes[:1]
for draw_seed in (1, 2, 3):
    writing = caption_evals.Writing(top_p=0.9, seed=draw_seed)
    (drawn_text,) = caption_evals.written_for(blip, tokenizer, same_scene, writing)
    ok = caption_evals.judge([drawn_text], same_scene)["true"].item() == 1
    print("true: " if ok else "wrong:", drawn_text)

# %%
test_scenes = caption_evals.caption_set(quick(200, 30))
for way, how_to_write in (
    ("beam 3", caption_evals.Writing()),
    ("nucleus 0.9", caption_evals.Writing(top_p=0.9)),
):
    details = caption_evals.caption_details(blip, tokenizer, test_scenes, how_to_write)
    print(f"{way:12} true in every word: {percent(details['true'])}")

# %% [markdown]
# ## 10 · Answer
#
# For questions the modes are combined (the paper's figure 5). The *reader* takes in question and picture together; a *writer* with weights of its own answers, and its cross-attention looks at the **question's states**,
# not at the image.

# %%
figures.answering()

# %% [markdown]
# Answers can be written freely or **ranked**: the model scores each answer of a fixed list by its exact log-probability, and the best one wins. The paper ranks the 3,128 most frequent answers.
#
# > **Predict first.** What share of the questions can be answered *without the picture*, by the most frequent answer to the same question?

# %%
asked = vqa.question_set(scenes=quick(60, 8), objects=(1, 2))
blind = vqa.blind_answers(vqa.question_set("train", quick(1000, 50), objects=(1, 2)), asked)
looking = vqa.rank_answers(zoo.load("blip-toy-vqa"), tokenizer, asked)
answers_by = {"without looking": blind, "looking": looking}
for who, given in answers_by.items():
    right_ones = torch.cat(list(vqa.by_kind(asked, given).values()))
    print(f"{who:15} {percent(right_ones)} of {len(asked)} questions")

# %%
shown_questions = range(0, len(asked), max(1, len(asked) // 8))[:8]
show.grid(
    [asked[i][0].render(96) for i in shown_questions],
    [f"{asked[i][1].text} → {looking[i]}" for i in shown_questions],
    size=3.0,
)

# %% [markdown]
# ## 11 · Where does a word look?
#
# Cross-attention leaves a trace: for each layer, word and head, 16 weights over the 4×4 image tokens. Laid over the picture, they make a heat map. Here is the last layer of the reader, and of its heads the one that concentrates most.
#
# > **Predict first.** Where should the colour words look? And where a word like "above" or "and", which names nothing?

# %%
heat_scene = world.two_object_scenes(12, seed=40)[3]
heat_text = str(heat_scene.captions()[0])
heat_ids, _ = tokenizer([heat_text])
with torch.no_grad():
    heat_seen = blip.image_tokens(normalise(heat_scene.render(SIDE))[None])
    looks = blip.text.cross_attention(lambda: blip.text.ground(heat_ids, heat_seen))
print(tuple(looks.shape), "= layers, texts, heads, tokens, image tokens")
heads = looks[-1, 0]  # (heads, L, 16)
sharpest = int(heads.amax(dim=-1).mean(dim=-1).argmax())
by_word = rearrange(heads[sharpest], "l (h w) -> l h w", h=4)[:-1]  # without [SEP]
heat_words = ["[ENC]", *(tokenizer.decode([i]).strip() for i in heat_ids[0, 1:-1].tolist())]
plots.heat(heat_scene.render(192), heat_words, by_word)

# %% [markdown]
# Read such maps with care. They say where one head took its values from, not *why* the model decided as it did; and after the first layer, a token's state holds more than its own word.
# (The papers show Grad-CAM maps, which weigh the attention with its gradient.) But one thing can be measured: how much of a colour word's attention falls on the object that it names, and how much on the other one?


# %%
def colour_looks(scene):
    """(layers, 2): a colour word's attention on its own object's cell, and on the other's."""
    a, b = scene.objects
    ids, _ = tokenizer([f"a {a.colour} {a.shape} and a {b.colour} {b.shape}"])
    grid = blip.image_tokens(normalise(scene.render(SIDE))[None])
    weight = blip.text.cross_attention(lambda: blip.text.ground(ids, grid))[:, 0].mean(dim=1)
    pieces = [tokenizer.decode([i]).strip() for i in ids[0].tolist()]
    found = []
    for own_thing, other_thing in ((a, b), (b, a)):
        at_word = weight[:, pieces.index(own_thing.colour)]  # (layers, 16)
        cells = [4 * min(int(4 * o.y), 3) + min(int(4 * o.x), 3) for o in (own_thing, other_thing)]
        found.append(at_word[:, cells])
    return torch.stack(found).mean(dim=0)


with torch.no_grad():
    two_colours = [
        s
        for s in world.two_object_scenes(quick(80, 20), seed=41)
        if s.objects[0].colour != s.objects[1].colour
    ]
    looked_at = torch.stack([colour_looks(s) for s in two_colours]).mean(dim=0)
for layer, (on_own, on_other) in enumerate(looked_at.tolist(), start=1):
    print(
        f"layer {layer}: its own object {on_own:.1%}, the other {on_other:.1%}, evenly {1 / 16:.1%}"
    )

# %% [markdown]
# ## Claims
#
# Measured by full experiments (`vlcourse claims` repeats them); a rule computes each verdict. First the one that gives this lecture its title:

# %%
claims.stored("blip.tasks")

# %%
# NBVAL_CHECK_OUTPUT
claims.table(["blip.tasks", "blip.hard_negatives", "blip.rerank", "blip.sharing"])

# %% [markdown]
# *Holds* says that the effect shows at toy scale, no more. *Does not show here* is a result, too. A row that is *not measured yet* says nothing.
#
# ## Scale it up
#
# The same engine trains the paper's models; only the numbers of the recipe change:

# %%
# NBVAL_CHECK_OUTPUT
with torch.device("meta"):
    for preset_name, preset in PRESETS.items():
        whole = BLIP(preset)
        inside = [(n, p) for n, p in whole.named_parameters() if not n.startswith("twin.")]
        image_part = sum(p.numel() for n, p in inside if n.startswith("image."))
        total = sum(p.numel() for _, p in inside)
        print(
            f"{preset_name}: {total / 1e6:.0f} M parameters, {image_part / 1e6:.0f} M in the image tower"
        )
for run_name in ("blip-toy", "blip-base", "blip-large"):
    numbers = RECIPES[run_name].train
    print(
        f"{run_name:10} {numbers.steps:7,} steps  batch {numbers.batch_size:5,}  lr {numbers.lr:.0e}"
    )

# %% [markdown]
# | | the paper | toy |
# |---|---|---|
# | pairs | 14 M or 129 M images, 20 epochs | drawn on demand |
# | image tower | ViT, from DeiT (B) or ImageNet-21k (L) | ResNet with a 4×4 grid, from `clip-toy-grid` |
# | text model | BERT-base, from BERT's weights | the same MED, small, from nothing |
# | queue, m, α | 57,600, 0.995, 0 → 0.4 | a shorter queue, the same m and α |
# | optimiser | AdamW, weight decay 0.05, warm-up, then decay per epoch | AdamW, warm-up, cosine |
# | hardware | two 16-GPU nodes | two cores |
#
# ```bash
# torchrun --nnodes 2 --nproc-per-node 16 -m vlcourse train blip-base data.source=FOLDER run.parallel=ddp
# vlcourse caption PICTURE.jpg --model blip-toy         # or a folder, or a model's id on the hub
# vlcourse retrieve "a red circle" FOLDER --model blip-toy
# ```
#
# Over several GPUs, ITC's features and ITM's candidates for hard negatives are gathered from all of them. After pretraining, the paper fine-tunes for each task: `blip-base-retrieval`, `blip-base-caption`, `blip-base-vqa`.
#
# ## Corrections
#
# Where the lecture's slides, or the paper itself, disagree with the paper or its code:
#
# 1. **"LML"** (slides): the paper calls the language modelling loss **LM**.
# 2. **"An [Encode] token is attached to the text"** (slides; the paper writes "appended"): in the code `[ENC]` **replaces `[CLS]`** at position 0, and `[DEC]` does the same. The text gets no longer.
# 3. **"+2.7 % recall, +2.8 % CIDEr, +1.6 % VQA"** (slides, once as BLIP's gains and once as CapFilt's): these are gains over the best models *before* BLIP. What cleaning the data brings by itself is in the next lecture.
# 4. **"Everything but the self-attention layers is shared"** (slides, paper): in the code each self-attention's output matrix and LayerNorm exist twice as well, and the LM head belongs to the decoder alone.
# 5. **Learning rate** (paper: × 0.85 an epoch): the published code has 0.9.
#
# ## Recap
#
# - **Why.** Two towers search, an encoder judges, a decoder writes; BLIP is all three.
# - **Modes.** One text model; `[CLS]`, `[ENC]`, `[DEC]`; cross-attention off, on, on; the mask both ways, both ways, causal.
# - **Sharing.** All but self-attention.
# - **ITC.** CLIP's contrast, with a queue, momentum encoders and soft targets.
# - **ITM.** One match, two hard negatives; knowing nothing costs 0.64 nats.
# - **LM.** The next token; padding and prompt are not learned; label smoothing has a floor.
# - **Use.** Compare all, look at a few; write with beams or from the nucleus; answer from the question's states.
#
# Next: *CapFilt*. A captioner and a filter made of this one model clean the data that it learns from.

# %% [markdown]
# ## Quiz
#
# **1.** Your ITM loss has been at 0.63 for an hour. Is that good?
#
# <details><summary>Answer</summary>
#
# It is the entropy of one match among three, 0.6365: the head has learned nothing but that. Look at the balanced accuracy, and at whether the text tokens reach the image (cross-attention on, `[ENC]` set).
#
# </details>
#
# **2.** Why may the unimodal encoder not use cross-attention, though the layers are there?
#
# <details><summary>Answer</summary>
#
# It would see the picture that it is to be compared with, and the contrast could be won without understanding any text. And for searching, each text must be encoded once, not once per picture.
#
# </details>
#
# **3.** Two pairs of a batch have the same caption. What goes wrong if only the diagonal is excluded from the negatives?
#
# <details><summary>Answer</summary>
#
# The twin's caption is the most similar one, so it is drawn often, and a true pair gets the label *no*.
#
# </details>
#
# **4.** The LM loss of your run stops at 1.4 nats, and the vocabulary has 723 tokens. Broken?
#
# <details><summary>Answer</summary>
#
# Not necessarily. Label smoothing alone costs about 0.98 here; the rest is that several captions are true, and nobody can know which one comes. Check whether the captions written are true.
#
# </details>
#
# **5.** Why does re-ranking look at the best 256 pictures only?
#
# <details><summary>Answer</summary>
#
# Each look is a pass through the text model with that picture. The cosines need one pass for each picture and each text, and rarely put the right one beyond the first few hundred.
#
# </details>

# %% [markdown]
# ## More · Queue and twin, by hand
#
# Both are small classes. The queue is a ring; the twin takes a step of $1-m$ towards the model.

# %%
# NBVAL_CHECK_OUTPUT
ring = FeatureQueue(size=5, width=2)
ring.rows.zero_()
for value in (1.0, 2.0, 3.0):
    ring.hold(torch.full((2, 2), value))
    ring.write()
    print("queue:", ring.rows[:, 0].tolist(), "next place:", int(ring.place))
student = torch.nn.Linear(1, 1, bias=False)
follower = torch.nn.Linear(1, 1, bias=False)
pupil, twin = torch.nn.ModuleDict({"part": student}), Momentum(part=follower)
torch.nn.init.zeros_(student.weight)
twin.copy(pupil)
torch.nn.init.ones_(student.weight)  # the student jumps to 1
for _ in range(3):
    twin.follow(pupil, 0.9)
    print(f"twin: {follower.weight.item():.3f}")

# %% [markdown]
# In training the features of a batch enter the queue only *after* its step, since the loss still needs the old ones. The paper's queue holds 57,600 features of each side, and its length must be a multiple of the batch in the published code; a ring that
# wraps around has no such condition.

# %% [markdown]
# ## More · [ENC] or [CLS]?
#
# A trap in published weights: transformers' `BlipForImageTextRetrieval` and one file of the official code feed `[CLS]` to the matching head where training had `[ENC]`. Both run; the scores differ. `match(…, cls_for_enc=True)` does as they do:

# %%
with torch.no_grad():
    for as_others in (False, True):
        yes = blip.match(None, tokens, mask, seen, cls_for_enc=as_others).softmax(dim=1)[:, 1]
        first_token = "[CLS]" if as_others else "[ENC]"
        print(
            f"{first_token}: true pairs called a match {(yes > 0.5).float().mean():.0%}, mean {yes.mean():.3f}"
        )

# %% [markdown]
# Weights in both layouts can be read and written: `weights.from_hf(FOLDER)` for transformers' three BLIP models, and the official `model_base*.pth` (never unpickled blindly).

# %% [markdown]
# ## More · Further questions
#
# **1.** Why are the negatives drawn, and not simply the hardest ones taken?
#
# <details><summary>Answer</summary>
#
# The hardest "wrong" pair is often a right one that the data do not know of. And drawing shows the head many pairs, not the same few.
#
# </details>
#
# **2.** When the model is very sure, what do the weights of exercise 4 look like?
#
# <details><summary>Answer</summary>
#
# The softmax of the whole row gives nearly everything to the match, which is then set to 0. For the others about $10^{-4}$ each remains: the draw becomes even. So very sure comparers mine *less* hard negatives; a larger τ brings them back.
#
# </details>
#
# **3.** α = 1 would trust the teacher alone. Why not?
#
# <details><summary>Answer</summary>
#
# The teacher is the student's own past. Without labels nothing holds both to the truth, and they can agree on anything, for instance on giving all pictures the same features.
#
# </details>
#
# **4.** In question answering the writer sees only the question's states. How does it know what is in the picture?
#
# <details><summary>Answer</summary>
#
# The reader has looked at the picture while reading; what the question needs must be in its states. So an answer needs no second look, and the same states serve for every candidate answer.
#
# </details>
