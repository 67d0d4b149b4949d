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
# # 01 · CLIP: pictures and words in one space
#
# *Contrastive Language–Image Pre-training*: Radford et al. 2021,
# "Learning Transferable Visual Models From Natural Language Supervision", arXiv 2103.00020.
#
# **75 minutes to read**: about 26 of reading and 49 of exercises · **2 minutes to run** on two CPU cores.
# The folded sections called *More* at the end add two exercises and about 45 minutes, if you want them.
#
# A photo classifier knows the classes it was trained on and nothing else. CLIP learns from
# pictures and the texts found beside them, and afterwards you can ask it about any class that you
# can put into words. You will write its key pieces, train a small one, and find out where it
# works and where it fails.

# %% [markdown]
# ## Objectives
#
# After this lecture you can
#
# 1. say why sentences teach more than labels, and why *matching* texts is cheaper than *writing* them;
# 2. draw both towers, and write the patch embedding and the text feature;
# 3. write the contrastive loss, and explain temperature and batch size;
# 4. assemble a CLIP from your own functions and train it;
# 5. build a classifier out of prompts, and measure it on classes it has never seen;
# 6. search pictures with words, and show what the model does *not* understand;
# 7. estimate what the paper's training cost.

# %% [markdown]
# ## Terms
#
# | term | Chinese | meaning here |
# |---|---|---|
# | contrastive learning | 对比学习 | pull matching pairs together, push the others apart |
# | patch embedding | 图像块嵌入 | a square of pixels turned into one vector |
# | end-of-text token, EOT | 文本结束标记 | the token whose state becomes the text's feature |
# | joint embedding space | 联合嵌入空间 | where images and texts can be compared |
# | cosine similarity | 余弦相似度 | the dot product of two vectors of length 1 |
# | temperature | 温度系数 | how sharp the softmax over the similarities is |
# | zero-shot transfer | 零样本迁移 | use on a task without any of its labelled examples |
# | distribution shift | 分布偏移 | test pictures of another kind than the training pictures |
# | retrieval, recall@k | 检索、召回率@k | the share of queries whose own partner is among the first k |
# | held-out composition | 留出的组合 | colour and shape both known, never seen together |
# | foil | 干扰描述 | a caption with one change that makes it false |

# %%
import math
from collections import Counter

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from vlcourse import losses, paths, tokenizers, weights, zoo
from vlcourse.data import sources, world
from vlcourse.data.collate.pictures import normalise
from vlcourse.engine import TrainConfig
from vlcourse.engine.recompute import blocks, recompute_blocks
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import metrics, probe
from vlcourse.models.clip import CLIP, PRESETS, CLIPConfig, TextConfig, TextTower
from vlcourse.models.resnet import AttentionPool, Bottleneck, ResNet, ResNetConfig
from vlcourse.models.vit import ViT, ViTConfig, resize_positions
from vlcourse.recipes import RECIPES
from vlcourse.recipes.clip import PAPER_RUNS
from vlcourse.teach import capstone, claims, quick, show
from vlcourse.teach.clip import figures, figures_towers, plots, plots_use
from vlcourse.teach.exercise import answer, exercise
from vlcourse.tokenizers import byte_bpe, clip_merges

show.style()

# The names of your functions: the reference's, until yours pass.
patch_embedding = answer("clip.patch_embedding")
eot_pooling = answer("clip.eot_pooling")
itc_loss = answer("clip.itc_loss")
clip_loss = answer("clip.model")
zero_shot_classifier = answer("clip.zero_shot_classifier")
bpe_merge = answer("clip.bpe_merge")
gather_rows = answer("clip.gather_bug")

# What several sections use: a trained model and an untrained one of the same shape, and pictures.
tokenizer = tokenizers.toy()
trained = zoo.load("clip-toy")
torch.manual_seed(0)
untrained = RECIPES["clip-toy"].build_model().eval()
SIDE = trained.config.image.image_size  # 32 px

scene = world.two_object_scenes(1, seed=3)[0]  # the example of sections 1 and 2
two_images, two_captions = world.two_object_set(1024, SIDE, seed=1)
image_emb = clip_evals.embed_images(trained, two_images)  # (1024, 128)
text_emb = clip_evals.embed_texts(trained, tokenizer, two_captions)  # (1024, 128)
new_images, new_labels = world.single_object_set("heldout", 512, SIDE)  # never seen in training
class_names = clip_evals.world_class_names()  # "a red circle", …, 48 of them


def one_object(colour, shape, side):
    """A picture (3, side, side) of one large object."""
    return world.Scene((world.Object(colour, shape, "large", 0.5, 0.5, 0.18),), 7).render(side)


def percent(hits):
    """The mean of zeros and ones in %, with its 95 % interval (bootstrap over the pictures)."""
    low, high = metrics.bootstrap_interval(hits)
    return f"{hits.mean():.1%} ({low:.1%} to {high:.1%})"


# %% [markdown]
# ## Before you start
#
# You need PyTorch's basics (tensors, `nn.Module`, a training loop). The rest fits into ten minutes.
#
# **Softmax** turns any $n$ numbers $s_j$ into probabilities, $p_j = e^{s_j} / \sum_k e^{s_k}$. **Cross-entropy** is the price of a
# guess, $-\log p_{\text{right}}$: 0 if you are sure and right, and $\log n$ if all $n$ answers look alike. With the natural logarithm its unit is the *nat*.
#
# **Attention** lets the vectors of a sequence (the *tokens*) read each other. Three learned matrices turn each token $x$
# into a *query* $q = W_q x$ (what am I looking for?), a *key* $k = W_k x$ (what do I offer?) and a *value* $v = W_v x$ (what do I pass on?).
# With $L$ tokens and $d$ numbers in each query, all of them stacked in rows,
#
# $$\operatorname{Attention}(Q, K, V) = \operatorname{softmax}\!\Bigl(\frac{Q K^\top}{\sqrt d}\Bigr)\, V .$$
#
# $QK^\top$ is $L \times L$: row $i$ says how well each key suits query $i$. The softmax makes each row a set of weights, and the output is the weighted mean of
# the values. *Multi-head* attention does this in parallel on slices of the vectors. A **causal mask** forbids looking ahead:
# the scores of later tokens become $-\infty$, and their weights 0.
#
# > **Predict first.** Four tokens, and in this example query = key. Which token will "circle" look at most? What does "a" see under the causal mask?

# %%
# NBVAL_CHECK_OUTPUT
four = ["a", "red", "circle", "(end)"]
q = k = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 2.0], [2.0, 0.0]])  # (L, d) = (4, 2)
scores = q @ k.T / math.sqrt(2)  # (4, 4)
ahead = torch.ones(4, 4, dtype=torch.bool).triu(1)  # True: a token that comes later
for mask_name, masked in (("free", scores), ("causal", scores.masked_fill(ahead, -math.inf))):
    for word, attention_row in zip(four, masked.softmax(dim=-1).tolist(), strict=True):
        print(f"{mask_name:6}  {word:6} looks at  {'  '.join(f'{w:.2f}' for w in attention_row)}")

# %% [markdown]
# **LayerNorm** takes one token's vector, subtracts its mean, divides by its standard deviation, and then scales and shifts with learned numbers.
# A **Transformer block** is $x \leftarrow x + \operatorname{Attention}(\operatorname{LN}(x))$ and then
# $x \leftarrow x + \operatorname{MLP}(\operatorname{LN}(x))$, where the MLP (two linear maps with a non-linearity between them) works on each token alone.
# Both towers of CLIP are stacks of such blocks (Vaswani et al. 2017, "Attention Is All You Need").

# %% [markdown]
# ## 1 · Why language as supervision
#
# One picture of our toy world, with a class label and with a sentence:

# %%
picture, first_object = scene.render(192), scene.objects[0]
label = f"{first_object.colour} {first_object.shape}"
figures.supervision(picture, label, scene.captions()[0])

# %% [markdown]
# A **label** is one number out of a list fixed in advance. The second object, the
# sizes and the positions are lost; a new class needs a new list and a new training run; and each label
# costs somebody's time. A **sentence** can mention anything, and on the web it already stands beside the picture.
# One picture has many true sentences, and each teaches something different:

# %%
# NBVAL_CHECK_OUTPUT
for caption in scene.captions()[:5]:
    print(caption)

# %% [markdown]
# ### Where do enough sentences come from?

# %%
figures.datasets()

# %% [markdown]
# In 2021 there was a gap. Captions written on purpose (MS-COCO, Visual Genome) are good but few.
# YFCC100M is large, but only 15 of its 100 million pictures have a title or description in English.
# CLIP's authors therefore collected **WIT** ("WebImageText"):
# 400 million pairs whose text contains one of **500,000 queries**, with **at most 20,000 pairs per query**, so that
# frequent words do not fill the set.
#
# ### Why match captions instead of writing them?
#
# > **Predict first.** One model writes the caption word by word, another only picks the right
# > caption out of a batch. How many times fewer images does the second need? Twice? Ten times?

# %%
figures.efficiency()

# %% [markdown]
# *Predicting* the caption is slow, because the model must guess the exact words: of all the true sentences about a picture, which one did this
# person happen to write? The authors counted the images needed to reach the same zero-shot ImageNet accuracy (figure 2):
#
# - a Transformer that writes the caption needs **3×** as many as a predictor of the *bag of words* (which words, in no order);
# - the bag of words needs **4×** as many as the *contrastive* objective, which only asks
#   **which of these texts belongs to this picture?**
#
# A common claim is "4× more efficient"; that is the second step alone. Both together make 12×.

# %% [markdown]
# Our own experiment has the same three arms: one image tower under three heads, the same scenes and steps,
# and captions as on the web: many ways to say the same thing, and every fifth picture with a wrong caption. As in the paper,
# the contrastive arm reads its texts as a bag of words too, so only the objective changes. Each arm has the
# learning rate that suits it best, found with another seed.

# %%
claims.stored("clip.efficiency")

# %% [markdown]
# The row judges each step. The first is as large as in the paper; since one of the language model's three runs never got to 50 %, the true ratio may be larger still. The second step depends on the captions. With plain ones there is no clear difference: few words
# describe our whole world, so guessing them is easy. Captions on the web say much that no picture shows. Dressed
# that way (1,400 words; remarks about places, dates and moods), the same captions cost the bag of words about
# 2.3 times as many images (1.2 to 4.6; richness and goal were fixed after one trial).

# %% [markdown]
# (*More · SimCLR and MoCo* compares CLIP with contrast between pictures alone.)
#
# ### The toy world
#
# 8 colours × 6 shapes make 48 classes. Eight compositions (framed) **never** occur in training,
# in no picture and in no text, although their colour and their shape do. They test zero-shot transfer.

