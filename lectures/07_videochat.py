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
# # 07 · VideoChat: talk about a video
#
# Li et al. 2023, "VideoChat: Chat-Centric Video Understanding", arXiv 2305.06355. The aggregators come from Li et al. 2022, "UniFormerV2: Spatiotemporal Learning by Arming Image ViTs with Video UniFormer", arXiv 2211.09552.
#
# **75 minutes to read**: about 20 of reading and 55 of exercises · **2 minutes to run** on two CPU cores.
# The folded sections called *More* at the end add about 15 minutes.
#
# Here everything meets: CLIP's tower, BLIP-2's Q-Former, LLaMA, and chats as training data. Only one thing is new: *time*. You will put a video into words, then into vectors, see what each way loses, build your own VideoChat, and ask it when, in which order, and why.

# %% [markdown]
# ## Objectives
#
# After this lecture you can
#
# 1. say which questions about a video no single frame answers;
# 2. put a video into words with times, and point at what got lost;
# 3. explain why a Q-Former alone cannot tell before from after, and name three ways to mend that;
# 4. write GMHRA's global attention, and prove that it starts as nothing;
# 5. turn a chat about a video into places and labels;
# 6. compare both systems on the same films, and read where the queries look.

# %% [markdown]
# ## Terms
#
# | term | Chinese | meaning here |
# |---|---|---|
# | chat-centric video understanding | 以对话为中心的视频理解 | one model for any question about a video, instead of one for each task |
# | temporal reasoning | 时间推理 | what came first, what changed, which way |
# | event localisation | 事件定位 | when something happened, in seconds |
# | causal inference | 因果推断 | what brought something about |
# | textualise | 文本化 | put a video into words |
# | dense caption | 密集描述 | things with their boxes |
# | relation aggregator, MHRA | 多头关系聚合器 | lets tokens of different frames see each other |
# | GMHRA | 全局多头关系聚合器 | the global one: a single token sees all tokens of all frames |
# | dynamic position embedding | 动态位置编码 | a small convolution that tells a token where and when it is |
# | video-language token interface, VLTF | 视频-语言令牌接口 | Q-Former and linear map: video in, LLM vectors out |
# | extra queries | 额外查询 | queries for videos, after those for images |
# | alignment, instruction tuning | 对齐, 指令微调 | stage 1 and stage 2 |

# %%
from dataclasses import replace

import torch
from einops import rearrange

from vlcourse import tokenizers, zoo
from vlcourse.chat.videochat_embed import VideoChatEmbed
from vlcourse.data.collate.pictures import normalise
from vlcourse.data.corpus.dialogues import VIDEOCHAT, dialogue
from vlcourse.data.filmed import SEEN_KINDS
from vlcourse.data.world.film import frames, uniform_times
from vlcourse.data.world.timeline import Timeline
from vlcourse.evals import filmed
from vlcourse.evals.video import film_questions, marks
from vlcourse.layers.frozen import evaluating
from vlcourse.layers.positions import WAVES, Clock
from vlcourse.models import gmhra
from vlcourse.models.gmhra import GMHRA, GMHRAConfig
from vlcourse.models.videochat import VideoChatConfig
from vlcourse.recipes import RECIPES
from vlcourse.teach import capstone, claims, moving, quick, show
from vlcourse.teach.blip import figures as blip_figures
from vlcourse.teach.exercise import answer, exercise
from vlcourse.teach.videochat import figures, plots, watching

show.style()

# The names of your functions: the reference's, until yours pass.
textualise = answer("videochat.textualise")
timestamp_sentence = answer("videochat.timestamps")
time_waves = answer("videochat.time_waves")
global_attention = answer("videochat.global_attention")
chat_labels = answer("videochat.labels")
video_logits = answer("videochat.model")

# What several sections use: a film, the trained VideoChat-Embed, and two VideoChat-Texts.
movie = Timeline.sample(7, "test")
embed_run = RECIPES["videochat-toy"]
embed = zoo.load("videochat-toy")
collate = embed_run.collate(train=False)
T = embed_run.data.frames
readers = watching.readers(captions=("caption", "subtitle"), all=watching.EVERY)


def seen_by_embed(timeline):
    """A film's frames in the middles of T equal parts: (1, T, 3, S, S) pixels, (1, T) seconds."""
    times = uniform_times(timeline.duration, T)
    pixels = normalise(frames(timeline, times, embed_run.model.image.image_size))
    return {"pixels": pixels[None], "seconds": torch.tensor([times])}


def fresh(**changes):
    """A VideoChat of the toy's shape that nobody has trained."""
    torch.manual_seed(0)
    return replace(embed_run.model, **changes).build().eval()


# %% [markdown]
# ## Before you start
#
# You need lecture 04 (a Q-Former turns image tokens into a few vectors; a linear map hands them to a frozen LLM) and the labels of lecture 06 (everything is read, only answers are learned).
#
# ## 1 · What a frame does not tell
#
# Watch this film of our toy world. (Press play; it lasts a few seconds.)

# %%
moving.video(movie)

# %% [markdown]
# The same on a time axis, with all that happens:

# %%
plots.story(movie, uniform_times(movie.duration, 10))

# %% [markdown]
# About films like this one we ask seven kinds of questions. Here is one of each kind that this film allows:

# %%
# NBVAL_CHECK_OUTPUT
for question in {question.kind: question for question in movie.questions()}.values():
    print(f"{question.kind:13} {question.text}  →  {question.answer}")

# %% [markdown]
# > **Predict first.** Somebody shows you only the frame from the middle. Which of these questions can you answer from it?

