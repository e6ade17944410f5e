"""The last answers choose between a run's two policies: what is kept for them, what is asked, and what they decide."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from rich.console import Console

import agents.judging
import agents.train
from agents.callbacks import RunInterrupted, StopRequest
from agents.config import RunConfig, RunOptions, refused_change
from agents.fresh_policy import Choice, Kept
from agents.judging import answers_for_judging
from agents.train import build, train
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation.judging.session import ClipRecorder
from rlhf_envs.feedback import Choice as Answer
from rlhf_envs.feedback import PreferenceStore, Purpose, StoreError, Submission
from rlhf_envs.feedback.store.status import OWNER_REQUESTS
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.loop import FeedbackConfig, FeedbackLoop
from rlhf_envs.queries import Query
from rlhf_envs.rewards import EnsembleConfig, FitConfig
from rlhf_envs.runs import RunDirectory

RECOMMENDER = EnvironmentRef("rlhf/Recommender-v1", {"horizon": 16})
ANSWERS, KEPT = 40, 4


class PrefersThe:
    """Prefers clips of one of the two policies, where a query is about these, and the left one otherwise."""

    def __init__(self, policy: Kept) -> None:
        self.name, self.policy = f"friend of the {policy}", policy
        self.asked: list[Query] = []

    def serve(self, store: PreferenceStore) -> int:
        served = 0
        while (query := store.take(self.name)) is not None:
            self.asked.append(query)
            right = query.context.get("right") == self.policy
            store.answer(query.id or 0, self.name, Answer.RIGHT if right else Answer.LEFT)
            served += 1
        return served


def configured(environment: EnvironmentRef = RECOMMENDER, **changes: Any) -> RunConfig:
    labels = {"answers": ANSWERS, "segment_length": 4, **changes.pop("labels", {})}
    run = {"evaluation_episodes": 4, "fresh_policy": "always", **changes.pop("run", {})}
    return RunConfig(
        environment,
        **{"timesteps": 256, **changes},
        labels=FeedbackConfig(**labels),
        ensemble=EnsembleConfig(members=2, hidden=(8,)),
        fit=FitConfig(steps=20, epochs=1),
        learner_settings=PPOConfig(num_envs=4, n_steps=16, batch_size=64, n_epochs=2, net_arch=(8,)),
        run=RunOptions(**run),
    )


def trained(
    folder: Path, config: RunConfig | None = None, annotator: Any = None, resume: bool = False
) -> tuple[RunDirectory, dict[str, Any]]:
    config, directory = config or configured(), RunDirectory(folder / "run")
    if annotator is not None:
        object.__setattr__(config, "annotator", lambda: annotator)
    if not resume:
        directory.create(config.to_json())
    return directory, train(config, directory, Console(file=io.StringIO()), report=False, resume=resume)


def about_policies(directory: RunDirectory) -> list[Query]:
    with directory.open_store() as store:
        return [query for query in store.queries() if "policies" in query.context]


@pytest.mark.parametrize(
    ("first", "fresh", "by_answers", "kept"),
    [
        (1.0, 2.0, (0, 0, 0), "fresh"),
        (2.0, 1.0, (0, 0, 0), "first"),
        (1.0, 2.0, (8, 2, 0), "first"),
        (1.0, 2.0, (7, 3, 0), "fresh"),
        (2.0, 1.0, (0, 4, 0), "fresh"),
        (2.0, 1.0, (0, 3, 1), "first"),
        (2.0, 1.0, (0, 4, 6), "first"),
    ],
)
def test_only_a_clear_preference_overrules_the_reward(
    first: float, fresh: float, by_answers: tuple[int, int, int], kept: str
) -> None:
    assert Choice(first, fresh, *by_answers).kept == kept


@pytest.mark.parametrize("policy", ["first", "fresh"])
def test_the_policy_that_is_clearly_preferred_is_kept_whatever_it_earns(tmp_path: Path, policy: Kept) -> None:
    friend = PrefersThe(policy)
    directory, metrics = trained(tmp_path, annotator=friend)
    about = metrics["fresh_policy"]
    assert about["kept"] == policy and about[f"{policy}_preferred"] == KEPT
    assert metrics["answers"] == metrics["labels"] == ANSWERS
    asked = about_policies(directory)
    assert len(asked) == KEPT and {id for query in asked for id in (query.id,)} == {
        query.id for query in friend.asked[-KEPT:]
    }
    assert {query.context["left"] for query in asked} == {"first", "fresh"}
    with directory.open_store() as store:
        assert store.counts()[Purpose.TRAIN].asked == ANSWERS


def test_both_sides_show_the_same_moment_of_episodes_that_began_alike(tmp_path: Path) -> None:
    directory, _ = trained(tmp_path)
    queries = sorted(about_policies(directory), key=lambda query: query.key)
    first = queries[0].segments
    assert all(len(segment) == 4 for query in queries for segment in query.segments)
    for name in first[0].observations if isinstance(first[0].observations, dict) else ():
        np.testing.assert_array_equal(first[0].observations[name][0], first[1].observations[name][0])
    assert first[0].states is not None and first[1].states is not None
    np.testing.assert_array_equal(first[0].states[0], first[1].states[0])
    begun = [query.segments[0].states for query in queries]
    assert len({states[0].tobytes() for states in begun if states is not None}) == KEPT


@pytest.mark.parametrize(
    "changes",
    [
        {"run": {"fresh_policy": "never"}},
        {"run": {"fresh_policy": "auto"}},
        {"run": {"judging_share": 0.0}},
        {"labels": {"answers": 30}},
        {"reward": "true"},
    ],
)
def test_nothing_is_kept_where_no_second_policy_is_expected_or_too_little(changes: dict[str, Any]) -> None:
    config = configured(**changes)
    env, model = build(config)
    assert answers_for_judging(config, model) == 0
    env.close()


def test_nothing_is_kept_of_annotators_who_compare_nothing() -> None:
    friend, config = PrefersThe("first"), configured(labels={"kinds": {"ranking": 1.0}})
    object.__setattr__(config, "annotator", lambda: friend)
    env, model = build(config)
    assert answers_for_judging(config, model) == KEPT
    friend.kinds = ("ranking",)  # type: ignore[attr-defined]
    assert answers_for_judging(config, model) == 0
    env.close()


def test_a_query_that_several_answer_costs_as_many_of_those_kept() -> None:
    config = configured(labels={"answers": 90, "overlap": 2})
    env, model = build(config)
    assert answers_for_judging(config, model) == 8
    env.close()


def test_a_run_that_is_killed_among_the_last_answers_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, undisturbed = trained(tmp_path / "undisturbed")
    compare = FeedbackLoop.compare

    def killed(self: FeedbackLoop, *given: Any) -> None:
        compare(self, *given)
        raise KeyboardInterrupt

    monkeypatch.setattr(FeedbackLoop, "compare", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed")
    monkeypatch.setattr(FeedbackLoop, "compare", compare)
    directory, metrics = trained(tmp_path / "killed", resume=True)
    assert len(about_policies(directory)) == KEPT and metrics["answers"] == ANSWERS
    for name in ("first", "fresh", "first_preferred", "fresh_preferred", "ties", "kept"):
        assert metrics["fresh_policy"][name] == undisturbed["fresh_policy"][name]
    assert metrics["reward_correlation"] == pytest.approx(undisturbed["reward_correlation"])


def test_repeated_pairs_cost_some_of_the_answers_that_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_second = agents.train.train_afresh

    def repeat_a_pair(config: RunConfig, directory: RunDirectory, *given: Any) -> dict[str, Any]:
        with directory.open_store() as store:
            query = next(iter(store.queries()))
            check = Query("check/ann/1", query.round, query.segments, purpose=Purpose.CHECK, only_for="ann")
            store.ask([check])
        return train_second(config, directory, *given)

    monkeypatch.setattr(agents.train, "train_afresh", repeat_a_pair)
    directory, metrics = trained(tmp_path)
    assert len(about_policies(directory)) == KEPT - 1 and metrics["answers"] == ANSWERS


def test_a_run_that_is_extended_does_not_ask_them_again(tmp_path: Path) -> None:
    trained(tmp_path)
    directory, metrics = trained(tmp_path, configured(timesteps=512), resume=True)
    assert len(about_policies(directory)) == KEPT
    assert metrics["answers"] == metrics["comparisons"] == metrics["labels"] == ANSWERS
    assert metrics["fresh_policy"]["first_preferred"] == metrics["fresh_policy"]["fresh_preferred"] == 0


def test_where_episodes_terminate_clips_show_the_end(tmp_path: Path) -> None:
    cart = EnvironmentRef("CartPole-v1")
    directory, metrics = trained(tmp_path, configured(cart, labels={"segment_length": 10}))
    queries = about_policies(directory)
    assert len(queries) == KEPT
    assert any(segment.is_absorbing.any() for query in queries for segment in query.segments)
    assert not any(segment.is_absorbing.all() for query in queries for segment in query.segments)
    assert metrics["fresh_policy"]["kept"] in ("first", "fresh")


class CutShort(gym.Wrapper[Any, Any, Any, Any]):
    """Truncates every episode after three steps, although its horizon is longer."""

    def reset(self, **given: Any) -> Any:
        self.left = 3
        return super().reset(**given)

    def step(self, action: Any) -> Any:
        self.left -= 1
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.left == 0, info


def test_clips_that_a_truncation_cuts_short_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, clip = configured(), ClipRecorder.clip

    def cut(self: ClipRecorder, *given: Any) -> Any:
        self.copies._envs = [CutShort(env) for env in self.copies._envs if not isinstance(env, CutShort)] or list(
            self.copies._envs
        )
        return clip(self, *given)

    monkeypatch.setattr(ClipRecorder, "clip", cut)
    directory, metrics = trained(tmp_path, config)
    assert about_policies(directory) == [] and metrics["answers"] == ANSWERS - KEPT
    assert metrics["unasked_comparisons"] == KEPT


@pytest.fixture
def person(tmp_path: Path) -> Iterator[threading.Event]:
    """Somebody who answers whatever is open in the run's store, until the event is set."""
    gone = threading.Event()

    def answer() -> None:
        directory = RunDirectory(tmp_path / "run")
        while not gone.is_set():
            time.sleep(0.02)
            # It may not be there yet, or be half made.
            with suppress(StoreError, ValueError), directory.open_store() as store:
                while not gone.is_set() and (query := store.take("ann")) is not None:
                    store.answer_many([Submission(query.id or 0, "ann", Answer.LEFT)])

    thread = threading.Thread(target=answer)
    thread.start()
    yield gone
    gone.set()
    thread.join()


