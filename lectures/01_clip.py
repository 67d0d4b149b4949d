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
# **100 minutes to read**, exercises included · **2 minutes to run** on two CPU cores.
#
# A photo classifier knows the classes that it was trained on and nothing else. CLIP learns from
# pictures and the texts found beside them, and can afterwards be asked about any class that one
# can put into words. You will write its key pieces, train a small one, and find out where it
# works and where it does not. Each headline claim of the paper is put to a test of our own size.

# %% [markdown]
# ## Objectives
#
# After this lecture you can
#
# 1. say why a sentence teaches more than a label, and why *matching* texts is cheaper than *writing* them;
# 2. draw both towers and both kinds of image tower, and write the patch embedding, the text feature and a step of BPE;
# 3. write the contrastive loss, explain the temperature and the batch size in it, and spread it over GPUs without losing gradient;
# 4. build a classifier out of prompts and measure it with an interval, on classes never seen, beside a linear probe;
# 5. search pictures with words, and show what the model does *not* understand;
# 6. load published weights, and say which piece of CLIP sits in Stable Diffusion;
# 7. estimate what the paper's training cost, from first principles.

# %% [markdown]
# ## Terms
#
# | term | Chinese | meaning here |
# |---|---|---|
# | contrastive learning | 对比学习 | pull matching pairs together, push the others apart |
# | positive, negative pair | 正样本对、负样本对 | image and text that belong together, or not |
# | image tower, text tower | 图像编码器、文本编码器 | the two networks; they meet only in the loss |
# | patch embedding | 图像块嵌入 | a square of pixels as one vector |
# | class token | 分类标记 | the extra token whose state becomes the image's feature |
# | attention pooling | 注意力池化 | a weighted mean of all positions, whose weights the picture decides |
# | byte-pair encoding, BPE | 字节对编码 | tokens learned by joining the most frequent neighbours |
# | end-of-text token, EOT | 文本结束标记 | the token whose state becomes the text's feature |
# | joint embedding space | 联合嵌入空间 | where images and texts can be compared |
# | cosine similarity | 余弦相似度 | dot product of two vectors of length 1 |
# | temperature | 温度系数 | how sharp the softmax over the similarities is |
# | all-gather, reduce-scatter | 全收集、规约散射 | everybody gets all rows; everybody's contributions to my rows are added up |
# | zero-shot transfer | 零样本迁移 | use on a task without any of its labelled examples |
# | prompt template | 提示模板 | "a photo of a {}." |
# | prompt ensemble | 提示集成 | the mean over several templates |
# | linear probe | 线性探测 | a linear classifier on frozen features |
# | distribution shift | 分布偏移 | test pictures of another kind than the training's |
# | retrieval, recall@k | 检索、召回率@k | share of queries whose own partner is among the first k |
# | held-out composition | 留出的组合 | colour and shape both known, never seen together |
# | foil | 干扰描述 | a caption with one change that makes it false |

# %%
import math
from collections import Counter
from dataclasses import replace

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from vlcourse import losses, paths, tokenizers, weights, zoo
from vlcourse.data import sources, world
from vlcourse.data.collate.pictures import normalise
from vlcourse.engine import TrainConfig, fit
from vlcourse.engine.recompute import blocks, recompute_blocks
from vlcourse.evals import clip as clip_evals
from vlcourse.evals import metrics, probe
from vlcourse.models.clip import CLIP, PRESETS, CLIPConfig, TextConfig, TextTower
from vlcourse.models.resnet import AttentionPool, Bottleneck, ResNet, ResNetConfig
from vlcourse.models.vit import ViT, ViTConfig, resize_positions
from vlcourse.recipes import RECIPES
from vlcourse.recipes.clip import PAPER_RUNS
from vlcourse.teach import claims, is_quick, quick, show
from vlcourse.teach.clip import figures, figures_towers, plots
from vlcourse.teach.exercise import exercise
from vlcourse.tokenizers import byte_bpe, clip_merges

show.style()
tokenizer = tokenizers.toy()

# %% [markdown]
# ## 1 · Why language as supervision
#
# Here is one picture of our toy world, once with a class label and once with a sentence.

# %%
scene = world.two_object_scenes(1, seed=3)[0]
picture, first = scene.render(192), scene.objects[0]
figures.supervision(picture, f"{first.colour} {first.shape}", scene.captions()[0])

# %% [markdown]
# A **label** is one number out of a list that somebody fixed in advance. The second object, the
# sizes and the positions are lost, a new class needs a new list and a new training, and each label
# costs somebody's time. A **sentence** can speak of anything, names classes that no list contains,
# and on the web it stands beside the picture already.
#
# One picture has many true sentences, and each of them teaches something else:

# %%
# NBVAL_CHECK_OUTPUT
for caption in scene.captions()[:6]:
    print(caption)

# %% [markdown]
# ### Where do enough sentences come from?

# %%
figures.datasets()

# %% [markdown]
# In 2021 there was a gap. Captions written on purpose (MS-COCO, Visual Genome) are good but few.
# YFCC100M is large, but its metadata is thin: keep the pictures whose title or description is
# English natural language, and 15 of 100 million remain, about the size of the full ImageNet (14 million).
#
# CLIP's authors therefore collected **WIT** ("WebImageText"; not the Wikipedia data set of the same name):
# 400 million pairs, found by searching for pairs whose text contains one of **500,000 queries**,
# and keeping **at most 20,000 pairs a query**. The limit stops frequent words from filling the set.
#
# ### Why match captions instead of writing them?

# %%
figures.efficiency()

# %% [markdown]
# The first idea was to *predict* the caption, as VirTex does. It learns slowly, because
# it must guess the exact words: of all the true sentences about a picture, which one did this
# person happen to write? The authors measured, by images seen until the same zero-shot ImageNet accuracy:
#
# - a Transformer that writes the caption needs **3×** as many as a predictor of the *bag of words*;
# - the bag of words needs **4×** as many as the *contrastive* objective, which only asks
#   **which of these N texts belongs to this picture?**
#
# The slides' "4X" is the second step alone; both together make 12× (paper, figure 2).
#
# Our own experiment has the same three arms: one image tower (the toy ResNet) under three heads, the same scenes and steps,
# and captions as on the web: many ways to say it, and every fifth picture with a wrong one. As in the paper's figure,
# the contrastive arm reads its texts as a bag of words too, so that only the objective changes. Each arm has the
# learning rate that suits it best, found with another seed.

# %%
claims.stored("clip.efficiency")

# %% [markdown]
# The row is computed from the stored measurement: how many times fewer images, with an interval over the seeds, and a verdict
# that needs *both* steps to be clear. Read it with care in either case. In our world a small vocabulary describes
# everything there is, so guessing the words is an easier task than on the web: whatever the contrast gains
# there by not having to write, it has less to gain here.
#
# ### What is new beside SimCLR and MoCo?

# %%
views = picture[:, :144, :144], picture[:, 40:184, 20:164]  # two crops of one picture
figures.positives(*views, picture, scene.captions()[0])

# %% [markdown]
# | | SimCLR | MoCo | CLIP |
# |---|---|---|---|
# | a positive pair | two augmented views of one image | the same | an image and its text |
# | negatives from | the batch | a queue of older keys | the batch |
# | encoders | one, used twice | one, and its slow moving average | two different ones |
# | augmentation | strong: it *defines* what is the same | strong | a random square crop |
# | head | non-linear | linear (v1), non-linear (v2) | linear, no bias |
# | temperature | fixed | fixed | learned |
# | after training | needs labels for a classifier | needs labels | a classifier can be written in words |
#
# ### The toy world
#
# 8 colours × 6 shapes are 48 classes. Eight compositions (framed) **never** occur in training,
# in no picture and in no text, although their colour and their shape do, in other company.
# That is our test of zero-shot transfer.


# %%
def one_object(colour, shape, size=64):
    return world.Scene((world.Object(colour, shape, "large", 0.5, 0.5, 0.18),), seed=7).render(size)


table = [(colour, shape) for shape in world.SHAPES for colour in world.COLOURS]
names, held_out = ([" ".join(pair) for pair in pairs] for pairs in (table, world.HELD_OUT))
figures.compositions([one_object(*pair) for pair in table], names, held_out, columns=8)

# %% [markdown]
# ## 2 · Two towers

# %%
figures.towers()

