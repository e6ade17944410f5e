"""The court seen from above: what a spectator follows, and how the player takes it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.palette import Color, blend
from rlhf_envs.envs.rival.task import GOOD_STRAIN, OWN_REACH, PLAYER_REACH, STRAIN_WIDTH, running_speed

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.rival.task import Rival

_LEFT, _TOP, _WIDTH, _HEIGHT = 24.0, 78.0, 552.0, 244.0
_PLAYER_X, _OWN_X = 62.0, 538.0
_BALL, _PADDLE = 8.0, 11.0
_TRAIL = 5
_PITCH = 114.0
GAUGE, GAUGE_Y = 96.0, 366.0
"""How long the bars below the court are, and where."""
GAUGES = {
    name: _LEFT + _PITCH * place for place, name in enumerate(("engaged", "upset", "doubts", "challenge", "rally"))
}
"""Where each bar begins."""
MOST_STRAIN = 1.3
"""What a full bar of challenge stands for."""
REACH_X = _LEFT + 20.0
"""Where it is marked that a ball will arrive at the player's end."""
_TICKS, _TICK = 12, 5.5
_LONG_RALLY, _ENDLESS_RALLY = 8, 14
_DOUBT, _TIRED, _WORN_OUT = 0.3, 0.35, 0.65
_SHIRT = 34.0


