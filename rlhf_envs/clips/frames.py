"""Frames of a segment: captured during rollouts, scaled to one size, encoded as a film."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

CLIP_SIZE = (300, 200)
"""(width, height) of a clip in pixels."""

MAX_CAPTURED_BYTES = 256 * 2**20
"""What captured frames may take. Where more copies run than fit, segments come from the first ones."""

_BT709 = 1
_X264 = {"preset": "veryfast", "crf": "20", "tune": "animation"}


def encode_mp4(
    frames: NDArray[np.uint8], path: str | PathLike[str] | None = None, frames_per_second: float = 15
) -> bytes:
    """An H.264 film that every browser plays (yuv420p, BT.709, the index in front so that it starts at once).

    Args:
        frames: (T, height, width, 3) uint8. An odd height or width is rounded up by repeating the last row or column.
        path: where to write the film too.
        frames_per_second: how fast it plays.

    Raises:
        ValueError: if the frames are not of that shape and dtype, or there are none, or the rate is not positive.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise ValueError(
            f"Frames must be an array (T, height, width, 3) of uint8 with at least one frame, "
            f"not {frames.dtype} of shape {frames.shape}."
        )
    if frames_per_second <= 0:
        raise ValueError(f"frames_per_second must be above 0, not {frames_per_second}.")
    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    # The index is moved to the front by rewriting the file, which needs a real one.
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "clip.mp4")
        _write(film, even, Fraction(frames_per_second).limit_denominator(1000))
        content = film.read_bytes()
    if path is not None:
        Path(path).write_bytes(content)
    return content


def _write(film: Path, frames: NDArray[np.uint8], rate: Fraction) -> None:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    with av.open(str(film), mode="w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=_X264)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        for pixels in frames:
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            target: Any = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
            container.mux(stream.encode(picture.reformat(format="yuv420p", **target)))
        container.mux(stream.encode())


def encode_picture(pixels: NDArray[np.uint8], kind: str) -> bytes:
    """A picture (height, width, 3) uint8 as a file of this kind: "png" or "jpg"."""
    import pygame

    written = io.BytesIO()
    size = pixels.shape[1], pixels.shape[0]
    pygame.image.save(pygame.image.frombuffer(pixels.tobytes(), size, "RGB"), written, f"frame.{kind}")
    return written.getvalue()


def letterbox(picture: NDArray[np.uint8], frame_size: tuple[int, int], background: Sequence[int]) -> NDArray[np.uint8]:
    """A picture (rows, columns, 3) uint8 scaled into (width, height) pixels, its proportions kept, centred."""
    import pygame

    width, height = frame_size
    rows, columns = picture.shape[:2]
    if (columns, rows) == (width, height):
        return picture
    scale = min(width / columns, height / rows)
    inner_width, inner_height = max(round(columns * scale), 1), max(round(rows * scale), 1)
    source = pygame.image.frombuffer(np.ascontiguousarray(picture).data, (columns, rows), "RGB")
    scaled = pygame.image.tobytes(pygame.transform.smoothscale(source, (inner_width, inner_height)), "RGB")
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    frame = np.empty((height, width, 3), dtype=np.uint8)
    frame[:] = background
    inner = frame[top : top + inner_height, left : left + inner_width]
    inner[...] = np.frombuffer(scaled, dtype=np.uint8).reshape(inner.shape)
    return frame


def render_picture(env: gym.Env[Any, Any], environment_id: str) -> NDArray[np.uint8]:
    """What an environment renders in its current state, (rows, columns, 3) uint8.

    Raises:
        RuntimeError: if it fails, as simulators do on a machine without a screen.
    """
    try:
        return np.asarray(env.render())
    except Exception as error:
        raise RuntimeError(
            f"{environment_id} cannot be drawn on this machine ({type(error).__name__}: {error}); MuJoCo without a "
            "screen needs the environment variable MUJOCO_GL=egl or osmesa, and that library."
        ) from error


class FrameCapture:
    """Renders the first copies of an environment during rollouts, for environments that cannot be drawn from states.

    Args:
        render: gives the pictures of the copies with these numbers, each (rows, columns, 3) uint8.
        copies: how many run.
        capacity_steps: how many frames of each are stored at a time.
        max_size: (width, height) in pixels that a picture is shrunk into, its proportions kept; never enlarged.

    Raises:
        ValueError: if the environment gives no pictures.
    """

    def __init__(
        self,
        render: Callable[[Sequence[int]], Sequence[Any]],
        copies: int,
        capacity_steps: int,
        max_size: tuple[int, int] = CLIP_SIZE,
    ) -> None:
        self._render = render
        picture = _checked_picture(render([0])[0])
        rows, columns = picture.shape[:2]
        scale = min(max_size[0] / columns, max_size[1] / rows, 1.0)
        self._size = (max(round(columns * scale), 1), max(round(rows * scale), 1))
        self.shape = (self._size[1], self._size[0], 3)
        fitting = MAX_CAPTURED_BYTES // (capacity_steps * self.shape[0] * self.shape[1] * 3)
        self.copies = int(np.clip(fitting, 1, copies))
        self._captured = list(range(self.copies))

    def capture(self, out: NDArray[np.uint8]) -> None:
        """Take a picture of each captured copy into `out`, (copies, height, width, 3)."""
        for row, picture in enumerate(self._render(self._captured)):
            out[row] = letterbox(_checked_picture(picture), self._size, (0, 0, 0))


def _checked_picture(picture: Any) -> NDArray[np.uint8]:
    """A picture in colour: grey ones are made so, and transparency is left out."""
    array = np.asarray(picture)
    if array.dtype == np.uint8 and array.ndim == 2:
        array = array[..., None]
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] in (1, 4):
        array = np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array[..., :3]
    if array.ndim != 3 or array.shape[-1] != 3 or array.dtype != np.uint8:
        shown = "None" if picture is None else f"{array.dtype} of shape {array.shape}"
        raise ValueError(
            "People cannot be shown this environment: with render_mode='rgb_array' its render() must give an array "
            f"(rows, columns, 3) of uint8, not {shown}."
        )
    return array
