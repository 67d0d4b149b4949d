"""The model: shapes, exact size, the causal text tower, gradients, clear refusals."""

import math

import pytest
import torch
from torch.nn import functional as F

from vlcourse.models.clip import CLIP, CLIPConfig, TextConfig
from vlcourse.models.vit import ViT, ViTConfig

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


def test_vit_b32_has_exactly_the_papers_number_of_parameters():
    with torch.device("meta"):
        model = CLIPConfig().build()
    assert sum(p.numel() for p in model.parameters()) == 151_277_313


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
    untrimmed, _ = run_untrimmed(model, tokens)
    torch.testing.assert_close(model.encode_text(tokens), untrimmed, rtol=1e-5, atol=1e-6)


def run_untrimmed(model, tokens):
    """The text tower over all columns, padding included."""
    tower = model.text
    x = tower.token(tokens) + tower.positions[: tokens.shape[1]]
    for block in tower.blocks:
        x = block(x, causal=True)
    x = tower.norm_final(x)
    end = tokens.argmax(dim=-1)
    return model.text_projection(x[torch.arange(len(x)), end]), x


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
    torch.testing.assert_close(model(batch)["itc"], expected)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = TINY.build()
    model({"pixels": torch.randn(4, 3, 15, 15), "tokens": texts(19, 5, 6, 7)})["itc"].backward()
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
