"""The practice round of a new annotator."""

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import pytest

from rlhf_envs.clips import clip_painter
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.feedback.guidance import GENERAL_RUBRIC, guidance
from rlhf_envs.feedback.practice import PRACTICE_ROUND, PracticePair, ask_practice, draw_practice
from tests.answers import give_answer

NATIVE = StoredEnvironment(EnvironmentRef("rlhf/Recommender-v1"), 5)


def test_a_new_annotator_compares_the_expert_with_chance_and_the_answer_is_known(tmp_path: Path) -> None:
    with PreferenceStore.create(tmp_path / "feedback.db", environment=NATIVE) as store:
        assert ask_practice(store, "ann") == PRACTICE_ROUND == ask_practice(store, "ann")
        asked = store.queries(purpose=Purpose.PRACTICE)
        assert len(asked) == PRACTICE_ROUND
        painter = clip_painter(NATIVE.required, frame_size=(120, 80))
        for query in asked:
            assert query.kind == "comparison" and query.only_for == "ann"
            left, right = query.segments
            better = "left" if left.true_rewards.sum() > right.true_rewards.sum() else "right"
            assert query.context["answer"] == better
            assert str(query.context["because"]).startswith("it does better on ")
            assert len(painter.frames(left)) == len(right) == NATIVE.segment_length
        assert store.take("ann") is None and store.take("bob", purposes=[Purpose.PRACTICE]) is None


def test_who_has_answered_before_does_not_practise_again(tmp_path: Path) -> None:
    with PreferenceStore.create(tmp_path / "feedback.db", environment=NATIVE) as store:
        ask_practice(store, "ann", 1)
        give_answer(store, 1, "ann", "left")
        assert ask_practice(store, "ann") == 0


@pytest.mark.parametrize("id", ["CartPole-v1", "nobody/Knows-v0"])
def test_other_environments_have_no_practice_and_a_general_rubric(tmp_path: Path, id: str) -> None:
    with PreferenceStore.create(tmp_path / "feedback.db", StoredEnvironment(EnvironmentRef(id))) as store:
        assert ask_practice(store, "ann") == 0
    shown = guidance(StoredEnvironment(EnvironmentRef(id)))
    assert shown.rubric == GENERAL_RUBRIC and not shown.reasons


class Pointing(gym.Env[Any, Any]):
    """An environment of one's own that says what people should look for."""

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": [],
        "rubric": "Which one points better?",
        "reasons": ["too_slow"],
    }
    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))


def test_an_environment_of_ones_own_says_what_to_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(gym.registry, "own/Pointing-v0", raising=False)
    gym.register("own/Pointing-v0", entry_point=Pointing, max_episode_steps=5)
    told = guidance(StoredEnvironment(EnvironmentRef("own/Pointing-v0")))
    assert (told.rubric, told.reasons) == ("Which one points better?", {"too_slow": "too slow"})


@pytest.mark.parametrize("id", ["own/Pointing-v0", "rlhf/Driving-v1", "nobody/Knows-v0"])
def test_the_rubric_of_a_run_comes_before_the_environments(id: str) -> None:
    asked = guidance(StoredEnvironment(EnvironmentRef(id), rubric="Which one is bluer?"))
    assert asked.rubric == "Which one is bluer?"
    assert asked.reasons == guidance(StoredEnvironment(EnvironmentRef(id))).reasons


def test_practice_refuses_settings_without_sense(tmp_path: Path) -> None:
    with PreferenceStore.create(tmp_path / "feedback.db", environment=NATIVE) as store:
        with pytest.raises(ValueError, match="name"):
            ask_practice(store, " ")
        with pytest.raises(ValueError, match="at least 1"):
            ask_practice(store, "ann", 0)


def test_practice_is_drawn_for_everybody_from_eight_pairs_and_ends_with_a_hard_one() -> None:
    environment = StoredEnvironment(EnvironmentRef("rlhf/Driving-v1"), 8)
    names = [f"annotator {number}" for number in range(12)]
    rounds = {name: draw_practice(environment, name) for name in names}
    assert all(len(drawn) == PRACTICE_ROUND for drawn in rounds.values())
    assert rounds["annotator 0"] == draw_practice(environment, "annotator 0")
    seen = {pair.good.digest for drawn in rounds.values() for pair in drawn[:-1]}
    assert len(seen) >= 8
    assert len({tuple(pair.good.digest for pair in drawn) for drawn in rounds.values()}) >= 11

    def ahead(pair: PracticePair) -> float:
        return float(pair.good.true_rewards.sum() - pair.bad.true_rewards.sum())

    for drawn in rounds.values():
        assert 0 < ahead(drawn[-1]) < min(ahead(pair) for pair in drawn[:-1])


@pytest.mark.parametrize("id", ["rlhf/Driving-v1", "CartPole-v1"])
def test_what_is_asked_fits_the_kind_of_question(id: str) -> None:
    told = guidance(StoredEnvironment(EnvironmentRef(id)))
    assert told.rubric_for("comparison") == told.rubric == told.rubric_for("strength")
    assert told.rubric_for("ranking").startswith("Put the clips in order, the best first. ")
    rating = told.rubric_for("rating")
    assert rating.startswith("How good is what you see, moment by moment?")
    assert ("What counts: progress, speeding" in rating) == (id == "rlhf/Driving-v1")


@pytest.mark.parametrize("name", [id for id in gym.registry if id.startswith("rlhf/")])
def test_every_environment_of_the_suite_has_a_legend(name: str) -> None:
    legend = guidance(StoredEnvironment(EnvironmentRef(name))).legend
    assert len(legend) >= 4 and all(seen and meaning for seen, meaning in legend.items())
