"""The experiments behind the claims of lecture 07.

Arms begin from the trained videochat-toy, whose aggregators and clock begin anew in all of them,
and go on for as many steps; only videochat.stages begins from a BLIP-2. Films and their
features are the same for all arms and seeds. The cache keeps what is done.

Planned, for three seeds. A step of 16 films of ten frames takes .45 s of one core, so an arm of 150
steps takes some 70 seconds, its tests 10; the features of 3,000 films 30 seconds, once.

| what | trainings | minutes |
|---|---|---|
| videochat.temporal: all frames, the middle one, their mean; and systems as they ship | 9 | 13 |
| videochat.text_loses: no training, 700 films are watched by the toy tools | – | 3 |
| videochat.gmhra: told the mean, no local aggregator; all frames are there | 6 | 8 |
| videochat.timestamps: order, order and sentence; the clock is there | 6 | 9 |
| videochat.stages: two stages, one | 6 and 3 first stages | 18 |
"""
