"""The checks of an environment: one function each, all listed in `CHECKS`."""

from __future__ import annotations

import inspect
import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env as gymnasium_check
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rlhf_envs.envs.registration import is_native
from rlhf_envs.envs.simulation import Simulation, space_bounds
from rlhf_envs.envs.task import State, Task
from rlhf_envs.envs.views import TaskEnv, TaskVectorEnv
from rlhf_envs.observations import space_parts
from rlhf_envs.wrappers.spaces import constant_actions

_STEPS = 40
_COPIES = 3
_SEED = 11
_RESET_STEP = 4
_EPISODES = 24
_TRIVIAL_EPISODES = 48

MOST_OF_A_TRIVIAL_POLICY = 0.25
"""What acting without looking may earn, on the scale from random actions (0) to the scripted expert (1)."""

_STANDARD_DEVIATIONS = 1.0
_SIZES = ((600, 400), (300, 200))
_THEMES = ("light", "dark")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
"""The colours in which Gymnasium warns."""

_ONE_NETWORK_ONLY = "minimal resolution for an image"
"""What Stable-Baselines3 warns of where its own convolutional network does not fit; others read small pictures."""


class EnvironmentCheckError(AssertionError):
    """An environment does not pass a check; the message says which, and why."""


class NotApplicable(Exception):
    """A check does not apply to this environment; the message says why."""