# %%
show.grid([frames(movie, [movie.duration / 2], 160)[0]], ["the middle of the film"], size=2.6)

# %% [markdown]
# The colour of something that stays as it is, and nothing else. *Order* and *cause* need two moments that are compared. *Direction* needs two places of one thing. *Localisation* needs the time of a change. *Counting* needs the whole film. *Speech* needs ears.
#
# Such questions are easily spoilt. If things always came in before they left, "which came first?" could be guessed. In our films every time is as likely as any other, and what must be told apart lies on the same side of the middle, so that the middle frame gives nothing away. A test holds this: from the question's words alone nobody does better than chance. (With real videos this is a large problem: of several "video" benchmarks single frames solve the greater part; Lei et al. 2022, "Revealing Single Frame Bias".)
#
# The lecture's slides name three things that image models cannot do, and that chats about videos ask for all the time: reasoning over time, finding events, finding causes. VideoChat's authors tried two ways.

# %%
figures.systems()

# %% [markdown]
# ## 2 · VideoChat-Text: the video in words
#
# The first way trains nothing. Several models look at the video, each says what it sees, their words are sorted by time, and a language model reads the result. This is idea 4 of LLaMA-Adapter V2 (*ask an expert*), once a second.
#
# | what is told | on the slides | in the release | in our toy |
# |---|---|---|---|
# | a caption of each frame | Tag2Text | Tag2Text, one frame a second | `blip-toy` |
# | tags | Tag2Text | Tag2Text | `clip-toy`, of each thing |
# | things with boxes | GRiT | GRiT every 5th frame, names only | `clip-toy`, every 5 s |
# | the action | InternVideo | on the page only, *not* in the prompt | the commonest change |
# | what is said | Whisper | in another branch only | subtitles |
# | a summary | — | T5 | — |
# | what changed | — | — | things followed from frame to frame |
# | the language model | — | GPT-4, with 500 words of the talk so far | `llm-time`, 0.2 M parameters |
#
# The tool for *what changed* is ours alone. It knows the toy world by heart, and nothing like it exists for real videos. We shall look at VideoChat-Text with it and without.
#
# The text has a form. Frames one after the other that say the same become one line with its span of time.
#
# **Exercise 1 of 6 · A video as text** (7 minutes, difficulty 1 of 3). You get the frames' times, a caption of each, and the length of the video. Write a line for each stretch of equal captions, `00:03-00:05 a red ring.`: minutes and seconds, rounded down. A line holds until the next begins, the last one until the end.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("videochat.textualise")
def textualise(times, captions, duration):
    """Seconds, a caption for each, seconds → list of lines."""
    ### BEGIN SOLUTION
    spans = []  # start, caption
    for time, caption in zip(times, captions, strict=True):
        if not spans or spans[-1][1] != caption:
            spans.append((time, caption))
    ends = [start for start, _ in spans[1:]] + [duration]

    def clock(seconds):
        return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"

    return [
        f"{clock(start)}-{clock(end)} {caption}."
        for (start, caption), end in zip(spans, ends, strict=True)
    ]
    ### END SOLUTION


# %% [markdown]
# BLIP looks at one frame a second of the film from above. Your function puts its captions into lines:

# %%
media = watching.media(movie)
of_frames = readers["captions"].perceived(media).of("caption")
captions = [said.text for said in of_frames]
print("\n".join(textualise(list(media.times), captions, media.duration)))

# %% [markdown]
# > **Predict first.** Compare with the time axis above. What of it is still there, what is gone?
#
# A caption says what *is*. That something *happened* can only be read between two lines, and only if the captioner chose to mention the same thing in both. All tools together say more:

# %%
print(readers["all"].account(media).text)

# %% [markdown]
# The last paragraph is the same in the toy's own words, because our small language model reads no others. (The real system wraps its text into a prompt which explains that there is one description for each second, that the timed captions are the most reliable, and that nothing shall be invented.) Now it answers, once from captions and subtitles, once from all tools:

# %%
for question in movie.questions():
    said = ["".join(reader.answer(media, question.text)) for reader in readers.values()]
    print(question.text)
    print(f"   it was: {question.answer}   captions: {said[0]}   all tools: {said[1]}")

# %% [markdown]
# Three things can go wrong, and you should always ask which one it was:
#
# 1. **A tool was wrong.** What it says is believed.
# 2. **No tool said it.** What is not in the text is lost for ever. Nobody can write down all that may be asked.
# 3. **The reader was wrong.** All is there, and the language model draws the wrong conclusion from it.
#
# Names taught us to look for the third one. Two lines are said in each film, such as "the red ring is called leo", so that the name stands in the text. Yet an earlier reader of this course was right in 13 % of such questions: its training texts knew six names, and it had learned to guess. Trained again on texts with 25 names, where a guess is hardly worth anything, the same model looks them up.
#
# In general this is measured by giving the reader the *perfect* text. The claim looks at what remains where the tools were right:

# %%
claims.stored("videochat.text_loses")

# %% [markdown]
# Be as strict with the perfect text: a text may give more away than it says. Each telling begins with what is there. In an earlier version of this course that line named the things in the order in which the film had been planned: what would be hit came first, then what would hit it. No question could be answered from this line alone, yet the reader had learned to lean on it. When we shuffled the line, its answers about causes fell from 95.5 to 76.5 %, and the other kinds hardly moved. Now every film has an order of its own, the reader was trained anew, and no order changes any of these numbers by more than a point. Shuffle what should not matter, and look which numbers move: it is a test worth making with any data you write yourself.

