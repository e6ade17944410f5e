"""Evaluate a trained policy against others on the true reward, on seeds that training never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import JSONArguments, parse
from rlhf_envs.evaluation.episodes import FIRST_SEED
from rlhf_envs.evaluation.judging.session import check_same_environment
from rlhf_envs.evaluation.policies import POLICY_NAMES, SB3Policy, named_policy
from rlhf_envs.evaluation.returns import UNTRAINED, Evaluation, Scale, baselines, evaluate
from rlhf_envs.runs import RunDirectory, check_same_spaces
from rlhf_envs.terminal import TextTable, counted


@dataclass(frozen=True)
class Arguments:
    """Evaluate a trained policy against others on the true reward, on seeds that training never saw.

    The normalised score is 0% for the best policy that knows nothing of what people want: random actions, the constant
    action that earns most, the environment's scripted proxy policy, and runs that were trained on the proxy. It is
    100% for the first run that was trained by the same learner on the true reward; without one for the environment's
    scripted expert, or where it has none for the first other run. The line below the table says which. The last column
    is the proxy return, where the environment has one.

    Attributes:
        run_dir: the run to evaluate.
        against: what to compare it with: folders of other runs in the same environment, and the policies that need no
            training: random, idle (the constant action that earns most), and where the environment defines them
            expert and proxy.
        evaluation_episodes: how many each policy plays; all play the same ones.
        seed: episode i begins with seed + i.
        env_kwargs: arguments of the environment that differ from those of training, as JSON, such as
            '{"traffic": "dense"}', to see how the policy does where it has not been trained.
    """

    run_dir: Path
    against: tuple[str, ...] = ("random",)
    evaluation_episodes: int = 50
    seed: int = FIRST_SEED
    env_kwargs: JSONArguments = field(default_factory=dict)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    torch.set_num_threads(1)
    with one_sentence_errors():
        _print_table(parse(Arguments, arguments, prog="rlhf-envs evaluate"), Console())
    return 0


def _print_table(args: Arguments, console: Console) -> None:
    trained_in = RunDirectory(args.run_dir).read_environment()
    runs = [name for name in args.against if name not in POLICY_NAMES]
    for name in runs:
        check_same_environment(trained_in, RunDirectory(name))
    environment = replace(trained_in, kwargs={**trained_in.kwargs, **args.env_kwargs})
    if args.env_kwargs:
        check_same_spaces(trained_in, environment)
    played: dict[str, Any] = {"episodes": args.evaluation_episodes, "seed": args.seed}
    scores = baselines(environment, **played)
    for name in args.against:
        if name in POLICY_NAMES and name not in scores:
            scores[name] = evaluate(named_policy(name, args.seed), environment, **played)
    for name in (str(args.run_dir), *runs):
        scores[name] = evaluate(SB3Policy(RunDirectory(name).load_policy()), environment, **played)
    shown = {name: scores[name] for name in (str(args.run_dir), *args.against)}
    scale = _scale(scores, str(args.run_dir), runs)
    changed = "".join(f", {name}={value}" for name, value in args.env_kwargs.items())
    title = f"{environment.id}{changed}, {counted(args.evaluation_episodes, 'episode')}"
    console.print(*_text_table(shown, scale, title).fitted(console.width), sep="\n")
    if sentence := _scale_sentence(scale):
        console.print(sentence, highlight=False, markup=False)


def _scale(scores: Mapping[str, Evaluation], run: str, others: Sequence[str]) -> Scale:
    """The scale of true returns, from what the configurations of these runs say of them."""
    trained = {name: RunDirectory(name).read_settings() for name in (run, *others)}
    learner = trained[run].learner
    on_proxy = [name for name, it in trained.items() if it.reward == "proxy"]
    on_true = [name for name, it in trained.items() if (it.reward, it.learner) == ("true", learner)]
    scale = Scale.between(
        {name: scores[name].mean for name in (*UNTRAINED, *on_proxy) if name in scores},
        {name: scores[name].mean for name in (*on_true, "expert", *others) if name in scores},
    )
    assert scale is not None, "random actions can be evaluated everywhere"
    return scale


def _text_table(scores: Mapping[str, Evaluation], scale: Scale, title: str) -> TextTable:
    has_proxy = any(score.proxy_mean is not None for score in scores.values())
    columns = ["policy", "true return", "std", "95% interval", *(["normalised"] if scale.one_policy else [])]
    rows = []
    for name, score in scores.items():
        low, high = score.interval()
        cells = [name, f"{score.mean:.2f}", f"{score.std:.2f}", f"{low:.2f} to {high:.2f}"]
        if scale.one_policy:
            share = scale.score(score.mean)
            cells.append("" if share is None else f"{share:.0%}")
        rows.append([*cells, f"{score.proxy_mean:.2f}"] if has_proxy else cells)
    return TextTable(title, 1, [*columns, "proxy"] if has_proxy else columns, rows)


def _scale_sentence(scale: Scale) -> str:
    """What 0% and 100% are, where that is known."""
    if scale.one is None:
        return ""
    return f"0% is {scale.zero_policy}, {scale.zero:.2f}; 100% is {scale.one_policy}, {scale.one:.2f}."
