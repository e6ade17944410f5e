"""manifest.json: what an archive holds, what it is about, and the digests of its files."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.versions import software_versions

FORMAT = "rlhf-envs archive"
FORMAT_VERSION = 3
"""Raised by every change to the files; only archives of this version are read."""

MANIFEST = "manifest.json"
QUERIES = "queries.parquet"
ANSWERS = "answers.parquet"
SEGMENTS = "segments.parquet"
DATASHEET = "DATASHEET.md"
CARD = "README.md"
TABLES = (QUERIES, ANSWERS, SEGMENTS)
CLIPS = "clips"

_CLIP = re.compile(r"clips/segment-\d{6,19}\.mp4", re.ASCII)
_PACKAGES = ("gymnasium", "numpy", "pyarrow", "SQLAlchemy", "safetensors", "av")
_LARGEST = 256 * 2**20


@dataclass(frozen=True)
class Manifest:
    """The description of an archive.

    Attributes:
        environment: the environment, as the store describes it.
        observation_space, action_space: as `rlhf_envs.json_values` writes them; None where the environment could not
            be made when the archive was.
        kinds: the kinds of feedback that queries have, each with the types of its columns in answers.parquet by name.
        counts: how many rows and files there are, by name.
        pseudonyms: whether the names of people were replaced.
        files: every file but this one and the datasheet: its name to its size in "bytes" and its "sha256".
        made_at: when the archive was made, ISO 8601, UTC.
        versions: of what made it.
    """

    environment: StoredEnvironment
    observation_space: Mapping[str, Any] | None
    action_space: Mapping[str, Any] | None
    kinds: Mapping[str, Mapping[str, str]]
    counts: Mapping[str, int]
    pseudonyms: bool
    files: Mapping[str, Mapping[str, Any]]
    made_at: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    versions: Mapping[str, str] = field(default_factory=lambda: software_versions(_PACKAGES))

    def write(self, folder: Path) -> None:
        """Write manifest.json into a folder."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **vars(self)}
        content["environment"] = self.environment.to_json()
        (folder / MANIFEST).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    @property
    def columns(self) -> dict[str, str]:
        """The columns of all kinds of feedback, with their types."""
        return {name: type for columns in self.kinds.values() for name, type in columns.items()}

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            ValueError: if there is none, it is damaged, of another version, or names files that no archive has.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise ValueError(f"{folder} is no export: there is no {MANIFEST} in it.")
        try:
            if path.stat().st_size > _LARGEST:
                raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged and cannot be read: {error}.") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{path} does not belong to an export: it does not say that its format is {FORMAT!r}.")
        version_found = content.get("format_version")
        if type(version_found) is int and version_found != FORMAT_VERSION:
            raise ValueError(
                f"{folder} has version {version_found} of the export format, but this rlhf-envs reads version "
                f"{FORMAT_VERSION}: use the rlhf-envs that made it, or export it anew."
            )
        try:
            if version_found != FORMAT_VERSION:
                raise ValueError(f"its format_version is {version_found!r}")
            described = {name: value for name, value in content.items() if not name.startswith("format")}
            manifest = cls(**described | {"environment": StoredEnvironment.from_json(described["environment"])})
            _check(manifest)
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"{path} is damaged: {str(error).rstrip('.')}.") from error
        return manifest


def describe_file(path: Path) -> dict[str, Any]:
    """The entry of a file in `Manifest.files`."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def check_file(folder: Path, name: str, described: Mapping[str, Any]) -> None:
    """Compare a file with its entry in `Manifest.files`.

    Raises:
        ValueError: if it is not there, or not the one that was written.
    """
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{path} is missing; copy the export again.")
    if path.stat().st_size != described["bytes"] or describe_file(path) != dict(described):
        raise ValueError(f"{path} is not the file that {MANIFEST} describes: it is damaged or was changed.")


def _check(manifest: Manifest) -> None:
    types = {
        "environment": StoredEnvironment,
        "pseudonyms": bool,
        "made_at": str,
        "observation_space": dict | None,
        "action_space": dict | None,
    }
    for name, value in vars(manifest).items():
        if not isinstance(value, types.get(name, dict)):
            raise ValueError(f"{name} is {value!r}")
    for name, described in manifest.files.items():
        if name not in TABLES and not _CLIP.fullmatch(name):
            raise ValueError(f"it names {name!r}, which is no file of an export")
        if not (isinstance(described, dict) and set(described) == {"bytes", "sha256"}):
            raise ValueError(f"it does not say the size and the digest of {name}")
    for name in TABLES:
        if name not in manifest.files:
            raise ValueError(f"it does not name {name}")
