"""The claims ledger: the paper's number, the one measured here with its interval, and a verdict.

A verdict is computed by the claim's rule from the measurement, each time it is shown; what stands
under ``data/claims/`` is the measurement alone.
"""

from __future__ import annotations

import importlib
import json
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from vlcourse import files, paths
from vlcourse.names import no_such
from vlcourse.teach import is_quick
from vlcourse.teach.catalogue import LECTURES
from vlcourse.teach.measurement import Claim as Claim
from vlcourse.teach.measurement import Measurement as Measurement
from vlcourse.teach.measurement import Row as Row
from vlcourse.teach.measurement import Table as Table
from vlcourse.teach.measurement import Verdict as Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIMS: tuple[Claim, ...] = tuple(claim for lecture in LECTURES for claim in lecture.CLAIMS)


def get(id: str) -> Claim:
    """The claim ``id``; KeyError with the nearest match when there is none."""
    known = {claim.id: claim for claim in CLAIMS}
    if id in known:
        return known[id]
    raise KeyError(no_such("claim", id, known))


def judge(id: str, result: Measurement) -> Row:
    """The row of a full measurement. Raises ValueError when it cannot be judged."""
    entry = get(id)
    if problem := result.judged_by():
        raise ValueError(f"claim {id}: the measurement cannot be judged: {problem}")
    return Row(entry, result, entry.rule(result))


def claim(
    id: str,
    measured: float,
    low: float | None = None,
    high: float | None = None,
    *,
    seeds: Iterable[int] = (),
    bootstrap: int = 0,
    **others: float,
) -> Row:
    """Print and return the row of a number measured live; in quick mode it is not judged.

    ``seeds`` (3 or more) or ``bootstrap`` (number of resamples) say what the interval rests on. A
    number that lacks its interval raises ValueError, except in quick mode.
    """
    result = Measurement(float(measured), low, high, tuple(seeds), bootstrap, others=others)
    row = Row(get(id), result, None, "short run, not judged") if is_quick() else judge(id, result)
    print(row)
    return row


def run(ids: Iterable[str] | None = None, folder: Path | None = None) -> list[Row]:
    """Run the experiments of ``ids`` (all by default) in full and store each result. A line each.

    Raises RuntimeError in quick mode: a short run is never stored.
    """
    if is_quick():
        raise RuntimeError("claims are measured in full: unset VLCOURSE_QUICK first")
    entries = [get(id) for id in ids] if ids is not None else list(CLAIMS)
    rows = []
    for n, entry in enumerate(entries, start=1):
        print(f"[{n}/{len(entries)}] {entry.id} …", flush=True)
        module, function = entry.experiment.split(":")
        start = time.perf_counter()
        result: Measurement = getattr(importlib.import_module(module), function)()
        row = judge(entry.id, result)
        store(entry.id, result, time.perf_counter() - start, folder)
        rows.append(row)
        print(row, flush=True)
    return rows


def store(id: str, result: Measurement, seconds: float, folder: Path | None = None) -> Path:
    """Write ``<folder>/<id>.json`` (data/claims by default), without date and verdict; its path."""
    path = (folder or paths.claims_dir()) / f"{get(id).id}.json"
    content = {
        "id": id,
        **asdict(result),
        "seconds": round(seconds, 1),
        "versions": versions(),
    }
    files.write_text(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return path


def load_results(folder: Path | None = None) -> dict[str, Measurement]:
    """The stored results by claim. Raises ValueError on a file that is broken or not of a claim."""
    results = {}
    for path in sorted((folder or paths.claims_dir()).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("id") != path.stem:
                raise ValueError("the id inside is another one")
            get(path.stem)
            names = Measurement.__dataclass_fields__
            fields = {k: v for k, v in content.items() if k in names}
            results[path.stem] = Measurement(**{**fields, "seeds": tuple(fields["seeds"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not the result of a claim: {error}") from error
    return results


def table(ids: Iterable[str] | None = None, folder: Path | None = None) -> Table:
    """The ledger, of all claims or of ``ids``; a cell that ends with it shows it as a table."""
    return Table(ledger_rows(ids, folder))


def ledger_rows(ids: Iterable[str] | None = None, folder: Path | None = None) -> list[Row]:
    """A row for every claim (or for ``ids``), judged now from the stored measurements."""
    results = load_results(folder)
    entries = [get(id) for id in ids] if ids is not None else list(CLAIMS)
    return [_row(entry, results.get(entry.id)) for entry in entries]


def _row(entry: Claim, result: Measurement | None) -> Row:
    if result is None:
        return Row(entry, None, None, "not measured yet")
    try:
        return judge(entry.id, result)
    except KeyError as missing:  # a number that the rule reads, which an older experiment lacked
        note = f"its stored measurement lacks {missing}: run `vlcourse claims {entry.id}`"
        return Row(entry, None, None, note)


def stored(id: str, folder: Path | None = None) -> Figure | None:
    """Print a claim's row of the ledger, and return the plot of its stored experiment.

    None where it has not been measured, which the printed row then says. ``folder`` is data/claims
    by default. KeyError for an unknown claim.
    """
    (row,) = ledger_rows([id], folder)
    print(row)
    if row.result is None:
        return None
    return next(lecture.PLOTS[id] for lecture in LECTURES if id in lecture.PLOTS)(row.result)


def ledger_markdown(ids: Iterable[str] | None = None, folder: Path | None = None) -> str:
    """The ledger as a Markdown table."""
    return table(ids, folder).markdown()


def rewrite_block(path: Path, name: str, text: str) -> bool:
    """Replace what stands between ``<!-- BEGIN name -->`` and ``<!-- END name -->``.

    True if that changed the file. Raises ValueError unless it holds each marker
    once, in this order.
    """
    begin, end = f"<!-- BEGIN {name} -->", f"<!-- END {name} -->"
    old = path.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise ValueError(f"{path} must hold {begin} and then {end}, once each")
    head, rest = old.split(begin)
    new = f"{head}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}"
    if new != old:
        files.write_text(path, new)
    return new != old


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that the numbers rest on."""
    found = {"python": platform.python_version()}
    for name in ("torch", "torchvision", "numpy", "transformers", "vlcourse"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
