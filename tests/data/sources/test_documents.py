"""Real texts as packed windows: nothing is lost, nothing is read twice, nothing bad is silent."""

from __future__ import annotations

import gzip
import json
import random
import socket
import sysconfig
import warnings
from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from vlcourse.data.collate.text import TextCollate
from vlcourse.data.sources import text_files
from vlcourse.data.sources.decode import SourceError
from vlcourse.data.sources.documents import Documents
from vlcourse.engine.batches import StreamBatches
from vlcourse.tokenizers.sentence_bpe import FastSentenceBPE
from vlcourse.tokenizers.sentence_training import MARK, SPECIAL, Piece

TOKENIZER = FastSentenceBPE([*SPECIAL, Piece(MARK, 0.0, "normal")])  # spaces, and a text's bytes
BOS, EOS = TOKENIZER.bos, TOKENIZER.eos


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail(f"network access: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def sentences(n: int, seed: int = 0) -> list[str]:
    """Different texts of different lengths, in several scripts."""
    choose = random.Random(seed)
    words = "one two three naïve 草莓 🍓 don't x=1".split()
    return [f"{i} " + " ".join(choose.choices(words, k=choose.randrange(1, 30))) for i in range(n)]


def lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def split_source(folder: Path, texts: list[str], name: str = "train.jsonl") -> Path:
    """A folder with a test split beside the texts, so that all of them are for training."""
    lines(folder / "test.jsonl", [{"text": "for the test"}])
    lines(folder / name, [{"text": text} for text in texts])
    return folder


def stream_of(windows: list[dict[str, Any]]) -> list[int]:
    """The tokens of a whole pass, those that fill up the last window included."""
    ids = [*windows[0]["ids"]]
    for before, window in zip(windows, windows[1:], strict=False):
        assert window["ids"][0] == before["ids"][-1]
        ids += window["ids"][1:]
    return ids


def documents_of(windows: list[dict[str, Any]]) -> list[str]:
    """The documents of a whole pass."""
    ids = stream_of(windows)
    ends = [-1, *(i for i, token in enumerate(ids) if token == EOS)]
    parts = [ids[before + 1 : end] for before, end in zip(ends, ends[1:], strict=False)]
    assert all(part[0] == BOS for part in parts)
    return [TOKENIZER.decode(part) for part in parts]


# ---------------------------------------------------------------- packing


@pytest.mark.parametrize("context", [1, 7, 64, 5000])
def test_every_token_is_learned_once(tmp_path: Path, context: int) -> None:
    texts = sentences(40)
    source = Documents(split_source(tmp_path / "s", texts), "train", TOKENIZER, context)
    windows = list(source)
    assert {len(window["ids"]) for window in windows} == {context + 1}
    total = sum(len(TOKENIZER.encode(text, bos=True, eos=True)) for text in texts)
    assert len(windows) == -(-(total - 1) // context)  # the last one is filled up
    ids, beginning = stream_of(windows), min(context + 1, total)
    assert ids[total:] == [ids[i % beginning] for i in range(len(ids) - total)]
    found = documents_of(windows)
    assert sorted(found[:40]) == sorted(texts)
    assert found[:40] != texts  # shuffled


def test_the_id_says_where_a_window_begins(tmp_path: Path) -> None:
    texts = sentences(30)
    encoded = {f"train.jsonl:{i + 1}": TOKENIZER.encode(t, True, True) for i, t in enumerate(texts)}
    for window in Documents(split_source(tmp_path / "s", texts), "train", TOKENIZER, 50):
        key, _, offset = window["id"].rpartition("+")
        rest = encoded[key][int(offset) :]
        assert rest and window["ids"][: len(rest)] == rest[:51]


def test_the_batch_is_the_windows(tmp_path: Path) -> None:
    source = Documents(split_source(tmp_path / "s", sentences(30)), "train", TOKENIZER, 32)
    windows = source.first(3)
    batch = TextCollate(TOKENIZER, 32)(windows)
    ids = torch.tensor([window["ids"] for window in windows])
    assert torch.equal(batch["tokens"], ids[:, :-1]) and torch.equal(batch["targets"], ids[:, 1:])
    assert batch["ids"] == [window["id"] for window in windows]


def test_a_long_plain_text_comes_in_sections(tmp_path: Path) -> None:
    text = "\n".join(sentences(2000)) + "\n"
    assert len(text) > 5 * text_files.SECTION
    for name, raw in (("a.txt", text.encode()), ("b.txt.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(raw)
        parts = list(text_files.find_texts(tmp_path / name, "train").files[0])
        assert "".join(str(part.text) for part in parts) == text
        assert all(str(part.text).endswith("\n") for part in parts)
        assert [part.begins for part in parts] == [True] + [False] * (len(parts) - 1)
        assert [part.ends for part in parts] == [False] * (len(parts) - 1) + [True]
        assert [part.key for part in parts] == [f"{name}:{i + 1}" for i in range(len(parts))]
    windows = list(Documents(tmp_path / "a.txt", "train", TOKENIZER, 100))
    held = list(Documents(tmp_path / "a.txt", "test", TOKENIZER, 100))
    ids = stream_of(windows)
    assert BOS not in ids and ids.count(EOS) == 1  # the first section is held out
    assert held[0]["ids"][0] == BOS and not any(EOS in window["ids"] for window in held)


# ---------------------------------------------------------------- order, resume, ranks


def test_the_order_is_of_the_seed_and_the_epoch(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "s"
    split_source(folder, sentences(20), "train-1.jsonl")
    split_source(folder, [text + "!" for text in sentences(20)], "train-2.jsonl")

    def read(seed: int, epoch: int) -> list[str]:
        source = Documents(folder, "train", TOKENIZER, 16, seed)
        source.set_epoch(epoch)
        return documents_of(list(source))[:40]

    assert read(0, 0) == read(0, 0)
    orders = [read(0, 0), read(0, 1), read(1, 0)]
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1
    for limit in ("BUFFER", "BUFFER_CHARACTERS"):  # a full buffer: later documents stay later
        with monkeypatch.context() as patch:
            patch.setattr(f"vlcourse.data.sources.documents.{limit}", 3)
            order = read(0, 0)
            assert sorted(order) == sorted(orders[0])
            marked = [text.endswith("!") for text in order]
            assert len(set(marked[:17])) == 1 and marked[-17:].count(marked[0]) <= 3


def test_batches_go_on_where_they_stopped_and_ranks_share_them(tmp_path: Path) -> None:
    collate = TextCollate(TOKENIZER, 24)

    def batches(start: int, count: int, **place: int) -> list[dict[str, Any]]:
        source = Documents(split_source(tmp_path / "s", sentences(20)), "train", TOKENIZER, 24)
        return list(islice(StreamBatches(source, collate, 4, start=start, **place), count))

    whole = batches(0, 40)
    per_pass = len(list(Documents(tmp_path / "s", "train", TOKENIZER, 24)))
    assert 40 * 4 > 2 * per_pass  # into the third epoch
    ids = [i for batch in whole for i in batch["ids"]]
    assert Counter(ids[:per_pass]).keys() != Counter(ids[per_pass : 2 * per_pass]).keys()
    for start in (1, 13, 39):
        (resumed,) = batches(start, 1)
        assert resumed["ids"] == whole[start]["ids"]
        assert torch.equal(resumed["targets"], whole[start]["targets"])
    ranks = [batches(0, 40, rank=r, world=2) for r in range(2)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert torch.equal(batch["tokens"], torch.cat([part["tokens"] for part in parts]))


def test_one_worker_gives_the_same_and_two_are_refused(tmp_path: Path, monkeypatch) -> None:
    source = Documents(split_source(tmp_path / "s", sentences(20)), "train", TOKENIZER, 24)
    assert list(DataLoader(source, batch_size=None, num_workers=1, collate_fn=dict)) == list(source)
    two = SimpleNamespace(id=0, num_workers=2)
    monkeypatch.setattr("vlcourse.data.sources.documents.get_worker_info", lambda: two)
    with pytest.raises(SourceError, match="use one worker"):
        next(iter(source))


# ---------------------------------------------------------------- splits


def test_one_document_in_a_hundred_is_held_out(tmp_path: Path) -> None:
    texts = sentences(750)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "0.txt").touch()  # a file without documents changes nothing
    for i, part in enumerate((texts[:250], texts[250:])):
        lines(tmp_path / "s" / f"{i + 1}.jsonl", [{"text": text} for text in part])
    train = Documents(tmp_path / "s", "train", TOKENIZER, 100_000)
    test = Documents(tmp_path / "s", "test", TOKENIZER, 100_000)
    held = [*texts[0:250:100], *texts[250 + 99 :: 100]]
    (window,) = test
    assert documents_of([window]) == held  # in their order, not filled up
    (window,) = Documents(tmp_path / "s", "validation", TOKENIZER, 100_000)
    assert documents_of([window]) == held
    seen = set(documents_of(list(train)))
    assert len(seen) == 750 - len(held) and not seen & set(held)


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (("train-00000-of-00002", "train-00001-of-00002", "test"), {0, 1}, {2}),
        (("data", "validation"), {0}, {1}),
        (("c4-train.00000-of-2", "c4-validation.00000-of-1"), {0}, {1}),
        (("train/a", "train/b", "valid/a", "test/a"), {0, 1}, {3}),
        (("train/en/a", "test/en/a"), {0}, {1}),
        (("a", "training", "dev"), {0, 1}, {2}),
    ],
)
def test_files_say_their_split(
    tmp_path: Path, names: tuple[str, ...], train: set[int], test: set[int]
) -> None:
    folder = tmp_path / "test"  # a name above the source says nothing
    for i, name in enumerate(names):
        lines(folder / f"{name}.jsonl", [{"text": str(i)}])
    lines(folder / ".cache" / "x.jsonl", [{"text": "9"}])
    (folder / "README.md").write_text("9")
    for split, expected in (("train", train), ("test", test)):
        for source in (folder, str(folder / "**" / "*.jsonl")):
            windows = list(Documents(source, split, TOKENIZER, 400))
            assert {int(text) for text in documents_of(windows)} == expected


def test_first_is_a_small_map_style_dataset(tmp_path: Path) -> None:
    folder = split_source(tmp_path / "s", sentences(20))
    test = Documents(folder, "test", TOKENIZER, 8)
    windows = test.first(64)
    ids = TOKENIZER.encode("for the test", True, True)
    assert [window["ids"] for window in windows] == [ids[:9], ids[8:]][: (len(ids) - 1) // 8]
    assert test.first(1) == windows[:1]
    (short,) = Documents(folder, "test", TOKENIZER, 50).first(64)
    assert short == {"id": "test.jsonl:1+0", "ids": ids}


def test_a_limit_takes_the_first_documents(tmp_path: Path) -> None:
    texts = sentences(300)
    source = Documents(split_source(tmp_path / "s", texts), "train", TOKENIZER, 64, limit=10)
    assert set(documents_of(list(source))) == set(texts[:10])


# ---------------------------------------------------------------- forms of a source


def test_every_form_gives_the_same_texts(tmp_path: Path) -> None:
    texts = sentences(20)
    rows = [{"id": f"x{i}", "text": text, "n": i} for i, text in enumerate(texts)]
    files = [
        lines(tmp_path / "a.jsonl", rows),
        lines(tmp_path / "b.jsonl.gz", rows),
        lines(tmp_path / "c.json", rows),  # JSON lines by another name
        lines(tmp_path / "d.json.gz", rows),
        tmp_path / "e.json",
        tmp_path / "f.parquet",
        lines(tmp_path / "g.jsonl", [{"url": "u", "body": text} for text in texts]),
        lines(tmp_path / "h.jsonl", [json.loads(json.dumps(text)) for text in texts]),
        tmp_path / "i.json",
    ]
    files[4].write_text("\ufeff" + json.dumps(rows, indent=1), encoding="utf-8")
    pq.write_table(pa.table({"text": texts, "n": range(20)}), files[5], row_group_size=7)
    files[8].write_text(json.dumps(texts))
    for file in files:
        (found,) = Documents(file, "test", TOKENIZER, 100_000)
        assert documents_of([found]) == texts[:1], file
        (found,) = text_files.find_texts(file, "train").files
        assert [text.text for text in found] == texts, file
        assert [text.key for text in found] == [f"{file.name}:{i + 1}" for i in range(20)], file


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"image": "a.jpg", "QA": []}], "no column 'text' and no other one of strings; .*QA"),
        ([{"title": "a", "body": "b"}], r"several of strings \(title, body\).*Call the column"),
    ],
)
def test_a_file_without_a_column_of_text(tmp_path: Path, rows: list[Any], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        list(Documents(lines(tmp_path / "a.jsonl", rows), "train", TOKENIZER, 8))
    pq.write_table(pa.Table.from_pylist([{**rows[0], "QA": [1]}]), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=said.partition(";")[0].partition(r" \(")[0]):
        list(Documents(tmp_path / "a.parquet", "train", TOKENIZER, 8))


def test_refused_sources_are_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *a, **k: pytest.fail("asked"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("text\nx\n")
    (tmp_path / "news.jsonl").write_text('{"text": "x"}\n')
    refused = {
        "owner/new.txt": "there is no file owner/new.txt",  # not asked of the hub
        "new.jsonl": r"there is no file new.jsonl\. Did you mean 'news.jsonl'\?",
        "news.jsonl.gz": "there is no file news.jsonl.gz",
        "./owner/name": "there is no file or folder ./owner/name",
        "name": "'name' is no file or folder here, and a hub id has the form 'owner/name'",
        "*.txt": r"no file matches \*\.txt",
        "table.csv": "table.csv is not a file of texts: I read .txt, .*.parquet",
        "*.*": "table.csv is not a file of texts",
        "empty": "empty holds no .txt, .jsonl, .json, .parquet file",
    }
    for source, said in refused.items():
        with pytest.raises(SourceError, match=said) as error:
            Documents(source, "train", TOKENIZER, 8)
        assert "\n" not in str(error.value)
    with pytest.raises(SourceError, match="no split 'tets'"):
        Documents("news.jsonl", "tets", TOKENIZER, 8)
    lines(tmp_path / "s" / "test.jsonl", ["x"])
    lines(tmp_path / "s" / "dev.jsonl", ["x"])
    with pytest.raises(SourceError, match="s has no split 'train', only validation, test"):
        Documents("s", "train", TOKENIZER, 8)
    with pytest.raises(
        SourceError, match="news.jsonl is too small: it has no text for 'train': .*"
    ):
        list(Documents("news.jsonl", "train", TOKENIZER, 8))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.txt.gz", "a.parquet", "a.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    rows = [{"text": text} for text in sentences(200)]
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        text = json.dumps(rows, indent=1).encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(SourceError, match=f"{name}.* (damaged|is not valid JSON)"):
        list(Documents(tmp_path / name, "train", TOKENIZER, 8))


def test_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    texts = sentences(300)
    splits = {"train": texts, "validation": ["held out by its makers"]}

    def load(hub_id: str, split: str, streaming: bool, **options: Any) -> Any:
        assert (hub_id, streaming) == ("owner/name", True)
        rows = datasets.Dataset.from_dict({"url": splits[split], "text": splits[split]})
        return rows.to_iterable_dataset()

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *a, **k: None)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *a, **k: list(splits))
    monkeypatch.setattr(datasets, "load_dataset", load)
    train = Documents("owner/name", "train", TOKENIZER, 64)
    windows = list(train)
    assert set(documents_of(windows)) == set(texts) and windows[0]["id"].startswith("name:")
    assert list(train) == windows
    assert list(DataLoader(train, batch_size=None, num_workers=1, collate_fn=dict)) == windows
    (window,) = Documents("owner/name", "test", TOKENIZER, 64).first(9)
    assert documents_of([window]) == ["held out by its makers"]
    del splits["validation"]
    (window,) = Documents("hf://owner/name", "test", TOKENIZER, 10_000).first(9)
    assert documents_of([window]) == texts[::100]

    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    with pytest.raises(SourceError, match="cannot reach the hub for the dataset 'owner/name'"):
        Documents("owner/name", "train", TOKENIZER, 64)


