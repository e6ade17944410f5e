"""Damaged and forged files: stores, archives and run folders that are changed at random, and what the library says.

Each variant is a copy of something sound in which bytes, cells, rows or tables were changed, by accident or by somebody
who would like to make the library fail. Everything that reads it must work or end in one sentence: with an error that
the command line turns into one, without running anything that the file contains, and within bounds of memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rlhf_envs.archive import export_store, import_archive, import_records
from rlhf_envs.archive.records import StoreSnapshot
from rlhf_envs.cli import EXPECTED, sentence
from rlhf_envs.demonstrations import load_demonstrations
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.evaluation import SB3Policy, evaluate
from rlhf_envs.feedback import PreferenceStore, Purpose, Query
from rlhf_envs.feedback.progress import session_progress
from rlhf_envs.feedback.quality import print_quality, quality_report
from rlhf_envs.feedback.store import QUEUE
from rlhf_envs.feedback.store.asking import content_digest
from rlhf_envs.queries import Submission
from rlhf_envs.report.run_report import write_report
from rlhf_envs.rewards import InputEncoder, PreferenceDataset
from rlhf_envs.runs import RunDirectory, read_progress
from rlhf_envs.segments import Segment

_LENGTH = 4
_ENVIRONMENT = StoredEnvironment(EnvironmentRef("CartPole-v1"), _LENGTH)
_ESCAPE = "\x1b]0;owned\x07"
_HUGE = 2**63 - 1
_JUNK: tuple[Any, ...] = (
    *(None, -1, 0, 1, 3, 1.5, _HUGE, -(2**63), float("inf"), "", " ", "x", "left", "null", "0", "é", _ESCAPE),
    *("x" * 100_000, "[" * 5_000, '{"a": ' * 5_000, b"", b"\xff\xfe", b"x" * 1000, "[]", "{}", "[1]", "[null]"),
    *('"\\ud800"', '["\\ud800"]', '{"a": "\\ud800"}', "NaN", "[1e999]", '{"a": NaN}', '{"ranking": [1e300]}'),
    *('{"ratings": [null, 1]}', '{"repeats": 1e400}', '{"answer": {}}', '{"curve": {}}', "{", "true", "[[[[]]]]"),
    *('["' + "x" * 70 + '"]', json.dumps([_ESCAPE]), json.dumps({"a": 10**400}), "9" * 5000),
)
_NOT_TEXT = "CAST(x'80ff' AS TEXT)"

_sprung: list[bool] = []


def spring() -> str:
    """Called by whoever unpickles `TRAP`."""
    _sprung.append(True)
    return "sprung"


TRAP = f"c{__name__}\nspring\n(tR.".encode()
"""A pickle that calls `spring` where it is loaded as such."""

Damage = Callable[[Path, np.random.Generator], str]
Use = Callable[[Path], object]


@dataclass
class Tried:
    """How often something was tried, and what went wrong.

    Attributes:
        tried: variants.
        refused: those of them that something refused in a sentence.
        failures: of each variant that failed, what was changed and what happened.
    """

    tried: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)


def try_variants(sound: Path, folder: Path, count: int, seed: int, damage: Damage, uses: Mapping[str, Use]) -> Tried:
    """Damage copies of a sound file or folder, and use each in every way.

    Args:
        sound: what is copied.
        folder: for the copies, which are removed again.
        count: variants.
        seed: of what is changed.
        damage: changes a copy and says how.
        uses: what is done with each copy, by name; what a use makes, it makes beside the copy.
    """
    found = Tried()
    for number in range(-1, count):
        rng = np.random.default_rng([seed, max(number, 0)])
        place = folder / "variant"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        copy = place / sound.name
        if sound.is_dir():
            shutil.copytree(sound, copy)
        else:
            shutil.copy(sound, copy)
        if number < 0:  # where the sound one is refused, nothing would be found
            for use in uses.values():
                use(copy)
            continue
        what = damage(copy, rng)
        found.tried += 1
        refused, problems = False, []
        for name, use in uses.items():
            try:
                use(copy)
            except EXPECTED as error:
                refused = True
                if not sentence(error).isprintable():
                    problems.append(f"{name}: said what cannot be printed: {error!r}")
            except Exception as error:  # whatever it is, it is what is looked for
                problems.append(f"{name}: {type(error).__name__}: {error}"[:300])
        found.refused += refused
        if problems:
            found.failures.append(f"variant {number} ({what}): {'; '.join(problems)}")
    shutil.rmtree(folder / "variant", ignore_errors=True)
    return found


# Stores.


def fuzz_stores(folder: Path, count: int, seed: int = 0) -> Tried:
    """Damage copies of a store with queries and answers of every kind."""
    folder.mkdir(parents=True, exist_ok=True)
    sound = folder / "feedback.db"
    fill_store(sound)
    _loosen(sound)
    return try_variants(sound, folder, count, seed, damage_store, STORE_USES)


def fill_store(path: Path) -> None:
    """Make a store with queries of every kind and purpose, answers, undos, status messages and a person with a link."""
    from rlhf_envs.feedback.web.tokens import Tokens

    path.unlink(missing_ok=True)
    with PreferenceStore.create(path, _ENVIRONMENT) as store:
        asked = [
            Query("0/train/0", 0, _segments(2, 0), context={"average_return": 1.0, "horizon": 500}),
            Query("0/train/1", 0, _segments(3, 2), "ranking"),
            Query("0/train/2", 0, _segments(1, 5), "rating"),
            Query("0/train/3", 0, _segments(2, 6), "strength"),
            Query("0/test/0", 0, _segments(2, 8), purpose=Purpose.TEST),
            Query("1/train/0", 1, _segments(2, 10)),
            Query("check/ann/1", 0, _segments(2, 0), purpose=Purpose.CHECK, context={"repeats": 1}, only_for="ann"),
            Query("practice/ann/0", 0, _segments(2, 12), purpose=Purpose.PRACTICE, context={"answer": "left"}),
        ]
        ids = store.ask(asked, wanted=2)
        for name in ("ann", "bob"):
            store.assign(name, [id for id, query in zip(ids, asked, strict=True) if query.only_for in (None, name)])
        payloads: list[tuple[str | None, dict[str, Any] | None]] = [
            *(("left", None), (None, {"ranking": [2, 0, 1]}), (None, {"ratings": [0.5] * _LENGTH})),
            *(("right", {"strength": "clearly"}), ("tie", None), ("skip", None), ("left", None), ("right", None)),
        ]
        for id, (choice, payload) in zip(ids, payloads, strict=True):
            store.answer(id, "ann", choice, payload=payload, shown_at=10.0, answered_at=12.0, token=f"token-{id}")
        store.answer(ids[0], "bob", "right", reasons=["upright"], shown_at=20.0, answered_at=21.0)
        store.undo("ann")
        store.post_status("training", {"state": "training", "curve": [[1, 2.0, 0.5]], "labels": 5, "budget": 20})
        store.post_status("owner_requests", {"paused": False, "extra_answers": 3})
        Tokens(store).create("ann")


def _segments(count: int, seed: int) -> tuple[Segment, ...]:
    made = []
    for place in range(count):
        rng = np.random.default_rng([seed, place])
        observations = rng.normal(size=(_LENGTH, 4)).astype(np.float32)
        states = rng.normal(size=(_LENGTH, 4))
        made.append(Segment(observations, rng.integers(2, size=_LENGTH), observations[:, 0].copy(), states))
    return tuple(made)


def _loosen(path: Path) -> None:
    """Take away what the database itself would refuse."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'")
        raw.execute("PRAGMA writable_schema = RESET")
        raw.execute("VACUUM")


