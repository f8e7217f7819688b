"""Film an episode that a model plays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rllte.agent.evaluation import Act, acting
from rllte.env.vector import Array
from rllte.errors import UnknownNameError
from rllte.extras import requires_extra
from rllte.files import temporary_file
from rllte.recipes.build import make_envs
from rllte.recipes.spec import Spec
from rllte.seeding import env_seeds
from rllte.torch_setup import torch_threads

CODECS = {".mp4": ("libx264", "yuv420p"), ".webm": ("libvpx-vp9", "yuv420p"), ".gif": ("gif", "rgb8")}
"""The codec and the pixel format of each kind of video, by the suffix of its file."""

_LEAST_HEIGHT = 160  # smaller frames are enlarged by a whole number
_OPTIONS = {"libx264": {"crf": "23"}, "libvpx-vp9": {"crf": "32", "b:v": "0"}, "gif": {}}


class Film(NamedTuple):
    """An episode on film.

    Attributes:
        frames: What the environment showed before each step, ``(height, width, 3)`` uint8 each.
        episode_return: The undiscounted return of the episode.
        fps: Frames per second.
    """

    frames: list[Array]
    episode_return: float
    fps: int


def film(spec: Spec, model: Act, seed: int, *, index: int = 1) -> Film:
    """Play one episode by the evaluation protocol of a cell, and return its frames.

    Args:
        spec: The cell's settings.
        model: A policy, or a model that was exported from one, on the CPU.
        seed: The run's seed.
        index: Another number plays another episode.

    Raises:
        HubError: This machine cannot draw frames.
    """
    seeds = env_seeds(seed, "score", index, 1)
    envs = make_envs(spec, 1, seeds, training=False, render_mode="rgb_array")
    generator = torch.Generator().manual_seed(seeds[0])
    act = acting(model, envs.single_action_space, spec.evaluation.deterministic, generator)
    frames: list[Array] = []
    obs, infos = envs.reset()
    with torch_threads(spec.evaluation.num_threads):
        while not infos.get("_episode", np.zeros(1)).any():
            frames.append(np.asarray((envs.render() or ())[0]))
            obs, _, _, _, infos = envs.step(act(obs))
    envs.close()
    return Film(frames, float(infos["episode"]["r"][0]), int(envs.metadata["render_fps"]))


def write_video(path: Path, frames: Sequence[Array], fps: int, title: str) -> None:
    """Write frames as a video; on one machine the same frames give the same bytes.

    Args:
        path: The file. Its suffix chooses the format: ``.mp4``, ``.webm`` or ``.gif``.
        frames: ``(height, width, 3)`` uint8 each.
        fps: Frames per second.
        title: The title in the file's metadata.

    Raises:
        UnknownNameError: The suffix is none of these.
        MissingExtraError: PyAV is not installed.
    """
    if path.suffix not in CODECS:
        raise UnknownNameError("kind of video", path.suffix, CODECS)
    with requires_extra("Videos need"):
        import av
    codec, pixel_format = CODECS[path.suffix]
    factor = -(-_LEAST_HEIGHT // frames[0].shape[0])
    options = {"fflags": "+bitexact"}  # no version of a library in the file
    with (
        temporary_file(path) as temporary,
        av.open(str(temporary), "w", format=path.suffix[1:], options=options) as container,
    ):
        container.metadata["title"] = title
        stream: Any = container.add_stream(codec, rate=fps, options=_OPTIONS[codec])
        stream.height, stream.width = (factor * size // 2 * 2 for size in frames[0].shape[:2])
        stream.pix_fmt, stream.thread_count = pixel_format, 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for frame in frames:
            enlarged = frame.repeat(factor, axis=0).repeat(factor, axis=1)
            picture = av.VideoFrame.from_ndarray(enlarged[: stream.height, : stream.width], format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
