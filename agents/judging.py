"""The last answers of a run choose between its two policies, whose clips from equal starts are compared.

A learned reward can be wrong about the very policy that was trained on it, which then earns much by that reward, and so
would be kept. Few comparisons tell it where it is wrong, and then it chooses well, also where people err.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.callbacks import StopRequest
from agents.config import RunConfig
from agents.fresh_policy import Choice, earned_by_reward, expects_fresh
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation import SB3Policy
from rlhf_envs.evaluation.episodes import FIRST_SEED, make_copies, play
from rlhf_envs.evaluation.judging.session import ClipRecorder
from rlhf_envs.evaluation.policies import bind
from rlhf_envs.feedback.store.status import OwnerRequests
from rlhf_envs.kinds import Comparison
from rlhf_envs.loop import FeedbackLoop
from rlhf_envs.loop.feedback_loop import Pair
from rlhf_envs.queries import Choice as Answer
from rlhf_envs.queries import Purpose
from rlhf_envs.randomness import uniform_by_name
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.terminal import counted

_FIRST_SEED = 3 * FIRST_SEED
"""Neither training nor evaluation plays these episodes, so that the choice says nothing about the evaluation."""

_FEWEST_COMPARISONS = 4
"""Fewer hardly ever overrule the reward, and cost answers that it could be learned from."""

_KEY = "policies"


def answers_for_judging(config: RunConfig, model: BaseAlgorithm) -> int:
    """How many answers of a run's budget are kept for comparisons of its policies; 0 where no second one is expected.

    Args:
        config: of the run.
        model: what it trains.
    """
    labels = config.labels
    if config.reward != "learned" or config.offline is not None or not expects_fresh(config, model):
        return 0
    kinds = getattr(config.annotator(), "kinds", None)
    if kinds is not None and Comparison.name not in kinds:
        return 0
    comparisons = round(config.run.judging_share * labels.queries)
    # What is left has to be enough for a question, as the first of all is.
    return comparisons * labels.overlap if _FEWEST_COMPARISONS <= comparisons < labels.queries else 0


def choose_policy(
    config: RunConfig,
    loop: FeedbackLoop,
    recorder: SegmentRecorder,
    first: BaseAlgorithm,
    fresh: BaseAlgorithm,
    console: Console,
    stop: StopRequest,
) -> tuple[Choice, float]:
    """Which of two policies is kept: that which earns more by the reward once it has learned from comparisons of both.

    These cost the answers that the loop has kept for them (`FeedbackLoop.reserved`). Where the screen of the run was
    closed, so that nobody is there to answer, the choice is made by what was answered until then.

    Args:
        config: of the run.
        loop: of the first training; its reward model is fitted to the new answers as well.
        recorder: the last rollouts of that training.
        first, fresh: the policies.
        console: told what is waited for.
        stop: of the run; a condition of it is a screen that was closed.

    Returns:
        The choice, and for how many seconds people were waited for.

    Raises:
        ValueError: as the annotator, if that is code.
        RunInterrupted: if the run was asked to stop while it waited for people; it can be resumed.
    """
    # Runs of the same seed have the same keys, by which scripted teachers draw.
    key = f"{_KEY}/{loop.last_round}/{config.timesteps}"
    overlap, store, progress = loop.config.overlap, loop.store, loop.progress
    asked = _asked(loop)
    # A run that was extended has spent them on the policies that it had before.
    earlier = sum(not name.startswith(f"{key}/") for name in asked)
    progress.asked += earlier
    progress.spent += overlap * earlier
    # Repeated pairs, which are asked while people answer, may have cost some of those that were kept.
    count = max(min(loop.reserved - overlap * earlier, loop.left) // overlap, len(asked) - earlier)
    if config.asks_people and count > 0 and stop.condition_holds:
        console.print(f"Nobody is there to answer the last {counted(count, 'question')}, about the two policies.")
        count = 0
    pairs = _pairs(config, loop, {"first": SB3Policy(first), "fresh": SB3Policy(fresh)}, key, max(count, 0))
    if config.asks_people and pairs:
        console.print(
            f"The last {counted(len(pairs), 'question')}, about the two policies, can be answered now. To close the "
            "window or the page goes on with what was answered until then, and so does --resume --judging-share 0 "
            "after Ctrl-C.",
            highlight=False,
            soft_wrap=True,
        )

    def give_up() -> bool:
        if OwnerRequests.of(store.statuses()).stop:
            stop.request()
        stop.check()
        return stop.condition_holds or not loop.reserved

    with stop.listening(), stop.ignoring_conditions():
        waited = loop.compare(pairs, key, recorder, give_up)
    preferred: Counter[str] = Counter()
    for answer in store.each_live_answer(Purpose.TRAIN):
        if answer.context.get("policies") == key and answer.choice not in (None, Answer.SKIP):
            preferred[answer.context.get(answer.choice, "ties")] += 1
    earned = earned_by_reward(config, loop.ensemble, first, fresh)
    return Choice(*earned, preferred["first"], preferred["fresh"], preferred["ties"]), waited


def unasked_comparisons(loop: FeedbackLoop) -> int:
    """How many of the comparisons that answers were kept for were not asked in a run that has ended."""
    overlap = loop.config.overlap
    return max(min(loop.reserved - overlap * len(_asked(loop)), loop.left) // overlap, 0)


def _asked(loop: FeedbackLoop) -> list[str]:
    """The keys of comparisons that the run has asked, and not an earlier one whose answers it has begun with."""
    found = [name for name in loop.store.keys(Purpose.TRAIN) if name.startswith(f"{_KEY}/")]
    return [name for name in found if int(name.split("/")[1]) >= loop.progress.first_round]


def _pairs(
    config: RunConfig, loop: FeedbackLoop, policies: Mapping[str, SB3Policy], key: str, count: int
) -> list[Pair]:
    """Clips of both policies in as many episodes, of moments spread over these, on shuffled sides.

    Where one policy's episode terminates, the clip may go on with absorbing steps. Pairs are left out in which an
    episode is truncated before the clip ends.
    """
    if not count:
        return []
    environment, length, absorbing = config.required_environment, loop.config.steps, loop.ensemble.encoder.absorbing
    lived, terminated = zip(*(_ends(policy, environment, count) for policy in policies.values()), strict=True)
    beyond = math.ceil(length / 2) if absorbing else length
    latest = np.maximum(np.min(lived - np.where(terminated, beyond, length), axis=0), 0)
    found = []
    recorder = ClipRecorder(
        environment, length=length, moments=1, needs_pictures=False, takes_pictures=config.needs_pictures
    )
    with closing(recorder):
        for number in range(count):
            start = round(latest[number] * number / max(count - 1, 1))
            clips = {name: recorder.clip(policy, _FIRST_SEED + number, start) for name, policy in policies.items()}
            ended = [clip.is_absorbing.any() for clip in clips.values()]
            if all(absorbing and each[number] for each, over in zip(terminated, ended, strict=True) if over):
                found.append(clips)
    if not found:
        return []
    mean = float(np.mean([clip.true_rewards for clips in found for clip in clips.values()]))
    context = {"average_return": mean * loop.horizon, "horizon": loop.horizon, "policies": key}
    pairs: list[Pair] = []
    for number, clips in enumerate(found):
        left, right = sorted(clips, reverse=uniform_by_name(f"{config.seed}/{key}/{number}", "side") < 0.5)
        pairs.append((clips[left], clips[right], {**context, "left": left, "right": right}))
    return pairs


def _ends(policy: SB3Policy, environment: EnvironmentRef, episodes: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How many steps a policy's episodes have, and whether they were terminated, (episodes,) each."""
    lived, terminated = np.zeros(episodes, dtype=np.int64), np.zeros(episodes, dtype=np.bool_)
    # Actions that are drawn depend on how many are drawn at a time, which is one where clips are recorded.
    at_once = 1 if policy.draws(environment) else episodes
    with closing(make_copies(environment, at_once)) as copies:
        for begin in range(0, episodes, at_once):
            those = slice(begin, begin + at_once)
            for transition in play(bind(policy, copies), copies, _FIRST_SEED + begin):
                lived[those] += transition.running
                terminated[those] |= transition.running & transition.result.terminated
    return lived, terminated
