"""The words around the clips: how far things are, what training is doing, what is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlhf_envs.feedback.session import SessionProgress
from rlhf_envs.feedback.window.entries import DeskState

QUIET_SECONDS = 120.0
"""After this long without a word from training it is said that there was none."""

_STATES = {
    "training": "Training",
    "waiting": "Training waits for answers",
    "paused": "Training is paused",
    "stopped": "Training has stopped",
    "finished": "Training is finished",
}


def status(progress: SessionProgress | None) -> tuple[str, ...]:
    """How far things are, in short pieces."""
    if progress is None:
        return ()
    pieces = [f"{progress.answered:,} of {progress.wanted:,} answered"]
    if progress.seconds_per_answer is not None:
        pieces.append(f"{progress.seconds_per_answer:.1f} s per answer")
    if progress.given != progress.answered:
        pieces.append(f"{progress.given:,} by you")
    return tuple(pieces)


def share(progress: SessionProgress | None) -> float:
    """How much of what is wanted has been answered, from 0 to 1."""
    if progress is None or progress.wanted == 0:
        return 0.0
    return min(progress.answered / progress.wanted, 1.0)


def training(progress: SessionProgress | None, heard_ago: float | None) -> tuple[str, ...]:
    """What training is doing, in short pieces."""
    notice = None if progress is None else progress.training
    if notice is None:
        return ()
    state = str(notice.get("state", "training"))
    waiting_for = int(_number(notice, "waiting_for") or 0)
    pieces = [_STATES.get(state, "Training")]
    if state == "waiting" and waiting_for:
        pieces = [f"Training waits for {waiting_for:,} {'answer' if waiting_for == 1 else 'answers'}"]
    done = _done(notice)
    if state in ("training", "paused", "stopped") and done is not None:
        pieces[0] += f" at {done:.0%}" if state != "training" else f" {done:.0%} done"
    if state in ("training", "waiting") and heard_ago is not None and heard_ago > QUIET_SECONDS:
        pieces = [f"Nothing heard from training for {heard_ago / 60:.0f} min"]
    accuracy = _number(notice, "test_accuracy")
    if accuracy is not None:
        pieces.append(f"{accuracy:.0%} of test answers predicted")
    true_return, learned = _number(notice, "true_return"), _number(notice, "learned_return")
    if learned is not None:
        pieces.append(f"return {learned:,.1f}")
    elif true_return is not None:
        pieces.append(f"return {true_return:,.1f}")
    return tuple(pieces)


def waiting(desk: DeskState) -> tuple[str, str]:
    """What is waited for while there is no question: a headline, and a sentence."""
    notice = None if desk.progress is None else desk.progress.training
    if not desk.fetched:
        return "One moment", "The first clips are being fetched."
    if notice is None:
        return "Nothing to answer yet", "Questions appear here as soon as a training run asks some."
    state, done = notice.get("state"), _done(notice)
    far = "" if done is None else f" It is {done:.0%} done."
    if state == "finished":
        return "All done, thank you", "Training is finished. Escape closes this window."
    if state == "stopped":
        return "Training has stopped", "It can be resumed where it stopped. Escape closes this window."
    if state == "paused":
        return "Training is paused", "New clips appear here when it goes on."
    if desk.heard_ago is not None and desk.heard_ago > QUIET_SECONDS:
        minutes = f"{desk.heard_ago / 60:.0f} min"
        return "Nothing to answer", f"Nothing was heard from training for {minutes}; is it still running?"
    if state == "waiting":
        return "Nothing to answer right now", "Training goes on as soon as it has the answers that it waits for."
    return "Training is collecting clips", f"New ones appear here by themselves.{far}"


def trouble(desk: DeskState) -> str | None:
    """What went wrong, and what becomes of the answers; None if nothing did."""
    reason = desk.trouble or ("The feedback store takes its time." if desk.overdue else None)
    if reason is None:
        return desk.refused
    if not desk.unsaved:
        return reason
    answers = "1 answer is" if desk.unsaved == 1 else f"{desk.unsaved} answers are"
    return f"{reason} {answers} kept here and stored as soon as that works; Backspace takes back the last."


def leaving(unsaved: int) -> str:
    """What is said to someone who wants to leave with answers that are not stored."""
    answers = "1 answer is" if unsaved == 1 else f"{unsaved} answers are"
    return f"{answers} not stored yet and would be lost: wait until the store works, or press Escape again to leave."


def curve(progress: SessionProgress | None) -> tuple[float, ...]:
    """The returns in the training's notice, oldest first."""
    points = None if progress is None or progress.training is None else progress.training.get("curve")
    if not isinstance(points, list):
        return ()
    returns = [point[1] for point in points if isinstance(point, list) and len(point) > 1]
    return tuple(float(value) for value in returns if isinstance(value, int | float))


def _done(notice: Mapping[str, Any]) -> float | None:
    timesteps, total = _number(notice, "timesteps"), _number(notice, "total_timesteps")
    return None if timesteps is None or not total else min(timesteps / total, 1.0)


def _number(notice: Mapping[str, Any] | None, name: str) -> float | None:
    value = None if notice is None else notice.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
