"""The experiments behind the claims of lecture 02, and what those of lecture 03 share with them.

Planned minutes of one core, for three seeds. A step of an arm takes .26 s, an arm of 800 steps
three and a half minutes, its tests half a minute. The cache keeps what is done.

| what | trainings | minutes |
|---|---|---|
| blip.sharing: four arms; a learning rate for each | 12 + 4 × 3 short | 48 + 16 |
| blip.hard_negatives: the arm "random"; "hard" is sharing's "all but SA" | 3 + 3 short | 12 + 4 |
| blip.tasks: two specialists; a learning rate for each | 6 + 6 short | 17 + 6 |
| blip.rerank: the arms of sharing; blip-toy itself | – | 1 |
| blip.capfilt: four arms, one of which is the MED of captioner and filter | 12 + 3 short | 48 + 4 |
| … fine-tuning of each arm and its tests, captions and scores | 24 short | 25 |
| blip.diversity: nucleus is capfilt's arm; beam, with its captions and scores | 3 | 16 |
| blip.decouple: separate is capfilt's arm; shared, likewise | 3 | 16 |
"""