def draw(task: Rival, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one copy: the score, the rally, the court with the stretch that the player can reach, and their mood."""
    canvas.background("rival", lambda: _court(canvas))
    _scoreboard(task, row, canvas)
    going = row.direction < 0 and row.pause < 0.5
    if going:
        _reachable(row, canvas)
    player_y, own_y = _across(row.player_y), _across(row.own_y)
    _person(canvas, "player", _PLAYER_X - 20, player_y, canvas.colors.others[0])
    _person(canvas, "rival", _OWN_X + 20, own_y, canvas.colors.accent)
    _paddle(canvas, _PLAYER_X, player_y, PLAYER_REACH, canvas.colors.others[0])
    _paddle(canvas, _OWN_X, own_y, OWN_REACH, canvas.colors.accent)
    _complaints(row, canvas, player_y)
    _ball(row, canvas)
    _mood(row, canvas, going)


def _ground(canvas: Canvas) -> Color:
    return blend(canvas.colors.others[1], canvas.colors.surface, 0.3)


def _court(canvas: Canvas) -> None:
    """Stands full of people, the court with its lines and the net, and the captions."""
    colors = canvas.colors
    ground, line = _ground(canvas), blend((255, 255, 255), _ground(canvas), 0.6)
    canvas.rectangle(_LEFT - 10, _TOP - 14, _WIDTH + 20, _HEIGHT + 28, colors.surface_strong, radius=14)
    tones = [blend(hue, colors.surface_strong, 0.6) for hue in (*colors.others, colors.warning)]
    for seat in range(46):
        for stand, y in enumerate((_TOP - 6, _TOP + _HEIGHT + 6)):
            if (seat * 7 + stand * 3) % 5:
                canvas.circle(_LEFT + 6 + 12 * seat, y, 4, tones[(seat * 5 + stand * 3) % len(tones)])
    canvas.rectangle(_LEFT, _TOP, _WIDTH, _HEIGHT, ground, radius=6)
    for stripe in range(6):
        x = _LEFT + 4 + stripe * 92
        canvas.rectangle(x, _TOP, 46, _HEIGHT, blend(colors.others[1], colors.surface, 0.34))
    middle = _LEFT + _WIDTH / 2
    for y in (_TOP + 5, _TOP + _HEIGHT - 8):
        canvas.rectangle(_LEFT + 6, y, _WIDTH - 12, 3, line)
    for x in (_LEFT + 6, _LEFT + _WIDTH - 9, middle - 130, middle + 127):
        canvas.rectangle(x, _TOP + 5, 3, _HEIGHT - 10, line)
    canvas.rectangle(middle - 130, _TOP + _HEIGHT / 2 - 1, 260, 3, line)
    canvas.rectangle(middle + 3, _TOP - 4, 5, _HEIGHT + 8, blend(colors.ink, ground, 0.2))
    canvas.rectangle(middle - 2, _TOP - 6, 5, _HEIGHT + 12, blend(colors.ink, ground, 0.75))
    for mesh in range(int(_HEIGHT / 8)):
        canvas.rectangle(middle - 2, _TOP + 4 + mesh * 8, 5, 2, line)
    canvas.text(_LEFT, 34, "player", colors.others[0], size=15, bold=True)
    canvas.text(_LEFT + _WIDTH, 34, "rival", colors.accent, size=15, anchor="right", bold=True)
    canvas.text(middle, 34, ":", colors.muted, size=32, anchor="center", bold=True)
    for label, x in GAUGES.items():
        canvas.text(x, GAUGE_Y - 17, label, colors.muted, size=14)
        if label != "rally":
            canvas.rectangle(x, GAUGE_Y, GAUGE, 8, colors.surface_strong)
    low, high = ((GOOD_STRAIN + side * STRAIN_WIDTH) / MOST_STRAIN * GAUGE for side in (-0.5, 0.5))
    x = GAUGES["challenge"]
    canvas.rectangle(x + low, GAUGE_Y + 10, high - low, 2, colors.muted)
    canvas.rectangle(x + (low + high) / 2 - 1, GAUGE_Y + 10, 2, 6, colors.muted)
    for tick in range(_TICKS):
        canvas.rectangle(GAUGES["rally"] + tick * _TICK, GAUGE_Y, _TICK - 1.5, 8, colors.surface_strong)


def _scoreboard(task: Rival, row: SimpleNamespace, canvas: Canvas) -> None:
    """Points in large figures, games won as dots; the side that just scored in its own colour, with an arrow."""
    colors = canvas.colors
    middle = _LEFT + _WIDTH / 2
    just_scored = row.pause > 0.5 and row.own_score + row.player_score > 0
    own = colors.accent if just_scored and row.direction < 0 else colors.ink
    theirs = colors.others[0] if just_scored and row.direction > 0 else colors.ink
    canvas.text(middle - 18, 36, f"{row.player_score:.0f}", theirs, size=38, anchor="right", bold=True)
    canvas.text(middle + 18, 36, f"{row.own_score:.0f}", own, size=38, bold=True)
    if just_scored:
        side = 1.0 if row.direction < 0 else -1.0
        x = middle + side * 84
        tip = (x - side * 14, 36.0)
        canvas.polygon([tip, (x, 27.0), (x, 45.0)], own if side > 0 else theirs, smooth=False)
    for game in range(min(int(row.player_games), 4)):
        canvas.circle(_LEFT + 84 + 14 * game, 34, 4, colors.others[0])
    for game in range(min(int(row.own_games), 4)):
        canvas.circle(_LEFT + _WIDTH - 74 - 14 * game, 34, 4, colors.accent)


def _reachable(row: SimpleNamespace, canvas: Canvas) -> None:
    """The stretch of their line that the player can cover in time, and where the ball arrives: a cross if beyond."""
    colors = canvas.colors
    steps = max(row.left - row.wait, 0.0)
    reach = PLAYER_REACH + steps * running_speed(row.pace, row.tired)
    top, bottom = max(row.player_y - reach, 0.0), min(row.player_y + reach, 1.0)
    within = row.strain < 0.95
    color = colors.good if within else colors.bad
    shade = blend(color, _ground(canvas), 0.4)
    canvas.rectangle(_LEFT + 12, _across(top), 16, _across(bottom) - _across(top), shade, radius=8)
    x, y = REACH_X, _across(row.landing)
    if within:
        canvas.circle(x, y, 5, color)
    else:
        canvas.line((x - 6, y - 6), (x + 6, y + 6), color, 3)
        canvas.line((x - 6, y + 6), (x + 6, y - 6), color, 3)


def _person(canvas: Canvas, name: str, x: float, y: float, shirt: Color) -> None:
    """Who holds the paddle, from above: shoulders, a head, and an arm towards the paddle."""
    ground = _ground(canvas)
    skin, hair = (214, 158, 118), (92, 64, 46)
    towards = 1.0 if name == "player" else -1.0

    def paint() -> None:
        middle = _SHIRT / 2
        shadow = blend(canvas.colors.ink, ground, 0.2)
        canvas.ellipse(middle - 9, middle - 11, 22, 28, shadow)
        canvas.turned_rectangle(middle + 8 * towards, middle + 5, 14, 5, 0.0, skin)
        canvas.ellipse(middle - 8, middle - 14, 16, 28, blend(shirt, canvas.colors.ink, 0.9))
        canvas.ellipse(middle - 6, middle - 12, 12, 24, shirt)
        canvas.circle(middle, middle, 7, hair if name == "player" else canvas.colors.surface_strong)
        canvas.circle(middle + 2 * towards, middle, 5, skin if name == "player" else canvas.colors.muted)

    canvas.stamp(f"{name} from above", x, y, (_SHIRT, _SHIRT), ground, paint)


def _paddle(canvas: Canvas, x: float, y: float, reach: float, color: Color) -> None:
    half = reach * (_HEIGHT - 2 * _BALL) - _BALL / 2
    canvas.rectangle(x - _PADDLE / 2, y - half, _PADDLE, 2 * half, color, radius=_PADDLE / 2)
    canvas.rectangle(x - 1.5, y - half + 5, 3, 2 * half - 10, blend(color, (255, 255, 255), 0.55))


def _complaints(row: SimpleNamespace, canvas: Canvas, y: float) -> None:
    """Drops of sweat of a player who is tired, and a bubble with a question mark of one who doubts the rival."""
    colors = canvas.colors
    for drop in range((row.tired > _TIRED) + (row.tired > _WORN_OUT)):
        canvas.ellipse(_PLAYER_X - 14 + 7 * drop, y - 24 - 4 * drop, 5, 8, colors.accent)
    if row.suspicion > _DOUBT:
        side = -1.0 if y > _TOP + 60 else 1.0
        canvas.circle(_PLAYER_X + 26, y + side * 34, 15, colors.surface)
        canvas.text(_PLAYER_X + 26, y + side * 34, "?", colors.ink, size=20, anchor="center", bold=True)


def _ball(row: SimpleNamespace, canvas: Canvas) -> None:
    colors, ground = canvas.colors, _ground(canvas)
    missed = row.pause > 0.5 and row.own_score + row.player_score > 0
    x, y = _along(row.ball_x), _across(row.ball_y)
    if missed:
        x += 26.0 if row.direction > 0 else -26.0
        canvas.circle(x, y, _BALL, colors.bad)
        canvas.circle(x, y, 15, colors.bad, outline=3)
        return
    if row.pause < 0.5:
        flown = row.flight - row.left
        for step in range(min(int(flown), _TRAIL), 0, -1):
            back_x = row.ball_x - row.direction / row.flight * step * 0.5
            back_y = 1.0 - abs(1.0 - abs(row.ball_y - row.slope * step * 0.5))
            shade = blend((255, 255, 255), ground, 0.6 * (1.0 - step / (_TRAIL + 1)))
            canvas.circle(_along(back_x), _across(back_y), _BALL - step * 0.7, shade)
    canvas.circle(x + 2, y + 3, _BALL, blend(colors.ink, ground, 0.25))
    canvas.circle(x, y, _BALL, colors.ink)
    canvas.circle(x - 1.5, y - 1.5, 0.62 * _BALL, (250, 216, 70))


def _mood(row: SimpleNamespace, canvas: Canvas, going: bool) -> None:
    """Bars for how the player feels, one for what the flying ball asks, and a tick for each stroke of the rally."""
    colors = canvas.colors
    bars = {"engaged": (row.engagement, colors.good), "upset": (row.frustration, colors.bad)}
    bars["doubts"] = (row.suspicion, colors.bad)
    if going:
        off = abs(row.strain - GOOD_STRAIN) / STRAIN_WIDTH
        tone = colors.good if off < 0.5 else colors.warning if off < 1.0 else colors.bad
        bars["challenge"] = (min(row.strain / MOST_STRAIN, 1.0), tone)
    for name, (share, color) in bars.items():
        if share > 0.02:
            canvas.rectangle(GAUGES[name], GAUGE_Y, share * GAUGE, 8, color)
    strokes = int(row.hits)
    tone = colors.muted if strokes < _LONG_RALLY // 2 else colors.good if strokes <= _ENDLESS_RALLY else colors.warning
    for stroke in range(min(strokes, _TICKS)):
        canvas.rectangle(GAUGES["rally"] + stroke * _TICK, GAUGE_Y, _TICK - 1.5, 8, tone)
    canvas.text(_LEFT + _WIDTH, GAUGE_Y + 3, f"{strokes}", colors.ink, size=20, anchor="right", bold=True)


def _along(x: float) -> float:
    inner = _OWN_X - _PLAYER_X - _PADDLE - 2 * _BALL
    return _PLAYER_X + _PADDLE / 2 + _BALL + x * inner


def _across(y: float) -> float:
    return _TOP + _BALL + y * (_HEIGHT - 2 * _BALL)