def asking_people(**changes: Any) -> RunConfig:
    return configured(feedback="elsewhere", labels={"wait_for_answers": True}, **changes)


def test_people_answer_the_last_questions_once_both_policies_are_trained(
    tmp_path: Path, person: threading.Event
) -> None:
    directory, metrics = trained(tmp_path, asking_people())
    about = metrics["fresh_policy"]
    assert about["first_preferred"] + about["fresh_preferred"] == KEPT and metrics["labels"] == ANSWERS
    shown = [segment for query in about_policies(directory) for segment in query.segments]
    assert all(segment.states is not None for segment in shown)


def with_window(monkeypatch: pytest.MonkeyPatch, closed: threading.Event) -> None:
    """Runs have a window, which is closed once the event is set."""
    begun = StopRequest.__init__

    def with_condition(self: StopRequest) -> None:
        begun(self)
        self.also_when(closed.is_set)

    monkeypatch.setattr(StopRequest, "__init__", with_condition)


def once_both_are_trained(monkeypatch: pytest.MonkeyPatch, happens: Any) -> None:
    train_second = agents.train.train_afresh

    def train_and_go_on(config: RunConfig, directory: RunDirectory, *given: Any) -> dict[str, Any]:
        spent = train_second(config, directory, *given)
        happens(directory)
        return spent

    monkeypatch.setattr(agents.train, "train_afresh", train_and_go_on)


