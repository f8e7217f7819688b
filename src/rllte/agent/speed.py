"""Optimisations that make training faster and change results by no more than rounding.

The algorithms read the same without them. Each docstring says what its optimisation gains;
docs/explanation/performance.md has the measurements. Two attributes of encoder classes belong here, too:
``memory_format`` is the layout in which an encoder takes a batch of observations, and ``backward_share``
explains ``piece_size``.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


def use_channels_last(module: nn.Module) -> None:
    """Store the weights of convolutions with channels last, which is up to twice as fast on a CPU."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


@functools.cache
def patch_index(height: int, width: int, channels: int, device: torch.device) -> torch.Tensor:
    """Return the indices of all 2 × 2 patches in a flattened image ``(height, width, channels)``.

    Selecting by this index is faster, forward and backward, than concatenating four shifted images.
    """
    x = torch.arange(height * width * channels, device=device).view(height, width, channels)
    return torch.cat((x[:-1, :-1], x[:-1, 1:], x[1:, :-1], x[1:, 1:]), dim=-1).flatten()


def take_rows(part: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return ``part[index]`` in the layout of ``part``; images are copied eight bytes at a time, not one.

    Args:
        part: ``(num_samples, …)``.
        index: ``(batch,)`` int64.
    """
    if part.dtype != torch.uint8 or part[0].numel() % 8 or part.dim() != 4:
        return part[index]
    channels_last = part.is_contiguous(memory_format=torch.channels_last)
    rows = part.permute(0, 2, 3, 1) if channels_last else part
    words = rows.flatten(1).view(torch.int64).index_select(0, index)
    taken = words.view(torch.uint8).unflatten(1, rows.shape[1:])
    return taken.permute(0, 3, 1, 2) if channels_last else taken


def backward_share(loss: torch.Tensor, num_samples: int, batch_size: int) -> None:
    """Add the gradient of a piece of a minibatch, weighted by its size, to the parameters' gradients.

    A CPU computes a large minibatch faster in pieces of the encoder's ``piece_size`` samples. The outputs of
    the layers, which the backward pass needs, then fit into its caches.

    Args:
        loss: Mean loss over the samples of the piece.
        num_samples: Number of samples in the piece.
        batch_size: Number of samples in the minibatch.
    """
    (loss * (num_samples / batch_size)).backward()


def as_vector(module: nn.Module) -> nn.Parameter:
    """Store all weights of a module, and their gradients, as parts of one vector; return the vector.

    An optimizer of the vector makes one call instead of one for each tensor. With small networks those calls
    take a good part of a gradient step. Gradients must be zeroed in place, never set to None.

    Args:
        module: The module, on its device. Each of its tensors begins at a multiple of 64 bytes, as a separate
            tensor would.
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


class Activations(NamedTuple):
    """Layers of a ``networks.two_layers`` network: inputs, hidden layers after their ReLU, and outputs."""

    inputs: torch.Tensor
    hidden1: torch.Tensor
    hidden2: torch.Tensor
    outputs: torch.Tensor


def forward_pass(parameters: Sequence[nn.Parameter], inputs: torch.Tensor) -> Activations:
    """Compute a ``networks.two_layers`` network, and return the values of all its layers.

    The outputs have the same bits as those of calling the network. With layers this small, autograd's
    bookkeeping takes a good part of a gradient step. This function, ``input_gradient`` and ``set_gradients``
    compute the same bits without it.

    Args:
        parameters: Parameters of the network in its order: weight and bias of each layer.
        inputs: ``(batch, fan_in)``.
    """
    weight1, bias1, weight2, bias2, weight3, bias3 = parameters
    hidden1 = F.linear(inputs, weight1, bias1).relu_()
    hidden2 = F.linear(hidden1, weight2, bias2).relu_()
    return Activations(inputs, hidden1, hidden2, F.linear(hidden2, weight3, bias3))


def input_gradient(
    parameters: Sequence[nn.Parameter], activations: Activations, grad: torch.Tensor
) -> torch.Tensor:
    """Return the gradient of a loss with respect to the inputs of a forward pass.

    Args:
        parameters: Parameters of the network.
        activations: The forward pass.
        grad: ``(batch, fan_out)``, the gradient with respect to its outputs.
    """
    return _hidden_gradients(parameters, activations, grad)[0] @ parameters[0]


def set_gradients(parameters: Sequence[nn.Parameter], activations: Activations, grad: torch.Tensor) -> None:
    """Set ``grad`` of each parameter to the gradient of a loss, with the same bits as autograd's.

    Args:
        parameters: Parameters of the network. Their previous ``grad`` is dropped.
        activations: The forward pass.
        grad: ``(batch, fan_out)``, the gradient with respect to its outputs.
    """
    grad1, grad2 = _hidden_gradients(parameters, activations, grad)
    layers = ((grad1, activations.inputs), (grad2, activations.hidden1), (grad, activations.hidden2))
    for i, (by_outputs, inputs) in enumerate(layers):
        parameters[2 * i].grad, parameters[2 * i + 1].grad = by_outputs.t() @ inputs, by_outputs.sum(0)


def _hidden_gradients(
    parameters: Sequence[nn.Parameter], activations: Activations, grad: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients with respect to both hidden layers before their ReLU."""
    relu_gradient_ = torch.ops.aten.threshold_backward.grad_input
    grad2 = grad @ parameters[4]
    relu_gradient_(grad2, activations.hidden2, 0, grad_input=grad2)
    grad1 = grad2 @ parameters[2]
    relu_gradient_(grad1, activations.hidden1, 0, grad_input=grad1)
    return grad1, grad2
