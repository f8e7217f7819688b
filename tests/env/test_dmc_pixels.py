import os
import subprocess
import sys
import warnings

import envpool
import numpy as np
import pytest
import torch

from rllte.env import dmc_pixels
from rllte.env.dmc import TASKS, make_envpool_dmc_env
from rllte.env.dmc_pixels import make_envpool_dmc_pixels_env, renderer_problem
from rllte.errors import HubError, UnknownNameError
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tests.env.dmc_state import load_suite, set_state_from_observation

needs_renderer = pytest.mark.skipif(
    bool(renderer_problem()),
    reason=f"no frame can be drawn here: {renderer_problem()}. On Debian: apt-get install libegl1",
)

# one of each domain whose observations tell all that the camera sees but where on the floor it stands
SEEN = (
    "acrobot_swingup", "cartpole_swingup", "cheetah_run", "cup_catch", "finger_turn_hard", "hopper_hop",
    "pendulum_swingup", "reacher_easy", "walker_walk",
)  # fmt: skip


def half(env):
    """Return the action 0.5 in every dimension."""
    return torch.full(env.action_space.shape, 0.5)


@pytest.fixture(scope="module")
def drawn_twice(tmp_path_factory):
    """Return for each task of SEEN our frame and dm_control's of the same state."""
    ours, states = {}, {}
    for env_id in SEEN:
        env = make_envpool_dmc_pixels_env(env_id, seed=5)
        env.reset()
        for _ in range(2):
            obs, *_ = env.step(half(env))
        ours[env_id] = obs[0, -3:].permute(1, 2, 0).numpy()
        env.close()
        theirs = load_suite(env_id)
        theirs.reset()
        assert set_state_from_observation(theirs, observe(env_id, num_steps=4)) < 1e-9
        states[f"{env_id}/physics"] = theirs.physics.get_state()
        states[f"{env_id}/geom_pos"] = theirs.physics.model.geom_pos
        states[f"{env_id}/site_pos"] = theirs.physics.model.site_pos
    folder = tmp_path_factory.mktemp("frames")
    np.savez(folder / "states.npz", **states)
    command = ["-m", "tests.env.dmc_frames", folder / "states.npz", folder / "frames.npz", "84"]
    subprocess.run([sys.executable, *command], cwd=ROOT, env={**os.environ, "MUJOCO_GL": "egl"}, check=True)
    frames = np.load(folder / "frames.npz")
    return {env_id: (ours[env_id], frames[env_id]) for env_id in SEEN}


def observe(env_id, num_steps):
    """Return the float64 observation of envpool's own environment after some steps of the simulator."""
    pool = envpool.make(TASKS[env_id], env_type="gymnasium", num_envs=1, seed=[5])
    raw, _ = pool.reset()
    for _ in range(num_steps):
        raw, *_ = pool.step(np.full((1, *pool.action_space.shape), 0.5))
    return np.concatenate([np.ravel(part) for part in raw.values()])


@needs_renderer
@pytest.mark.parametrize("env_id", SEEN)
def test_frames_equal_those_that_dm_control_draws_of_the_same_state(drawn_twice, env_id):
    ours, theirs = drawn_twice[env_id]
    # an observation does not tell how far a body has run, and two versions of MuJoCo blur floors differently
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 32
    assert (difference == 0).mean() > 0.8


@needs_renderer
def test_a_first_frame_is_repeated_and_later_ones_push_out_the_oldest():
    stacked = make_envpool_dmc_pixels_env("hopper_hop", seed=1)
    single = make_envpool_dmc_pixels_env("hopper_hop", seed=1, frame_stack=1)
    (obs, _), (first, _) = stacked.reset(), single.reset()
    assert obs.shape == (1, 9, 84, 84)
    assert obs.dtype == torch.uint8
    frames = [first] * 3
    assert torch.equal(obs, torch.cat(frames, dim=1))
    for _ in range(4):
        obs, *_ = stacked.step(half(stacked))
        frames = [*frames[1:], single.step(half(single))[0]]
        assert torch.equal(obs, torch.cat(frames, dim=1))
    assert len({frame.numpy().tobytes() for frame in frames}) == 3


@needs_renderer
def test_rewards_are_the_sums_of_those_of_two_steps_observed_by_state():
    pixels = make_envpool_dmc_pixels_env("cartpole_swingup", num_envs=2, seed=3)
    state = make_envpool_dmc_env("cartpole_swingup", num_envs=2, seed=3)
    pixels.reset(), state.reset()
    for _ in range(5):
        action = half(pixels)
        _, rewards, *_ = pixels.step(action)
        sums = state.step(action)[1].double() + state.step(action)[1].double()
        assert torch.equal(rewards, sums.float())
        assert rewards.min() > 0


