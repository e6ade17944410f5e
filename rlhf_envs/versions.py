"""The versions of what made a run or an archive."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import rlhf_envs


def software_versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python, of this library and of other packages, by name; "not installed" where one is missing."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "rlhf-envs": rlhf_envs.__version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
