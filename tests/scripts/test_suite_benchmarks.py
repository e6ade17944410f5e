"""The benchmarks of the suite itself: acting without looking, another version beside this one, and Prose."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import config, train
from rlhf_envs.envs.prose.language_model import OWN, frozen_model, load_model
from rlhf_envs.envs.prose.task import PROMPT
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.runs import read_json
from scripts import benchmark
from scripts.benchmarks import prose

ROOT = Path(benchmark.__file__).parents[1]


@pytest.fixture
def documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the page that the tables go into."""
    copy = tmp_path / "docs" / "benchmarks.md"
    copy.parent.mkdir()
    shutil.copy(benchmark.DOCUMENTATION, copy)
    monkeypatch.setattr(benchmark, "DOCUMENTATION", copy)
    return copy


def test_who_does_not_look_is_compared_with_the_expert(tmp_path: Path, documentation: Path) -> None:
    command = ["--write-docs", "--out", str(tmp_path), "trivial", "--env", "rlhf/Headset-v1", "--seeds", "0"]
    assert benchmark.main([*command, "--episodes", "8"]) == 0
    [row] = read_json(tmp_path / "results.json")["trivial"]["rows"]
    assert row["random"] < row["expert"]
    for name in ("constant", "usual", "held", "proxy"):
        assert (row[name] - row["random"]) / (row["expert"] - row["random"]) < 0.5
    assert "| `rlhf/Headset-v1` |" in documentation.read_text().partition("<!-- trivial -->")[2]


def test_two_versions_are_timed_in_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--env", "rlhf/Headset-v1", "--repeats", "1", "--seconds", "0.01", "--frames", "3", "--copies", "4"]
    assert benchmark.main(["--out", str(tmp_path), "versions", "--other", str(ROOT), *small]) == 0
    measured = read_json(tmp_path / "results.json")["versions"]
    for which in ("now", "other"):
        [found] = measured[which]
        assert found["Headset"]["id"] == "rlhf/Headset-v1"
        assert found["Headset"]["steps"] > 0 < found["Headset"]["frames"]
    with pytest.raises(SystemExit):
        benchmark.main(["--out", str(tmp_path), "versions", "--other", str(tmp_path)])
    assert "has no rlhf_envs" in capsys.readouterr().err


def test_prose_is_trained_with_and_without_and_what_it_writes_is_shown(
    tmp_path: Path, documentation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = PPOConfig(num_envs=8, n_steps=32, batch_size=256, n_epochs=1, language_model=OWN)
    monkeypatch.setattr(config, "settings_for", lambda environment, learner, source: preset)
    monkeypatch.setattr(train, "baselines", lambda environment, episodes: {})
    small = ["--answers", "8", "--timesteps", "1024", "--longer", "0", "--seeds", "1", "--texts", "4"]
    command = ["--write-docs", "--out", str(tmp_path), "prose", *small, "--best-of", "2", "3", "--printed", "2"]
    assert benchmark.main(command) == 0
    rows = {row["policy"]: row for row in read_json(tmp_path / "results.json")["prose"]["rows"]}
    assert len(rows) == 5 + len(prose.ARMS)
    assert rows["untouched, best of 3 by the judge"]["true"] >= rows["untouched, best of 2 by the judge"]["true"]
    best = rows["untouched, best of 3 by the learned reward"]["learned"]
    assert best >= rows["untouched, best of 2 by the learned reward"]["learned"] >= rows["untouched"]["learned"] - 1e-6
    assert rows["kl"]["kl"] >= 0 <= rows["no-kl"]["kl"]
    assert all("kl" in point for arm in ("kl", "no-kl") for point in rows[arm]["curve"])
    assert rows["scratch"]["cross_entropy"] > rows["untouched"]["cross_entropy"]
    written = re.search("<!-- prose -->(.*)<!-- /prose -->", documentation.read_text(), re.DOTALL)
    assert written is not None
    assert "![Learned and true return" in written[1] and written[1].count("\n| ") >= 2 + 2 + len(rows)
    assert (documentation.parent / "images" / "prose_kl.svg").is_file()


def test_the_divergence_of_two_models_is_that_of_what_comes_next() -> None:
    model, reference = load_model(OWN), frozen_model(OWN)
    tokens = np.random.default_rng(0).integers(0, model.vocabulary, (2, PROMPT + 3))
    assert prose._divergence(model, reference, tokens) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.positions += 0.05 * torch.randn(model.positions.shape, generator=torch.Generator().manual_seed(0))
        found = []
        for row in tokens:
            for length in range(PROMPT, PROMPT + 3):
                likely: list[Any] = [
                    torch.softmax(each.logits(each.features(torch.from_numpy(row[None, :length]))[0, -1]), dim=0)
                    for each in (model, reference)
                ]
                found.append(float((likely[0] * (likely[0] / likely[1]).log()).sum()))
    assert prose._divergence(model, reference, tokens) == pytest.approx(np.mean(found), rel=1e-3)
