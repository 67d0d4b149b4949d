"""BERT's weights as the beginning of a Q-Former (Li et al. 2023, section 3.1).

The text's side takes all of BERT but its segments. The queries' MLPs begin as copies of the text's.
What BERT has not stays as it was: the queries, their looks at the image, and [DEC].

In the toy world the text side of BLIP's MED is what comes nearest to a BERT.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlcourse.models.med import MED
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
_BLOCK_OF_OURS = re.compile(r"blocks\.(\d+)\.(.+)")
_MED_PART, _MED_TOP = (
    {"mlp": "mlp", "norm": "norm_mlp"},
    {"words": "reading", "norm": "reading.norm"},
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
    return _begun(qformer, found, said)


def from_med(qformer: QFormer, med: MED) -> QFormer:
    """The Q-Former that begins as the text side of BLIP's MED, which looks at no image; strict.

    Args:
        qformer: as wide as the MED, with its vocabulary. Where it is deeper, the blocks above begin
            as copies of the MED's last.
        med: one that reads.

    Raises:
        WeightsError: when the MED does not read, or a shape does not fit.
    """
    if not med.config.reads:
        raise WeightsError("this MED reads nothing: no Q-Former's text can begin as its reader")
    theirs, found, last = weights_of(med), dict[str, Tensor](), med.config.layers - 1
    for name in _fed(qformer, med.config.writes):
        source = _of_med(name, last)
        if source in theirs:
            found[name] = theirs[source]
    return _begun(qformer, found, "this MED")


def _of_med(name: str, last: int) -> str:
    """What a parameter of a Q-Former is called in a MED with ``last`` as its last block."""
    block = _BLOCK_OF_OURS.fullmatch(name)
    if block:
        part = re.sub("(mlp|norm)_(text|query)", lambda m: _MED_PART[m[1]], block[2])
        return f"blocks.{min(int(block[1]), last)}.reader.{part}"
    return re.sub("^(words|norm)", lambda m: _MED_TOP[m[1]], name)


def _fed(qformer: QFormer, head: bool) -> dict[str, Tensor]:
    """What of a Q-Former a text model has, too; ``head``: one that writes."""
    fresh = ("queries", "cross.", "norm_cross.", *(() if head else ("head.",)))
    return {
        name: tensor
        for name, tensor in weights_of(qformer).items()
        if not any(f".{part}" in f".{name}" for part in fresh)
    }


def _begun(qformer: QFormer, found: dict[str, Tensor], said: str) -> QFormer:
    """The Q-Former with these weights, and the others as they were."""
    own = weights_of(qformer)
    # A BertModel comes without its head.
    wanted = _fed(qformer, any(name.startswith("head.") for name in found))
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
