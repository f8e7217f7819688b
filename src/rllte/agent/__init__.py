"""Agents, one file each, whose parts are always in this order: config, networks, agent, update.

``AGENTS`` maps a name to a class, which is imported at its first use.
"""

AGENTS = {
    "a2c": "rllte.agent.a2c:A2C",
    "daac": "rllte.agent.daac:DAAC",
    "ddpg": "rllte.agent.ddpg:DDPG",
    "drqv2": "rllte.agent.drqv2:DrQv2",
    "impala": "rllte.agent.impala:IMPALA",
    "ppg": "rllte.agent.ppg:PPG",
    "ppo": "rllte.agent.ppo:PPO",
    "rndddpg": "rllte.agent.rndddpg:RNDDDPG",
    "rndppo": "rllte.agent.rndppo:RNDPPO",
    "sac": "rllte.agent.sac:SAC",
}

INTRINSIC = ("rndddpg", "rndppo")
"""The agents that are trained by intrinsic rewards alone."""
