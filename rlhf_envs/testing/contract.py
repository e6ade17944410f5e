"""What every Gymnasium environment must keep to, and how the suite's own go further."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict
from gymnasium.utils.env_checker import check_env as gymnasium_check

from rlhf_envs.testing.subject import EnvironmentCheckError, NotApplicable, Subject, require, same, sample_actions

_STEPS = 40

_ONE_NETWORK_ONLY = "minimal resolution for an image"
"""What Stable-Baselines3 warns of where its own convolutional network does not fit; others read small pictures."""


def passes_gymnasium_checker(subject: Subject) -> None:
    """Gymnasium's checker finds nothing, not even to warn of."""
    env = subject.make()
    _without_warning(subject, "Gymnasium's checker", lambda: gymnasium_check(env.unwrapped, skip_render_check=True))
    env.close()


def passes_sb3_checker(subject: Subject) -> None:
    """Stable-Baselines3's checker finds nothing, not even to warn of."""
    # Importing it takes seconds, and only this check needs it.
    from stable_baselines3.common.env_checker import check_env as sb3_check

    env = subject.make()
    _without_warning(
        subject, "Stable-Baselines3's checker", lambda: sb3_check(env.unwrapped, warn=True, skip_render_check=True)
    )
    env.close()


def passes_passive_checker(subject: Subject) -> None:
    """Gymnasium's passive checker, which `gymnasium.make` adds by default, stays silent over an episode's beginning."""

    def run() -> None:
        env = gym.make(subject.id, **subject.kwargs)
        env.action_space.seed(0)
        env.reset(seed=0)
        for _ in range(_STEPS):
            if any(env.step(env.action_space.sample())[2:4]):
                break
        env.close()

    _without_warning(subject, "Gymnasium's passive checker", run)


def has_finite_spaces(subject: Subject) -> None:
    """Observations and actions are bounded, and Box actions lie in [-1, 1]."""
    env = subject.make()
    for name, space in (("observation", env.observation_space), ("action", env.action_space)):
        for part in space.spaces.values() if isinstance(space, Dict) else [space]:
            if isinstance(part, Box):
                bounded = bool(np.isfinite(part.low).all() and np.isfinite(part.high).all())
                require(bounded or not subject.native, f"the {name} space {part} has no finite bounds.")
    if subject.native and isinstance(env.action_space, Box):
        unit = bool((env.action_space.low == -1).all() and (env.action_space.high == 1).all())
        require(unit, f"Box actions must lie in [-1, 1], not in {env.action_space}.")


def is_deterministic(subject: Subject) -> None:
    """The same seed and actions give the same episode."""
    actions = sample_actions(subject, _STEPS, 1, seed=1)[:, 0]
    first, second = (_episode(subject, 5, actions) for _ in range(2))
    require(_same_episode(first, second), "two episodes with the same seed and the same actions differ.")


def depends_on_the_seed(subject: Subject) -> None:
    """Another seed gives another episode."""
    actions = sample_actions(subject, _STEPS, 1, seed=1)[:, 0]
    require(
        not _same_episode(_episode(subject, 5, actions), _episode(subject, 6, actions)),
        "two seeds give the same episode.",
    )


def can_be_pickled(subject: Subject) -> None:
    """A copy made by pickling in the middle of an episode goes on in the same way."""
    env = subject.make_task(render_mode="rgb_array")
    env.reset(seed=2)
    actions = sample_actions(subject, 10, 1, seed=3)[:, 0]
    env.step(actions[0])
    env.render()
    twin = pickle.loads(pickle.dumps(env))
    for action in actions[1:]:
        require(_same_episode([*env.step(action)], [*twin.step(action)]), "a pickled copy goes on in another way.")


def survives_the_spec_round_trip(subject: Subject) -> None:
    """The specification can be written as JSON, read again, and makes the same environment."""
    env = subject.make()
    if env.spec is None:
        raise NotApplicable("it has no specification")
    twin = gym.make(EnvSpec.from_json(env.spec.to_json()))
    actions = sample_actions(subject, 5, 1, seed=4)[:, 0]
    require(
        same(env.reset(seed=7)[0], twin.reset(seed=7)[0]), "an environment made from its own JSON starts elsewhere."
    )
    for action in actions:
        require(
            _same_episode([*env.step(action)[:4]], [*twin.step(action)[:4]]),
            "an environment made from its own JSON differs.",
        )


def refuses_bad_arguments(subject: Subject) -> None:
    """Unknown arguments' values are refused with a ValueError that says what would be right."""
    subject.make_task()
    for name, value in (("objective", "fame"), ("render_mode", "smell"), ("theme", "neon"), ("horizon", 0)):
        for make in (subject.make_task, lambda **more: subject.make_batch(2, **more)):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    make(**{name: value})
            except ValueError as error:
                require(name in str(error), f"refusing {name}={value!r} it says {error}, which does not name {name}.")
            else:
                raise EnvironmentCheckError(f"{name}={value!r} is accepted.")


def keyboard_acts(subject: Subject) -> None:
    """Every key or combination of keys stands for an action of the action space."""
    env = subject.make_task()
    keys = env.get_keys_to_action()
    if not keys:
        raise NotApplicable("it has no keyboard control")
    for combination, action in keys.items():
        require(len(combination) > 0, "a key combination is empty, which gymnasium.utils.play refuses; leave it out.")
        require(env.action_space.contains(action), f"the keys {combination} stand for {action}, which is no action.")


def _episode(subject: Subject, seed: int, actions: Any) -> list[Any]:
    env = subject.make()
    seen: list[Any] = [env.reset(seed=seed)[0]]
    for action in actions:
        step = env.step(action)
        seen.append(step[:4])
        if step[2] or step[3]:
            break
    env.close()
    return [part for value in seen for part in (value if isinstance(value, tuple) else (value,))]


def _same_episode(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))


def _without_warning(subject: Subject, checker: str, run: Callable[[], None]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run()
        except (AssertionError, TypeError, ValueError, gym.error.Error) as error:
            raise EnvironmentCheckError(f"{checker} refuses it: {error}") from error
    messages = [
        str(warning.message)
        for warning in caught
        if not issubclass(warning.category, DeprecationWarning) and _ONE_NETWORK_ONLY not in str(warning.message)
    ]
    complaint = f"{checker} warns: {'; '.join(messages)}"
    if messages and not subject.native:
        # Many a good third-party environment is warned of; training copes with what the warnings are about.
        raise NotApplicable(complaint)
    require(not messages, complaint)
