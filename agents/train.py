"""The training run: roll out, select, ask, read answers, fit, improve; then evaluate and report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import gymnasium as gym
import torch
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import get_device

from agents.callbacks import EarlyEndCallback, ProgressCallback, RunInterrupted, StopRequest, stopped_by_alarm
from agents.config import ASK_PEOPLE, RunConfig
from agents.fresh_policy import fresh_config, train_afresh, why_afresh
from agents.judging import answers_for_judging, choose_policy, unasked_comparisons
from agents.offline import check_answers_fit, open_answers, shows_terminations
from agents.people import open_screen
from agents.pretraining import PretrainConfig, check_pretrainable, pretrain
from agents.reuse import initial_model, load_reward_model
from agents.tracking import check_tracker, tracking
from agents.training import ResumableTraining
from rlhf_envs.cli.flags import check_screen
from rlhf_envs.copies import CopiesInProcesses
from rlhf_envs.demonstrations import Demonstrations, resolve
from rlhf_envs.demonstrations.sources import EXPERT
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.evaluation import (
    AnyPolicy,
    Measurements,
    ModelScores,
    SB3Policy,
    baselines,
    evaluate,
)
from rlhf_envs.evaluation.returns import drawn_metrics, return_metrics
from rlhf_envs.evaluation.reward_model import REWARD_MODEL, correlation_metrics, measured_correlation
from rlhf_envs.feedback import PreferenceStore, StoreMissingError
from rlhf_envs.feedback.annotators.demonstrator import Demonstrator
from rlhf_envs.learners import find_learner
from rlhf_envs.learners.normaliser import normalised, save_normaliser
from rlhf_envs.learners.off_policy import OffPolicyConfig, check_memory
from rlhf_envs.loop import about_clips
from rlhf_envs.report import write_report
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.runs import RunDirectory, write_json
from rlhf_envs.sb3 import (
    EnvironmentRewardCallback,
    KLPenalty,
    NothingAskedError,
    PreferenceCallback,
    PreferenceVecEnv,
    ScoringCallback,
    SideRollouts,
    make_vec_env,
    reward_sink,
)

_EXPERT_EPISODES = 10
_IMITATION_NOISE = 0.1
_SHARE_DRAWN = 0.25
"""Of the episodes of an evaluation, how many more show the policy by drawn actions."""


def train(
    config: RunConfig, directory: RunDirectory, console: Console, resume: bool = False, report: bool = True
) -> dict[str, Any]:
    """Train a policy, evaluate it, and write everything into the run's folder; the figures, as in metrics.json.

    In each turn of `model.learn` the policy rolls out; then the callback `scoring` selects queries, asks, reads
    answers, fits the reward, and writes rewards into the learner's buffer; then the learner improves the policy.

    Args:
        config: the run; with `resume` the one that the folder holds.
        directory: an existing run directory.
        console: for progress and messages.
        resume: go on from the newest checkpoint, or from the beginning where there is none yet.
        report: whether to write report.html, which takes a few seconds.

    Raises:
        ValueError, StoreError, OSError: if the run cannot go on; it can be resumed once the cause is mended.
        RunInterrupted: if the run was asked to stop; it can be resumed.
    """
    config = config.settled()
    torch.set_num_threads(config.run.threads)
    environment, stop = config.required_environment, StopRequest()
    with directory.locked(), ExitStack() as cleanup:
        env, model = build(config)
        cleanup.callback(env.close)
        progress = ProgressCallback(config.timesteps, console, stop)
        reserved = answers_for_judging(config, model)
        scoring = progress.scoring = build_scoring(config, directory, env, progress, reserved)
        cleanup.callback(scoring.close)
        scoring.kl = kl_penalty(config, model)
        if isinstance(scoring, PreferenceCallback):
            scoring.connect(reward_sink(model, env, scoring.kl))
            # A second policy may follow, until which the screens stay.
            scoring.tells_end = False
        training = ResumableTraining(config, directory, model, scoring, progress, stop, directory.checkpoints_path)
        resumed = resume and training.restore()
        if resumed and not env.can_restore:
            progress.message(f"The state of {environment.id} cannot be restored, so its copies begin new episodes.")
        if not resumed:
            progress.message(config.about_settings())
        if config.run.pretrain > 0 and not resumed:
            progress.before = _pretrain(config, model)
            if scoring.kl is not None:
                scoring.kl.freeze()
        tracked = cleanup.enter_context(
            tracking(config.run.tracker, config.run.tracker_project, directory, config.to_json())
        )
        callbacks = [*tracked.callbacks]
        for note in env.notes:
            progress.message(f"{environment.id}: {note}")
        if _leaves_masks_unused(config.learner, env):
            progress.message(
                f"{environment.id} says which actions are allowed (action_masks), which {config.learner} does not ask; "
                "--learner maskable-ppo does."
            )
        if not environment.is_native:
            callbacks.append(EarlyEndCallback(environment, env.horizon, progress.message))
            if config.reward == "learned" and config.offline is None and not resumed:
                progress.message(about_clips(environment, config.labels.steps))
        wait_until_read = None
        if config.asks_people:
            screen = open_screen(config.feedback, directory.path, console, stop.also_when, config.page)
            wait_until_read = cleanup.enter_context(screen)
        with _told_to_annotators(scoring):
            training.run(directory.tensorboard_path, directory.progress_path, callbacks, tracked.writers)
            spent, reason = progress.state(), why_afresh(config, model, scoring)
            spent["env_steps_per_second"] = model.num_timesteps / spent["wall_seconds"]
            if reason is not None:
                assert isinstance(scoring, PreferenceCallback)
                progress.message(reason)
                model, spent = _best_of_two(config, directory, model, scoring, spent, console, stop, cleanup)
                progress.message(spent["fresh_policy"]["about"])
        save_normaliser(model, directory.normaliser_path)
        model.save(directory.policy_path)
        metrics = _metrics(config, directory, model, scoring, spent)
        if isinstance(scoring, PreferenceCallback) and (unasked := unasked_comparisons(scoring.loop)):
            metrics["unasked_comparisons"] = unasked
        write_json(directory.metrics_path, metrics)
        tracked.finish(metrics)
        if report:
            write_report(directory)
        if wait_until_read is not None:
            wait_until_read()
    return metrics


@contextmanager
def _told_to_annotators(scoring: ScoringCallback) -> Iterator[None]:
    """Tell the screens of annotators how all that the context trains has ended."""
    status = scoring.loop.status if isinstance(scoring, PreferenceCallback) else None
    try:
        yield
    except RunInterrupted:
        if status is not None:
            status.report("stopped", immediately=True)
        raise
    if status is not None:
        status.report("stopped" if stopped_by_alarm(scoring) else "finished", immediately=True)


def _best_of_two(
    config: RunConfig,
    directory: RunDirectory,
    first: BaseAlgorithm,
    scoring: PreferenceCallback,
    spent: dict[str, Any],
    console: Console,
    stop: StopRequest,
    cleanup: ExitStack,
) -> tuple[BaseAlgorithm, dict[str, Any]]:
    """Train a second policy on the final reward; the better of the two, and what both have taken.

    Args:
        config, directory: of the run.
        first: the policy that was trained while answers came in.
        scoring: what it was trained by; its reward model is what the second one is trained on.
        spent: what that has taken.
        console, stop: of the run.
        cleanup: closes the second training's environment in the end, as its policy still acts there.
    """
    settings = fresh_config(config)
    env, fresh = build(settings)
    cleanup.callback(env.close)
    kl = kl_penalty(settings, fresh)
    imitate = partial(_pretrain, settings, fresh) if config.run.pretrain > 0 else None
    loop = scoring.loop
    # Nobody is needed meanwhile, so that a window that is closed ends nothing.
    with stop.ignoring_conditions():
        again = train_afresh(settings, directory, env, fresh, loop, kl, console, stop, imitate)
    began = time.perf_counter()
    choice, waited = choose_policy(config, loop, scoring.env.recorder, first, fresh, console, stop)
    again["wall_seconds"] += time.perf_counter() - began
    again["wait_seconds"] = again.get("wait_seconds", 0.0) + waited
    seconds = {name: value + again.get(name, 0.0) for name, value in spent.items() if name.endswith("_seconds")}
    figures = {**asdict(choice), "about": str(choice), "wall_seconds": again["wall_seconds"]}
    return fresh if choice.kept == "fresh" else first, {**spent, **seconds, "fresh_policy": figures}


def _leaves_masks_unused(learner: str, env: PreferenceVecEnv) -> bool:
    """Whether the environment has masks of actions that a learner of this package does without."""
    if learner == "maskable-ppo" or ":" in learner or env.ref is None or env.ref.is_native:
        return False
    return not isinstance(env.env.unwrapped, CopiesInProcesses) and env.has_attr("action_masks")


def check_settings(config: RunConfig) -> None:
    """Find out whether a run can be built from its configuration, on one or two copies of the environment.

    Raises:
        ValueError: if there is no such environment, it does not take these arguments, its spaces are not supported,
            segments do not fit its episodes, the demonstrations do not fit it, or people are asked for nothing.
        RuntimeError: if people are to answer, and this machine cannot show them anything.
    """
    environment = config.required_environment
    config = config.settled()
    check_tracker(config.run.tracker)
    if config.run.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "--device cuda needs a GPU that PyTorch can use, and it finds none; --device auto asks it first."
        )
    trial = find_learner(config.learner).for_trial(config.learner_settings)
    try:
        env, model = build(replace(config, learner_settings=trial, run=replace(config.run, processes=False)))
        with closing(env):
            spaces = env.observation_space, env.action_space
            encoder = RewardEnsemble(*spaces, config.ensemble, config.seed, absorbing=env.terminates).encoder
            if config.offline is not None:
                check_answers_fit(config.offline, environment.id, encoder)
            if isinstance(config.learner_settings, OffPolicyConfig):
                check_memory(config.learner_settings, env.observation_space, config.timesteps)
            if config.reward_model is not None:
                load_reward_model(config.reward_model).check_fits(*spaces, env.terminates)
            if config.reward == "learned":
                config.labels.check_annotator(config.annotator())
                config.labels.check_fits(env.horizon, config.learner_settings.num_envs)
                for variant in config.labels.variant:
                    SideRollouts(env, config.labels.steps, variant=variant, copies=1).close()
            kl_penalty(config, model)
            if config.run.pretrain > 0:
                check_pretrainable(model)
                # An expert can act as often as wanted; whether a file has enough episodes shows only when it is read.
                count = 1 if config.run.demonstrations == EXPERT else config.run.pretrain
                found = resolve(config.run.demonstrations, environment, count, config.seed)
                found.check_fits(encoder.observation_space, encoder.action_space)
            if preferred := _preferred_demonstrations(config):
                preferred.check_fits(encoder.observation_space, encoder.action_space)
                Demonstrator(preferred, config.labels.steps)
    except (AssertionError, KeyError, TypeError, gym.error.Error) as error:
        # Stable-Baselines3 and third-party environments refuse arguments by many kinds of exception.
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(f"{environment.id} cannot be trained on with these settings: {reason}.") from error
    if config.reward != "learned" and config.feedback in ASK_PEOPLE:
        raise ValueError(
            f"--reward {config.reward} learns nothing from people, who are asked with --feedback {config.feedback}; "
            "leave one of them out."
        )
    if config.asks_people:
        check_screen(config.feedback)


def build(config: RunConfig) -> tuple[PreferenceVecEnv, BaseAlgorithm]:
    """The copies of the environment that a run trains on, and its learner's algorithm, untrained.

    Raises:
        ValueError: if there is no such environment, or it does not take these arguments.
    """
    env = make_vec_env(
        paid_environment(config.required_environment, config.reward),
        config.learner_settings.num_envs,
        config.seed,
        processes=config.run.processes,
        capacity_steps=4 * config.settled().labels.steps,
        frames=config.needs_pictures,
        hide_reward=config.reward == "learned",
    )
    settings = config.learner_settings
    try:
        seen = normalised(env, settings, rewards=config.reward != "learned")
        return env, find_learner(config.learner).build(seen, settings, config.seed, config.run.device)
    except BaseException:
        env.close()
        raise


def paid_environment(environment: EnvironmentRef, reward: str) -> EnvironmentRef:
    """The environment with the objective that a run trains on.

    Args:
        environment: as the user names it.
        reward: "learned", "true" or "proxy".

    Raises:
        ValueError: if the proxy is wanted of an environment that has none, or the objective is given in another way.
    """
    if "objective" in environment.kwargs:
        raise ValueError("Leave objective out of --env-kwargs; --reward true or --reward proxy says what is paid.")
    if reward != "proxy":
        return environment
    if not environment.is_native:
        raise ValueError(f"{environment.id} has no proxy reward; only the suite's own environments do.")
    return replace(environment, kwargs={**environment.kwargs, "objective": "proxy"})


def build_scoring(
    config: RunConfig, directory: RunDirectory, env: PreferenceVecEnv, progress: ProgressCallback, reserved: int = 0
) -> ScoringCallback:
    """What fills in the rewards of a rollout: the learned reward, or as a baseline the environment's.

    Args:
        config, directory, env, progress: of the run.
        reserved: answers of the budget that are kept for after the training.

    Raises:
        StoreError: if the run's store cannot be made or opened.
    """
    if config.reward != "learned":
        return EnvironmentRewardCallback(env, config.labels.visit_every)
    model = initial_model(config.reward_model, config.ensemble.objective, directory)
    store = open_store(config, directory)
    asks_on = config.reward_model if config.labels.answers else None
    if model is None:
        absorbing = env.terminates or (config.offline is not None and shows_terminations(store))
        model = RewardEnsemble(
            env.observation_space, env.action_space, config.ensemble, config.seed, absorbing=absorbing
        )
    callback = PreferenceCallback(
        env,
        store,
        replace(config.labels, answers=config.labels.answers - reserved),
        config.annotator(),
        model.to(get_device(config.run.device)),
        config.seed,
        progress.on_round,
        progress.on_wait,
        config.fit,
        _preferred_demonstrations(config),
        progress.on_stage,
    )
    callback.loop.reserved = reserved
    if config.offline is not None:
        callback.loop.stop_asking()
    elif asks_on is not None:
        callback.loop.ask_on()
    return callback


def kl_penalty(config: RunConfig, model: BaseAlgorithm) -> KLPenalty | None:
    """What each step is charged for the policy's distance from the pretrained one, which is measured and logged even if
    it costs nothing; None where no policy is pretrained, and for baselines that are charged nothing.

    Raises:
        ValueError: if no policy is pretrained, or the learner's gives no distribution of actions.
    """
    is_pretrained = config.run.pretrain > 0 or getattr(model.policy, "is_pretrained", False)
    if not config.run.kl_coef and not (is_pretrained and config.reward == "learned"):
        return None
    penalty = KLPenalty(model, config.run.kl_coef, config.run.kl_target)
    if not is_pretrained:
        raise ValueError(
            "--kl-coef keeps the policy near a pretrained one, and none is pretrained here; --pretrain N imitates N "
            "demonstrations first, and --kl-coef 0 does without."
        )
    return penalty


def open_store(config: RunConfig, directory: RunDirectory) -> PreferenceStore:
    """The run's store, in which no other process trains: the one that it had, or a new one where it has none yet.

    Args:
        config: of the run.
        directory: of the run.

    Raises:
        ValueError: if the answers that an offline run is to learn from cannot be read or teach nothing.
        StoreError: if the store is damaged, locked, of another version or of another run, if another process trains
            with it, or if it is missing from a run that had one.
    """
    store = _open_or_create(config, directory)
    try:
        store.claim_for_training()
    except BaseException:
        store.close()
        raise
    return store


def _open_or_create(config: RunConfig, directory: RunDirectory) -> PreferenceStore:
    if config.offline is not None:
        return open_answers(config.offline, directory)
    if config.reward_model is not None and config.labels.answers:
        return open_answers(config.reward_model, directory, config.required_environment)
    try:
        return directory.open_store()
    except StoreMissingError:
        if directory.has_checkpoint:
            raise
    described = StoredEnvironment(config.required_environment, config.labels.steps, config.labels.rubric)
    return PreferenceStore.create(directory.store_place, described, run=directory.read_id())


def _preferred_demonstrations(config: RunConfig) -> Demonstrations | None:
    """What is preferred over the agent's segments: all of a source, or a few episodes of a scripted expert."""
    if config.labels.demonstration_comparisons == 0 or config.reward != "learned":
        return None
    episodes = _EXPERT_EPISODES if config.run.demonstrations == EXPERT else None
    return resolve(config.run.demonstrations, config.required_environment, episodes, config.seed)


