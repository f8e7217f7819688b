"""Play published Procgen models in the original package, procgen 0.10.7.

That package has wheels up to Python 3.10 only, so it needs its own environment. Models are read from the
checkout::

    python3.10 -m venv original
    original/bin/pip install procgen==0.10.7 "numpy<2" torch==2.13.0
    original/bin/python benchmarks/originals_procgen.py starpilot 0 1
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from procgen import ProcgenGym3Env

NUM_ENVS = 50
LEVELS = {
    "eval": {"start_level": 200, "num_levels": 2**31 - 1 - 200},
    "train_levels": {"start_level": 0, "num_levels": 200},
}


@torch.no_grad()
def play(game: str, seed: int, split: str, num_episodes: int) -> np.ndarray:
    """Return the returns ``(num_episodes,)`` of episodes, the same number from every environment."""
    model = torch.jit.load(f"models/procgen/ppo/{game}/seed-{seed}/model.pt").eval()
    env = ProcgenGym3Env(
        num=NUM_ENVS, env_name=game, distribution_mode="easy", rand_seed=11 + seed, **LEVELS[split]
    )
    generator = torch.Generator().manual_seed(5)
    returns: list[list[float]] = [[] for _ in range(NUM_ENVS)]
    running = np.zeros(NUM_ENVS)
    num_rounds = num_episodes // NUM_ENVS
    while min(map(len, returns)) < num_rounds:
        obs = torch.from_numpy(env.observe()[1]["rgb"].transpose(0, 3, 1, 2).copy())
        actions = torch.multinomial(model(obs).softmax(dim=1), 1, generator=generator).squeeze(1)
        env.act(actions.numpy().astype(np.int32))
        rewards, _, first = env.observe()
        running += rewards
        for i in np.flatnonzero(first):
            returns[i].append(running[i])
            running[i] = 0.0
    return np.array([row[:num_rounds] for row in returns]).ravel()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("game")
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--split", choices=LEVELS, default="eval")
    parser.add_argument("--num-episodes", type=int, default=200, help=f"A multiple of {NUM_ENVS}.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    assert Path("models").is_dir(), "Run it in the root of a checkout, after dvc pull."
    for seed in options.seeds:
        returns = play(options.game, seed, options.split, options.num_episodes)
        error = returns.std() / len(returns) ** 0.5
        print(f"{options.game} seed {seed} {options.split}: {returns.mean():.2f} ± {error:.2f}", flush=True)


if __name__ == "__main__":
    main()