def test_an_episode_has_500_steps_and_ends_truncated(monkeypatch):
    black = np.zeros((1, 3, 84, 84), np.uint8)
    monkeypatch.setattr(dmc_pixels, "renderer_problem", str)
    monkeypatch.setattr(dmc_pixels._PixelPool, "_draw", lambda pool, ids: black)
    env = make_envpool_dmc_pixels_env("cartpole_balance", seed=0)
    env.reset()
    total = 0.0
    for t in range(1, 1001):
        _, reward, terminated, truncated, infos = env.step(half(env))
        total += reward.item()
        assert not terminated.any()
        assert truncated.item() == ("episode" in infos) == (t % 500 == 0)
        if t % 500 == 0:
            assert infos["_episode"].all()
            assert infos["episode"]["l"] == [500]
            assert infos["episode"]["r"] == pytest.approx(total, rel=1e-5)
            total = 0.0


@needs_renderer
def test_repeating_stops_where_the_episode_ends_and_shows_its_true_last_frame():
    # 1,000 = 3 x 300 + 100 = 5 x 200
    uneven = make_envpool_dmc_pixels_env("walker_stand", seed=2, action_repeat=300)
    even = make_envpool_dmc_pixels_env("walker_stand", seed=2, action_repeat=200, frame_stack=1)
    uneven.reset(), even.reset()
    steps = [uneven.step(half(uneven)) for _ in range(4)]
    last = [even.step(half(even)) for _ in range(5)][-1]
    assert [step[3].item() for step in steps] == [False, False, False, True]
    obs, *_, infos = steps[-1]
    assert infos["episode"]["l"] == [4]
    assert infos["episode"]["r"] == pytest.approx(last[4]["episode"]["r"])
    assert torch.equal(infos["final_obs"][:, :6], steps[2][0][:, 3:])
    assert torch.equal(infos["final_obs"][:, 6:], last[4]["final_obs"])
    assert torch.equal(obs, last[0].repeat(1, 3, 1, 1))
    assert not torch.equal(obs, infos["final_obs"])


@needs_renderer
def test_an_environment_gives_the_same_bytes_alone_and_among_others():
    def play(env):
        frames = [env.reset(seed=env._seeds)[0]]
        frames += [env.step(half(env))[0] for _ in range(3)]
        return torch.stack(frames, dim=1)

    both = make_envpool_dmc_pixels_env("reacher_hard", num_envs=2, seed=[8, 9], num_threads=2)
    alone = make_envpool_dmc_pixels_env("reacher_hard", seed=9)
    among = play(both)
    assert torch.equal(play(alone), among[1:])
    assert torch.equal(play(both), among)
    assert not torch.equal(among[0], among[1])


@needs_renderer
@pytest.mark.parametrize("env_id", TASKS)
def test_every_task_is_drawn_and_moves(env_id):
    env = make_envpool_dmc_pixels_env(env_id, seed=0)
    obs, _ = env.reset()
    assert env.observation_space.contains(obs.numpy())
    later, *_ = env.step(half(env))
    assert later.float().std() > 5
    assert not torch.equal(obs, later)
    env.close()


def test_no_renderer_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dmc_pixels, "renderer_problem", lambda: "failed to initialize EGL")
    with pytest.raises(HubError, match=r"failed to initialize EGL.*libegl1"):
        make_envpool_dmc_pixels_env("walker_walk")


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is Linux's")
def test_a_machine_without_a_driver_is_noticed_and_the_process_goes_on():
    code = "from rllte.env.dmc_pixels import renderer_problem; print(renderer_problem())"
    nothing = {"__EGL_VENDOR_LIBRARY_FILENAMES": os.devnull}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **nothing},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "EGL" in done.stdout


def test_an_unknown_task_is_an_error():
    with pytest.raises(UnknownNameError, match="Did you mean 'walker_walk'"):
        make_envpool_dmc_pixels_env("walker_wak")


@pytest.mark.parametrize("name", ["frame_stack", "action_repeat", "image_size"])
def test_a_number_below_one_is_an_error(name):
    with pytest.raises(HubError, match=f"{name} is 0; write 1 or more"):
        make_envpool_dmc_pixels_env(**{name: 0})
