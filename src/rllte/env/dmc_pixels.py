"""The DeepMind Control Suite on envpool, observed by a camera, as in DrQ-v2 (Yarats et al., 2022).

Physics, rewards and seeds are envpool's, also for the tasks where ``rllte.env.dmc`` departs from envpool.
envpool's own MuJoCo (3.6) draws the frames with EGL. EGL uses the GPU's driver if there is one, else Mesa on
the CPU. ``MUJOCO_EGL_DEVICE_ID`` chooses among several devices; ``MUJOCO_GL`` is not read.

A test checks for nine domains that the frames equal dm_control's. The one exception is a marker: envpool
shows the tip of ``finger_spin``'s spinner, which dm_control hides. From MuJoCo 3.12 on, dm_control lays out
the squares of the floor differently; envpool's layout is that of DrQ-v2.

dm_control must not draw with EGL in the same process: afterwards, dm_control's frames are wrong (those of
this module are not).
"""

import ctypes
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import envpool
import gymnasium as gym
import numpy as np
import torch

from rllte.env.dmc import TASKS, action_scaler, unit_box
from rllte.env.vector import Array, EnvpoolVectorEnv, Infos, check_task
from rllte.errors import HubError

_CAMERA_OF = {"quadruped": 2}  # a closer camera; the other domains use camera 0 (drqv2/dmc.py)


def make_envpool_dmc_pixels_env(
    env_id: str = "cheetah_run",
    num_envs: int = 1,
    seed: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
    num_threads: int = 0,
    frame_stack: int = 3,
    action_repeat: int = 2,
    image_size: int = 84,
    render_mode: str | None = None,
) -> EnvpoolVectorEnv:
    """Make a vector of DeepMind Control environments whose observations are a camera's frames.

    One step of an environment repeats the action, adds up the rewards and draws the last state. It stops
    repeating when the episode ends. Lengths in ``infos`` count these steps, not the simulator's.

    Args:
        env_id: Name of the task, ``domain_task``, such as ``"cheetah_run"``.
        num_envs: Number of parallel environments.
        seed: A seed (environment i takes ``seed + i``), or one for each environment.
        device: Device of observations, rewards and flags.
        num_threads: Number of envpool's threads for physics; 0 lets envpool choose. Results do not depend on
            it.
        frame_stack: Number of frames in an observation. At a reset, the first frame fills the stack.
        action_repeat: Number of simulator steps that repeat one action.
        image_size: Height and width of a frame, in pixels.
        render_mode: ``"rgb_array"`` or None. Frames are drawn in any case, so ``render()`` gives them always.

    Returns:
        Environments with observations ``(num_envs, 3 * frame_stack, image_size, image_size)`` uint8, which
        hold the red, green and blue of each frame, the oldest frame first. Actions are
        ``(num_envs, action_dim)`` in [-1, 1] and are scaled to the task's own bounds. Rewards are in
        [0, action_repeat]. Episodes are truncated after 1,000 / action_repeat steps. The same seeds give the
        same bytes wherever the same driver draws.

    Raises:
        UnknownNameError: There is no such task.
        HubError: This machine cannot draw frames, or a number is below 1.
    """
    del render_mode
    check_task("dmc", env_id, env_id, {name: name for name in TASKS})
    numbers = {"frame_stack": frame_stack, "action_repeat": action_repeat, "image_size": image_size}
    for name, number in numbers.items():
        if number < 1:
            raise HubError(f"{name} is {number}; write 1 or more.")
    check_renderer(env_id)
    shape = (3 * frame_stack, image_size, image_size)
    return _PixelVectorEnv(
        TASKS[env_id],
        frame_stack=frame_stack,
        action_repeat=action_repeat,
        num_envs=num_envs,
        seed=seed,
        device=device,
        observation_space=lambda _: gym.spaces.Box(0, 255, shape, np.uint8),
        action_space=unit_box,
        read_obs=lambda frames: frames,
        write_action=action_scaler(env_id, num_envs),
        num_threads=num_threads,
        render_fps=50 // action_repeat or 1,
        **{**render_options(env_id, image_size), "render_mode": "rgb_array"},
    )


def check_renderer(env_id: str) -> None:
    """Raise unless this machine can draw frames.

    Raises:
        HubError: It cannot.
    """
    if problem := renderer_problem():
        raise HubError(
            f"Frames of {env_id} are wanted, but this machine cannot draw them: {problem}. Install EGL; "
            "on Debian: apt-get install libegl1 (a GPU's driver brings its own part)."
        )


