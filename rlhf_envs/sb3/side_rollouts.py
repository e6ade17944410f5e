"""Rollouts beside those that an algorithm learns from, in a variant of the environment or with perturbed actions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from rlhf_envs.clips import Redrawing
from rlhf_envs.copies import CopiesInProcesses
from rlhf_envs.randomness import own_random_numbers
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.sb3.vec_env import PreferenceVecEnv, make_vec_env
from rlhf_envs.segments import Segment
from rlhf_envs.wrappers.spaces import choice_counts

_STEPS_IN_ROUND = 2_000
"""Environment steps, over all copies, of a round: an episode in each of so many copies, as far as there is room."""

_FEWEST_COPIES, _MOST_COPIES = 2, 16
_BYTES = 2**28
_STRETCH_SEGMENTS = 2


class SideRollouts:
    """Lets the policy that is trained act in copies beside its own, whose segments may be asked about.

    What happens there reaches the questions only: the algorithm learns nothing from it. Each round begins new episodes.
    Their seeds, the sampled actions and the perturbations are functions of the seed and the number of the round, and
    the random generators of the training are left as they were; so a round can be played again after a crash, and
    nothing of it belongs into a checkpoint.

    Args:
        env: the environment that the algorithm trains on.
        segment_length: steps in a segment.
        seed: of everything random.
        variant: arguments of the environment that are other than in training, such as {"traffic": "dense"}.
        held_action_share: the part of the time, from 0 to 1, in which actions are perturbed: one component, which is
            drawn anew for every stretch, is held at a value drawn from the action space, while the policy acts in the
            others. A stretch lasts two segments on average. An action that the environment's masks forbid is
            never taken in place of the policy's.
        copies: how many; as many as play an episode each in `_STEPS_IN_ROUND` steps where None, but from 2 to 16.

    Attributes:
        recorder: the rollouts of the last round.

    Raises:
        ValueError: if the environment has no name to make it by, does not take these arguments, has other spaces with
            them, or episodes shorter than a segment; or if a value is out of range.
    """

    def __init__(
        self,
        env: PreferenceVecEnv,
        segment_length: int,
        seed: int = 0,
        *,
        variant: Mapping[str, Any] | None = None,
        held_action_share: float = 0.0,
        copies: int | None = None,
    ) -> None:
        if env.ref is None:
            raise ValueError("An environment without a reference cannot be made again to act beside the training.")
        if not 0 <= held_action_share <= 1:
            raise ValueError(f"held_action_share is a share from 0 to 1, not {held_action_share}.")
        variant = dict(variant or {})
        if "objective" in variant and env.ref.is_native:
            raise ValueError("Leave objective out of a variant: people are always asked about the true reward.")
        if copies is None:
            copies = min(max(_STEPS_IN_ROUND // env.horizon, _FEWEST_COPIES), _MOST_COPIES)
        self.environment = replace(env.ref, kwargs={**env.ref.kwargs, **variant})
        self._redraw = Redrawing(self.environment, env.ref)
        self._seed, self._share, self._mean_stretch = seed, held_action_share, _STRETCH_SEGMENTS * segment_length
        self._env = make_vec_env(
            self.environment,
            copies,
            seed,
            processes=isinstance(env.env.unwrapped, CopiesInProcesses),
            frames=env.takes_pictures,
            stagger=False,
            capacity_steps=segment_length,
        )
        try:
            self._check_fits(env, variant, segment_length)
        except ValueError:
            self.close()
            raise
        at_most = max(_BYTES // self._env.recorder.step_bytes, segment_length)
        self._env.remember(min(self._env.horizon, at_most))

    @property
    def recorder(self) -> SegmentRecorder:
        """The rollouts of the last round."""
        return self._env.recorder

    def play(self, model: BaseAlgorithm, round: int) -> SegmentRecorder:
        """Act for an episode in every copy; what happened, until the next round is played.

        Where an episode does not fit into memory, a part of it is played and remembered that ends at random.

        Args:
            model: whose policy acts, with sampled actions, by what it sees in training (`VecNormalize`, masks of
                actions, and the memory of a recurrent policy).
            round: the number of the round.
        """
        env, rng = self._env, np.random.default_rng([self._seed, round])
        predict: Any = model.predict
        masked = "action_masks" in inspect.signature(predict).parameters
        may_perturb = self._share > 0
        asks_masks = masked or (may_perturb and env.has_attr("action_masks"))
        normaliser = model.get_vec_normalize_env()
        perturbation = HeldActions(env.action_space, env.num_envs, self._share, self._mean_stretch, rng)
        capacity = self.recorder.capacity
        steps = capacity if capacity >= env.horizon else int(rng.integers(capacity, env.horizon + 1))
        env.seed(int(rng.integers(2**31)))
        memory: Any = None
        begun = np.ones(env.num_envs, dtype=np.bool_)
        with own_random_numbers(model, int(rng.integers(2**31))):
            observations: Any = env.reset()
            for _ in range(steps):
                seen = observations if normaliser is None else normaliser.normalize_obs(observations)
                masks = np.stack(env.env_method("action_masks")).astype(np.bool_) if asks_masks else None
                given = {"action_masks": masks} if masked else {}
                actions, memory = predict(seen, state=memory, episode_start=begun, deterministic=False, **given)
                observations, _, begun, _ = env.step(perturbation(actions, masks) if may_perturb else actions)
        return self.recorder

    def shown(self, segment: Segment) -> Segment:
        """A segment of these rollouts with pictures in place of its states, if training's environment draws it wrongly.

        What is stored is drawn as the environment of the training draws it, such as with another scene.
        """
        return self._redraw(segment)

    def close(self) -> None:
        """Close the copies."""
        self._env.close()

    def _check_fits(self, env: PreferenceVecEnv, variant: Mapping[str, Any], segment_length: int) -> None:
        for name in ("observation_space", "action_space"):
            own, trained = getattr(self._env, name), getattr(env, name)
            if own != trained:
                raise ValueError(
                    f"With {variant} the {name.replace('_', ' ')} of {self.environment.id} is {own}, but the policy is "
                    f"trained on {trained}; a variant has the same spaces."
                )
        if self._env.horizon < segment_length:
            raise ValueError(
                f"With {variant} episodes of {self.environment.id} have {self._env.horizon} steps, in which no segment "
                f"of {segment_length} fits."
            )


class HeldActions:
    """Holds a component of some actions of N copies at a random value for stretches of time.

    An agent whose policy is nearly deterministic shows people nothing but what it does anyway. Independent noise in
    each step averages out; what is held for a while leads elsewhere (as the repeated actions of Dabney et al. 2021,
    "Temporally-extended epsilon-greedy exploration"), and of one component alone people can tell what it did.

    Args:
        space: of a single action; the action of a Discrete space is one component.
        copies: N.
        share: the part of all stretches that are perturbed.
        mean_length: steps of a stretch on average, whose length is geometrically distributed.
        rng: for everything random.
    """

    def __init__(
        self, space: Space[Any], copies: int, share: float, mean_length: float, rng: np.random.Generator
    ) -> None:
        self._space = deepcopy(space)
        self._space.seed(int(rng.integers(2**31)))
        self._share, self._renewal, self._rng = share, 1 / max(mean_length, 1), rng
        counts = choice_counts(space)
        # Where the choices of each component begin in a mask, less the number of the first choice.
        self._offsets: NDArray[np.int64] | None = None
        if counts is not None:
            start = np.asarray(getattr(space, "start", 0), dtype=np.int64).reshape(-1)
            self._offsets = np.cumsum([0, *counts[:-1]]) - start
        drawn = np.asarray(self._space.sample()).reshape(-1)
        self._held = np.zeros(copies, dtype=np.bool_)
        self._components = np.zeros(copies, dtype=np.intp)
        self._values = np.zeros(copies, dtype=drawn.dtype)
        self._size = len(drawn)
        self._renew(np.arange(copies))

    def __call__(self, actions: NDArray[Any], masks: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """The actions (N, *act) of the next step, of which some components are held.

        Args:
            actions: of the policy, (N, *act).
            masks: which choices are allowed, (N, choices of all components); None for all.
        """
        copies = len(actions)
        self._renew(np.flatnonzero(self._rng.random(copies) < self._renewal))
        rows = np.flatnonzero(self._held)
        if masks is not None and self._offsets is not None:
            rows = rows[masks[rows, self._offsets[self._components[rows]] + self._values[rows]]]
        perturbed = actions.reshape(copies, self._size).copy()
        perturbed[rows, self._components[rows]] = self._values[rows]
        return perturbed.reshape(actions.shape)

    def _renew(self, rows: NDArray[np.intp]) -> None:
        """Begin a new stretch in these copies."""
        self._held[rows] = self._rng.random(len(rows)) < self._share
        self._components[rows] = self._rng.integers(0, self._size, len(rows))
        for row in rows[self._held[rows]]:
            self._values[row] = np.asarray(self._space.sample()).reshape(-1)[self._components[row]]
