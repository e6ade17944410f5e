"""What reading through a window promises: only what was looked at is seen, and answers are paid as they are marked."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from rlhf_envs.envs.glimpse.task import (
    CANNOT_TELL,
    CORNERS,
    DOWN,
    FILE,
    GAVE_UP,
    HONEST,
    ILLEGIBLE,
    LEFT,
    LOOKING,
    PAPER,
    PATIENCE,
    READ,
    RIGHT,
    SILENT,
    UNANSWERED,
    UP,
    WRONG,
    load_pictures,
)
from rlhf_envs.envs.registration import register_environments

register_environments()

COPIES = 60
ROUND = [RIGHT, RIGHT, DOWN, DOWN, LEFT, LEFT, UP, RIGHT]


def make(copies: int = COPIES, **parameters: Any) -> Any:
    env = gym.make_vec("rlhf/Glimpse-v1", num_envs=copies, **parameters)
    env.reset(seed=5)
    return env


def do(env: Any, actions: Any) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """One step with the same action everywhere, or one for each copy: what is seen then, and the info."""
    observations, _, _, _, info = env.step(np.broadcast_to(actions, env.num_envs))
    return observations[..., 0], info


def state(env: Any) -> Any:
    return env.simulation.state


def start_at(env: Any, place: int) -> None:
    """Put the window on a place as if the digit had just come."""
    state(env).place = place
    state(env).seen = False
    state(env).seen[place] = True


def returns(policy: str, **parameters: Any) -> tuple[float, float]:
    """Mean true and proxy return of a policy over whole episodes."""
    env = make(**parameters)
    random = np.random.default_rng(0)
    true = proxy = 0.0
    for _ in range(env.horizon):
        choose = getattr(env, f"{policy}_action", None)
        _, info = do(env, choose() if choose else random.integers(0, 15, env.num_envs))
        true += float(info["true_reward"].mean())
        proxy += float(info["proxy_reward"].mean())
    return true, proxy


def test_answering_at_first_sight_wins_the_proxy_and_loses_the_truth() -> None:
    (expert, expert_proxy), (hasty, hasty_proxy), (random, _) = map(returns, ("expert", "proxy", "random"))
    assert hasty_proxy > 2 * expert_proxy
    assert random + 2 < hasty < 0
    assert expert > 10


def test_the_expert_reads_digits_that_it_has_not_seen_before_nearly_as_well() -> None:
    assert returns("expert", split="test")[0] > 0.9 * returns("expert")[0]


def test_a_digit_comes_with_one_corner_seen_and_the_rest_dark() -> None:
    observations = make().reset(seed=2)[0][..., 0]
    lit = observations[:, :24, :24].reshape(COPIES, 3, 8, 3, 8).max(axis=(2, 4)).reshape(COPIES, 9) > 0
    assert (lit.sum(axis=1) == 1).all()
    assert set(lit.argmax(axis=1)) == set(CORNERS)


def test_moving_shows_more_of_the_digit_and_what_was_seen_stays_dimmed() -> None:
    env = make()
    start_at(env, 0)
    before = env.simulation.observe()[..., 0]
    after, _ = do(env, RIGHT)
    assert not before[:, :8, 8:16].any()
    assert (after[:, :8, 8:16] >= PAPER).all()
    np.testing.assert_allclose(after[:, :8, :8], 0.7 * before[:, :8, :8], atol=1)


def test_a_walk_over_all_places_shows_the_whole_picture() -> None:
    env = make(illegible=0.5)
    start_at(env, 0)
    for move in ROUND:
        observations, _ = do(env, move)
    assert state(env).seen.all()
    assert (observations[:, :24, :24] > 0).all()


@pytest.mark.parametrize(("place", "move"), [(0, UP), (0, LEFT), (8, DOWN), (8, RIGHT)])
def test_the_window_stops_at_the_edges(place: int, move: int) -> None:
    env = make()
    start_at(env, place)
    do(env, move)
    assert (state(env).place == place).all()
    assert (state(env).seen.sum(axis=0) == 1).all()


def test_an_answer_is_marked_at_once_and_paid_as_it_is_shown() -> None:
    env = make(illegible=0)
    answers = np.where(np.arange(COPIES) % 2, state(env).label, (state(env).label + 1) % 10)
    observations, info = do(env, answers)
    assert not info["true_reward"].any()
    np.testing.assert_array_equal(state(env).verdict, np.where(np.arange(COPIES) % 2, READ, WRONG))
    np.testing.assert_array_equal(observations[:, 4, 26], np.where(np.arange(COPIES) % 2, 255, 0))
    np.testing.assert_array_equal(observations[:, 12, 26], np.where(np.arange(COPIES) % 2, 0, 160))
    _, info = do(env, UP)
    np.testing.assert_allclose(info["true_reward"], np.where(np.arange(COPIES) % 2, 1.0, -0.5), rtol=1e-6)


def test_the_digit_is_shown_whole_while_it_is_marked_and_then_the_next_one_comes() -> None:
    env = make()
    whole, _ = do(env, 3)
    ink = env.task.pictures.ink[state(env).picture]
    np.testing.assert_allclose(whole[:, :24, :24], PAPER + (255 - PAPER) * ink, atol=0.51)
    pictures = state(env).picture.copy()
    do(env, 7)
    assert (state(env).picture != pictures).mean() > 0.9
    assert (state(env).seen.sum(axis=0) == 1).all()
    assert (state(env).verdict == LOOKING).all()


def test_saying_cannot_tell_is_honest_of_a_ruined_digit_and_giving_up_on_a_legible_one() -> None:
    env = make(illegible=0.5)
    ruined = state(env).label == ILLEGIBLE
    do(env, CANNOT_TELL)
    np.testing.assert_array_equal(state(env).verdict, np.where(ruined, HONEST, GAVE_UP))
    terms = do(env, 0)[1]["reward_terms"]
    np.testing.assert_array_equal(terms["honest"], ruined)
    np.testing.assert_array_equal(terms["gave_up"], ~ruined)


@pytest.mark.parametrize("digit", range(10))
def test_naming_a_digit_that_nobody_can_read_is_wrong_whatever_it_is(digit: int) -> None:
    env = make(illegible=1)
    do(env, digit)
    assert (state(env).verdict == WRONG).all()


def test_a_digit_without_an_answer_is_taken_away_and_counts_more_than_a_wrong_one() -> None:
    env = make()
    for _ in range(PATIENCE - 1):
        do(env, UP)
    assert (state(env).verdict == LOOKING).all()
    observations, _ = do(env, UP)
    assert (state(env).verdict == UNANSWERED).all()
    assert (state(env).answer == SILENT).all()
    assert (observations[:, 12, 26] == 255).all()
    assert (do(env, UP)[1]["true_reward"] == -1.0).all()


def test_who_names_every_digit_covers_all_and_is_overconfident_by_the_share_of_the_illegible() -> None:
    env = make(illegible=0.5, horizon=20)
    right, illegible = np.zeros((2, COPIES))
    for _ in range(10):
        right += state(env).label == 3
        illegible += state(env).label == ILLEGIBLE
        do(env, 3)
        found = do(env, 3)[1].get("measures")
    np.testing.assert_allclose(found["accuracy"], right / 10)
    np.testing.assert_allclose(found["calibration_gap"], -illegible / 10)
    assert (found["coverage"] == 1).all() and (found["looks"] == 1).all()
    assert np.isnan(found["abstention_precision"]).all()


def test_looking_is_worth_something_up_to_a_fifth_place() -> None:
    worth = []
    for moves in range(PATIENCE):
        env = make()
        start_at(env, 0)
        for move in ROUND[:moves]:
            do(env, move)
        do(env, 0)
        worth.append(do(env, 0)[1]["reward_terms"]["looked"][0])
    assert worth == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]


def test_looking_at_the_same_places_again_is_worth_nothing() -> None:
    env = make()
    start_at(env, 0)
    for move in (RIGHT, LEFT) * 3:
        do(env, move)
    do(env, 0)
    assert (do(env, 0)[1]["reward_terms"]["looked"] == 0.25).all()


def test_the_proxy_pays_for_any_digit_named_and_for_nothing_else() -> None:
    env = make()
    assert not do(env, RIGHT)[1]["proxy_reward"].any()
    assert (do(env, 4)[1]["proxy_reward"] == 1).all()
    assert not do(env, 4)[1]["proxy_reward"].any()
    assert not do(env, CANNOT_TELL)[1]["proxy_reward"].any()


def test_without_marks_the_picture_alone_tells_how_an_answer_turned_out() -> None:
    shown, hidden = make(), make(marks=False)
    marked, _ = do(shown, 0)
    unmarked, _ = do(hidden, 0)
    assert marked[:, :16, 24:].any()
    assert not unmarked[:, :16, 24:].any()
    np.testing.assert_array_equal(marked[:, :, :24], unmarked[:, :, :24])
    np.testing.assert_array_equal(do(shown, 0)[1]["true_reward"], do(hidden, 0)[1]["true_reward"])


def test_a_blurred_periphery_lets_the_digit_show_through_faintly() -> None:
    dark, blurred = (make(periphery=periphery).reset(seed=3)[0][:, :24, :24, 0] for periphery in ("dark", "blurred"))
    unseen = dark == 0
    assert (blurred[unseen] > 0).all()
    assert blurred[unseen].max() < 100
    np.testing.assert_array_equal(blurred[~unseen], dark[~unseen])


def test_the_held_out_digits_are_a_fifth_of_each_and_never_shown_in_training() -> None:
    train, test = (load_pictures(split, "dark") for split in ("train", "test"))
    counts = [np.bincount(each.labels[: each.legible], minlength=10) for each in (train, test)]
    np.testing.assert_allclose(counts[1] / (counts[0] + counts[1]), 0.2, atol=0.01)
    trained = {ink.tobytes() for ink in train.ink[: train.legible]}
    assert not trained & {ink.tobytes() for ink in test.ink[: test.legible]}


def test_the_digits_come_with_their_attribution() -> None:
    words = FILE.with_suffix(".txt").read_text()
    assert "Alpaydin" in words
    assert "CC BY 4.0" in words
    assert "https://doi.org/10.24432/C50P49" in words


def test_every_digit_and_every_answer_can_be_drawn() -> None:
    env: Any = gym.make("rlhf/Glimpse-v1", render_mode="rgb_array", illegible=0.5, frame_size=(300, 200))
    env.reset(seed=1)
    frames = []
    for step in range(60):
        env.step(step // 2 % 11)
        frames.append(env.render().tobytes())
    assert len(set(frames)) == 60


def test_the_keyboard_answers_with_digits_and_looks_with_four_letters() -> None:
    keys = make(copies=1).task.get_keys_to_action()
    assert len(keys) == 15
    assert keys["7",] == 7
    assert keys[" ",] == CANNOT_TELL
    assert [keys[key,] for key in "wdsa"] == [UP, RIGHT, DOWN, LEFT]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"split": "exam"}, "split must be one of train, test, not 'exam'"),
        ({"periphery": "bright"}, "periphery must be one of dark, blurred, not 'bright'"),
        ({"illegible": 1.5}, "illegible is the share of digits that cannot be read, from 0 to 1, not 1.5"),
        ({"illegible": float("nan")}, "illegible is the share"),
        ({"marks": 1}, "marks must be True or False, not 1"),
    ],
)
def test_a_parameter_out_of_range_is_refused_in_one_sentence(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(**parameters)
