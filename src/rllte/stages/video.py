"""Film an ordinary episode of a run: of ten new ones, the one whose return is nearest to the mean score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rllte import tables, torchscript
from rllte.env.vector import Array
from rllte.errors import UnknownNameError
from rllte.extras import requires_extra
from rllte.files import read_pulled, temporary_file
from rllte.names import Cell, Run
from rllte.recipes.build import make_envs
from rllte.recipes.project import Project
from rllte.recipes.spec import Spec
from rllte.seeding import env_seeds
from rllte.stages.demonstrate import play_round
from rllte.torch_setup import torch_threads

CODECS = {".mp4": ("libx264", "yuv420p"), ".webm": ("libvpx-vp9", "yuv420p"), ".gif": ("gif", "rgb8")}
"""The codec and the pixel format of each kind of video, by the suffix of its file."""

_NUM_EPISODES = 10
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


def make_video(root: Path, cell: Cell) -> str:
    """Film an ordinary episode of seed 0 of a cell; return one line about it.

    Raises:
        MissingArtifactError: The model or the scores of the run are not here.
        HubError: This machine cannot draw frames.
    """
    run = Run(cell, 0)
    model = torchscript.load(read_pulled(root, run.path("model")), run.path("model"))
    _, returns = tables.read_eval_scores(read_pulled(root, run.path("scores")), run.path("scores"))
    mean = float(returns.mean(dtype=np.float64))
    shot = film(Project(root).spec(cell), model, run.seed, mean)
    return write_film(root / cell.path("video"), shot, run)


def film(spec: Spec, model: torch.nn.Module, seed: int, mean: float) -> Film:
    """Play new episodes by the evaluation protocol of a cell, and film the one that is nearest to a mean.

    Args:
        spec: The cell's settings.
        model: A model that was exported from a policy, on the CPU.
        seed: The run's seed.
        mean: The mean score of the run.

    Raises:
        HubError: This machine cannot draw frames.
    """
    seeds = env_seeds(seed, "score", 1, _NUM_EPISODES)
    with torch_threads(spec.evaluation.num_threads):
        episodes, _ = play_round(spec, "expert", model, 0.0, seeds)
    returns = [sum(episode.rewards) for episode in episodes]
    best = min(range(len(seeds)), key=lambda i: abs(returns[i] - mean))
    envs = make_envs(spec, 1, [seeds[best]], training=False, render_mode="rgb_array")
    envs.reset()
    frames, total = list[Array](), 0.0
    for action in episodes[best].actions:
        frames.append(np.asarray((envs.render() or ())[0]))
        total += float(envs.step(torch.from_numpy(action[None]))[1])
    envs.close()
    assert total == returns[best], "drawing changes nothing"
    return Film(frames, total, int(envs.metadata["render_fps"]))


def write_film(path: Path, shot: Film, run: Run) -> str:
    """Write a film with the name of the run and the return in its title; return one line about it."""
    title = f"{run}: return {shot.episode_return:.4g}"
    write_video(path, shot.frames, shot.fps, title)
    return f"{title}, {len(shot.frames)} steps, {path.stat().st_size / 1e3:.0f} kB"


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
