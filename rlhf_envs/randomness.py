"""Random numbers that are functions of what they are for: counter-based streams, hashes, and those a policy draws by.

Counter-based streams serve the copies of an environment. Every copy owns a key and a counter; the n-th draw of a copy
is a pure function of (key, n). So the numbers that a copy sees do not depend on how many other copies there are, a
snapshot of two integers restores a stream exactly, and all copies draw in one vectorised pass. The function is
SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", figure 16).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_ONE_AS_FLOAT_BITS = np.uint32(0x3F800000)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function of (...) uint64, in place."""
    scratch = values >> np.uint64(30)
    values ^= scratch
    values *= _MIX_1
    np.right_shift(values, np.uint64(27), out=scratch)
    values ^= scratch
    values *= _MIX_2
    np.right_shift(values, np.uint64(31), out=scratch)
    values ^= scratch
    return values


def keys_from_seeds(seeds: NDArray[Any]) -> NDArray[np.uint64]:
    """The stream keys (N,) for integer seeds (N,). Neighbouring seeds give unrelated keys."""
    return mix(np.asarray(seeds, dtype=np.uint64) * _GOLDEN + _GOLDEN)


def draw_uniforms(keys: NDArray[np.uint64], counters: NDArray[np.uint64], count: int) -> NDArray[np.float32]:
    """The next `count` numbers of every stream, and advance the counters in place.

    Args:
        keys: stream keys, (N,).
        counters: numbers drawn so far, (N,); raised by `count`.
        count: how many numbers each stream gives.

    Returns:
        Uniform numbers in [0, 1) with 23 random bits each, (count, N) float32.
    """
    offsets = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    values = mix((keys + counters * _GOLDEN) + offsets[:, None])
    counters += np.uint64(count)
    values >>= np.uint64(41)
    bits = values.astype(np.uint32)
    bits |= _ONE_AS_FLOAT_BITS
    uniforms = bits.view(np.float32)
    uniforms -= np.float32(1.0)
    return uniforms


def normals_from(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard normal numbers from two arrays of uniform ones, by the Box-Muller transform; shape as `first`."""
    radius = np.sqrt(np.float32(-2.0) * np.log(np.float32(1.0) - first))
    return radius * np.cos(np.float32(2.0 * np.pi) * second)


def uniforms_by_integers(*parts: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Independent uniform numbers in [0, 1) that are functions of integers, by one step of SplitMix64 for each of them.

    Args:
        parts: integers such as a seed, a position and a member, each an array; they are broadcast together.

    Returns:
        Numbers with 53 random bits each, of the broadcast shape.
    """
    state = np.zeros((1,) * max(part.ndim for part in parts), dtype=np.uint64)
    for part in parts:
        state = mix(state + part + _GOLDEN)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniform_by_name(*names: object) -> float:
    """A uniform number in [0, 1) that is the same whenever it is asked for by the same names.

    Such numbers decide what must be the same after a retried request or a resumed run, such as the side of a clip.

    Args:
        names: what the number is for, such as an annotator and a query; distinguished by their text.
    """
    text = "\0".join(str(name) for name in names)
    return (int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 11) * 2.0**-53


def generator_by_name(*names: object) -> np.random.Generator:
    """A random generator that is the same whenever it is asked for by the same names; see `uniform_by_name`."""
    text = "\0".join(str(name) for name in names)
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
    return np.random.Generator(np.random.PCG64(seed))


@contextmanager
def own_random_numbers(model: BaseAlgorithm, seed: int) -> Iterator[None]:
    """Let a policy draw from generators of their own, and leave those of the training as they were."""
    # Most of what needs random numbers of copies does without PyTorch.
    import torch

    legacy, space = np.random.get_state(), model.action_space  # noqa: NPY002
    before = deepcopy(space._np_random)
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        space.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(legacy)  # noqa: NPY002
            space._np_random = before
