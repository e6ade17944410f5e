"""Export everything that was asked and answered as files that others can read, and import it into a store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.status import Status

from rlhf_envs.archive import PairsFile, export_pairs, export_store, import_archive, import_pairs
from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import parse
from rlhf_envs.runs import RunDirectory
from rlhf_envs.terminal import counted, time_left

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_UPDATES = 0.2


@dataclass(frozen=True)
class Export:
    """Write all answers with their segments and clips into a new folder: Parquet tables, mp4 films and a datasheet.

    Attributes:
        to: the folder to make.
        run_dir: the run whose answers are exported; give either this or --store.
        store: path or SQLAlchemy URL of a store that belongs to no run.
        clips: draw and encode a film of each segment; this takes most of the time.
        pseudonyms: write A1, A2, ... in place of people's names.
    """

    to: Path
    run_dir: Path | None = None
    store: str | None = None
    clips: bool = True
    pseudonyms: bool = False


@dataclass(frozen=True)
class Pairs:
    """Write answers as labelled pairs of segments, in a form that others read; without clips and simulator states.

    Attributes:
        to: a file that ends in .npz, with the keys of offline preference learning (observations, actions,
            observations_2, actions_2, labels); or else the folder to make, which Hugging Face's datasets reads.
        run_dir: the run whose answers are written; give either this or --store.
        store: path or SQLAlchemy URL of a store that belongs to no run.
        pseudonyms: write A1, A2, ... in place of people's names.
    """

    to: Path
    run_dir: Path | None = None
    store: str | None = None
    pseudonyms: bool = False


@dataclass(frozen=True)
class Import:
    """Put everything from an exported folder into a store; what the store has already is not stored twice.

    Labelled pairs, in a folder or an .npz, are put into a new store.

    Attributes:
        folder: the exported folder, or the pairs.
        store: path or SQLAlchemy URL; a new store is made if there is none.
    """

    folder: Annotated[Path, tyro.conf.arg(name="from")]
    store: str


Command = (
    Annotated[Export, tyro.conf.subcommand("export", prefix_name=False)]
    | Annotated[Pairs, tyro.conf.subcommand("pairs", prefix_name=False)]
    | Annotated[Import, tyro.conf.subcommand("import", prefix_name=False)]
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    with one_sentence_errors():
        args: Export | Pairs | Import = parse(Command, arguments, prog="rlhf-envs archive", description=__doc__)  # type: ignore[arg-type]
        if isinstance(args, Export):
            _export(args)
        elif isinstance(args, Pairs):
            counts = export_pairs(_store_of(args), args.to, pseudonyms=args.pseudonyms)
            pairs = ", ".join(f"{count:,} to {split}" for split, count in counts.items())
            print(f"Wrote {counted(sum(counts.values()), 'pair')} ({pairs}) to {args.to}")
        else:
            _import(args)
    return 0


def _store_of(args: Export | Pairs) -> str:
    """The place of the store that is to be exported."""
    if (args.run_dir is None) == (args.store is None):
        raise ValueError("Say what to export: either --run-dir with a run's folder, or --store with a store.")
    if args.run_dir is None:
        return args.store or ""
    directory = RunDirectory(args.run_dir)
    # Opened first because only the run's folder says whether the store is the run's.
    directory.open_store().close()
    return directory.store_place


def _export(args: Export) -> None:
    store = _store_of(args)
    console = Console(stderr=True)
    with console.status("reading") as status:
        manifest = export_store(
            store,
            args.to,
            clips=args.clips,
            pseudonyms=args.pseudonyms,
            on_segments=_progress(console, status, "clips made" if args.clips else "segments written"),
        )
    counts = manifest.counts
    print(
        f"Exported {counted(counts['queries'], 'query', 'queries')}, "
        f"{counted(counts['standing_answers'], 'standing answer')}, {counted(counts['segments'], 'segment')} and "
        f"{counted(counts['clips'], 'clip')} to {args.to}"
    )


def _progress(console: Console, status: Status, what: str) -> Callable[[int, int], None]:
    """Says how many are done: on a terminal in place, and in a file by a line now and then."""
    started_at = reported_at = time.monotonic()

    def report(done: int, all: int) -> None:
        nonlocal reported_at
        now = time.monotonic()
        if now - reported_at < (_SECONDS_BETWEEN_UPDATES if console.is_terminal else _SECONDS_BETWEEN_LINES):
            return
        reported_at = now
        left = time_left(now - started_at, done, all)
        line = f"{done:,} of {all:,} {what}{f', {left}' if left else ''}"
        if console.is_terminal:
            status.update(line)
        else:
            console.print(line, highlight=False, soft_wrap=True)

    return report


def _import(args: Import) -> None:
    pairs = PairsFile.find(args.folder)
    if pairs is not None:
        print(f"Imported {counted(import_pairs(pairs, args.store), 'pair')} into a new store")
        return
    report = import_archive(args.folder, args.store)
    known = f"{counted(report.known_queries, 'query', 'queries')} and {counted(report.known_answers, 'row')}"
    print(
        f"Imported {counted(report.queries, 'query', 'queries')} and "
        f"{counted(report.answers, 'row of answers', 'rows of answers')} into "
        f"{'a new store' if report.new_store else 'the store'}"
        + (f"; {known} were there already" if report.known_queries + report.known_answers else "")
    )