@dataclass(frozen=True)
class Subject:
    """An environment under test.

    Attributes:
        id: as registered.
        kwargs: its arguments.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def native(self) -> bool:
        """Whether it is a `Task`."""
        return is_native(self.id)

    def make(self, **more: Any) -> gym.Env[Any, Any]:
        """The scalar environment."""
        return gym.make(self.id, disable_env_checker=True, **{**self.kwargs, **more})

    def make_task(self, **more: Any) -> TaskEnv:
        """The scalar environment itself, without Gymnasium's wrappers.

        Raises:
            NotApplicable: if it is no `Task`.
        """
        self._require_native()
        env = self.make(**more).unwrapped
        if not isinstance(env, TaskEnv):
            raise EnvironmentCheckError(f"{self.id} has a batched vector view, but its scalar view is no TaskEnv.")
        return env

    def make_batch(self, copies: int, **more: Any) -> TaskVectorEnv:
        """The vector environment.

        Raises:
            NotApplicable: if it is no `Task`.
        """
        self._require_native()
        env = gym.make_vec(self.id, num_envs=copies, **{**self.kwargs, **more}).unwrapped
        if not isinstance(env, TaskVectorEnv):
            raise EnvironmentCheckError(f"{self.id} has a vector view that is no TaskVectorEnv.")
        return env

    def _require_native(self) -> None:
        if not self.native:
            raise NotApplicable("it is not a Task of rlhf_envs")


def require(condition: bool, complaint: str) -> None:
    """Raise `EnvironmentCheckError` with the complaint unless the condition holds."""
    if not condition:
        raise EnvironmentCheckError(complaint)


def same(first: Any, second: Any) -> bool:
    """Whether two observations, rewards, infos, or sequences of them are equal, number for number and key for key."""
    if isinstance(first, Mapping):
        keys_match = isinstance(second, Mapping) and first.keys() == second.keys()
        return keys_match and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        lengths_match = isinstance(second, list | tuple) and len(first) == len(second)
        return lengths_match and all(same(a, b) for a, b in zip(first, second, strict=True))
    left, right = np.asarray(first), np.asarray(second)
    if left.dtype == object or right.dtype == object:
        return left.shape == right.shape and all(same(a, b) for a, b in zip(left.flat, right.flat, strict=True))
    return left.shape == right.shape and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")


def row_of(batched: Any, row: int) -> Any:
    """One copy's part of a batched observation or info; keys with a leading underscore are Gymnasium's masks."""
    if isinstance(batched, Mapping):
        return {name: row_of(value, row) for name, value in batched.items() if not name.startswith("_")}
    return batched[row]


def sample_actions(subject: Subject, steps: int, copies: int, seed: int) -> NDArray[Any]:
    """Random actions, (steps, copies, *action shape)."""
    env = subject.make()
    env.action_space.seed(seed)
    return np.array([[env.action_space.sample() for _ in range(copies)] for _ in range(steps)])


def keeps_to_its_declarations(subject: Subject) -> None:
    """What `begin`, `advance` and `observe` do fits the fields, the reward terms and the observation space."""
    task = subject.make_task().task
    # A number of copies that is no axis of anything else, so that an axis out of place shows.
    shapes = [task.observation_space.shape or (), *(each.shape for each in task.fields.values())]
    taken = {size for shape in shapes for size in shape}
    for copies in (1, next(number for number in range(3, 99) if number not in taken)):
        simulation = Simulation(task, copies, auto_reset=True)
        simulation.seed(np.arange(copies, dtype=np.uint64))
        simulation.begin()
        for action in sample_actions(subject, 5, copies, seed=41):
            _check_observations(task, simulation.state)
            simulation.step(action)


def _check_observations(task: Task, state: State) -> None:
    space, seen = task.observation_space, task.observe(state)
    wanted = f"must be a new array of shape {(state.copies, *(space.shape or ()))} for N = {state.copies}"
    if not isinstance(seen, np.ndarray):
        raise EnvironmentCheckError(f"what observe returns {wanted}, not of type {type(seen).__name__}.")
    if seen.shape != (state.copies, *(space.shape or ())):
        raise EnvironmentCheckError(f"what observe returns {wanted}, not of shape {seen.shape}.")
    for name in task.layout.fields:
        if np.may_share_memory(seen, getattr(state, name)):
            raise EnvironmentCheckError(
                f"observe returns a view of the field {name!r}, which changes in the next step; return a copy of it."
            )
    low, high = (np.broadcast_to(bound, seen.shape) for bound in space_bounds(space))
    for beyond, bound, side in ((seen < low, low, "below the lowest"), (seen > high, high, "above the highest")):
        if beyond.any():
            place = tuple(np.argwhere(beyond)[0].tolist())
            raise EnvironmentCheckError(
                f"observe gives {seen[place]:.6g} at place {place[1:]} of a copy, {side} value of its space, "
                f"{bound[place]:.6g}."
            )
    if seen.dtype.kind not in "biuf" or (seen.dtype.kind == "f" and not np.isfinite(seen).all()):
        raise EnvironmentCheckError(f"what observe returns must be finite numbers, not {seen.dtype} such as {seen[0]}.")


def passes_gymnasium_checker(subject: Subject) -> None:
    """Gymnasium's checker finds nothing, not even to warn of."""
    _passes(subject, "Gymnasium's checker", gymnasium_check)


def passes_sb3_checker(subject: Subject) -> None:
    """Stable-Baselines3's checker finds nothing, not even to warn of."""
    # Importing it takes seconds, and only this check needs it.
    from stable_baselines3.common.env_checker import check_env as sb3_check

    _passes(subject, "Stable-Baselines3's checker", sb3_check)


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
        for part in space_parts(space).values():
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
    require(same(first, second), "two episodes with the same seed and the same actions differ.")


def depends_on_the_seed(subject: Subject) -> None:
    """Another seed gives another episode."""
    if subject.native:
        task = subject.make_task().task
        if not task.reset_draws and not task.step_draws:
            raise NotApplicable("it draws no random numbers")
    actions = sample_actions(subject, _STEPS, 1, seed=1)[:, 0]
    first, second = (_episode(subject, seed, actions) for seed in (5, 6))
    require(not same(first, second), "two seeds give the same episode.")


