"""From samples to a batch."""

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from vlcourse.data.collate import pictures
from vlcourse.tokenizers.byte_bpe import ByteBPE

TOKENIZER = ByteBPE([])


def sample(i: int, size: tuple[int, int] = (8, 8), **extras) -> dict:
    generator = torch.Generator().manual_seed(i)
    image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
    return {"id": f"s{i}", "image": image, "caption": "ab" * (i + 1), **extras}


def test_batch_has_the_documented_parts():
    out = pictures.Collate(TOKENIZER, image_size=8, context=16)(
        [sample(0, label=3), sample(1, label=1)]
    )
    assert out["pixels"].shape == (2, 3, 8, 8) and out["pixels"].dtype == torch.float32
    assert out["tokens"].shape == (2, 6)  # start, four letters, end
    assert out["ids"] == ["s0", "s1"] and out["captions"] == ["ab", "abab"]
    assert out["labels"].tolist() == [3, 1]
    assert "labels" not in pictures.Collate(TOKENIZER, 8)([sample(0)])


def test_normalise_and_back():
    images = torch.stack([sample(i)["image"] for i in range(3)])
    assert torch.equal(pictures.denormalise(pictures.normalise(images)), images)
    grey = pictures.normalise(torch.full((3, 1, 1), 128, dtype=torch.uint8)).flatten()
    assert float(grey[0]) == pytest.approx((128 / 255 - 0.48145466) / 0.26862954, abs=1e-5)


def test_other_sizes_are_resized_and_cropped_in_the_centre():
    wide = torch.zeros(3, 8, 24, dtype=torch.uint8)
    wide[:, :, 8:16] = 200  # the centre square
    assert torch.equal(pictures.resize(wide, 8), wide[:, :, 8:16])
    assert pictures.resize(sample(0, (50, 70))["image"], 32).shape == (3, 32, 32)


def test_crop_shifts_by_whole_pixels_and_depends_on_the_generator_alone():
    images = torch.stack([sample(i, (16, 16))["image"] for i in range(64)])
    crop = pictures.random_crop(images, 2, torch.Generator().manual_seed(5))
    assert torch.equal(crop, pictures.random_crop(images, 2, torch.Generator().manual_seed(5)))
    assert not torch.equal(crop, pictures.random_crop(images, 2, torch.Generator().manual_seed(6)))
    padded = torch.nn.functional.pad(images.float(), [2] * 4, mode="reflect").to(torch.uint8)
    shifts = set()
    for picture, source in zip(crop, padded, strict=True):
        found = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if torch.equal(picture, source[:, y : y + 16, x : x + 16])
        ]
        assert found
        shifts.update(found)
    assert len(shifts) > 15  # nearly all 25 shifts in 64 pictures


def test_random_square_moves_along_the_long_side_only():
    ramp = torch.arange(0, 240, 5, dtype=torch.uint8).expand(3, 16, 48).contiguous()
    collate = pictures.Collate(TOKENIZER, image_size=16, augment="random-square")
    for image, axis in ((ramp, 2), (ramp.mT.contiguous(), 1)):
        samples = [{"id": str(i), "image": image, "caption": "a"} for i in range(400)]
        pixels = collate(samples, torch.Generator().manual_seed(0))["pixels"]
        again = collate(samples, torch.Generator().manual_seed(0))["pixels"]
        assert pixels.shape == (400, 3, 16, 16) and torch.equal(pixels, again)
        first = pictures.denormalise(pixels).select(axis + 1, 0)[:, 0, 0]  # it says the offset
        assert set(first.tolist()) == set(range(0, 165, 5))  # 33 places, all of them
        windows = [image.narrow(axis, int(value) // 5, 16) for value in first]
        assert torch.equal(pictures.denormalise(pixels), torch.stack(windows))
    square = collate([sample(0, (50, 50))], torch.Generator())["pixels"]
    assert torch.equal(square, pictures.Collate(TOKENIZER, 16)([sample(0, (50, 50))])["pixels"])


def test_flip_happens_about_half_the_time():
    ramp = torch.arange(16, dtype=torch.uint8).expand(3, 16, 16).contiguous()
    samples = [{"id": str(i), "image": ramp, "caption": "a"} for i in range(200)]
    collate = pictures.Collate(TOKENIZER, image_size=16, augment="crop+flip")
    pixels = collate(samples, torch.Generator().manual_seed(0))["pixels"]
    flipped = int((pixels[:, 0, 8, 4] > pixels[:, 0, 8, 12]).sum())
    assert 70 < flipped < 130


def test_unknown_augmentation_is_refused():
    with pytest.raises(ValueError, match="'rotate' is not one of none, crop, crop"):
        pictures.Collate(TOKENIZER, augment="rotate")


def test_a_long_picture_is_cropped_before_it_is_resized():
    # 1 × 20,000 pixels, resized by the short side to 224, would be 1.0 billion numbers a channel.
    strip = (torch.arange(20_000) % 250).to(torch.uint8).expand(3, 1, -1)
    seen: list[tuple[int, ...]] = []
    real = TF.resize

    def watched(image: torch.Tensor, *args, **kwargs):
        seen.append(tuple(image.shape))
        return real(image, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TF, "resize", watched)
        middle = pictures.resize(strip, 224)
        generator = torch.Generator().manual_seed(0)
        places = {
            int(pictures.random_square(image, 8, generator).float().mean())
            for image in [strip, strip.mT] * 100
        }
    assert set(seen) == {(3, 1, 1)}
    assert middle.shape == (3, 224, 224) and set(middle.unique().tolist()) <= {249, 0}
    assert len(places) > 100 and max(places) - min(places) > 200  # all along the strip


@pytest.mark.parametrize("shape", [(40, 300), (300, 40), (33, 100)])
def test_ordinary_long_pictures_are_resized_as_before(shape: tuple[int, int]):
    image = sample(1, shape)["image"]
    whole = TF.resize(image, [32], interpolation=TF.InterpolationMode.BICUBIC, antialias=True)
    assert torch.equal(pictures.resize(image, 32), TF.center_crop(whole, [32, 32]))