# %%
table = [(colour, shape) for shape in world.SHAPES for colour in world.COLOURS]
table_names, out_names = ([" ".join(pair) for pair in kind] for kind in (table, world.HELD_OUT))
drawings = [one_object(*pair, 64) for pair in table]
figures.compositions(drawings, table_names, out_names, columns=8)

# %% [markdown]
# ## 2 · Two towers

# %%
figures.towers()

# %% [markdown]
# Neither network looks at the other's input. For $n$ images the image tower gives features $I_f$, one row of $d_i$ numbers each; for
# their $n$ texts the text tower gives $T_f$, rows of $d_t$ numbers. The matrices $W_i$ ($d_i \times d_e$) and $W_t$ ($d_t \times d_e$), without bias, take both
# into the joint space of $d_e$ dimensions. Every row is then divided by its length:
#
# $$I_e = \frac{I_f W_i}{\lVert I_f W_i\rVert}, \qquad T_e = \frac{T_f W_t}{\lVert T_f W_t\rVert},
# \qquad \text{logits} = e^{t}\, I_e T_e^\top .$$
#
# $I_e T_e^\top$ holds the $n \times n$ cosines of every image with every text; $t$ is one learned number (section 4).
#
# ### Image tower: a picture as a sequence
#
# A Transformer reads sequences. The Vision Transformer (ViT) cuts the picture into squares.

# %%
small = scene.render(32)
figures.patches(small, patch=4)

# %% [markdown]
# Flatten each patch of $P \times P$ pixels to a vector $x_p$ of $3 P^2$ numbers and multiply it by one matrix
# $E$ of shape $D \times 3P^2$, where $D$ is the width of the tower: $E\,x_p$ is a token. CLIP's $E$ has no bias. This is a
# convolution whose stride equals its kernel size, and its weight is stored that way: `(D, 3, P, P)`.
#
# **Exercise 1 of 5 · An image as a sequence of patches** (10 minutes, difficulty 2 of 3).


# %%
# NBVAL_CHECK_OUTPUT
@exercise("clip.patch_embedding")
def patch_embedding(images, weight):
    """(B, 3, H, W) images, (D, 3, P, P) weight → (B, H/P · W/P, D) tokens, row by row."""
    ### BEGIN SOLUTION
    side = weight.shape[-1]
    patches = rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=side, q=side)
    return patches @ weight.flatten(1).T
    ### END SOLUTION


# %% [markdown]
# Your tokens against those of the library's tower, on the picture above:

# %%
# NBVAL_CHECK_OUTPUT
tower = ViT(ViTConfig(image_size=32, patch_size=4, width=64, layers=1, heads=2))
pixels = normalise(small)[None]
tokens = patch_embedding(pixels, tower.patch.weight)
assert torch.allclose(tokens, rearrange(tower.patch(pixels), "b d h w -> b (h w) d"), atol=1e-4)
print("picture", tuple(pixels.shape), "→ tokens", tuple(tokens.shape))

# %% [markdown]
# A learned **class token** goes in front, learned **positions** are added (without them the tower
# could not tell left from right), and then comes CLIP's change to the ViT: **an additional
# LayerNorm** before the first block. The feature $I_f$ is the class token's state after the last
# block and a final LayerNorm.

# %%
show.source(ViT.forward)

# %% [markdown]
# ### The other image tower: a modified ResNet
#
# Five of the paper's nine models, and our `clip-toy`, see with convolutions, which find the same shape anywhere by construction; a ViT must learn that from
# examples. Green marks what CLIP changes in ResNet-50.

# %%
figures_towers.resnet()

# %% [markdown]
# Three 3×3 convolutions replace the first 7×7. Average pools halve the picture, never a stride (*More · Average before you stride*). And
# attention replaces the mean over positions: the mean asks, every position answers (*More · Attention pooling*).
#
# ### Text tower: the last token has read everything
#
# The text is lower-cased, cut into tokens (frequent words are one token, rare ones several pieces: *More · Byte-pair encoding*), and framed
# by a start and an end token.

# %%
# NBVAL_CHECK_OUTPUT
ids = tokenizer("a small red circle above a blue star")[0]
words = [tokenizer.tokens[i].replace("</w>", "").strip("<|>") for i in ids.tolist()]
print(words)
print("end of text has the largest id:", int(ids.max()) == tokenizer.end == ids.tolist()[-1])

# %%
figures.causal(words)

# %% [markdown]
# The text tower has a **causal mask**: each row of the figure is a token, and it sees itself and what stands
# before it. Only one position has read the whole text:
# the **end of text**, EOT. Its state, after a LayerNorm, is $T_f$. The first token has read nothing.
#
# Texts differ in length, so the EOT stands somewhere else in each row. Its id is the largest.
#
# **Exercise 2 of 5 · A text's feature** (6 minutes, difficulty 1 of 3).


# %%
# NBVAL_CHECK_OUTPUT
@exercise("clip.eot_pooling")
def eot_pooling(states, tokens):
    """(B, L, D) states, (B, L) token ids → (B, D): each row's state at its end of text."""
    ### BEGIN SOLUTION
    position = tokens.argmax(dim=-1)  # (B,)
    return states[torch.arange(len(states)), position]
    ### END SOLUTION


# %% [markdown]
# > **Predict first.** Two texts go through an untrained tower. Does more padding after the end change the feature? Does the *first* token's state
# > differ between the texts?

# %%
# NBVAL_CHECK_OUTPUT
torch.manual_seed(0)
text_tower = TextTower(TextConfig(tokenizer.vocab_size, 64, width=64, layers=2, heads=2)).eval()
texts = tokenizer(["a red circle", "two objects, a small white ring above a large blue cross"])
with torch.no_grad():
    feature, inner = text_tower(texts)
    padded, _ = text_tower(F.pad(texts, (0, 20)))  # 20 more columns of padding
    states = inner["tokens"]
assert torch.allclose(eot_pooling(states, texts[:, : states.shape[1]]), feature)
print("more padding changes the feature:", not torch.allclose(padded, feature, atol=1e-5))
print("first token differs between texts:", not torch.allclose(states[0, 0], states[1, 0]))
print("end of text differs between texts:", not torch.allclose(feature[0], feature[1]))

# %% [markdown]
# ### Together
#
# `forward` is the paper's figure 3:

# %%
show.source(CLIP.forward)

# %% [markdown]
# The nine published models have 102 to 623 million parameters. In all of them the text tower is 12 layers deep, and only its width
# grows: the authors found CLIP "less sensitive to the capacity of the text encoder" (*More · Nine sizes*).
#
# ## 3 · The loss: who belongs to whom?
#
# Take $n$ pairs. Comparing each image with each text gives $n^2$ cosines; the $n$ on the
# diagonal belong together.
#
# > **Predict first.** Six pictures and their captions: three shapes in red, the same three in green. After training, which
# > pairs *off* the diagonal will still be rather alike?

# %%
pairs = [(colour, shape) for colour in ("red", "green") for shape in ("circle", "square", "star")]
six_images = torch.stack([one_object(*pair, SIDE) for pair in pairs])
six_texts = [world.class_prompt(*pair) for pair in pairs]
before, after = (
    clip_evals.embed_images(model, six_images)
    @ clip_evals.embed_texts(model, tokenizer, six_texts).T
    for model in (untrained, trained)
)  # (6, 6) each: row = image, column = text
plots.before_after(before, after, six_images, six_texts)

# %% [markdown]
# Training lifts the diagonal above the rest of its row *and* of its column. Pairs that share
# colour or shape stay more alike than pairs that share nothing, though the loss never asked for that.
#
# The loss reads the matrix twice. Row $i$ is a classification with $n$ classes: *which text belongs
# to image $i$?* Column $j$ is another: *which image belongs to text $j$?* With $\ell_{ij} = e^t\,(I_e T_e^\top)_{ij}$,
#
# $$L = \frac{1}{2}\left[
# -\frac1n\sum_i \log\frac{e^{\ell_{ii}}}{\sum_j e^{\ell_{ij}}}
# \;-\;\frac1n\sum_j \log\frac{e^{\ell_{jj}}}{\sum_i e^{\ell_{ij}}}\right].$$
#
# In words: normalise; take all cosines times $e^t$; the right answers are `0, 1, …, n-1`; average the cross-entropy over the
# rows and the one over the columns.
#
# **Exercise 3 of 5 · The contrastive loss** (12 minutes, difficulty 2 of 3). `scale` is $e^t$.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("clip.itc_loss")
def itc_loss(image, text, scale):
    """(n, D) and (n, D) embeddings, not normalised, and exp(t) → the loss in nats, a scalar."""
    ### BEGIN SOLUTION
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    logits = scale * image @ text.T  # (n, n)
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    ### END SOLUTION


# %% [markdown]
# > **Predict first.** 64 pairs, scale 100. What is the loss of a perfect model? Of one that finds everything equally alike? Of one always sure and wrong?

# %%
torch.manual_seed(0)
axes = torch.eye(64)  # 64 directions at right angles
cases = {
    "each pair alone in its direction": itc_loss(axes, axes, 100.0),
    "all images alike, all texts alike": itc_loss(torch.ones(64, 8), torch.ones(64, 8), 100.0),
    "each image matched with a wrong text": itc_loss(axes, axes.roll(1, 0), 100.0),
}
for case, loss in cases.items():
    print(f"{case:37} {loss.item():7.3f} nats")
assert abs(cases["all images alike, all texts alike"].item() - math.log(64)) < 1e-3

# %% [markdown]
# 0, $\log n$, and here $e^t = 100$ (at worst $2e^t$, if the right pair points in opposite directions). The library's loss is the same, plus the exchange between GPUs:

# %%
show.source(losses.itc)

# %% [markdown]
# ## 4 · Temperature
#
# Cosines lie between −1 and 1. A softmax over such numbers is almost flat, however good the model:
# with $n = 256$ and scale 1, even a perfect row (one 1 and 255 zeros) gives the right text only 1 % of the probability.
# So the cosines are multiplied by the scale $e^t$; $\tau = e^{-t}$ is called the **temperature**. Let $s_{ij}$ be the cosine of image $i$ and text $j$, and $L_i$ the loss of row $i$. Then
#
# $$\frac{\partial L_i}{\partial s_{ij}} = e^{t}\,\bigl(p_{ij} - \mathbb{1}[i=j]\bigr),
# \qquad p_{ij} = \frac{e^{\,e^t s_{ij}}}{\sum_k e^{\,e^t s_{ik}}},$$
#
# where $\mathbb{1}[i=j]$ is 1 for the right text and 0 for all others. Each negative pushes in proportion to its probability $p_{ij}$.
#
# > **Predict first.** As the scale grows, which negatives do the pushing? And is there a scale at which the loss of a trained model is lowest?

