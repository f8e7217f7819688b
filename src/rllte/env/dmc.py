"""The DeepMind Control Suite (Tassa et al., 2018) on envpool, with states as observations.

Tasks have dm_control's names, ``domain_task``; ``cup_catch`` is dm_control's ``ball_in_cup`` ``catch``.
Physics, rewards and time limits are dm_control's on MuJoCo 3.6.0; a test plays both side by side.

The tasks of ``finger`` use dm_control itself instead of envpool. MuJoCo 3.5 and 3.6 give the spinner, whose
centre of mass lies on its axis, an inverse weight of 26.2 for pushes instead of 0. A finger then meets 1/64
of the resistance that it meets in earlier and later versions.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import envpool
import gymnasium as gym
import numpy as np
import torch

from rllte.env.package import PackageVectorEnv
from rllte.env.vector import Array, EnvpoolVectorEnv, check_task
from rllte.errors import HubError
from rllte.extras import requires_extra

TASKS = {
    env_id: "".join(word.capitalize() for word in env_id.replace("cup_", "ball_in_cup_").split("_")) + "-v1"
    for env_id in (
        "acrobot_swingup", "cartpole_balance", "cartpole_balance_sparse", "cartpole_swingup",
        "cartpole_swingup_sparse", "cheetah_run", "cup_catch", "finger_spin", "finger_turn_easy",
        "finger_turn_hard", "fish_swim", "fish_upright", "hopper_hop", "hopper_stand", "humanoid_run",
        "humanoid_stand", "humanoid_walk", "pendulum_swingup", "quadruped_run", "quadruped_walk",
        "reacher_easy", "reacher_hard", "swimmer_swimmer6", "swimmer_swimmer15", "walker_run",
        "walker_stand", "walker_walk",
    )
}  # fmt: skip
"""envpool's name of each task."""

# envpool's dict of observations has the keys of all tasks of a domain. Where dm_control's differs, this table
# has dm_control's keys, in its order.
_OBSERVATION_KEYS = {
    "fish_swim": ("joint_angles", "upright", "target", "velocity"),
    "fish_upright": ("joint_angles", "upright", "velocity"),
    "humanoid": ("joint_angles", "head_height", "extremities", "torso_vertical", "com_velocity", "velocity"),
    "quadruped": ("egocentric_state", "torso_velocity", "torso_upright", "imu", "force_torque"),
}
_FROM_PACKAGE = "finger_"
_RENDER_SIZE, _RENDER_FPS = 256, 50


class CupCatchVectorEnv(EnvpoolVectorEnv):
    """``cup_catch`` with dm_control's reward.

    envpool 1.2.5 takes the radius of the ball from another part of the model: 0.008 m instead of 0.025 m. It
    therefore counts the ball as caught when it is still too far up, down or aside.
    """

    def _rewards(self, raw: dict[str, Array], rewards: Array) -> Array:
        return caught(raw["position"]).astype(rewards.dtype)


def caught(position: Array) -> Array:
    """Return whether the ball is in the cup, by the rule of dm_control's ``ball_in_cup``.

    Args:
        position: ``(num_envs, 4)``, the joint positions of the cup (x, z) and of the ball (x, z), in metres.

    Returns:
        ``(num_envs,)`` bool, whether the whole ball, of radius 0.025 m, is inside the target, a square with
        sides of 0.1 m.
    """
    target = position[:, :2] + [0.0, 0.6 - 0.05]  # offsets of the cup's body and of the target's centre in it
    ball = position[:, 2:] + [0.0, 0.2]
    return np.all(np.abs(target - ball) < 0.05 - 0.025, axis=1)