# %% [markdown]
# Two networks, which never look at each other's input. Each ends in one feature vector,
# and one matrix without bias takes it into the joint space:
#
# $$I_e = \frac{I_f W_i}{\lVert I_f W_i\rVert}, \qquad T_e = \frac{T_f W_t}{\lVert T_f W_t\rVert},
# \qquad \text{logits} = e^{t}\, I_e T_e^\top .$$
#
# ### Image tower: a picture as a sequence
#
# A Transformer reads sequences. The Vision Transformer cuts the picture into squares.

# %%
small = scene.render(32)
figures.patches(small, patch=4)

# %% [markdown]
# Flatten each patch $x_p \in \mathbb{R}^{3\cdot P\cdot P}$ and multiply it with one matrix
# $E$: a token is $E\,x_p$. In CLIP this projection has no bias. It is the same as a
# convolution whose stride is its kernel size, which is how the weights are stored: `(D, 3, P, P)`.
#
# **Exercise 1 of 6 · An image as a sequence of patches** (10 minutes, difficulty 2 of 3).


# %%
# NBVAL_CHECK_OUTPUT
@exercise("clip.patch_embedding")
def patch_embedding(images, weight):
    """(B, 3, H, W) images, (D, 3, P, P) weight → (B, H/P · W/P, D) tokens, row by row."""
    ### BEGIN SOLUTION
    size = weight.shape[-1]
    patches = rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=size, q=size)
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
# Five of the paper's nine models, and the small ones of this lecture, see with convolutions. The start is ResNet-50;
# green is what CLIP changes.

# %%
figures_towers.resnet()

# %% [markdown]
# 1. **Stem.** Three convolutions of 3×3 instead of one of 7×7, with two more non-linearities.
# 2. **Strides.** Where the picture is halved, an average pool does it, never the stride of a convolution.
# 3. **Pooling.** Attention takes the place of the mean over positions.
#
# Build it piece by piece and watch the shape (on the `meta` device: shapes, but no numbers):

# %%
# NBVAL_CHECK_OUTPUT
with torch.device("meta"):
    rn50 = ResNet(PRESETS["RN50"].image, PRESETS["RN50"].embed)
    x = torch.empty(1, 3, 224, 224)
    for part in rn50.stem:
        x = part(x)
        if not isinstance(part, (nn.BatchNorm2d, nn.ReLU)):
            print(f"stem   {type(part).__name__:10} → {tuple(x.shape[1:])}")
    for number, block in enumerate(rn50.blocks, start=1):
        shape, x = x.shape, block(x)
        if x.shape != shape:
            print(
                f"block {number:2} {'averages' if x.shape[2] < shape[2] else '':10} → {tuple(x.shape[1:])}"
            )
    print(f"attention pooling → {tuple(rn50.pool(x).shape[1:])}")

# %% [markdown]
# Why not just stride? A convolution of stride 2 computes every second position and skips the others: where a thin line falls between
# the computed ones, it is seen less. So the features depend on whether the object stands on an even or an odd pixel,
# which means nothing. (Signal processing calls it *aliasing*; Zhang 2019, "Making Convolutional Networks Shift-Invariant Again".)
#
# We measure it: halve a picture three times by random convolutions, the same weights in both nets, average over the positions,
# and move the picture by some pixels. (Round the edge: nothing leaves it. So the feature should not change at all.)


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
for kind, averaged in (("convolutions with stride", False), ("average pools", True)):
    net = halve_three_times(averaged)
    views = [net(moving.roll(pixels, dims=3)).mean(dim=(2, 3)) for pixels in range(9)]
    change = [(v - views[0]).norm(dim=1) / views[0].norm(dim=1) for v in views]
    moved[kind] = [float(c.mean()) for c in change]
assert max(moved["average pools"]) < max(moved["convolutions with stride"]) / 3
figures_towers.shift(moved)

# %% [markdown]
# Every 8 pixels, the product of the three strides, the change is zero (with the pools already at 4, since the mean of the last averages is the mean of
# what they average). In between, averaging keeps it several times smaller. It has a price:
# the convolution before the pool works at the full resolution. In CLIP's blocks the pool stands between the 3×3 and the
# last 1×1 convolution, and in the shortcut before its 1×1:

# %%
show.source(Bottleneck.forward)

# %% [markdown]
# **Attention pooling.** The mean gives each position the same weight, sky and bird alike. Here one attention layer
# decides: its query is the mean, its keys and values are all positions, the mean among them.

# %%
figures_towers.attention_pool()

# %%
show.source(AttentionPool)

# %% [markdown]
# The output matrix goes straight into the joint space, so it takes the place of $W_i$ (and has a bias).
# How does it begin? A tower fresh from its initialisation, on pictures of 224 px, which leave 7×7 positions:


# %%
def pooling_weights(pool, grid):
    """(B, C, H, W) → (B, heads, 1 + H·W): the weights that attention pooling gives."""
    x = rearrange(grid, "b c h w -> b (h w) c")
    x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + pool.positions
    attention = pool.attention
    query, keys = (
        rearrange(t, "b l (h d) -> b h l d", h=attention.heads)
        for t in (attention.q(x[:, :1]), attention.k(x))
    )
    return (query @ keys.mT / query.shape[-1] ** 0.5).softmax(dim=-1)[:, :, 0]


torch.manual_seed(0)
wide = ResNet(ResNetConfig(224, (1, 1, 1, 1), 16, 8), embed=128).eval().requires_grad_(False)
grid = wide(normalise(world.single_object_set("test", 4, 224)[0]))[1]["grid"]
share = pooling_weights(wide.pool, grid)
print(
    f"{share.shape[-1]} weights between {share.min():.4f} and {share.max():.4f}; equal shares: 0.02"
)
assert torch.allclose(share, torch.full_like(share, 1 / 50), atol=0.005)

# %% [markdown]
# It **begins as the mean** and learns to depart from it. In our own tower there is nothing to choose: 32 px leave a grid of
# 1×1, so that the mean *is* the only position, and the layer does hardly more than a linear map. The paper's ResNets
# weigh 50 tokens at 224 px, up to 197 at 448 px.
#
# ### Text tower, first part: tokens
#
# Whole words make a vocabulary without end, letters make long texts. **Byte-pair encoding** (Sennrich et al. 2016)
# is in between: begin with the single bytes, and again and again join the most frequent pair of neighbours into a new token. The toy tokenizer
# and the word *triangle*:

# %%
some = [scene.captions()[0] for scene in world.two_object_scenes(100, seed=4)]
word_steps, lengths = [], {}
for count in range(len(tokenizer.merges) + 1):
    shorter = tokenizers.ByteBPE(tokenizer.merges[:count])
    symbols = [shorter.tokens[i] for i in shorter.encode("triangle")]
    if not word_steps or symbols != word_steps[-1][1]:
        word_steps.append((count, symbols))
    if count % 23 == 0:
        lengths[count] = sum(len(shorter.encode(text)) for text in some) / len(some)
figures_towers.merging(word_steps, lengths)

# %% [markdown]
# A word that is frequent ends as one token; a rare one stays in pieces, and no text is ever unknown, because any byte is a token.
# The mark `</w>` on a word's last symbol tells *le* at the end of a word from *le* within one.
#
# Learning needs only a table of words with their counts. Each step is, over words $w$ with counts $c_w$,
#
# $$(a, b)^\star = \arg\max_{(a, b)} \sum_w c_w \cdot \#\{\text{places in } w \text{ where } b \text{ follows } a\},$$
#
# and then $a\,b$ becomes one symbol everywhere. Of equally frequent pairs take the one that sorts first.
#
# **Exercise 2 of 6 · One step of learning a tokenizer** (12 minutes, difficulty 2 of 3). `byte_bpe.merge(symbols, pair)` joins a pair
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
# Forty steps of yours on captions of the toy world, against the library's:

# %%
# NBVAL_CHECK_OUTPUT
counts = Counter(w for text in some for w in byte_bpe.split_words(byte_bpe.clean(text)))
vocabulary = {(*word[:-1], word[-1] + "</w>"): count for word, count in counts.items()}
learned = []
for _ in range(40):
    pair, vocabulary = bpe_merge(vocabulary)
    learned.append(pair)
assert learned == byte_bpe.train_bpe(some, 40)
print("first:", ", ".join("+".join(pair) for pair in learned[:8]))
print("last: ", ", ".join("+".join(pair) for pair in learned[-6:]))

