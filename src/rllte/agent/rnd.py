"""Random network distillation: intrinsic rewards for observations that are unlike those seen before.

Paper: Burda et al., 2019, https://arxiv.org/abs/1810.12894. Reference code:
openai/random-network-distillation for images, rll-research/url_benchmark for states. A predictor learns the
outputs of a fixed, randomly initialised target network. Its error, which is large for observations that it
has not seen before, is the reward.

This module differs from its references in three ways:

* The moments of observations begin with those of the first rollout or batch, not with those of a random
  policy.
* It takes whole observations. The reference for images takes the newest frame of a stack of four.
* Images whose sides are too short for the reference's convolutions, such as MiniGrid's views, are taken as
  states.
"""

import itertools
import math

import torch
from torch import nn

from rllte.agent.encoders import RELU_GAIN, orthogonal
from rllte.agent.moments import merge_moments
from rllte.agent.networks import two_layers

_CLIP, _EPS, _SHORTEST_SIDE = 5.0, 1e-8, 36


class RND(nn.Module):
    """A predictor, its target, and the moments that observations are normalised by.

    Args:
        obs_shape: Shape of one observation.
        hidden_dim: Width of the hidden layers.
        feature_dim: Number of outputs of both networks.
    """

    mean: torch.Tensor
    var: torch.Tensor
    count: torch.Tensor

    def __init__(self, obs_shape: tuple[int, ...], hidden_dim: int, feature_dim: int) -> None:
        super().__init__()
        if len(obs_shape) == 3 and min(obs_shape[1:]) >= _SHORTEST_SIDE:
            self.target = image_network(obs_shape, feature_dim)
            self.predictor = image_network(obs_shape, feature_dim, hidden_dim)
        else:
            self.target, self.predictor = (
                nn.Sequential(nn.Flatten(), *two_layers(math.prod(obs_shape), hidden_dim, feature_dim))
                for _ in range(2)
            )
        self.target.requires_grad_(False)
        self.register_buffer("mean", torch.zeros(obs_shape, dtype=torch.float64))
        self.register_buffer("var", torch.ones(obs_shape, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(1e-4, dtype=torch.float64))

    @torch.no_grad()
    def observe(self, obs: torch.Tensor) -> None:
        """Update the moments, one mean and variance for each number of an observation.

        Args:
            obs: ``(batch, *obs_shape)``.
        """
        var, mean = torch.var_mean(obs.float(), dim=0, correction=0)
        self.mean, self.var, self.count = merge_moments(
            (self.mean, self.var, self.count), (mean.double(), var.double(), len(obs))
        )

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the predictor's mean squared error for each observation, ``(batch,)``."""
        scale = (self.var + _EPS).rsqrt().float()
        normalized = ((obs.float() - self.mean.float()) * scale).clamp(-_CLIP, _CLIP)
        return (self.predictor(normalized) - self.target(normalized)).square().mean(dim=1)


def image_network(obs_shape: tuple[int, ...], feature_dim: int, hidden_dim: int = 0) -> nn.Sequential:
    """Return the reference's network for images; the predictor has two hidden layers more than the target.

    Args:
        obs_shape: ``(channels, height, width)``.
        feature_dim: Number of outputs.
        hidden_dim: Width of the predictor's hidden layers; 0 for the target, which has none.
    """
    rows, columns = (((size - 8) // 4 + 1 - 4) // 2 + 1 - 2 for size in obs_shape[1:])
    dims = [64 * rows * columns, *([hidden_dim] * 2 if hidden_dim else []), feature_dim]
    linear = [orthogonal(nn.Linear(*pair), RELU_GAIN) for pair in itertools.pairwise(dims)]
    return nn.Sequential(
        orthogonal(nn.Conv2d(obs_shape[0], 32, 8, stride=4), RELU_GAIN), nn.LeakyReLU(inplace=True),
        orthogonal(nn.Conv2d(32, 64, 4, stride=2), RELU_GAIN), nn.LeakyReLU(inplace=True),
        orthogonal(nn.Conv2d(64, 64, 3), RELU_GAIN), nn.LeakyReLU(inplace=True),
        nn.Flatten(), linear[0], *(part for layer in linear[1:] for part in (nn.ReLU(inplace=True), layer)),
    )  # fmt: skip