def damage_store(path: Path, rng: np.random.Generator) -> str:
    """Change a cell, a segment, bytes, a row, a table or a column of a store; what was changed."""
    way = str(rng.choice(["cell"] * 8 + ["segment"] * 3 + ["bytes", "cut", "row", "table", "column"]))
    if way == "bytes":
        return damage_bytes(path, rng)
    if way == "cut":
        return cut_file(path, rng)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        tables = [row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = [name for name in tables if not name.startswith("sqlite_")]
        table = str(rng.choice(tables))
        columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
        column = str(rng.choice(columns))
        if way == "segment":
            return _forge_segment(raw, rng)
        if way == "table":
            raw.execute(f"DROP TABLE {table}")
            return f"no table {table}"
        if way == "column":
            raw.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO other_column")
            return f"no column {table}.{column}"
        rows = [row[0] for row in raw.execute(f"SELECT rowid FROM {table}")]
        if not rows:
            return f"nothing in {table}"
        row = int(rng.choice(rows))
        if way == "row":
            raw.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
            return f"no row {row} in {table}"
        number = int(rng.integers(len(_JUNK) + 1))
        with suppress(sqlite3.Error):  # a key of that value is there already, or must be a number
            if number == len(_JUNK):
                raw.execute(f"UPDATE {table} SET {column} = {_NOT_TEXT} WHERE rowid = ?", (row,))
                return f"{table}.{column} of row {row} is no text"
            raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (_JUNK[number], row))
        junk = _JUNK[number] if number < len(_JUNK) else None
        return f"{table}.{column} of row {row} = {repr(junk)[:40]}"


