"""What --help says: every flag has a description, and names that can be chosen are told."""

import dataclasses
import re
from inspect import cleandoc
from typing import Any

import pytest

from agents.config import RunConfig, RunOptions, TeacherChanges
from rlhf_envs.cli import demonstrate, evaluate, judge, label, watch
from rlhf_envs.cli.flags import EnvironmentFlags, ScreenFlags
from rlhf_envs.evaluation.judging.session import JudgingConfig
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.loop import SELECTION_RULES, FeedbackConfig
from rlhf_envs.loop.config import SCHEDULES
from rlhf_envs.rewards import OBJECTIVES, EnsembleConfig, FitConfig
from rlhf_envs.rewards.resampling import RESAMPLING
from scripts import train

SETTINGS = [
    EnsembleConfig,
    EnvironmentFlags,
    ScreenFlags,
    FeedbackConfig,
    PPOConfig,
    RunOptions,
    TeacherChanges,
    FitConfig,
    RunConfig,
    JudgingConfig,
    train.Arguments,
    demonstrate.Arguments,
    evaluate.Arguments,
    judge.Arguments,
    label.Arguments,
    watch.Arguments,
]


def described(settings: type[Any]) -> dict[str, str]:
    """The entries of the attributes in the docstrings of a class and its bases, by the names before their colons."""
    found: dict[str, str] = {}
    for each in reversed(settings.__mro__):
        # Python 3.13 takes the indentation from docstrings itself.
        attributes = cleandoc(each.__doc__ or "").partition("Attributes:\n")[2]
        entries = re.split(r"^ {4}(?=\S)", attributes, flags=re.MULTILINE)
        found |= {name: text for name, _, text in (entry.partition(":") for entry in entries if entry.strip())}
    return found


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: f"{settings.__module__}.{settings.__name__}")
def test_every_flag_is_described(settings: type[Any]) -> None:
    assert [part.name for part in dataclasses.fields(settings) if part.name not in described(settings)] == []


@pytest.mark.parametrize(
    "settings, name, registry",
    [
        (FeedbackConfig, "selection", SELECTION_RULES),
        (FeedbackConfig, "schedule", SCHEDULES),
        (EnsembleConfig, "objective", OBJECTIVES),
        (FitConfig, "resampling", RESAMPLING),
    ],
)
def test_the_names_that_can_be_chosen_are_told(settings: type[Any], name: str, registry: dict[str, Any]) -> None:
    assert sorted(re.findall(r'"(\w+)"', described(settings)[name])) == sorted(registry)


def test_the_help_tells_what_stands_in_the_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.main(["--help-all"])
    said = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    assert said.startswith("usage: python -m scripts.train")
    for told in (
        '"disagreement"',
        "rationality of its choices",
        "longer gradients are cut",
        "rlhf-envs label --feedback web",
        "{constant,hyperbolic}",
    ):
        assert told in said


def test_the_help_is_two_screens_of_flags_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--help", "--env", "CartPole-v1", "--learner", "a2c"]) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) <= 2 * 24 and max(map(len, short.splitlines())) <= 80
    assert "(a2c)" in short and "--help-all" in short
    with pytest.raises(SystemExit):
        train.main(["--help-all"])
    every = set(re.findall(r"(--[\w.-]+)", capsys.readouterr().out))
    listed = set(re.findall(r"^  (--[\w.-]+)", short, re.MULTILINE)) - {"--learner.NAME"}
    assert len(listed) > 20 and listed <= every
