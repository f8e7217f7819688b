"""Values that somebody types by mistake: each is one error that says what may be written instead."""

import math

import numpy as np
import pytest

from rllte.errors import HubError
from rllte.hub import Atari, MiniGrid, load_references


def load(**settings):
    return MiniGrid().load_apis("Empty-5x5-v0", "ppo", **settings)


@pytest.fixture(scope="module")
def agent():
    return load(num_envs=2, num_steps=4, batch_size=8)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", math.nan, "learning_rate is nan; write a number above 0, at most 1"),
        ("learning_rate", math.inf, "learning_rate is inf; write a number above 0, at most 1"),
        ("learning_rate", -1, r"learning_rate is -1\.0; write a number above 0"),
        ("learning_rate", 0.0, "write a number above 0"),
        ("learning_rate", 10**400, "learning_rate is 1000000.*; no setting is so large"),
        ("learning_rate", "1e-3", r"learning_rate is the text '1e-3'; write 1\.0e-3"),
        ("gamma", 2, r"gamma is 2\.0; write a number from 0 to 1"),
        ("ent_coef", -0.1, "ent_coef is -0.1; write a finite number of 0 or more"),
        ("max_grad_norm", 0.0, "max_grad_norm is 0.0; write a finite number above 0"),
        ("num_envs", 10**9, "num_envs is 1000000000; write a number from 1 to 10,000"),
        ("num_envs", True, "num_envs is True; expected int"),
        ("num_threads", 10**6, "num_threads is 1000000; write a number from 1 to 1,024"),
        ("n_epochs", 0, "n_epochs is 0; write a number from 1 to 1,000"),
    ],
)
def test_a_setting_out_of_its_range_is_an_error_that_states_the_range(name, value, message):
    with pytest.raises(HubError, match=message):
        load(**{name: value})


@pytest.mark.parametrize("number", [math.nan, math.inf, "abc", "2.5e7", 0, -5, 1.5, True, None, 10**400])
def test_a_budget_is_a_whole_number(agent, number):
    with pytest.raises(HubError, match="write a whole number of 1 or more"):
        agent.train(0 if number is None else number)


@pytest.mark.parametrize("seed", [True, 1.5, "3", np.array([0]), -1, 2**31])
def test_a_seed_is_a_whole_number(agent, seed):
    with pytest.raises(HubError, match="a seed is a whole number from 0 to 2,147,483,647"):
        load(seed=seed)
    with pytest.raises(HubError, match="a seed is a whole number"):
        MiniGrid().load_models("Empty-5x5-v0", "ppo", seed=seed)
    with pytest.raises(HubError, match="a seed is a whole number"):
        agent.evaluate([seed])


@pytest.mark.parametrize("value", [5, True, b"v1", ["a"], "a\0b", "\ud800", 0, []])
def test_where_to_load_from_is_a_text(value):
    with pytest.raises(HubError, match="repo is "):
        MiniGrid(repo=b"/tmp" if isinstance(value, str) else value)
    with pytest.raises(HubError, match="rev is "):
        MiniGrid(rev=value or 1)


def test_what_is_asked_for_has_the_right_type(agent, tmp_path):
    for seeds in (5, None, []):
        with pytest.raises(HubError, match="write a list of seeds"):
            agent.evaluate(seeds)
    for number in ("2", [2], 10**400, -1):
        with pytest.raises(HubError, match=r"num_episodes is .*write a whole number"):
            agent.evaluate([0], number)
    for name in ("log", "resume"):
        for path in (5, tmp_path):
            with pytest.raises(HubError, match=rf"{name} is .*write the path of a file"):
                agent.train(16, **{name: path})
    for split in (["eval"], {"a": 1}, None):
        with pytest.raises(HubError, match="Unknown split"):
            MiniGrid().load_scores("Empty-5x5-v0", "ppo", split)
    with pytest.raises(HubError, match="env_ids is 5; write a list"):
        MiniGrid().load_score_matrix("ppo", env_ids=5)
    for bounds in ((0,), None, ("a", "b"), (1, 1)):
        with pytest.raises(HubError, match="write two different numbers"):
            MiniGrid().load_score_matrix("ppo", env_ids=["Empty-5x5-v0"], normalize={"Empty-5x5-v0": bounds})
    for name in ("env_id", "agent"):
        with pytest.raises(HubError, match=f"{name} is 5; expected a string"):
            load_references("minigrid", **{name: 5})


def test_a_seed_may_be_one_of_numpys_integers(agent):
    assert load(seed=np.int64(3)).seed == 3
    agent.evaluate(np.arange(2), num_episodes=2)


@pytest.mark.parametrize("device", ["mps", "hpu", "meta", "cuda:63", "tpu", 5, "cpu:x"])
def test_a_device_that_is_not_there_is_an_error(device):
    with pytest.raises(HubError, match="device"):
        load(device=device)
    with pytest.raises(HubError, match="device"):
        MiniGrid().load_models("Empty-5x5-v0", "ppo", device=device)


def test_names_are_checked():
    with pytest.raises(HubError, match="repo is 5; expected the folder of a checkout or a git URL"):
        MiniGrid(repo=5)
    for name in ("repo", "rev", "remote"):
        with pytest.raises(HubError, match=rf"{name} is 'a\\x00b'; a name cannot have a NUL character"):
            MiniGrid(**{name: "a\0b"})
    for name in (5, "Empty\0", None):
        with pytest.raises(HubError, match="Unknown env_id"):
            MiniGrid().load_scores(name, "ppo")


@pytest.mark.parametrize(
    "name", ["PongNoFrameskip-v4", "ALE/Pong-v5", "PongDeterministic-v0", "Pong-v4", "pong"]
)
def test_the_name_of_another_package_leads_to_ours(name):
    with pytest.raises(HubError, match="Did you mean 'Pong-v5'"):
        Atari().load_scores(name, "ppo")
