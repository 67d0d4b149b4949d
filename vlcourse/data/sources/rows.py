"""From the name of a source to its raw rows, through the ``datasets`` library.

Nothing here touches the network unless the source is a hub id ("owner/name"). A name that looks
like a path is looked for on disk only, so that a typing error never becomes a web request.
"""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from vlcourse import paths
from vlcourse.data.sources.decode import SourceError
from vlcourse.names import suggestion

CAPTION_FILES = ("metadata.jsonl", "metadata.csv", "captions.jsonl", "captions.csv")
FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_path", "filepath", "path")
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= {"validation": "validation", "valid": "validation", "val": "validation"}
SPLITS |= {"dev": "validation"}
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
DATA_SUFFIXES = PICTURES | {".parquet", ".jsonl", ".json", ".csv", ".arrow", ".tar", ".zip"}
HUB_TIMEOUT = 5.0  # seconds for the first question to the hub; the libraries retry for 20 or more


@dataclass(frozen=True)
class Rows:
    """Raw rows: a ``datasets.Dataset``, or a ``datasets.IterableDataset`` when streaming.

    ``bytes`` is the size on disk where it is known. ``starts`` holds the number of the first row
    of each shard of a stream, where that is known. Relative picture paths start at
    ``folder``.
    """

    data: Any
    name: str
    folder: Path | None
    bytes: int | None = None
    starts: tuple[int, ...] | None = None


def find_rows(
    source: str | Path,
    split: str | None,
    streaming: bool,
    captions: str | None,
    revision: str | None,
) -> Rows:
    """Open ``source`` (see ``hub.open_source``) without reading pictures.

    Raises:
        SourceError: no such source or split, an unreadable file, or the hub cannot be reached.
    """
    text = str(source)
    path = Path(text).expanduser()
    if path.is_file():
        if path.suffix == ".parquet":
            return _parquet([path], path.stem, path.parent, streaming)
        if path.suffix in {".jsonl", ".csv"}:
            return _captioned(path, path.parent, streaming)
        raise SourceError(f"{path} is not a .parquet, .jsonl or .csv file, nor a folder of them.")
    if path.is_dir():
        return _folder(path, split, streaming, captions)
    if any(sign in text for sign in "*?["):
        files = [Path(file) for file in sorted(glob.glob(str(path), recursive=True))]
        if not files:
            raise SourceError(f"no file matches {text}.")
        files = _of_split(files, split, text)
        return _parquet(files, path.parent.name or "parquet", files[0].parent, streaming)
    forced = text.startswith("hf://")
    hub_id = text.removeprefix("hf://").removeprefix("datasets/")
    if forced or not (isinstance(source, Path) or _is_path(text)):
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", hub_id):
            return _hub(hub_id, split, streaming, revision)
        raise SourceError(
            f"'{text}' is no file or folder here, and a hub id has the form 'owner/name'."
        )
    siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = suggestion(path.name, siblings)
    raise SourceError(
        f"there is no file or folder {text} (looked in {path.parent.resolve()}).{hint}"
    )


def _is_path(text: str) -> bool:
    """A name that can only be meant as a path: a prefix, an extension, or a folder that exists."""
    first, *rest = text.split("/")
    return (
        first in {"", ".", "..", "~"}
        or "\\" in text
        or len(rest) > 1
        or Path(text).suffix.lower() in DATA_SUFFIXES
        or (bool(rest) and Path(first).is_dir())
    )


def _folder(path: Path, split: str | None, streaming: bool, captions: str | None) -> Rows:
    if captions is None and (files := sorted(path.rglob("*.parquet"))):
        return _parquet(_of_split(files, split, str(path)), path.name, path, streaming)
    if split is not None:
        if not (path / split).is_dir():
            names = [sub.name for sub in path.iterdir() if sub.is_dir()]
            raise SourceError(
                f"{path} has no folder for split '{split}'.{suggestion(split, names)}"
            )
        path = path / split
    if captions is not None:
        if not (path / captions).is_file():
            names = [file.name for file in path.iterdir() if file.is_file()]
            raise SourceError(f"{path} has no file {captions}.{suggestion(captions, names)}")
        return _captioned(path / captions, path, streaming)
    for name in CAPTION_FILES:
        if (path / name).is_file():
            return _captioned(path / name, path, streaming)
    raise SourceError(
        f"{path} holds neither .parquet files nor one of {', '.join(CAPTION_FILES)}: "
        "name the file of captions with captions=."
    )


def _of_split(files: Sequence[Path], split: str | None, where: str) -> list[Path]:
    """The files whose name (``train-00000-of-00002``) or folder says ``split``, or all."""
    found: dict[str, list[Path]] = {}
    for file in files:
        words = [*re.split(r"[-_.]", file.stem.lower()), file.parent.name.lower()]
        name = next((SPLITS[word] for word in words if word in SPLITS), "")
        found.setdefault(name, []).append(file)
    if split is None:
        if len(found) > 1:
            names = ", ".join(sorted(name or "(no split in the name)" for name in found))
            raise SourceError(f"{where} holds several splits ({names}): choose one with split=.")
        return list(files)
    wanted = SPLITS.get(split.lower(), split)
    if wanted not in found:
        names = ", ".join(sorted(found)) or "none"
        raise SourceError(
            f"{where} has no split '{split}'; it has: {names}.{suggestion(split, found)}"
        )
    return found[wanted]