# %% [markdown]
# CLIP's own vocabulary has the same build, with the merges of a larger corpus:

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
# The context of 77 counts start and end, so 75 tokens remain; a longer text is refused, or cut when you say so.
#
# ### Text tower, second part: the last token has read everything
#
# The text is lower-cased, cut into tokens, and framed by a start and an end token.

# %%
# NBVAL_CHECK_OUTPUT
ids = tokenizer("a small red circle above a blue star")[0]
words = [tokenizer.tokens[i].replace("</w>", "").strip("<|>") for i in ids.tolist()]
print(words)
print("end of text has the largest id:", int(ids.max()) == tokenizer.end == ids.tolist()[-1])

# %%
figures.causal(words)

# %% [markdown]
# The text tower is a Transformer with a **causal mask**: a token sees itself and what stands
# before it. (The authors kept the mask so that a language model's weights, or a language
# modelling loss, could be added later.) Only one position has read the whole text:
# the **end of text**. Its state, after a LayerNorm, is $T_f$.
#
# The slides call this token "EOS ([SEP])". CLIP has no [SEP]: that is BERT's separator. Nor is the first token any
# use here, as BERT's [CLS] would be: it has read nothing.
#
# Texts have different lengths, so the end stands elsewhere in each row. It is easy to find: its id is the largest.
#
# **Exercise 3 of 6 · A text's feature** (5 minutes, difficulty 1 of 3).


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
# Two experiments with an untrained tower. Does the padding matter? And what does the first token know?

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
# The model holds the two towers, the two projections and one number $t$. `forward` is the paper's figure 3.

# %%
show.source(CLIP.encode_image)

# %%
show.source(CLIP.encode_text)

# %%
show.source(CLIP.forward)

# %% [markdown]
# ### Nine sizes
#
# The published models, as the library has them. We do not believe a table that we can compute: the number of parameters
# is counted, again on the `meta` device.


# %%
# NBVAL_CHECK_OUTPUT
def count_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


for name, shape in PRESETS.items():
    with torch.device("meta"):
        big = shape.build()
    tower, text = shape.image, shape.text
    layers = tower.layers if isinstance(tower, ViTConfig) else str(tower.layers).replace(" ", "")
    print(
        f"{name:12} {tower.image_size} px → {shape.embed:4}  image {layers!s:>11} × {tower.width:4}",
        end="  ",
    )
    print(f"text {text.layers} × {text.width:4}, {text.heads:2} heads  {count_parameters(big):11,}")

# %% [markdown]
# (Layers × width; for a ResNet the blocks of its four stages and the channels after the stem.) The text tower always has 12 layers; only its
# width grows with the image tower, because its depth hardly mattered. The ResNets get more width, depth and
# resolution at once, as in EfficientNet.
#
# ## 3 · The loss: who belongs to whom?
#
# Take $n$ pairs. Each image is compared with each text, which gives $n^2$ cosines, of which $n$, the
# diagonal, belong together. Six pictures and their names, before and after training:

# %%
recipe = RECIPES["clip-toy"]
torch.manual_seed(0)
fresh, trained = recipe.build_model().eval(), zoo.load("clip-toy")
size = trained.config.image.image_size
pairs = [(colour, shape) for colour in ("red", "green") for shape in ("circle", "square", "star")]
images = torch.stack([one_object(*pair, size) for pair in pairs])
prompts = [world.class_prompt(*pair) for pair in pairs]
before, after = (
    clip_evals.embed_texts(model, tokenizer, prompts) @ clip_evals.embed_images(model, images).T
    for model in (fresh, trained)
)
plots.before_after(before, after, prompts)

# %% [markdown]
# Training raises the diagonal above the rest of its row *and* of its column. Pairs that share
# the colour or the shape stay more alike than pairs that share nothing: the space has a structure
# that nobody asked for in the loss.
#
# The loss reads the matrix twice. Row $i$ is a classification with $n$ classes: *which text belongs
# to image $i$?* Column $j$ is another: *which image belongs to text $j$?*
#
# $$L = \frac{1}{2}\left[
# -\frac1n\sum_i \log\frac{e^{\,\text{logits}_{ii}}}{\sum_j e^{\,\text{logits}_{ij}}}
# \;-\;\frac1n\sum_j \log\frac{e^{\,\text{logits}_{jj}}}{\sum_i e^{\,\text{logits}_{ij}}}\right],
# \qquad \text{logits} = e^{t}\, I_e T_e^\top$$
#
# The paper gives it as pseudo-code (figure 3). In words:
#
# 1. project and normalise: `I_e`, `T_e`, each (n, d_e);
# 2. all cosines, times `exp(t)`: `logits`, (n, n);
# 3. the right answers are `0, 1, …, n-1`;
# 4. cross-entropy over the rows, cross-entropy over the columns, and their mean.
#
# **Exercise 4 of 6 · The contrastive loss** (10 minutes, difficulty 2 of 3). `scale` is $e^t$.


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
# What should it say in three cases that we understand?

# %%
torch.manual_seed(0)
axes = torch.eye(64)  # 64 directions at right angles
cases = {
    "each pair alone in its direction": itc_loss(axes, axes, 100.0),
    "all images alike, all texts alike": itc_loss(torch.ones(64, 8), torch.ones(64, 8), 100.0),
    "everybody matched with the wrong one": itc_loss(axes, axes.roll(1, 0), 100.0),
}
for case, loss in cases.items():
    print(f"{case:37} {loss.item():7.3f} nats")
assert abs(cases["all images alike, all texts alike"].item() - math.log(64)) < 1e-3

# %% [markdown]
# 0 for a perfect model; $\log n$ for one that cannot tell anything apart; up to $2e^t$ for one
# that is sure and wrong. The library's loss is the same, plus the exchange between GPUs:

# %%
show.source(losses.itc)

# %% [markdown]
# ## 4 · Temperature
#
# Cosines lie between −1 and 1. A softmax over such numbers is almost flat, however good the model:
# with $n = 256$ and scale 1, even a perfect row (1 and 255 times 0) leaves the right text only 1 % of the probability.
# So the cosines are multiplied by $e^t$ (and $\tau = e^{-t}$ is the temperature). The gradient
# shows what that does to learning:
#
# $$\frac{\partial L_i}{\partial s_{ij}} = e^{t}\,\bigl(p_{ij} - \mathbb{1}[i=j]\bigr),
# \qquad p_{ij} = \frac{e^{\,e^t s_{ij}}}{\sum_k e^{\,e^t s_{ik}}}$$
#
# Each negative pushes in proportion to its probability $p_{ij}$. The larger the scale, the more
# the hardest negatives do all the pushing. Measured with the trained model on 256 pairs of two-object
# pictures and captions:

# %%
many_images, many_captions = world.two_object_set(1024, size, seed=1)
image_emb = clip_evals.embed_images(trained, many_images)
text_emb = clip_evals.embed_texts(trained, tokenizer, many_captions)
similarity = image_emb @ text_emb.T  # (1024, 1024), row = image
plots.temperature(similarity[:256, :256], learned=trained.scale().item())

# %% [markdown]
# - *Too small a scale*: all negatives push alike, easy ones included, and the loss cannot fall.
# - *Too large*: one negative gets all the push, be it hard or simply mislabelled, and the loss is
#   ruled by a few pairs.
# - The best value depends on how good the embeddings are at the time, so a fixed one is wrong for most
#   of the training. CLIP **learns** $t$ together with the weights: it starts at $\log(1/0.07)$, a
#   scale of 14.3, has no weight decay, and the scale is **clipped at 100**, which the authors found
#   necessary for stable training.

# %%
show.source(CLIP.scale)

# %% [markdown]
# ## 5 · Batch size: where the negatives come from
#
# Each image meets one positive and $n - 1$ negatives, namely the other texts of its batch. So the batch
# size decides how hard the question is. A model that guesses pays $\log n$.


# %%
def recall_among(similarity, candidates, seed=0):
    """Right (1) or wrong (0): is each row's own column best among this many random columns?"""
    generator = torch.Generator().manual_seed(seed)
    n = len(similarity)
    own = similarity.diagonal()[:, None]
    others = torch.rand(n, n, generator=generator).fill_diagonal_(2).argsort(dim=1)
    rivals = similarity.gather(1, others[:, : candidates - 1])  # (n, candidates - 1)
    return (rivals < own).all(dim=1).float()


recalls = {}
for candidates in (2, 4, 16, 64, 256, 1024):
    hits = recall_among(similarity.T, candidates)  # text → image
    recalls[candidates] = (hits.mean().item(), *metrics.bootstrap_interval(hits))
