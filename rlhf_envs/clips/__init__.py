"""A segment as pictures: simulator states recorded during rollouts, drawn when a person wants to see them."""

from rlhf_envs.clips.capturing import FrameCapture
from rlhf_envs.clips.encoding import encode_mp4, strip
from rlhf_envs.clips.painting import ClipPainter, clip_painter
from rlhf_envs.clips.simulators import SIMULATORS, StateAdapter, state_adapter
from rlhf_envs.clips.snapshots import snapshot_source

__all__ = [
    "SIMULATORS",
    "ClipPainter",
    "FrameCapture",
    "StateAdapter",
    "clip_painter",
    "encode_mp4",
    "snapshot_source",
    "state_adapter",
    "strip",
]