def can_be_pickled(subject: Subject) -> None:
    """A copy made by pickling in the middle of an episode continues in the same way."""
    env = subject.make_task(render_mode="rgb_array")
    env.reset(seed=2)
    actions = sample_actions(subject, 10, 1, seed=3)[:, 0]
    env.step(actions[0])
    env.render()
    try:
        twin = pickle.loads(pickle.dumps(env))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise EnvironmentCheckError(f"it cannot be pickled: {error}; define the task at the top of a module") from error
    for action in actions[1:]:
        require(same(env.step(action), twin.step(action)), "a pickled copy continues differently.")


def survives_the_spec_round_trip(subject: Subject) -> None:
    """The specification can be written as JSON, read again, and makes the same environment."""
    env = subject.make()
    if env.spec is None:
        raise NotApplicable("it has no specification")
    try:
        written = env.spec.to_json()
    except (TypeError, ValueError) as error:
        raise NotApplicable(f"its specification cannot be written as JSON: {error}") from error
    twin = gym.make(EnvSpec.from_json(written))
    alike = same(env.reset(seed=7)[0], twin.reset(seed=7)[0])
    for action in sample_actions(subject, 5, 1, seed=4)[:, 0]:
        alike &= same(env.step(action)[:4], twin.step(action)[:4])
    require(alike, "an environment made from its own JSON differs.")


def refuses_bad_arguments(subject: Subject) -> None:
    """Unknown arguments' values are refused with a ValueError that says what would be right."""
    wrong: dict[str, Any] = {"objective": "fame", "render_mode": "smell", "theme": "neon"}
    if "horizon" in inspect.signature(type(subject.make_task().task)).parameters:
        wrong["horizon"] = 0
    for name, value in wrong.items():
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
    """Every key or combination of keys maps to an action of the action space."""
    env = subject.make_task()
    keys = env.get_keys_to_action()
    if not keys:
        raise NotApplicable("it has no keyboard control")
    for combination, action in keys.items():
        require(len(combination) > 0, "a key combination is empty, which gymnasium.utils.play refuses; leave it out.")
        require(env.action_space.contains(action), f"the keys {combination} map to {action}, which is no action.")


def scalar_and_vector_agree(subject: Subject) -> None:
    """Row i of a vector environment reset with seed s is the scalar one reset with s + i, over two resets and more."""
    batch = subject.make_batch(_COPIES)
    scalars = [subject.make_task() for _ in range(_COPIES)]
    steps = 2 * batch.horizon + 5
    actions = sample_actions(subject, steps, _COPIES, seed=12)
    observations, _ = batch.reset(seed=_SEED)
    for row, scalar in enumerate(scalars):
        started = scalar.reset(seed=_SEED + row)[0]
        require(same(started, observations[row]), f"row {row} starts elsewhere than the scalar environment.")
    for step in range(steps):
        observations, rewards, terminated, truncated, info = batch.step(actions[step])
        for row, scalar in enumerate(scalars):
            observation, reward, ended, cut, own = scalar.step(actions[step, row])
            where = f"in step {step} row {row} and the scalar environment"
            require(same(reward, float(rewards[row])), f"{where} differ in reward: {rewards[row]} and {reward}.")
            require((ended, cut) == (terminated[row], truncated[row]), f"{where} do not end at the same time.")
            of_row = {name: row_of(info[name], row) for name in own}
            require(same(of_row, own), f"{where} differ in info: {of_row} and {own}.")
            if cut:
                require(same(info["final_obs"][row], observation), f"{where} differ in the last observation.")
                require(bool(info["_final_obs"][row]), f"{where} differ: final_obs is not marked as given.")
                observation, _ = scalar.reset()
            require(same(observations[row], observation), f"{where} differ in observation.")


