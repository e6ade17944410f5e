"""The two views of one batched definition agree, and their state can be taken out and put back."""

from __future__ import annotations

import numpy as np
from gymnasium.vector import AutoresetMode

from rlhf_envs.testing.subject import Subject, require, row_of, same, sample_actions

_COPIES = 3
_SEED = 11
_RESET_STEP = 4


def scalar_and_vector_agree(subject: Subject) -> None:
    """Row i of a vector environment reset with seed s is the scalar one reset with s + i, over two resets and more."""
    batch = subject.make_batch(_COPIES)
    scalars = [subject.make_task() for _ in range(_COPIES)]
    steps = 2 * batch.horizon + 5
    actions = sample_actions(subject, steps, _COPIES, seed=12)
    observations, _ = batch.reset(seed=_SEED)
    for row, scalar in enumerate(scalars):
        require(
            same(scalar.reset(seed=_SEED + row)[0], observations[row]), f"row {row} starts elsewhere than the scalar."
        )
    for step in range(steps):
        observations, rewards, terminated, truncated, info = batch.step(actions[step])
        for row, scalar in enumerate(scalars):
            observation, reward, ended, cut, own = scalar.step(actions[step, row])
            where = f"in step {step} row {row} and the scalar environment"
            require(same(reward, float(rewards[row])), f"{where} differ in reward: {rewards[row]} and {reward}.")
            require((ended, cut) == (terminated[row], truncated[row]), f"{where} do not end at the same time.")
            told = {name: row_of(info[name], row) for name in own}
            require(same(told, own), f"{where} differ in info: {told} and {own}.")
            if cut:
                require(same(info["final_obs"][row], observation), f"{where} differ in the last observation.")
                require(bool(info["_final_obs"][row]), f"{where} differ: final_obs is not marked as given.")
                observation, _ = scalar.reset()
            require(same(observations[row], observation), f"{where} differ in observation.")


def copies_do_not_depend_on_each_other(subject: Subject) -> None:
    """A copy sees the same whatever the number of copies beside it, and whatever they do."""
    few, many = subject.make_batch(2), subject.make_batch(9)
    actions = sample_actions(subject, few.horizon + 5, 9, seed=13)
    first, second = few.reset(seed=_SEED)[0], many.reset(seed=_SEED)[0]
    require(same(first, second[:2]), "a copy starts elsewhere when others run beside it.")
    for step in range(len(actions)):
        if step == _RESET_STEP:
            # From here on the rows end at different times, so that later only some of them begin anew.
            first_row = np.arange(9) == 0
            again, beside = (env.reset(options={"reset_mask": first_row[: env.num_envs]})[0] for env in (few, many))
            require(same(again, beside[:2]), "a masked reset depends on the number of copies.")
        seen, beside = few.step(actions[step, :2]), many.step(actions[step])
        for ours, theirs in zip(seen[:4], beside[:4], strict=True):
            require(same(ours, theirs[:2]), "a copy sees something else when others run beside it.")


def resets_in_the_same_step(subject: Subject) -> None:
    """The vector environment says that it resets in the same step, and its first observations are new episodes'."""
    batch = subject.make_batch(2)
    mode = batch.metadata.get("autoreset_mode")
    require(mode == AutoresetMode.SAME_STEP, f"metadata['autoreset_mode'] must be SAME_STEP, not {mode}.")


def never_terminates(subject: Subject) -> None:
    """Episodes last exactly the horizon, whatever is done: an early end would tell something about the reward."""
    batch = subject.make_batch(_COPIES)
    batch.reset(seed=_SEED)
    actions = sample_actions(subject, batch.horizon, _COPIES, seed=14)
    for step in range(batch.horizon):
        _, _, terminated, truncated, _ = batch.step(actions[step])
        require(not terminated.any(), f"an episode terminates in step {step}.")
        due = step + 1 == batch.horizon
        require(bool((truncated == due).all()), f"episodes of {batch.horizon} steps are truncated in step {step + 1}.")


def can_be_restored(subject: Subject) -> None:
    """A snapshot put back, here or in a new environment, goes on bit for bit, random stream included."""
    actions = sample_actions(subject, 24, _COPIES, seed=15)
    batch, scalar = subject.make_batch(_COPIES), subject.make_task()
    batch.reset(seed=_SEED)
    for action in actions[:8]:
        batch.step(action)
    taken = batch.snapshot()
    goes_on = [batch.step(action)[:4] for action in actions[8:]]
    batch.restore(taken)
    again = [batch.step(action)[:4] for action in actions[8:]]
    scalar.restore(taken[1])
    alone = [scalar.step(action[1])[:2] for action in actions[8:]]
    for step, parts in enumerate(zip(goes_on, again, alone, strict=True)):
        first, second, single = parts
        for ours, theirs in zip(first, second, strict=True):
            require(same(ours, theirs), f"a restored environment differs {step + 1} steps later.")
        for ours, theirs in zip(first[:2], single, strict=True):
            require(
                same(np.asarray(ours[1]), np.asarray(theirs, dtype=ours.dtype)),
                "a row's snapshot differs in the scalar.",
            )
