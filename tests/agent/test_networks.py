"""What networks compute and how their weights begin."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rllte.agent.encoders import ENCODERS, ImpalaCNN, MiniGridCNN, NatureCNN, PixelCNN, Residual
from rllte.agent.networks import ActorCritic, TwinCritic, head, two_layers
from rllte.agent.speed import as_vector, forward_pass, input_gradient, set_gradients


def gains(module):
    """Return the gain of each layer that is orthogonal, None of another; every bias must be 0."""
    found = []
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            assert not layer.bias.any()
            weight = layer.weight.flatten(1)
            products = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
            gain = products[0, 0].item() ** 0.5
            orthogonal = torch.allclose(products, gain**2 * torch.eye(len(products)), atol=1e-4)
            found.append(round(gain, 3) if orthogonal else None)
    return found


ROOT_2, TANH_GAIN = round(math.sqrt(2), 3), round(5 / 3, 3)


def test_heads_begin_with_small_logits_and_plain_values():
    assert gains(head(8, 4, 3, last_gain=0.01)) == [TANH_GAIN, 0.01]
    assert gains(head(8, 0, 1, last_gain=1.0)) == [1.0]
    network = ActorCritic("minigrid_cnn", (7, 7, 3), 8, 4, 3)
    assert gains(network.policy.actor) == [TANH_GAIN, 0.01]
    assert gains(network.critic) == [TANH_GAIN, 1.0]


def test_continuous_networks_begin_with_gain_one():
    assert gains(two_layers(3, 8, 2)) == [1.0] * 3


@pytest.mark.parametrize(
    ("encoder", "layers"),
    [(MiniGridCNN((7, 7, 3), 8), 4), (NatureCNN((4, 84, 84), 8), 4), (PixelCNN((9, 15, 15), 4), 4)],
)
def test_encoders_begin_orthogonal_with_the_gain_of_relu(encoder, layers):
    assert gains(encoder) == [ROOT_2] * layers


def test_the_residual_encoder_begins_uniform():
    encoder = ImpalaCNN((3, 64, 64), 8)
    for layer in encoder.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
            bound = math.sqrt(6 / (fan_in + fan_out))
            assert 0.9 * bound < layer.weight.abs().max() <= bound
            assert not layer.bias.any()
    assert sum(isinstance(layer, nn.Conv2d) for layer in encoder.modules()) == 15
    assert [layer.out_channels for layer in encoder.layers if isinstance(layer, nn.Conv2d)] == [16, 32, 32]


def test_a_residual_block_adds_to_its_input_and_leaves_it_alone():
    block = Residual(1)
    for layer in (block.layers[1], block.layers[3]):
        layer.weight.data.zero_()
        layer.weight.data[0, 0, 1, 1] = 2.0
        layer.bias.data.fill_(1.0)
    x = torch.tensor([[[[3.0, -5.0]]]])
    # 3 + (2 (2 · 3 + 1) + 1) and -5 + (2 (0 + 1) + 1)
    assert block(x).flatten().tolist() == [18.0, -2.0]
    assert x.flatten().tolist() == [3.0, -5.0]


@pytest.mark.parametrize(
    ("encoder", "shape", "seen"),
    [
        (MiniGridCNN((7, 7, 3), 8), (1, 7, 7, 3), 102.0),
        (NatureCNN((4, 84, 84), 8), (1, 4, 84, 84), 0.4),
        (ImpalaCNN((3, 64, 64), 8), (1, 3, 64, 64), 0.4),
        (PixelCNN((9, 15, 15), 4), (1, 9, 15, 15), -0.1),
    ],
)
def test_pixels_are_scaled_and_codes_are_not(encoder, shape, seen):
    obs = torch.full(shape, 102, dtype=torch.uint8)
    inputs = []
    first = next(layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    first.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    features = encoder(obs)
    assert inputs[0].flatten()[0].item() == pytest.approx(seen)
    assert inputs[0].min() == inputs[0].max()
    assert features.min() >= 0, "features come out of a ReLU"
    assert obs.min() == obs.max() == 102


def test_a_pixel_encoder_knows_how_many_features_it_has():
    for size in (84, 15, 16):
        encoder = PixelCNN((9, size, size), 2)
        assert encoder(torch.zeros(1, 9, size, size, dtype=torch.uint8)).shape == (1, encoder.feature_dim)
    assert PixelCNN((9, 84, 84), 32).feature_dim == 32 * 35 * 35


def test_layers_of_patches_are_the_convolutions_of_the_reference():
    encoder = MiniGridCNN((7, 7, 3), 8)
    layers = (encoder.conv1, encoder.conv2, encoder.conv3)
    for layer in layers:
        layer.bias.data.uniform_(-1, 1)
    kernels = [layer.weight.unflatten(1, (2, 2, -1)).permute(0, 3, 1, 2) for layer in layers]
    obs = torch.arange(2 * 147, dtype=torch.uint8).reshape(2, 7, 7, 3) % 11
    x = obs.permute(0, 3, 1, 2).float()
    x = F.max_pool2d(F.relu(F.conv2d(x, kernels[0], encoder.conv1.bias)), 2)
    for kernel, layer in zip(kernels[1:], layers[1:], strict=True):
        x = F.relu(F.conv2d(x, kernel, layer.bias))
    torch.testing.assert_close(encoder(obs), F.relu(encoder.linear(x.flatten(1))))


def test_weights_in_one_vector_learn_as_they_would_alone():
    torch.manual_seed(0)
    alone = nn.Sequential(
        nn.Conv2d(1, 3, 2).to(memory_format=torch.channels_last), nn.Flatten(), nn.Linear(3, 2)
    )
    together = copy.deepcopy(alone)
    vector = as_vector(together)
    assert vector.numel() == 16 * 4, "each of four tensors begins at a multiple of 64 bytes"
    optimizers = [torch.optim.Adam(parameters) for parameters in (alone.parameters(), [vector])]
    for _ in range(3):
        for network, optimizer in zip((alone, together), optimizers, strict=True):
            optimizer.zero_grad(set_to_none=False)
            network(torch.ones(1, 1, 2, 2)).square().sum().backward()
            optimizer.step()
    for one, other in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(one, other)
        assert one.stride() == other.stride()
    torch.testing.assert_close(
        nn.utils.get_total_norm([vector.grad]), nn.utils.get_total_norm([p.grad for p in alone.parameters()])
    )


def test_gradients_by_hand_are_the_bits_of_autograd():
    network = two_layers(5, 64, 3)
    parameters = tuple(network.parameters())
    inputs = torch.randn(32, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    outputs = network(inputs)
    by_outputs = torch.linspace(-1, 1, 96).reshape(32, 3)
    by_inputs, *by_parameters = torch.autograd.grad(outputs, [inputs, *parameters], by_outputs)
    with torch.no_grad():
        activations = forward_pass(parameters, inputs)
        set_gradients(parameters, activations, by_outputs)
        assert torch.equal(input_gradient(parameters, activations, by_outputs), by_inputs)
    assert torch.equal(activations.outputs, outputs)
    assert all(map(torch.equal, (parameter.grad for parameter in parameters), by_parameters))


def test_two_critics_see_observation_and_action_and_differ():
    critic = TwinCritic(2, 1, 8)
    obs, actions = torch.linspace(-1, 1, 10).reshape(5, 2), torch.linspace(0, 1, 5)[:, None]
    q1, q2 = critic(obs, actions)
    assert (q1.shape, q2.shape) == ((5,), (5,))
    assert not torch.allclose(q1, q2)
    assert not torch.allclose(critic(obs, actions + 1)[1], q2)
    assert not torch.allclose(critic(obs + 1, actions)[0], q1)
    torch.testing.assert_close(q2, critic.q2(torch.cat([obs, actions], dim=1)).squeeze(1))


def test_every_encoder_gives_the_features_it_was_asked_for():
    shapes = {"impala_cnn": (3, 64, 64), "minigrid_cnn": (7, 7, 3), "nature_cnn": (4, 84, 84)}
    assert set(shapes) == set(ENCODERS)
    for name, shape in shapes.items():
        assert ENCODERS[name](shape, 5)(torch.zeros(2, *shape, dtype=torch.uint8)).shape == (2, 5)
