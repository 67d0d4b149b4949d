"""From samples to a batch of BLIP's."""

from __future__ import annotations

import torch

from vlcourse.data.collate import pictures
from vlcourse.data.collate.captions import CaptionCollate
from vlcourse.data.world import World
from vlcourse.tokenizers import med


def test_a_batch_has_captions_with_their_mask() -> None:
    samples = World("train", 6, objects=(1, 4)).__getitems__(range(6))
    batch = CaptionCollate(med.toy())(samples)
    assert batch["pixels"].shape == (6, 3, 32, 32)
    assert torch.equal(
        pictures.denormalise(batch["pixels"]), torch.stack([s["image"] for s in samples])
    )
    texts = zip(batch["tokens"], batch["mask"], samples, strict=True)
    for tokens, mask, sample in texts:
        assert med.toy().decode(tokens[mask].tolist()) == (
            str(sample["caption"]).lower().replace(",", " ,").replace(".", " .")
        )
        assert tokens[mask][0] == 719 and tokens[mask][-1] == 720
        assert not mask[int(mask.sum()) :].any()
    assert batch["ids"] == [s["id"] for s in samples] and "groups" not in batch
    assert batch["captions"] == [str(s["caption"]) for s in samples]


def test_a_prompt_stands_before_each_caption() -> None:
    sample = World("train", 1)[0]
    batch = CaptionCollate(med.toy(), prompt="a picture of")([sample])
    words = med.toy().encode("a picture of")
    assert batch["tokens"][0, 1 : 1 + len(words)].tolist() == words
    assert batch["captions"] == [str(sample["caption"])]


def test_groups_say_which_pairs_show_one_picture() -> None:
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    samples = [
        {"id": str(i), "image": image, "caption": "a", "image_id": name}
        for i, name in enumerate(("x.png", "y.png", "x.png"))
    ]
    groups = CaptionCollate(med.toy(), groups=True)(samples)["groups"]
    assert groups.dtype == torch.int64 and (groups >= 0).all()
    assert (groups[:, None] == groups).tolist() == [
        [True, False, True], [False, True, False], [True, False, True],
    ]  # fmt: skip
    del samples[0]["image_id"]
    assert len(set(CaptionCollate(med.toy(), groups=True)(samples)["groups"].tolist())) == 3


def test_resized_crops_lie_in_the_picture_and_follow_the_generator() -> None:
    ramp = torch.arange(0, 240, 5, dtype=torch.uint8).expand(3, 48, 48).contiguous()
    samples = [{"id": str(i), "image": ramp, "caption": "a"} for i in range(200)]
    collate = CaptionCollate(med.toy(), 16, augment="resized-crop+flip")
    first = collate(samples, torch.Generator().manual_seed(1))["pixels"]
    assert torch.equal(first, collate(samples, torch.Generator().manual_seed(1))["pixels"])
    assert not torch.equal(first, collate(samples, torch.Generator().manual_seed(2))["pixels"])
    rows = pictures.denormalise(first)[:, 0, 8].float()  # (200, 16), rising or falling
    slopes = (rows[:, -1] - rows[:, 0]) / 15 / 5  # columns of the picture for one of the crop
    assert 60 < int((slopes < 0).sum()) < 140  # flipped
    widths = slopes.abs() * 16
    # Of 20 to 100 % of the area and 3 : 4 to 4 : 3: 0.39 to 1 of the width.
    assert 16 < float(widths.min()) < 22 and 44 < float(widths.max()) < 50
    long = torch.zeros(3, 4, 400, dtype=torch.uint8)  # no part of this shape fits: the centre
    assert pictures.resized_crop(long, 16, torch.Generator()).shape == (3, 16, 16)
