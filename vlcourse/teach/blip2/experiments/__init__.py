"""The experiments behind the claims of lecture 04.

All arms look through one frozen tower, that of clip-toy-grid. It sees each picture once
(:mod:`vlcourse.recipes.features`); what it saw is kept for all arms and seeds. First stages are
kept and shared: one of 8 queries serves three claims. The cache keeps what is done.

Planned, for three seeds; a first stage of 400 steps takes some 40 seconds of one core, a second of
800 steps some 80, its tests 20:

| what | first stages | second stages | minutes |
|---|---|---|---|
| blip2.stage1: with, without, without but longer | 3 + 1 | 9 + 6 short | 22 |
| blip2.queries: 1, 2, 4, 16, 32; 8 is "with" | 15 | 15 | 40 |
| blip2.bottleneck: linear layer, language model too; Q-Former is "with" | – | 6 + 6 short | 15 |
| blip2.masks: right ones, a leak in ITC, a leak in ITG | 9 | – | 7 |
| blip2.zero_shot_vqa: the models that ship | – | – | 1 |
"""
