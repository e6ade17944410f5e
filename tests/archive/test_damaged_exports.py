"""Whatever a folder holds: one sentence, nothing stored, nothing run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlhf_envs.archive import import_archive
from rlhf_envs.archive.manifest import describe_file

Change = Callable[[dict[str, Any]], None]


def change_manifest(folder: Path, change: Change) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite(folder: Path, name: str, table: Any) -> None:
    """Put another table in place, with the digest that belongs to it."""
    pq.write_table(table, folder / name)
    change_manifest(folder, lambda content: content["files"].update({name: describe_file(folder / name)}))


def change_row(folder: Path, name: str, row: int, **values: Any) -> None:
    table = pq.read_table(folder / name)
    rows = table.to_pylist()
    rows[row] |= values
    rewrite(folder, name, pa.Table.from_pylist(rows, schema=table.schema))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ValueError, match=match) as refusal:
        import_archive(folder, folder.parent / "new.db")
    assert "\n" not in str(refusal.value)
    assert not (folder.parent / "new.db").exists()


def files(content: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = content["files"]
    return said


MANIFESTS: dict[str, tuple[Change, str]] = {
    "newer": (
        lambda c: c.update(format_version=4),
        "version 4 of the export format, but .* reads version 3",
    ),
    "older": (
        lambda c: c.update(format_version=1),
        "version 1 of the export format, but .* reads version 3",
    ),
    "wordy": (lambda c: c.update(format_version="one"), "manifest.json is damaged: its format_version is 'one'"),
    "foreign": (lambda c: c.update(format="zip"), "does not belong to an export"),
    "more": (lambda c: c.update(surprise=1), "manifest.json is damaged: .*surprise"),
    "less": (lambda c: c.pop("counts"), "manifest.json is damaged: .*counts"),
    "list": (
        lambda c: c.update(environment=[]),
        r"manifest.json is damaged: An environment .* not by \[\]",
    ),
    "climbing": (
        lambda c: files(c).update({"../../etc/passwd": {"bytes": 1, "sha256": ""}}),
        "it names '../../etc/passwd', which is no file of an export",
    ),
    "climbing clips": (
        lambda c: files(c).update({"clips/../../segment-000001.mp4": {"bytes": 1, "sha256": ""}}),
        "which is no file of an export",
    ),
    "place": (lambda c: c["environment"].update(horizon="long"), "manifest.json is damaged: The horizon of CartPole"),
    "kind": (lambda c: c["kinds"].update(quiz={}), "queries of the kind 'quiz', which is not registered here: import"),
    "column": (
        lambda c: c["kinds"]["ranking"].update(order="text"),
        "'order': 'text'.* for the kind 'ranking', which has {'ranking': 'integers'} here",
    ),
    "tables": (lambda c: files(c).pop("answers.parquet"), "it does not name answers.parquet"),
    "digest": (lambda c: files(c)["answers.parquet"].update(sha256="0"), "answers.parquet is not the file that"),
    "sizeless": (lambda c: files(c)["answers.parquet"].pop("bytes"), "the size and the digest of answers.parquet"),
}


@pytest.mark.parametrize("damage", MANIFESTS)
def test_a_manifest_that_makes_no_sense_is_refused(damage: str, exported: Path) -> None:
    change, match = MANIFESTS[damage]
    change_manifest(exported, change)
    refused(exported, match)


def test_a_folder_that_is_no_export_is_refused(exported: Path) -> None:
    (exported / "manifest.json").write_text("{" * 100_000)
    refused(exported, "manifest.json is damaged and cannot be read")
    (exported / "manifest.json").unlink()
    refused(exported, "is no export: there is no manifest.json in it")
    refused(exported / "nowhere", "is no export")


def test_files_that_are_missing_or_were_changed_are_refused(exported: Path) -> None:
    content = (exported / "segments.parquet").read_bytes()
    (exported / "segments.parquet").write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    refused(exported, "segments.parquet is not the file that manifest.json describes")
    (exported / "segments.parquet").unlink()
    refused(exported, "segments.parquet is missing; copy the export again")


def test_a_table_that_is_no_parquet_file_is_refused(exported: Path) -> None:
    for name in ("queries.parquet", "answers.parquet", "segments.parquet"):
        kept, table = (exported / name).read_bytes(), pq.read_table(exported / name)
        (exported / name).write_bytes(b"PAR1 and so on")
        change_manifest(
            exported, lambda content, name=name: files(content).update({name: describe_file(exported / name)})
        )
        refused(exported, f"{name} is damaged and cannot be read")
        rewrite(exported, name, table.drop_columns("id"))
        refused(exported, "no column id" if name == "segments.parquet" else "does not have the columns of version 3")
        (exported / name).write_bytes(kept)
        change_manifest(
            exported, lambda content, name=name: files(content).update({name: describe_file(exported / name)})
        )


def test_columns_of_other_types_are_refused(exported: Path) -> None:
    table = pq.read_table(exported / "answers.parquet")
    place = table.schema.get_field_index("query_id")
    rewrite(exported, "answers.parquet", table.set_column(place, "query_id", table["query_id"].cast(pa.string())))
    refused(exported, "answers.parquet does not have the columns of version 3, but .*query_id string")


SENSELESS: dict[str, tuple[str, int, dict[str, Any], str]] = {
    "kind": ("queries", 0, {"kind": "quiz"}, "its kind is 'quiz', which manifest.json does not name"),
    "purpose": ("queries", 0, {"purpose": "fun"}, "'fun' is not a valid Purpose"),
    "context": ("queries", 0, {"context": "[1]"}, r"its context is no JSON object, but \[1\]"),
    "nested": ("queries", 0, {"context": "[" * 100_000}, "makes no sense"),
    "no number": ("queries", 0, {"context": '{"a": NaN}'}, "must be plain JSON"),
    "no time": ("queries", 0, {"created_at": float("nan")}, "asked at nan, which is no time"),
    "segment": ("queries", 0, {"segments": [1, 99]}, "query 1 shows segment 99, which is not there"),
    "one side": ("queries", 0, {"segments": [1]}, "A comparison shows 2 segments, but query '0/train/0' has 1"),
    "key": ("queries", 1, {"key": "0/train/0"}, "the key '0/train/0' does not name one query alone"),
    "repeats": ("queries", 4, {"context": '{"repeats": 77}'}, "query 5 repeats query 77, which does not come before"),
    "choice": ("answers", 0, {"choice": "up"}, "'up' is no answer to a comparison"),
    "silence": (
        "answers",
        0,
        {"choice": None},
        "answer 1 does not fit a comparison .*with left, right or tie",
    ),
    "empty": ("answers", 5, {"ranking": None}, "answer 6 does not fit a ranking"),
    "twice": ("answers", 5, {"ranking": [0, 0, 1]}, "answer 6 does not fit a ranking .*each position from 0 to 2 once"),
    "beyond": ("answers", 6, {"ratings": [2.0] * 4}, "answer 7 does not fit a rating .*4 numbers from -1 to 1"),
    "sided": (
        "answers",
        6,
        {"choice": "left"},
        "answer 7 does not fit a rating .*no choice, not with left",
    ),
    "nobody": ("answers", 0, {"annotator": " "}, "answer 1 cannot be: An annotator needs a name"),
    "escape": ("answers", 0, {"annotator": "\x1b[2J"}, "answer 1 cannot be: The name of an annotator is one line of"),
    "long reason": ("answers", 0, {"reasons": ["x" * 65]}, "answer 1 cannot be: A reason is one line of at most 64"),
    "many reasons": ("answers", 0, {"reasons": ["x"] * 21}, "answer 1 cannot be: An answer has at most 20 reasons"),
    "long token": ("answers", 0, {"token": "x" * 65}, "answer 1 cannot be: A token is one line of at most 64"),
    "half": ("answers", 6, {"payload": r'{"said": "\ud800"}'}, "payload of an answer must be plain JSON"),
    "half context": ("queries", 0, {"context": r'{"said": "\ud800"}'}, "context of a query must be plain JSON"),
    "two lines": ("queries", 0, {"key": "0/train/0\n"}, "query 1 cannot be: The key of a query is one line"),
    "for nobody": ("queries", 4, {"only_for": ""}, "query 5 cannot be: An annotator needs a name"),
    "no query": ("answers", 0, {"query_id": 99}, "to query 99, which cannot be"),
    "another's": ("answers", 1, {"undoes": 4}, "row 2 undoes answer 4, which does not stand"),
    "second": ("answers", 1, {"undoes": None, "choice": "left"}, "answer 2 is ann's second one to query 1"),
    "token": ("answers", 1, {"token": "browser-1"}, "the token 'browser-1' does not name one answer alone"),
    "endless": ("answers", 0, {"answered_at": float("inf")}, "its answered_at is inf, which is no time"),
    "payload": ("answers", 6, {"payload": "3"}, "its payload is no JSON object, but 3"),
    "digest": ("segments", 0, {"digest": "0"}, "its observations, actions and absorbing steps do not have its digest"),
    "length": ("segments", 0, {"length": 5}, "its arrays have 4 and 4, 5 steps"),
    "layout": ("segments", 0, {"layout": "{}"}, "segments.parquet holds a row that makes no sense"),
    "dtype": (
        "segments",
        0,
        {"layout": '{"observations": {"dtype": "object", "shape": [4, 4]}}'},
        r"an array of object and shape \(4, 4\)",
    ),
    "shape": (
        "segments",
        0,
        {"layout": '{"observations": {"dtype": "float32", "shape": [4, 400]}}'},
        r"of shape \(4, 400\), but it holds 16 numbers in 4 steps",
    ),
    "other dtype": (
        "segments",
        0,
        {"layout": '{"observations": {"dtype": "float64", "shape": [4, 4]}}'},
        "of float64, but it holds float",
    ),
    "no column": ("segments", 0, {"layout": '{"clothes": {"dtype": "int8", "shape": [4]}}'}, "clothes"),
}


@pytest.mark.parametrize("damage", SENSELESS)
def test_rows_that_make_no_sense_are_refused_before_anything_is_stored(damage: str, exported: Path) -> None:
    table, row, values, match = SENSELESS[damage]
    change_row(exported, f"{table}.parquet", row, **values)
    refused(exported, match)


def test_a_table_that_would_fill_the_memory_is_refused_before_it_is_read(exported: Path) -> None:
    name, steps = "segments.parquet", 120_000_000
    table = pq.read_table(exported / name).slice(0, 1)
    absorbing = pa.ListArray.from_arrays(pa.array([0, steps], pa.int32()), pa.array(np.zeros(steps, np.bool_)))
    forged = table.set_column(table.schema.get_field_index("absorbing"), "absorbing", absorbing)
    pa.default_memory_pool().release_unused()
    pq.write_table(forged, exported / name, compression="zstd")
    change_manifest(exported, lambda content: files(content).update({name: describe_file(exported / name)}))
    assert (exported / name).stat().st_size < 20_000
    del forged, absorbing
    before = pa.total_allocated_bytes()
    peak = pa.default_memory_pool().max_memory()
    refused(exported, "segments.parquet is no export: a part of it takes [56][0-9][0-9] MiB of memory")
    assert pa.default_memory_pool().max_memory() == peak and pa.total_allocated_bytes() <= before


def forge(folder: Path, name: str, column: str, table: Any, values: Any) -> None:
    """Put a column of a dictionary into a table, whose file does not say that it was one."""
    place = table.schema.get_field_index(column)
    field = pa.field(column, values.type, nullable=table.schema.field(place).nullable)
    forged = table.set_column(place, field, values)
    with pq.ParquetWriter(folder / name, forged.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(forged)
    change_manifest(folder, lambda content: files(content).update({name: describe_file(folder / name)}))


def test_a_text_that_is_repeated_in_each_row_is_refused(exported: Path) -> None:
    text = json.dumps({"said": "x" * 5_000_000})
    for name, column in (("answers.parquet", "payload"), ("queries.parquet", "context")):
        kept = pq.read_table(exported / name)
        many = pa.concat_tables([kept.slice(0, 1)] * 2_000).combine_chunks()
        repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2_000, np.int32)), pa.array([text]))
        forge(exported, name, column, many, repeated)
        assert (exported / name).stat().st_size < 50_000
        refused(exported, f"{name} holds a row that makes no sense .*MiB, which is too much for a row")
        rewrite(exported, name, kept)


def test_frames_that_are_one_picture_many_times_are_added_up_before_they_are_copied(exported: Path) -> None:
    name, steps = "segments.parquet", 4_000
    table = pq.read_table(exported / name).slice(0, 1)
    picture = pa.DictionaryArray.from_arrays(pa.array(np.zeros(steps, np.int32)), pa.array([bytes(2_000_000)]))
    layout = {"frames": {"dtype": "uint8", "shape": [steps, 10, 10, 3]}}
    column = pa.ListArray.from_arrays(pa.array([0, steps], pa.int32()), picture)
    described = table.set_column(table.schema.get_field_index("layout"), "layout", pa.array([json.dumps(layout)]))
    forge(exported, name, "frames", described, column)
    assert (exported / name).stat().st_size < 50_000
    refused(exported, "its layout describes an array of 1200000 bytes, but it holds 8000000000")
