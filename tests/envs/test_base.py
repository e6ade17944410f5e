"""What the author of an environment relies on: tasks, their views, states and random numbers, on two small tasks."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple

from rlhf_envs.envs.simulation import DrawLayout, Simulation
from rlhf_envs.envs.task import Field, Measure, State, StateLayout, Task
from rlhf_envs.envs.views import TaskEnv, TaskVectorEnv
from rlhf_envs.randomness import draw_uniforms, keys_from_seeds, normals_from, uniforms_by_integers


class Walk(Task):
    """A random walk that can be pushed."""

    fields = {"place": Field(), "marks": Field(np.int64, (3,)), "flag": Field(np.uint8)}
    reward_weights = {"right": 1.0, "still": 0.5}
    reset_draws = {"place": ()}
    step_draws = {"gust": (2,)}
    rubric = "Who gets further to the right?"

    def __init__(self, horizon=6, action_space=None):
        self.observation_space = Box(-100, 100, (2,), np.float32)
        self.action_space = action_space or Box(-1, 1, (1,), np.float32)
        super().__init__(horizon)

    def begin(self, state, draws):
        state.place = draws.place
        state.marks = 0

    def advance(self, state, actions, draws):
        push = actions.reshape(state.copies, -1)[:, 0].astype(np.float32)
        state.place += push + 0.1 * (draws.gust[0] - draws.gust[1])
        state.marks[0] += 1
        return {"right": push, "still": -np.abs(push)}, np.abs(push)

    def observe(self, state):
        return np.stack([state.place, state.elapsed.astype(np.float32)], axis=1).astype(np.float32)

    def draw(self, row, canvas):
        canvas.background("sky", lambda: None)
        canvas.circle(300 + row.place * 20, 200, 10, canvas.colors.accent)

    def expert_action(self, state):
        return np.ones((state.copies, 1), np.float32)

    def proxy_action(self, state):
        return -np.ones((state.copies, 1), np.float32)


class Measured(Walk):
    """A walk whose field wants to know how far it went, and how fast where there was time for it."""

    measures = {"distance": Measure("m", "how far from the start"), "pace": Measure("m/step", "per step, after four")}

    def measure(self, state):
        pace = np.where(state.elapsed < 4, np.nan, state.place / state.elapsed)
        return {"distance": state.place, "pace": pace}


class Forgetful(Measured):
    """Declares two measures and returns one."""

    def measure(self, state):
        return {"distance": state.place}


class Bare(Task):
    """Only what a task has to define."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(2)
    fields = {"place": Field()}
    reset_draws = {"start": ()}

    def begin(self, state, draws):
        state.place = draws.start

    def advance(self, state, actions, draws):
        state.place *= 0.9
        return {"reward": state.place * actions}

    def observe(self, state):
        return np.stack([state.place, np.zeros(state.copies)], axis=1)


def test_measures_come_with_the_last_step_of_an_episode_and_of_the_episode_that_ended():
    scalar, batch = TaskEnv(Measured, horizon=4), TaskVectorEnv(Measured, 3, horizon=4)
    scalar.reset(seed=5), batch.reset(seed=5)
    for step in range(8):
        place = scalar.simulation.state.place.copy()
        alone, many = scalar.step(np.float32([1.0]))[4], batch.step(np.ones((3, 1), np.float32))[4]
        assert ("measures" in alone) == ("measures" in many) == (step % 4 == 3)
        if step == 3:
            assert alone["measures"]["distance"] > place[0] + 0.8
            assert alone["measures"] == {name: many["measures"][name][0] for name in ("distance", "pace")}
            assert many["final_info"]["measures"]["distance"].tolist() == many["measures"]["distance"].tolist()
            scalar.reset()


def test_measures_of_episodes_that_go_on_are_not_numbers():
    batch = TaskVectorEnv(Measured, 4, horizon=4)
    batch.reset(seed=1, options={"stagger": True})
    found = batch.step(np.ones((4, 1), np.float32))[4]
    assert found["_measures"].tolist() == [False, False, False, True]
    assert np.isfinite(found["measures"]["distance"]).tolist() == [False, False, False, True]


def test_a_measure_that_is_declared_and_not_returned_is_named():
    env = TaskEnv(Forgetful, horizon=1)
    env.reset(seed=1)
    with pytest.raises(
        ValueError, match=r"Forgetful.measure returned distance, but its measures declare distance, pace"
    ):
        env.step(np.float32([0.0]))


