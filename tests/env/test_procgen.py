import pytest
import torch

from rllte.env import make_envpool_procgen_env
from rllte.env.procgen import GAMES, LAST_LEVEL
from rllte.errors import HubError, UnknownNameError


def levels(envs):
    config = envs._pool.spec.config
    return config.start_level, config.start_level + config.num_levels


def test_training_and_unseen_levels_cannot_meet():
    training = levels(make_envpool_procgen_env("coinrun", num_envs=1, num_levels=200, start_level=0))
    unseen = levels(make_envpool_procgen_env("coinrun", num_envs=1, num_levels=0, start_level=200))
    assert training == (0, 200)
    assert unseen == (200, LAST_LEVEL)


@pytest.mark.parametrize("game", GAMES)
def test_one_level_starts_alike_in_every_environment_and_levels_differ(game):
    first, _ = make_envpool_procgen_env(game, num_envs=2, seed=1, num_levels=1, start_level=7).reset()
    again, _ = make_envpool_procgen_env(game, num_envs=2, seed=2, num_levels=1, start_level=7).reset()
    other, _ = make_envpool_procgen_env(game, num_envs=2, seed=1, num_levels=1, start_level=8).reset()
    assert (first.shape, first.dtype) == ((2, 3, 64, 64), torch.uint8)
    assert torch.equal(first[0], first[1])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("num_levels", "start_level"), [(-1, 0), (1, -1), (2**31, 0)])
def test_impossible_levels_are_refused(num_levels, start_level):
    with pytest.raises(HubError, match="are not in"):
        make_envpool_procgen_env("coinrun", num_levels=num_levels, start_level=start_level)


def test_unknown_games_and_modes_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'coinrun'"):
        make_envpool_procgen_env("coin_run")
    with pytest.raises(UnknownNameError, match="Did you mean 'easy'"):
        make_envpool_procgen_env("coinrun", distribution_mode="eazy")
