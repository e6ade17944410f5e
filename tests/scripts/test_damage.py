"""Damaged and forged files end in a sentence. Here a part of the variants is tried, with --nightly all of them."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.runs import RunDirectory
from scripts.benchmarks import damage


def test_what_is_done_with_damaged_stores_would_notice_what_is_wrong(tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    sound.write_text("sound")

    def damaged(path: Path, rng: object) -> str:
        path.write_text("damaged")
        return "damaged"

    def use(path: Path) -> None:
        if path.read_text() != "sound":
            raise TypeError("unexpected")

    found = damage.try_variants(sound, tmp_path / "copies", 3, 0, damaged, {"use": use})
    assert (found.tried, found.refused) == (3, 0)
    assert [failure.endswith("use: TypeError: unexpected") for failure in found.failures] == [True] * 3
    with pytest.raises(TypeError):
        sound.write_text("damaged before")
        damage.try_variants(sound, tmp_path / "copies", 3, 0, damaged, {"use": use})


def test_a_trap_springs_where_it_is_unpickled_and_only_there(tmp_path: Path) -> None:
    command = (
        "import sys, pickle, scripts.benchmarks.damage as damage; pickle.loads(damage.TRAP); print(damage._sprung)"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[True]"


def test_damaged_archives_end_in_a_sentence(tmp_path: Path, nightly: bool) -> None:
    found = damage.fuzz_archives(tmp_path, 200 if nightly else 40)
    assert found.failures == []
    assert found.refused > found.tried / 3


def test_damaged_stores_end_in_a_sentence(tmp_path: Path, nightly: bool) -> None:
    found = damage.fuzz_stores(tmp_path, 500 if nightly else 40)
    assert found.failures == []
    assert found.refused > found.tried / 3


def test_damaged_runs_end_in_a_sentence(finished: Path, tmp_path: Path, nightly: bool) -> None:
    found = damage.fuzz_folders(finished, tmp_path, 500 if nightly else 24)
    assert found.failures == []
    assert found.refused > found.tried / 5


def test_a_policy_that_is_more_than_tensors_is_refused_without_advice_to_load_it_all_the_same(copied: Path) -> None:
    with zipfile.ZipFile(copied / "policy.zip") as policy:
        members = {name: policy.read(name) for name in policy.namelist()}
    with zipfile.ZipFile(copied / "policy.zip", "w") as policy:
        for name, content in members.items():
            policy.writestr(name, damage.TRAP if name == "policy.pth" else content)
    with pytest.raises(ValueError, match="holds more than tensors") as refusal:
        RunDirectory(copied).load_policy()
    assert "trust" not in str(refusal.value)


@pytest.mark.parametrize(
    "place, value",
    [
        (("random_return_mean",), "float32"),
        (("true_return_std",), [0]),
        (("reward_terms", "progress"), [2**40]),
        (("baseline_measures", "idle", "time_headway"), []),
    ],
)
def test_a_figure_of_a_run_that_is_no_number_is_named(copied: Path, place: tuple[str, ...], value: Any) -> None:
    path = RunDirectory(copied).metrics_path
    metrics = inner = json.loads(path.read_text())
    for name in place[:-1]:
        inner = inner[name]
    assert isinstance(inner[place[-1]], float)
    inner[place[-1]] = value
    path.write_text(json.dumps(metrics))
    with pytest.raises(ValueError, match=f"{re.escape(' '.join(place))} is .*, which is no number"):
        RunDirectory(copied).read_metrics()
