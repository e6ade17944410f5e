"""What fine-tuning a language model on preferences brings, with and without a KL penalty and pretraining."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from scipy.stats import t as student_t

from agents.config import RunConfig
from agents.presets import PROSE_TIMESTEPS
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.palette import LIGHT, css_colors
from rlhf_envs.envs.prose.language_model import (
    OWN,
    UNTRAINED,
    CausalModel,
    GrowingTexts,
    frozen_model,
    lengths_of,
)
from rlhf_envs.envs.prose.task import PROMPT, Prose
from rlhf_envs.observations import Transitions
from rlhf_envs.report.charts import STYLE, to_svg
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.runs import read_progress
from scripts.benchmarks import NOTHING, Log, figure, in_both_themes, markdown_table, require_positive
from scripts.benchmarks.cluster import finish_all
from scripts.benchmarks.runs import TrainingRun

ENVIRONMENT = "rlhf/Prose-v0"
ARMS = {
    "kl": "pretrained, KL penalty",
    "no-kl": "pretrained, no KL penalty",
    "scratch": "not pretrained",
}
"""What is trained on the same number of answers, by the name of its runs."""

_SEED_OF_TEXTS = 3_000_000
_COLORS = css_colors(LIGHT)
_LINES = {"kl": _COLORS["accent"], "no-kl": _COLORS["other-0"]}


@dataclass(frozen=True)
class ProseBenchmark:
    """Fine-tune the language model of `rlhf/Prose-v0` on the oracle's answers, and compare what it then writes.

    All policies go on with prompts that no training saw, drawing tokens from their probabilities. Runs that are in the
    folder already are used as they are, and one that was interrupted is resumed.

    Attributes:
        answers: of each run.
        timesteps: tokens that each run is trained on.
        longer: train the pretrained ones again, on so many times as many tokens but with the answers as early as
            before, to see where a reward leads that no answer mends any more; 0 does not.
        first_seed: of the runs; the others follow.
        seeds: how many runs of each kind.
        jobs: how many runs at a time, each in a process of its own.
        best_of: numbers of continuations by the untouched model, of which the best one counts.
        texts: prompts that each policy goes on with.
        printed: continuations, before and after, in the documentation.
    """

    name: ClassVar[str] = "prose"
    answers: int = 200
    timesteps: int = PROSE_TIMESTEPS
    longer: int = 2
    first_seed: int = 0
    seeds: int = 5
    jobs: int = 1
    best_of: tuple[int, ...] = (4, 16)
    texts: int = 128
    printed: int = 5

    def __post_init__(self) -> None:
        require_positive(self, "answers", "timesteps", "seeds", "jobs", "texts")
        if (
            self.longer < 0
            or self.longer == 1
            or min(self.best_of, default=2) < 2
            or not 0 <= self.printed <= self.texts
        ):
            raise ValueError(
                "longer is 0 or a factor of at least 2, best_of are numbers of at least 2, and printed is at most "
                f"texts, not {self.longer}, {self.best_of} and {self.printed}."
            )

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Do every run that has not been done yet; the figures of all.

        Raises:
            ValueError: if a folder holds another run; before any work is done.
            RunInterrupted: if it was stopped.
        """
        planned = {(arm, steps, seed): run for arm, steps, seed, run in self.plan(out / self.name)}
        finish_all(planned.values(), self.jobs, out, log)
        rows, printed = [], []
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            log(f"texts of seed {seed}")
            rows += self._untouched(planned["kl", self.timesteps, seed], seed)
            for (arm, steps, of), run in planned.items():
                if of == seed:
                    rows.append(self._trained(arm, steps, run, seed))
        first = planned["kl", self.timesteps, self.first_seed]
        models = {"before": frozen_model(OWN), "after": _model_of(first)}
        for name, model in models.items():
            printed.append({"policy": name, "texts": _written(model, self.printed, self.first_seed).spoken})
        return {"rows": rows, "printed": printed}

    def plan(self, folder: Path) -> Iterator[tuple[str, int, int, TrainingRun]]:
        """Every run with its arm, steps and seed, seed by seed, so that early results show all kinds."""
        kinds = [(arm, 1) for arm in ARMS]
        kinds += [(arm, self.longer) for arm in ("kl", "no-kl") if self.longer]
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            for arm, times in kinds:
                config = _configure(arm, self.timesteps, self.answers, seed, times)
                yield arm, config.timesteps, seed, TrainingRun(config, folder / f"{arm}-{config.timesteps}-{seed}")

    def _untouched(self, run: TrainingRun, seed: int) -> list[dict[str, Any]]:
        """What the model writes before any answer, and the best of several such texts by the learned reward of a run,
        and by the judge itself."""
        most = max(self.best_of, default=1)
        texts = _written(frozen_model(OWN), self.texts, seed, most)
        learned = _learned(_reward_model_of(run), texts)
        rows = [{"policy": "untouched", "seed": seed, **_summary(texts, learned)}]
        for count in self.best_of:
            for judge, scores in (("the learned reward", learned), ("the judge", texts.true)):
                among = scores.reshape(self.texts, most)[:, :count]
                best = np.arange(self.texts) * most + among.argmax(axis=1)
                name = f"untouched, best of {count} by {judge}"
                rows.append({"policy": name, "seed": seed, **_summary(texts.take(best), learned[best])})
        return rows

    def _trained(self, arm: str, steps: int, run: TrainingRun, seed: int) -> dict[str, Any]:
        reward, model = _reward_model_of(run), _model_of(run)
        texts = _written(model, self.texts, seed)
        before = _written(frozen_model(OWN), self.texts, seed)
        metrics = run.directory.read_metrics()
        return {
            "policy": arm,
            "steps": steps,
            "seed": seed,
            **_summary(texts, _learned(reward, texts)),
            "learned_of_untouched": float(_learned(reward, before).mean()),
            "kl": None if arm == "scratch" else _divergence(model, frozen_model(OWN), texts.tokens),
            "seconds": metrics["wall_seconds"],
            "accuracy": metrics.get("test_accuracy"),
            "curve": _after_last_answer(run),
        }

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """Returns and measures of all policies, and continuations before and after."""
        rows = measured["rows"]
        kinds = dict.fromkeys((row["policy"], row.get("steps")) for row in rows)
        shown = []
        for policy, steps in kinds:
            found = [row for row in rows if (row["policy"], row.get("steps")) == (policy, steps)]
            name = f"{ARMS[policy]}, {steps:,} tokens" if policy in ARMS else f"{policy}"
            shown.append(
                {
                    "policy": name,
                    "return by the judge": _interval([row["true"] for row in found]),
                    "learned return": _interval([row["learned"] for row in found]),
                    "of the untouched": _interval([row.get("learned_of_untouched") for row in found]),
                    "KL, nats a token": _interval([row.get("kl") for row in found]),
                    "valence": _interval([row["valence"] for row in found]),
                    "perplexity": figure(float(np.exp(np.mean([row["cross_entropy"] for row in found])))),
                    "distinct-2": _interval([row["distinct_2"] for row in found]),
                    "seq-rep-4": _interval([row["seq_rep_4"] for row in found]),
                    "seconds": _interval([row.get("seconds") for row in found]),
                }
            )
        seeds = sorted({row["seed"] for row in rows})
        texts = [
            {"prompt": before[0], "before": before[1], "after": after[1]}
            for before, after in zip(*(part["texts"] for part in measured["printed"]), strict=True)
        ]
        return (
            f"Training seeds {', '.join(map(str, seeds))}; means with 95% intervals of Student's t over seeds. The "
            "learned return is that by the reward model of the same run; for the untouched model and the best of its "
            "texts, by that of the run with a KL penalty.\n\n"
            f"{markdown_table(shown)}\n\n"
            "What the model makes of prompts that it has not seen, before and after (with a KL penalty, seed "
            f"{seeds[0]}):\n\n{markdown_table(texts) if texts else NOTHING}"
        )

    @staticmethod
    def draw(measured: dict[str, Any], folder: Path) -> dict[str, str]:
        """Write prose_kl.svg: learned and true return after the last answer, over steps and over KL."""
        longest = max((row["steps"] for row in measured["rows"] if row["policy"] in _LINES), default=0)
        runs = [row for row in measured["rows"] if row.get("steps") == longest and row["policy"] in _LINES]
        if not runs:
            return {}
        description = "Learned and true return with and without a KL penalty, over steps and over KL"
        with rc_context({**STYLE, "font.size": 9.5}):
            svg = to_svg(_curves(runs), "prose-kl", description)
        (folder / "prose_kl.svg").write_text(in_both_themes(svg), encoding="utf-8")
        return {"prose_kl.svg": description}