def make_envpool_dmc_env(
    env_id: str = "cheetah_run",
    num_envs: int = 1,
    seed: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
    num_threads: int = 0,
    from_pixels: bool = False,
    frame_stack: int = 3,
    action_repeat: int = 2,
    image_size: int = 84,
    render_mode: str | None = None,
) -> EnvpoolVectorEnv:
    """Make a vector of DeepMind Control environments: finger's with dm_control, the others with envpool.

    Args:
        env_id: Name of the task, ``domain_task``, such as ``"cheetah_run"``.
        num_envs: Number of parallel environments.
        seed: A seed (environment i takes ``seed + i``), or one for each environment.
        device: Device of observations, rewards and flags.
        num_threads: Number of envpool's threads; 0 lets envpool choose. Results do not depend on it.
        from_pixels: Whether observations are a camera's frames instead of states. The next three options only
            matter then, and ``dmc_pixels.make_envpool_dmc_pixels_env`` describes the environments.
        frame_stack: Number of frames in an observation.
        action_repeat: Number of simulator steps that repeat one action.
        image_size: Height and width of a frame, in pixels.
        render_mode: ``"rgb_array"`` if frames are wanted from ``render()``: a camera's, 256 × 256 pixels, or
            ``image_size`` with ``from_pixels``. They are drawn with EGL.

    Returns:
        Environments with observations ``(num_envs, obs_dim)`` float32, which are the arrays of dm_control's
        dict concatenated in its order. Actions are ``(num_envs, action_dim)`` in [-1, 1] and are scaled to
        the task's own bounds. Rewards are in [0, 1]. Episodes are truncated after 1,000 steps.

    Raises:
        UnknownNameError: There is no such task.
    """
    if from_pixels:
        with requires_extra("Environments need"):
            from rllte.env.dmc_pixels import make_envpool_dmc_pixels_env
        return make_envpool_dmc_pixels_env(
            env_id, num_envs, seed, device, num_threads, frame_stack, action_repeat, image_size, render_mode
        )
    check_task("dmc", env_id, env_id, {name: name for name in TASKS})
    options: dict[str, Any] = {
        "num_envs": num_envs,
        "seed": seed,
        "device": device,
        "action_space": unit_box,
        "write_action": action_scaler(env_id, num_envs),
        "num_threads": num_threads,
        "render_mode": render_mode,
        "render_fps": _RENDER_FPS,
    }
    if env_id.startswith(_FROM_PACKAGE):
        with requires_extra(f"{env_id} needs"):
            from rllte.env.dmc_control import ControlEnv
        return PackageVectorEnv(env_id, make_env=partial(ControlEnv, env_id), **options)
    if render_mode is not None:
        with requires_extra("Frames need"):
            from rllte.env.dmc_pixels import check_renderer, render_options
        check_renderer(env_id)
        options |= render_options(env_id, _RENDER_SIZE)
    keys = _OBSERVATION_KEYS.get(env_id) or _OBSERVATION_KEYS.get(env_id.split("_")[0])

    def read_obs(raw: dict[str, Array]) -> Array:
        parts = [raw[key] for key in keys or raw]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1, dtype=np.float32)

    def observation_space(space: Any) -> gym.Space[Any]:
        obs_dim = sum(int(np.prod(space[key].shape)) for key in keys or space)
        return gym.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32)

    kind = CupCatchVectorEnv if env_id == "cup_catch" else EnvpoolVectorEnv
    return kind(TASKS[env_id], observation_space=observation_space, read_obs=read_obs, **options)


def action_scaler(env_id: str, num_envs: int) -> Callable[[Array], Array]:
    """Return a function that scales actions from [-1, 1] to the task's own bounds.

    The function takes actions ``(num_envs, action_dim)`` and returns them as float64.
    """
    bounds = envpool.make_spec(TASKS[env_id]).action_space
    low, high = bounds.low.astype(np.float64), bounds.high.astype(np.float64)

    def write_action(actions: Array) -> Array:
        if actions.shape != (num_envs, *low.shape):
            raise HubError(f"actions have shape {actions.shape}; {env_id} takes {(num_envs, *low.shape)}.")
        return low + (actions.astype(np.float64).clip(-1.0, 1.0) + 1.0) * (0.5 * (high - low))

    return write_action


def unit_box(space: gym.Space[Any]) -> gym.spaces.Box:
    """Return the action space before ``action_scaler``: [-1, 1] in every dimension."""
    return gym.spaces.Box(-1.0, 1.0, space.shape, np.float32)