# %% [markdown]
# ## 3 · When was that?
#
# The second way trains. Each frame goes through the frozen image tower, and becomes N tokens; T frames are T · N tokens. A Q-Former (lecture 04) looks at all of them, and its queries become vectors for the LLM. It seems that nothing more is needed.
#
# > **Predict first.** We show the film backwards. By how much do the vectors change that the language model gets?

# %%
# The trained model without what tells it of time: the same tower, queries and linear map.
bare = replace(embed.config, clock="none", gmhra=GMHRAConfig(layers=0)).build().eval()
bare.load_state_dict({name: embed.state_dict()[name] for name in bare.state_dict()})

seen = seen_by_embed(movie)
other = seen_by_embed(Timeline.sample(27, "test"))
backwards = {**seen, "pixels": seen["pixels"].flip(1)}  # the seconds stay as they were
for said, model in (("frames alone", bare), ("with all that tells of time", embed)):
    with torch.no_grad():
        video, turned, another = (model.prompt(**each) for each in (seen, backwards, other))
    share = (turned - video).norm() / (another - video).norm()
    print(f"{said:28} backwards: {share:.0%} of the change that another film makes")

# %% [markdown]
# Frames alone: not at all! Attention is a weighted sum over a *set*. Without positions in time the Q-Former gets a bag of frames: it can see that the circle was large and that it was small, and cannot tell which came first. There are three ways to mend this, and systems mix them:
#
# 1. **tell the language model**, in words, when the frames were: VideoChat's way;
# 2. **tell the tokens**: add a vector of its time to each frame: our toy's way;
# 3. **let the frames see their neighbours**: the relation aggregators of section 4.
#
# The first alone cannot be enough: a sentence about times does not put a bag in order. In VideoChat's release the only part that has seen the order is one token, which you will meet in section 4.
#
# ### In words
#
# VideoChat's prompt says *"The video contains 8 frames sampled at 0.1, 1.3, … seconds."* The sentence must be true, and that is harder than it looks. Many videos have a *variable* frame rate: a frame stays on the screen until the next one comes. Frame number 30 of a phone's video need not be at 1 s. Only the file's **presentation times** tell. And a short clip may have fewer frames than you ask for.
#
# **Exercise 2 of 6 · When was that?** (7 minutes, difficulty 2 of 3). Cut the video into n equal parts. In the middle of each, take the frame that is on the screen, each frame once. Write the sentence about the frames that you took, one digit after the point. (One frame is "1 frame".)


# %%
# NBVAL_CHECK_OUTPUT
@exercise("videochat.timestamps")
def timestamp_sentence(shown, duration, n):
    """When each frame comes up (s), the first at 0; the length (s); how many → the sentence."""
    ### BEGIN SOLUTION
    middles = [(k + 0.5) * duration / n for k in range(n)]
    taken = sorted({max(t for t in shown if t <= middle) for middle in middles})
    many = f"{len(taken)} frame" + ("" if len(taken) == 1 else "s")
    return f"The video contains {many} sampled at {', '.join(f'{t:.1f}' for t in taken)} seconds."
    ### END SOLUTION


# %%
# NBVAL_CHECK_OUTPUT
for said, comes_up, length in (
    ("steady", [i / 4 for i in range(32)], 8.0),
    ("variable", [0.0, 0.2, 0.4, 3.9, 4.0, 4.1, 7.5], 8.0),
    ("short", [0.0, 0.5, 1.0], 1.5),
):
    print(f"{said:9} {timestamp_sentence(comes_up, length, 5)}")

# %% [markdown]
# In the variable video three frames stand for five parts, because two of them were on the screen through the middles of two parts.
#
# ### In vectors
#
# A language model of 7 billion parameters has read about seconds. Ours is thirty thousand times smaller, so our toy adds the time to the frames' tokens as well: a **clock**. A number such as 3.7 is a poor input for a network (it has one direction, and large numbers drown small ones). Sines and cosines of many lengths are a good one, as for positions in a text:
#
# $$\text{angle}_i(t) = \frac{2\pi t}{\ell_i}, \qquad \ell_1 = 1\,\text{s}, \;\dots,\; \ell_W = 64\,\text{s}, \text{ each by the same factor longer than the one before.}$$
#
# Short waves tell neighbours apart, long ones say whether it is early or late. A linear map, which is learned, turns the $2W$ numbers into a token's width.
#
# **Exercise 3 of 6 · A place in time** (8 minutes, difficulty 2 of 3). All sines come first, then all cosines; the shortest wave first.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("videochat.time_waves")
def time_waves(seconds, waves):
    """(B, T) seconds, how many waves → (B, T, 2 · waves)."""
    ### BEGIN SOLUTION
    lengths = 64 ** (torch.arange(waves) / (waves - 1))
    angles = 2 * torch.pi * seconds[..., None] / lengths  # (B, T, waves)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
    ### END SOLUTION


# %%
plots.closeness(time_waves, [2.0, 7.0], 10)

# %% [markdown]
# Moments that are close have vectors that are alike, and the likeness falls within a second: just right for "when did it turn blue?". It depends on the seconds between two moments only, wherever they are. In the library:

# %%
show.source(Clock.forward)

# %% [markdown]
# Does it help to know when each frame was? The same model learns three times: its tokens are told only which frame comes first, second and so on; or their seconds; or the order, and the sentence besides (which our small language model has never read):

# %%
claims.stored("videochat.timestamps")

# %% [markdown]
# A word on three seeds. In an earlier version of this course the same experiment, with other weights to begin with and more questions in a chat, gave 0.32 s (0.20 to 0.43) in favour of the seconds, and "holds". The mean above is about as large; what has changed is how far the three trainings lie apart. Read the interval before the verdict.

