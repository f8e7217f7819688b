"""Videos: the frames of an episode, and the same bytes each time."""

import shutil

import numpy as np
import pytest

from rllte import torchscript
from rllte.errors import MissingArtifactError, UnknownNameError
from rllte.recipes.project import Project
from rllte.seeding import env_seeds
from rllte.stages.demonstrate import play_round
from rllte.stages.video import CODECS, film, make_video, write_video
from tests.conftest import CELL, RUNS
from tests.test_cli import run

av = pytest.importorskip("av")


def frames_of(height, width):
    """Five frames, each of one colour that is clearly another."""
    return [np.full((height, width, 3), (50 * i, 250 - 50 * i, 128), np.uint8) for i in range(5)]


def read(path):
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return (
            [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)],
            rate,
            container.metadata,
        )


@pytest.mark.parametrize("suffix", CODECS)
def test_a_video_shows_its_frames_and_has_the_same_bytes_again(suffix, tmp_path):
    frames = frames_of(160, 200)
    for name in ("one", "two"):
        write_video(tmp_path / f"{name}{suffix}", frames, 10, "title: return 5")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    seen, rate, metadata = read(tmp_path / f"one{suffix}")
    assert (len(seen), rate) == (5, 10)
    for frame, expected in zip(seen, frames, strict=True):
        assert frame.shape == expected.shape
        colours = frame.mean(axis=(0, 1)), expected.mean(axis=(0, 1))
        assert abs(colours[0] - colours[1]).max() < 6, "compression and a palette change colours little"
    assert suffix == ".gif" or metadata["title"] == "title: return 5"


def test_small_frames_are_enlarged_and_odd_sizes_are_cut(tmp_path):
    write_video(tmp_path / "small.mp4", frames_of(64, 64), 10, "")
    write_video(tmp_path / "odd.mp4", frames_of(161, 163), 10, "")
    assert read(tmp_path / "small.mp4")[0][0].shape == (192, 192, 3)
    assert read(tmp_path / "odd.mp4")[0][0].shape == (160, 162, 3)


def test_another_kind_of_file_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(UnknownNameError, match=r"Unknown kind of video '\.avi'"):
        write_video(tmp_path / "film.avi", frames_of(160, 160), 10, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0])
def test_a_film_shows_every_step_of_the_episode_that_is_nearest_to_the_mean(published_hub, mean):
    spec = Project(published_hub).spec(CELL)
    model = torchscript.load((published_hub / RUNS[0].path("model")).read_bytes(), "model")
    shot = film(spec, model, 0, mean)
    episodes, _ = play_round(spec, "expert", model, 0.0, env_seeds(0, "score", 1, 10))
    returns = [sum(episode.rewards) for episode in episodes]
    assert abs(shot.episode_return - mean) == min(abs(one - mean) for one in returns)
    assert len(shot.frames) == len(episodes[returns.index(shot.episode_return)].actions)
    assert not np.array_equal(shot.frames[0], shot.frames[-1])


def test_the_video_of_a_cell_is_of_seed_0_and_leads_to_it(published_hub, tmp_path):
    root = shutil.copytree(published_hub, tmp_path / "hub")
    assert make_video(root, CELL).startswith(f"{RUNS[0]}: return ")
    _, _, metadata = read(root / CELL.path("video"))
    assert metadata["title"].startswith(f"{RUNS[0]}: return ")
    (root / RUNS[0].path("model")).unlink()
    with pytest.raises(MissingArtifactError, match=r"model\.pt is not here"):
        make_video(root, CELL)


def test_play_films_an_episode(hub, tmp_path):
    run("play", RUNS[0], "--video", tmp_path / "film.mp4")
    frames, _, metadata = read(tmp_path / "film.mp4")
    assert metadata["title"].startswith(f"{RUNS[0]}: return ")
    assert len(frames) > 1