def _configure(arm: str, timesteps: int, answers: int, seed: int, times: int = 1) -> RunConfig:
    """The configuration of a run as `scripts.train` would make it from these flags.

    Args:
        arm: in `ARMS`.
        timesteps: in which the answers are given as early as the preset says.
        answers, seed: of the run.
        times: how many times as long it goes on.
    """
    config = RunConfig.for_environment(EnvironmentRef(ENVIRONMENT))
    settings, labels = config.learner_settings, config.labels
    return replace(
        config,
        labels=replace(labels, answers=answers, ask_until=labels.ask_until / times),
        timesteps=times * timesteps,
        seed=seed,
        run=replace(config.run, processes=False, kl_coef=config.run.kl_coef if arm == "kl" else 0.0),
        learner_settings=replace(settings, language_model=UNTRAINED) if arm == "scratch" else settings,
    )


@dataclass(frozen=True, eq=False)
class _Texts:
    """N continuations of T tokens.

    Attributes:
        observations: before each token, (N, T, window).
        tokens: prompt and continuation, (N, window).
        actions: the tokens of the continuation, (N, T).
        true: returns by the judge, (N,).
        measures: of the environment, (N,) each.
        spoken: prompt and continuation as they read, for each.
    """

    observations: NDArray[np.int64]
    tokens: NDArray[np.int64]
    actions: NDArray[np.int64]
    true: NDArray[np.float64]
    measures: Mapping[str, NDArray[np.float64]]
    spoken: Sequence[tuple[str, str]]

    def take(self, rows: NDArray[np.intp]) -> _Texts:
        """Some of them."""
        measures = {name: values[rows] for name, values in self.measures.items()}
        spoken = [self.spoken[row] for row in rows.tolist()]
        return _Texts(self.observations[rows], self.tokens[rows], self.actions[rows], self.true[rows], measures, spoken)


