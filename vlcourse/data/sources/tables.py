"""Tables of captions or labels: CSV and the usual forms of JSON, each as a list of rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vlcourse.data.sources.decode import BadSampleError, SourceError, describe, shorten
from vlcourse.data.sources.json_rows import is_lines, json_document, json_lines, readable
from vlcourse.data.sources.rows import Rows, chosen_split
from vlcourse.data.sources.splits import SPLITS

Row = dict[str, Any]
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
DEEP = 4  # nested lists and structs in a row of JSON; what is deeper is left out
DELIMITERS = ",\t;|"
_NAME = rf"({'|'.join(map(re.escape, PICTURES))})[\"']?\s*"
# A line of a table about pictures: a file name in one of several cells.
_SWALLOWED = re.compile(
    rf"{_NAME}[{DELIMITERS}]|[{DELIMITERS}][^{DELIMITERS}\n]*{_NAME}$", re.M | re.I
)


def is_table(path: Path) -> bool:
    """Whether a file is read as a table; Flickr8k's captions.txt is CSV by another name."""
    return path.suffix.lower() in SUFFIXES or path.name.lower() == "captions.txt"


def read_table(path: Path) -> list[Row]:
    """The rows of a file.

    CSV has a header; its cells are separated by the first of ``, tab ; |`` that the header has.
    JSON is lines, a list of rows, a dict of captions by file name, COCO's captions or Karpathy's
    splits, of which each caption becomes a row. A row with a conversation (LLaVA's, or questions
    and answers) gets its first answer as the caption; the question is not read.

    Raises:
        SourceError: a file that cannot be read; the line is named where there is one.
    """
    suffix = path.suffix.lower()
    with readable(path, suffix):
        if suffix == ".jsonl" or (suffix == ".json" and is_lines(path)):
            rows = [_checked(row, f"{path}, line {line}") for line, row in json_lines(path)]
        elif suffix == ".json":
            rows = list(_document_rows(path))
        else:
            rows = list(_csv_rows(path))
    if not rows:
        raise SourceError(f"{path} holds no rows.")
    return rows


def _csv_rows(path: Path) -> Iterator[Row]:
    line = 1  # where the row begins
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sign = next((sign for sign in file.readline(1 << 16) if sign in DELIMITERS), ",")
            file.seek(0)
            table = csv.reader(file, delimiter=sign, strict=True, skipinitialspace=True)
            header = [name.strip() for name in next(table, [])]
            if twice := [name for name in header if name and header.count(name) > 1]:
                raise SourceError(f"{path} has two columns '{shorten(twice[0])}': rename one.")
            if any(Path(n.partition("#")[0]).suffix.lower() in PICTURES for n in header):
                raise SourceError(
                    f"{path} has no header, since its first line names a picture: write the names "
                    "of the columns above it, such as file_name and caption."
                )
            line = table.line_num + 1
            for cells in table:
                if cells and len(cells) != len(header):
                    raise SourceError(
                        f"{path}, line {line} has {len(cells)} cells, but the header has "
                        f"{len(header)}: put a cell that holds a '{sign}' in double quotes."
                    )
                if any("\n" in cell and _SWALLOWED.search(cell) for cell in cells):
                    raise SourceError(
                        f"{path}, line {line}: a double quote is never closed, so that the cell "
                        "holds other rows; close it, or write it twice where it is meant."
                    )
                if cells:
                    yield {name: cell for name, cell in zip(header, cells, strict=True) if name}
                line = table.line_num + 1
    except UnicodeDecodeError as error:
        raise SourceError(f"cannot read {path}: it is not UTF-8 text ({error}).") from error
    except csv.Error as error:
        raise SourceError(
            f"{path}, line {line}: a double quote is never closed, or one inside a quoted cell is "
            f"not written twice ({error})."
        ) from error


def _document_rows(path: Path) -> Iterator[Row]:
    document = json_document(path)
    if isinstance(document, dict) and isinstance(document.get("annotations"), list):
        yield from _coco(document, path)
    elif isinstance(document, dict) and isinstance(document.get("images"), list):
        yield from _karpathy(document["images"], path)
    elif isinstance(document, dict) and all(Path(k).suffix.lower() in PICTURES for k in document):
        for name, said in document.items():
            for caption in said if isinstance(said, list) else [said]:
                yield {"file_name": name, "caption": caption}
    elif isinstance(document, list | dict):
        for number, row in enumerate(document if isinstance(document, list) else [document], 1):
            yield _checked(row, f"{path}, row {number}")
    else:
        raise SourceError(f"{path} holds {describe(document)}, and no rows.")


