"""Agents, one file each: config, networks, agent, update, in that order.

``AGENTS`` maps a name to a class; what it names is imported when used.
"""

AGENTS = {
    "ppo": "rllte.agent.ppo:PPO",
    "sac": "rllte.agent.sac:SAC",
}