@torch.no_grad()
def _written(model: CausalModel, prompts: int, seed: int, each: int = 1) -> _Texts:
    """Go on `each` times with each of so many prompts of the test split, drawing tokens as they are probable."""
    generator = torch.Generator().manual_seed(_SEED_OF_TEXTS + seed)
    reading = GrowingTexts(model)
    env: Any = gym.make_vec(ENVIRONMENT, num_envs=prompts * each, split="test")
    with closing(env):
        task: Prose = env.unwrapped.task
        seeds = (_SEED_OF_TEXTS + seed * prompts + np.repeat(np.arange(prompts), each)).tolist()
        windows, seen, drawn, true = env.reset(seed=seeds)[0], [], [], np.zeros(prompts * each)
        for _ in range(task.horizon):
            likely = torch.softmax(model.logits(reading.read(windows)).float(), dim=1)
            actions = torch.multinomial(likely, 1, generator=generator).squeeze(1).numpy()
            seen.append(windows)
            drawn.append(actions)
            windows, _, _, _, info = env.step(actions)
            true += info["true_reward"]
    tokens = np.stack(info["final_obs"]).astype(np.int64)
    measures = {name: info["measures"][name] for name in task.measures}
    spoken = [(task.text(row[:PROMPT]), task.text(row[PROMPT:])) for row in tokens]
    return _Texts(np.stack(seen, axis=1), tokens, np.stack(drawn, axis=1), true, measures, spoken)


def _learned(reward: RewardEnsemble, texts: _Texts) -> NDArray[np.float64]:
    """The learned return of each text, (N,)."""
    count, length = texts.actions.shape
    after = np.concatenate([texts.observations[:, 1:], texts.tokens[:, None]], axis=1)
    ended = np.zeros((count, length), dtype=np.bool_)
    ended[:, -1] = True
    steps = Transitions(
        texts.observations.reshape(count * length, -1),
        texts.actions.reshape(-1),
        after.reshape(count * length, -1),
        ended.reshape(-1),
    )
    return reward.transition_reward(steps).reshape(count, length).sum(axis=1).astype(np.float64)