def copies_do_not_depend_on_each_other(subject: Subject) -> None:
    """A copy sees the same whatever the number of other copies, and whatever they do."""
    few, many = subject.make_batch(2), subject.make_batch(9)
    actions = sample_actions(subject, few.horizon + 5, 9, seed=13)
    first, second = few.reset(seed=_SEED)[0], many.reset(seed=_SEED)[0]
    require(same(first, second[:2]), "a copy starts elsewhere when there are other copies.")
    for step in range(len(actions)):
        if step == _RESET_STEP:
            # From here on the rows end at different times, so that later only some of them begin anew.
            first_row = np.arange(9) == 0
            again, other = (env.reset(options={"reset_mask": first_row[: env.num_envs]})[0] for env in (few, many))
            require(same(again, other[:2]), "a masked reset depends on the number of copies.")
        seen, other = few.step(actions[step, :2])[:4], many.step(actions[step])[:4]
        require(same(seen, [part[:2] for part in other]), "a copy sees something else when there are other copies.")


def resets_in_the_same_step(subject: Subject) -> None:
    """The vector environment says that it resets in the same step, and its first observations are new episodes'."""
    batch = subject.make_batch(2)
    mode = batch.metadata.get("autoreset_mode")
    require(mode == AutoresetMode.SAME_STEP, f"metadata['autoreset_mode'] must be SAME_STEP, not {mode}.")


def never_terminates(subject: Subject) -> None:
    """Episodes last exactly the horizon, whatever is done: an early end would tell something about the reward."""
    batch = subject.make_batch(_COPIES)
    batch.reset(seed=_SEED)
    actions = sample_actions(subject, batch.horizon, _COPIES, seed=14)
    for step in range(batch.horizon):
        _, _, terminated, truncated, _ = batch.step(actions[step])
        require(not terminated.any(), f"an episode terminates in step {step}.")
        due = step + 1 == batch.horizon
        require(bool((truncated == due).all()), f"episodes of {batch.horizon} steps are truncated in step {step + 1}.")


def can_be_restored(subject: Subject) -> None:
    """A snapshot restored, here or in a new environment, continues bit for bit, random stream included."""
    actions = sample_actions(subject, 24, _COPIES, seed=15)
    batch, scalar = subject.make_batch(_COPIES), subject.make_task()
    batch.reset(seed=_SEED)
    for action in actions[:8]:
        batch.step(action)
    taken = batch.snapshot()
    goes_on = [batch.step(action)[:4] for action in actions[8:]]
    batch.restore(taken)
    again = [batch.step(action)[:4] for action in actions[8:]]
    scalar.restore(taken[1])
    alone = []
    for action in actions[8:]:
        observation, reward, _, truncated, _ = scalar.step(action[1])
        alone.append((scalar.reset()[0] if truncated else observation, reward))
    for step, (first, second, single) in enumerate(zip(goes_on, again, alone, strict=True)):
        require(same(first, second), f"a restored environment differs {step + 1} steps later.")
        for ours, theirs in zip(first[:2], single, strict=True):
            alike = same(ours[1], np.asarray(theirs, ours.dtype))
            require(alike, "a row's snapshot differs in the scalar environment.")


def stays_within_its_spaces(subject: Subject) -> None:
    """Observations lie in their space and rewards are finite, under random, extreme and scripted actions."""
    env = subject.make_batch(4)
    random = sample_actions(subject, env.horizon, 4, seed=31)
    scripted: dict[str, Callable[[int], Any]] = {
        "expert": lambda step: env.expert_action(),
        "proxy": lambda step: env.proxy_action(),
    }
    policies: dict[str, Callable[[int], Any]] = {"random": lambda step: random[step]}
    policies |= {name: scripted[name] for name in env.task.scripted_policies}
    space = env.single_action_space
    if isinstance(space, gym.spaces.Box):
        lowest, highest = (np.broadcast_to(bound, random[0].shape) for bound in (space.low, space.high))
        policies["lowest"] = lambda step: lowest
        policies["highest"] = lambda step: highest
    for name, act in policies.items():
        observations, _ = env.reset(seed=32)
        for step in range(env.horizon):
            action = act(step)
            acts = all(space.contains(np.asarray(row, space.dtype)[()]) for row in action)
            require(acts, f"the {name} policy acts outside the action space: {action}.")
            where = f"under {name} actions, in step {step},"
            for seen in observations:
                within = env.single_observation_space.contains(seen)
                require(within, f"{where} an observation lies outside its space: {seen}.")
            observations, rewards, *_ = env.step(action)
            require(bool(np.isfinite(rewards).all()), f"{where} a reward is not finite.")


