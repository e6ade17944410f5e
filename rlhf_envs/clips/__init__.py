"""A segment as a film: simulator states recorded during rollouts and drawn later, or frames captured meanwhile."""

from rlhf_envs.clips.frames import CLIP_SIZE, FrameCapture, encode_mp4, letterbox, render_picture
from rlhf_envs.clips.painting import ClipPainter, clip_painter
from rlhf_envs.clips.snapshots import SIMULATORS, StateAdapter, snapshot_source, state_adapter

__all__ = [
    "CLIP_SIZE",
    "SIMULATORS",
    "ClipPainter",
    "FrameCapture",
    "StateAdapter",
    "clip_painter",
    "encode_mp4",
    "letterbox",
    "render_picture",
    "snapshot_source",
    "state_adapter",
]