# %%
similarity = image_emb[:256] @ text_emb[:256].T  # (256, 256), row = image
plots.temperature(similarity, learned=trained.scale().item())

# %% [markdown]
# - *Scale too small*: all negatives push alike, easy ones included, and the loss cannot fall.
# - *Scale too large*: one negative gets all the push, even if it is merely mislabelled.
# - The best value changes as the embeddings improve, so CLIP **learns** $t$ along with the weights. It starts at $\log(1/0.07)$, a
#   scale of 14.3, and the scale is **clipped at 100**, which the authors found necessary for stability. $t$ gets no weight decay: the
#   paper exempts "gains or biases" (section 2.5), and the training code of open_clip, a reimplementation, exempts $t$ by name.

# %%
show.source(CLIP.scale)

# %% [markdown]
# ## 5 · Batch size: where the negatives come from
#
# Each image meets one positive and $n - 1$ negatives, the other texts of its batch. So the batch
# size decides how hard the question is.
#
# > **Predict first.** A trained model picks the right picture out of 2 candidates nearly always. Out of 1,024?


# %%
def recall_among(table, candidates, seed=0):
    """1 where a row's own column beats ``candidates - 1`` random other columns, else 0: (n,)."""
    generator = torch.Generator().manual_seed(seed)
    count = len(table)
    others = torch.rand(count, count, generator=generator).fill_diagonal_(2).argsort(dim=1)
    rivals = table.gather(1, others[:, : candidates - 1])  # (n, candidates - 1)
    return (rivals < table.diagonal()[:, None]).all(dim=1).float()


recalls = {}
for candidates in (2, 4, 16, 64, 256, 1024):
    found = recall_among(text_emb @ image_emb.T, candidates)  # a text looks for its image
    recalls[candidates] = (found.mean().item(), *metrics.bootstrap_interval(found))
raw_images = clip_evals.embed_images(untrained, two_images)
raw_texts = clip_evals.embed_texts(untrained, tokenizer, two_captions)
guessing = {
    n: itc_loss(raw_images[:n], raw_texts[:n], 1 / 0.07).item() for n in (2, 8, 32, 128, 512)
}
assert all(abs(loss - math.log(n)) < 0.6 for n, loss in guessing.items())
plots.batch_size(guessing, recalls)

# %% [markdown]
# Left: the untrained model pays about $\log n$, plus a little, because its opinions are random but not equal. Right: one and
# the same model looks excellent among 2 candidates and much weaker among 1,024. So **a loss means nothing without its batch size**, nor a recall without its number of candidates.
# And a small batch soon has nothing left to teach: its few negatives differ from the right text in everything. The paper's batch of 32,768
# contains pairs that differ in a single detail, and the model must learn that detail.
#
# ### Accumulation is not a bigger batch
#
# When a batch does not fit into memory, you would split it and add up the gradients. For a
# classifier that is exactly the same. Here it is not, because the loss of a pair depends on the other pairs:

# %%
figures.accumulation()


# %%
def loss_and_gradient(parts):
    """Loss and gradient when 256 pairs come in this many accumulated batches."""
    leaf = image_emb[:256].clone().requires_grad_()
    chunks = zip(leaf.chunk(parts), text_emb[:256].chunk(parts), strict=True)
    total = sum(itc_loss(i, t, trained.scale().detach()) for i, t in chunks) / parts
    return total.item(), torch.autograd.grad(total, leaf)[0].flatten()


whole, split = loss_and_gradient(1), loss_and_gradient(8)
angle = torch.cosine_similarity(whole[1], split[1], dim=0).item()
print(f"one batch of 256:       loss {whole[0]:.3f} nats (guessing: {math.log(256):.2f})")
print(f"8 batches of 32, mean:  loss {split[0]:.3f} nats (guessing: {math.log(32):.2f})")
print(f"cosine between the two gradients: {angle:.2f}")
assert whole[0] > split[0] and angle < 0.999

# %% [markdown]
# Eight batches of 32 ask an easier question, and their gradient points elsewhere. With several
# GPUs, the remedy is to **gather the embeddings**, which are small, on all of them (*More · The gather over GPUs*).

# %% [markdown]
# ## 6 · Your own CLIP
#
# You have written the pieces. Now assemble figure 3, with a ViT for the pictures. Your model
# then learns next to the library's, from the same initial weights and on the same batches.
#
# | image tower: `model.image` | text tower: `model.text` | `model` |
# |---|---|---|
# | `patch.weight` (D, 3, P, P) | `token(tokens)` (B, L, D) | `image_projection(x)` |
# | `class_token` (D,) | `positions` (context, D) | `text_projection(y)` |
# | `positions` (1 + patches, D) | `blocks`: `block(y, causal=True)` | `scale()`: $e^t$, at most 100 |
# | `norm_pre`, `blocks`, `norm_post` | `norm_final` | |
#
# **Exercise 4 of 5 · Your own CLIP** (15 minutes, difficulty 2 of 3). Put the class token in front of the patches, add the
# positions, then `norm_pre` and the blocks; the class token's state goes through `norm_post`. In the text tower,
# `norm_final` comes before `eot_pooling`. About 14 lines.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("clip.model")
def clip_loss(model, pixels, tokens):
    """A CLIP with a ViT tower, (B, 3, S, S) pixels, (B, L) tokens → the loss, a scalar."""
    ### BEGIN SOLUTION
    image, text = model.image, model.text
    x = patch_embedding(pixels, image.patch.weight)  # (B, patches, D)
    x = torch.cat([image.class_token.expand(len(x), 1, -1), x], dim=1)  # (B, 1 + patches, D)
    x = image.norm_pre(x + image.positions)
    for block in image.blocks:
        x = block(x)
    image_feature = model.image_projection(image.norm_post(x[:, 0]))  # (B, embed)
    y = text.token(tokens) + text.positions[: tokens.shape[1]]  # (B, L, D)
    for block in text.blocks:
        y = block(y, causal=True)
    text_feature = model.text_projection(eot_pooling(text.norm_final(y), tokens))  # (B, embed)
    return itc_loss(image_feature, text_feature, model.scale())
    ### END SOLUTION


# %% [markdown]
# Batches of 64, about a minute for both models:

# %%
run = capstone.train("clip-capstone", clip_loss, steps=quick(None, 8))
print(run)

# %%
capstone.curves(run)

# %% [markdown]
# The loss starts near $\log 64 = 4.16$: guessing. If your code does the same operations in the same order as the library,
# the curves agree bit for bit. In another order they drift apart, because each step amplifies rounding errors of
# $10^{-7}$; neither is better. What has *your* model learned?

# %%
yours_learned = RECIPES["clip-capstone"].evaluator()(run.model)
print(f"{yours_learned['seen']:.0%} of new pictures named right, among 48 classes (chance 2%)")
capstone.keep(run)

# %% [markdown]
# It is kept as `clip-yours`, and later lectures can build on it.
#
# ### What loss is reasonable?
#
# From here on we use `clip-toy`, with a ResNet tower, trained for longer and shipped with the course. Its training log:
#
# > **Predict first.** The batch is 128. Where does the curve start, and how many steps until it leaves that level: 10, 100, 1,000?

# %%
card = zoo.card("clip-toy")
toy_batch = RECIPES["clip-toy"].train.batch_size
print(f"{card['parameters']:,} parameters, {card['steps']:,} steps")
plots.training_log(zoo.log("clip-toy"), chance=math.log(toy_batch))

# %% [markdown]
# A loss is reasonable only relative to $\log n$: ours starts a little above $\log 128 = 4.85$, is below 3.5 after 30 steps and ends near 0.8. A run that stays at $\log n$ usually has
# too high a learning rate, or pairs that do not match. How low a run ends depends on how many captions of a batch fit several pictures, so
# compare losses only at the same batch size and data.
#
# ## 7 · Classify with words
#
# A classifier is a matrix with one weight vector per class, and CLIP can *compute* it: put each class, written as text, through the
# text tower. With $K$ templates such as "a photo of a {}.", the weight $w_c$ of class $c$ is the direction they agree on. With
# $T_e(\cdot)$ the unit embedding of a text, $I_e$ that of an image, and $\operatorname{norm}(v) = v / \lVert v \rVert$,
#
# $$w_c = \operatorname{norm}\Bigl(\frac1K\sum_{k=1}^{K} T_e(\text{template}_k(c))\Bigr), \qquad
# P(c \mid \text{image}) = \operatorname{softmax}_c\bigl(e^{t}\, I_e \cdot w_c\bigr)$$
#
# **Exercise 5 of 5 · A classifier written in words** (6 minutes, difficulty 1 of 3).


# %%
# NBVAL_CHECK_OUTPUT
@exercise("clip.zero_shot_classifier")
def zero_shot_classifier(prompts):
    """(C, K, D) embeddings of K prompts for each of C classes → (C, D) weights of length 1."""
    ### BEGIN SOLUTION
    unit = F.normalize(prompts, dim=-1)
    return F.normalize(unit.mean(dim=1), dim=-1)
    ### END SOLUTION


# %%
def classifier(names, templates):
    filled = [template.format(name) for name in names for template in templates]
    prompts = clip_evals.embed_texts(trained, tokenizer, filled)  # (C·K, D)
    return zero_shot_classifier(prompts.view(len(names), len(templates), -1))


class_weights = classifier(class_names, world.TEMPLATES)  # (48, D)
expected = clip_evals.classifier(trained, tokenizer, class_names, world.TEMPLATES)
assert torch.allclose(class_weights, expected, atol=1e-5)

# %% [markdown]
# Three pictures of compositions that the model **never saw**, among all 48 classes:

# %%
new_emb = clip_evals.embed_images(trained, new_images)
probability = (trained.scale().item() * new_emb @ class_weights.T).softmax(dim=-1)
shown = [int((new_labels == c).nonzero()[0]) for c in new_labels.unique()[:3]]
plots_use.best_classes(new_images[shown], probability[shown], new_labels[shown])

# %% [markdown]
# Now measured, with 95 % bootstrap intervals over the test pictures:
#
# > **Predict first.** How much worse will the held-out compositions be than the seen ones? Does a bare "red circle" do worse than a sentence?

