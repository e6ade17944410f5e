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
from rlhf_envs.evaluation.policies import AnyPolicy, bind
from rlhf_envs.kinds import Comparison
from rlhf_envs.loop import FeedbackLoop
from rlhf_envs.loop.feedback_loop import Pair
from rlhf_envs.queries import Choice as Answer
from rlhf_envs.queries import Purpose
from rlhf_envs.randomness import uniform_by_name
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.terminal import counted

_FIRST_SEED = 2 * FIRST_SEED
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


def choose(
    config: RunConfig,
    loop: FeedbackLoop,
    recorder: SegmentRecorder,
    first: BaseAlgorithm,
    fresh: BaseAlgorithm,
    console: Console,
    stop: StopRequest,
) -> Choice:
    """Which of two policies is kept: that which earns more by the reward once it has learned from comparisons of both.

    These cost the answers that the loop has kept for them (`FeedbackLoop.reserved`).

    Args:
        config: of the run.
        loop: of the first training; its reward model is fitted to the new answers as well.
        recorder: the last rollouts of that training.
        first, fresh: the policies.
        console: told what is waited for.
        stop: requested where people are not to be waited for any longer.

    Raises:
        ValueError: as the annotator, if that is code.
    """
    overlap, store = loop.config.overlap, loop.store
    key = f"{_KEY}/{config.timesteps}"
    asked = [name for name in store.keys(Purpose.TRAIN) if name.startswith(f"{_KEY}/")]
    # A run that was extended has spent them on the policies that it had before.
    earlier = [name for name in asked if not name.startswith(f"{key}/")]
    loop.progress.spent += overlap * len(earlier)
    # Repeated pairs, which are asked while people answer, may have cost some of those that were kept.
    kept = min(loop.reserved - overlap * len(earlier), loop.left)
    comparisons = max(kept // overlap, len(asked) - len(earlier), 0)
    pairs = _pairs(config, loop, {"first": SB3Policy(first), "fresh": SB3Policy(fresh)}, key, comparisons)
    if not config.asks_people:
        loop.compare(pairs, key, recorder)
    elif pairs:
        console.print(
            f"The last {counted(len(pairs), 'question')}, about the two policies, can be answered now. To close the "
            "window or the page, or Ctrl-C, chooses by what was answered until then.",
            highlight=False,
            soft_wrap=True,
        )
        with stop.listening():
            loop.compare(pairs, key, recorder, lambda: stop.requested)
    preferred: Counter[str] = Counter()
    for answer in store.each_live_answer(Purpose.TRAIN):
        if answer.context.get("policies") == key and answer.choice not in (None, Answer.SKIP):
            preferred[answer.context.get(answer.choice, "ties")] += 1
    earned = earned_by_reward(config, loop.ensemble, first, fresh)
    return Choice(*earned, preferred["first"], preferred["fresh"], preferred["ties"])


def _pairs(
    config: RunConfig, loop: FeedbackLoop, policies: Mapping[str, AnyPolicy], key: str, count: int
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


def _ends(policy: AnyPolicy, environment: EnvironmentRef, episodes: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How many steps a policy's episodes have, and whether they were terminated, (episodes,) each."""
    lived, terminated = np.zeros(episodes, dtype=np.int64), np.zeros(episodes, dtype=np.bool_)
    with closing(make_copies(environment, episodes)) as copies:
        for transition in play(bind(policy, copies), copies, _FIRST_SEED):
            lived += transition.running
            terminated |= transition.running & transition.result.terminated
    return lived, terminated