def test_a_task_needs_two_spaces_fields_begin_advance_and_observe_only():
    scalar, batch = TaskEnv(Bare, render_mode="rgb_array", horizon=4), TaskVectorEnv(Bare, 3, horizon=4)
    first, rows = scalar.reset(seed=5)[0], batch.reset(seed=5)[0]
    assert first.tolist() == rows[0].tolist()
    assert rows.dtype == np.float32
    _, reward, _, _, info = scalar.step(1)
    assert info["reward_terms"] == {"reward": reward}
    assert info["true_reward"] == reward > 0
    assert "proxy_reward" not in info
    assert "proxy_reward" not in batch.step(np.ones(3, int))[4]
    assert scalar.task.scripted_policies == ()
    assert Walk().scripted_policies == ("expert", "proxy")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_task_without_a_picture_is_drawn_as_numbers(theme):
    env = TaskEnv(Bare, render_mode="rgb_array", theme=theme)
    env.reset(seed=0)
    before = env.render()
    env.step(1)
    assert before.shape == (400, 600, 3)
    assert (before != env.render()).any()


def test_what_a_task_leaves_out_is_said_in_a_sentence_where_it_is_wanted():
    for view in (TaskEnv, TaskVectorEnv):
        env = view(Bare)
        with pytest.raises(ValueError, match="Bare has no scripted expert; define expert_action"):
            env.expert_action()
        with pytest.raises(ValueError, match="Bare has no scripted proxy policy; define proxy_action"):
            env.proxy_action()
        with pytest.raises(ValueError, match="Bare has no proxy reward, so objective must be 'true'"):
            view(Bare, objective="proxy")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"observation_space": None},
            "observation_space must be a Gymnasium space of one array, such as a Box, not None",
        ),
        ({"action_space": Tuple([Discrete(2)])}, "action_space must be a Gymnasium space of one array"),
        ({"fields": {"elapsed": Field()}}, "fields must not have elapsed: every state has that already"),
        ({"fields": {"copies": Field()}}, "fields must not have copies"),
        (
            {"step_draws": {"gust": 3}},
            r"The random draws 'gust' need a shape for one copy, such as \(\) or \(3,\), not 3",
        ),
    ],
)
def test_a_task_that_cannot_work_is_refused_in_a_sentence(changed, message):
    with pytest.raises(ValueError, match=message):
        TaskEnv(type("Changed", (Bare,), changed))


def test_terms_that_no_weight_names_are_refused():
    env = TaskEnv(type("Renamed", (Bare,), {"reward_weights": {"comfort": 1.0, "noise": -1.0}}))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="returned the terms reward, but its reward_weights are for comfort, noise"):
        env.step(1)


def test_draws_come_by_name_in_the_order_in_which_they_are_declared():
    layout = DrawLayout({"a": (), "b": (2,), "none": (0,), "c": (2, 3)})
    state = State(StateLayout({"stream_key": Field(np.uint64), "stream_counter": Field(np.uint64)}), 4)
    state.stream_key = keys_from_seeds(np.arange(4))
    same = draw_uniforms(state.stream_key, np.zeros(4, np.uint64), 9)
    draws = layout.draw(state)
    assert (draws.a == same[0]).all()
    assert (draws.b == same[1:3]).all()
    assert draws.none.shape == (0, 4)
    assert (draws.c == same[3:].reshape(2, 3, 4)).all()
    assert (state.stream_counter == 9).all()


def test_streams_are_uniform_and_independent_of_each_other():
    keys, counters = keys_from_seeds(np.arange(500)), np.zeros(500, dtype=np.uint64)
    drawn = draw_uniforms(keys, counters, 1000)
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert np.histogram(drawn, 10, (0, 1))[0] == pytest.approx(50_000, rel=0.03)
    assert abs(np.corrcoef(drawn[:, :40].T) - np.eye(40)).max() < 0.16
    assert (counters == 1000).all()
    normal = normals_from(drawn[:500], drawn[500:])
    assert (normal.mean(), normal.std()) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01))


