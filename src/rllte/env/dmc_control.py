"""Tasks of the DeepMind Control Suite, played by the package dm_control itself, as Gymnasium environments."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from rllte.env.vector import Array, Infos
from rllte.errors import HubError
from rllte.extras import process_unchanged

with process_unchanged(), warnings.catch_warnings():  # dm_control's rendering packages warn when imported
    warnings.simplefilter("ignore")
    from dm_control import suite


class ControlEnv(gym.Env[Array, Array]):
    """A task of dm_control as a Gymnasium environment.

    Args:
        env_id: Name of the task, ``domain_task``, such as ``"finger_spin"``.
    """

    def __init__(self, env_id: str) -> None:
        domain, task = {"cup_catch": ("ball_in_cup", "catch")}.get(env_id) or env_id.split("_", 1)
        self._env = suite.load(domain, task)
        obs_dim = sum(int(np.prod(spec.shape)) for spec in self._env.observation_spec().values())
        actions = self._env.action_spec()
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32)
        low, high = (bound.astype(np.float32) for bound in (actions.minimum, actions.maximum))
        self.action_space = gym.spaces.Box(low, high, dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Array, Infos]:
        """Begin an episode.

        Args:
            seed: Restarts the random stream; if None, the stream continues.
            options: Not used.

        Returns:
            ``(obs, infos)``: obs is ``(obs_dim,)`` float32, the arrays of dm_control's dict concatenated.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._env.task.random.seed(seed)
        return _flat(self._env.reset()), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, Infos]:
        """Make a step.

        Args:
            action: ``(action_dim,)``, within the task's own bounds.

        Returns:
            ``(obs, reward, terminated, truncated, infos)``, with a reward in [0, 1].
        """
        step = self._env.step(action)
        terminated = step.last() and step.discount == 0.0
        return _flat(step), float(step.reward), terminated, step.last() and not terminated, {}

    def render(self) -> Array:
        """Return a camera's frame, ``(256, 256, 3)`` uint8.

        Raises:
            HubError: dm_control cannot draw frames here.
        """
        try:
            return np.asarray(self._env.physics.render(256, 256, camera_id=0))
        except Exception as error:  # dm_control's renderers raise errors of their own
            raise HubError(
                f"dm_control cannot draw frames ({error}). On a machine without a display, set MUJOCO_GL=egl "
                "before Python starts."
            ) from None

    def close(self) -> None:
        """Release the physics."""
        self._env.close()


def _flat(step: Any) -> Array:
    return np.concatenate([np.ravel(part) for part in step.observation.values()], dtype=np.float32)
