"""Clone experts from their demonstrations alone, and play with the clones: do the data suffice?

A clone is a small network that is trained by supervised learning (behaviour cloning). It plays by the
protocol of the hub's scores, in other episodes than those it learned from.
"""

import click
import numpy as np
import torch
from torch import nn

from rllte.agent.evaluation import Act, acting, play_episodes
from rllte.env import make_dmc_env, make_envpool_minigrid_env
from rllte.hub.datasets import Demonstrations, DMControl, MiniGrid

CASES = {
    "DoorKey-5x5-v0": (MiniGrid, make_envpool_minigrid_env, "ppo", 100),
    "cheetah_run": (DMControl, make_dmc_env, "sac", 10),
}


class Clone(nn.Module):
    """A network of two hidden layers on normalised observations."""

    def __init__(self, obs: torch.Tensor, num_outputs: int, discrete: bool) -> None:
        super().__init__()
        flat = obs.flatten(1).float()
        self.register_buffer("mean", flat.mean(dim=0))
        self.register_buffer("std", flat.std(dim=0) + 1e-3)
        layers = [nn.Linear(flat.shape[1], 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
        bound = [] if discrete else [nn.Tanh()]  # actions lie in [-1, 1]
        self.net = nn.Sequential(*layers, nn.Linear(256, num_outputs), *bound)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return logits, or actions in [-1, 1]."""
        return self.net((obs.flatten(1).float() - self.mean) / self.std)


def clone(demonstrations: Demonstrations, num_updates: int) -> nn.Module:
    """Return a network that was trained to do what the demonstrations do."""
    transitions = demonstrations.to_torch()
    obs, actions = transitions["observations"], transitions["actions"]
    discrete = actions.ndim == 1
    policy = Clone(obs, int(actions.max()) + 1 if discrete else actions.shape[1], discrete)
    criterion = nn.CrossEntropyLoss() if discrete else nn.MSELoss()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_updates)
    for _ in range(num_updates):
        rows = torch.randint(len(obs), (256,))
        loss = criterion(policy(obs[rows]), actions[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return policy


def play(policy: Act, env_id: str, seed: int, num_episodes: int) -> np.ndarray:
    """Return the returns of episodes that the policy plays."""
    make_envs = CASES[env_id][1]
    envs = make_envs(env_id, num_envs=10, seed=seed)
    act = acting(policy, envs.single_action_space, deterministic=False)
    returns = play_episodes(act, envs, num_episodes).returns
    envs.close()
    return returns


@click.command(context_settings={"show_default": True})
@click.option("--num-updates", default=5000, help="Updates of each clone.")
@click.option("--seed", default=0, help="Seed of the clone, and of its episodes.")
def main(num_updates: int, seed: int) -> None:
    """Clone the experts of DoorKey-5x5-v0 and cheetah_run, and compare the clones' returns with theirs."""
    for env_id, (benchmark, _, agent, num_episodes) in CASES.items():
        demonstrations = benchmark().load_demonstrations(env_id=env_id, level="expert", agent=agent)
        torch.manual_seed(seed)
        returns = play(clone(demonstrations, num_updates), env_id, seed, num_episodes)
        expert = demonstrations.metadata["mean_score"]
        click.echo(
            f"{env_id}: the clone's mean return is {returns.mean():.4g} over {len(returns)} episodes, the "
            f"expert's {expert:.4g} ({returns.mean() / expert:.0%}), from {len(demonstrations)} episodes"
        )


if __name__ == "__main__":
    main()
