"""The end of a job: what was kept and dropped, by origin and kind, with examples as pictures."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from vlcourse.data.sources.decode import SourceError, to_rgb
from vlcourse.files import write_json, write_text
from vlcourse.jobs.parts import MARK, read_done, read_json

EXAMPLES = 3  # of each origin, verdict and kind
TEXTLESS = ("empty caption", "bad label")  # such a picture still gets a synthetic text
SIDE = 128  # pixels of an example


def write(out: Path) -> dict[str, Any]:
    """Write report.json and report.html for a job whose parts are all there; gives the first.

    Raises:
        SourceError: more of its rows had no readable picture than its settings allow. (The report
            is written, and what was kept is there.)
    """
    for name in ("kept", "dropped", "done"):
        for left in (out / name).glob(".tmp-*"):  # of processes that were killed
            left.unlink(missing_ok=True)
    settings = read_json(out / MARK)
    made = summary(settings, read_done(out))
    write_json(out / "report.json", made)
    write_text(out / "report.html", page(made, examples(out)))
    broken = {reason: n for reason, n in made["account"].items() if reason not in TEXTLESS}
    if sum(broken.values()) > settings["max_bad"] * made["rows"]:
        said = ", ".join(f"{count:,} {reason}" for reason, count in broken.items())
        raise SourceError(
            f"{out}: of {made['rows']:,} rows too many had no readable picture: {said}; more than "
            f"{settings['max_bad']:.0%} is too many"
        )
    return made


def summary(settings: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of all parts.

    Returns:
        rows: that were read. texts: {origin: {"kept", "dropped"}}. kinds: the same by the kind that
        the source gave its texts, where it did. filter: precision (how many of the kept texts are
        true), recall (how many of the true ones are kept), where the source has the truth. account:
        rows by what was missing or broken. seconds, rows_per_s: of all processes together.
    """
    texts: dict[str, Counter[str]] = {}
    kinds: dict[str, Counter[str]] = {}
    judged: Counter[tuple[bool, bool]] = Counter()
    account: Counter[str] = Counter()
    for part in parts:
        account.update(part["account"])
        for origin, kind, clean, kept, count in part["texts"]:
            verdict = "kept" if kept else "dropped"
            texts.setdefault(origin, Counter(kept=0, dropped=0))[verdict] += count
            if kind is not None:
                kinds.setdefault(str(kind), Counter(kept=0, dropped=0))[verdict] += count
            if isinstance(clean, bool):
                judged[clean, kept] += count
    rows, seconds = (sum(part[name] for part in parts) for name in ("rows", "seconds"))
    made: dict[str, Any] = {
        "settings": settings,
        "rows": rows,
        "texts": {origin: dict(count) for origin, count in sorted(texts.items())},
        "kinds": {kind: dict(count) for kind, count in sorted(kinds.items())},
        "account": dict(account),
    }
    if judged:
        right = judged[True, True]
        kept, true = right + judged[False, True], right + judged[True, False]
        made["filter"] = {
            "precision": right / kept if kept else None,
            "recall": right / true if true else None,
        }
    return {**made, "seconds": round(seconds, 1), "rows_per_s": round(rows / max(seconds, 1e-9), 2)}


def examples(out: Path) -> Iterator[dict[str, Any]]:
    """The first few rows of each origin, verdict and kind."""
    import pyarrow.parquet

    counts: Counter[Any] = Counter()
    kept, dropped = (sorted((out / name).glob("part-*.parquet")) for name in ("kept", "dropped"))
    for file in chain(kept[:3], dropped[:3]):
        with pyarrow.parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(64):
                for row in batch.to_pylist():
                    group = (row["origin"], row["kept"], row.get("kind"))
                    counts[group] += 1
                    if counts[group] <= EXAMPLES:
                        yield row


def page(made: dict[str, Any], rows: Iterator[dict[str, Any]]) -> str:
    """The report as one page of HTML, which needs nothing else."""
    settings = made["settings"]
    said = [
        f"{made['rows']:,} rows, {made['rows_per_s']:,.1f} a second of one process; texts that "
        f"match with a probability above {settings['threshold']} were kept.",
        f"Captioner: {settings['captioner'] or 'not named'}. "
        f"Filter: {settings['judge'] or 'not named'}.",
    ]
    if truth := made.get("filter"):
        shares = (f"{name} {value:.1%}" for name, value in truth.items() if value is not None)
        said.append(f"Against the truth, of the texts that came along: {', '.join(shares)}.")
    if made["account"]:
        what = ", ".join(f"{count:,} {reason}" for reason, count in made["account"].items())
        said.append(f"Missing or broken: {what}.")
    parts = [f"<p>{html.escape(line)}</p>" for line in said]
    for title, counts in (("origin", made["texts"]), ("kind", made["kinds"])):
        if counts:
            parts.append(_table(title, counts))
    figures = {True: "", False: ""}
    for row in rows:
        figures[row["kept"]] += _figure(row)
    parts += [f"<h2>Kept</h2>{figures[True]}", f"<h2>Dropped</h2>{figures[False]}"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>CapFilt</title>'
        "<style>body{font:16px sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em 1em;"
        "text-align:right}figure{display:inline-block;width:11em;margin:.5em;vertical-align:top}"
        "img{width:8em;height:8em;object-fit:contain;image-rendering:pixelated}</style>"
        f"<h1>CapFilt</h1>{''.join(parts)}</html>\n"
    )


def _table(title: str, counts: dict[str, dict[str, int]]) -> str:
    lines = [f"<tr><th>{title}</th><th>kept</th><th>dropped</th><th>share kept</th></tr>"]
    for name, count in counts.items():
        share = count["kept"] / max(count["kept"] + count["dropped"], 1)
        cells = (html.escape(name), f"{count['kept']:,}", f"{count['dropped']:,}", f"{share:.1%}")
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _figure(row: dict[str, Any]) -> str:
    with Image.open(io.BytesIO(row["image"]["bytes"])) as opened:
        picture = to_rgb(opened)
        picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode()
    kind = f", {row['kind']}" if row.get("kind") else ""
    text = row["text"] if len(row["text"]) <= 300 else row["text"][:300] + " …"
    return (
        f'<figure><img alt="" src="data:image/png;base64,{data}"><figcaption>'
        f"{html.escape(text)}<br><small>{html.escape(row['origin'] + kind)}, "
        f"{row['score']:.3f}</small></figcaption></figure>"
    )
