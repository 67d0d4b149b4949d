"""The model: shapes, exact size, the causal text tower, gradients, clear refusals."""

import math

import pytest
import torch
from torch.nn import functional as F

from vlcourse.models.clip import CLIP, PRESETS, CLIPConfig, TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViT, ViTConfig, resize_positions

TINY = CLIPConfig(
    embed=20,
    image=ViTConfig(image_size=15, patch_size=5, width=48, layers=2, heads=3),
    text=TextConfig(vocab_size=61, context=19, width=32, layers=2, heads=4),
)


@pytest.fixture
def model() -> CLIP:
    torch.manual_seed(0)
    return TINY.build().eval()


def texts(*lengths: int, width: int = 19) -> torch.Tensor:
    """Random rows of the given lengths: start 59, words, end 60, padding 0."""
    rows = torch.zeros(len(lengths), width, dtype=torch.long)
    generator = torch.Generator().manual_seed(1)
    for row, n in zip(rows, lengths, strict=True):
        row[:n] = torch.randint(1, 59, (n,), generator=generator)
        row[0], row[n - 1] = 59, 60
    return rows


# Computed from the published weights; the paper prints none.
PARAMETERS = {
    "RN50": 102_007_137,
    "RN101": 119_688_033,
    "RN50x4": 178_300_601,
    "RN50x16": 290_979_217,
    "RN50x64": 623_258_305,
    "ViT-B/32": 151_277_313,
    "ViT-B/16": 149_620_737,
    "ViT-L/14": 427_616_513,
    "ViT-L/14@336": 427_944_193,
}


@pytest.mark.parametrize("name", PRESETS)
def test_published_variants_have_exactly_their_number_of_parameters(name):
    with torch.device("meta"):
        model = CLIPConfig.preset(name).build()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


def test_presets_are_asked_for_by_name():
    assert list(PRESETS) == list(PARAMETERS) and CLIPConfig.preset("ViT-B/32") == CLIPConfig()
    with pytest.raises(ValueError, match="no published CLIP 'vit-l-14'; did you mean 'ViT-L/14'"):
        CLIPConfig.preset("vit-l-14")
    with pytest.raises(ValueError, match="no published CLIP 'xyz'; known: RN50, RN101"):
        CLIPConfig.preset("xyz")


def test_shapes(model):
    assert model.encode_image(torch.randn(3, 3, 15, 15)).shape == (3, 20)
    assert model.encode_text(texts(5, 19, 2)).shape == (3, 20)


def test_padding_after_the_end_of_text_changes_nothing(model):
    tokens = texts(5, 9, 3)
    whole = torch.stack([model.encode_text(row[None])[0] for row in tokens])
    torch.testing.assert_close(model.encode_text(tokens), whole, rtol=1e-5, atol=1e-6)
    noise = tokens.clone()
    noise[tokens == 0] = 7  # any id but the end of text
    torch.testing.assert_close(model.encode_text(noise), model.encode_text(tokens))


def test_text_tower_is_causal(model):
    a, b = texts(12), texts(12)
    b[0, 8] = (b[0, 8] % 58) + 1
    _, states_a = model.text(a)
    _, states_b = model.text(b)
    torch.testing.assert_close(states_a["tokens"][:, :8], states_b["tokens"][:, :8])
    assert not torch.allclose(states_a["tokens"][:, 8:], states_b["tokens"][:, 8:])


def test_image_positions_matter(model):
    pixels = torch.randn(1, 3, 15, 15)
    assert not torch.allclose(model.encode_image(pixels), model.encode_image(pixels.flip(-1)))


def test_forward_is_the_papers_pseudo_code(model):
    batch = {"pixels": torch.randn(4, 3, 15, 15), "tokens": texts(4, 5, 6, 7)}
    image = F.normalize(model.encode_image(batch["pixels"]), dim=-1)
    text = F.normalize(model.encode_text(batch["tokens"]), dim=-1)
    logits = image @ text.T / 0.07
    labels = torch.arange(4)
    expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(model.losses(batch)["itc"], expected)
    torch.testing.assert_close(model(batch["pixels"], batch["tokens"][:3]), logits[:, :3])


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = TINY.build()
    batch = {"pixels": torch.randn(4, 3, 15, 15), "tokens": texts(19, 5, 6, 7)}
    model.losses(batch)["itc"].backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias on the keys shifts all of a query's scores alike, and softmax ignores that
    assert [n for n in without if not n.endswith("attention.k.bias")] == []


def test_temperature_is_clipped_at_100(model):
    assert math.isclose(float(model.scale().detach()), 1 / 0.07, rel_tol=1e-6)
    with torch.no_grad():
        model.log_scale.fill_(10.0)
    assert float(model.scale().detach()) == 100.0


