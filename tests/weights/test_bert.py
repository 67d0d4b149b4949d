"""A Q-Former that begins as BERT: its text side computes what BERT does, its queries copy MLPs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from vlcourse.models.med import MED
from vlcourse.models.med_config import MEDConfig
from vlcourse.models.qformer import QFormer
from vlcourse.models.qformer_config import QFormerConfig
from vlcourse.weights.bert import from_bert, from_med, is_bert
from vlcourse.weights.rename import WeightsError

SHAPE = QFormerConfig(
    queries=3, vocab_size=31, context=12, width=16, layers=3, heads=2, image_width=8,
    cls=1, sep=2, dec=30,
)  # fmt: skip


def med(**changes: Any) -> MED:
    """As wide as the Q-Former and as deep, of the same words."""
    settings = dict(
        vocab_size=31, context=12, width=16, layers=3, heads=2, image_width=8, norm_eps=1e-12,
        cls=1, sep=2, enc=3, dec=30,
    )  # fmt: skip
    torch.manual_seed(0)
    model = MED(MEDConfig(**(settings | changes))).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    return model


def bert(kind: str = "BertForPreTraining", **changes: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    settings = dict(
        vocab_size=30, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=12, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, kind)(transformers.BertConfig(**(settings | changes))).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    return model


def test_the_texts_side_computes_what_bert_does() -> None:
    theirs = bert()
    theirs.bert.embeddings.token_type_embeddings.weight.data.zero_()  # the Q-Former has none
    ours = from_bert(QFormer(SHAPE), theirs.state_dict()).eval()
    tokens = torch.randint(3, 30, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True] * 7, [True] * 5 + [False] * 2])
    expected = theirs.bert(tokens, mask.long()).last_hidden_state
    found = ours.read(tokens, mask)
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-4, atol=1e-4)
    logits = theirs(tokens, mask.long()).prediction_logits
    torch.testing.assert_close(ours.head(found)[mask][:, :30], logits[mask], rtol=1e-4, atol=1e-3)


def test_the_queries_mlps_are_copies_and_what_bert_lacks_stays() -> None:
    ours = QFormer(SHAPE)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    after = from_bert(ours, bert().state_dict()).state_dict()
    for name in before:
        if "mlp_query" in name or "norm_query" in name:
            assert torch.equal(after[name], after[name.replace("query", "text")])
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {name for name in before if name == "queries" or "cross" in name}
    assert torch.equal(before["words.token.weight"][30], after["words.token.weight"][30])  # [DEC]


def test_files_with_old_names_and_without_a_head(tmp_path: Path) -> None:
    plain = bert("BertModel")
    state = plain.state_dict()
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in state.items()
    }
    torch.manual_seed(3)
    ours = from_bert(QFormer(SHAPE), old).state_dict()
    plain.save_pretrained(tmp_path)
    assert is_bert(tmp_path)
    torch.manual_seed(3)
    again = from_bert(QFormer(SHAPE), tmp_path).state_dict()
    assert all(torch.equal(ours[name], again[name]) for name in ours)


def test_another_shape_or_name_is_refused() -> None:
    with pytest.raises(WeightsError, match="does not fit this Q-Former: of another shape"):
        from_bert(QFormer(SHAPE), bert(intermediate_size=32).state_dict())
    with pytest.raises(WeightsError, match="missing: blocks.2"):
        from_bert(QFormer(SHAPE), bert(num_hidden_layers=2).state_dict())
    with pytest.raises(WeightsError, match="tensor 'visual.weight' that no BERT has"):
        from_bert(QFormer(SHAPE), {"visual.weight": torch.zeros(1)})


def test_a_meds_reader_reads_on_as_the_queries_text() -> None:
    theirs = med()
    ours = QFormer(SHAPE).eval()
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    from_med(ours, theirs)
    tokens = torch.randint(3, 30, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True] * 7, [True] * 5 + [False] * 2])
    expected = theirs.encode(tokens, mask)
    torch.testing.assert_close(ours.read(tokens, mask)[mask], expected[mask])
    torch.testing.assert_close(ours.head(expected), theirs.head(expected))
    after = ours.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {name for name in before if name == "queries" or "cross" in name}
    assert all(
        torch.equal(after[name], after[name.replace("query", "text")])
        for name in after
        if "mlp_query" in name or "norm_query" in name
    )


def test_blocks_above_a_meds_are_copies_of_its_last() -> None:
    theirs = med(layers=2)
    found = from_med(QFormer(SHAPE), theirs).state_dict()
    last = theirs.state_dict()["blocks.1.reader.mlp.up.weight"]
    for name in ("blocks.1.mlp_text", "blocks.2.mlp_text", "blocks.2.mlp_query"):
        assert torch.equal(found[f"{name}.up.weight"], last)


def test_a_med_of_another_width_or_without_a_reader_is_refused() -> None:
    with pytest.raises(WeightsError, match="this MED does not fit this Q-Former: of another shape"):
        from_med(QFormer(SHAPE), med(width=24))
    with pytest.raises(WeightsError, match="reads nothing"):
        from_med(QFormer(SHAPE), med(roles="writer"))