def _forge_segment(raw: sqlite3.Connection, rng: np.random.Generator) -> str:
    """Put something else in place of a segment, under its own digest, as somebody would who writes a store by hand."""
    from safetensors.numpy import save

    rows = [row[0] for row in raw.execute("SELECT id FROM segments")]
    id = int(rng.choice(rows))
    steps = int(rng.choice([0, 1, _LENGTH, 7]))
    tensors: dict[str, Any] = {
        "observations": np.zeros((steps, int(rng.choice([0, 4, 9]))), str(rng.choice(["float32", "int64", "float16"]))),
        "actions": np.zeros(steps, str(rng.choice(["int64", "float64", "bool"]))),
        "true_rewards": np.full(
            steps, rng.choice([0.0, np.nan, np.inf]), str(rng.choice(["float32", "float64", "int8"]))
        ),
        "states": np.full((steps, int(rng.choice([0, 4, 5]))), rng.choice([0.0, np.nan, 1e300])),
    }
    way = str(rng.choice(["shape", "lack", "scalar", "frames", "bomb", "absorbing", "flip", "other"]))
    if way == "lack":
        del tensors[str(rng.choice(list(tensors)))]
    elif way == "scalar":
        tensors[str(rng.choice(list(tensors)))] = np.array(1.0)
    elif way == "shape":
        tensors[str(rng.choice(list(tensors)))] = np.zeros((3, 2, 2), np.float32)
    elif way in ("frames", "bomb"):
        shape = (
            [steps, 2, 2, 3] if way == "frames" else [int(side) for side in rng.choice([2**20, 2**40, -1, 4], 3)] + [3]
        )
        tensors["frames_zlib"] = np.frombuffer(_ZEROS, np.uint8)
        tensors["frames_shape"] = np.array(shape, str(rng.choice(["int64", "float64"])))
    elif way == "absorbing":
        tensors["absorbing"] = np.arange(steps) % 2 == 0
    content = bytearray(save(tensors))
    if way == "flip":
        for place in rng.integers(len(content), size=3):
            content[place] = int(rng.integers(256))
    if way == "other":
        content = bytearray(TRAP)
    digest = content_digest(bytes(content))
    with suppress(sqlite3.Error):
        raw.execute("UPDATE segments SET content = ?, digest = ? WHERE id = ?", (bytes(content), digest, id))
    return f"segment {id} forged ({way}, {steps} steps)"


def _zeros() -> bytes:
    import zlib

    return zlib.compress(bytes(2**20), 9)


_ZEROS = _zeros()


def damage_bytes(path: Path, rng: np.random.Generator) -> str:
    """Change some bytes of a file."""
    content = bytearray(path.read_bytes())
    if not content:
        return "an empty file"
    places = rng.integers(len(content), size=int(rng.choice([1, 4, 64])))
    for place in places:
        content[place] = int(rng.integers(256))
    path.write_bytes(bytes(content))
    return f"{len(places)} bytes of {path.name}"


def cut_file(path: Path, rng: np.random.Generator) -> str:
    """Cut a file short."""
    content = path.read_bytes()
    length = int(rng.integers(len(content) + 1)) if len(content) else 0
    path.write_bytes(content[:length])
    return f"{path.name} cut to {length} bytes"


def _read_everything(path: Path) -> None:
    with PreferenceStore.open(path) as store:
        store.read_since(0)
        store.live_answers()
        store.queries()
        for purpose in Purpose:
            store.keys(purpose)
        session_progress(store.tally("ann"), store.counts(), store.statuses(), QUEUE).training_text()
        for query in store.queries():
            store.segments(query.segment_ids)


def _answer(path: Path) -> None:
    with PreferenceStore.open(path) as store:
        for query in store.take_many("eve", 3):
            store.answer_many([Submission(query.id or 0, "eve", None, payload={"ranking": [0, 1]})])
        store.undo("ann")
        store.release("eve")


