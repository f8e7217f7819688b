"""Play published models in the simulators' original packages: minigrid, dm_control and, if installed, ale-py.

Models were trained and scored in envpool. Here each model plays new episodes in the original package, by the
protocol of its cell, and the table shows their mean beside the published one. z is the difference of the two
in standard errors. Of many runs, one in twenty should lie beyond 2, and none beyond 4. Procgen's package has
no wheels for this Python: see ``originals_procgen.py``.

    python benchmarks/originals.py minigrid/ppo/DoorKey-5x5-v0/seed-0 --num-episodes 100
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import click
import gymnasium as gym
import numpy as np
import torch
from tqdm import tqdm

from rllte.env.dmc_control import ControlEnv
from rllte.hub import available
from rllte.hub.benchmark import BENCHMARK_CLASSES
from rllte.names import Cell, Run


class FireReset(gym.Wrapper):
    """Presses FIRE at the start of a game that has this action."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(**options)
        if "FIRE" in self.unwrapped.get_action_meanings():
            obs, _, _, _, info = self.env.step(self.unwrapped.get_action_meanings().index("FIRE"))
        return obs, info


def minigrid(env_id: str) -> gym.Env:
    """Return a grid world whose observation is the agent's view alone."""
    from minigrid.wrappers import ImgObsWrapper

    return ImgObsWrapper(gym.make(f"MiniGrid-{env_id}"))


def dmc(env_id: str) -> gym.Env:
    """Return a control task whose actions lie in [-1, 1]."""
    return gym.wrappers.RescaleAction(ControlEnv(env_id), np.float32(-1.0), np.float32(1.0))


def atari(env_id: str) -> gym.Env:
    """Return a game with its own score: frame skip 4, 84 × 84 grey, a stack of 4, no sticky actions."""
    import ale_py

    gym.register_envs(ale_py)
    env = gym.make(
        f"ALE/{env_id}", frameskip=1, repeat_action_probability=0.0, max_num_frames_per_episode=108_000
    )
    env = FireReset(gym.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84))
    return gym.wrappers.FrameStackObservation(env, 4)


ORIGINALS: dict[str, tuple[str, Callable[[str], gym.Env]]] = {
    "minigrid": ("minigrid", minigrid),
    "dmc": ("dm_control", dmc),
    "atari": ("ale_py", atari),
}


def play(run: Run, deterministic: bool, num_episodes: int) -> np.ndarray:
    """Return the undiscounted returns ``(num_episodes,)`` of a run's model in the original package."""
    cell = run.cell
    model = BENCHMARK_CLASSES[cell.benchmark]().load_models(cell.env_id, cell.agent, run.seed)
    env = ORIGINALS[cell.benchmark][1](cell.env_id)
    generator = torch.Generator().manual_seed(run.seed)
    returns = np.zeros(num_episodes)
    for i in tqdm(range(num_episodes), desc=str(run), disable=None, leave=False):
        obs, _ = env.reset(seed=10_000 * (run.seed + 1) + i)
        over = False
        while not over:
            with torch.no_grad():
                output = model(torch.as_tensor(np.asarray(obs))[None])
            if isinstance(env.action_space, gym.spaces.Box):
                action = output[0].numpy()
            elif deterministic:
                action = int(output.argmax())
            else:
                action = int(torch.multinomial(output.softmax(dim=1), 1, generator=generator))
            obs, reward, terminated, truncated, _ = env.step(action)
            returns[i] += float(reward)
            over = terminated or truncated
    env.close()
    return returns


def published() -> dict[str, tuple[Run, dict[str, Any], int]]:
    """Return all available runs by name, with the row of the cell and the index of the run's seed in it."""
    return {
        str(run): (run, row, i)
        for row in available()
        for i, seed in enumerate(row["seeds"])
        for run in [Run(Cell(row["benchmark"], row["agent"], row["env_id"]), seed)]
        if row["benchmark"] in ORIGINALS
    }


@click.command(context_settings={"show_default": True})
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("-n", "--num-episodes", type=click.IntRange(2), default=100, help="Of each run.")
def main(names: tuple[str, ...], num_episodes: int) -> None:
    """Play RUNs, by default all whose package can be imported, and print a table."""
    there = published()
    if unknown := sorted(set(names) - set(there)):
        raise click.BadParameter(f"{', '.join(unknown)}; there are {', '.join(there)}")
    torch.set_num_threads(1)
    print("| run | package | mean | published | z |\n|:--|:--|--:|--:|--:|")
    for run, row, i in (there[name] for name in names or there):
        package = ORIGINALS[run.cell.benchmark][0]
        if not names and importlib.util.find_spec(package) is None:
            continue
        returns = play(run, row["policy_mode"] == "deterministic", num_episodes)
        cell = run.cell
        scores = BENCHMARK_CLASSES[cell.benchmark]().load_scores(cell.env_id, cell.agent)[i]
        error = np.hypot(*(values.std(ddof=1) / len(values) ** 0.5 for values in (returns, scores)))
        z = (returns.mean() - scores.mean()) / error
        print(f"| {run} | {package} | {returns.mean():.4g} | {scores.mean():.4g} | {z:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
