"""What `check_environment` says of tasks that are wrong: the cause, the line, and nothing twice."""

import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from rlhf_envs.envs import Field, Task, numbers, register_task
from rlhf_envs.testing import EnvironmentCheckError, check_environment
from rlhf_envs.testing.checks import NotApplicable, Subject, trivial_policies_do_not_pay


class Cart(Task):
    """Right, but for what its subclasses change."""

    observation_space = Box(-1, 1, (2,), np.float32)
    action_space = Discrete(3)
    fields = {"cars": Field(shape=(4,)), **numbers("x", "y")}
    reset_draws = {"x": ()}

    def begin(self, state, draws):
        state.x = draws.x

    def advance(self, state, actions, draws):
        state.x = np.clip(state.x + 0.1 * (actions - 1), -1, 1)
        return {"reward": state.x.tolist()}

    def observe(self, state):
        return np.stack([state.x, state.y], axis=1).astype(np.float64)


class View(Cart):
    fields = {"seen": Field(shape=(2,)), **numbers("x")}

    def observe(self, state):
        return state.seen.T


class WrongAxes(Cart):
    def observe(self, state):
        return np.stack([state.x, state.y])


class NoArray(Cart):
    def observe(self, state):
        return super().observe(state).tolist()


class TooHigh(Cart):
    def observe(self, state):
        return super().observe(state) + np.array([0, 1.5])


class Endless(Cart):
    def observe(self, state):
        return super().observe(state) * np.nan


class WrongField(Cart):
    def begin(self, state, draws):
        state.cars = np.zeros((state.copies, 4))


class NoSuper(Cart):
    def __init__(self):
        self.horizon = 10


class UnknownDraw(Cart):
    def advance(self, state, actions, draws):
        return {"reward": draws.gust}


class UnknownField(Cart):
    def advance(self, state, actions, draws):
        return {"reward": state.speed}


class NoTerms(Cart):
    def advance(self, state, actions, draws):
        return state.x


class WrongTerm(Cart):
    def advance(self, state, actions, draws):
        return {"reward": np.zeros(7)}


class BadPicture(Cart):
    def draw(self, row, canvas):
        canvas.rectangle(0, 0, 600, 400, canvas.colours.ink)


class Adjustable(Cart):
    def __init__(self, gain=1.0, **more):
        super().__init__(**more)
        self.gain = gain + "" if gain == 7 else gain


@pytest.fixture
def register():
    """Registers a task for the test alone; the id."""
    ids = []

    def make(task):
        ids.append(f"wrong/{task.__name__}-v0")
        register_task(ids[-1], task, horizon=20)
        return ids[-1]

    yield make
    for id in ids:
        del gym.registry[id]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (View, "observe returns a view of the field 'seen'"),
        (WrongAxes, r"must be a new array of shape \(1, 2\) for N = 1, not of shape \(2, 1\)"),
        (NoArray, r"must be a new array of shape \(1, 2\) for N = 1, not of type list"),
        (TooHigh, r"observe gives 1.5 at place \(1,\) of a copy, above the highest value of its space, 1\."),
        (Endless, "must be finite numbers, not float64 such as"),
        (
            WrongField,
            r"The field 'cars' cannot be set to an array of shape \(1, 4\): it has the shape \(4, 1\), the copies on "
            r"the last axis \(test_checks.py:\d+\)",
        ),
        (UnknownDraw, r"no random numbers 'gust' here; none are named.* \(test_checks.py:\d+\)"),
        (UnknownField, r"no field 'speed'; it has .*cars, x, y \(test_checks.py:\d+\)"),
        (NoTerms, "NoTerms.advance must return the named terms of the reward as a dict, .* not ndarray"),
        (WrongTerm, r"returned the term 'reward' of shape \(7,\); for N = 1 it must be numbers of shape \(1,\)"),
    ],
)
def test_a_task_that_breaks_its_own_declarations_is_told_why_and_nothing_else(register, task, said):
    with pytest.raises(EnvironmentCheckError, match=f"fails keeps_to_its_declarations: .*{said}") as refusal:
        check_environment(register(task))
    assert "\n" not in str(refusal.value)


