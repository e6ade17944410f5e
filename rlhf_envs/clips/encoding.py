"""Frames as a film for browsers and as a strip for reports."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

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
    frames = _checked(frames)
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


def strip(frames: NDArray[np.uint8], count: int = 4) -> NDArray[np.uint8]:
    """Evenly spaced frames side by side, from the first to the last, (height, width * count, 3) uint8.

    Args:
        frames: (T, height, width, 3) uint8.
        count: how many of them; where T is smaller, some stand there twice.

    Raises:
        ValueError: if the frames are not of that shape and dtype, or count is below 1.
    """
    frames = _checked(frames)
    if count < 1:
        raise ValueError(f"count is the number of frames in the strip and must be at least 1, not {count}.")
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(np.intp)
    return np.concatenate(list(frames[chosen]), axis=1)


def _write(film: Path, frames: NDArray[np.uint8], rate: Fraction) -> None:
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
            container.mux(
                stream.encode(
                    picture.reformat(
                        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                    )
                )
            )
        container.mux(stream.encode())


def _checked(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise ValueError(
            f"Frames must be an array (T, height, width, 3) of uint8 with at least one frame, "
            f"not {frames.dtype} of shape {frames.shape}."
        )
    return frames
