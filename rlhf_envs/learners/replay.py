"""Replay buffers in checkpoints: what is new since the last checkpoint is written, and nothing twice.

A transition never changes once it is collected, but for its reward. So transitions are written in blocks of steps that
are shared by all checkpoints of a run, in a folder beside them, and each checkpoint itself holds only the rewards and
the steps of the block that is not full yet. Blocks that no checkpoint needs are deleted, so the files take the space of
one buffer and little more. All are safetensors; nothing is unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from rlhf_envs.files import write_atomically
from rlhf_envs.observations import named_arrays

_FOLDER = "replay"
_FILE = "replay.safetensors"
_BLOCK_BYTES = 2**24


def save_replay(model: OffPolicyAlgorithm, folder: Path) -> None:
    """Write the replay buffer into a checkpoint's folder, and blocks into the folder "replay" beside it.

    Args:
        model: one that has collected everything that it counts as its timesteps into its buffer.
        folder: of the checkpoint, in the folder of all checkpoints, whose names are their timesteps.

    Raises:
        OSError: if the disk is full or cannot be written.
        ValueError: if the buffer is not one of Stable-Baselines3's own.
    """
    buffer = _own_buffer(model)
    steps, length = _steps(model, buffer), _block_length(buffer)
    oldest = max(0, steps - buffer.buffer_size)
    shared = folder.parent / _FOLDER
    shared.mkdir(exist_ok=True)
    _delete_unneeded(buffer, shared, oldest, steps)
    for block in range(oldest // length, steps // length):
        path = _block_path(shared, block)
        if not path.exists():
            # Steps of it that the ring has overwritten already are needed by no checkpoint that is still to come.
            rows = np.arange(block * length, (block + 1) * length) % buffer.buffer_size
            write_atomically(path, save({name: array[rows] for name, array in _transitions(buffer)}))
    tail = np.arange(max(steps // length * length, oldest), steps) % buffer.buffer_size
    arrays = {name: array[tail] for name, array in _transitions(buffer)}
    arrays["rewards"] = buffer.rewards[np.arange(oldest, steps) % buffer.buffer_size]
    (folder / _FILE).write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def restore_replay(model: OffPolicyAlgorithm, folder: Path) -> None:
    """Take back what `save_replay` wrote. Blocks from after this checkpoint are deleted, as they will be made anew.

    Args:
        model: of the same settings; its timesteps are not restored here.
        folder: of the checkpoint; its name is its timesteps.

    Raises:
        OSError, ValueError, KeyError: if a file is missing, damaged or of other settings.
    """
    buffer = _own_buffer(model)
    steps, length = int(folder.name) // buffer.n_envs, _block_length(buffer)
    oldest = max(0, steps - buffer.buffer_size)
    shared = folder.parent / _FOLDER
    for block, path in _blocks(shared):
        if block >= steps // length:
            path.unlink()
    for block in range(oldest // length, steps // length):
        first = max(block * length, oldest)
        content = load_file(_block_path(shared, block))
        _put(buffer, {name: array[first - block * length :] for name, array in content.items()}, first)
    content = load_file(folder / _FILE)
    rewards = content.pop("rewards")
    _put(buffer, content, max(steps // length * length, oldest))
    buffer.rewards[np.arange(oldest, steps) % buffer.buffer_size] = rewards
    buffer.pos, buffer.full = steps % buffer.buffer_size, steps >= buffer.buffer_size


def _own_buffer(model: OffPolicyAlgorithm) -> ReplayBuffer:
    buffer = model.replay_buffer
    if not isinstance(buffer, ReplayBuffer) or buffer.optimize_memory_usage:
        raise ValueError(
            f"{type(model).__name__} needs Stable-Baselines3's own replay buffer, with optimize_memory_usage=False, to "
            "be saved in checkpoints."
        )
    return buffer


def _steps(model: OffPolicyAlgorithm, buffer: ReplayBuffer) -> int:
    """Steps of every copy that were ever collected."""
    steps = model.num_timesteps // buffer.n_envs
    if steps % buffer.buffer_size != buffer.pos:
        raise ValueError(
            f"The replay buffer of {type(model).__name__} does not hold what it has collected in {steps} steps, so it "
            "cannot be saved in a checkpoint."
        )
    return steps


def _transitions(buffer: ReplayBuffer) -> Iterator[tuple[str, NDArray[Any]]]:
    """All arrays of the buffer but the rewards, (buffer_size, N, ...), by name."""
    held: Any = buffer
    for part in ("observations", "next_observations"):
        for key, array in named_arrays(getattr(held, part)):
            yield f"{part}/{key}", array
    for part in ("actions", "dones", "timeouts"):
        yield part, getattr(held, part)


def _put(buffer: ReplayBuffer, arrays: dict[str, NDArray[Any]], first: int) -> None:
    """Write steps, counted from the beginning of the run, into the ring."""
    own = dict(_transitions(buffer))
    if arrays.keys() != own.keys():
        raise ValueError(f"{_FILE}: it holds {', '.join(arrays)}, and the buffer {', '.join(own)}.")
    for name, array in arrays.items():
        if array.shape[1:] != own[name].shape[1:] or array.dtype != own[name].dtype:
            raise ValueError(f"{_FILE}: {name} is {array.dtype} {array.shape}, not {own[name].dtype}.")
        own[name][np.arange(first, first + len(array)) % buffer.buffer_size] = array


def _block_length(buffer: ReplayBuffer) -> int:
    step = sum(array[0].nbytes for _, array in _transitions(buffer))
    return max(1, min(_BLOCK_BYTES // step, buffer.buffer_size))


def _delete_unneeded(buffer: ReplayBuffer, shared: Path, oldest: int, steps: int) -> None:
    """Delete blocks that neither this checkpoint nor one that is there needs, or that a process before has left."""
    complete = [int(path.name) for path in shared.parent.iterdir() if path.name.isdigit()]
    first = min([oldest, *(timesteps // buffer.n_envs - buffer.buffer_size for timesteps in complete)])
    length = _block_length(buffer)
    for block, path in _blocks(shared):
        if (block + 1) * length <= first or block >= steps // length:
            path.unlink()


def _blocks(shared: Path) -> Iterator[tuple[int, Path]]:
    if shared.is_dir():
        for path in sorted(shared.iterdir()):
            if path.stem.isdigit():
                yield int(path.stem), path
            elif path.name.startswith("."):
                os.unlink(path)  # what a killed process has left half written


def _block_path(shared: Path, block: int) -> Path:
    return shared / f"{block:012d}.safetensors"