# %%
ways = {
    "bare words": ([f"{colour} {shape}" for colour, shape in world.CLASSES], ("{}",)),
    "one template": (class_names, ("a picture of {}",)),
    f"{len(world.TEMPLATES)} templates": (class_names, world.TEMPLATES),
}
tests = {
    "seen compositions": world.single_object_set("test", 512, SIDE),
    "held-out compositions": (new_images, new_labels),
}
results = {group: {} for group in tests}
for group, (test_images, test_labels) in tests.items():
    test_emb = clip_evals.embed_images(trained, test_images)
    for way, (names_asked, templates_asked) in ways.items():
        guess = (test_emb @ classifier(names_asked, templates_asked).T).argmax(dim=-1)
        right = (guess == test_labels).float()
        results[group][way] = (right.mean().item(), *metrics.bootstrap_interval(right))
plots_use.groups(results, chance=1 / 48, ylabel="accuracy among 48 classes (%)")

# %%
accuracy, low, high = results["held-out compositions"][f"{len(world.TEMPLATES)} templates"]
assert low > 10 / 48, "far above chance on compositions that were never seen"
row = claims.claim("clip.zero_shot", accuracy, low, high, bootstrap=2000)

# %% [markdown]
# Look at the intervals before you rank the three ways. Why does it work at all? *Red* and *triangle* each occur in training, the text tower combines
# them as it has combined other words, and the image tower puts colour and shape into the same
# directions. *More · Which errors, and where* takes the mistakes apart.
#
# On ImageNet the paper's best model reaches 76.2 % zero-shot, as good as the original ResNet-50, trained
# on 1.28 million labelled pictures. "A photo of a {}." instead of the bare word brings about 1.3 points; 80 templates and their ensemble
# about 5 points together: a bare word is rarely a web text, and it can mean two things (a *crane* is a bird and a machine).

# %% [markdown]
# In full, on 3,000 toy pictures and on photos, with the same pictures for each way of asking:

# %%
claims.stored("clip.prompts")

# %% [markdown]
# A prompt can help in two ways: it settles what an ambiguous word means, or it merely looks more like the training texts. In our two
# worlds no word has a second meaning, so only the second way is left. One template brings one or two points on drawn scenes, nothing clear on photos.
# The ensemble's part is tiny, and an earlier training showed none.

# %% [markdown]
# ## 8 · A few labels: the linear probe
#
# A **linear probe** freezes the image tower and fits one linear classifier
# (logistic regression) on labelled pictures. It tells how well the features *separate* the classes, whether or not words find them.
#
# > **Predict first.** The eight held-out compositions, among all 48 classes. How many labels per class are the prompts worth: one, four, sixteen?

# %%
new_features = probe.features(trained, new_images)
by_prompts = (
    clip_evals.embed_images(trained, new_images)
    @ clip_evals.classifier(trained, tokenizer, class_names, world.TEMPLATES).T
)
print(f"prompts, no labels:   {percent((by_prompts.argmax(dim=-1) == new_labels).float())}")
for labels_each in (1, 2, 4, 16):
    drawn = [
        world.single_object_set(split, labels_each * classes, SIDE, seed=11)
        for split, classes in (("train", len(world.SEEN)), ("heldout", len(world.HELD_OUT)))
    ]
    known, known_labels = (torch.cat(both) for both in zip(*drawn, strict=True))
    known_features = probe.features(trained, known)
    fitted = probe.linear_probe(known_features, known_labels, new_features, new_labels)
    print(f"probe, {labels_each:2} per class:  {percent(fitted.hits)}")
assert fitted.accuracy > 0.9

# %% [markdown]
# Where a probe beats the prompts, the features had the answer and the words did not point at it.
# On average over the paper's data sets, zero-shot CLIP is about as good as a probe on its own features with four labels per class.
#
# The full experiment, on the 40 seen classes, has a third arm: the same tower, trained from nothing on the same labels.

# %%
claims.stored("clip.linear_probe")

# %% [markdown]
# The probe's features come from hundreds of thousands of captioned scenes; the third arm has
# only its labels. The claim is that such features save labels, not that a probe is the better way to train. (One training of each.)
#
# ## 9 · Under shift
#
# A classifier learns whatever separates its classes, the background included. The paper found that zero-shot models
# lose far less on other kinds of pictures (sketches, renditions, odd poses) than models trained on ImageNet that are equally accurate there.
# This has two possible reasons: the web's variety, and that nothing was fitted to one data set.

# %% [markdown]
# Our experiment tells them apart, on the same scenes: one tower, trained with captions or with labels, on pictures from one generator or on *varied* ones (clouds of colour behind
# the objects, all sizes of the training range, some noise; never the test's own stripes or its sizes). The test has unknown backgrounds, sizes outside the training's range, and strong noise.
#
# > **Predict first.** What saves more accuracy under shift: captions instead of labels, or varied pictures instead of uniform ones?

# %%
claims.stored("clip.robust")

# %% [markdown]
# Variety saves 26 points with captions and 29 with labels; captions instead of labels save nothing clear on either kind of picture. So here it is the data that make a model robust, and not the objective,
# as Fang et al. 2022 ("Data Determines Distributional Robustness in Contrastive Language Image Pre-training") found at full scale. But look at the bars: sizes outside the training's range get worse, so variety helps where it resembles the test.

# %% [markdown]
# ## 10 · Search with words
#
# The same similarities, used the other way round: a text is the query, 256 pictures of two objects are the
# candidates. Each caption is true of exactly one of them (green frame).

# %%
gallery, captions = world.two_object_set(256, SIDE, seed=0)
caption_emb = clip_evals.embed_texts(trained, tokenizer, captions)
text_by_image = caption_emb @ clip_evals.embed_images(trained, gallery).T  # (256, 256)
queries = [3, 14, 15, 92]
best = text_by_image[queries].topk(6, dim=1).indices
plots_use.retrieval([captions[q] for q in queries], gallery, best, queries)

# %% [markdown]
# The next ranks are wrong in a sensible way: the right colours on the wrong objects, or the right
# objects in another arrangement. Both directions, with intervals for recall@1:

# %%
for direction, by_query in (("text → image", text_by_image), ("image → text", text_by_image.T)):
    first_rank = (metrics.ranks(by_query) == 0).float()
    deeper = ", ".join(f"@{k} {metrics.recall_at_k(by_query, k):.1%}" for k in (5, 10))
    print(f"{direction}: recall@1 {percent(first_rank)}, {deeper}")
    assert first_rank.mean() > 10 / 256, "at least ten times chance"
print(f"chance: recall@1 {1 / 256:.1%}")

# %% [markdown]
# ## 11 · Where it fails
#
# Random candidates make retrieval easy, because they usually differ in some word. A **foil** is
# the true caption with one change that makes it false:

# %%
# NBVAL_CHECK_OUTPUT
for change in world.FOILS:
    examples = [pair for s in world.two_object_scenes(20, seed=2) for pair in s.foils(change)]
    true, false = min(examples, key=lambda pair: len(pair[0]))
    print(f"{change}: {true!s} → {false!s}")

# %% [markdown]
# The model prefers one of the two. Chance is 50 %.
#
# > **Predict first.** Order the kinds of foil from easy to hard. Which one is nearest to 50 %?

# %%
foil_scenes = world.two_object_scenes(300, seed=2)
foil_emb = clip_evals.embed_images(trained, torch.stack([s.render(SIDE) for s in foil_scenes]))
foil_results = {}
for kind in world.FOILS:
    tried = [
        (i, *options[i % len(options)])
        for i, s in enumerate(foil_scenes)
        if (options := s.foils(kind))
    ]
    index, true_texts, false_texts = zip(*tried, strict=True)
    good, bad = (
        (foil_emb[list(index)] * clip_evals.embed_texts(trained, tokenizer, side)).sum(dim=-1)
        for side in (true_texts, false_texts)
    )
    preferred = (good > bad).float()
    interval = metrics.bootstrap_interval(preferred)
    foil_results[kind.replace(" ", "\n")] = {"this model": (preferred.mean().item(), *interval)}
    verdict = (
        "better than chance"
        if interval[0] > 0.5
        else "could be chance"
        if interval[1] >= 0.5
        else "worse than chance"
    )
    print(f"{kind:18} {percent(preferred)}, {len(preferred)} pictures: {verdict}")
plots_use.groups(foil_results, chance=0.5, ylabel="true caption preferred (%)")

# %% [markdown]
# A *replaced attribute* changes the **set of words**, which even
# a bag of words notices. A *swapped* relation or attribute keeps nearly all the words and changes **who has what**
# or **who stands where**. The objective hardly rewards knowing that: in a random batch, two captions rarely consist
# of the same words in another order. (The *count* says nothing about counting: with two named objects
# the foil always says "three", so a word alone decides. The claim leaves it out.)

# %%
claims.stored("clip.limits")

# %% [markdown]
# Large models show the same weakness (Yuksekgonul et al. 2023, "When and why
# vision-language models behave like bags-of-words"). One remedy is harder negatives; BLIP, the next lecture (to come), mines them.
#
# The paper adds: fine-grained classes (models of cars, species of flowers) and counting are weak; so are handwritten digits,
# which barely occur in its training data (88 % on MNIST); and CLIP **cannot write**: it only chooses among texts that you offer.

# %% [markdown]
# ## 12 · Real photos
#
# The same code on CIFAR-10: photos of 32×32 pixels, 10 classes, captions from templates.
# All ten classes occur in training, so this is **classification by prompts, not
# zero-shot transfer**: it only shows that the machinery works on photos.

# %%
cifar, photos = RECIPES["clip-cifar"], None
if folder := paths.find_data(cifar.data.source):
    photos = sources.open_source(folder, split="test", limit=1000)
else:
    print("CIFAR-10 is not on this machine, so this section is skipped.")
    print("With the photos in a folder: vlcourse train clip-cifar data.source=FOLDER")

# %%
if photos is not None:
    photo_hits = clip_evals.labelled_details(
        zoo.load("clip-cifar"), cifar.tokenizer(), photos, cifar.data.templates
    )
    print(f"{len(photo_hits)} test photos: {percent(photo_hits)} right, chance 10 %")
    assert metrics.bootstrap_interval(photo_hits)[0] > 0.2, "at least twice chance"

# %% [markdown]
# Now true zero-shot transfer: the same recipe, without any photo or caption of two of the ten classes.
#
# > **Predict first.** The model has never read the words *cat* and *truck*. Will it find them?

# %%
claims.stored("clip.real")

