"""Agents, one file each: config, networks, agent, update, in that order.

``AGENTS`` maps a name to a class; what it names is imported when used.
"""

AGENTS = {
    "a2c": "rllte.agent.a2c:A2C",
    "daac": "rllte.agent.daac:DAAC",
    "ddpg": "rllte.agent.ddpg:DDPG",
    "drqv2": "rllte.agent.drqv2:DrQv2",
    "impala": "rllte.agent.impala:IMPALA",
    "ppg": "rllte.agent.ppg:PPG",
    "ppo": "rllte.agent.ppo:PPO",
    "sac": "rllte.agent.sac:SAC",
}