def test_initialisation_follows_the_paper():
    torch.manual_seed(0)
    text = CLIPConfig(text=TextConfig(layers=2)).build().text
    assert math.isclose(float(text.token.weight.std()), 0.02, rel_tol=0.02)
    assert math.isclose(float(text.positions.std()), 0.01, rel_tol=0.02)
    out = text.blocks[0].attention.out.weight.std()
    assert math.isclose(float(out), 512**-0.5 * 4**-0.5, rel_tol=0.02)
    assert math.isclose(float(text.blocks[0].mlp.up.weight.std()), 1024**-0.5, rel_tol=0.02)


def test_bad_input_is_refused_in_words(model):
    with pytest.raises(ValueError, match="takes 15 px images, not 16×16"):
        model.encode_image(torch.randn(1, 3, 16, 16))
    with pytest.raises(ValueError, match="has 25 tokens, this tower takes 19"):
        model.encode_text(texts(25, width=25))
    with pytest.raises(ValueError, match="not a multiple of patch_size"):
        ViT(ViTConfig(image_size=16, patch_size=5))
    with pytest.raises(ValueError, match="not divisible by 5 heads"):
        ViT(ViTConfig(image_size=15, patch_size=5, width=48, heads=5))


def test_positions_keep_the_class_token_and_ramps():
    positions = torch.randn(1 + 49, 6)
    same = resize_positions(positions, 7)
    assert torch.equal(same, positions) and same is not positions
    rows, columns = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    ramp = torch.stack([rows, columns], dim=-1).view(49, 2)
    larger = resize_positions(torch.cat([torch.full((1, 2), 9.0), ramp]), 14)
    assert larger.shape == (1 + 196, 2) and torch.equal(larger[0], torch.full((2,), 9.0))
    # cell i of 14 lies at (i + 1/2) / 2 - 1/2 cells of 7; the border's neighbours are repeated
    centres = (torch.arange(14) + 0.5) / 2 - 0.5
    inside, grid = slice(4, 10), larger[1:].view(14, 14, 2)
    expected = torch.stack(torch.meshgrid(centres[inside], centres[inside], indexing="ij"), -1)
    torch.testing.assert_close(grid[inside, inside], expected, rtol=1e-5, atol=1e-5)
    assert resize_positions(positions.half(), 3).dtype == torch.half
    with pytest.raises(ValueError, match="11 positions are not one and a square grid"):
        resize_positions(torch.randn(11, 4), 3)


RESNET = CLIPConfig(20, ResNetConfig(64, (1, 1, 1, 1), 8, 4), TINY.text)


@pytest.mark.parametrize(("config", "size"), [(TINY, 30), (RESNET, 128)], ids=["vit", "resnet"])
def test_another_resolution_keeps_every_other_weight(config, size):
    torch.manual_seed(0)
    model = config.build()
    other = model.at_resolution(size)
    assert other.training and not model.eval().at_resolution(size).training
    assert other.config.image.image_size == size and other.config.text == config.text
    assert all(p.requires_grad and p.device.type == "cpu" for p in other.parameters())
    before, after = model.state_dict(), other.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(changed) == 1 and changed[0].endswith("positions")
    same = model.at_resolution(config.image.image_size).state_dict()
    assert all(torch.equal(before[name], same[name]) for name in before)
    assert not any(before[name].data_ptr() == after[name].data_ptr() for name in before)


def test_outputs_change_smoothly_with_the_resolution():
    """Smooth positions and a smooth picture: a finer look at it gives nearly the same feature."""
    torch.manual_seed(0)
    config = CLIPConfig(20, ViTConfig(40, 5, 48, 2, 3), TINY.text)
    model = config.build().eval()
    coarse = torch.randn(1, 48, 3, 3)
    smooth = F.interpolate(coarse, (8, 8), mode="bicubic", align_corners=True)
    with torch.no_grad():
        model.image.positions[1:] = smooth.flatten(2).mT[0] * 0.3
    picture = F.interpolate(torch.randn(1, 3, 3, 3), (240, 240), mode="bicubic")
    features = {}
    for size in (40, 60, 80):
        pixels = F.interpolate(picture, (size, size), mode="bicubic", antialias=True)
        with torch.no_grad():
            features[size] = model.at_resolution(size).encode_image(pixels)
    assert F.cosine_similarity(features[40], features[60]) > 0.98
    assert F.cosine_similarity(features[40], features[80]) > 0.97
    scrambled = model.at_resolution(80)
    with torch.no_grad():
        order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(256)])
        scrambled.image.positions.copy_(scrambled.image.positions[order])
        other = scrambled.encode_image(pixels)
    assert F.cosine_similarity(features[40], other) < F.cosine_similarity(
        features[40], features[80]
    )


def test_vit_l14_at_336_pixels_is_the_published_one():
    with torch.device("meta"):
        model = CLIPConfig.preset("ViT-L/14").build().at_resolution(336)
    assert model.config == CLIPConfig.preset("ViT-L/14@336")
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS["ViT-L/14@336"]
    with pytest.raises(ValueError, match="image_size 300 is not a multiple of patch_size 14"):
        model.at_resolution(300)