# %% [markdown]
# ## 4 · GMHRA: frames that see each other
#
# Even with a clock each frame is encoded alone. That the triangle *moved* is in no token. UniFormerV2 has two kinds of **relation aggregators** for image towers that are to understand videos:

# %%
figures.relations(list(frames(movie, [3.5, 4.5, 5.5, 6.5], 96)))

# %% [markdown]
# - **Local**: each token is mixed with the token at the same place in the frame before and in the frame after. What differs there is movement and change. (A depthwise convolution over three frames. Our toy's looks at the places around as well, 3 × 3 × 3, as the older UniFormer's does: what moves soon leaves its place.)
# - **Global**: one new token looks at *all* T · N tokens of the video, and collects what matters. (Cross-attention with a single query.)
#
# VideoChat's release has the local ones switched off, and uses the global one, **GMHRA**, after each of the last 8 blocks of EVA's ViT-g: one token, handed on from block to block.

# %%
figures.aggregator()

# %% [markdown]
# The frames' own tokens are never changed. They go to the Q-Former as they were, T · N of them, and with them the one token that has seen the video. Its keys know where and when they are by a **dynamic position embedding**: a depthwise 3 × 3 × 3 convolution, which mixes each token with its neighbours in place and time, and feels the video's first and last frame by the zeros beyond.
#
# **Exercise 4 of 6 · One token sees all frames** (10 minutes, difficulty 2 of 3). Write the attention. Frames that only fill up a batch (`shown` is False) must not be seen. `attention` has the linear maps `q`, `k`, `v`, `out`, and the number `heads`. One softmax over everything, not one a frame.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("videochat.global_attention")
def global_attention(attention, token, frames, shown):
    """Its maps, (B, 1, C), (B, T, N, C), (B, T) bool → (B, 1, C)."""
    ### BEGIN SOLUTION
    y = frames.flatten(1, 2)  # (B, T · N, C)
    q, k, v = (
        rearrange(linear(x), "b s (h d) -> b h s d", h=attention.heads)
        for linear, x in ((attention.q, token), (attention.k, y), (attention.v, y))
    )
    scores = q @ k.mT / k.shape[-1] ** 0.5  # (B, h, 1, T · N)
    seen = shown.repeat_interleave(frames.shape[2], dim=1)  # (B, T · N)
    shares = scores.masked_fill(~seen[:, None, None], -torch.inf).softmax(dim=-1)
    return attention.out(rearrange(shares @ v, "b h 1 d -> b 1 (h d)"))
    ### END SOLUTION


# %% [markdown]
# ### It starts as nothing
#
# A tower that was trained for weeks must not be disturbed by what was made a minute ago. So `out` and the last map of the MLP begin at zero, as LLaMA-Adapter's gates do. The token begins as zeros, too.
#
# > **Predict first.** In the very first step, which parameters of the aggregators have a gradient that is not zero?

# %%
# NBVAL_CHECK_OUTPUT
model = fresh()
with torch.no_grad():
    features = model.image_features(seen_by_embed(movie)["pixels"][0])[None]  # (1, T, N, C)
    given, token = model.gmhra([features], model.classes)
print("the frames' tokens are the tower's, bit for bit:", torch.equal(given, features))
print("the token is zeros:", not token.any())

aggregators = GMHRA(replace(embed_run.model.gmhra, dropout=0.0), features.shape[-1])
after, token = aggregators([features], 0)
weights = torch.randn(3, after[0].numel(), generator=torch.Generator().manual_seed(0))
((after.flatten() * weights[0]).sum() + (token * weights[1, : token.numel()]).sum()).backward()
first = [name for name, p in aggregators.named_parameters() if p.grad is not None and p.grad.any()]
print("first to learn:", ", ".join(first))

# %% [markdown]
# Only the zeros learn first (the last maps, and the token itself); everything behind them waits for one step, until they are zero no longer. In the library the cross-attention is written so that keys and values are never computed, because one query alone does not need them; yours gives the same numbers.
#
# What does it cost at the paper's size?

# %%
# NBVAL_CHECK_OUTPUT
with torch.device("meta"):  # shapes without numbers
    large = VideoChatConfig.preset("7B").build()


def millions(module):
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:,.1f} M"


print(f"one aggregator     {millions(large.gmhra.blocks[0]):>10}")
print(f"all eight          {millions(large.gmhra):>10}")
learns = sum(p.numel() for p in large.parameters() if p.requires_grad)
everything = sum(p.numel() for p in large.parameters())
print(f"trained in all     {learns / 1e6:>8,.1f} M  = {learns / everything:.1%} of everything")

# %% [markdown]
# Nearly all that VideoChat trains are these aggregators: the rest are the tower's last norm, 64 extra queries and one linear map. Is looking worth it? The claim compares with a token that is told the *mean* of all tokens, and has exactly as many parameters:

# %%
claims.stored("videochat.gmhra")

# %% [markdown]
# In our toy it is the *local* aggregator that makes the difference, the kind that the release leaves out: whether the one token looks or is told the mean does not show. A likely reason: the Q-Former looks at all frames' tokens anyway, so one token more has little to add. With 39 blocks and real videos that may be otherwise.

# %% [markdown]
# ## 5 · A chat, and two stages
#
# ### From frames to a prompt
#
# The Q-Former of BLIP-2 comes with 32 queries, which have learned to ask about images, and is frozen. VideoChat gives it **64 extra queries** for videos. All 96 answers go through a linear map, and take their place in the text:

# %%
# NBVAL_CHECK_OUTPUT
turns = [("what hits the circle first?", "the triangle"), ("when?", "at 5 seconds")]
chat = dialogue(turns, times=(0.6, 1.7, 2.8, 3.9, 5.1, 6.2, 7.3, 8.4), template=VIDEOCHAT)
print(f"read     {chat.before}")
print("read     [96 vectors]")
for text, learned in chat.parts:
    print("learned " if learned else "read    ", text)

# %% [markdown]
# The form is Vicuna's, a LLaMA that was tuned for chats. Three details:
#
# - The sign `###` belongs to the *answer*. By writing it the assistant says that it is done; whoever runs the chat stops there. If it were not learned, the model would go on and invent the next question.
# - The video's places are no words: nothing is predicted at them, and no word can be predicted to be one.
# - What is learned decodes to exactly the answers. So pieces are turned into tokens one by one; if question and answer were joined first, a token might straddle the seam.
#
# **Exercise 5 of 6 · Learn what the assistant says** (8 minutes, difficulty 2 of 3). Everything comes as ids: what stands before the video, each question with all that comes before its answer, each answer, and the sign that ends an answer. Where a vector of the video stands, write −1. The target of a place is what stands at the *next* one, if that is learned, else −100.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("videochat.labels")
def chat_labels(before, video, turns, end):
    """ids, how many vectors, [(ids, ids), …], ids → what is read (-1: the video), what is learned
    there: two lists of the same length."""
    ### BEGIN SOLUTION
    read, learned = before + [-1] * video, [False] * (len(before) + video)
    for question, said in turns:
        read = read + question + said + end
        learned = learned + [False] * len(question) + [True] * (len(said) + len(end))
    targets = [i if own else -100 for i, own in zip(read[1:], learned[1:], strict=True)]
    return read[:-1], targets
    ### END SOLUTION


# %%
words_of = tokenizers.llama()
brief = [(words_of.encode(q), words_of.encode(a)) for q, a in (("went?", "left"), ("ring?", "red"))]
read, goals = chat_labels([words_of.bos], 2, brief, words_of.encode(".")[-1:])
names = {words_of.bos: "<s>", -1: "video", -100: ""}
blip_figures.targets(
    [names.get(i) or words_of.decode([i]).strip() for i in read],
    ["" if i == -100 else words_of.decode([i]).strip() for i in goals],
)

# %% [markdown]
# (The toy has shorter words: `question: … answer: … .`, and its sign is the full stop.)
#
# ### Two stages
#
# | | stage 1: alignment | stage 2: instructions |
# |---|---|---|
# | data | 10 M videos and 15 M images with captions | 7,000 video descriptions, 4,000 video chats, and image chats |
# | asks | one of 11 requests such as "describe the video" | whatever people ask |
# | frames | 4 | 8 |
# | epochs | 1 | 3 |
# | trained | the same: GMHRA, the tower's last norm, extra queries, linear map | |
#
# Where do chats about videos come from? ChatGPT wrote them, and it has seen no video. It read what VideoChat-*Text* says of one. So the better system learns from the words of the poorer one: what no tool has said, no chat asks about. (The slides show the prompt: describe the video with *first*, *next*, *then* and *finally*, and mention no times.)
#
# > **Predict first.** Stage 2 alone could take all steps. Will it, at equal steps, come out behind?

# %%
claims.stored("videochat.stages")

# %% [markdown]
# ## 6 · Your own VideoChat
#
# Now put it together. Yours learns beside the library's, from the same weights and on the same batches: films, each with up to ten questions. You are given the frozen tower's tokens of the frames. The Q-Former (frozen, as in the paper), the linear map and the norm come from the shipped `videochat-toy`, so that half a minute is enough; the aggregators, the clock and the extra queries begin anew.
#
# | `model` | one aggregator, `block = model.gmhra.blocks[0]` |
# |---|---|
# | `gmhra.local[0](frames, shown)`: what the neighbours add to each token | `norm_frames`, then `positions(…, 0, shown)`: what it looks at |
# | `gmhra.token` (C,) | `norm_token`, `attention`: for your `global_attention` |
# | `norm_image(frames)`; for the token `norm_image.norm(token)` | `norm_mlp`, `mlp` |
# | `clock.out`: of your `time_waves(seconds, WAVES)` | |
# | `qformer.look(seen, None, model.extra)[-1]` → (B, Q, D) | |
# | `projection` → (B, Q, s · d); `config.spread` is s | |
# | `llm.token`, `llm.hidden`, `llm.head` | |
#
# The toy's language model is half as wide as its queries, so each query becomes s vectors. The video stands after the first token of the text.
#
# **Exercise 6 of 6 · Your own VideoChat** (15 minutes, difficulty 3 of 3). Neighbours; the token looks, then its MLP, each with its norm and a sum; norm, time; the queries; the text around the video. Return logits at the text's places only.


