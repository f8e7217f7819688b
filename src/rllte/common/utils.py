"""Helpers for programs that step environments themselves."""

from typing import Any


def get_episode_statistics(infos: dict[str, Any]) -> tuple[list[float], list[int]]:
    """Return the returns and lengths of the episodes that ended in this step.

    Args:
        infos: The infos that the last ``envs.step`` returned.

    Returns:
        ``(returns, lengths)``, with one entry for each environment whose episode ended; often empty.
    """
    if "episode" not in infos:
        return [], []
    ended = infos["_episode"]
    return infos["episode"]["r"][ended].tolist(), infos["episode"]["l"][ended].tolist()
