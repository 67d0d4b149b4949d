"""Parquet shards of pictures, written so that every library reads the pictures back."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vlcourse.files import flush, writing


def png(image: torch.Tensor) -> bytes:
    """A uint8 picture (3, H, W) as the bytes of a PNG file: smaller, and nothing is lost."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "png")  # (H, W, 3)
    return buffer.getvalue()


def write_shard(path: Path, rows: Sequence[dict[str, Any]], features: Any = None) -> None:
    """Write rows as one Parquet file, beside its place and then moved there.

    Args:
        path: of the file; its folder is made if there is none.
        rows: at least one; ``image`` is ``{"bytes": …, "path": …}``.
        features: ``datasets.Features`` of the columns; None tells them from the rows.

    Raises:
        WriteError: the disk is full, or the place cannot be written.
    """
    import datasets
    import pyarrow.parquet

    columns = {name: [row[name] for row in rows] for name in rows[0]}
    if features is None:
        names = {str: "string", bool: "bool", float: "float32", int: "int64"}
        kinds = {n: names.get(type(values[0]), "string") for n, values in columns.items()}
        features = datasets.Features(
            {n: datasets.Image() if n == "image" else datasets.Value(k) for n, k in kinds.items()}
        )
    table = pyarrow.table(columns, schema=features.arrow_schema)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            pyarrow.parquet.write_table(table, temporary)
            temporary.chmod(0o644)  # mkstemp's files are closed to others
            flush(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
