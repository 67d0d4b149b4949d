"""The answerer: what its decoder looks at, its loss, and the exact ranking of a list of answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vlcourse.generate import generate
from vlcourse.layers.errors import ModelError
from vlcourse.models.blip import BLIP, BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.blip_vqa import BLIPAnswerer, BLIPAnswererConfig
from vlcourse.models.med import MEDConfig
from vlcourse.models.resnet import ResNetConfig

CLS, SEP = 27, 28
TEXT = MEDConfig(
    vocab_size=31, context=12, width=12, layers=2, heads=3, image_width=16, source_width=12,
    sharing="none", cls=CLS, sep=SEP, dec=29, enc=30,
)  # fmt: skip
SMALL = BLIPAnswererConfig(
    image=BLIPViTConfig(image_size=16, patch_size=8, width=16, layers=2, heads=4), text=TEXT
)
GRID = ResNetConfig(image_size=16, layers=(1, 1, 1, 1), width=2, heads=2, strides=(1, 2, 1, 1))


def answerer(config: BLIPAnswererConfig = SMALL) -> BLIPAnswerer:
    torch.manual_seed(0)
    model = BLIPAnswerer(config).eval()
    with torch.no_grad():
        for name, parameter in model.text.named_parameters():
            if "norm" not in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def texts(lengths: list[int], seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    count, ends = len(lengths), torch.tensor(lengths)
    tokens = torch.randint(1, CLS, (count, max(lengths)), generator=generator)
    tokens[:, 0] = CLS
    tokens[torch.arange(count), ends - 1] = SEP
    mask = torch.arange(max(lengths)) < ends[:, None]
    return tokens.masked_fill(~mask, 0), mask


def asked() -> tuple[Tensor, Tensor, Tensor]:
    """Images, questions and their mask."""
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    return pixels, *texts([6, 4], seed=4)


CANDIDATES = texts([3, 4, 3, 5, 3], seed=5)


def exact(model: BLIPAnswerer, row: int, candidate: int) -> float:
    """log p(answer | image, question), of one pair without any padding, in a loop."""
    pixels, questions, mask = (each[row : row + 1] for each in asked())
    states = model.read(pixels, questions[:, : int(mask.sum())])
    tokens, n = CANDIDATES[0][candidate : candidate + 1], int(CANDIDATES[1][candidate].sum())
    total = 0.0
    for t in range(n - 1):
        logits = model.text.lm_logits(model.text.decode(tokens[:, : t + 1], states))
        total += logits[0, -1].log_softmax(dim=-1)[tokens[0, t + 1]].item()
    return total


@pytest.mark.parametrize("k", [1, 3, 5, 9])
@torch.no_grad()
def test_the_ranking_is_exact_log_probability_of_the_k_likeliest_first_tokens(k: int) -> None:
    model = answerer()
    pixels, questions, mask = asked()
    scores = model.rank(pixels, questions, mask, *CANDIDATES, k=k)
    assert scores.shape == (2, 5) and (~scores.isinf()).sum(dim=1).tolist() == [min(k, 5)] * 2
    states = model.read(pixels, questions, mask)
    start = torch.full((2, 1), CLS)
    first = model.text.lm_logits(model.text.decode(start, states, image_mask=mask))[:, 0]
    likeliest = first[:, CANDIDATES[0][:, 1]].topk(min(k, 5), dim=1).indices
    for row in range(2):
        for candidate in range(5):
            if candidate in likeliest[row]:
                expected = pytest.approx(exact(model, row, candidate), abs=1e-4)
                assert scores[row, candidate].item() == expected
            else:
                assert scores[row, candidate] == -torch.inf


@torch.no_grad()
def test_padding_changes_no_score() -> None:
    model = answerer()
    pixels, questions, mask = asked()
    scores = model.rank(pixels, questions, mask, *CANDIDATES)
    other = questions.masked_fill(~mask, 7)
    tokens, candidates_mask = (torch.nn.functional.pad(each, (0, 3)) for each in CANDIDATES)
    tokens = tokens.masked_fill(~candidates_mask, 9)
    longer = [torch.nn.functional.pad(each, (0, 2)) for each in (other, mask)]
    found = model.rank(pixels, *longer, tokens, candidates_mask)
    torch.testing.assert_close(found, scores)


def test_the_answer_is_written_from_the_question_and_through_it_from_the_image() -> None:
    model = answerer()
    pixels, questions, mask = asked()
    options: dict[str, Any] = {"max_new_tokens": 5, "questions": questions, "questions_mask": mask}
    for beams in (1, 3):
        cached, plain = (
            generate(model, None, pixels=pixels, beams=beams, use_cache=use_cache, **options)
            for use_cache in (True, False)
        )
        assert torch.equal(cached, plain)
    states = model.read(pixels, questions, mask)
    assert (model.read(pixels + 1, questions, mask) - states).abs().max() > 1e-3
    assert (model.read(pixels, questions.flip(0), mask) - states).abs().max() > 1e-3
    block: Any = model.text.blocks[0]
    assert block.reader.cross.k.in_features == 16 and block.writer.cross.k.in_features == 12


def data() -> dict[str, Tensor]:
    pixels, questions, mask = asked()
    answers, answers_mask = texts([3, 5], seed=6)
    return {
        "pixels": pixels, "questions": questions, "questions_mask": mask,
        "answers": answers, "answers_mask": answers_mask,
    }  # fmt: skip


def test_the_loss_is_a_weighted_sum_of_the_answers_over_the_questions() -> None:
    model = answerer(replace(SMALL, smoothing=0.0))
    own, (tokens, mask) = data(), CANDIDATES
    expected = [[-exact(model, row, candidate) for candidate in range(5)] for row in range(2)]
    several = {
        **own, "answers": tokens[[0, 3, 1]], "answers_mask": mask[[0, 3, 1]],
        "rows": torch.tensor([0, 0, 1]), "weights": torch.tensor([0.7, 0.3, 1.0]),
    }  # fmt: skip
    by_hand = (0.7 * expected[0][0] + 0.3 * expected[0][3] + expected[1][1]) / 2
    assert model.losses(several)["lm"].item() == pytest.approx(by_hand, rel=1e-5)
    one_each = {**own, "answers": tokens[:2], "answers_mask": mask[:2]}
    by_hand = (expected[0][0] + expected[1][1]) / 2
    assert model.losses(one_each)["lm"].item() == pytest.approx(by_hand, rel=1e-5)
    smoothed = answerer().losses(one_each)["lm"].item()
    assert abs(smoothed - by_hand) > 1e-3


@pytest.mark.parametrize("grid", [False, True])
def test_the_gradient_reaches_every_parameter_that_is_trained(grid: bool) -> None:
    text = replace(TEXT, image_width=64)
    model = answerer(BLIPAnswererConfig(GRID, text, embed=6) if grid else SMALL).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # As in test_blip.py: a block starts as its shortcut, the stem has one channel.
            if "bn3" in name or name.startswith("image.stem.") and name.endswith(".bias"):
                parameter.add_(0.5)
    model.losses(data())["lm"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad != name.startswith("image.pool."), name
        if parameter.grad is not None and ".k.bias" not in name:
            assert parameter.grad.any(), name


@pytest.mark.parametrize("sharing", ["all-but-sa", "all", "none"])
def test_it_begins_from_pretraining(sharing: Any) -> None:
    """Reader and writer each have what they had; the writer's new cross-attention is its own."""
    vit = BLIPViTConfig(image_size=16, patch_size=8, width=12, layers=2, heads=3)
    text = replace(TEXT, image_width=12, source_width=None, sharing=sharing)
    torch.manual_seed(1)
    blip = BLIP(BLIPConfig(embed=6, image=vit, text=text, queue=4))
    model = BLIPAnswerer.from_blip(blip).eval()
    assert model.text.config.sharing == "none"
    pixels, questions, mask = asked()
    seen = blip.image_tokens(pixels)
    expected = blip.text.ground(questions, seen, mask)
    torch.testing.assert_close(model.read(pixels, questions, mask), expected)
    states = torch.randn(2, 5, 12)
    torch.testing.assert_close(
        model.text.lm_logits(model.text.decode(questions, states)),
        blip.text.lm_logits(blip.text.decode(questions, states)),
    )
    first: Any = model.text.blocks[0]
    assert first.reader.cross.q.weight.data_ptr() != first.writer.cross.q.weight.data_ptr()
    wide = replace(
        blip.config, image=replace(vit, width=16, heads=4), text=replace(text, image_width=16)
    )
    other = BLIPAnswerer.from_blip(BLIP(wide))  # ViT-L: the image's tokens are wider
    assert other.losses(data())["lm"].isfinite()


