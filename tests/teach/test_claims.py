"""The ledger: rules, intervals, storage, the block in README.md."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vlcourse.teach import claims
from vlcourse.teach.claims import Claim, Measurement, Row, Verdict
from vlcourse.teach.measurement import with_interval


def measurement(low: float, high: float, seeds: tuple[int, ...] = (0, 1, 2)) -> Measurement:
    return Measurement((low + high) / 2, low, high, seeds=seeds, recipe={"name": "clip-toy"})


@pytest.fixture(autouse=True)
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLCOURSE_QUICK", raising=False)


@pytest.mark.parametrize(
    ("id", "low", "high", "word"),
    [
        ("clip.zero_shot", 0.25, 0.31, "holds"),
        ("clip.zero_shot", 0.20, 0.31, "does not show here"),
        ("clip.zero_shot", 0.02, 0.40, "fails"),
        ("clip.real", 0.21, 0.25, "holds"),
        ("clip.real", 0.19, 0.25, "does not show here"),
        ("clip.real", 0.09, 0.11, "fails"),
    ],
)
def test_verdicts(id: str, low: float, high: float, word: str) -> None:
    row = claims.judge(id, measurement(low, high))
    assert row.verdict is not None and row.verdict.word == word
    assert bool(row.verdict.reason) == (word != "holds")


def test_ids_are_unique_and_complete() -> None:
    assert len({entry.id for entry in claims.CLAIMS}) == len(claims.CLAIMS)
    for entry in claims.CLAIMS:
        assert entry.statement and entry.paper and entry.metric
        assert entry.experiment.startswith("vlcourse.teach.") and entry.experiment.count(":") == 1


def test_not_showing_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Verdict("does not show here")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Measurement(0.5, seeds=(0, 1, 2)), "no interval"),
        (Measurement(0.5, 0.6, 0.7, seeds=(0, 1, 2)), "outside its interval"),
        (Measurement(0.5, 0.4, 0.6, seeds=(0, 0, 0)), "fewer than 3 seeds"),
        (Measurement(0.5, 0.4, 0.6, bootstrap=50), "fewer than 100 resamples"),
        (Measurement(float("nan"), 0.4, 0.6, bootstrap=500), "not all finite"),
    ],
)
def test_what_cannot_be_judged(bad: Measurement, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        claims.judge("clip.real", bad)


def test_claim_prints_its_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = claims.claim("clip.real", 0.5, 0.45, 0.55, bootstrap=2000)
    assert row.verdict == Verdict("holds")
    said = capsys.readouterr().out
    assert said.startswith("clip.real: learns from real photos too\n")
    assert "50.0 (45.0 to 55.0) %, accuracy on" in said and "  verdict:       holds" in said
    with pytest.raises(ValueError, match="no interval"):
        claims.claim("clip.real", 0.5)
    with pytest.raises(
        KeyError, match=r"no claim 'clip\.zeroshot'; did you mean 'clip\.zero_shot'"
    ):
        claims.claim("clip.zeroshot", 0.5)
    monkeypatch.setenv("VLCOURSE_QUICK", "1")
    assert claims.claim("clip.real", 0.5).verdict is None
    assert "short run, not judged" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="VLCOURSE_QUICK"):
        claims.run(["clip.real"])


def test_results_are_stored_and_judged_anew(tmp_path: Path) -> None:
    path = claims.store("clip.real", measurement(0.5, 0.6), 12.34, tmp_path)
    assert path == tmp_path / "clip.real.json" and list(tmp_path.iterdir()) == [path]
    content = json.loads(path.read_text())
    assert content["seeds"] == [0, 1, 2] and content["recipe"] == {"name": "clip-toy"}
    assert content["seconds"] == 12.3 and "torch" in content["versions"]
    assert "verdict" not in content and "holds" not in path.read_text()
    assert claims.load_results(tmp_path)["clip.real"] == measurement(0.5, 0.6)
    real = claims.ledger_rows(["clip.real"], tmp_path)[0]
    assert real.verdict == Verdict("holds")

    content.update(measured=0.1, low=0.05, high=0.2, verdict="holds")
    path.write_text(json.dumps(content))
    lower = claims.ledger_rows(["clip.real"], tmp_path)[0]
    assert lower.verdict is not None and lower.verdict.word == "fails"

    table = claims.ledger_markdown(folder=tmp_path)
    assert "| `clip.real` learns" in table and "10.0 (5.0 to 20.0) %" in table
    assert "not measured yet" in table and "76.2 %" in table
    assert all(row.count("|") == 6 for row in table.splitlines())
    assert "| 3 trainings |" in table


def test_a_row_says_what_its_interval_is_over() -> None:
    entry = Claim("toy.a", "works", "—", "share", "%", "m:f", lambda m: Verdict("holds"))
    seeds = measurement(0.4, 0.5)
    bootstrap = Measurement(0.5, 0.4, 0.6, bootstrap=2000)
    assert Row(entry, seeds, None).over() == "3 trainings"
    assert Row(entry, bootstrap, None).over() == "test items, one training"
    assert Row(replace(entry, items="pictures"), bootstrap, None).over() == "pictures, one training"
    assert Row(replace(entry, repeats="timings"), seeds, None).over() == "3 timings"
    assert Row(entry, None, None).over() == Row(entry, Measurement(0.5), None).over() == "—"


def test_a_stored_measurement_that_lacks_what_the_rule_reads_is_said_to(tmp_path: Path) -> None:
    claims.store("clip.prompts", measurement(0.1, 0.2), 1.0, tmp_path)
    (row,) = claims.ledger_rows(["clip.prompts"], tmp_path)
    assert row.verdict is None and row.number() == "—"
    assert "lacks 'one template − bare name low': run `vlcourse claims clip.prompts`" in row.note
    assert claims.stored("clip.prompts", tmp_path) is None


@pytest.mark.parametrize("unit", ["%", "points"])
def test_numbers_are_written_for_people(unit: str) -> None:
    assert with_interval(0.0105, -0.0004, 0.0213, unit) == "1.1 (0.0 to 2.1)"
    assert with_interval(-0.0105, -0.02, 0.01, unit, "+") == "−1.1 (−2.0 to 1.0)"
    assert with_interval(0.0105, None, None, unit, "+") == "+1.1"
    assert with_interval(1.0691, 0.4816, 2.3728, "×") == "1.07 (0.482 to 2.37)"


def test_the_ledger_is_a_table_in_a_notebook_and_short_lines_elsewhere() -> None:
    table = claims.table()
    assert [row.claim.id for row in table] == [entry.id for entry in claims.CLAIMS]
    lines = repr(table).splitlines()
    assert max(map(len, lines)) < 100
    systems = ("clip.", "blip.", "blip2.", "llama.", "adapter.", "videochat.")
    assert sum(line.startswith(systems) for line in lines) == len(table)
    assert sum("interval over:" in line for line in lines) == len(table)
    shown = table._repr_markdown_()
    assert shown == claims.ledger_markdown() and shown.count("\n") == len(table) + 1
    assert repr(claims.table(["clip.real"])) == str(claims.ledger_rows(["clip.real"])[0])


@pytest.mark.parametrize("text", ["{", '{"id": "clip.zero_shot"}', '{"id": "clip.real"}'])
def test_broken_results_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "clip.real.json").write_text(text)
    with pytest.raises(ValueError, match=r"clip\.real\.json is not the result of a claim"):
        claims.load_results(tmp_path)


def experiment() -> Measurement:
    return measurement(0.4, 0.5)


def test_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = Claim(
        "toy.a", "works", "—", "share", "%", f"{__name__}:experiment", lambda m: Verdict("holds")
    )
    monkeypatch.setattr(claims, "CLAIMS", (entry,))
    rows = claims.run(folder=tmp_path)
    assert [str(row.verdict) for row in rows] == ["holds"]
    assert claims.load_results(tmp_path) == {"toy.a": measurement(0.4, 0.5)}
    assert "[1/1] toy.a" in capsys.readouterr().out


def test_rewrite_block(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- BEGIN claims -->\nold\n<!-- END claims -->\nb\n")
    assert claims.rewrite_block(readme, "claims", "new\n")
    wanted = "a\n<!-- BEGIN claims -->\nnew\n<!-- END claims -->\nb\n"
    assert readme.read_text() == wanted
    assert not claims.rewrite_block(readme, "claims", "new")
    assert list(tmp_path.iterdir()) == [readme]
    with pytest.raises(ValueError, match="BEGIN bench"):
        claims.rewrite_block(readme, "bench", "new")
    readme.write_text("<!-- END claims --><!-- BEGIN claims -->")
    with pytest.raises(ValueError, match="once each"):
        claims.rewrite_block(readme, "claims", "new")
