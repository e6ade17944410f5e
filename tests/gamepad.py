"""A gamepad as SDL itself simulates one, so that its events reach a window as those of a real one do."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pygame
import pytest

AXES, BUTTONS, HATS, GAME_CONTROLLER = 6, 10, 1, 1
FAR = 32767


class Gamepad:
    """A pad with two sticks, axes 0 to 3, and two triggers, axes 4 and 5, which rest at -1 as those of real pads do."""

    def __init__(self, sdl: ctypes.CDLL) -> None:
        self._sdl = sdl
        sdl.SDL_JoystickFromInstanceID.restype = ctypes.c_void_p
        sdl.SDL_JoystickSetVirtualAxis.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int16]
        self.index = sdl.SDL_JoystickAttachVirtual(GAME_CONTROLLER, AXES, BUTTONS, HATS)
        assert self.index >= 0

    def move(self, axis: int, value: float) -> None:
        """Move an axis of the pad, which a window has opened."""
        device = self._sdl.SDL_JoystickFromInstanceID(pygame.joystick.Joystick(self.index).get_instance_id())
        assert self._sdl.SDL_JoystickSetVirtualAxis(device, axis, round(FAR * value)) == 0

    def detach(self) -> None:
        self._sdl.SDL_JoystickDetachVirtual(self.index)


@contextmanager
def plugged_in() -> Iterator[Gamepad]:
    """A gamepad that is there for a while; skips the test where pygame's SDL cannot simulate one."""
    mapped = Path("/proc/self/maps")
    lines = mapped.read_text().splitlines() if mapped.exists() else []
    libraries = {line.split()[-1] for line in lines if "libSDL2-2" in line}
    if not libraries:
        pytest.skip("SDL's library is not found")
    sdl = ctypes.CDLL(libraries.pop())
    if not hasattr(sdl, "SDL_JoystickAttachVirtual"):
        pytest.skip("this SDL simulates no gamepads")
    pygame.joystick.init()
    pad = Gamepad(sdl)
    try:
        yield pad
    finally:
        pad.detach()
        pygame.joystick.quit()
