"""Parts that the networks of several agents share."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from rllte.agent.encoders import ENCODERS, Encoder, orthogonal
from rllte.errors import UnknownNameError


def mlp(*dims: int, activation: Callable[[], nn.Module], gain: float, last_gain: float) -> nn.Sequential:
    """Return linear layers with an activation between them, initialised orthogonally.

    Args:
        dims: Input, hidden and output sizes.
        activation: Makes the module between two layers.
        gain: Of the hidden layers' weights.
        last_gain: Of the last layer's weights.
    """
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(dims)):
        last = i == len(dims) - 2
        layers.append(orthogonal(nn.Linear(fan_in, fan_out), last_gain if last else gain))
        if not last:
            layers.append(activation())
    return nn.Sequential(*layers)


def head(feature_dim: int, hidden_dim: int, fan_out: int, last_gain: float) -> nn.Sequential:
    """Return what turns features into logits or values: one tanh layer between, none if hidden_dim is 0."""
    dims = (feature_dim, hidden_dim, fan_out) if hidden_dim else (feature_dim, fan_out)
    gain = nn.init.calculate_gain("tanh")
    return mlp(*dims, activation=nn.Tanh, gain=gain, last_gain=last_gain)


def make_encoder(name: str, obs_shape: tuple[int, ...], feature_dim: int) -> Encoder:
    """Make the encoder of a recipe.

    Raises:
        UnknownNameError: There is no encoder of that name.
    """
    if name not in ENCODERS:
        raise UnknownNameError("encoder", name, ENCODERS)
    return ENCODERS[name](obs_shape, feature_dim)


class DiscretePolicy(nn.Module):
    """Observations to the logits of a categorical distribution over actions."""

    def __init__(self, encoder: Encoder, actor: nn.Module) -> None:
        super().__init__()
        self.encoder, self.actor = encoder, actor

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, num_actions)``."""
        return self.actor(self.encoder(obs))


class ValueFunction(nn.Module):
    """Observations to values, with an encoder of its own."""

    def __init__(self, encoder: Encoder, critic: nn.Module) -> None:
        super().__init__()
        self.encoder, self.critic = encoder, critic

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return values ``(batch,)``."""
        return self.critic(self.encoder(obs)).squeeze(1)


class ActorCritic(nn.Module):
    """A policy and a value function on one encoder.

    Args:
        encoder: A name in ``ENCODERS``.
        obs_shape: Of one observation.
        feature_dim: Output of the encoder.
        hidden_dim: Of the one hidden layer of actor and critic; 0 for none.
        num_actions: How many discrete actions there are.
    """

    def __init__(
        self, encoder: str, obs_shape: tuple[int, ...], feature_dim: int, hidden_dim: int, num_actions: int
    ) -> None:
        super().__init__()
        actor = head(feature_dim, hidden_dim, num_actions, last_gain=0.01)
        self.policy = DiscretePolicy(make_encoder(encoder, obs_shape, feature_dim), actor)
        self.critic = head(feature_dim, hidden_dim, 1, last_gain=1.0)

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits ``(batch, num_actions)`` and values ``(batch,)``."""
        features = self.policy.encoder(obs)
        return self.policy.actor(features), self.critic(features).squeeze(1)


def two_layers(fan_in: int, hidden_dim: int, fan_out: int) -> nn.Sequential:
    """Return a network with two hidden layers; the references of SAC and DrQ-v2 initialise with gain 1."""
    dims = (fan_in, hidden_dim, hidden_dim, fan_out)
    return mlp(*dims, activation=lambda: nn.ReLU(inplace=True), gain=1.0, last_gain=1.0)


class Pass(NamedTuple):
    """What ``two_layers`` made of a batch: inputs, both hidden layers after their ReLU, and outputs."""

    inputs: torch.Tensor
    hidden1: torch.Tensor
    hidden2: torch.Tensor
    outputs: torch.Tensor


def forward_pass(parameters: Sequence[nn.Parameter], inputs: torch.Tensor) -> Pass:
    """Return a pass through ``two_layers``, the same bits as calling it.

    Args:
        parameters: Of the network, in its order: weight and bias of each layer.
        inputs: ``(batch, fan_in)``.
    """
    weight1, bias1, weight2, bias2, weight3, bias3 = parameters
    hidden1 = F.linear(inputs, weight1, bias1).relu_()
    hidden2 = F.linear(hidden1, weight2, bias2).relu_()
    return Pass(inputs, hidden1, hidden2, F.linear(hidden2, weight3, bias3))


def input_gradient(parameters: Sequence[nn.Parameter], done: Pass, grad: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a loss by the inputs of a pass.

    Args:
        parameters: Of the network.
        done: The pass.
        grad: ``(batch, fan_out)``, the gradient by its outputs.
    """
    return _hidden_gradients(parameters, done, grad)[0] @ parameters[0]


def set_gradients(parameters: Sequence[nn.Parameter], done: Pass, grad: torch.Tensor) -> None:
    """Set ``grad`` of each parameter to the gradient of a loss: the same bits as autograd's.

    With layers this small autograd's bookkeeping takes a good part of a gradient step (docs/performance.md).

    Args:
        parameters: Of the network; what their ``grad`` held is dropped.
        done: The pass.
        grad: ``(batch, fan_out)``, the gradient by its outputs.
    """
    grad1, grad2 = _hidden_gradients(parameters, done, grad)
    layers = ((grad1, done.inputs), (grad2, done.hidden1), (grad, done.hidden2))
    for i, (by_outputs, inputs) in enumerate(layers):
        parameters[2 * i].grad, parameters[2 * i + 1].grad = by_outputs.t() @ inputs, by_outputs.sum(0)


def _hidden_gradients(
    parameters: Sequence[nn.Parameter], done: Pass, grad: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gradients by the two hidden layers before their ReLU."""
    relu_gradient_ = torch.ops.aten.threshold_backward.grad_input
    grad2 = grad @ parameters[4]
    relu_gradient_(grad2, done.hidden2, 0, grad_input=grad2)
    grad1 = grad2 @ parameters[2]
    relu_gradient_(grad1, done.hidden1, 0, grad_input=grad1)
    return grad1, grad2


class TwinCritic(nn.Module):
    """Two action-value functions."""

    def __init__(self, obs_dim: int, action_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.q1 = two_layers(obs_dim + action_dim, hidden_dim, 1)
        self.q2 = two_layers(obs_dim + action_dim, hidden_dim, 1)

    def forward(self, obs: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both values, each ``(batch,)``."""
        both = torch.cat([obs, actions], dim=1)
        return self.q1(both).squeeze(1), self.q2(both).squeeze(1)


def as_vector(module: nn.Module) -> nn.Parameter:
    """Lay out all weights of a module, and their gradients, as parts of one vector, and return it.

    An optimizer of the vector takes one call where it took one for each tensor: with small networks those
    calls are a good part of a gradient step. Gradients are zeroed in place, never dropped.

    Args:
        module: On its device; each part begins at a multiple of 64 bytes, as a tensor of its own would.
    """
    parameters = list(module.parameters())
    lengths = [-(-parameter.numel() // 16) * 16 for parameter in parameters]
    vector = nn.Parameter(parameters[0].new_zeros(sum(lengths)))
    vector.grad = torch.zeros_like(vector)
    offset = 0
    for parameter, length in zip(parameters, lengths, strict=True):
        layout = (parameter.shape, parameter.stride(), offset)
        parameter.data = vector.data.as_strided(*layout).copy_(parameter.data)
        parameter.grad = vector.grad.as_strided(*layout)
        offset += length
    return vector