# %%
# NBVAL_CHECK_OUTPUT
@exercise("videochat.model")
def video_logits(model, frames, seconds, tokens):
    """A VideoChat, (B, T, N, C), (B, T), (B, L) ids → (B, L, V) logits of the next token."""
    block, shown = model.gmhra.blocks[0], torch.ones(frames.shape[:2], dtype=torch.bool)
    token = model.gmhra.token.expand(len(frames), 1, -1)  # (B, 1, C)
    ### BEGIN SOLUTION
    frames = frames + model.gmhra.local[0](frames, shown)
    y = block.positions(block.norm_frames(frames), 0, shown)
    token = token + global_attention(block.attention, block.norm_token(token), y, shown)
    token = token + block.mlp(block.norm_mlp(token))

    seen = model.norm_image(frames) + model.clock.out(time_waves(seconds, WAVES))[:, :, None]
    seen = torch.cat([seen.flatten(1, 2), model.norm_image.norm(token)], dim=1)  # (B, T·N + 1, C)

    answers = model.projection(model.qformer.look(seen, None, model.extra)[-1])
    video = rearrange(answers, "b q (s d) -> b (q s) d", s=model.config.spread)
    ### END SOLUTION
    words = model.llm.token(tokens)
    ### BEGIN SOLUTION
    x = model.llm.hidden(torch.cat([words[:, :1], video, words[:, 1:]], dim=1))
    return model.llm.head(torch.cat([x[:, :1], x[:, 1 + video.shape[1] :]], dim=1))
    ### END SOLUTION


# %%
run = capstone.train("videochat-capstone", video_logits, steps=quick(None, 3))
print(run)
capstone.keep(run)

# %%
capstone.curves(run)

# %% [markdown]
# A loss says little about *seeing*: a model that only knows that "when" wants seconds, and "why" a thing that hit, already avoids most of it. How much of what your model says comes from the film? We measure the loss on new films three times: with the right film, with the frames of the right film backwards, and with the film of somebody else.
#
# > **Predict first.** Which of the three losses are equal for a model that only guesses? For one that sees, but has no time?

# %%
mine = run.model
test_films = run.recipe.data.dataset(run.recipe.model, run.recipe.train, "test")
batch = run.recipe.collate(train=False)([test_films[i] for i in range(quick(48, 6))])
ways = {
    "the right film": batch["pixels"],
    "backwards": batch["pixels"].flip(1),
    "another film": batch["pixels"].roll(1, 0),
}
for who, model in (("yours", mine), ("videochat-toy", embed)):
    with torch.no_grad(), evaluating(model):
        found = {
            way: float(model.losses({**batch, "pixels": pixels})["lm"])
            for way, pixels in ways.items()
        }
    print(f"{who:14} " + "   ".join(f"{way} {loss:.3f}" for way, loss in found.items()))

# %% [markdown]
# The further apart two numbers of a row are, the more of the answers comes from the film, and from its order in time. The shipped `videochat-toy` has had both stages, and all of the training. Let us talk with it.
#
# ## 7 · Side by side
#
# The films are *held out*: each has a thing whose colour and shape never came together in training. Five systems answer the same questions: the language model alone, VideoChat-Embed with the middle frame only, VideoChat-Text from captions, VideoChat-Text with all our tools, and VideoChat-Embed.
#
# > **Predict first.** For each kind of question: which systems do better than guessing?

# %%
asked = film_questions("heldout", quick(20, 2), SEEN_KINDS)
answers = {
    "no film": filmed.answers(embed, collate, asked, count=T, shown="nothing"),
    "middle frame": filmed.answers(embed, collate, asked, count=T, shown="middle"),
    "Text, captions": watching.read(readers["captions"], asked),
    "Text, all tools": watching.read(readers["all"], asked),
    "Embed": filmed.answers(embed, collate, asked, count=T),
}
plots.by_kind({who: marks(asked, said) for who, said in answers.items()})

# %% [markdown]
# Read it in three steps. *No film* and *middle frame* show what guessing gives: that is the floor, and for "image" the middle frame is all one needs. *Text* with captions shows what a description of moments is worth for questions about changes (our small reader has met few captions in a row, so some of its errors are of the third kind). And *Text, all tools* against *Embed* is a contest with an unfair tool: someone has written down, by rules for this very world, what happens. In the real world there is no such tool, and there Embed has to win or lose against captions.
#
# ### Ask
#
# Put in questions of your own, in the toy's words, and run the cell again.

# %%
talker = VideoChatEmbed(embed, collate, T)
sampled_often, sampled_once = watching.media(movie, fps=4), watching.media(movie)
for words in (
    "which way did the cross go?",
    "when did the cross turn orange?",
    "why did the blue circle turn small?",
    "what hit the blue circle first, the green triangle or the white ring?",
    "what colour is the ring?",
):
    print("you:  ", words)
    print("Text: ", "".join(readers["all"].answer(sampled_once, words)))
    print("Embed:", "".join(talker.answer(sampled_often, words)), "\n")

# %% [markdown]
# ### Where they fail
#
# Of each system and each kind of question, the first one that it got wrong (not chosen by hand):

# %%
films_shown = ("Text, captions", "Text, all tools", "Embed")
shown_answers = {who: answers[who] for who in films_shown}
watching.table(asked, shown_answers, watching.wrong(asked, shown_answers))

# %% [markdown]
# Look at what Embed *names* when it is wrong. These films were chosen to be hard: each has a pair of colour and shape that no training film had. How much of the error is that? The model's card has the same questions about new films of known pairs:

# %%
card = zoo.card("videochat-toy")["metrics"]
for kind in ("order", "direction", "localisation ± 1 s", "cause"):
    print(f"{kind:20} known pairs {card[f'known: {kind}']:4.0%}   unseen pairs {card[kind]:4.0%}")

# %% [markdown]
# One of them in full. Which of the three reasons of section 2 was it: a wrong tool, a tool that was silent, or a reader who drew the wrong conclusion?

# %%
missed = watching.wrong(asked, {"Text": answers["Text, all tools"], "Embed": answers["Embed"]})
number = (missed or [0])[0]
script, question = asked[number]
failed = Timeline.of(script)
print(f"{question.text}  →  {question.answer}")
for who in films_shown:
    print(f"   {who}: {answers[who][number]}")