def test_a_config_adopts_a_blip_of_its_shape_at_its_size() -> None:
    text = replace(TEXT, image_width=64, source_width=None, sharing="all-but-sa")
    blip = BLIP(BLIPConfig(embed=6, image=GRID, text=text, queue=4))
    config = BLIPAnswererConfig(GRID, replace(TEXT, image_width=64), embed=6, smoothing=0.2)
    model = config.adopt(blip)
    assert model.config == config
    for name, tensor in blip.image.state_dict().items():
        assert torch.equal(tensor, model.image.state_dict()[name]), name
    with pytest.raises(ModelError, match="differ in more than the size"):
        replace(config, embed=7).adopt(blip)
    vit = BLIPViTConfig(image_size=16, patch_size=8, width=12, layers=2, heads=3)
    small = BLIP(BLIPConfig(6, vit, replace(text, image_width=12), queue=4))
    large = replace(vit, image_size=24)
    at_size = BLIPAnswererConfig(large, replace(TEXT, image_width=12), embed=6).adopt(small)
    assert at_size.read(torch.randn(2, 3, 24, 24), *asked()[1:]).shape == (2, 6, 12)


def test_a_config_that_shares_is_refused() -> None:
    with pytest.raises(ModelError, match="set source_width to 12"):
        BLIPAnswererConfig(SMALL.image, replace(TEXT, sharing="all-but-ca"))
    with pytest.raises(ModelError, match="set source_width to 12"):
        BLIPAnswererConfig(SMALL.image, replace(TEXT, source_width=None))
    assert SMALL.adopt(answerer()).config == SMALL
    with pytest.raises(ModelError, match="differ"):
        replace(SMALL, text=replace(TEXT, layers=3)).adopt(answerer())
