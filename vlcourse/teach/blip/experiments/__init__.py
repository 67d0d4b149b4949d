"""The experiments behind the claims of lecture 02, and what those of lecture 03 share with them.

Planned minutes of one core, for three seeds. A step of an arm takes .26 s, an arm of 300 steps one
and a half minutes, its tests a quarter to half a minute. One learning rate, found by three short
trainings, serves all arms of lecture 02, and another those of lecture 03. The cache keeps what is
done.

| what | trainings | minutes |
|---|---|---|
| blip.sharing: four arms | 12 + 3 short | 22 + 2 |
| blip.hard_negatives: the arm "random"; "hard" is sharing's "all but SA" | 3 | 6 |
| blip.tasks: two specialists | 6 | 8 |
| blip.rerank: the arms of sharing; blip-toy itself | – | 1 |
| blip.capfilt: four arms, one of which is the MED of captioner and filter | 12 + 3 short | 20 + 2 |
| … fine-tuning of each arm and its tests, captions and scores | 24 short | 15 |
| blip.diversity: nucleus is capfilt's arm; beam, with its captions and scores | 3 | 9 |
| blip.decouple: separate is capfilt's arm; shared, likewise | 3 | 9 |
"""
