"""A practice round: comparisons with known answers, so that a new annotator learns the task before answers count."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.envs.views import TaskEnv
from rlhf_envs.feedback.guidance import make_described, native_task
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.observations import stack_observations
from rlhf_envs.queries import Choice, Purpose, Query
from rlhf_envs.randomness import uniform_by_name
from rlhf_envs.segments import Segment

PRACTICE_ROUND = 4
"""How many comparisons."""

PRACTICE_POOL = 8
"""From how many easy pairs those of an annotator are drawn, so that they are not the same for everybody."""

RIGHT_TEXT, WRONG_TEXT = "Right.", "Look again."
"""What an annotator reads after a practice answer, before the explanation."""

_USUAL_LENGTH = 25
_LONGEST_LEAD_IN = 40
_SEEDS_PER_PAIR = 2
_MOST_TERMS_NAMED = 2
_HARD_SEEDS = 12
_HARD_SHARE = 0.15

_MAKING = threading.Lock()
"""Held while the pairs are made, so that of many who arrive at the same moment one makes them for all."""


def ask_practice(store: PreferenceStore, annotator: str, count: int = PRACTICE_ROUND) -> int:
    """Ask a new annotator for some comparisons with known answers, and return how many.

    Most compare the environment's scripted expert with random actions. The last one is harder: the expert against the
    policy that optimises the proxy reward, where there is one. Everybody is asked pairs of their own choice of seeds.

    Each query is a comparison of purpose PRACTICE for this annotator alone; `known_answer` reads its answer. Asking
    again asks nothing new. There is no practice (0) in environments that bring no expert, nor for an annotator who has
    answered anything before.

    Args:
        store: of the run.
        annotator: who is new.
        count: how many comparisons.

    Raises:
        ValueError: if the annotator has no name, or count is below 1.
    """
    if not annotator.strip():
        raise ValueError("An annotator needs a name, such as a person's initials.")
    if count < 1:
        raise ValueError(f"A practice round has at least 1 comparison, not {count}.")
    task = native_task(store.environment.ref)
    if task is None or "expert" not in task.scripted_policies or store.tally(annotator).given:
        return 0
    pairs = draw_practice(store.environment, annotator, count)
    return len(store.ask([_query(annotator, number, pair) for number, pair in enumerate(pairs)]))


@dataclass(frozen=True)
class KnownAnswer:
    """The answer to a practice query.

    Attributes:
        choice: "left" or "right".
        because: why, such as "it does better on progress and courtesy".
    """

    choice: Choice
    because: str

    def explanation(self, side: str) -> str:
        """The sentence to read after answering, where the better clip is called `side` on this screen."""
        return f"The reference answer is the {side} one, because {self.because}."


def known_answer(query: Query) -> KnownAnswer | None:
    """The answer to a practice query; None for every other query."""
    if query.purpose is not Purpose.PRACTICE:
        return None
    return KnownAnswer(Choice(query.context["answer"]), str(query.context["because"]))


@dataclass(frozen=True)
class PracticePair:
    """Two segments of which it is known which one is better.

    Attributes:
        good, bad: of the expert and of random actions.
        because: why, such as "it does better on progress and courtesy".
    """

    good: Segment
    bad: Segment
    because: str


def practice_pairs(environment: StoredEnvironment, count: int = PRACTICE_ROUND) -> list[PracticePair]:
    """The practice pairs of an environment: of several seeds, those where the expert is ahead most clearly.

    Args:
        environment: of the store: one of the suite.
        count: how many pairs.
    """
    return list(_pairs(json.dumps(environment.to_json(), sort_keys=True), count))


def draw_practice(environment: StoredEnvironment, annotator: str, count: int = PRACTICE_ROUND) -> list[PracticePair]:
    """The practice pairs of an annotator: drawn by their name from `PRACTICE_POOL` easy ones, and a hard one last."""
    described = json.dumps(environment.to_json(), sort_keys=True)
    with _MAKING:
        pools = _pairs(described, max(PRACTICE_POOL, count)), _hard_pairs(described)

    def drawn(pool: Sequence[PracticePair], name: str) -> list[PracticePair]:
        order = sorted(range(len(pool)), key=lambda number: uniform_by_name(annotator, name, number))
        return [pool[number] for number in order]

    easy = drawn(pools[0], "practice")
    hard = drawn(pools[1], "hard practice")[: int(count > 1)]
    return [*easy[: count - len(hard)], *hard]


@functools.lru_cache(maxsize=4)
def _hard_pairs(described: str) -> tuple[PracticePair, ...]:
    """The expert against what optimises the proxy reward, where it is ahead less clearly than against chance."""
    environment = StoredEnvironment.from_json(json.loads(described))
    env = make_described(environment.required).unwrapped
    if not isinstance(env, TaskEnv) or "proxy" not in env.task.scripted_policies:
        return ()
    length = min(environment.segment_length or _USUAL_LENGTH, env.horizon)
    pairs = []
    for seed in range(_HARD_SEEDS):
        (good, paid), (bad, paid_proxy) = (_roll_out(env, policy, seed, length) for policy in ("expert", "proxy"))
        ahead = paid - paid_proxy
        pairs.append((float(ahead.sum()), PracticePair(good, bad, _why(env, ahead))))
    env.close()
    most = max(lead for lead, _ in pairs)
    # So little that it might as well be the other way round is no lesson.
    hard = sorted((pair for pair in pairs if pair[0] > _HARD_SHARE * most > 0), key=lambda pair: pair[0])
    return tuple(pair for _, pair in hard[: max(len(hard) // 3, 1)])


@functools.lru_cache(maxsize=4)
def _pairs(described: str, count: int) -> tuple[PracticePair, ...]:
    """Cached, because annotators of a server share the pool, and making it takes about a second."""
    environment = StoredEnvironment.from_json(json.loads(described))
    env = make_described(environment.required).unwrapped
    if not isinstance(env, TaskEnv):
        raise ValueError(f"{environment.id} brings no scripted expert to practise with.")
    length = min(environment.segment_length or _USUAL_LENGTH, env.horizon)
    pairs = []
    for seed in range(_SEEDS_PER_PAIR * count):
        (good, paid), (bad, paid_at_random) = (_roll_out(env, policy, seed, length) for policy in ("expert", "random"))
        ahead = paid - paid_at_random
        pairs.append((float(ahead.sum()), PracticePair(good, bad, _why(env, ahead))))
    env.close()
    pairs.sort(key=lambda pair: -pair[0])
    return tuple(pair for _, pair in pairs[:count])


def _roll_out(env: TaskEnv, policy: str, seed: int, length: int) -> tuple[Segment, NDArray[np.float64]]:
    """A segment, not from the very start, where all policies still look alike, and what each term paid, (terms,)."""
    lead_in = min(env.horizon - length, _LONGEST_LEAD_IN)
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    observations, actions, rewards, states = [], [], [], []
    terms = np.zeros(len(env.task.reward_weights))
    for step in range(lead_in + length):
        scripted = {"expert": env.expert_action, "proxy": env.proxy_action}.get(policy)
        action = env.action_space.sample() if scripted is None else scripted()
        state = env.snapshot()
        following, reward, _, _, info = env.step(action)
        if step >= lead_in:
            observations.append(observation)
            actions.append(np.asarray(action))
            rewards.append(reward)
            states.append(state)
            terms += np.array(list(info["reward_terms"].values())) * env.task.weights
        observation = following
    shown = stack_observations(observations)
    return Segment(shown, np.stack(actions), np.array(rewards, np.float32), np.stack(states)), terms


def _why(env: TaskEnv, ahead: NDArray[np.float64]) -> str:
    """Names the terms that the expert was furthest ahead in, which are most of the difference."""
    names = list(env.task.reward_weights)
    best = [index for index in np.argsort(-ahead)[:_MOST_TERMS_NAMED] if ahead[index] > 0.2 * ahead.max()]
    named = [env.task.describe_term(names[index]) for index in best]
    return f"it does better on {' and '.join(named)}" if named else "it does what was asked"


def _query(annotator: str, number: int, pair: PracticePair) -> Query:
    drawn = hashlib.blake2b(f"{annotator}\0practice\0{number}".encode(), digest_size=1).digest()[0]
    answer = Choice.LEFT if drawn % 2 else Choice.RIGHT
    return Query(
        key=f"practice/{annotator}/{number}",
        round=0,
        segments=(pair.good, pair.bad) if answer is Choice.LEFT else (pair.bad, pair.good),
        purpose=Purpose.PRACTICE,
        context={"answer": answer.value, "because": pair.because},
        only_for=annotator,
    )