def test_a_run_whose_window_was_closed_ends_without_the_last_questions(
    tmp_path: Path, person: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_window(monkeypatch, person)
    once_both_are_trained(monkeypatch, lambda directory: person.set())
    directory, metrics = trained(tmp_path, asking_people())
    about = metrics["fresh_policy"]
    assert about_policies(directory) == [] and metrics["answers"] == ANSWERS - KEPT
    assert metrics["unasked_comparisons"] == KEPT
    assert about["kept"] == ("fresh" if about["fresh"] > about["first"] else "first")


def test_a_window_that_is_closed_among_the_last_questions_goes_on_with_what_was_answered(
    tmp_path: Path, person: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, first = threading.Event(), threading.Event()
    with_window(monkeypatch, closed)
    once_both_are_trained(monkeypatch, lambda directory: person.set())
    compare = FeedbackLoop.compare

    def one_is_answered(self: FeedbackLoop, *given: Any) -> float:
        def answer() -> None:
            while (query := self.store.take("ann")) is None:
                time.sleep(0.02)
            self.store.answer(query.id or 0, "ann", Answer.LEFT)
            first.set()
            closed.set()

        threading.Thread(target=answer).start()
        return compare(self, *given)

    monkeypatch.setattr(FeedbackLoop, "compare", one_is_answered)
    directory, metrics = trained(tmp_path, asking_people())
    about = metrics["fresh_policy"]
    assert first.is_set() and len(about_policies(directory)) == KEPT
    assert about["first_preferred"] + about["fresh_preferred"] == 1 and metrics["labels"] == ANSWERS - KEPT + 1


def test_a_run_that_is_stopped_while_it_waits_is_resumed_with_or_without_the_last_answers(
    tmp_path: Path, person: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(directory: RunDirectory) -> None:
        person.set()
        with directory.open_store() as store:
            store.post_status(OWNER_REQUESTS, {"stop": True})

    train_second = agents.train.train_afresh
    once_both_are_trained(monkeypatch, leave)
    with pytest.raises(RunInterrupted):
        trained(tmp_path, asking_people())
    monkeypatch.setattr(agents.train, "train_afresh", train_second)
    directory = RunDirectory(tmp_path / "run")
    assert len(about_policies(directory)) == KEPT and not directory.metrics_path.exists()
    without = asking_people(run={"judging_share": 0.0})
    assert refused_change(asking_people().to_json(), without.to_json(), 256) is None
    _, metrics = trained(tmp_path, without, resume=True)
    assert metrics["labels"] == ANSWERS - KEPT and metrics["fresh_policy"]["kept"] in ("first", "fresh")


def test_a_run_whose_environment_cannot_be_restored_is_resumed_among_the_last_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = configured(EnvironmentRef("tests.sb3.environments:test/Walk-v0"), labels={"segment_length": 4})
    compare = FeedbackLoop.compare

    def killed(self: FeedbackLoop, *given: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(FeedbackLoop, "compare", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, walk)
    monkeypatch.setattr(FeedbackLoop, "compare", compare)
    _, metrics = trained(tmp_path, walk, resume=True)
    assert metrics["answers"] == metrics["labels"] == ANSWERS


def test_comparisons_of_an_earlier_run_are_not_taken_for_ones_of_this(tmp_path: Path) -> None:
    earlier, _ = trained(tmp_path / "earlier", annotator=PrefersThe("first"))
    config = configured(reward_model=str(earlier.path))
    directory, metrics = trained(tmp_path / "later", config, annotator=PrefersThe("fresh"))
    assert metrics["fresh_policy"]["fresh_preferred"] == KEPT and metrics["fresh_policy"]["first_preferred"] == 0
    assert len(about_policies(directory)) == 2 * KEPT and metrics["labels"] == 2 * ANSWERS