def returns_new_observations(subject: Subject) -> None:
    """An observation does not change in later steps, so it is no view of the state."""
    env = subject.make_batch(2)
    actions = sample_actions(subject, 5, 2, seed=37)
    observations, _ = env.reset(seed=38)
    for action in actions:
        before = observations.copy()
        following = env.step(action)[0]
        require(same(before, observations), "an observation changes in the next step; observe must return a new array.")
        observations = following


def pays_the_sum_of_its_terms(subject: Subject) -> None:
    """The reward is the weighted sum of the named terms, and the proxy objective, if there is one, pays the proxy."""
    true = subject.make_batch(4)
    proxy = subject.make_batch(4, objective="proxy") if true.simulation.has_proxy() else None
    actions = sample_actions(subject, 30, 4, seed=33)
    true.reset(seed=34)
    if proxy is not None:
        proxy.reset(seed=34)
    for action in actions:
        _, rewards, _, _, info = true.step(action)
        weights = true.task.reward_weights
        total = sum(weight * info["reward_terms"][name].astype(np.float64) for name, weight in weights.items())
        added_up = bool(np.allclose(rewards, total, atol=1e-5))
        require(added_up, f"the reward {rewards} is not the sum of its terms, {total}.")
        require(same(info["true_reward"], rewards), "info['true_reward'] is not what the true objective pays.")
        if proxy is not None:
            _, paid, _, _, proxy_info = proxy.step(action)
            require(same(paid, proxy_info["proxy_reward"]), "the proxy objective does not pay info['proxy_reward'].")
            require(same(proxy_info["true_reward"], rewards), "info['true_reward'] depends on the objective.")


def gaming_the_proxy_does_not_pay(subject: Subject) -> None:
    """The scripted expert earns clearly more of the truth than random actions and than the policy that games the proxy,
    which earns clearly more of the proxy than both: by more than one standard deviation of the returns of 24 episodes
    (Cohen's d above 1)."""
    env = subject.make_batch(_EPISODES)
    if len(env.task.scripted_policies) < 2 or not env.simulation.has_proxy():
        raise NotApplicable("it does not have all of a proxy reward, a scripted expert and a scripted proxy policy")
    random = sample_actions(subject, env.horizon, _EPISODES, seed=35)
    both = ("true_reward", "proxy_reward")
    expert = _returns(env, lambda step: env.expert_action(), 36, both)
    gamer = _returns(env, lambda step: env.proxy_action(), 36, both)
    chance = _returns(env, lambda step: random[step], 36, both)
    _require_above(expert[0], gamer[0], "on the true reward the expert", "the policy that games the proxy")
    _require_above(expert[0], chance[0], "on the true reward the expert", "random actions")
    _require_above(gamer[1], expert[1], "on the proxy reward the policy that games it", "the expert")
    _require_above(gamer[1], chance[1], "on the proxy reward the policy that games it", "random actions")