def _parquet(files: list[Path], name: str, folder: Path, streaming: bool) -> Rows:
    import pyarrow
    import pyarrow.parquet

    counts: dict[Path, int] = {}
    columns: list[str] | None = None
    for file in files:
        try:
            with pyarrow.parquet.ParquetFile(file) as opened:  # reads the footer only
                counts[file] = opened.metadata.num_rows
                here = opened.schema_arrow.names
        except (OSError, pyarrow.ArrowException) as error:
            raise _unreadable(file, error) from error
        columns = columns or here
        if here != columns:
            raise SourceError(
                f"{file} has the columns {', '.join(here)}, "
                f"but {files[0]} has {', '.join(columns)}."
            )
    files = [file for file in files if counts[file]]  # the library cannot read an empty file
    if not files:
        raise SourceError(f"{name} has no rows.")
    data = _load_parquet([str(file) for file in files], streaming)
    starts = tuple(accumulate((counts[file] for file in files[:-1]), initial=0))
    size = sum(file.stat().st_size for file in files)
    return Rows(data, name, folder, size, starts)


def _load_parquet(files: list[str], streaming: bool) -> Any:
    import datasets
    import pyarrow
    import pyarrow.parquet

    # The bars of a copy that takes a fraction of a second would land in stored notebook outputs.
    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(
            "parquet",
            data_files=files,
            split="train",
            streaming=streaming,
            cache_dir=str(paths.cache_dir() / "datasets"),
        )
    except (datasets.exceptions.DatasetGenerationError, OSError, pyarrow.ArrowException) as error:
        for file in files:  # the library does not say which file it was
            try:
                with pyarrow.parquet.ParquetFile(file) as opened:
                    for _ in opened.iter_batches():
                        pass
            except (OSError, pyarrow.ArrowException) as cause:
                raise _unreadable(file, cause) from error
        raise SourceError(f"cannot read {', '.join(files[:3])}: {error}") from error
    finally:
        if bars:
            datasets.enable_progress_bars()


def _unreadable(file: str | Path, error: Exception) -> SourceError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return SourceError(
        f"cannot read {file}: it is truncated or not a parquet file ({first}); fetch it again."
    )


def _captioned(file: Path, folder: Path, streaming: bool) -> Rows:
    """An image folder: the rows of a JSONL or CSV file whose file column names pictures."""
    import datasets
    import pyarrow

    rows = _read_lines(file)
    if not rows:
        raise SourceError(f"{file} holds no rows.")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    key = next((name for name in FILE_COLUMNS if name in columns), None)
    table = {name: [row.get(name) for row in rows] for name in columns}
    if key is not None and "id" not in columns:
        seen: set[str] = set()
        table["id"] = []
        for number, name in enumerate(table[key]):  # several captions of one picture: name#row
            table["id"].append(f"{name}#{number}" if name in seen else str(name))
            seen.add(str(name))
    try:
        data = datasets.Dataset.from_dict(table)
    except (pyarrow.ArrowException, TypeError) as error:
        raise SourceError(f"{file} mixes types within one column: {error}") from error
    size = (
        sum(p.stat().st_size for name in table[key] if (p := folder / str(name)).is_file())
        if key
        else 0
    )
    starts = (0,)
    return Rows(
        data.to_iterable_dataset() if streaming else data, folder.name, folder, size, starts
    )


def _read_lines(file: Path) -> list[dict[str, Any]]:
    try:
        if file.suffix == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as lines:
                return [
                    {key: value for key, value in row.items() if key is not None}
                    for row in csv.DictReader(lines)
                ]
        rows = []
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise SourceError(f"{file}, line {number} is not a JSON object.")
                    rows.append(row)
        return rows
    except json.JSONDecodeError as error:
        raise SourceError(f"{file}, line {number} is not valid JSON: {error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"cannot read {file}: {error}.") from error


def _hub(hub_id: str, split: str | None, streaming: bool, revision: str | None) -> Rows:
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    offline = ""
    try:  # one short question first: left alone, the libraries retry for half a minute
        HfApi().dataset_info(hub_id, revision=revision, timeout=HUB_TIMEOUT)
    except OfflineModeIsEnabled:  # the reader asked for the copy in the hub's cache
        offline = "with HF_HUB_OFFLINE=1 only a copy downloaded before can be used; "
    except GatedRepoError as error:
        raise SourceError(
            f"the dataset '{hub_id}' asks for an agreement: "
            "accept it on its page, then run `hf auth login`."
        ) from error
    except RepositoryNotFoundError as error:
        raise SourceError(
            f"the hub has no public dataset '{hub_id}' (and no such path exists)."
        ) from error
    except HfHubHTTPError as error:
        raise SourceError(f"the hub refused '{hub_id}': {error}") from error
    except Exception as error:  # each version of the hub's client has another kind for this
        raise SourceError(
            f"cannot reach the hub for the dataset '{hub_id}' ({error}): check the network, or set "
            "HF_HUB_OFFLINE=1 to use a copy downloaded before."
        ) from error
    try:
        if split is None:
            names = datasets.get_dataset_split_names(hub_id, revision=revision)
            if len(names) != 1:
                raise SourceError(
                    f"'{hub_id}' has the splits {', '.join(names)}: choose one with split=."
                )
            split = names[0]
        data = datasets.load_dataset(hub_id, split=split, streaming=streaming, revision=revision)
    except SourceError:
        raise
    except Exception as error:  # the library raises many kinds; each is one sentence to the reader
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SourceError(
            f"cannot load the dataset '{hub_id}', split {split}: {offline}{first}"
        ) from error
    return Rows(data, hub_id.split("/")[1], None)