print()
print(readers["all"].account(watching.media(failed)).text.split("\n\n")[-1])
plots.story(failed, uniform_times(failed.duration, T))

# %% [markdown]
# ### Where it looks
#
# Embed has an advantage that is rarely mentioned: you can see what it looks at. Each query spreads its attention over all tokens; here it is summed over the places of each frame.
#
# > **Predict first.** Do all queries look at the same frames? Do they follow what happens?

# %%
with torch.no_grad(), evaluating(embed):
    looks = embed.looks(**seen_by_embed(movie))[0]  # (Q, T + 1)
plots.attention(movie, uniform_times(movie.duration, T), looks, embed.config.qformer.queries)

# %%
shares = looks[:, :T] / looks[:, :T].sum(dim=1, keepdim=True)
spread = torch.special.entr(shares).sum(dim=1).exp()  # 1: a single frame; T: all of them alike
print(f"a query looks at {spread.min():.1f} to {spread.max():.1f} of {T} frames")
print(f"the aggregators' token gets {looks[:, T:].mean():.1%} of the attention")

# %% [markdown]
# A warning. Attention says where a query *looks*, not what it takes from there, nor whether the answer depends on it. To know that, change the frame and ask again.
#
# ### What the tokens buy

# %%
claims.stored("videochat.temporal")

# %% [markdown]
# ## Claims
#
# Measured by full experiments (`vlcourse claims` repeats them); a rule computes each verdict.

# %%
# NBVAL_CHECK_OUTPUT
claims.table(
    [
        "videochat.temporal",
        "videochat.text_loses",
        "videochat.gmhra",
        "videochat.timestamps",
        "videochat.stages",
    ]
)

# %% [markdown]
# *Holds* says that the effect shows at toy scale, no more. *Does not show here* is a result, too. A row that is *not measured yet* says nothing.
#
# ## Scale it up
#
# | | VideoChat-Embed, 7B (13B) | toy |
# |---|---|---|
# | image tower | EVA's ViT-g, 39 blocks, frozen | `clip-toy-grid`, a ResNet of 1.4 M, frozen |
# | aggregators | 8 global ones, no local one | one of each kind |
# | tokens of a frame | 257 | 16 |
# | Q-Former | BLIP-2's, of FlanT5-XXL, frozen; 32 + 64 queries | our BLIP-2's, trained further; 8 queries and some more |
# | language model | Vicuna-7B (StableVicuna-13B), frozen | `llm-time`, 0.2 M, frozen |
# | time | the sentence | a clock |

# %%
# NBVAL_CHECK_OUTPUT
for run_name in (
    "videochat-toy-stage1",
    "videochat-toy",
    "videochat-7b-stage1",
    "videochat-7b-stage2",
):
    numbers = RECIPES[run_name].train
    print(
        f"{run_name:20} {numbers.steps:7,} steps  batch {numbers.batch_size:5,}  lr {numbers.lr:.3g}"
    )

# %% [markdown]
# Eight frames are 2,056 tokens of 1,408 numbers, and only 96 vectors reach the language model. That is the Q-Former's gift: the prompt of a video is as long as a paragraph. Frozen weights in half precision are 13.5 GB for the 7B and 2 GB for the tower; weights, gradients and Adam's averages of what is trained need 16 bytes for each parameter, 3.3 GB. The paper used 32 GPUs for the 25 million pairs of stage 1.
#
# ```bash
# vlcourse train videochat-toy-stage1                            # then videochat-toy begins from it
# vlcourse chat                                                  # the page: your own videos, both systems side by side
# vlcourse ask FILM.mp4 "when did the ring come in?"             # once, in a terminal
# torchrun --nproc-per-node 8 -m vlcourse train videochat-7b-stage2 data.source=yours.json run.parallel=ddp
# ```
#
# ## Corrections
#
# Where the lecture's slides disagree with the paper or its code:
#
# 1. **"VLTi（视频-语言令牌接口）"**: the paper's name for the interface is **VLTF**.
# 2. **"通过额外线性投影补充, 添加额外查询 Token 建模视频上下文"** (slides, under GMHRA: an extra linear projection, and extra query tokens that model the video's context): these are two different things. GMHRA has **one** token, inside the image tower. The **64 extra queries** belong to the Q-Former. You have used both in section 6.
# 3. **"7,000 个详细视频描述 + 4,000 个视频对话"** (slides: stage 2 has 7,000 descriptions and 4,000 chats of videos): the stage also has about **7,400 image samples**: 2,000 chats and 2,000 reasonings of LLaVA, and 3,362 descriptions of MiniGPT-4. An image is a video of one frame.
#
# Two more, about which the paper and its release differ: Whisper and InternVideo's label do not reach the language model of the released VideoChat-Text (section 2). And "about 2 s for a video of 10 s" is said on the slides; we have found no measurement of it.
#
# ## Recap
#
# - **Time is what is new.** Order, direction, moment, cause: no frame tells them.
# - **Words lose.** What no tool has said is gone; what a tool said wrongly is believed. But words can be read, checked and mended.
# - **Attention sees a set.** Without a sentence, a clock or neighbours, before and after are the same.
# - **GMHRA.** One token, all tokens of all frames, zero at the start.
# - **The sentence must be true.** Presentation times, each frame once.
# - **Answers only, each with its sign.** Else a chat never ends.
# - **Align, then instruct**, and the instructions come from the system that reads.
#
# Next: *scaling up*, how all of these are planned, sharded and streamed.