# %% [markdown]
# To the text tower, the name of a left-out class is a token fresh from initialisation: nothing says what it means. The toy world's
# held-out pairs were made of known words. Zero-shot transfer needs a language learned elsewhere, and that is
# what 400 million texts are for. (*More · Photos, class by class* has the training log.)
#
# ## 13 · What others built on it
#
# **The text tower steers image generators.** The authors of Stable Diffusion 1 (2022) report a "frozen CLIP ViT-L/14 text encoder", similar to Imagen's; with 123 million
# parameters beside the U-Net's 860 million, the model is "relatively lightweight" and runs on a GPU with 10 GB.
# **The image tower became the eye of language models**: BLIP-2, LLaVA and many others read its patch states (*More · Stable Diffusion and other heirs*).
#
# ## Claims
#
# The headline claims, measured by full experiments (`vlcourse claims` repeats them); a rule computes each verdict.

# %%
# NBVAL_CHECK_OUTPUT
claims.table(
    [
        "clip.efficiency",
        "clip.zero_shot",
        "clip.prompts",
        "clip.linear_probe",
        "clip.robust",
        "clip.limits",
        "clip.real",
    ]
)

# %% [markdown]
# *Does not show here* is a result too: it names a condition that the paper's setting has and ours lacks.
# *Holds* says that the effect shows at toy scale, no more: 48 drawn classes are not ImageNet.
#
# Mind the column *interval over*. An interval over pictures says nothing about training again: the same recipe with the same seed, trained on
# another day with another number of threads, gave 87.7 % and 96.2 % for `clip.zero_shot` instead of 93.9 %. And not every rule was written beforehand: those of the first, third and fifth row
# were made stricter after a first measurement.

# %% [markdown]
# ## Scale it up
#
# The same engine trains the paper's nine models; their recipes have the numbers of its tables 18 to 20:

# %%
# NBVAL_CHECK_OUTPUT
for run_name in (run[0] for run in PAPER_RUNS):
    config, px = RECIPES[run_name].train, RECIPES[run_name].model.image.image_size
    epochs = config.steps * config.batch_size / 400e6
    parts = RECIPES[run_name].parts
    start = f"from {parts[0].source}" if parts else f"warm-up {config.warmup:,} steps"
    print(
        f"{run_name:17} {px} px  lr {config.lr:.1e}  β₂ {config.beta2}  ε {config.eps:g}", end="  "
    )
    print(f"batch {config.batch_size:,}  {epochs:2.0f} × 400 M pairs  {start}")

# %% [markdown]
# ViT-L/14 on 32 machines with 8 GPUs each (`torchrun` starts one process, a *rank*, per GPU):
#
# ```bash
# torchrun --nnodes 32 --nproc-per-node 8 -m vlcourse train clip-vit-l14 data.source=FOLDER
# torchrun --nnodes 32 --nproc-per-node 8 -m vlcourse train clip-vit-l14-336 data.source=FOLDER
# ```
#
# The second line is the last epoch, at 336 px. **DDP** (distributed data parallel, the default): each rank holds the whole model and works on its part of the batch, and
# the gradients are averaged. **FSDP** (fully sharded) also splits weights and optimiser state among the ranks, for models too large for one. WIT was never published:
# `FOLDER` holds your own pairs. On one GPU, use `run.parallel=none`, a `train.batch_size` that fits, and a learning rate to match.
#
# ### What does ViT-L/14 cost?
#
# Multiplying a token by a weight matrix costs 2 FLOPs (floating-point operations) per weight. A Transformer layer of width $D$ has about $12D^2$ weights, so it
# costs $24D^2$ per token, plus $4LD$ for attention over $L$ tokens. A training step costs three times the forward pass: once forward, about twice that backward.
#
# > **Predict first.** 256 GPUs ran for 12 days. What share of their peak speed went into the model's own arithmetic: 20 %, 50 %, 80 %?


# %%
# NBVAL_CHECK_OUTPUT
def forward_flops(length, width, layers):
    return layers * length * (24 * width**2 + 4 * length * width)


image_flops = forward_flops(257, 1024, 24) + 2 * 256 * (3 * 14 * 14) * 1024  # blocks + patches
text_flops = forward_flops(77, 768, 12)
per_pair = 3 * (image_flops + text_flops)
total_flops = per_pair * 400e6 * 32  # 32 epochs of WIT
v100_seconds = 256 * 12 * 86_400  # the paper: 256 V100s, 12 days
mfu = total_flops / v100_seconds / 125e12  # a V100's peak: 125 TFLOP/s in half precision
print(f"forward, one pair: image {image_flops / 1e9:.0f} + text {text_flops / 1e9:.0f} GFLOPs")
print(f"training: {per_pair / 1e9:.0f} GFLOPs a pair × 12.8 billion = {total_flops:.2e} FLOPs")
print(f"256 V100s × 12 days = {v100_seconds / 3600:,.0f} GPU-hours, so an MFU of {mfu:.0%}")
h100_hours = total_flops / (0.40 * 989e12) / 3600
print(f"H100 at 989 TFLOP/s (bf16) and an MFU of 40 %: {h100_hours:,.0f} GPU-hours")
assert 0.18 < mfu < 0.22

# %% [markdown]
# **MFU**, model FLOPs utilisation, is the share of the hardware's peak that goes into the model's
# arithmetic. GPT-3, also trained on V100s, is put at 21.3 % (Chowdhery et al. 2022, "PaLM"), so about 20 % was nothing unusual. (*More · Memory and precision* adds up the memory.)

# %% [markdown]
# ## Corrections
#
# Where the lecture's slides and interview notes, or the paper itself, disagree with the paper or its code (*More · Corrections* has eight more):
#
# 1. **"EOS ([SEP])"** (slides): the text feature is the state at the **EOT** token. [SEP] is BERT's. The paper writes [EOS],
#    the code `<|endoftext|>`. And the text Transformer is causal, not a plain encoder.
# 2. **"4X"** (slides) is bag of words against contrastive, in images to equal zero-shot accuracy. Against writing the
#    caption it is 12×. It is not the speed of a training step.
# 3. **Uniform sampling of a sentence** (slides) is *not* CLIP's: ConVIRT's function $t_u$ was **removed**, because many of WIT's texts are a single sentence. Only
#    a random square crop of the image remains.
# 4. **WIT** (slides): 400 million, not more. It was balanced by the limit per query; the paper describes no strict de-noising filter.
# 5. **49,152 tokens, length 76** (paper, section 2.4): the code has **49,408** and a context of **77**.
# 6. **ALIGN as built on CLIP** (slides): CLIP was first (5 January 2021), and ALIGN (February 2021) names it, but five weeks are parallel work.

# %% [markdown]
# ## Recap
#
# - **Supervision.** Sentences from the web instead of labels; no fixed list of classes.
# - **Objective.** Which text belongs to which image? In the paper, twelve times cheaper than writing the caption.
# - **Model.** Two towers, the text read at EOT; one bias-free matrix each, unit length, $e^{t} I_e T_e^\top$.
# - **Loss.** Cross-entropy over rows and over columns; guessing costs $\log n$. The temperature is learned.
# - **Batch.** It supplies the negatives; accumulation does not replace it.
# - **Use.** Prompts make a classifier, the same similarities a search engine; a linear probe needs few labels.
# - **Limits.** Who has what, left or right, how many, fine detail; and it cannot write.
#
# Next: *BLIP* (to come) adds matching and writing.

# %% [markdown]
# ## Quiz
#
# **1.** A batch has 64 pairs and the loss stays at 4.16. What do you know?
#
# <details><summary>Answer</summary>
#
# log 64 = 4.16: it is guessing. Look at the learning rate, at whether the embeddings have
# collapsed to one direction, and at whether images and texts are still in the same order.
#
# </details>
#
# **2.** Why is the text feature taken at the last token, and not at the first as in BERT?
#
# <details><summary>Answer</summary>
#
# The mask is causal: the first token has read nothing, and its state is the same for every text.
#
# </details>
#
# **3.** Your GPU holds 256 pairs. Does accumulating 8 steps give you the gradient of a batch of 2,048?
#
# <details><summary>Answer</summary>
#
# No. Each small batch computes its own block of the similarity matrix; the negatives between blocks are missing.
#
# </details>
#
# **4.** CLIP tells "a red circle" from "a blue circle", but barely "a circle left of a star" from "a star left of a circle". Why?
#
# <details><summary>Answer</summary>
#
# The loss only asks for what separates a pair from the rest of its batch. Captions with the same words in another order are rare there, so word
# order does not pay.
#
# </details>

# %% [markdown]
# ## More · Further questions
#
# **1.** What goes wrong if the scale $e^t$ is fixed at 1?
#
# <details><summary>Answer</summary>
#
# The logits lie between −1 and 1 and the softmax stays nearly flat. Even a perfect model has a high loss, and all negatives
# push almost alike, easy ones as much as hard ones.
#
# </details>
#
# **2.** Your model names 90 % of the CIFAR-10 photos right by prompts, after training on captions of CIFAR-10. Is that zero-shot?
#
# <details><summary>Answer</summary>
#
# No. It saw these classes in training, only written as text. Zero-shot transfer needs classes (or data sets) without any
# labelled example in training.
#
# </details>
#
# **3.** Why normalise before the mean over templates, and once more after it?
#
# <details><summary>Answer</summary>
#
# Before: otherwise prompts with long embeddings count more. After: the mean of unit vectors is shorter the less they agree,
# and a class must not win or lose by the length of its weight.
#
# </details>
#
# **4.** The batch is 128, and a run on photos of ten classes ends at a loss of 3.4. Is it broken?
#
# <details><summary>Answer</summary>
#
# No. About a dozen photos of the batch share each class, and a caption that names only the class fits all of them. Even a model that always knows the class
# pays about log 12.8 = 2.5, and ours names two photos in three.
#
# </details>

# %% [markdown]
# ## More · Corrections
#
# 1. **YFCC100M** (slides) is not just noisy: the paper says what is left, 15 million pictures with English natural-language titles or descriptions, about as many as
#    in the full ImageNet (14 million).
# 2. **"Models of ten billion parameters"** (百亿级, slides) as the reason for a larger data set: CLIP's largest has 0.62 billion.
# 3. **"ResNetD anti-aliased pooling"** (slides) is two changes: the stem and shortcuts of ResNet-D (He et al. 2019), and blur
#    pooling before strides (Zhang 2019). In the code, an average pool before every stride serves both.
# 4. **PaLM-E** (slides) stands among the follow-ups as built on CLIP. Its image encoders are ViTs trained on classification. And like GPT-4,
#    it appeared in March 2023, not in 2021–2022 as the time line says.
# 5. **The pseudo-code's names** (paper, figure 3): with images in rows, `loss_i` with `axis=0` normalises over the *images* of each text. The names
#    look swapped; the mean of the two is the same.
# 6. **"BLIP's image and text features are not aligned"** (interview notes, on Stable Diffusion): BLIP is trained with the contrastive loss
#    too, and Stable Diffusion does not read the aligned embedding anyway.
# 7. **"12 layers, 512, 8 heads"** (slides) is the text tower of the base sizes. Its width goes up to 1024; its depth is always 12.
# 8. **"Minimise the cosine similarity of matching pairs"** (interview notes): the other way round. It is *maximised* for pairs that match.
#
# The 49,408 tokens are 256 bytes, 256 bytes that end a word, 48,894 merges, start and end. The causal mask is there, the authors say, so that a language model's weights or a language
# modelling loss could be added later.

