"""PPO that explores: its only rewards are those of random network distillation.

Paper: Burda et al., 2019, https://arxiv.org/abs/1810.12894. Reference code:
openai/random-network-distillation and CleanRL's ``ppo_rnd_envpool.py``; ``rnd.py`` says how the networks
differ. As in the references, intrinsic returns go on across the ends of episodes, and the reward of an
episode's last step is that of the next episode's first observation. This agent differs from the references
in three ways:

* It has no rewards of the environment, and so one value function, not two.
* The predictor learns in passes of its own (``predictor_epochs``), not from a random part of each minibatch
  of PPO.
* Intrinsic rewards are clipped to [-10, 10] after scaling, as ``normalize_reward`` does.
"""

from dataclasses import dataclass

import torch

from rllte.agent.evaluation import Envs
from rllte.agent.ppo import PPO, PPOConfig
from rllte.agent.rnd import RND
from rllte.agent.rollout import Batch, Network
from rllte.agent.settings import count


@dataclass(frozen=True, kw_only=True)
class RNDPPOConfig(PPOConfig):
    """Settings of PPO with random network distillation in addition to those of PPO.

    Attributes:
        predictor_epochs: Number of passes of the predictor over the samples of an update.
        predictor_dim: Width of the predictor's hidden layers and of its output.
    """

    predictor_epochs: int = count(1, 1000)
    predictor_dim: int = count(1, 2**16)


class RNDPPO(PPO):
    """A PPO agent that is trained by intrinsic rewards alone."""

    Config = RNDPPOConfig
    config: RNDPPOConfig

    def build(self) -> None:
        """Make PPO's parts, the predictor and its target."""
        super().build()
        dim = self.config.predictor_dim
        self.rnd = RND(self.obs_shape, dim, dim).to(self.device)
        self.modules["rnd"] = self.rnd
        self.optimizers["rnd"] = self.make_optimizer(self.rnd.predictor)

    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Collect a rollout, train policy and values on it, then the predictor."""
        samples, obs = self.collect(self.network, envs, obs)
        self.minimize(self.loss, samples, self.config.n_epochs, "network")
        self.minimize(self._predictor_loss, samples, self.config.predictor_epochs, "rnd")
        return obs

    def act(self, network: Network, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Fill the rollout; replace its rewards, and forget where its episodes ended."""
        next_obs = super().act(network, envs, obs)
        rollout = self.rollout
        following = torch.cat([rollout.obs[1:], next_obs[None]]).flatten(0, 1)
        with torch.no_grad():
            self.rnd.observe(following)
            rewards = torch.cat([self.rnd(part) for part in following.split(self.piece_size)])
            rollout.rewards.copy_(rewards.view_as(rollout.rewards))
            rollout.next_values[:-1] = rollout.values[1:]
            rollout.next_values[-1] = network(next_obs)[1]
        rollout.terminated.zero_()
        rollout.ended.zero_()
        return next_obs

    def _predictor_loss(self, batch: Batch) -> torch.Tensor:
        return self.rnd(batch.obs).mean()
