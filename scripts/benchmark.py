"""Regenerate the figures of the documentation: learning, overhead, speed of the environments, cost of the reward."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.callbacks import RunInterrupted
from rlhf_envs.cli import INTERRUPTED, one_sentence_errors
from rlhf_envs.cli.flags import parse
from rlhf_envs.runs import PACKAGES, read_json, write_json
from rlhf_envs.versions import software_versions
from scripts.benchmarks import Benchmark, Illustrated, around_markers, write_between_markers
from scripts.benchmarks.annotators import Annotators
from scripts.benchmarks.budget import Ablation, BudgetCurves
from scripts.benchmarks.copies import Copies
from scripts.benchmarks.environments import Environments, Versions
from scripts.benchmarks.fits import Fits
from scripts.benchmarks.kinds import Kinds
from scripts.benchmarks.labelling import Labelling
from scripts.benchmarks.learning import Learning, ThirdParty, Variants
from scripts.benchmarks.overhead import Inference, Overhead
from scripts.benchmarks.prose import ProseBenchmark
from scripts.benchmarks.robustness import Robustness
from scripts.benchmarks.scale import Scale
from scripts.benchmarks.screens import Page, Window
from scripts.benchmarks.trivial import Trivial

DOCUMENTATION = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
RESULTS = "results.json"


@dataclass(frozen=True)
class All:
    """All that need no results of others and no hours: not ablation, budget, prose, third-party and such."""

    environments: Environments = field(default_factory=Environments)
    inference: Inference = field(default_factory=Inference)
    window: Window = field(default_factory=Window)
    page: Page = field(default_factory=Page)
    labelling: Labelling = field(default_factory=Labelling)
    overhead: Overhead = field(default_factory=Overhead)
    learning: Learning = field(default_factory=Learning)
    annotators: Annotators = field(default_factory=Annotators)


@dataclass(frozen=True)
class Arguments:
    """Measure, and write every number to results.json.

    Attributes:
        benchmark: what to measure.
        out: the folder for results.json and for the training runs; by default runs/benchmark- and the date. Sections of
            other benchmarks in an existing results.json stay as they are.
        write_docs: write the tables to docs/benchmarks.md, and pictures to docs/images.
    """

    benchmark: Annotated[
        All
        | Environments
        | Inference
        | Overhead
        | Learning
        | Annotated[BudgetCurves, tyro.conf.subcommand(name=BudgetCurves.name)]
        | Ablation
        | Kinds
        | Fits
        | Variants
        | Trivial
        | Versions
        | ThirdParty
        | Annotated[ProseBenchmark, tyro.conf.subcommand(name=ProseBenchmark.name)]
        | Annotators
        | Copies
        | Window
        | Page
        | Labelling
        | Scale
        | Robustness,
        tyro.conf.arg(name=""),
    ]
    out: Path = field(default_factory=lambda: Path("runs") / time.strftime("benchmark-%Y-%m-%d"))
    write_docs: bool = False


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with one_sentence_errors():
        parsed = parse(Arguments, arguments, "python -m scripts.benchmark", config=(tyro.conf.CascadeSubcommandArgs,))
        chosen = parsed.benchmark
        benchmarks: list[Benchmark] = (
            [getattr(chosen, part.name) for part in fields(All)] if isinstance(chosen, All) else [chosen]
        )
        for benchmark in benchmarks if parsed.write_docs else ():
            around_markers(DOCUMENTATION, benchmark.name)
        for benchmark in benchmarks:
            try:
                _measure(benchmark, parsed, shlex.join(["python", "-m", "scripts.benchmark", *arguments]))
            except (RunInterrupted, KeyboardInterrupt):
                print(f"Stopped. The same command with --out {parsed.out} continues.", file=sys.stderr)
                return INTERRUPTED
    return 0


def _measure(benchmark: Benchmark, parsed: Arguments, command: str) -> None:
    results = parsed.out / RESULTS
    sections = read_json(results) if results.exists() else {}
    started = time.time()
    measured = benchmark.measure(parsed.out, lambda line: print(f"[{benchmark.name}] {line}", file=sys.stderr))
    section = {
        "command": command,
        "settings": vars(benchmark),
        "date": time.strftime("%Y-%m-%d", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        "versions": software_versions(PACKAGES),
        "machine": {"architecture": platform.machine(), "cores": os.cpu_count()},
        **measured,
    }
    parsed.out.mkdir(parents=True, exist_ok=True)
    write_json(results, {**sections, benchmark.name: section})
    table = f"{benchmark.table(measured)}\n\n{_provenance(section)}"
    print(table)
    if isinstance(benchmark, Illustrated):
        benchmark.draw(measured, parsed.out)
    if parsed.write_docs:
        if isinstance(benchmark, Illustrated):
            images = DOCUMENTATION.parent / "images"
            images.mkdir(exist_ok=True)
            drawn = benchmark.draw(measured, images)
            table = "\n\n".join([*(f"![{text}]({images.name}/{name})" for name, text in drawn.items()), table])
        write_between_markers(DOCUMENTATION, benchmark.name, table)


def _provenance(section: dict[str, Any]) -> str:
    versions_found, machine = section["versions"], section["machine"]
    packages = ", ".join(
        f"{name} {versions_found[name]}" for name in ("torch", "stable-baselines3", "gymnasium", "numpy")
    )
    return (
        f"`{section['command']}`, {section['date']}: {packages}, Python {versions_found['python']} "
        f"on {machine['architecture']} with {machine['cores']} cores."
    )


if __name__ == "__main__":
    sys.exit(main())
