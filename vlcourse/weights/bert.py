"""BERT's weights as the beginning of a Q-Former (Li et al. 2023, section 3.1).

The text's side takes all of BERT but its segments. The queries' MLPs begin as copies of the text's.
What BERT has not stays as it was: the queries, their looks at the image, and [DEC].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlcourse.models.qformer import QFormer
from vlcourse.weights import files
from vlcourse.weights.rename import WeightsError
from vlcourse.weights.state import CheckpointError, aliases, check_fit, weights_of

_HEAD = "cls.predictions"
# Our names by BERT's, which stand behind "bert." or nothing.
_TOP = {
    "embeddings.word_embeddings.weight": "words.token.weight",
    "embeddings.position_embeddings.weight": "words.positions",
    "embeddings.LayerNorm": "norm",
    f"{_HEAD}.transform.dense": "head.dense",
    f"{_HEAD}.transform.LayerNorm": "head.norm",
    f"{_HEAD}.bias": "head.out.bias",
}
_BLOCK = {
    "attention.self.query": ("attention.q",),
    "attention.self.key": ("attention.k",),
    "attention.self.value": ("attention.v",),
    "attention.output.dense": ("attention.out",),
    "attention.output.LayerNorm": ("norm_attention",),
    "intermediate.dense": ("mlp_text.up", "mlp_query.up"),
    "output.dense": ("mlp_text.down", "mlp_query.down"),
    "output.LayerNorm": ("norm_text", "norm_query"),
}
_LEAF = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
# Of BERT, and not of a Q-Former; the decoder is the embeddings' matrix.
_UNUSED = re.compile(
    r"embeddings\.(token_type_embeddings\.weight|position_ids)|pooler\..*"
    rf"|cls\.seq_relationship\..*|{re.escape(_HEAD)}\.decoder\.(weight|bias)"
)
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(\w+)")


def is_bert(source: str | Path) -> bool:
    """Whether a folder or hub id is a BERT of transformers; WeightsError when it is no model."""
    return files.read_config(files.model_folder(source)).get("model_type") == "bert"


def from_bert(qformer: QFormer, source: Mapping[str, Tensor] | str | Path) -> QFormer:
    """The Q-Former with BERT's weights; strict.

    Args:
        qformer: as wide and deep as the BERT, with its vocabulary and perhaps some ids more.
        source: a state dict, a folder with model.safetensors, or a hub id.

    Raises:
        WeightsError: when a name or a shape does not fit.
    """
    theirs: Mapping[str, Tensor]
    if isinstance(source, Mapping):
        theirs, said = source, "this BERT"
    else:
        theirs, said = files.read_sharded(files.model_folder(source)), str(source)
    found: dict[str, Tensor] = {}
    for name in theirs:
        for ours in _ours(name.removeprefix("bert."), said):
            found[ours] = theirs[name]
    own = weights_of(qformer)
    fresh: tuple[str, ...] = ("queries", "cross.", "norm_cross.")
    if not any(name.startswith("head.") for name in found):  # a BertModel, without its head
        fresh += ("head.",)
    wanted = {n: t for n, t in own.items() if not any(f".{part}" in f".{n}" for part in fresh)}
    for name in ("words.token.weight", "head.out.bias"):  # [DEC] is not among BERT's words
        if name in found and name in wanted and len(found[name]) < len(wanted[name]):
            found[name] = torch.cat([found[name], own[name][len(found[name]) :]])
    shapes = ({n: t.shape for n, t in tensors.items()} for tensors in (found, wanted))
    try:
        check_fit(f"{said} does not fit this Q-Former", *shapes)
    except CheckpointError as error:
        raise WeightsError(str(error)) from None
    whole = own | {name: tensor.to(own[name].dtype) for name, tensor in found.items()}
    shared = {alias: whole[name] for alias, name in aliases(qformer).items()}
    qformer.load_state_dict(whole | shared)
    return qformer


def _ours(name: str, said: str) -> list[str]:
    """Where a tensor of BERT's goes: to one of ours, to two, or nowhere."""
    if _UNUSED.fullmatch(name):
        return []
    if name in _TOP:
        return [_TOP[name]]
    stem, _, leaf = name.rpartition(".")
    if stem in _TOP and leaf in _LEAF:
        return [f"{_TOP[stem]}.{_LEAF[leaf]}"]
    match = _LAYER.fullmatch(name)
    if match and match[2] in _BLOCK and match[3] in _LEAF:
        return [f"blocks.{match[1]}.{part}.{_LEAF[match[3]]}" for part in _BLOCK[match[2]]]
    raise WeightsError(f"{said} has a tensor {name!r} that no BERT has")
