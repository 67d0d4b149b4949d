"""The modified ResNet tower: shapes, sizes, anti-aliasing, attention pooling, gradients."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.resnet import AttentionPool, Bottleneck, ResNetConfig

TINY = CLIPConfig(
    embed=20,
    image=ResNetConfig(image_size=64, layers=(1, 2, 1, 1), width=8, heads=4),
    text=TextConfig(vocab_size=61, context=19, width=32, layers=2, heads=4),
)


def test_shapes_and_the_grid_that_attention_pools():
    model = TINY.build().eval()
    embedding, out = model.image(torch.randn(2, 3, 64, 64))
    assert embedding.shape == (2, 20)
    assert out["grid"].shape == (2, 8 * 32, 2, 2)
    assert torch.equal(
        model.encode_image(torch.ones(2, 3, 64, 64)), model.image(torch.ones(2, 3, 64, 64))[0]
    )


def test_smaller_strides_keep_a_grid_whose_cells_are_read_row_by_row():
    image = replace(TINY.image, image_size=32, strides=(1, 2, 1, 1))
    assert (TINY.image.stride, TINY.image.grid, image.stride, image.grid) == (32, 2, 8, 4)
    model = replace(TINY, image=image).build().eval()
    _, out = model.image(torch.randn(2, 3, 32, 32))
    assert out["grid"].shape == (2, 8 * 32, 4, 4)
    assert out["tokens"].shape == (2, 16, 8 * 32)
    assert torch.equal(out["tokens"][:, 4 * 1 + 2], out["grid"][:, :, 1, 2])
    assert model.image.pool.positions.shape == (1 + 16, 8 * 32)
    assert [tuple(s.shape[-2:]) for s in model.image.states(torch.randn(1, 3, 32, 32))] == [
        (8, 8), (4, 4), (4, 4), (4, 4),
    ]  # fmt: skip


def test_smaller_strides_go_to_another_resolution():
    model = replace(TINY, image=replace(TINY.image, image_size=32, strides=(1, 2, 1, 1))).build()
    larger = model.at_resolution(40)
    assert larger.image.pool.positions.shape == (1 + 25, 8 * 32)
    assert larger.encode_image(torch.randn(2, 3, 40, 40)).shape == (2, 20)
    assert larger.config.image == replace(model.config.image, image_size=40)


def test_a_block_starts_as_its_shortcut():
    block = Bottleneck(32, 8).eval()
    torch.nn.init.zeros_(block.bn3.weight)
    x = torch.rand(1, 32, 4, 4)
    torch.testing.assert_close(block(x), x)


def test_halving_averages_instead_of_skipping():
    shortcut = Bottleneck(4, 8, stride=2).eval().shortcut
    x = torch.zeros(1, 4, 4, 4)
    x[0, :, 1, 1] = 1.0  # a strided 1×1 convolution would never look here
    assert shortcut(x)[0, :, 0, 0].abs().sum() > 0


def test_attention_pooling_queries_with_the_mean():
    pool = AttentionPool(positions=4, width=12, heads=3, embed=5).eval()
    x = torch.randn(2, 12, 2, 2)
    sequence = x.flatten(2).mT
    sequence = torch.cat([sequence.mean(1, keepdim=True), sequence], 1) + pool.positions
    a = pool.attention
    reference, _ = F.multi_head_attention_forward(
        sequence[:, :1].transpose(0, 1), sequence.transpose(0, 1), sequence.transpose(0, 1),
        12, 3, None, torch.cat([a.q.bias, a.k.bias, a.v.bias]), None, None, False, 0.0,
        a.out.weight, a.out.bias, use_separate_proj_weight=True, need_weights=False,
        q_proj_weight=a.q.weight, k_proj_weight=a.k.weight, v_proj_weight=a.v.weight,
    )  # fmt: skip
    torch.testing.assert_close(pool(x), reference[0], rtol=1e-5, atol=1e-6)


def test_every_parameter_learns_after_one_step():
    torch.manual_seed(0)
    model = TINY.build()
    tokens = torch.randint(1, 60, (4, 19))
    tokens[:, -1] = 60
    batch = {"pixels": torch.randn(4, 3, 64, 64), "tokens": tokens}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # the first step moves the zero gains that block the other gradients
        optimizer.zero_grad()
        model.losses(batch)["itc"].backward()
        optimizer.step()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [n for n in without if not n.endswith("attention.k.bias")] == []


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="100 is not a multiple of 32"):
        CLIPConfig(image=ResNetConfig(image_size=100)).build()
    with pytest.raises(ValueError, match="36 is not a multiple of 8"):
        ResNetConfig(image_size=36, strides=(1, 2, 1, 1))
    for strides in ((1, 2, 2), (1, 2, 0, 1), (1, 9, 1, 1)):
        with pytest.raises(ValueError, match="are not four numbers of 1 to 8"):
            ResNetConfig(strides=strides)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="takes 64 px images, not 32×32"):
        TINY.build().encode_image(torch.randn(1, 3, 32, 32))
