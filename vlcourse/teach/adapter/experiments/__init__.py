"""The experiments behind the claims of lecture 06.

All arms stand around the frozen llm-toy, and are measured on compositions that none was trained on.
Each kind of arm has its learning rate from three short trainings. The cache keeps what is done.

Planned, for three seeds. A step of 32 scenes told in words takes .12 s of one core, of 16 pictures
with captions beside 16 such scenes .12 s, of 32 instructions about pictures .1 s; so an arm takes
30 to 40 seconds, its tests 3 to 8.

| what | trainings | minutes |
|---|---|---|
| adapter.zero_init: gates closed, gates random | 6 + 6 short | 5 |
| adapter.cost: version 1 and LoRA of three sizes, version 2, all | 21 + 9 short | 16 |
| adapter.v2_bias: version 2's prompts alone; the others are the cost's | 3 | 2 |
| adapter.v2_disjoint: disjoint, shared, captions alone, instructions alone | 12 + 6 short | 9 |
| adapter.v2_early: early, late | 6 + 6 short | 5 |
| adapter.v2_expert: the models of adapter.v2_disjoint, asked in three ways | – | 1 |
"""
