"""Frames of environments: what they show, and that drawing changes nothing else."""

import numpy as np
import pytest
import torch

from rllte.env import (
    make_dmc_env,
    make_envpool_atari_env,
    make_envpool_minigrid_env,
    make_envpool_procgen_env,
)
from rllte.env.dmc_pixels import renderer_problem
from rllte.errors import HubError, UnknownNameError

PROBLEM = renderer_problem()
DRAWS = pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM)
CASES = [
    pytest.param(make_envpool_atari_env, "Pong-v5", (210, 160, 3), id="atari"),
    pytest.param(make_envpool_procgen_env, "coinrun", (64, 64, 3), id="procgen"),
    pytest.param(make_envpool_minigrid_env, "DoorKey-5x5-v0", (160, 160, 3), id="minigrid"),
    pytest.param(make_envpool_minigrid_env, "MultiRoom-N2-S4-v0", (800, 800, 3), id="package-minigrid"),
    pytest.param(make_dmc_env, "cheetah_run", (256, 256, 3), id="dmc", marks=DRAWS),
]


@pytest.mark.parametrize(("make", "env_id", "shape"), CASES)
def test_drawing_changes_no_observation_and_each_environment_shows_its_own_frame(make, env_id, shape):
    drawn, plain = (make(env_id, num_envs=2, seed=5, render_mode=mode) for mode in ("rgb_array", None))
    assert torch.equal(drawn.reset()[0], plain.reset()[0])
    drawn.action_space.seed(0)
    for _ in range(10):
        actions = drawn.action_space.sample()
        frames = drawn.render()
        assert [(frame.shape, frame.dtype) for frame in frames] == [(shape, np.uint8)] * 2
        for one, other in zip(drawn.step(actions)[:4], plain.step(actions)[:4], strict=True):
            assert torch.equal(one, other)
    frames = drawn.render()
    assert not np.array_equal(*frames)
    assert frames[0].std() > 1
    assert drawn.metadata["render_fps"] > 0
    for envs in (drawn, plain):
        envs.close()


def test_a_frame_of_procgen_is_its_observation():
    envs = make_envpool_procgen_env("coinrun", num_envs=2, seed=0, render_mode="rgb_array")
    obs, _ = envs.reset()
    assert np.array_equal(np.stack(envs.render()), obs.permute(0, 2, 3, 1).numpy())
    envs.close()


def test_frames_must_be_asked_for_and_only_arrays_can_be():
    envs = make_envpool_minigrid_env("Empty-5x5-v0", num_envs=1)
    envs.reset()
    with pytest.raises(HubError, match='made with render_mode="rgb_array"'):
        envs.render()
    envs.close()
    with pytest.raises(UnknownNameError, match="Unknown render_mode 'human'"):
        make_envpool_minigrid_env("Empty-5x5-v0", render_mode="human")
