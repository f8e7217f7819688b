"""Finds the physics state of dm_control that an observation was made from."""

import warnings

import numpy as np
from dm_control import suite
from dm_control.rl.control import Environment
from scipy.optimize import least_squares


def load_suite(env_id: str, seed: int = 0) -> Environment:
    """Return dm_control's environment of a task."""
    domain, _, task = env_id.replace("cup_", "ball-in-cup_").partition("_")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return suite.load(domain.replace("-", "_"), task, task_kwargs={"random": seed})


def flatten(observation):
    """Return dm_control's dict of arrays as one vector, in its order."""
    return np.concatenate([np.ravel(value) for value in observation.values()])


def set_state_from_observation(env: Environment, wanted: np.ndarray) -> float:
    """Move a dm_control environment, just reset, to a state with the wanted observation.

    Velocities are solved for as positions are. What an observation does not show (the horizontal
    position and the heading of a free body) stays where it is; no reward depends on it.

    Returns:
        The largest difference that is left between the observations.
    """
    physics, task = env.physics, env.task
    nq, nv = physics.model.nq, physics.model.nv
    target = _target_position(env)

    def apply(x):
        with physics.reset_context():
            physics.data.qpos[:], physics.data.qvel[:] = x[:nq], x[nq : nq + nv]
            if len(target):
                target[:] = x[nq + nv :]

    def residual(x):
        apply(x)
        return flatten(task.get_observation(physics)) - wanted

    best = None
    for attempt in range(5):
        noise = np.random.default_rng(attempt).normal(size=nq) * (0.3 * attempt)
        start = np.concatenate([physics.data.qpos + noise, np.zeros(nv), np.zeros(len(target))])
        found = least_squares(residual, start, xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=200)
        if best is None or found.cost < best.cost:
            best = found
        if best.cost < 1e-16:
            break
    solved = best.x
    hinges = _hinges(physics)  # an angle is only shown by its sine and cosine
    solved[hinges] = (solved[hinges] + np.pi) % (2 * np.pi) - np.pi
    return float(np.abs(residual(solved)).max())


def _hinges(physics):
    is_hinge = physics.model.jnt_type == 3  # mjJNT_HINGE
    return physics.model.jnt_qposadr[is_hinge]


def _target_position(env):
    """Return a view of where the task's target is, when the observation depends on it."""
    model, task = env.physics.named.model, type(env.task).__name__
    if task == "Reacher":
        return model.geom_pos["target", :2]
    if task == "Turn":
        return model.site_pos["target", ::2]
    return np.zeros(0)