@functools.cache
def renderer_problem() -> str:
    """Return why this machine cannot draw frames, or an empty text if it can."""
    pool = envpool.make(
        TASKS["pendulum_swingup"],
        env_type="gymnasium",
        num_envs=1,
        render_mode="rgb_array",
        **render_options("pendulum_swingup", 8),
    )
    try:
        if sys.platform == "linux":
            _share_egl()
        pool.reset()
        pool.render()
    except (OSError, RuntimeError) as error:
        return str(error)
    finally:
        pool.close()
    return ""


def _share_egl() -> None:
    """Let envpool's MuJoCo find the EGL library that envpool is linked with.

    envpool 1.2.5 does not share the library's symbols, but its MuJoCo looks for them among the symbols of the
    whole process, and ends the process if it finds none. It must be the same library: in another one, no
    context is current.
    """
    bundled = (Path(envpool.__file__).parents[1] / "envpool.libs").glob("libEGL*")
    ctypes.CDLL(str(next(bundled, "libEGL.so.1")), ctypes.RTLD_GLOBAL)


def render_options(env_id: str, image_size: int) -> dict[str, Any]:
    """Return envpool's options for square frames of a task, ``image_size`` pixels wide."""
    camera = _CAMERA_OF.get(env_id.split("_")[0], 0)
    return {"render_width": image_size, "render_height": image_size, "render_camera_id": camera}


class _PixelVectorEnv(EnvpoolVectorEnv):
    def __init__(self, task_id: str, *, frame_stack: int, action_repeat: int, **options: Any) -> None:
        self.stack_size, self._action_repeat = frame_stack, action_repeat
        super().__init__(task_id, **options)

    def _make_pool(self, seeds: list[int]) -> Any:
        image_size = self._options["render_width"]
        stacks = np.zeros((self.num_envs, self.stack_size, 3, image_size, image_size), np.uint8)
        return _PixelPool(super()._make_pool(seeds), stacks, self._action_repeat)


class _PixelPool:
    """envpool's pool with repeated actions and stacked frames, as ``EnvpoolVectorEnv`` uses it.

    envpool can return pixels itself (``from_pixels``), but then it draws every step of the simulator, also
    those between two decisions, and nearly all the time goes into drawing.

    Args:
        pool: A pool of envpool that was made with a ``render_mode``.
        stacks: ``(num_envs, frame_stack, 3, image_size, image_size)`` uint8, the buffer for the frames.
        action_repeat: Number of simulator steps that repeat one action.
    """

    def __init__(self, pool: Any, stacks: Array, action_repeat: int) -> None:
        self.observation_space, self.action_space = pool.observation_space, pool.action_space
        self.close = pool.close
        self._pool, self._stacks, self._action_repeat = pool, stacks, action_repeat
        self._ids = np.arange(len(stacks), dtype=np.int32)

    def reset(self) -> tuple[Array, Infos]:
        self._pool.reset()
        return self._first_obs(self._ids), {}

    def step(self, actions: Array, ids: Array) -> tuple[Array, Array, Array, Array, Infos]:
        """Make envpool's reset step in the environments that ended."""
        _, rewards, terminated, truncated, _ = self._pool.step(actions, ids)
        return self._first_obs(ids), rewards, terminated, truncated, {"env_id": ids}

    def send(self, actions: Array) -> None:
        self._actions = actions

    def recv(self) -> tuple[Array, Array, Array, Array, Infos]:
        """Repeat the actions that were sent, then draw."""
        actions = self._actions
        rewards = np.zeros(len(actions), np.float64)
        terminated, truncated = np.zeros((2, len(actions)), np.bool_)
        going = self._ids
        for _ in range(self._action_repeat):
            _, reward, is_terminated, is_truncated, info = self._pool.step(actions[going], going)
            at = info["env_id"]
            rewards[at] += reward
            terminated[at], truncated[at] = is_terminated, is_truncated
            going = self._ids[~(terminated | truncated)]
            if not len(going):
                break
        self._stacks[:, :-1] = self._stacks[:, 1:]
        self._stacks[:, -1] = self._draw(self._ids)
        return self._obs(self._ids), rewards, terminated, truncated, {}

    def _first_obs(self, ids: Array) -> Array:
        self._stacks[ids] = self._draw(ids)[:, None]
        return self._obs(ids)

    def _draw(self, ids: Array) -> Array:
        return self._pool.render(env_ids=ids).transpose(0, 3, 1, 2)

    def _obs(self, ids: Array) -> Array:
        stacks = self._stacks[ids]  # a copy, so that later steps do not change it
        return stacks.reshape(len(ids), -1, *stacks.shape[3:])