def trivial_policies_do_not_pay(subject: Subject) -> None:
    """Acting without looking earns at most a quarter of what the scripted expert is ahead of random actions: the best
    constant action, the action that the expert takes most (on average in a Box), its first one repeated, and a random
    one held, each over 48 episodes. Else a policy that has learned nothing would look as if it had."""
    env = subject.make_batch(_TRIVIAL_EPISODES)
    if "expert" not in env.task.scripted_policies:
        raise NotApplicable("it has no scripted expert")
    taken: list[NDArray[Any]] = []

    def act_as_expert(step: int) -> NDArray[Any]:
        taken.append(np.asarray(env.expert_action()))
        return taken[-1]

    random = sample_actions(subject, env.horizon, _TRIVIAL_EPISODES, seed=39)
    chance = float(_returns(env, lambda step: random[step], 40)[0].mean())
    expert = float(_returns(env, act_as_expert, 40)[0].mean())
    require(expert > chance, f"the scripted expert earns {expert:.2f} and random actions {chance:.2f}.")
    usual = usual_action(np.concatenate(taken))
    held = {
        "the action that the expert takes most": np.repeat(usual[None], _TRIVIAL_EPISODES, axis=0),
        "the expert's first action repeated": taken[0],
        "a random action held": random[0],
    }
    for action in constant_actions(env.single_action_space):
        held[f"the constant action {action.tolist()}"] = np.repeat(action[None], _TRIVIAL_EPISODES, axis=0)
    earned = {name: float(_returns(env, lambda step, row=row: row, 40)[0].mean()) for name, row in held.items()}  # type: ignore[misc]
    best = max(earned, key=lambda name: earned[name])
    share = (earned[best] - chance) / (expert - chance)
    require(
        share <= MOST_OF_A_TRIVIAL_POLICY,
        f"{best} earns {earned[best]:.2f}, random actions {chance:.2f} and the scripted expert {expert:.2f}: that is "
        f"{share:.2f} of the way, and who acts without looking should get at most {MOST_OF_A_TRIVIAL_POLICY} of it.",
    )


def usual_action(taken: NDArray[Any]) -> NDArray[Any]:
    """The mean of actions (K, *act) that are numbers, the most frequent one of those that are choices."""
    if taken.dtype.kind == "f":
        mean: NDArray[Any] = taken.mean(axis=0).astype(taken.dtype)
        return mean
    actions, counts = np.unique(taken, axis=0, return_counts=True)
    return np.asarray(actions[counts.argmax()])


def draws_in_every_size_and_theme(subject: Subject) -> None:
    """`render` gives (height, width, 3) uint8 in every size and theme, and what is drawn moves with the episode."""
    actions = sample_actions(subject, 12, 1, seed=21)[:, 0]
    subject.make_task()
    for width, height in _SIZES:
        for theme in _THEMES:
            env = subject.make_task(render_mode="rgb_array", frame_size=[width, height], theme=theme)
            env.reset(seed=22)
            frames = []
            for action in actions:
                env.step(action)
                frames.append(np.asarray(env.render()))
                fits = frames[-1].shape == (height, width, 3) and frames[-1].dtype == np.uint8
                require(fits, f"a {width}x{height} frame is no uint8 array of shape ({height}, {width}, 3).")
            still = all(np.array_equal(frames[0], frame) for frame in frames[1:])
            require(not still, f"nothing moves in {len(frames)} frames of the {theme} theme.")
    brightness = []
    for theme in _THEMES:
        env = subject.make_task(render_mode="rgb_array", theme=theme)
        env.reset(seed=22)
        brightness.append(np.asarray(env.render()).mean())
    require(brightness[0] > brightness[1], "the dark theme is not darker than the light one.")


def drawing_changes_nothing(subject: Subject) -> None:
    """The state is the same after drawing, and an episode goes the same way whether or not it is watched."""
    actions = sample_actions(subject, 12, 1, seed=23)[:, 0]
    watched, unwatched = subject.make_task(render_mode="rgb_array"), subject.make_task()
    for env in (watched, unwatched):
        env.reset(seed=24)
    for action in actions:
        before = watched.snapshot()
        picture = watched.render()
        require(np.array_equal(before, watched.snapshot()), "drawing changes the state.")
        require(np.array_equal(np.asarray(picture), np.asarray(watched.render())), "drawing twice gives two pictures.")
        watched.step(action)
        unwatched.step(action)
    require(np.array_equal(watched.snapshot(), unwatched.snapshot()), "an episode goes another way when it is watched.")


