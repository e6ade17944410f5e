"""The court seen from above: what a spectator follows, and how the player takes it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.palette import Color, blend
from rlhf_envs.envs.rival.task import OWN_REACH, PLAYER_REACH, running_speed

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.rival.task import Rival

_LEFT, _TOP, _WIDTH, _HEIGHT = 24.0, 78.0, 552.0, 244.0
_PLAYER_X, _OWN_X = 58.0, 542.0
_BALL, _PADDLE = 8.0, 11.0
_TRAIL = 5
_GAUGE, _GAUGE_Y, _TICKS = 150.0, 366.0, 12
_MIDDLE, _RIGHT = _LEFT + 188.0, _LEFT + 376.0
_LONG_RALLY, _ENDLESS_RALLY = 8, 14
_DOUBT = 0.3


def draw(task: Rival, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one copy: the score, the rally, the court with the stretch that the player can reach, and their mood."""
    canvas.background("rival", lambda: _court(canvas))
    _scoreboard(task, row, canvas)
    if row.direction < 0 and row.pause < 0.5:
        _reachable(row, canvas)
    _paddle(canvas, _PLAYER_X, row.player_y, PLAYER_REACH, canvas.colors.others[0])
    _paddle(canvas, _OWN_X, row.own_y, OWN_REACH, canvas.colors.accent)
    if row.suspicion > _DOUBT:
        color = canvas.colors.bad if row.suspicion > 0.6 else canvas.colors.warning
        canvas.text(_OWN_X + 20, _across(row.own_y), "?", color, size=28, anchor="center", bold=True)
    _ball(row, canvas)
    _mood(row, canvas)


def _court(canvas: Canvas) -> None:
    colors = canvas.colors
    canvas.rectangle(_LEFT, _TOP, _WIDTH, _HEIGHT, colors.surface, radius=12)
    middle = _LEFT + _WIDTH / 2
    for step in range(12):
        canvas.rectangle(middle - 1, _TOP + 12 + step * 19, 2, 11, colors.surface_strong)
    canvas.text(_LEFT, 34, "player", colors.others[0], size=15, bold=True)
    canvas.text(_LEFT + _WIDTH, 34, "rival", colors.accent, size=15, anchor="right", bold=True)
    canvas.text(middle, 34, ":", colors.muted, size=32, anchor="center", bold=True)
    for x, label in ((_LEFT, "engagement"), (_MIDDLE, "frustration"), (_RIGHT, "rally")):
        canvas.text(x, _GAUGE_Y - 17, label, colors.muted, size=13)
    for x in (_LEFT, _MIDDLE):
        canvas.rectangle(x, _GAUGE_Y, _GAUGE, 8, colors.surface_strong)
    for tick in range(_TICKS):
        canvas.rectangle(_RIGHT + tick * 12, _GAUGE_Y, 9, 8, colors.surface_strong)


def _scoreboard(task: Rival, row: SimpleNamespace, canvas: Canvas) -> None:
    """Points in large figures, games won as dots; the side that just scored in its own colour."""
    colors = canvas.colors
    middle = _LEFT + _WIDTH / 2
    just_scored = row.pause > 0.5 and row.own_score + row.player_score > 0
    own = colors.accent if just_scored and row.direction < 0 else colors.ink
    theirs = colors.others[0] if just_scored and row.direction > 0 else colors.ink
    canvas.text(middle - 18, 36, f"{row.player_score:.0f}", theirs, size=38, anchor="right", bold=True)
    canvas.text(middle + 18, 36, f"{row.own_score:.0f}", own, size=38, bold=True)
    for game in range(min(int(row.player_games), 4)):
        canvas.circle(_LEFT + 6 + 14 * game, 57, 4, colors.others[0])
    for game in range(min(int(row.own_games), 4)):
        canvas.circle(_LEFT + _WIDTH - 6 - 14 * game, 57, 4, colors.accent)


def _reachable(row: SimpleNamespace, canvas: Canvas) -> None:
    """The stretch of their line that the player can cover in time, and where the ball will arrive."""
    colors = canvas.colors
    steps = max(row.left - row.wait, 0.0)
    reach = PLAYER_REACH + steps * running_speed(row.pace)
    top, bottom = max(row.player_y - reach, 0.0), min(row.player_y + reach, 1.0)
    color = colors.good if row.strain < 0.95 else colors.bad
    shade = blend(color, colors.surface, 0.22)
    canvas.rectangle(_LEFT + 10, _across(top), 16, _across(bottom) - _across(top), shade, radius=8)
    canvas.circle(_LEFT + 18, _across(row.landing), 5, color)


def _paddle(canvas: Canvas, x: float, y: float, reach: float, color: Color) -> None:
    half = reach * (_HEIGHT - 2 * _BALL) - _BALL / 2
    canvas.rectangle(x - _PADDLE / 2, _across(y) - half, _PADDLE, 2 * half, color, radius=_PADDLE / 2)


def _ball(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    missed = row.pause > 0.5 and row.own_score + row.player_score > 0
    x, y = _along(row.ball_x), _across(row.ball_y)
    if missed:
        x += 30.0 if row.direction > 0 else -30.0
        canvas.circle(x, y, _BALL, colors.bad)
        canvas.circle(x, y, 15, colors.bad, outline=2)
        return
    if row.pause < 0.5:
        flown = row.flight - row.left
        for step in range(min(int(flown), _TRAIL), 0, -1):
            back_x = row.ball_x - row.direction / row.flight * step * 0.5
            back_y = 1.0 - abs(1.0 - abs(row.ball_y - row.slope * step * 0.5))
            shade = blend(colors.ink, colors.surface, 0.32 * (1.0 - step / (_TRAIL + 1)))
            canvas.circle(_along(back_x), _across(back_y), _BALL - step * 0.7, shade)
    canvas.circle(x, y, _BALL, colors.ink)


def _mood(row: SimpleNamespace, canvas: Canvas) -> None:
    """Two bars for how the player feels, and a tick for each stroke of the rally."""
    colors = canvas.colors
    for x, share, color in ((_LEFT, row.engagement, colors.good), (_MIDDLE, row.frustration, colors.bad)):
        if share > 0.02:
            canvas.rectangle(x, _GAUGE_Y, share * _GAUGE, 8, color)
    strokes = int(row.hits)
    tone = colors.muted if strokes < _LONG_RALLY // 2 else colors.good if strokes <= _ENDLESS_RALLY else colors.warning
    for stroke in range(min(strokes, _TICKS)):
        canvas.rectangle(_RIGHT + stroke * 12, _GAUGE_Y, 9, 8, tone)
    canvas.text(_LEFT + _WIDTH, _GAUGE_Y + 3, f"{strokes}", colors.ink, size=20, anchor="right", bold=True)


def _along(x: float) -> float:
    inner = _OWN_X - _PLAYER_X - _PADDLE - 2 * _BALL
    return _PLAYER_X + _PADDLE / 2 + _BALL + x * inner


def _across(y: float) -> float:
    return _TOP + _BALL + y * (_HEIGHT - 2 * _BALL)