def test_hashes_of_integers_are_splitmix64s_numbers():
    # The first output of SplitMix64 for the seed 0, as published with the reference implementation.
    assert uniforms_by_integers(np.zeros(1, np.uint64)).tolist() == [(0xE220A8397B1DCDAF >> 11) * 2.0**-53]
    seed, position, member = np.full((1, 1), 5, np.uint64), np.arange(400, dtype=np.uint64)[None], np.arange(3)[:, None]
    drawn = uniforms_by_integers(seed, position, member.astype(np.uint64))
    assert drawn.shape == (3, 400)
    assert (drawn[:, :7] == uniforms_by_integers(seed, position[:, :7], member.astype(np.uint64))).all()
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.16
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)


def test_a_stream_is_the_same_in_one_piece_or_many():
    keys = keys_from_seeds(np.array([7]))
    at_once = draw_uniforms(keys, np.zeros(1, np.uint64), 6)
    counters = np.zeros(1, np.uint64)
    in_parts = np.concatenate([draw_uniforms(keys, counters, size) for size in (1, 3, 2)])
    assert (at_once == in_parts).all()


def test_assigning_to_a_field_writes_into_the_buffer():
    state = State(StateLayout({"place": Field(), "marks": Field(np.int64, (2,))}), 3)
    before = state.buffer.copy()
    state.place = np.array([1, 2, 3])
    state.marks += 5
    assert (state.buffer != before).any()
    assert state.place.tolist() == [1, 2, 3]
    with pytest.raises(AttributeError, match="has no field 'plaice'; it has"):
        state.plaice = 1


def test_a_snapshot_of_one_row_is_its_part_of_the_whole():
    simulation = Simulation(Walk(), 4, auto_reset=True)
    simulation.seed(np.arange(4))
    simulation.begin()
    simulation.step(np.ones((4, 1)))
    packed = simulation.snapshot()
    buffers = np.stack([simulation.state.buffer, simulation.state.buffer])
    for row in range(4):
        assert (simulation.task.layout.extract_row(buffers, 4, row)[1] == packed[row]).all()
    restored = State.unpack(simulation.task.layout, packed)
    assert (restored.buffer == simulation.state.buffer).all()


def test_a_snapshot_of_something_else_is_refused():
    env = TaskVectorEnv(Walk, num_envs=2)
    with pytest.raises(ValueError, match="taken from another environment or version"):
        env.restore(np.zeros((2, 5), dtype=np.uint8))
    with pytest.raises(ValueError, match="3 snapshots do not fit an environment of 2 copies"):
        env.restore(TaskVectorEnv(Walk, num_envs=3).snapshot())


def test_what_is_drawn_cannot_be_changed():
    row = State(Walk().layout, 1).row(0)
    with pytest.raises(ValueError, match="read-only"):
        row.marks[0] = 3


def test_staggered_copies_end_at_different_times():
    env = TaskVectorEnv(Walk, num_envs=6)
    env.reset(seed=0, options={"stagger": True})
    ended = [env.step(np.zeros((6, 1)))[3] for _ in range(6)]
    assert (np.sum(ended, axis=1) == 1).all()


def test_staggering_leaves_the_clocks_of_rows_that_are_not_reset():
    env = TaskVectorEnv(Walk, num_envs=3)
    env.reset(seed=0)
    env.step(np.ones((3, 1)))
    env.reset(options={"reset_mask": np.array([False, False, True]), "stagger": True})
    assert env.simulation.state.elapsed.tolist() == [1, 1, 4]


def test_a_mask_resets_only_some_rows():
    env = TaskVectorEnv(Walk, num_envs=3)
    env.reset(seed=0)
    env.step(np.ones((3, 1)))
    observations, _ = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert observations[:, 1].tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match=r"reset_mask must be a bool array of shape \(3,\)"):
        env.reset(options={"reset_mask": np.zeros(2, bool)})


@pytest.mark.parametrize("seed", [50, [50, 51, 52]])
def test_a_mask_with_a_seed_leaves_the_other_rows_streams_alone(seed):
    seeded, undisturbed = TaskVectorEnv(Walk, num_envs=3), TaskVectorEnv(Walk, num_envs=3)
    for env in (seeded, undisturbed):
        env.reset(seed=0)
        env.step(np.ones((3, 1)))
    first, _ = seeded.reset(seed=seed, options={"reset_mask": np.array([False, True, False])})
    assert first[1].tolist() == TaskEnv(Walk).reset(seed=51)[0].tolist()
    for _ in range(10):
        ours, theirs = (env.step(np.zeros((3, 1)))[0] for env in (seeded, undisturbed))
        assert ours[[0, 2]].tolist() == theirs[[0, 2]].tolist()
        assert ours[1].tolist() != theirs[1].tolist()


