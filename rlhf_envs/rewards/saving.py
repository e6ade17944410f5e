"""A reward ensemble on disk: `NAME.safetensors` holds everything, `NAME.json` next to it says the same for a reader.

Nothing is unpickled. The description is part of the tensor file, so that one atomic replacement changes both together
and a run that is killed while saving leaves the old model or the new one. So is a digest of everything in it: weights
of which a bit has flipped are numbers still, and would reward as nobody wanted.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from rlhf_envs.files import write_atomically
from rlhf_envs.json_values import space_from_json, space_to_json
from rlhf_envs.objectives import OBJECTIVES, Objective
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.network import EnsembleConfig

FORMAT_VERSION = 7

_NORMALISERS = ("input_mean", "input_std", "member_mean", "member_std")
_DESCRIPTION, _DIGEST = "description", "sha256"
_SUFFIX = ".safetensors"


def save(ensemble: RewardEnsemble, path: str | os.PathLike[str]) -> Path:
    """Write the ensemble to `path` (with or without ".safetensors"), and a readable description next to it.

    Returns:
        The path of the tensor file.

    Raises:
        OSError: if the disk is full or the directory is not writable; an older file stays as it was.
    """
    target = _tensor_path(path)
    description = {
        "format_version": FORMAT_VERSION,
        "observation_space": space_to_json(ensemble.encoder.observation_space),
        "action_space": space_to_json(ensemble.encoder.action_space),
        "config": asdict(ensemble.config),
        "seed": ensemble.seed,
        "fits": ensemble.fits,
        "labels_at_fresh_start": ensemble.labels_at_fresh_start,
        "labels_at_choice_of_form": ensemble.labels_at_choice_of_form,
        "penalties": ensemble.penalties,
        "resampling": ensemble.resampling,
        "absorbing": ensemble.encoder.absorbing,
        "anchored": ensemble.anchored,
        "offset": ensemble.offset,
        "scale": ensemble.scale,
        **{name: getattr(ensemble, name).tolist() for name in _NORMALISERS},
        "columns": ensemble.columns.tolist(),
    }
    tensors = {f"network.{name}": tensor for name, tensor in ensemble.network.state_dict().items()}
    tensors |= {name: getattr(ensemble, name) for name in (*_NORMALISERS, "columns")}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    # In the description, as several entries would be written in any order, and files of the same model differ.
    description[_DIGEST] = _digest(tensors, description)
    content = save_tensors(tensors, {_DESCRIPTION: json.dumps(description)})
    write_atomically(target, content)
    write_atomically(target.with_suffix(".json"), (json.dumps(description, indent=2) + "\n").encode())
    return target


def load(
    path: str | os.PathLike[str],
    objective: Objective | None = None,
) -> RewardEnsemble:
    """Read an ensemble as it was saved, bit for bit.

    Args:
        path: with or without ".safetensors".
        objective: of a model that was fitted with one of the user's own, unless it is registered under the name in the
            file; nothing that a file names is imported.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or of a newer version, or its objective is not known.
    """
    source = _tensor_path(path)
    if not source.is_file():
        raise FileNotFoundError(f"There is no reward model at {source}.")
    try:
        tensors, description = _read(source)
        version, digest = description["format_version"], description.pop(_DIGEST, None)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{source} is damaged or not a reward model: {error}.") from error
    if version != FORMAT_VERSION:
        older = isinstance(version, int) and version < FORMAT_VERSION
        raise ValueError(
            f"{source} has reward model format {version}, and this version of rlhf_envs reads format {FORMAT_VERSION};"
            f" {'learn it anew from its answers (`--offline`)' if older else 'update rlhf_envs'}."
        )
    if digest != _digest(tensors, description):
        raise ValueError(f"{source} is damaged or not a reward model: its SHA-256 is not the one saved with it.")
    try:
        wanted = str(description["config"]["objective"])
        known = objective is not None or wanted in OBJECTIVES
        ensemble = _build(tensors, description, objective) if known else None
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{source} is damaged or not a reward model: {str(error).splitlines()[0]}.") from error
    if ensemble is None:
        raise ValueError(
            f"{source} was fitted with the objective {wanted!r}, which is not registered here: register it, or "
            "load the model with it as an argument."
        )
    return ensemble


def _read(source: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(source, framework="pt") as content:
        metadata = content.metadata() or {}
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    return tensors, json.loads(metadata[_DESCRIPTION])


def _digest(tensors: dict[str, Tensor], description: dict[str, Any]) -> str:
    content = hashlib.sha256(json.dumps(description).encode())
    for name, tensor in sorted(tensors.items()):
        content.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode("utf-8", "surrogatepass"))
        content.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _build(tensors: dict[str, Tensor], description: dict[str, Any], objective: Objective | None) -> RewardEnsemble:
    config = EnsembleConfig(**{**description["config"], "hidden": tuple(description["config"]["hidden"])})
    ensemble = RewardEnsemble(
        space_from_json(description["observation_space"]),
        space_from_json(description["action_space"]),
        config,
        description["seed"],
        objective,
        bool(description["absorbing"]),
    )
    ensemble.columns = _columns(tensors["columns"], ensemble.encoder.columns)
    ensemble.network = ensemble.fresh_network()
    prefix = "network."
    ensemble.network.load_state_dict(
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    )
    for name in _NORMALISERS:
        if tensors[name].shape != getattr(ensemble, name).shape:
            raise ValueError(f"{name} has the wrong shape")
        setattr(ensemble, name, tensors[name])
    ensemble.offset, ensemble.scale = description["offset"], description["scale"]
    ensemble.fits, ensemble.anchored = description["fits"], bool(description["anchored"])
    ensemble.labels_at_fresh_start = description["labels_at_fresh_start"]
    ensemble.labels_at_choice_of_form = description["labels_at_choice_of_form"]
    ensemble.penalties = float(description["penalties"])
    ensemble.resampling = str(description["resampling"])
    return ensemble


def _columns(given: Tensor, most: int) -> Tensor:
    """The columns that a network reads.

    Raises:
        ValueError: if they are not among so many, in their order.
    """
    wanted = torch.zeros(most, dtype=torch.bool)
    if given.dtype != torch.int64 or given.ndim != 1 or not bool(((given >= 0) & (given < most)).all()):
        raise ValueError(f"columns are not some of {most}")
    wanted[given] = True
    if not torch.equal(wanted.nonzero()[:, 0], given):
        raise ValueError("columns are not in their order")
    return given


def _tensor_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path if path.suffix == _SUFFIX else path.with_name(path.name + _SUFFIX)