@torch.no_grad()
def _divergence(model: CausalModel, reference: CausalModel, tokens: NDArray[np.int64]) -> float:
    """KL(model || reference) in nats a token of the continuation, mean over texts (N, window) of the model."""
    found = []
    lengths = lengths_of(tokens, model.vocabulary)
    for row, length in zip(tokens, lengths.tolist(), strict=True):
        text = torch.from_numpy(row[None, : length - 1])
        own, other = (
            torch.log_softmax(each.logits(each.features(text)[0, PROMPT - 1 :]), dim=1) for each in (model, reference)
        )
        found.append(float((own.exp() * (own - other)).sum(dim=1).mean()))
    return float(np.mean(found))


def _summary(texts: _Texts, learned: NDArray[np.float64]) -> dict[str, float]:
    measures = {name: float(np.nanmean(values)) for name, values in texts.measures.items()}
    return {"true": float(texts.true.mean()), "learned": float(learned.mean()), **measures}


def _model_of(run: TrainingRun) -> CausalModel:
    """The language model inside the policy of a finished run."""
    policy: Any = run.directory.load_policy().policy
    model: CausalModel = policy.model.eval()
    return model


def _reward_model_of(run: TrainingRun) -> RewardEnsemble:
    found = run.directory.load_reward_model()
    assert found is not None
    return found


def _after_last_answer(run: TrainingRun) -> list[dict[str, float]]:
    """Steps, KL, learned and true return from the last fit on, since every fit gives the learned return a new scale."""
    rows = read_progress(run.directory.progress_path)
    last = rows[-1]["labels"]
    names = {"timesteps": "steps", "kl": "kl", "learned_return_mean": "learned", "true_return_mean": "true"}
    kept = [row for row in rows if row["labels"] == last][1:]
    return [{new: float(row[old]) for old, new in names.items() if row.get(old)} for row in kept]


def _interval(values: Sequence[float | None]) -> str:
    """Mean ± half the 95% interval of the mean over seeds, by Student's t; only the mean of a single seed."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    mean = figure(float(np.mean(known)))
    if len(known) < 2:
        return mean
    half = float(student_t.ppf(0.975, len(known) - 1) * np.std(known, ddof=1) / len(known) ** 0.5)
    return f"{mean} ± {figure(half)}"


def _curves(runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Learned return above, true return below; over steps on the left, over the square root of KL on the right."""
    drawn = Figure(figsize=(4.4, 4.2), layout="constrained")
    panels = drawn.subplots(2, 2, sharex="col", sharey="row")
    for row, (name, title) in enumerate((("learned", "learned return"), ("true", "return by the judge"))):
        panels[row, 0].set_ylabel(title)
        for arm, color in _LINES.items():
            curves = [run["curve"] for run in runs if run["policy"] == arm]
            for column, axis in enumerate(("steps", "kl")):
                _draw_means(
                    panels[row, column], curves, axis, name, color, ARMS[arm] if not row and not column else None
                )
    panels[1, 0].set_xlabel("tokens")
    panels[1, 0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g}k"))
    panels[1, 1].set_xlabel("√KL, nats a token")
    drawn.legend(loc="outside upper center", ncols=2)
    return drawn


def _draw_means(
    axes: Axes, curves: Sequence[Sequence[Mapping[str, float]]], axis: str, name: str, color: str, label: str | None
) -> None:
    """A faint line for each run, and over steps their mean."""
    for curve in curves:
        known = [point for point in curve if axis in point and name in point]
        across = np.array([point[axis] for point in known])
        across = np.sqrt(across) if axis == "kl" else across
        axes.plot(across, [point[name] for point in known], color=color, linewidth=0.7, alpha=0.45)
    steps = min((len(curve) for curve in curves), default=0)
    if steps:
        means = {
            key: np.mean([[point.get(key, np.nan) for point in curve[-steps:]] for curve in curves], axis=0)
            for key in (axis, name)
        }
        across = np.sqrt(means[axis]) if axis == "kl" else means[axis]
        axes.plot(across, means[name], color=color, linewidth=1.8, label=label)
