"""DDPG that explores: its only rewards are those of random network distillation.

Paper: Laskin et al., 2021, https://arxiv.org/abs/2110.15191 (the benchmark), and Burda et al., 2019,
https://arxiv.org/abs/1810.12894 (the rewards). Reference code: ``agent/rnd.py`` of
rll-research/url_benchmark. As in the reference, rewards are computed whenever transitions are sampled, and
divided by the running standard deviation of the predictor's errors. This agent differs from the reference in
two ways, besides those of ``ddpg.py`` and ``rnd.py``:

* The reward of a transition is that of its next observation, as in the paper. The reference takes the
  observation.
* The predictor learns from every batch; the reference takes a gradient step every second env step.
"""

from dataclasses import dataclass
from typing import Any

import torch

from rllte.agent.ddpg import DDPG, DDPGConfig
from rllte.agent.moments import Moments
from rllte.agent.replay import Transitions
from rllte.agent.rnd import RND
from rllte.agent.settings import count


@dataclass(frozen=True, kw_only=True)
class RNDDDPGConfig(DDPGConfig):
    """Settings of DDPG with random network distillation in addition to those of DDPG.

    Attributes:
        predictor_dim: Width of the predictor's hidden layers and of its output.
    """

    predictor_dim: int = count(1, 2**16)


class RNDDDPG(DDPG):
    """A DDPG agent that is trained by intrinsic rewards alone."""

    Config = RNDDDPGConfig
    config: RNDDDPGConfig

    def build(self) -> None:
        """Make DDPG's parts, the predictor and its target."""
        super().build()
        dim = self.config.predictor_dim
        self.rnd = RND(self.observation_space.shape, dim, dim).to(self.device)
        self.modules["rnd"] = self.rnd
        self.optimizers["rnd"] = self.make_optimizer(self.rnd.predictor.parameters())
        self.errors = Moments()

    def sample(self) -> Transitions:
        """Return transitions with intrinsic rewards and no ends, after a gradient step of the predictor."""
        batch = super().sample()
        self.rnd.observe(batch.next_obs)
        errors = self.rnd(batch.next_obs)
        self.errors.update(errors.detach())
        self.optimizers["rnd"].zero_grad()
        errors.mean().backward()
        self.optimizers["rnd"].step()
        rewards = errors.detach() / (self.errors.var + 1e-8) ** 0.5
        return batch._replace(rewards=rewards, discounts=torch.full_like(rewards, self.config.gamma))

    def extra_state(self) -> dict[str, Any]:
        """Return the replay, and the moments of the predictor's errors."""
        return {**super().extra_state(), "errors": dict(vars(self.errors))}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``extra_state`` returned."""
        super().load_extra_state(state)
        vars(self.errors).update(state["errors"])
