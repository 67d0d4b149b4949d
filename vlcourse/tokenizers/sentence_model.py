"""SentencePiece's model files: read the vocabulary of one like LLaMA's, refuse others, make one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from vlcourse.tokenizers import files
from vlcourse.tokenizers.files import TokenizerError
from vlcourse.tokenizers.sentence_training import Kind, Piece

KINDS: dict[int, Kind] = {1: "normal", 2: "unknown", 3: "control", 6: "byte"}

# Texts on which settings that this reader does not know would show.
PROBES = (
    "Hello world",
    "  two  spaces   three ",
    "12345 and 6.78",
    "tab\tnewline\nend\r\n",
    "ﬁ ligature, Å, Ａ full width, é and e\u0301",
    "草莓 🍓 \u00a0 \u200b \u2581 <s></s><unk><0x41>",
    "for i in range(10):\n    print(i)",
    "aaaaaaa ooooo --------",
)


def read(path: str | Path) -> list[Piece]:
    """The model's pieces in the order of the ids.

    Raises:
        MissingTokenizer: when there is no such file.
        TokenizerError: when it is damaged, or has settings other than LLaMA's: BPE with byte
            fallback, no normalisation, spaces kept, a space put first, no user-defined pieces.
    """
    raw = files.read(path, "SentencePiece model")
    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
        SentencePieceProcessor(model_proto=raw)
        model.ParseFromString(raw)
    except RuntimeError:
        pass  # it has no pieces, then
    if not model.pieces:
        raise TokenizerError(f"{path} is damaged or no SentencePiece model; fetch the file again")
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    odd = [piece.piece for piece in model.pieces if piece.type not in KINDS]
    faults = {
        f"it is a {trainer.ModelType.Name(trainer.model_type).lower()} model, not BPE": (
            trainer.model_type != trainer.BPE
        ),
        "it has no byte fallback": not trainer.byte_fallback,
        f"it normalises texts ({normalizer.name})": bool(normalizer.precompiled_charsmap),
        "it removes spaces": normalizer.remove_extra_whitespaces,
        "it puts no space before a text": not normalizer.add_dummy_prefix,
        "it does not write spaces as ▁": not normalizer.escape_whitespaces,
        "it marks the ends of words, not their beginnings": trainer.treat_whitespace_as_suffix,
        f"it has user-defined or unused pieces, such as {odd[:1]}": bool(odd),
    }
    found = [fault for fault, present in faults.items() if present]
    if found:
        raise TokenizerError(f"{path} is not a tokenizer like LLaMA's: {'; '.join(found)}")
    return [Piece(piece.piece, piece.score, KINDS[piece.type]) for piece in model.pieces]


def compare(path: str | Path, encode: Callable[[str], list[int]]) -> None:
    """Check that ``encode`` gives the ids that the library sentencepiece gives with this model.

    Raises:
        TokenizerError: when the ids of one of some awkward texts differ.
    """
    processor = SentencePieceProcessor(model_proto=Path(path).read_bytes())
    for text in PROBES:
        if encode(text) != processor.encode(text):
            raise TokenizerError(
                f"{path} has a setting that this tokenizer does not know: sentencepiece encodes "
                f"{text!r} otherwise; use the library sentencepiece for this model"
            )


def processor(pieces: Iterable[Piece]) -> SentencePieceProcessor:
    """A tokenizer of the library sentencepiece with these pieces and LLaMA's settings.

    Raises:
        TokenizerError: for a vocabulary that sentencepiece refuses.
    """
    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    numbers = {kind: number for number, kind in KINDS.items()}
    for piece in pieces:
        model.pieces.add(piece=piece.text, score=piece.score, type=numbers[piece.kind])
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.byte_fallback = trainer.BPE, True
    normalizer.name, normalizer.add_dummy_prefix = "identity", True
    normalizer.remove_extra_whitespaces, normalizer.escape_whitespaces = False, True
    try:
        return SentencePieceProcessor(model_proto=model.SerializeToString())
    except RuntimeError as error:
        raise TokenizerError(f"sentencepiece refuses the vocabulary: {error}") from None
