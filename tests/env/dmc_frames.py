"""Draws states of tasks with dm_control, in a process of its own: it picks its OpenGL when imported."""

import sys

import mujoco
import numpy as np
from dm_control.rl.control import Environment

from tests.env.dmc_state import load_suite


def draw(env: Environment, state: dict[str, np.ndarray], image_size: int) -> np.ndarray:
    """Return what camera 0 sees, ``(image_size, image_size, 3)`` uint8."""
    physics, model = env.physics, env.physics.model
    if tuple(map(int, mujoco.__version__.split(".")[:2])) >= (3, 12):
        _center_floor_texture(model)
    model.geom_pos[:], model.site_pos[:] = state["geom_pos"], state["site_pos"]
    with physics.reset_context():
        physics.set_state(state["physics"])
    return physics.render(image_size, image_size, camera_id=0)


def _center_floor_texture(model: mujoco.MjModel) -> None:
    """Start the floor's texture in its middle, as MuJoCo did before 3.12, not in its corner."""
    (floor,) = (g for g in range(model.ngeom) if model.geom(g).name in ("floor", "ground"))
    texture = model.mat_texid[model.geom_matid[floor]].max()
    height, width = model.tex_height[texture], model.tex_width[texture]
    start = model.tex_adr[texture]
    pixels = model.tex_data[start : start + height * width * 3].reshape(height, width, 3)
    size_x, size_y, _ = model.geom_size[floor]
    shift = round(height * (size_y - 1) / 2), round(width * (size_x - 1) / 2)  # a tile is 2 wide
    pixels[:] = np.roll(pixels, shift, axis=(0, 1))


if __name__ == "__main__":
    states, frames = np.load(sys.argv[1]), {}
    for env_id in {name.split("/")[0] for name in states}:
        env = load_suite(env_id)
        env.reset()
        state = {key: states[f"{env_id}/{key}"] for key in ("physics", "geom_pos", "site_pos")}
        frames[env_id] = draw(env, state, int(sys.argv[3]))
        env.physics.free()  # or its threads complain at the end
    np.savez(sys.argv[2], **frames)