def _coco(document: Row, path: Path) -> Iterator[Row]:
    """COCO's captions (Chen et al. 2015, section 5): one row a caption."""
    number = 0
    try:
        files = {image["id"]: image["file_name"] for image in document.get("images") or ()}
        for row in document["annotations"]:
            number += 1
            yield {
                "file_name": files[row["image_id"]],
                "caption": row["caption"],
                "image_id": str(row["image_id"]),
            }
    except (KeyError, TypeError) as error:
        raise SourceError(
            f"{path} is not a file of COCO's captions, with images (id, file_name) and annotations "
            "(image_id of one of these, caption): see "
            f"{f'annotation {number}' if number else 'its images'}."
        ) from error


def _karpathy(images: list[Any], path: Path) -> Iterator[Row]:
    """Karpathy and Fei-Fei's splits (2015) of Flickr8k, Flickr30k and COCO: a row a caption."""
    for number, image in enumerate(images, 1):
        try:
            name = "/".join(filter(None, (image.get("filepath"), image["filename"])))
            for sentence in image["sentences"]:
                yield {"file_name": name, "caption": sentence["raw"], "split": image["split"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise SourceError(
                f"{path} has images, but no captions: it needs COCO's annotations, or Karpathy's "
                f"filename, sentences (raw) and split in each; see image {number}."
            ) from error


def _checked(row: Any, where: str) -> Row:
    """A row with its first answer as the caption, if it is a conversation."""
    if isinstance(row, BadSampleError):
        raise SourceError(f"{where} is not valid JSON: {row.detail}.")
    if not isinstance(row, dict):
        raise SourceError(f"{where} is not a JSON object.")
    for column in ("conversations", "QA"):
        if isinstance(row.get(column), list) and "caption" not in row:
            turns = [turn for turn in row[column] if isinstance(turn, dict)]
            spoken = (t.get("a") or t.get("value") for t in turns if t.get("from") != "human")
            return {**row, "caption": next(spoken, None), column: None}
    return row


def table_rows(
    groups: dict[str, list[Row]], split: str | None, name: str, folder: Path, where: str
) -> Rows:
    """The rows of a table as a ``datasets.Dataset``."""
    import datasets
    import pyarrow

    chosen, part = chosen_split(groups, split, where)
    rows = groups[chosen]
    # Arrow cannot hold a name with a NUL or half of a surrogate pair.
    columns = {shorten(key): key for row in rows for key in row}
    arrays = {name: _array([row.get(key) for row in rows]) for name, key in columns.items()}
    data = datasets.Dataset(pyarrow.table(arrays))

    def values(column: str) -> Iterable[Any]:
        return (row.get(column) for some in groups.values() for row in some)

    return Rows(data, name, folder, None, (0,), True, part, values)


def by_column(tables: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows of one table by the splits that its column "split" names, if it has one."""
    ((_, rows),) = tables.items()
    known = {**SPLITS, "restval": "train"}  # Karpathy's word for what COCO's validation leaves over
    said = [known.get(str(row.get("split")).lower()) for row in rows]
    if None in said:
        return tables
    found: dict[str, list[Row]] = {}
    for split, row in zip(said, rows, strict=True):
        found.setdefault(str(split), []).append(row)
    return found


def _array(values: list[Any]) -> Any:
    """A column of Arrow; of mixed types or too deep, its texts and whole numbers (as text)."""
    import pyarrow

    try:
        return pyarrow.array([value if _shallow(value, DEEP) else None for value in values])
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
        return pyarrow.array([_as_text(value) for value in values], pyarrow.string())


def _shallow(value: Any, depth: int) -> bool:
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_shallow(one, depth - 1) for one in inner)
    return True


def _as_text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64:
        return str(value)
    try:
        return value if isinstance(value, str) and value.encode("utf-8") is not None else None
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        return None