# %% [markdown]
# ## Quiz
#
# **1.** A model answers 70 % of a video benchmark. What do you measure before you believe that it understands time?
#
# <details><summary>Answer</summary>
#
# The same questions with no video, with the middle frame, and with the frames shuffled. What is left above these is time.
#
# </details>
#
# **2.** You add a clock, but number the frames 0, 1, 2, … instead of using seconds. Which questions suffer?
#
# <details><summary>Answer</summary>
#
# Localisation: with T frames of a film of unknown length, number 3 may be any second. Order can still be told.
#
# </details>
#
# **3.** The 64 extra queries of the release all start as the same zeros. Why do they not stay the same for ever?
#
# <details><summary>Answer</summary>
#
# In the Q-Former they would: equal queries see equal things. But their vectors stand at different places in the LLaMA's text, whose rotary positions treat them differently, so their gradients differ. In a small rebuild it is safer to start them apart, as ours do.
#
# </details>
#
# **4.** GMHRA's token starts as zeros, and so do its last maps. Lecture 06 warned of zeros on both sides. Why does this one learn?
#
# <details><summary>Answer</summary>
#
# The last maps' gradient is the product of what comes from above and what goes into them: the attended values, and the MLP's inner values. Those are not zero, because the values come from the frames, and the other maps are random.
#
# </details>
#
# **5.** In training the sign `###` after the answer was masked by mistake. What do users see?
#
# <details><summary>Answer</summary>
#
# The model answers, and then goes on: it writes the human's next question, and answers that.
#
# </details>
#
# **6.** Your VideoChat-Text is asked "is the man on the left nervous?" and says "I cannot tell". Which of the three reasons is it, and would a better LLM help?
#
# <details><summary>Answer</summary>
#
# No tool said it. The best reader cannot read what is not written; another tool could, or tokens instead of words.
#
# </details>

# %% [markdown]
# ## More · What was released
#
# The release of VideoChat-Embed (2023) differs from the paper, and has bugs that this course does not copy. If you build on it, know them:
#
# - **The start of the text.** The embedding of the begin-of-text token is replaced by a constant vector of ones (`videochat_it.py`).
# - **Stage 2 ignores stage 1.** Its script names the first stage's file as `gpt_model_path`, and no code ever reads that name: the second stage starts without the first, and nothing complains.
# - **Images only.** The function that builds the data sets returns from within its loop: only the first kind is used (`dataset/__init__.py`). Its class for videos, `ITVidTrainDataset`, ends in a NameError.
# - **Two normalisations.** Training subtracts ImageNet's mean and deviation, the demo CLIP's.
# - **Markers are learned.** The loss is on the answers and also on `###Human:` and `###Assistant:`.
# - **BatchNorm in the local aggregators**, a reduction of 2, and a class token that passes by; all of it is switched off.
#
# A lesson for your own code: three of these are silent. A test that changes one input and looks whether the output changes would have found each of them.
#
# ## More · UniFormerV2's variant
#
# UniFormerV2 orders things differently: positions first, then the norm; and at the end its token is mixed with the mean of the frames' class tokens, half and half at the start, by a learned balance. Both are in the library:

# %%
show.source(gmhra.UniFormerMHRA)

# %%
show.source(gmhra.OneAsks)

# %% [markdown]
# **Check yourself.** Why can the single query do without keys and values?
#
# <details><summary>Answer</summary>
#
# qᵀ(Wy) = (Wᵀq)ᵀy: turn the one query once, instead of every token. And the sum of Wy is W of the sum. With one query that saves nearly all the work; with many it would not.
#
# </details>
#
# ## More · Real videos
#
# `vlcourse ask` and `vlcourse chat` read real files: any codec that FFmpeg knows, variable frame rates (by presentation times), rotated phone videos, files that break off in the middle (what could be read is used, and that is said). Memory grows with the sampled frames, not with the file. The toy models have seen nothing but shapes, so of your cat they will speak as of a circle. With real models the same classes work: `chat.tools.pipelines` wraps captioners and Whisper of the transformers library, and `chat.llm.TransformersChat` any chat model that you have.
#
# In a notebook the same chat is a widget:
#
# ```python
# from vlcourse.chat.widget import chat
# chat()
# ```
#
# ## More · A project
#
# Choose one. (1) Train `videochat-toy` with `data.frames` of 2, 4, 8 and 16: which kind of question suffers first? (2) Set `model.clock=order` and measure localisation. (3) Give VideoChat-Text a new tool of your own (`chat/perception.py` says what a tool is), and measure what it is worth. Write down what you expect before you measure.
#
# ## More · Further questions
#
# **1.** Why does the Q-Former not need to know the number of frames in advance?
#
# <details><summary>Answer</summary>
#
# Attention takes a set of any size. Training with 4 frames and chatting about 16 works, as far as what was learned fits: shares become thinner, and a clock sees times that it may not have seen.
#
# </details>
#
# **2.** Half of the frames of a batch only fill up shorter videos. Where must they be hidden?
#
# <details><summary>Answer</summary>
#
# In the global attention, in the Q-Former's cross-attention, in both convolutions (their zeros must be true zeros, as beyond the end), and in BatchNorm's statistics.
#
# </details>
#
# **3.** A video of an hour has 3,600 frames at one a second. Which part gives up first?
#
# <details><summary>Answer</summary>
#
# Of Text: the context of the language model, 3,600 lines. Of Embed: not the prompt, which stays at 96 vectors, but what they can hold; 64 queries cannot remember an hour. That is what later work on long videos is about.
#
# </details>