# %% [markdown]
# ## More · SimCLR and MoCo
#
# Both learn from pictures alone, with the same kind of loss.

# %%
whole_picture = scene.render(192)
crops = whole_picture[:, :144, :144], whole_picture[:, 40:184, 20:164]  # two views
figures.positives(*crops, whole_picture, scene.captions()[0])

# %% [markdown]
# | | SimCLR | MoCo | CLIP |
# |---|---|---|---|
# | a positive pair | two augmented views of one image | the same | an image and its text |
# | negatives from | the batch | a queue of older keys | the batch |
# | encoders | one, used twice | one, and its moving average | two different ones |
# | augmentation | strong: it *defines* what is the same | strong | a random square crop |
# | head | non-linear | linear (v1), non-linear (v2) | linear, no bias |
# | temperature | fixed | fixed | learned |
# | a classifier | needs labels | needs labels | can be written in words |
#
# **Check yourself.** SimCLR needs strong augmentation and CLIP only a crop. Why?
#
# <details><summary>Answer</summary>
#
# In SimCLR the augmentation defines what "the same" means; without it the task is trivial. In CLIP the text gives a
# second, very different view of the picture.
#
# </details>

# %% [markdown]
# ## More · Byte-pair encoding
#
# Whole words make an endless vocabulary; letters make long texts. **Byte-pair encoding** (Sennrich et al. 2016)
# lies in between: begin with single bytes, and again and again join the most frequent pair of neighbours into a new token. Here is the word *triangle* in the toy
# tokenizer, after more and more of these *merges*:

# %%
some_captions = [s.captions()[0] for s in world.two_object_scenes(100, seed=4)]
word_steps, lengths = [], {}
for merge_count in range(len(tokenizer.merges) + 1):
    shorter = tokenizers.ByteBPE(tokenizer.merges[:merge_count])
    symbols = [shorter.tokens[i] for i in shorter.encode("triangle")]
    if not word_steps or symbols != word_steps[-1][1]:
        word_steps.append((merge_count, symbols))
    if merge_count % 23 == 0:
        encoded = [len(shorter.encode(text)) for text in some_captions]
        lengths[merge_count] = sum(encoded) / len(encoded)
figures_towers.merging(word_steps, lengths)

# %% [markdown]
# A frequent word ends as one token; a rare one stays in pieces. No text is ever unknown, because every byte is a token.
# The mark `</w>` on a word's last symbol distinguishes *le* at the end of a word from *le* inside one. CLIP first splits texts with a pattern: words stay whole, and
# numbers fall into single digits (*2023* is 2, 0, 2, 3).
#
# Learning needs only a table of words $w$ with their counts $c_w$. Each step finds
#
# $$(a, b)^\star = \arg\max_{(a, b)} \sum_w c_w \cdot \#\{\text{places in } w \text{ where } b \text{ follows } a\},$$
#
# and makes $a\,b$ one symbol everywhere. Among equally frequent pairs, take the one that sorts first.
#
# **Extra exercise · One step of learning a tokenizer** (12 minutes, difficulty 2 of 3). `byte_bpe.merge(symbols, pair)` joins a pair
# in one word.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("clip.bpe_merge")
def bpe_merge(words):
    """{("l", "o", "w</w>"): 5, …}, symbols → count, to (the best pair, the words with it merged)."""
    ### BEGIN SOLUTION
    pairs = Counter()
    for symbols, count in words.items():
        for pair in zip(symbols, symbols[1:], strict=False):
            pairs[pair] += count
    best = min(pairs, key=lambda pair: (-pairs[pair], pair))
    return best, {byte_bpe.merge(symbols, best): count for symbols, count in words.items()}
    ### END SOLUTION


# %% [markdown]
# Forty of your steps on captions of the toy world, against the library's:

# %%
# NBVAL_CHECK_OUTPUT
split_up = (word for text in some_captions for word in byte_bpe.split_words(byte_bpe.clean(text)))
word_counts = Counter(split_up)
spelled = {(*word[:-1], word[-1] + "</w>"): count for word, count in word_counts.items()}
learned = []
for _ in range(40):
    best_pair, spelled = bpe_merge(spelled)
    learned.append(best_pair)
assert learned == byte_bpe.train_bpe(some_captions, 40)
print("first:", ", ".join("+".join(joined) for joined in learned[:8]))
print("last: ", ", ".join("+".join(joined) for joined in learned[-6:]))

# %% [markdown]
# CLIP's own vocabulary is built the same way, with the merges of a larger corpus:

# %%
# NBVAL_CHECK_OUTPUT
bytes_, ends, marks = 256, 256, 2  # each byte, each byte that ends a word, start and end of text
print(f"toy:  {bytes_ + ends + len(tokenizer.merges) + marks:,} tokens")
print(
    f"CLIP: {bytes_ + ends + clip_merges.MERGES + marks:,} tokens, context {TextConfig().context}"
)
assert bytes_ + ends + clip_merges.MERGES + marks == TextConfig().vocab_size
print(f"toy tokens for '红色圆形', which it never saw: {len(tokenizer.encode('红色圆形'))} bytes")
try:
    tokenizer("a small red circle " * 10, context=16)
except ValueError as error:
    print(error)

# %% [markdown]
# The context of 77 includes start and end, so 75 tokens remain. A longer text is refused, or cut if you ask for it.
#
# **Check yourself.** Somebody encodes a word that no merge covers. What does the tokenizer do?
#
# <details><summary>Answer</summary>
#
# It spells the word in smaller pieces, at worst in single bytes. Nothing is ever unknown; the text only gets longer, and rare
# pieces have poorly trained vectors.
#
# </details>

# %% [markdown]
# ## More · Average before you stride
#
# CLIP's ResNet, built piece by piece (on the `meta` device: shapes, but no numbers):

# %%
# NBVAL_CHECK_OUTPUT
with torch.device("meta"):
    rn50 = ResNet(PRESETS["RN50"].image, PRESETS["RN50"].embed)
    state = torch.empty(1, 3, 224, 224)
    for part in rn50.stem:
        state = part(state)
        if not isinstance(part, (nn.BatchNorm2d, nn.ReLU)):
            print(f"stem   {type(part).__name__:10} → {tuple(state.shape[1:])}")
    for number, block in enumerate(rn50.blocks, start=1):
        shape, state = state.shape, block(state)
        if state.shape != shape:
            how = "averages" if state.shape[2] < shape[2] else ""
            print(f"block {number:2} {how:10} → {tuple(state.shape[1:])}")
    print(f"attention pooling → {tuple(rn50.pool(state).shape[1:])}")

# %% [markdown]
# Why not simply stride? A convolution with stride 2 computes every second position and skips the rest: a thin line that falls between
# the computed ones is seen less. So the features depend on whether the object stands on an even or an odd pixel,
# which means nothing. (Signal processing calls this *aliasing*; Zhang 2019, "Making Convolutional Networks Shift-Invariant Again".)
#
# We measure it: halve a picture three times with random convolutions, using the same weights in both nets, average over the positions,
# and move the picture by a few pixels. (What leaves on the right comes back on the left, so ideally the feature does not change at all.)
#
# > **Predict first.** At which shifts is the change exactly zero?


# %%
def halve_three_times(averaged):
    """Random convolutions with stride 2, or with stride 1 and an average pool after each."""
    torch.manual_seed(0)  # the same weights for both
    layers, channels = [], 3
    for out in (16, 32, 64):
        stride = 1 if averaged else 2
        layers.append(nn.Conv2d(channels, out, 3, stride, 1, padding_mode="circular", bias=False))
        layers += [nn.ReLU(), nn.AvgPool2d(2)] if averaged else [nn.ReLU()]
        channels = out
    return nn.Sequential(*layers).requires_grad_(False)


# %%
moving = normalise(world.single_object_set("test", 64, 64)[0])
moved = {}
for net_kind, averaged in (("convolutions with stride", False), ("average pools", True)):
    net = halve_three_times(averaged)
    views = [net(moving.roll(shift, dims=3)).mean(dim=(2, 3)) for shift in range(9)]
    changes = [(v - views[0]).norm(dim=1) / views[0].norm(dim=1) for v in views]
    moved[net_kind] = [float(c.mean()) for c in changes]
assert max(moved["average pools"]) < max(moved["convolutions with stride"]) / 3
figures_towers.shift(moved)

# %% [markdown]
# Every 8 pixels, the product of the three strides, the change is zero (with pools already at 4, since the mean of the last averages is the mean of
# what they average). In between, averaging keeps it several times smaller. It has a price:
# the convolution before the pool works at full resolution. In CLIP's blocks the pool stands between the 3×3 and the
# last 1×1 convolution, and in the shortcut before its 1×1:

# %%
show.source(Bottleneck.forward)

# %% [markdown]
# ## More · Attention pooling
#
# The mean gives each position the same weight, sky and bird alike. In CLIP's ResNet one attention layer
# decides: its query is the mean, its keys and values are all positions, including the mean.

# %%
figures_towers.attention_pool()

# %%
show.source(AttentionPool)

# %% [markdown]
# The output matrix goes straight into the joint space, so it takes the place of $W_i$ (and has a bias).
#
# > **Predict first.** Fresh from its initialisation, on pictures of 224 px, which leave 7×7 positions: how does it distribute its 50 weights?


# %%
def pooling_weights(pool, grid):
    """(B, C, H, W) → (B, heads, 1 + H·W): the weights that attention pooling gives."""
    positions = rearrange(grid, "b c h w -> b (h w) c")
    mean = positions.mean(dim=1, keepdim=True)
    inputs = torch.cat([mean, positions], dim=1) + pool.positions
    query, keys = (
        rearrange(t, "b l (h d) -> b h l d", h=pool.attention.heads)
        for t in (pool.attention.q(inputs[:, :1]), pool.attention.k(inputs))
    )
    return (query @ keys.mT / query.shape[-1] ** 0.5).softmax(dim=-1)[:, :, 0]