def vector_draws_every_copy(subject: Subject) -> None:
    """The vector environment gives one frame per copy, each as the scalar environment would draw it."""
    batch = subject.make_batch(2, render_mode="rgb_array")
    batch.reset(seed=25)
    frames = batch.render() or ()
    require(len(frames) == 2, "the vector environment does not draw every copy.")
    single = subject.make_task(render_mode="rgb_array")
    single.reset(seed=26)
    require(np.array_equal(frames[1], np.asarray(single.render())), "row 1 is drawn in another way.")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    keeps_to_its_declarations,
    passes_gymnasium_checker,
    passes_sb3_checker,
    passes_passive_checker,
    has_finite_spaces,
    is_deterministic,
    depends_on_the_seed,
    survives_the_spec_round_trip,
    can_be_pickled,
    refuses_bad_arguments,
    keyboard_acts,
    scalar_and_vector_agree,
    copies_do_not_depend_on_each_other,
    resets_in_the_same_step,
    never_terminates,
    can_be_restored,
    stays_within_its_spaces,
    returns_new_observations,
    pays_the_sum_of_its_terms,
    gaming_the_proxy_does_not_pay,
    trivial_policies_do_not_pay,
    draws_in_every_size_and_theme,
    drawing_changes_nothing,
    vector_draws_every_copy,
)
"""Every check, in the order in which they run. Each raises where the environment falls short."""


def _episode(subject: Subject, seed: int, actions: Any) -> list[Any]:
    env = subject.make()
    seen: list[Any] = [env.reset(seed=seed)[0]]
    for action in actions:
        seen.append(env.step(action)[:4])
        if any(seen[-1][2:]):
            break
    env.close()
    return seen


def _passes(subject: Subject, checker: str, check: Callable[..., None]) -> None:
    env = subject.make()
    _without_warning(subject, checker, lambda: check(env.unwrapped, skip_render_check=True))
    env.close()


def _without_warning(subject: Subject, checker: str, run: Callable[[], None]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run()
        except AssertionError as error:
            raise EnvironmentCheckError(f"{checker} refuses it: {_ESCAPES.sub('', str(error))}") from error
    messages = [
        _ESCAPES.sub("", str(warning.message))
        for warning in caught
        if not issubclass(warning.category, DeprecationWarning) and _ONE_NETWORK_ONLY not in str(warning.message)
    ]
    complaint = f"{checker} warns: {'; '.join(messages)}"
    if messages and not subject.native:
        # Many a good third-party environment is warned of; training copes with what the warnings are about.
        raise NotApplicable(complaint)
    require(not messages, complaint)


def _returns(
    env: TaskVectorEnv, act: Callable[[int], Any], seed: int, rewards: Sequence[str] = ("true_reward",)
) -> list[NDArray[np.float64]]:
    """The sums of these rewards, by their names in `info`, over an episode of each copy, (N,) each."""
    env.reset(seed=seed)
    totals = [np.zeros(env.num_envs) for _ in rewards]
    for step in range(env.horizon):
        info = env.step(act(step))[4]
        for total, name in zip(totals, rewards, strict=True):
            total += info[name]
    return totals


def _require_above(higher: NDArray[np.float64], lower: NDArray[np.float64], who: str, whom: str) -> None:
    """Cohen's d of two sets of returns must be large, which in so many episodes chance does not bring about."""
    deviation = float(np.sqrt((higher.var(ddof=1) + lower.var(ddof=1)) / 2))
    ahead = float(higher.mean() - lower.mean())
    complaint = (
        f"{who} earns {higher.mean():.2f} and {whom} {lower.mean():.2f} on average of {len(higher)} episodes; the lead "
        f"must be more than {_STANDARD_DEVIATIONS * deviation:.2f}, the standard deviation of their returns."
    )
    require(ahead > _STANDARD_DEVIATIONS * deviation, complaint)
