"""The linear probe on features whose answer is known."""

import pytest
import torch

from vlcourse.evals.probe import STRENGTHS, features, linear_probe
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.vit import ViTConfig

TEXT = TextConfig(vocab_size=600, context=8, width=16, layers=1, heads=2)


def blobs(n: int, classes: int, spread: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n points around each of some corners in 12 dimensions, of which 6 are noise only."""
    centres = torch.eye(classes, 6)
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(classes).repeat(n)
    x = centres[y] + spread * torch.randn(len(y), 6, generator=generator)
    return torch.cat([x, torch.randn(len(y), 6, generator=generator)], dim=1), y


def test_it_finds_what_is_linear_and_nothing_else():
    train, test = blobs(40, 5, 0.1, 0), blobs(40, 5, 0.1, 1)
    found = linear_probe(*train, *test)
    assert found.accuracy > 0.97 and found.hits.shape == (200,)
    assert found.strength in STRENGTHS
    shuffled = train[1][torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    assert linear_probe(train[0], shuffled, *test).accuracy < 0.4


def test_more_labels_help_and_noise_wants_more_regularisation():
    test = blobs(100, 5, 0.5, 9)
    accuracies = [linear_probe(*blobs(n, 5, 0.5, 0), *test).accuracy for n in (1, 4, 64)]
    assert accuracies[0] < accuracies[1] < accuracies[2]
    assert linear_probe(*blobs(10, 5, 1.0, 0), *test).strength < 10


def test_scale_and_offset_of_the_features_do_not_matter():
    (x, y), (test_x, test_y) = blobs(20, 4, 0.4, 0), blobs(20, 4, 0.4, 1)
    one = linear_probe(x, y, test_x, test_y)
    other = linear_probe(x * 1000 + 7, y, test_x * 1000 + 7, test_y)
    assert (one.hits == other.hits).float().mean() > 0.97


def test_one_label_a_class_cannot_choose_a_strength():
    assert linear_probe(*blobs(1, 4, 0.1, 0), *blobs(5, 4, 0.1, 1)).strength == 1.0


def test_bad_input_is_refused():
    x, y = blobs(3, 2, 0.1, 0)
    with pytest.raises(ValueError, match="6 train features and 5 labels"):
        linear_probe(x, y[:5], x, y)
    with pytest.raises(ValueError, match="two classes"):
        linear_probe(x, torch.zeros_like(y), x, y)


@pytest.mark.parametrize(
    ("image", "width"),
    [
        (ViTConfig(image_size=32, patch_size=16, width=24, layers=1, heads=2), 24),
        (ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=4, heads=2), 20),
    ],
)
def test_features_come_before_the_projection(image, width):
    model = CLIPConfig(embed=20, image=image, text=TEXT).build()
    pictures = torch.randint(0, 256, (5, 3, 40, 40), dtype=torch.uint8)
    found = features(model, pictures, batch_size=2)
    assert found.shape == (5, width) and not found.requires_grad
    assert model.training  # as before
    torch.testing.assert_close(found, features(model, pictures))