torch.manual_seed(0)
wide = ResNet(ResNetConfig(224, (1, 1, 1, 1), 16, 8), embed=128).eval().requires_grad_(False)
last_map = wide(normalise(world.single_object_set("test", 4, 224)[0]))[1]["grid"]
share = pooling_weights(wide.pool, last_map)
print(f"{share.shape[-1]} weights, {share.min():.4f} to {share.max():.4f}; equal shares: 0.02")
assert torch.allclose(share, torch.full_like(share, 1 / 50), atol=0.005)

# %% [markdown]
# It **begins as the mean** and learns to depart from it. In our own tower there is nothing to choose: 32 px leave a grid of
# 1×1, so the mean *is* the only position, and the layer does little more than a linear map. The paper's ResNets
# weigh 50 tokens at 224 px and up to 197 at 448 px.

# %% [markdown]
# ## More · Nine sizes
#
# The published models, as the library has them. We count the parameters ourselves, again on the `meta` device.

# %%
# NBVAL_CHECK_OUTPUT
for preset, shape_ in PRESETS.items():
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in shape_.build().parameters())
    eye, reader = shape_.image, shape_.text
    depth = eye.layers if isinstance(eye, ViTConfig) else str(eye.layers).replace(" ", "")
    print(f"{preset:12} {eye.image_size} px → {shape_.embed:4}", end="  ")
    print(f"image {depth!s:>11} × {eye.width:4}", end="  ")
    print(f"text {reader.layers} × {reader.width:4}, {reader.heads:2} heads  {count:11,}")

# %% [markdown]
# (Layers × width; for a ResNet, the blocks of its four stages and the channels after the stem.) The text tower always has 12 layers. Only its
# width grows, in proportion to the ResNet's: the authors found CLIP "less sensitive to the capacity of the text encoder" (section 2.4). The ResNets get more width, depth and
# resolution at once, as in EfficientNet.

# %% [markdown]
# ## More · The gather over GPUs
#
# $W$ ranks with $n$ pairs each make a batch of $N = W\,n$ pairs. `torch.distributed.all_gather` brings every rank's rows to all ranks, but
# **what it returns are constants**. This is what people write first:
#
# ```python
# def gather_rows(local, received, rank):   # received: what all_gather returned, W tensors (n, D)
#     return torch.cat(received)            # then: itc(gather_rows(image, …), gather_rows(text, …))
# ```
#
# The loss is right to the last digit, and nothing is learned. Find out why, and repair it.
#
# **Extra exercise · Find the bug: a gather without gradient** (8 minutes, difficulty 2 of 3). `local` is this rank's own
# part, with its history.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("clip.gather_bug")
def gather_rows(local, received, rank):
    """(n, D) own rows, W received parts (n, D), own rank → (W·n, D), right in value and gradient."""
    ### BEGIN SOLUTION
    parts = list(received)
    parts[rank] = local
    return torch.cat(parts)
    ### END SOLUTION


# %% [markdown]
# With this repair every rank computes the *whole* $N \times N$ matrix, and the gradient of that loss at its own rows is complete; the other rows are constants to it. Now **DDP averages** the
# parameters' gradients over the ranks. The contributions of the $W$ ranks should be *added*, so both towers get $1/W$ of the right gradient; the temperature, whose
# gradient every rank has in full, gets all of it. Adam hides a constant factor, but clipping the gradient's norm does not, and SGD would learn $W$ times too slowly.
#
# The paper's way is cheaper: **each rank computes only its own $n$ rows against all $N$
# columns**, memory $n \cdot N$ instead of $N^2$. But then a rank's loss no longer contains everything its rows
# do: as columns they are negatives in the losses of *other* ranks.

# %%
figures_towers.gather()

# %% [markdown]
# So the backward pass of the gather adds up the gradients that all ranks have for a rank's rows, a *reduce-scatter*. Four ranks with 64 pairs each,
# played one after another in one process: how far is the gradient of rank 0's texts from that of the whole batch?


# %%
def own_loss(rank, query, column, n=64):
    """A rank's loss: its own rows of ``query``, against all rows of ``column`` (image, text)."""
    own, target = slice(rank * n, (rank + 1) * n), torch.arange(rank * n, (rank + 1) * n)
    scale = trained.scale().detach()
    of_images = F.cross_entropy(scale * query[0][own] @ column[1].T, target)
    return (of_images + F.cross_entropy(scale * query[1][own] @ column[0].T, target)) / 2


# %%
raw_image, raw_text = image_emb[:256], text_emb[:256].clone().requires_grad_()
sides = raw_image, F.normalize(raw_text, dim=-1)
constant = tuple(side.detach() for side in sides)
whole_loss = losses.itc(raw_image, raw_text, trained.scale().detach())
wanted = torch.autograd.grad(whole_loss, raw_text)[0]
attempts = {
    "columns are constants": own_loss(0, sides, constant) / 4,
    "own columns put back, own loss only": own_loss(0, sides, sides) / 4,
    "summed over the ranks": sum(own_loss(rank, sides, sides) for rank in range(4)) / 4,
}
off_by = {}
for attempt, its_loss in attempts.items():
    mine = torch.autograd.grad(its_loss, raw_text, retain_graph=True)[0][:64]  # rank 0's rows
    off_by[attempt] = float((mine - wanted[:64]).norm() / wanted[:64].norm())
    print(f"{attempt:36} off by {off_by[attempt]:.1%} of the gradient's length")
assert off_by["summed over the ranks"] < 1e-4 < 0.05 < off_by["columns are constants"]

# %% [markdown]
# The errors of the first two are not noise: a part of the gradient is missing in every step. In the library
# the sum is in `backward`, and a test compares the loss on 2 and on 4 real processes with one process that has the whole batch. (Here DDP's mean is just right: the mean of the
# ranks' losses is the loss of the whole batch.)

# %%
show.source(losses._GatherRows)

# %% [markdown]
# And on one small GPU? Encode in pieces without gradients, take the gradient of the loss at the embeddings, and encode once more to push it through (Gao et al. 2021, "GradCache").
#
# **Check yourself.** On 8 ranks, each computes its own rows of the loss. You replace the differentiable gather by `all_gather`. Training still works, only
# worse. Why does it not stop altogether, as in the exercise?
#
# <details><summary>Answer</summary>
#
# A rank's own rows still enter its loss directly, as queries; that part of the gradient is there. What is missing is what its rows do as columns: positives
# of their partners and negatives of all others. In the exercise, queries *and* columns came from the gathered constants.
#
# </details>

# %% [markdown]
# ## More · Which errors, and where
#
# Where the prompts of section 7 fail on the held-out compositions, which half is wrong?