raw = (
    clip_evals.embed_images(fresh, many_images),
    clip_evals.embed_texts(fresh, tokenizer, many_captions),
)
chance = {n: itc_loss(raw[0][:n], raw[1][:n], 1 / 0.07).item() for n in (2, 8, 32, 128, 512)}
assert all(abs(loss - math.log(n)) < 0.6 for n, loss in chance.items())
plots.batch_size(chance, recalls)

# %% [markdown]
# Left: the untrained model pays $\log N$, and a little more, because its opinions are random but not equal. Right: one and
# the same model looks excellent among 2 candidates and much weaker among 1024. Two consequences:
#
# - **A loss means nothing without its batch size**, nor does a recall without its number of candidates.
# - A small batch soon has nothing left to teach: its few negatives differ in everything. Among 32,768, the paper's batch,
#   there are pairs that differ in a detail only, and the model must learn that detail.
#
# ### Accumulation is not a bigger batch
#
# When a batch does not fit into memory, one usually splits it and adds the gradients. For a
# classifier that is exactly the same. Here it is not, because the loss of a pair depends on the other pairs:

# %%
figures.accumulation()


# %%
def gradient(parts):
    """Loss and gradient when 256 pairs come in this many accumulated batches."""
    image = image_emb[:256].clone().requires_grad_()
    chunks = zip(image.chunk(parts), text_emb[:256].chunk(parts), strict=True)
    loss = sum(itc_loss(i, t, trained.scale().detach()) for i, t in chunks) / parts
    return loss.item(), torch.autograd.grad(loss, image)[0].flatten()


whole, split = gradient(1), gradient(8)
angle = torch.cosine_similarity(whole[1], split[1], dim=0).item()
print(f"one batch of 256:       loss {whole[0]:.3f} nats (guessing: {math.log(256):.2f})")
print(f"8 batches of 32, mean:  loss {split[0]:.3f} nats (guessing: {math.log(32):.2f})")
print(f"cosine between the two gradients: {angle:.2f}")
assert whole[0] > split[0] and angle < 0.999

# %% [markdown]
# Eight batches of 32 ask an easier question, and their gradient points elsewhere. Over several
# GPUs the right way is to **gather the embeddings**, which are small. On one small GPU, one can encode in pieces without
# gradients, take the gradient of the loss at the embeddings, and encode once more to push it through (Gao et al. 2021, "GradCache").
#
# ### Over several GPUs: gather, with gradient
#
# $N = W\,n$ pairs on $W$ ranks. `torch.distributed.all_gather` brings every rank's rows to all ranks, but
# **what it returns are constants**. The first thing that people write is
#
# ```python
# def gather_rows(local, received, rank):   # received: what all_gather returned, W tensors (n, D)
#     return torch.cat(received)            # then: itc(gather_rows(image, …), gather_rows(text, …))
# ```
#
# The loss is right to the last digit, and nothing is learned. Find out why, and repair it.
#
# **Exercise 5 of 6 · Find the bug: a gather without gradient** (8 minutes, difficulty 2 of 3). `local` is this rank's own
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
# This repair lets every rank compute the *whole* $N \times N$ matrix: the gradient at its own rows is complete, and
# the work is done $W$ times. The paper's way is cheaper: **each rank computes only its own $n$ rows against all $N$
# columns**, memory $n \cdot N$ instead of $N^2$. But then my own loss no longer knows all that my rows
# do: as columns they are negatives in the losses of *other* ranks.

# %%
figures_towers.gather()

# %% [markdown]
# So the backward pass of the gather adds up what all ranks feel for my rows, a *reduce-scatter*. Four ranks with 64 pairs each,
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
right = torch.autograd.grad(itc_loss(raw_image, raw_text, trained.scale().detach()), raw_text)[0]
found = {
    "columns are constants": own_loss(0, sides, constant) / 4,
    "own columns put back, own loss only": own_loss(0, sides, sides) / 4,
    "summed over the ranks": sum(own_loss(rank, sides, sides) for rank in range(4)) / 4,
}
for way, loss in found.items():
    mine = torch.autograd.grad(loss, raw_text, retain_graph=True)[0][:64]  # rank 0's rows
    found[way] = float((mine - right[:64]).norm() / right[:64].norm())
    print(f"{way:36} off by {found[way]:.1%} of the gradient's length")
assert found["summed over the ranks"] < 1e-4 < 0.05 < found["columns are constants"]

# %% [markdown]
# The errors of the first two are no noise; they are a part of the gradient that is missing in each step. In the library
# the sum is in `backward`, and a test runs the loss on 2 and on 4 real processes against one process with the whole batch.

# %%
show.source(losses._GatherRows)

# %% [markdown]
# (DDP then averages over the ranks, which makes the mean of the ranks' losses the loss of the whole batch.)

# %% [markdown]
# ## 6 · Train one, now
#
# A small CLIP from nothing, on scenes that are drawn while it reads them. Same model class, same loss and same
# engine as for the paper's size; only the recipe's numbers differ. Its image tower is the modified ResNet: convolutions are
# built to find the same shape anywhere in the picture, and a ViT must learn that from examples. On our small drawn shapes the
# difference is large (try `vlcourse train clip-toy-vit`, which takes some ten minutes, and compare).

# %%
live = RECIPES["clip-live"]
live_config = replace(live.train, steps=quick(live.train.steps, 8))
torch.manual_seed(live.train.seed)
result = fit(
    live.build_model(),
    live.build_data("train"),
    live.collate(train=True),
    live_config,
    live.run,
    evaluate=live.evaluator(),
)

# %%
n = live.train.batch_size
show.curve(result.history, ["loss"], chance=math.log(n), title=f"chance: log {n}")

# %% [markdown]
# Its accuracy among 48 classes, by prompts alone. No label was used in training: the words of the captions did it.

# %%
print(f"{result.step} steps of {n} pairs in {result.seconds:.0f} s")
print(f"seen compositions:     {result.metrics['seen']:.1%} of the pictures right")
print(f"held-out compositions: {result.metrics['heldout']:.1%}   (chance {1 / 48:.1%})")
print(f"exp(t): from {1 / 0.07:.1f} to {result.model.scale().item():.1f}")
if not is_quick():
    assert result.metrics["seen"] >= 0.60, "the live run should name 60 % of the seen compositions"

# %% [markdown]
# The curve starts near $\log n$ and falls: colours come first, which are easy to see, then
# shapes, then sizes and positions. A run that stays at $\log n$ usually has too high a learning
# rate, or pairs that do not match.
#
# From here on we use `clip-toy` again: the same model with more steps, trained beforehand and shipped with the course.

# %%
card = zoo.card("clip-toy")
print(f"{card['parameters']:,} parameters, {card['steps']:,} steps, {card['seconds'] / 60:.0f} min")
print({name: round(value, 3) for name, value in card["metrics"].items()})

# %% [markdown]
# ## 7 · Classify with words
#
# A classifier is a matrix with one weight vector a class. CLIP can *compute* that matrix: write
# each class as a text, put it through the text tower, done. With several templates
# $k = 1 \dots K$ a class $c$, the weight is the direction that they agree on:
#
# $$w_c = \operatorname{normalise}\Bigl(\frac1K\sum_k T_e(\text{template}_k(c))\Bigr), \qquad
# P(c \mid \text{image}) = \operatorname{softmax}_c\bigl(e^{t}\, I_e \cdot w_c\bigr)$$
#
# **Exercise 6 of 6 · A classifier written in words** (8 minutes, difficulty 1 of 3).


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
def classifier(model, names, templates):
    texts = [template.format(name) for name in names for template in templates]
    prompts = clip_evals.embed_texts(model, tokenizer, texts)  # (C·K, D)
    return zero_shot_classifier(prompts.view(len(names), len(templates), -1))


class_names = clip_evals.world_class_names()  # "a red circle", …
weights_of_classes = classifier(trained, class_names, world.TEMPLATES)  # (48, D)
expected = clip_evals.classifier(trained, tokenizer, class_names, world.TEMPLATES)
assert torch.allclose(weights_of_classes, expected, atol=1e-5)

# %% [markdown]
# Three pictures of compositions that the model **never saw**, among all 48 classes:

# %%
new_images, new_labels = world.single_object_set("heldout", 512, size)
unit_images = clip_evals.embed_images(trained, new_images)
probability = (trained.scale().item() * unit_images @ weights_of_classes.T).softmax(dim=-1)
shown = [int((new_labels == c).nonzero()[0]) for c in new_labels.unique()[:3]]
short = [" ".join(pair) for pair in world.CLASSES]
plots.best_classes(new_images[shown], probability[shown], short)

# %% [markdown]
# And measured, with 95 % bootstrap intervals over the test pictures, for three ways to write the
# prompts. Not everything that differs on this test set differs in truth: look whether the intervals overlap.

# %%
ways = {
    "bare words": ([f"{colour} {shape}" for colour, shape in world.CLASSES], ("{}",)),
    "one template": (class_names, ("a picture of {}",)),
    f"{len(world.TEMPLATES)} templates": (class_names, world.TEMPLATES),
}
results = {"seen compositions": {}, "held-out compositions": {}}
for group, split in zip(results, ("test", "heldout"), strict=True):
    test_images, labels = world.single_object_set(split, 512, size)
    features = clip_evals.embed_images(trained, test_images)
    for way, (class_texts, templates) in ways.items():
        predicted = (features @ classifier(trained, class_texts, templates).T).argmax(dim=-1)
        hits = (predicted == labels).float()
        results[group][way] = (hits.mean().item(), *metrics.bootstrap_interval(hits))
plots.groups(results, chance=1 / 48, ylabel="accuracy among 48 classes (%)")

# %%
accuracy, low, high = results["held-out compositions"][f"{len(world.TEMPLATES)} templates"]
assert low > 10 / 48, "far above chance on compositions that were never seen"
row = claims.claim("clip.zero_shot", accuracy, low, high, bootstrap=2000)

# %% [markdown]
# Why does it work? The words *red* and *triangle* each occur in training, the text tower combines
# them as it combined other words, and the image tower has learned to put colour and shape into the same
# directions. Where it fails, which half is wrong?