def test_a_task_that_does_not_call_its_base_is_told_so(register):
    id = register(NoSuper)
    gym.registry[id].kwargs.pop("horizon")
    with pytest.raises(EnvironmentCheckError, match=r"NoSuper.__init__ must call super\(\).__init__\(horizon\)"):
        check_environment(id)


def test_an_axis_that_fits_one_copy_only_by_chance_is_found(register):
    class Square(Cart):
        def observe(self, state):
            return np.stack([state.x, state.y]).reshape(-1, 2)

    with pytest.raises(EnvironmentCheckError, match=r"differ|starts elsewhere"):
        check_environment(register(Square))


def test_every_check_that_fails_is_told_with_the_line_and_the_others_are_run(register):
    with pytest.raises(EnvironmentCheckError) as refusal:
        check_environment(register(BadPicture))
    said = str(refusal.value)
    assert re.search(r"'Canvas' object has no attribute 'colours' \(test_checks.py:\d+\)", said)
    assert all(
        said.count(name) == 1 for name in ("drawing_changes_nothing", "vector_draws_every_copy", "AttributeError")
    )
    assert "gymnasium" not in said


def test_a_task_that_pays_who_never_looks_is_told_by_how_much(register):
    class Idler(Cart):
        """Moving costs, so that standing still is as good as the expert."""

        action_space = Box(-1, 1, (1,), np.float32)

        def advance(self, state, actions, draws):
            state.x += 0.01 * actions[:, 0]
            return {"reward": 1.0 - np.abs(actions[:, 0])}

        def expert_action(self, state):
            return np.full((state.copies, 1), 0.05, dtype=np.float32)

    class Steered(Idler):
        """The action must be what the state asks for, which changes in every step."""

        def advance(self, state, actions, draws):
            wanted = np.where(state.elapsed % 2, 0.8, -0.8)
            return {"reward": -np.abs(actions[:, 0] - wanted)}

        def expert_action(self, state):
            return np.where(state.elapsed % 2, 0.8, -0.8).astype(np.float32)[:, None]

    with pytest.raises(EnvironmentCheckError, match=r"the constant action \[0.0\] earns 20.00, random .* of the way"):
        check_environment(register(Idler))
    with pytest.raises(NotApplicable, match="no scripted expert"):
        trivial_policies_do_not_pay(Subject(register(Cart)))
    trivial_policies_do_not_pay(Subject(register(Steered)))


def test_other_dtypes_and_lists_are_converted(register):
    assert "keeps_to_its_declarations" in check_environment(register(Cart)).passed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gian": 2}, "Adjustable has no argument gian; did you mean gain?"),
        ({"horzion": 3}, "did you mean horizon?"),
        ({"theem": "dark"}, "did you mean theme?"),
        ({"zzz": 1}, "it has gain, horizon, objective"),
        ({"gain": 7}, "unsupported operand"),
    ],
)
def test_an_unknown_argument_is_told_with_the_nearest_name(register, given, said):
    id = register(Adjustable)
    for make in (gym.make, gym.make_vec):
        with pytest.raises(TypeError, match=re.escape(said)):
            make(id, **given)


class Colourful(gym.Env):
    """Observations out of its space, of which Gymnasium warns in colour."""

    observation_space = Box(0, 1, (1,), np.float64)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full(1, 2.0), {}

    def step(self, action):
        return np.full(1, 2.0), 0.0, False, False, {}


def test_what_gymnasium_says_is_told_without_colours():
    gym.register("wrong/Colourful-v0", Colourful)
    try:
        with pytest.raises(EnvironmentCheckError, match="Gymnasium's checker refuses it") as refusal:
            check_environment("wrong/Colourful-v0")
        assert "\x1b" not in str(refusal.value)
    finally:
        del gym.registry["wrong/Colourful-v0"]