# %%
by_words = clip_evals.classifier(trained, tokenizer, class_names, world.TEMPLATES)  # (48, D)
named = (clip_evals.embed_images(trained, new_images) @ by_words.T).argmax(dim=-1)
n_shapes = len(world.SHAPES)
colour_right = (named // n_shapes == new_labels // n_shapes).float().mean().item()
shape_right = (named % n_shapes == new_labels % n_shapes).float().mean().item()
in_training = torch.tensor([pair in world.SEEN for pair in world.CLASSES])
mistaken = in_training[named[named != new_labels]]
print(f"held-out pictures: colour right {colour_right:.1%}, shape right {shape_right:.1%}")
print(f"{len(mistaken)} errors; {int(mistaken.sum())} of them name a composition seen in training")

# %%
named_right = (named == new_labels).float()
by_class = {
    " ".join(world.CLASSES[c]): named_right[new_labels == c] for c in new_labels.unique().tolist()
}
paints = {name: plots_use.paint(name.split()[0]) for name in by_class}
plots_use.ranked(by_class, 1 / 48, "held-out pictures named right (%)", paints)

# %% [markdown]
# An average hides this: the errors are not spread evenly over the eight compositions. Look at the classes before you believe
# a mean. (These are the shipped weights, one training run; we did not measure how the order changes with the seed.)

# %% [markdown]
# ## More · Photos, class by class
#
# The photo model of section 12: its training log, and its accuracy for each of the ten classes.

# %%
plots.training_log(zoo.log("clip-cifar"), chance=math.log(RECIPES["clip-cifar"].train.batch_size))

# %%
class_figure = None
if photo_folder := paths.find_data(RECIPES["clip-cifar"].data.source):
    test_photos = sources.open_source(photo_folder, split="test", limit=1000)
    recipe = RECIPES["clip-cifar"]
    named_photos = clip_evals.labelled_details(
        zoo.load("clip-cifar"), recipe.tokenizer(), test_photos, recipe.data.templates
    )
    photo_labels = torch.tensor([test_photos[i]["label"] for i in range(len(test_photos))])
    class_hits = {
        name: named_photos[photo_labels == c] for c, name in enumerate(test_photos.classes)
    }
    class_figure = plots_use.ranked(class_hits, chance=0.1, xlabel="photos named right (%)")
class_figure

# %% [markdown]
# The loss stays far above the toy world's: a batch of 128 photos has only ten classes, so each caption fits about a dozen photos, and no model can tell
# which one was meant. Even perfect knowledge of the class would pay about log 12.8 = 2.5 nats. Accuracy is the curve to watch.

# %% [markdown]
# ## More · Published weights, and other resolutions
#
# The models of the paper are public, in three layouts of the same tensors. The library has one model and a table
# of names for each layout; loading is strict, every tensor must find its place. From a hub id (the only case that uses the network) or from a
# folder on your disk:
#
# ```python
# model = weights.from_hf("openai/clip-vit-base-patch32")         # transformers' layout, about 600 MB
# model = weights.from_openai("ViT-B-32.safetensors")             # OpenAI's and open_clip's layout
# tokenizer = tokenizers.clip()                                   # needs the file of CLIP's merges
# embedding = clip_evals.embed_texts(model, tokenizer, ["a photo of a cat"])
# ```
#
# Offline, we send our own model through OpenAI's layout and back:

# %%
# NBVAL_CHECK_OUTPUT
theirs = weights.to_openai(trained)
head_counts = {"image_heads": trained.config.image.heads, "text_heads": trained.config.text.heads}
back = weights.from_openai(theirs, activation="gelu", **head_counts)
both_states = zip(trained.state_dict().values(), back.state_dict().values(), strict=True)
print("every tensor came back:", all(torch.equal(a, b) for a, b in both_states))
print("the same config:", back.config == trained.config)
fused = theirs["transformer.resblocks.0.attn.in_proj_weight"]
print("query, key and value in one matrix there:", tuple(fused.shape))
try:
    weights.from_openai({k: v for k, v in theirs.items() if k != "ln_final.bias"}, **head_counts)
except weights.WeightsError as error:
    print(error)

# %% [markdown]
# There is one trap that no check can find: **the weights do not say which GELU they were trained with.** OpenAI's want QuickGELU, $x\,\sigma(1.702x)$, most of
# open_clip's the exact one. With the wrong one everything loads and runs, only a little worse:

# %%
wrong = weights.from_openai(theirs, activation="quick_gelu", **head_counts)  # ours wants "gelu"
for gelu, candidate in (("right", back), ("wrong", wrong)):
    again = clip_evals.embed_texts(candidate, tokenizer, two_captions[:256])
    cosine = (again * text_emb[:256]).sum(dim=-1)
    print(f"{gelu} GELU: cosine with the model's own text embeddings {cosine.min():.4f} at least")

# %% [markdown]
# Two layers barely show it; in a tower of 12 or 24 the differences add up.
#
# ### From 224 to 336 pixels
#
# ViT-L/14@336 is ViT-L/14, trained for one more epoch on larger pictures (FixRes, Touvron et al. 2019). Only one tensor depends on the size:
# the positions, one for each patch. They form a grid, and a grid can be interpolated like a picture. A made-up wave, from 16×16 patches to 24×24:

# %%
ticks = torch.linspace(0, 6.28, 16)
wave = torch.cat([torch.zeros(1), (ticks.sin()[:, None] * ticks.cos()).flatten()])[:, None]
grids = [wave[1:, 0].view(16, 16), resize_positions(wave, grid=24)[1:, 0].view(24, 24)]
figures_towers.positions(grids, ("224 px: 16×16", "336 px: 24×24, bicubic"))

# %%
# NBVAL_CHECK_OUTPUT
torch.manual_seed(0)
at_224 = CLIPConfig(32, ViTConfig(224, 14, 32, 1, 2), TextConfig(600, 16, 32, 1, 2)).build()
at_336 = at_224.at_resolution(336)
for tensor_name, small_one in at_224.state_dict().items():
    large_one = at_336.state_dict()[tensor_name]
    if small_one.shape != large_one.shape:
        print(f"{tensor_name}: {tuple(small_one.shape)} → {tuple(large_one.shape)}")
    else:
        assert torch.equal(small_one, large_one)
kept = torch.equal(at_224.image.positions[0], at_336.image.positions[0])
print("the class token's position stays as it is:", kept)
added = (24**2 - 16**2) * PRESETS["ViT-L/14"].image.width
print(f"ViT-L/14 gets {added:,} more parameters, as in the table of nine sizes")

# %% [markdown]
# **Check yourself.** A ViT-L/14 for 224 px gets pictures of 336 px. Which weights change their shape?
#
# <details><summary>Answer</summary>
#
# Only the positions: 1 + 16² become 1 + 24² vectors. Patch size, blocks and projection do not know the picture's size.
#
# </details>

# %% [markdown]
# ## More · Memory and precision
#
# Three ways to save, and the library has all of them.
#
# **Padding trimmed at the last EOT.** Under the causal mask nothing after the end of a text can reach its feature, so the
# text tower drops the columns behind the batch's last EOT: the same result (the experiment in section 2) for less. In FLOPs:

# %%
# NBVAL_CHECK_OUTPUT
image_tower = 24 * 257 * (24 * 1024**2 + 4 * 257 * 1024)  # ViT-L/14, forward, without the patches
for text_length in (77, 40, 20):
    cost = 12 * text_length * (24 * 768**2 + 4 * text_length * 768)
    part_of = cost / (cost + image_tower)
    print(f"texts of {text_length} tokens: {cost / 1e9:4.1f} GFLOPs, {part_of:4.1%} of a pair")

# %% [markdown]
# **Gradient checkpointing** (`run.checkpointing=true`) keeps only each block's input, and computes the block once more in the backward
# pass, so the hardware does about a third more than the FLOPs we counted. The gradients are the same:

# %%
# NBVAL_CHECK_OUTPUT
torch.manual_seed(0)
little_towers = ViTConfig(SIDE, 8, 64, 4, 2), TextConfig(tokenizer.vocab_size, 64, 64, 4, 2)
little = CLIPConfig(64, *little_towers).build()
little_batch = {"pixels": normalise(two_images[:6]), "tokens": tokenizer(two_captions[:6])}
computed = []
for little_block in blocks(little):
    little_block.norm1.register_forward_hook(lambda *_: computed.append(1))
gradients = []
for keeping in ("all kept", "checkpointed"):
    if keeping == "checkpointed":
        recompute_blocks(little)
    computed.clear()
    little.zero_grad()
    little.losses(little_batch)["itc"].backward()
    gradients.append(torch.cat([p.grad.flatten() for p in little.parameters()]))
    print(f"{keeping:12} {len(computed):2} blocks computed")
print("the same gradients:", torch.allclose(*gradients, atol=1e-6))

# %% [markdown]
# **Mixed precision** (`run.precision=bf16`): matrix products in 16 bits, weights and Adam's moments in 32. The paper used
# float16. Some gradients are smaller than its smallest number, so the loss must be scaled up; bf16 has the range of
# float32 and needs no such care, but keeps only two to three digits.
#
# And the memory? A batch of 32,768 on 256 GPUs is 128 pairs per GPU.

# %%
# NBVAL_CHECK_OUTPUT
parameters, pairs_per_gpu, paper_batch, embed = 427_616_513, 128, 32_768, 768
optimiser = 16 * parameters  # float32 weight, gradient and Adam's two moments: 4 bytes each
row_units = 257 * 1024 * 24 + 77 * 768 * 12  # tokens × width × layers of both towers
# about 34 bytes each in half precision, without attention maps
all_kept = 34 * row_units * pairs_per_gpu
inputs_kept = 2 * row_units * pairs_per_gpu  # checkpointing keeps only the input of each block
for stored_name, size_in_bytes in (
    ("weights, gradients, Adam", optimiser),
    ("activations, all kept", all_kept),
    ("activations, checkpointed", inputs_kept),
    ("similarities, the whole matrix", 4 * paper_batch * paper_batch),
    ("similarities, own rows only", 4 * paper_batch * pairs_per_gpu),
    ("gathered embeddings", 2 * 4 * paper_batch * embed),
):
    print(f"{stored_name:31} {size_in_bytes / 2**30:6.2f} GiB")

# %% [markdown]
# The 34 bytes follow Korthikanti et al. 2022; kept attention maps would add to them. With
# all activations kept, even a V100 with 32 GB is more than full. Hence the paper's list of tricks: mixed precision, gradient
# checkpointing, half-precision Adam moments, and *each GPU computes only its own rows of the similarity matrix*.
#
# The recipe, side by side:
#
# | | the paper | toy |
# |---|---|---|
# | pairs | 400 M, 32 epochs | drawn on demand |
# | batch | 32,768 | 128 |
# | optimiser | Adam, decoupled weight decay 0.2, β₂ 0.98 (ViT), ε 1e-6 | the same kind |
# | learning rate | 4e-4 for ViT-L/14, 2,000 warm-up steps, cosine | see the recipe |
# | context | 77 tokens | 64 |
# | hardware | ViT-L/14: 256 V100s, 12 days; RN50x64: 592 V100s, 18 days | two cores |
# | last step | one more epoch at 336 px (FixRes) | none |
#
# All settings of a training run, with their defaults:

# %%
show.source(TrainConfig)

# %% [markdown]
# ## More · Stable Diffusion and other heirs
#
# A picture of noise is turned into an image step by step; at each step the text says where to go. CLIP is the part that reads.

# %%
figures_towers.stable_diffusion()

# %% [markdown]
# **What its authors say** (README of Stable Diffusion 1, 2022): "Similar to Google's Imagen, this model uses a frozen CLIP ViT-L/14 text encoder to condition the model on text prompts. With its 860M
# UNet and 123M text encoder, the model is relatively lightweight and runs on a GPU with at least 10GB VRAM."
#
# **What the code does.** It takes the text tower and none of the rest. Not the text's one embedding
# goes in, but the states of **all 77 tokens** after the last LayerNorm, before $W_t$. They are keys and values of the cross-attention
# layers; the queries are the positions of the latent picture. Stable Diffusion 2 has the text tower of OpenCLIP's
# ViT-H/14 instead, and reads its states before the last layer; SDXL joins two CLIP text towers.
#
# **Why CLIP, and not BLIP?** (A question of the interview notes.) The notes answer that BLIP's image and text features are not aligned, because its other
# losses pull at them. That is not so: BLIP is trained with the contrastive loss too, and its text encoder has a
# mode that reads text alone. And the argument misses what is used: CLIP's loss never compares the states of single tokens with
# an image, only the EOT's. Whatever alignment is missing, the U-Net's cross-attention learns.
#
# The authors give the reasons above: frozen, small, light. **The rest is our inference**, and no published comparison that we know of settles it:
#
# - **A plain text encoder was wanted.** CLIP's needs one pass over the text and no image. BLIP's is
#   a BERT-base (12 layers × 768, so no larger) that also encodes pairs; its gain lies in those other modes, which a generator does not need.
# - **It has read more.** 400 million web texts with all their names and styles, against BLIP's 14 to 129 million images, whose captions were *cleaned*,
#   many of them written by BLIP itself in plain sentences. Prompts are full of names and styles.
# - **It was at hand.** ViT-L/14's weights have been public since January 2022, the month of BLIP's paper. Latent diffusion (December 2021) still trained a
#   text Transformer of its own; Imagen (May 2022) then showed how much a large *frozen* text encoder brings.
#
# Nothing fundamental rules BLIP out. Imagen's T5 has never seen an image, and raters preferred its pictures to those made with a CLIP text tower; BLIP-Diffusion (2023) puts
# BLIP-2's features into Stable Diffusion.
#
# ### Follow-ups
#
# | | year | what it changes | what it shows |
# |---|---|---|---|
# | ALIGN | February 2021 | 1.8 billion pairs, hardly cleaned; EfficientNet and BERT; names CLIP, which came five weeks earlier | quantity makes up for noise |
# | CoCa | 2022 | a text decoder in two halves: the lower one reads text alone (contrast), the upper one looks at the image (captioning) | one model for both losses, in one pass |
# | PaLM-E | 2023 | image features and a robot's state as tokens of a language model | the language model as the common space |
#
# ALIGN and CoCa keep the contrast. PaLM-E does not: its ViTs were trained on classification. It stands for the other way
# to join images and words, which BLIP-2, LLaMA-Adapter and VideoChat (all to come) take in this course.
#
# **Check yourself.** Which piece of CLIP would you take to steer an image generator by text, and
# which one to give a language model eyes?
#
# <details><summary>Answer</summary>
#
# The text tower steers the generator: Stable Diffusion 1 reads the states of *all* 77 tokens. The
# image tower, usually the states of all patches before the projection, is the eye of BLIP-2, LLaVA and many others. Both profit from
# training that made words and sights comparable.
#
# </details>
