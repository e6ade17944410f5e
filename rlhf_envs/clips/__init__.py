"""A segment as a film: simulator states recorded during rollouts and drawn later, or frames captured meanwhile."""

from rlhf_envs.clips.frames import FrameCapture, encode_mp4, encode_picture, letterbox, render_picture
from rlhf_envs.clips.painting import ClipPainter, Redrawing, clip_painter
from rlhf_envs.clips.snapshots import snapshot_source, state_adapter

__all__ = [
    "ClipPainter",
    "FrameCapture",
    "Redrawing",
    "clip_painter",
    "encode_mp4",
    "encode_picture",
    "letterbox",
    "render_picture",
    "snapshot_source",
    "state_adapter",
]