def _report(path: Path) -> None:
    with PreferenceStore.open(path) as store:
        written = io.StringIO()
        print_quality(quality_report(store.live_answers()), Console(file=written))
    if _ESCAPE in written.getvalue():
        raise AssertionError("a terminal escape reached the report")


def _dashboard(path: Path) -> None:
    from rlhf_envs.feedback.web.dashboard import OverviewCache, _figures
    from rlhf_envs.feedback.web.tokens import Tokens

    with PreferenceStore.open(path) as store:
        overview = OverviewCache(store, QUEUE).read()
        overview.progress("ann").idle_text()
        for person in Tokens(store).people():
            _figures(overview, person.name, True)
        for name in overview.tallies:
            _figures(overview, name, False)


def _learn(path: Path) -> None:
    env = _ENVIRONMENT.required.make()
    with PreferenceStore.open(path) as store:
        dataset = PreferenceDataset(InputEncoder(env.observation_space, env.action_space))
        dataset.add_answers(store.live_answers(), store)


def _draw(path: Path) -> None:
    from rlhf_envs.clips import clip_painter

    with PreferenceStore.open(path) as store:
        painter = clip_painter(store.environment.required, (60, 40))
        for query in store.queries()[:2]:
            painter.frames(query.segments[0])


def _export(path: Path) -> None:
    export_store(path, path.parent / "exported", clips=False)


def _copy(path: Path) -> None:
    from rlhf_envs.archive.reading import check_records

    with StoreSnapshot(path) as snapshot:
        check_records(snapshot)
        import_records(snapshot, path.parent / "copy.db")


STORE_USES: dict[str, Use] = {
    "reading": _read_everything,
    "answering": _answer,
    "report": _report,
    "dashboard": _dashboard,
    "learning": _learn,
    "drawing": _draw,
    "export": _export,
    "copying": _copy,
}
"""What is done with each damaged store."""


# Archives.


def fuzz_archives(folder: Path, count: int, seed: int = 0) -> Tried:
    """Damage copies of an archive, and import them."""
    folder.mkdir(parents=True, exist_ok=True)
    store, sound = folder / "feedback.db", folder / "archive"
    fill_store(store)
    shutil.rmtree(sound, ignore_errors=True)
    export_store(store, sound, clips=False)
    return try_variants(sound, folder, count, seed, damage_archive, {"import": _import})


def _import(folder: Path) -> None:
    import_archive(folder, folder.parent / "imported.db")


def damage_archive(folder: Path, rng: np.random.Generator) -> str:
    """Change a cell, bytes or the manifest of an archive, and mostly let the manifest agree."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = str(rng.choice(["queries.parquet", "answers.parquet", "segments.parquet", "manifest.json"]))
    if name == "manifest.json":
        return damage_json(folder / name, rng)
    way = str(rng.choice(["cell"] * 6 + ["bytes", "cut", "many"]))
    if way in ("bytes", "cut"):
        what = (damage_bytes if way == "bytes" else cut_file)(folder / name, rng)
    else:
        table = pq.read_table(folder / name)
        rows = table.to_pylist()
        row, column = int(rng.integers(len(rows))), str(rng.choice(table.schema.names))
        junk = _JUNK[int(rng.integers(len(_JUNK)))]
        what = f"{column} of row {row} of {name} = {repr(junk)[:40]}"
        if way == "many":
            rows = rows[row : row + 1] * 5_000
            row, what = 0, f"{what}, the first of 5,000"
        rows[row] = {**rows[row], column: junk}
        written = io.BytesIO()
        with suppress(pa.ArrowException, TypeError, ValueError, OverflowError):  # junk that no column can hold
            pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), written)
            (folder / name).write_bytes(written.getvalue())
    if rng.random() < 0.9:
        _agree(folder, name)
    return what


def _agree(folder: Path, name: str) -> None:
    """Let the manifest describe a file as it is now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / name).read_bytes()
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def damage_json(path: Path, rng: np.random.Generator) -> str:
    """Change a value somewhere in a JSON file, or its bytes."""
    if rng.random() < 0.2:
        return (damage_bytes if rng.random() < 0.5 else cut_file)(path, rng)
    content: Any = json.loads(path.read_text())
    inner, trail = content, []
    while True:
        keys: Sequence[Any] = list(inner) if isinstance(inner, dict) else range(len(inner))
        if not len(keys):
            break
        key = keys[int(rng.integers(len(keys)))]
        trail.append(str(key))
        if isinstance(inner[key], dict | list) and len(inner[key]) and rng.random() < 0.8:
            inner = inner[key]
            continue
        junk = _JSON_JUNK[int(rng.integers(len(_JSON_JUNK)))]
        if rng.random() < 0.1:
            del inner[key]
            trail.append("removed")
        else:
            inner[key] = junk
            trail.append(repr(junk)[:30])
        break
    path.write_text(json.dumps(content))
    return f"{path.name}: {' '.join(trail)}"


