"""What importing a package loads, in a fresh interpreter: no program waits for, or installs, what it does not use."""

import subprocess
import sys

import pytest

from tests.trainer import ROOT

HEAVY = ("torch", "stable_baselines3", "sqlalchemy", "pygame", "matplotlib", "fastapi", "tyro", "scipy", "av")


@pytest.mark.parametrize(
    ("package", "may_load"),
    [
        ("rlhf_envs", ()),
        ("rlhf_envs.environment", ()),
        ("rlhf_envs.runs", ()),
        ("rlhf_envs.cli", ()),
        ("rlhf_envs.rewards", ("torch", "scipy")),
        ("rlhf_envs.evaluation", ("torch", "scipy")),
    ],
)
def test_importing_a_package_loads_nothing_that_it_does_not_use(package: str, may_load: tuple[str, ...]) -> None:
    code = f"import sys, {package}; print([name for name in {HEAVY} if name in sys.modules and name not in {may_load}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