def _pretrain(config: RunConfig, model: BaseAlgorithm) -> dict[str, Any]:
    """Let the policy imitate demonstrations; how well that went."""
    environment = config.required_environment
    demonstrations = resolve(
        config.run.demonstrations, environment, config.run.pretrain, config.seed, noise=_IMITATION_NOISE
    )
    report = pretrain(model, demonstrations, PretrainConfig(), config.seed)
    own = evaluate(SB3Policy(model), environment, episodes=config.run.evaluation_episodes)
    return {"pretraining": {**asdict(report), "true_return_mean": own.mean, "true_return_std": own.std}}


def _metrics(
    config: RunConfig,
    directory: RunDirectory,
    model: BaseAlgorithm,
    scoring: ScoringCallback,
    spent: dict[str, Any],
) -> dict[str, Any]:
    """The figures of a finished run: the policy's true returns on fresh seeds, and tests of the reward model.

    What cannot be measured is left out or None, and `not_measured` says why.

    Args:
        config, directory, model, scoring: the run; its reward model is written into the directory.
        spent: seconds by what they were spent on, and how pretraining went.
    """
    environment, policy, measurements = config.required_environment, SB3Policy(model), Measurements()
    episodes = config.run.evaluation_episodes
    own = measurements.take("the policy's return", lambda: evaluate(policy, environment, episodes=episodes))
    others = measurements.take("the return of other policies", lambda: baselines(environment, episodes=episodes)) or {}
    drawn = None
    if own is not None and not policy.draws(environment):
        by_chance, fewer = SB3Policy(model, deterministic=False), math.ceil(episodes * _SHARE_DRAWN)
        drawn = measurements.take(
            "the policy's return by drawn actions", lambda: evaluate(by_chance, environment, episodes=fewer)
        )
    of_drawn = drawn_metrics(drawn, own, others.get("random"))
    concerns: list[str] = of_drawn.pop("concerns", [])
    metrics = {
        "env": environment.id,
        "reward": config.reward,
        "feedback": config.feedback if config.reward == "learned" else None,
        "seed": config.seed,
        "timesteps": model.num_timesteps,
        "comparisons": 0,
        "answers": 0,
        **return_metrics(own, others),
        **of_drawn,
        **spent,
    }
    if scoring.kl is not None:
        metrics |= {"kl_mean": scoring.kl.mean, "kl_coef": scoring.kl.coefficient, "kl_target": scoring.kl.target}
    if isinstance(scoring, PreferenceCallback):
        metrics |= _model_metrics(environment, directory, policy, scoring, measurements)
        if config.offline is not None:
            metrics["answers"] = sum(tally.given for tally in scoring.loop.store.tallies().values())
    concerns += metrics.get("concerns", [])
    if concerns:
        metrics["concerns"] = concerns
    if measurements.missing:
        metrics["not_measured"] = measurements.missing
    return metrics


def _model_metrics(
    environment: EnvironmentRef,
    directory: RunDirectory,
    policy: AnyPolicy,
    scoring: PreferenceCallback,
    measurements: Measurements,
) -> dict[str, Any]:
    """Writes the reward model; its figures."""
    loop = scoring.loop
    figures: dict[str, Any] = {"comparisons": loop.progress.asked, "labels": len(loop.dataset)}
    figures |= {"test_accuracy": None, "reward_correlation": None}
    figures["answers"] = loop.progress.spent
    try:
        scoring.save_result(directory.reward_model_path)
    except NothingAskedError as error:
        measurements.missing[REWARD_MODEL] = str(error)
        return figures
    figures["alarms"] = loop.alarm.state.raised
    figures["fresh_agreement"] = loop.alarm.state.fresh_agreement
    if loop.concerns:
        figures["concerns"] = list(loop.concerns)
    scores = measurements.take(
        "the accuracy of the reward model",
        lambda: ModelScores.of(loop.predictions()),
    )
    agreements = measured_correlation(measurements, loop.ensemble, policy, environment, loop.config.steps)
    if scores is not None:
        figures |= scores.to_metrics()
    if agreements is not None:
        figures |= correlation_metrics(agreements)
    return figures