# ---------------------------------------------------------------- bad documents


def flawed(path: Path, good: int) -> Path:
    """Rows 1 to 6 are bad, each in its own way; then good ones."""
    bad = ['{"text": ""}', '{"text": " \\n"}', '{"text": null}', '{"text": 7}', '{"te', "[1]"]
    bad.append('{"text": "half \\ud800"}')
    rows = [json.dumps({"text": text}) for text in sentences(good)]
    path.write_text("\n".join([rows[0], *bad, "", *rows[1:]]) + "\n")
    return path


def test_bad_documents_are_left_out_and_reported(tmp_path: Path) -> None:
    source = Documents(flawed(tmp_path / "a.jsonl", 200), "train", TOKENIZER, 64)
    with pytest.warns(UserWarning, match="skipped 7 of 207 samples") as warned:
        windows = list(source)
    assert len(warned) == 1
    said = source.report()
    for reason in ("3 empty text", "2 not a string", "1 broken JSON line", "1 not UTF-8 text"):
        assert reason in said
    assert "First: a.jsonl:2 (empty text); a.jsonl:3" in said
    kept = [text for i, text in enumerate(sentences(200)) if i % 100]
    assert sorted(documents_of(windows)[:198]) == sorted(kept)
    test = Documents(tmp_path / "a.jsonl", "test", TOKENIZER, 16)
    ids = TOKENIZER.encode(sentences(200)[0], bos=True, eos=True)
    with pytest.warns(UserWarning, match="skipped 7 of 108 samples"):  # it read no further
        first = test.first((len(ids) - 1) // 16 + 1)
    assert first[0]["ids"] == ids[:17]


def test_too_many_bad_documents_are_an_error(tmp_path: Path) -> None:
    source = Documents(flawed(tmp_path / "a.jsonl", 100), "train", TOKENIZER, 64)
    with pytest.raises(SourceError, match=r"7 of 107 samples \(6.5%\).* More than 5% is too many"):
        list(source)
    rows = [{"text": text if i % 2 else ""} for i, text in enumerate(sentences(4000))]
    source = Documents(lines(tmp_path / "b.jsonl", rows), "train", TOKENIZER, 64)
    with pytest.raises(SourceError, match="of 1,00[01] samples"):  # long before the end
        list(source)


def test_files_that_are_no_text_are_bad_documents(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for i in range(60):
        (tmp_path / "s" / f"{i:02}.txt").write_text(f"text {i}")
    (tmp_path / "s" / "picture.txt").write_bytes(b"\x89PNG\r\n\xff\xfe")
    (tmp_path / "s" / "white.txt").write_text(" \n")
    source = Documents(tmp_path / "s", "train", TOKENIZER, 64)
    with pytest.warns(UserWarning, match="skipped 2 of 62 samples"):
        assert len(set(documents_of(list(source)))) == 59
    assert "1 empty text" in source.report() and "picture.txt:1 (not UTF-8" in source.report()


# ---------------------------------------------------------------- real texts


def test_the_standard_librarys_own_sources() -> None:
    glob = str(Path(sysconfig.get_path("stdlib")) / "json" / "*.py")
    train, test = (Documents(glob, split, TOKENIZER, 256) for split in ("train", "test"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = TOKENIZER.decode([i for window in train for i in window["ids"][:-1]])
    assert "class JSONDecoder(object):" in text and "JSON (JavaScript Object" not in text
    assert "JSON (JavaScript Object" in TOKENIZER.decode(test.first(1)[0]["ids"])


def test_instruction_data_as_it_comes_and_as_texts(tmp_path: Path, shared_data: Path) -> None:
    files = sorted((shared_data / "instruct").glob("*.json"))
    if not files:
        pytest.skip(f"no instruction data in {shared_data / 'instruct'}")
    # It has a file name and a list of questions and answers: nothing that can be read as it is.
    with pytest.raises(SourceError, match="no column 'text' .*its columns are: image, QA"):
        list(Documents(shared_data / "instruct", "train", TOKENIZER, 64))
    rows = [row for file in files for row in json.loads(file.read_text())]
    texts = ["\n".join(f"{qa['q']}\n{qa['a']}" for qa in row["QA"]) for row in rows]
    lines(tmp_path / "instruct.jsonl.gz", [{"text": text} for text in texts])
    source = Documents(tmp_path / "instruct.jsonl.gz", "train", TOKENIZER, 512)
    found = documents_of(list(source))
    kept = [text for i, text in enumerate(texts) if i % 100]
    assert len(kept) > 300 and sorted(found[: len(kept)]) == sorted(kept)