def test_a_refused_mask_changes_nothing():
    env = TaskVectorEnv(Walk, num_envs=3)
    env.reset(seed=0)
    before = env.snapshot()
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(seed=9, options={"reset_mask": np.zeros(2, bool)})
    assert (env.snapshot() == before).all()


def test_a_row_sees_the_same_when_others_end_at_other_times():
    many, alone = TaskVectorEnv(Walk, num_envs=5), TaskVectorEnv(Walk, num_envs=1)
    many.reset(seed=0)
    alone.reset(seed=0)
    for step in range(20):
        if step == 2:
            many.reset(options={"reset_mask": np.array([False, True, False, True, False])})
        several, single = many.step(np.full((5, 1), 0.5)), alone.step(np.full((1, 1), 0.5))
        for ours, theirs in zip(several[:4], single[:4], strict=True):
            assert ours[0].tolist() == theirs[0].tolist()
    assert several[3].tolist() != [True] * 5


def test_every_row_can_have_its_own_seed():
    env = TaskVectorEnv(Walk, num_envs=3)
    by_rows, _ = env.reset(seed=[5, 9, 5])
    assert by_rows[0].tolist() == by_rows[2].tolist() != by_rows[1].tolist()
    with pytest.raises(ValueError, match="2 seeds were given for 3 copies"):
        env.reset(seed=[1, 2])


def test_without_a_seed_the_random_stream_goes_on():
    env = TaskEnv(Walk)
    first, second, again = env.reset(seed=3)[0], env.reset()[0], env.reset(seed=3)[0]
    assert first.tolist() == again.tolist() != second.tolist()


def test_stepping_before_the_first_reset_is_refused():
    for env in (TaskEnv(Walk), TaskVectorEnv(Walk, num_envs=2)):
        with pytest.raises(gym.error.ResetNeeded, match=r"Call reset\(\)"):
            env.step(np.zeros((2, 1)) if env.spec is None and hasattr(env, "num_envs") else np.zeros(1))


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (None, np.zeros((3, 1)), r"must have shape \(2, 1\) for 2 copies"),
        (None, np.full((2, 1), np.nan), "must be finite"),
        (Discrete(4), np.array([0, 4]), r"must lie in Discrete\(4\)"),
        (Discrete(4), np.array([-1, 0]), r"must lie in Discrete\(4\)"),
        (Discrete(4, start=2), np.array([2, 1]), r"must lie in Discrete\(4, start=2\)"),
        (Discrete(4, start=2), np.array([6, 2]), r"must lie in Discrete\(4, start=2\)"),
        (MultiDiscrete([2, 3]), np.array([[0, 3], [0, 0]]), r"must lie in MultiDiscrete\(\[2 3\]\)"),
    ],
)
def test_actions_that_are_none_are_refused(space, actions, message):
    simulation = Simulation(Walk(action_space=space), 2, auto_reset=True)
    simulation.begin()
    with pytest.raises(ValueError, match=message):
        simulation.step(actions)


def test_box_actions_are_clipped_to_the_space():
    simulation = Simulation(Walk(), 1, auto_reset=True)
    simulation.begin()
    assert simulation.step(np.array([[7.0]])).true_rewards.tolist() == [0.5]


def test_a_shorter_limit_shortens_episodes():
    env = TaskVectorEnv(Walk, num_envs=1, max_episode_steps=2)
    env.reset(seed=0)
    assert [bool(env.step(np.zeros((1, 1)))[3][0]) for _ in range(4)] == [False, True, False, True]


def test_human_mode_opens_a_window_and_closes_it():
    single, several = TaskEnv(Walk, render_mode="human"), TaskVectorEnv(Walk, 5, render_mode="human")
    for env, action in ((single, np.zeros(1)), (several, np.zeros((5, 1)))):
        env.reset(seed=0)
        env.step(action)
        assert env.render() is None
        env.close()


def test_a_task_without_steps_is_refused():
    with pytest.raises(ValueError, match="horizon is the number of steps in an episode and must be at least 1, not 0"):
        Walk(horizon=0)