# %%
guess = probability.argmax(dim=-1)
n_shapes = len(world.SHAPES)
colour_right = (guess // n_shapes == new_labels // n_shapes).float().mean().item()
shape_right = (guess % n_shapes == new_labels % n_shapes).float().mean().item()
in_training = torch.tensor([pair in world.SEEN for pair in world.CLASSES])
drawn = in_training[guess[guess != new_labels]].float()
print(f"held-out pictures: colour right {colour_right:.1%}, shape right {shape_right:.1%}")
print(f"{len(drawn)} errors; {int(drawn.sum())} of them name a composition seen in training")

# %%
right = (guess == new_labels).float()
by_class = {short[c]: right[new_labels == c].mean().item() for c in new_labels.unique().tolist()}
show.bars(dict(sorted(by_class.items(), key=lambda item: item[1])), title="held-out pictures")

# %% [markdown]
# An average hides this: the errors are not spread evenly over the eight compositions. Look at the classes before you believe
# a mean. (The names are those of the shipped weights, one training run; we did not measure how they change with the seed.)
#
# On ImageNet the paper reports 76.2 % zero-shot for its best model, as good as the original ResNet-50 that
# was trained on 1.28 million labelled pictures. "A photo of a {}." instead of the bare word brings about 1.3 points; 80 templates and their ensemble
# about 5 points together. Why can a bare word hurt? Web texts are rarely a single word, and one word can mean
# many things: a *crane* is a bird and a machine.
#
# In full, on 3,000 toy pictures and on photos, the same pictures for each way of asking:

# %%
claims.stored("clip.prompts")

# %% [markdown]
# A prompt can help in two ways: it settles what an ambiguous word means, or it only looks more like the texts of the training. In our two
# worlds no word has a second meaning, so the second way alone is left: a bare name is no sentence that the training had, and one template should mend
# what that costs. What an ensemble adds on the web it adds to the web's disorder; look what remains of it here.

# %% [markdown]
# ## 8 · A few labels: the linear probe
#
# Prompts are one use of the features. The paper's other question is older: freeze the image tower, and fit one linear classifier
# (logistic regression, L-BFGS) on labelled pictures. It says how well the features *separate* the classes, whether or not words find them.
# One takes the features before the projection; the ResNet has none of its own, so there it is the pooling's output.
#
# Live: pictures of the eight held-out compositions, among all 48 classes, where prompts are not perfect. How many labels are they worth?

# %%
test_x = probe.features(trained, new_images)
by_words = (guess == new_labels).float()
low, high = metrics.bootstrap_interval(by_words)
print(f"prompts, no labels:   {by_words.mean():.1%} ({low:.1%} to {high:.1%})")
for labels_a_class in (1, 2, 4, 16):
    parts = [
        world.single_object_set(split, labels_a_class * classes, size, seed=11)
        for split, classes in (("train", len(world.SEEN)), ("heldout", len(world.HELD_OUT)))
    ]
    known, answers = (torch.cat(both) for both in zip(*parts, strict=True))
    fitted = probe.linear_probe(probe.features(trained, known), answers, test_x, new_labels)
    low, high = metrics.bootstrap_interval(fitted.hits)
    print(f"probe, {labels_a_class:2} a class:    {fitted.accuracy:.1%} ({low:.1%} to {high:.1%})")
assert fitted.accuracy > 0.9

# %% [markdown]
# Where a probe with few labels beats the prompts, the features had the answer and the words did not point at it.
# On average over the paper's data sets, zero-shot CLIP is about as good as a probe on its own features with four labels a class.
#
# The experiment in full, on the 40 seen classes, has a third arm: the same tower, trained from nothing on the same labels.

# %%
claims.stored("clip.linear_probe")

# %% [markdown]
# Mind what is compared. The probe's features come from hundreds of thousands of captioned scenes of the same world, the third arm has
# only its labels. That is the claim, that such features save labels, and not that a probe is the better way to
# train.
#
# ## 9 · Under shift
#
# A classifier learns whatever separates its classes in its training pictures, the background included. The paper found that zero-shot models
# lose far less on other kinds of pictures (sketches, renditions, odd poses) than models trained on ImageNet with the same accuracy there.
# Two reasons are mixed in it: the web's variety, and that nothing was fitted to one data set.
#
# Our experiment takes the first one away: one tower, **the same scenes**, once with captions and once with labels; then
# unknown backgrounds, sizes outside of the training's, noise.

# %%
claims.stored("clip.robust")

# %% [markdown]
# Where both arms lose alike, the objective alone is not what makes CLIP robust, and the data must be. That is what Fang et al. 2022
# ("Data Determines Distributional Robustness in Contrastive Language Image Pre-training") found at full scale. Toy scenes of one generator
# have none of the web's variety, for either arm.

# %% [markdown]
# ## 10 · Search with words
#
# The same similarities, used the other way round: a text is the query, 256 pictures of two objects are the
# candidates. Each caption is true of exactly one of them (green frame).

# %%
gallery, captions = world.two_object_set(256, size, seed=0)
sim = (
    clip_evals.embed_texts(trained, tokenizer, captions)
    @ clip_evals.embed_images(trained, gallery).T
)
queries = [3, 14, 15, 92]
best = sim[queries].topk(6, dim=1).indices
plots.retrieval([captions[q] for q in queries], gallery, best, queries)

# %% [markdown]
# What comes next in rank is wrong in a sensible way: the right colours on the wrong objects, the right
# objects in another arrangement. Both directions, with intervals for recall@1:

# %%
for direction, table_ in (("text → image", sim), ("image → text", sim.T)):
    hits = (metrics.ranks(table_) == 0).float()
    low, high = metrics.bootstrap_interval(hits)
    more = ", ".join(f"@{k} {metrics.recall_at_k(table_, k):.1%}" for k in (5, 10))
    print(f"{direction}: recall@1 {hits.mean():.1%} ({low:.1%} to {high:.1%}), {more}")
    assert hits.mean() > 10 / 256, "at least ten times chance"
print(f"chance: recall@1 {1 / 256:.1%}")

# %% [markdown]
# ## 11 · Where it fails
#
# Retrieval among random candidates is kind: others usually differ in some word. A **foil** is not. It is
# the true caption with one change that makes it false:

# %%
# NBVAL_CHECK_OUTPUT
for kind in world.FOILS:
    examples = [pair for s in world.two_object_scenes(20, seed=2) for pair in s.foils(kind)]
    true, false = min(examples, key=lambda pair: len(pair[0]))
    print(f"{kind}: {true!s} → {false!s}")

# %% [markdown]
# The model prefers one of the two. Chance is 50 %.

# %%
scenes = world.two_object_scenes(300, seed=2)
foil_images = torch.stack([s.render(size) for s in scenes])
features = clip_evals.embed_images(trained, foil_images)
foil_results = {}
for kind in world.FOILS:
    found = [(i, *pairs[i % len(pairs)]) for i, s in enumerate(scenes) if (pairs := s.foils(kind))]
    index, true, false = zip(*found, strict=True)
    text = [clip_evals.embed_texts(trained, tokenizer, side) for side in (true, false)]
    good, bad = ((features[list(index)] * side).sum(dim=-1) for side in text)
    hits = (good > bad).float()
    value, (low, high) = hits.mean().item(), metrics.bootstrap_interval(hits)
    foil_results[kind.replace(" ", "\n")] = {"true caption preferred": (value, low, high)}
    said = (
        "above chance" if low > 0.5 else "not told from chance" if high >= 0.5 else "below chance"
    )
    print(f"{kind:18} {value:.1%} ({low:.1%} to {high:.1%}), {len(hits)} pictures: {said}")
plots.groups(foil_results, chance=0.5, ylabel="true caption preferred (%)")

# %% [markdown]
# Compare the bars by what the change destroys. A *replaced attribute* changes the **set of words**:
# a bag of words notices. A *swapped* relation or attribute keeps nearly all the words and changes **who has what**
# or **who stands where**. For that the objective pays little: in a random batch hardly any two captions consist
# of the same words in another order, so that word order is seldom needed to find the right one. In our tiny
# vocabulary it happens more often than on the web, and still the swaps are the harder kind. (The *count* says nothing about counting: of two named objects
# the foil is always "three", so a word alone decides. The claim leaves it out.)

# %%
claims.stored("clip.limits")

# %% [markdown]
# Large models show the same weakness (Yuksekgonul et al. 2023, "When and why
# vision-language models behave like bags-of-words"). The cure is harder negatives; BLIP, in the next lecture, mines them.
#
# The paper's own limits: fine-grained classes (models of cars, species of flowers) and counting are weak; on data unlike
# anything on the web even handwritten digits are (88 % on MNIST); and CLIP **cannot write**: it can only choose
# among texts that somebody offers.

# %% [markdown]
# ## 12 · Real photos
#
# The same classes and the same code, now CIFAR-10: photos of 32×32 pixels, 10 classes, captions made with the template of the recipe.
#
# Mind the words. All ten classes occur in this training, so what follows first is **classification by prompts, not
# zero-shot transfer**. It shows that the machinery works on photos, no more.

# %%
cifar, photos = RECIPES["clip-cifar"], None
if folder := paths.find_data(cifar.data.source):
    photos = sources.open_source(folder, split="test", limit=1000)
else:
    print("CIFAR-10 is not on this machine, so this section is skipped.")
    print("With the photos in a folder: vlcourse train clip-cifar data.source=FOLDER")

# %%
if photos is not None:
    photo_model = zoo.load("clip-cifar")
    hits = clip_evals.labelled_details(photo_model, cifar.tokenizer(), photos, cifar.data.templates)
    low, high = metrics.bootstrap_interval(hits)
    print(
        f"{len(hits)} test photos: {hits.mean():.1%} right ({low:.1%} to {high:.1%}), chance 10 %"
    )
    assert low > 0.2, "at least twice chance"

# %%
figure = None
if photos is not None:
    labels = torch.tensor([photos[i]["label"] for i in range(len(photos))])
    by_class = {name: hits[labels == c].mean().item() for c, name in enumerate(photos.classes)}
    figure = show.bars(by_class, ylabel="photos named right (%)", chance=0.1, percent=True)
figure

# %% [markdown]
# Now with true zero-shot transfer: the same recipe once more, without any photo or caption of two classes, which are then among the ten answers.

# %%
claims.stored("clip.real")

# %% [markdown]
# What can be expected for a class that was left out? Its *name* was never in a caption, so that for the text tower it is a
# token fresh from the initialisation: nothing says what a *truck* is. Colour and shape words of the toy world came in other company; here
# there are ten nouns, and no sentence that relates two of them. Zero-shot transfer needs a language that was learned elsewhere, and that is
# what 400 million texts are for.
#
# ## 13 · Published weights, and another resolution
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
heads = {"image_heads": trained.config.image.heads, "text_heads": trained.config.text.heads}
back = weights.from_openai(theirs, activation="gelu", **heads)
pairs_ = zip(trained.state_dict().values(), back.state_dict().values(), strict=True)
print("every tensor came back:", all(torch.equal(a, b) for a, b in pairs_))
print("the same config:", back.config == trained.config)
fused = theirs["transformer.resblocks.0.attn.in_proj_weight"]
print("query, key and value in one matrix there:", tuple(fused.shape))
try:
    weights.from_openai({k: v for k, v in theirs.items() if k != "ln_final.bias"}, **heads)
except weights.WeightsError as error:
    print(error)

# %% [markdown]
# One trap no check can find: **the weights do not say which GELU they were trained with.** OpenAI's want QuickGELU, $x\,\sigma(1.702x)$, most of
# open_clip's the exact one. With the wrong one everything loads and runs, only a little worse:

# %%
wrong = weights.from_openai(theirs, activation="quick_gelu", **heads)  # ours wants "gelu"
for said, model in (("right", back), ("wrong", wrong)):
    emb = clip_evals.embed_texts(model, tokenizer, many_captions[:256])
    cosine = (emb * text_emb[:256]).sum(dim=-1)
    print(f"{said} GELU: cosine with the model's own text embeddings {cosine.min():.4f} at least")

# %% [markdown]
# Two layers hardly show it; in a tower of 12 or 24 the differences add up.
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
for name, before_ in at_224.state_dict().items():
    after_ = at_336.state_dict()[name]
    if before_.shape != after_.shape:
        print(f"{name}: {tuple(before_.shape)} → {tuple(after_.shape)}")
    else:
        assert torch.equal(before_, after_)
first = torch.equal(at_224.image.positions[0], at_336.image.positions[0])
print("the class token's position stays as it is:", first)
print("parameters:", count_parameters(at_336) - count_parameters(at_224), "more")
print(
    "ViT-L/14:  ", (24**2 - 16**2) * PRESETS["ViT-L/14"].image.width, "more, as in the table above"
)

# %% [markdown]
# ## 14 · What others built on it
#
# ### Stable Diffusion
#
# A picture of noise is turned into an image step by step; at each step the text says where to go. CLIP is the part that reads.

# %%
figures_towers.stable_diffusion()

# %% [markdown]
# Stable Diffusion 1 (August 2022) takes the **text tower of CLIP ViT-L/14, frozen**, and none of the rest. Not the text's one embedding
# goes in, but the states of **all 77 tokens** after the last LayerNorm, before $W_t$. They are keys and values of the cross-attention
# layers; the queries are the positions of the latent picture. Stable Diffusion 2 has the text tower of OpenCLIP's
# ViT-H/14 instead, and of its states those before the last layer; SDXL joins two CLIP text towers.
#
# **Why CLIP, and not BLIP?** (A question of the interview notes.) The notes answer that BLIP's image and text features are not aligned, because its other
# losses pull at them. That does not hold: BLIP is trained with the contrastive loss too, and its text encoder has a
# mode that reads text alone. And the argument misses what is used: the states of single tokens before $W_t$ are never compared with
# an image by CLIP's loss; only the EOT's is. Whatever alignment is missing, the U-Net's cross-attention learns. Better reasons:
#
# - **A text encoder was wanted, and CLIP's is one**: one pass over the text alone, no image needed, one tensor that is computed once a prompt. BLIP's is
#   a BERT-base (12 layers × 768, so no larger) that also serves, with cross-attention to an image, as encoder of pairs; its
#   gain lies in those other modes, which a generator does not need.
# - **More words seen.** 400 million web texts with all their names and styles, against BLIP's 14 to 129 million images, whose captions were *cleaned*,
#   many of them written by BLIP itself in plain sentences. Prompts are full of names and styles.
# - **At hand.** ViT-L/14's weights were public since January 2022, the month of BLIP's paper. Latent diffusion (December 2021) had still trained a
#   text Transformer of its own; Imagen (May 2022) then showed that a large *frozen* text encoder is what counts.
#
# **Nothing fundamental prevents it.** Imagen's T5 has never seen an image, and raters preferred its pictures to those made with a CLIP text tower; BLIP-Diffusion (2023) puts
# BLIP-2's features into Stable Diffusion. We know of no published comparison of the two that would settle it.
#
# ### Follow-ups
#
# | | year | what it changes | what it shows |
# |---|---|---|---|
# | ALIGN | 2021 | 1.8 billion pairs, hardly cleaned; EfficientNet and BERT | quantity makes up for noise |
# | CoCa | 2022 | a text decoder in two halves: the lower one reads text alone (contrast), the upper one looks at the image (captioning) | one model for both losses, in one pass |
# | PaLM-E | 2023 | image features and a robot's state as tokens of a language model | the language model as the common space |
#
# ALIGN and CoCa keep the contrast. PaLM-E does not: its ViTs were trained on classification. It stands for the other way
# to join images and words, which BLIP-2, LLaMA-Adapter and VideoChat take in this course.

# %% [markdown]
# ## Claims
#
# The headline claims of this lecture, measured by the full experiments (`vlcourse claims` repeats them; the
# numbers below are read from their stored results, and the verdict is computed by a rule).

# %%
# NBVAL_CHECK_OUTPUT
CLAIMS = ["clip.efficiency", "clip.zero_shot", "clip.prompts", "clip.linear_probe"]
CLAIMS += ["clip.robust", "clip.limits", "clip.real"]
for row in claims.ledger_rows(CLAIMS):
    print(row)

# %% [markdown]
# Each rule was written before its experiment was run, and each interval is over seeds or over the test pictures. A verdict
# *does not show here* is a result too: it names a condition that the paper's setting has and ours lacks.
#
# A verdict *holds* says that the effect shows at toy scale, no more. 48 drawn classes are not ImageNet, and our held-out
# compositions share their parts with the training, as the paper's unseen data sets share words and sights with the web.

# %% [markdown]
# ## Scale it up
#
# The same engine trains the paper's sizes. Its nine runs are recipes beside the toy ones, with the numbers of the paper's tables 18 to 20:

# %%
# NBVAL_CHECK_OUTPUT
for name in (run[0] for run in PAPER_RUNS):
    config, px = RECIPES[name].train, RECIPES[name].model.image.image_size
    epochs = config.steps * config.batch_size / 400e6
    parts = RECIPES[name].parts
    said = f"from {parts[0].source}" if parts else f"warm-up {config.warmup:,} steps"
    print(f"{name:17} {px} px  lr {config.lr:.1e}  β₂ {config.beta2}  ε {config.eps:g}", end="  ")
    print(f"batch {config.batch_size:,}  {epochs:2.0f} × 400 M pairs  {said}")

# %% [markdown]
# ViT-L/14 on 32 machines of 8 GPUs each, and then its last epoch at 336 px, which begins with what the first run left:
#
# ```bash
# torchrun --nnodes 32 --nproc-per-node 8 -m vlcourse train clip-vit-l14 data.source=FOLDER
# torchrun --nnodes 32 --nproc-per-node 8 -m vlcourse train clip-vit-l14-336 data.source=FOLDER
# ```
#
# (Add torchrun's `--rdzv-endpoint`, where the nodes meet.) WIT was never published: `FOLDER` holds your own pairs. For one GPU take
# `run.parallel=none` and a `train.batch_size` that fits, and another learning rate with it. These recipes read with CLIP's own tokenizer, so
# the file of its merges must be on the machine.
#
# What does ViT-L/14 cost? A linear map costs 2 FLOPs a weight and token, so a Transformer layer of width $D$
# costs $24D^2$ a token, plus $4LD$ for attention over $L$ tokens. A training step costs three times the forward pass.


# %%
# NBVAL_CHECK_OUTPUT
def forward_flops(tokens, width, layers):
    return layers * tokens * (24 * width**2 + 4 * tokens * width)


image_flops = forward_flops(257, 1024, 24) + 2 * 256 * (3 * 14 * 14) * 1024  # blocks + patches
text_flops = forward_flops(77, 768, 12)
per_pair = 3 * (image_flops + text_flops)
total = per_pair * 400e6 * 32  # 32 epochs of WIT
v100_seconds = 256 * 12 * 86_400  # the paper: 256 V100s, 12 days
mfu = total / v100_seconds / 125e12  # a V100's peak: 125 TFLOP/s in half precision
print(f"forward, one pair: image {image_flops / 1e9:.0f} + text {text_flops / 1e9:.0f} GFLOPs")
print(f"training: {per_pair / 1e9:.0f} GFLOPs a pair × 12.8 billion pairs = {total:.2e} FLOPs")
print(f"256 V100s × 12 days = {v100_seconds / 3600:,.0f} GPU-hours, so an MFU of {mfu:.0%}")
h100_hours = total / (0.40 * 989e12) / 3600
print(f"H100 at 989 TFLOP/s (bf16) and an MFU of 40 %: {h100_hours:,.0f} GPU-hours")
assert 0.18 < mfu < 0.22

# %% [markdown]
# **MFU**, model FLOPs utilisation, is the share of the hardware's peak that goes into the model's own
# arithmetic. 20 % was respectable in 2021; gradient checkpointing repeats each forward pass, so the hardware in fact
# did about a third more.
#
# Three ways to save, of which the library has all:
#
# **Padding trimmed at the last EOT.** Under the causal mask nothing after the end of a text can reach its feature, so the
# text tower drops the columns behind the batch's last EOT: the same result (the experiment in section 2), for less.

# %%
# NBVAL_CHECK_OUTPUT
for length in (77, 40, 20):
    cost = forward_flops(length, 768, 12)
    print(
        f"texts of {length} tokens: {cost / 1e9:4.1f} GFLOPs, {cost / (cost + image_flops):4.1%} of a pair"
    )

# %% [markdown]
# **Gradient checkpointing** (`run.checkpointing=true`) keeps only each block's input, and computes the block once more in the backward
# pass. The gradients are the same:

# %%
# NBVAL_CHECK_OUTPUT
torch.manual_seed(0)
towers_ = ViTConfig(size, 8, 64, 4, 2), TextConfig(tokenizer.vocab_size, 64, 64, 4, 2)
little, batch = CLIPConfig(64, *towers_).build(), {"pixels": normalise(images)}
batch["tokens"] = tokenizer(prompts)
computed = []
for block in blocks(little):
    block.norm1.register_forward_hook(lambda *_: computed.append(1))
gradients = []
for way in ("all kept", "checkpointed"):
    if way == "checkpointed":
        recompute_blocks(little)
    computed.clear()
    little.zero_grad()
    little(batch)["itc"].backward()
    gradients.append(torch.cat([p.grad.flatten() for p in little.parameters()]))
    print(f"{way:12} {len(computed):2} blocks computed")
print("the same gradients:", torch.allclose(*gradients, atol=1e-6))

# %% [markdown]
# **Mixed precision** (`run.precision=bf16`): matrix products in 16 bits, weights and Adam's moments in 32. The paper used
# float16, whose smallest numbers are too large for some gradients, so that the loss must be scaled up; bf16 has the range of
# float32 and needs no such care, but only two to three digits.
#
# And the memory? Batch 32,768 on 256 GPUs is 128 pairs a GPU.

# %%
# NBVAL_CHECK_OUTPUT
parameters, pairs_per_gpu, batch, embed = 427_616_513, 128, 32_768, 768
state = 16 * parameters  # float32 weight, gradient and Adam's two moments: 4 bytes each
row_units = 257 * 1024 * 24 + 77 * 768 * 12  # tokens × width × layers of both towers
stored = (
    34 * row_units * pairs_per_gpu
)  # about 34 bytes each in half precision, without attention maps
saved = 2 * row_units * pairs_per_gpu  # checkpointing keeps only the input of each block
for name, size_ in (
    ("weights, gradients, Adam", state),
    ("activations, all kept", stored),
    ("activations, checkpointed", saved),
    ("similarities, the whole matrix", 4 * batch * batch),
    ("similarities, own rows only", 4 * batch * pairs_per_gpu),
    ("gathered embeddings", 2 * 4 * batch * embed),
):
    print(f"{name:31} {size_ / 2**30:6.2f} GiB")

# %% [markdown]
# The 34 bytes follow Korthikanti et al. 2022; kept attention maps would add to them. With
# all activations kept, even a V100 with 32 GB is more than full. Hence the paper's list of tricks: mixed precision, gradient
# checkpointing, half-precision Adam moments, and *each GPU computes only its own rows of the similarity matrix*.
#
# | | the paper | toy |
# |---|---|---|
# | pairs | 400 M, 32 epochs | drawn on demand |
# | batch | 32,768 | some hundred |
# | optimiser | Adam, decoupled weight decay 0.2, β₂ 0.98 (ViT), ε 1e-6 | the same kind |
# | learning rate | 4e-4 for ViT-L/14, 2,000 warm-up steps, cosine | see the recipe |
# | context | 77 tokens | 64 |
# | hardware | ViT-L/14: 256 V100s, 12 days; RN50x64: 592 V100s, 18 days | two cores |
# | last step | one more epoch at 336 px (FixRes) | none |

# %%
show.source(TrainConfig)

# %% [markdown]
# ## Corrections
#
# Where the lecture's slides and notes disagree with the paper or its code:
#
# 1. **"EOS ([SEP])"**: the text feature is the state at the **EOT** token. [SEP] is BERT's. The paper writes [EOS],
#    the code `<|endoftext|>`: the same token. And the text Transformer is causal, not a plain encoder.
# 2. **"4X"** is bag-of-words against contrastive, in images to equal *zero-shot ImageNet accuracy*. Against predicting the
#    caption with a Transformer it is 3× more, 12× in all. It is not the speed of a training step.
# 3. **Uniform sampling of a sentence** is *not* CLIP's text processing. ConVIRT's function $t_u$, which draws one
#    sentence of a text at random, was **removed**, because many of WIT's texts are one sentence anyway. What remains
#    of the augmentations is a random square crop of the image.
# 4. **YFCC100M**: the paper does not only call it noisy; it says what is left, 15 million pictures with English
#    natural-language titles or descriptions.
# 5. **WIT**: 400 million, not more. It was balanced by the limit of 20,000 pairs a query; the paper describes no
#    strict de-noising filter. Its total number of words is like that of WebText.
# 6. **"Models of ten billion parameters"** (百亿级) as the reason for a larger data set: CLIP's largest has 0.62 billion.
# 7. **"12 layers, 512, 8 heads"** is the text tower of the base sizes. Its width goes up to 1024; its depth is always 12.
# 8. **"ResNetD anti-aliased pooling"** are two changes: the stem and shortcuts of ResNet-D (He et al. 2019), and blur
#    pooling before strides (Zhang 2019). In the code, an average pool before every stride serves both.
# 9. **"Minimise the cosine similarity of matching pairs"** (interview notes): the other way round. It is *maximised* for
#    pairs that match.
# 10. **PaLM-E** stands among the follow-ups as built on CLIP. Its image encoders are ViTs trained on classification. And with GPT-4
#     it appeared in March 2023, not in 2021–2022 as the time line says.
# 11. **The pseudo-code's names**: with images in rows, `loss_i` with `axis=0` normalises over the *images* of each text. The names
#     look swapped; the mean of the two is the same.
# 12. **"BLIP's image and text features are not aligned"** (interview notes, on Stable Diffusion): BLIP is trained with the contrastive loss
#     too. And Stable Diffusion does not read the aligned embedding; see section 14.

# %% [markdown]
# ## Recap
#
# - **Supervision.** Sentences from the web instead of labels: 400 million pairs, and no fixed list of classes.
# - **Objective.** Which text belongs to which image? In the paper twelve times cheaper than writing the caption.
# - **Model.** ViT with an extra LayerNorm, or a ResNet that averages before it strides and pools by attention; causal text tower over BPE tokens, read at EOT; one bias-free
#   matrix each, unit length, $e^{t} I_e T_e^\top$.
# - **Loss.** Cross-entropy over rows and over columns; guessing costs $\log n$. Temperature learned, scale at most 100.
# - **Batch.** It supplies the negatives. Gather embeddings with gradients, each rank its own rows; accumulation does not replace it.
# - **Use.** Prompts make a classifier, also for compositions never seen; the same similarities make a search engine; a linear probe needs few labels.
# - **Limits.** Who has what, left or right, how many, fine detail; and it cannot write.
#
# - **Afterwards.** The text tower steers image generators, the image tower is the eye of language models. *BLIP*, our next lecture, adds matching and writing
#   to CLIP's contrast, and cleans the web's texts with its own captions.

# %% [markdown]
# ## Quiz
#
# **1.** A batch has 64 pairs and the loss stays at 4.16. What do you know?
#
# <details><summary>Answer</summary>
#
# log 64 = 4.16: the model does no better than guessing. Look at the learning rate, at whether the embeddings have
# collapsed to one direction, and at whether images and texts are still in the same order.
#
# </details>
#
# **2.** Why is the text feature taken at the last token, and not at the first as in BERT?
#
# <details><summary>Answer</summary>
#
# The mask is causal: a token sees only what stands before it. The first token has read nothing, and its state is the same for every text.
#
# </details>
#
# **3.** What goes wrong if the scale $e^t$ is fixed at 1?
#
# <details><summary>Answer</summary>
#
# Logits then lie between −1 and 1 and the softmax stays nearly flat, so that even a perfect model has a high loss; all negatives
# push almost alike, easy ones as much as hard ones.
#
# </details>
#
# **4.** Your GPU holds 256 pairs. Does accumulating 8 steps give you the gradient of a batch of 2,048?
#
# <details><summary>Answer</summary>
#
# No. Each small batch computes its own block of the similarity matrix; the negatives between blocks are missing. Gather the
# embeddings over GPUs, or encode in pieces with cached embeddings (GradCache).
#
# </details>
#
# **5.** Why must the gather over GPUs be differentiable, if each rank has its own loss?
#
# <details><summary>Answer</summary>
#
# My embedding is a negative in the rows of other ranks. Their losses depend on it, and that part of its gradient reaches it only through the gather.
#
# </details>
#
# **6.** Your model names 90 % of the CIFAR-10 photos right by prompts, after training on captions of CIFAR-10. Is that zero-shot?
#
# <details><summary>Answer</summary>
#
# No. It saw these classes in training, only written as text. Zero-shot transfer needs classes (or data sets) without any
# labelled example in training.
#
# </details>
#
# **7.** CLIP tells "a red circle" from "a blue circle", but hardly "a circle left of a star" from "a star left of a circle". Why?
#
# <details><summary>Answer</summary>
#
# The loss only asks for what separates a pair from the rest of its batch. Other captions nearly always differ in their words;
# pairs with the same words in another order are rare, so word order is not paid for.
#
# </details>
#
# **8.** Why normalise before the mean over templates, and once more after it?
#
# <details><summary>Answer</summary>
#
# Before: otherwise prompts with long embeddings count more. After: the mean of unit vectors is shorter the less they agree,
# and a class must not win or lose by the length of its weight.
#
# </details>
#
# **9.** Later systems took CLIP apart and used the pieces. Which piece would you take to steer an image generator by text, and
# which one to give a language model eyes?
#
# <details><summary>Answer</summary>
#
# The text tower steers the generator: Stable Diffusion 1 reads the states of *all* 77 tokens from ViT-L/14's text tower. The
# image tower, usually the states of all patches before the projection, is the eye of BLIP-2, LLaVA and many others. Both profit from
# training that made words and sights comparable.
#
# </details>
#
# **10.** SimCLR needs strong augmentation and CLIP only a crop. Why?
#
# <details><summary>Answer</summary>
#
# In SimCLR the augmentation defines what "the same" means; without it the task is trivial. In CLIP the text gives a
# second, very different view of the picture.
#
# </details>
#
# **11.** On 8 ranks, each computes its own rows of the loss. You replace the differentiable gather by `all_gather`. Training still works, only
# worse. Why does it not stop altogether, as in exercise 5?
#
# <details><summary>Answer</summary>
#
# A rank's own rows still enter its loss directly, as the queries; that half of the gradient is there. Missing is what its rows do as columns, positives
# of their partners and negatives of all others. In exercise 5 queries *and* columns came from the gathered constants.
#
# </details>
#
# **12.** A ViT-L/14 for 224 px gets pictures of 336 px. Which weights change their shape?
#
# <details><summary>Answer</summary>
#
# The positions alone: 1 + 16² become 1 + 24² vectors, by interpolation of the grid. Patch size, blocks and projection do not know the picture's size.
#
# </details>
#
# **13.** Somebody encodes a word that no merge covers. What does the tokenizer do?
#
# <details><summary>Answer</summary>
#
# It spells the word in smaller pieces, at worst in single bytes, which are all tokens. Nothing is ever unknown; the text only gets longer, and rare
# pieces have poorly trained vectors.
#
# </details>