_JSON_JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "x", "../../x", _ESCAPE, "\ud800", [], {}, [[]]),
    *({"a": 1}, [1, 2], "x" * 10_000, [0] * 1000, 2**40, 2**63, -(2**40), "Box", "float32", [2**40], [10**9, 10**9]),
)


# Run folders.


def fuzz_folders(sound: Path, folder: Path, count: int, seed: int = 0) -> Tried:
    """Damage copies of the folder of a finished run.

    Args:
        sound: the folder.
        folder: for the copies.
        count: variants.
        seed: of what is changed.
    """
    _sprung.clear()
    found = try_variants(sound, folder, count, seed, damage_folder, FOLDER_USES)
    if _sprung:
        found.failures.append("something that a file contained was run")
    return found


def damage_folder(folder: Path, rng: np.random.Generator) -> str:
    """Change a file of a run's folder, or what is inside one that is an archive of others."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".html", ".mp4", ".db"))
    files = [
        path for path in files if path.name != "lock" and not {"tensorboard", "checkpoints", "report"} & set(path.parts)
    ]
    path = files[int(rng.integers(len(files)))]
    way = str(rng.choice(["inside"] * 5 + ["bytes", "cut", "gone", "pickle"]))
    if way == "gone":
        path.unlink()
        return f"no {path.name}"
    if way == "pickle":
        path.write_bytes(TRAP)
        return f"{path.name} is a pickle"
    if way == "cut":
        return cut_file(path, rng)
    if way == "inside" and path.suffix == ".json":
        return damage_json(path, rng)
    if way == "inside" and path.suffix in (".zip", ".pt", ".pth"):
        return _damage_inside_zip(path, rng)
    return damage_bytes(path, rng)


def _damage_inside_zip(path: Path, rng: np.random.Generator) -> str:
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    name = str(rng.choice(sorted(members)))
    way = str(rng.choice(["pickle", "bytes", "gone", "empty"]))
    if way == "pickle":
        members[name] = TRAP
    elif way == "bytes" and members[name]:
        content = bytearray(members[name])
        for place in rng.integers(len(content), size=4):
            content[place] = int(rng.integers(256))
        members[name] = bytes(content)
    elif way == "gone":
        del members[name]
    else:
        members[name] = b""
    with zipfile.ZipFile(path, "w") as target:
        for each, content_of in members.items():
            target.writestr(each, content_of)
    return f"{name} in {path.name}: {way}"


def _read_settings(folder: Path) -> None:
    run = RunDirectory(folder)
    run.read_settings()
    run.read_versions()
    read_progress(run.progress_path)


def _read_metrics(folder: Path) -> None:
    RunDirectory(folder).read_metrics()


def _open_store(folder: Path) -> None:
    RunDirectory(folder).open_store().close()


def _act(folder: Path) -> None:
    run = RunDirectory(folder)
    environment = run.read_environment()
    evaluate(SB3Policy(run.load_policy()), environment, episodes=1, seed=0)


def _score(folder: Path) -> None:
    run = RunDirectory(folder)
    model = run.load_reward_model()
    if model is not None:
        with run.open_store() as store:
            segment = store.queries()[0].segments[0]
        model.reward(segment.observations, segment.actions)


def _demonstrations(folder: Path) -> None:
    path = RunDirectory(folder).demonstrations_path
    if path.exists():
        demonstrations = load_demonstrations(path)
        env = demonstrations.environment.make()
        demonstrations.check_fits(env.observation_space, env.action_space)
        env.close()


def _write_report(folder: Path) -> None:
    write_report(RunDirectory(folder))


FOLDER_USES: dict[str, Use] = {
    "settings": _read_settings,
    "metrics": _read_metrics,
    "store": _open_store,
    "acting": _act,
    "scoring": _score,
    "demonstrations": _demonstrations,
    "report": _write_report,
}
"""What is done with each damaged folder of a run."""
