"""Exploration before the first question: the policy is paid for states that are unlike those it has visited.

A policy that knows nothing yet flails, and clips of that are all alike. PEBBLE (Lee et al. 2021, arXiv 2106.05091,
section 4.1) first maximises an estimate of the entropy of the visited states, for which no answers are needed, so that
the first questions are about behaviour that differs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.spatial.distance import cdist

from rlhf_envs.observations import Transitions, map_observations
from rlhf_envs.randomness import uniforms_by_integers
from rlhf_envs.rewards import InputEncoder

NEIGHBOURS = 5
"""k: PEBBLE has 5."""

REMEMBERED = 2048
"""Visited states that distances are measured to; of more, a uniform sample."""

_FILE = "exploration.safetensors"
_AT_ONCE = 1024
_HASHED = 8
_SMALLEST = 1e-6


class StateEntropy:
    """Pays for the k-nearest-neighbour estimate of the entropy of the visited states (Singh et al. 2003).

    With d_k(s) the distance of a state to its k-th nearest neighbour among the states visited so far,

        r(s) = log(1 + d_k(s)) / std,

    where std is the standard deviation of these logarithms over all steps so far. PEBBLE has log d_k; with 1 + d_k (Liu
    and Abbeel 2021, arXiv 2103.04551, section 3.2) no reward is negative, so that ending an episode never pays. Numbers
    of the observation are normalised by the mean and standard deviation of the visited states, pictures are shrunk, and
    values of large categories become points at random, all about as far from each other.

    Args:
        encoder: of the environment's observations.
        seed: of the sample of states.
    """

    def __init__(self, encoder: InputEncoder, seed: int = 0) -> None:
        self._encoder = encoder
        self._seed, self._seen, self._rounds = seed, 0, 0
        self._states: NDArray[np.float32] | None = None
        # Count, mean and sum of squared deviations of the logarithms.
        self._moments = np.zeros(3)

    def pay(self, transitions: Transitions) -> NDArray[np.float32]:
        """Remember some of the states, and say what each of them is worth, (B,) float32.

        Args:
            transitions: B steps of the latest rollout; the state of a step is the one that it led to, or where that is
                not known, as after the end of an episode, the one before it.
        """
        states = self._points(transitions)
        remembered = self._remember(states)
        mean, std = remembered.mean(axis=0), remembered.std(axis=0)
        scale = np.where(std > _SMALLEST, std, 1.0)
        known, asked = (remembered - mean) / scale, (states - mean) / scale
        # A state may be among the remembered ones itself.
        k = min(NEIGHBOURS, len(known) - 1)
        logs = np.concatenate(
            [
                np.log1p(np.partition(cdist(asked[start : start + _AT_ONCE], known), k, axis=1)[:, k])
                for start in range(0, len(asked), _AT_ONCE)
            ]
        )
        self._note(logs)
        count, _, squares = self._moments
        spread = float(np.sqrt(squares / count))
        return (logs / (spread if spread > _SMALLEST else 1.0)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write what `restore` needs into a checkpoint's folder."""
        states = np.zeros((0, 0), np.float32) if self._states is None else self._states
        counts = np.array([self._seen, self._rounds], np.int64)
        save_file({"states": states, "moments": self._moments, "counts": counts}, folder / _FILE)

    def restore(self, folder: Path) -> None:
        """Take back what `save` wrote.

        Raises:
            OSError, KeyError, SafetensorError: if it is damaged.
        """
        read = load_file(folder / _FILE)
        self._states = read["states"] if read["states"].size else None
        self._moments = read["moments"]
        self._seen, self._rounds = (int(count) for count in read["counts"])

    def _points(self, transitions: Transitions) -> NDArray[np.float32]:
        """The states that steps led to, as points, (B, F)."""
        encoder, count = self._encoder, len(transitions.actions)
        shown, following, ended = transitions.observations, transitions.next_observations, transitions.ended
        if following is not None:
            over = np.zeros(count, np.bool_) if ended is None else ended
            shown = map_observations(
                lambda now, then: np.where(over.reshape(-1, *[1] * (now.ndim - 1)), now, then), shown, following
            )
        encoded = encoder.encode(shown, transitions.actions)
        columns = [encoded.vector[:, : encoder.observed]]
        for table, source in enumerate(encoder.table_sources):
            if not source.is_action:
                category = encoded.categories[:, table].astype(np.uint64)[:, None]
                places = np.arange(_HASHED, dtype=np.uint64)[None, :]
                points = uniforms_by_integers(np.full((1, 1), table, np.uint64), category, places)
                columns.append(points.astype(np.float32))
        return np.concatenate([np.zeros((count, 0), np.float32), *columns], axis=1).astype(np.float32)

    def _remember(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """A uniform sample of all states so far, these included: (at most `REMEMBERED`, F)."""
        before = np.zeros((0, states.shape[1]), np.float32) if self._states is None else self._states
        self._rounds += 1
        # As a function of the round, so that a resumed run draws the same.
        rng = np.random.default_rng([self._seed % 2**64, self._rounds])
        total = self._seen + len(states)
        wanted = min(total, REMEMBERED)
        new = int(rng.binomial(wanted, len(states) / total)) if total > REMEMBERED else len(states)
        new = max(min(new, len(states)), wanted - len(before))
        kept = before[rng.permutation(len(before))[: wanted - new]]
        self._states = np.concatenate([kept, states[rng.permutation(len(states))[:new]]])
        self._seen = total
        return self._states

    def _note(self, logs: NDArray[np.float64]) -> None:
        """Take the logarithms into their moments (Chan et al. 1979)."""
        count, mean, squares = self._moments
        added = len(logs)
        difference = logs.mean() - mean
        total = count + added
        self._moments = np.array(
            [
                total,
                mean + difference * added / total,
                squares + ((logs - logs.mean()) ** 2).sum() + difference**2 * count * added / total,
            ]
        )
