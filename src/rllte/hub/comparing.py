"""Comparing own results with the hub's agents: is one better, by how much, and how sure is that?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rllte.errors import HubError, UnknownNameError
from rllte.hub import statistics
from rllte.hub.arrays import Curves
from rllte.hub.benchmark import BENCHMARK_CLASSES, Benchmark
from rllte.hub.comparison import Comparison, Group, Pair, Task
from rllte.hub.references import load_bounds
from rllte.hub.statistics import Difference, Interval
from rllte.names import benchmark_name

if TYPE_CHECKING:
    import pyarrow as pa

_SAME_BUDGET = 0.01
"""Budgets that differ by less than this share, as those rounded up to whole updates do, count as equal."""
PROTOCOL = ("frame_skip", "sticky_actions", "split", "policy_mode")
"""What may be said of how own results were made."""


def compare(
    own: "Mapping[str, Mapping[str, npt.ArrayLike | Curves | pa.Table]] | None" = None,
    *,
    benchmark: str,
    agents: Sequence[str] = (),
    env_ids: Sequence[str] | None = None,
    protocol: Mapping[str, Any] | None = None,
    repo: str | Path | None = None,
    rev: str | None = None,
) -> Comparison:
    """Compare own results with agents of the hub, or agents of the hub with each other.

    The first agent is compared with each of the others: the first of ``own``, else the first of ``agents``.
    If all budgets are equal, final scores are compared. Otherwise the evaluation curves are read at the
    smallest budget, by linear interpolation, and a note says so.

    Args:
        own: Own results by agent and environment, such as ``{"mine": {"cheetah_run": scores}}``. Results are
            final scores, ``(num_seeds,)`` or ``(num_seeds, num_episodes)``; or learning curves, as
            ``rllte.hub.logs.read`` or ``load_curves`` returns them.
        benchmark: ``"atari"``, ``"dmc"``, ``"procgen"`` or ``"minigrid"``.
        agents: Agents of the hub.
        env_ids: The environments; by default those of the own results, else those that all agents have.
        protocol: How own results were made, to be warned of differences: ``frame_skip``, ``sticky_actions``,
            ``split`` and ``policy_mode``.
        repo: As ``Benchmark`` takes it.
        rev: As ``Benchmark`` takes it.

    Raises:
        UnknownNameError: There is no such benchmark, agent, env_id or key of ``protocol``.
        MissingArtifactError: A cell is planned, or its file cannot be had.
        HubError: There are not two agents to compare, or no environment that all have.
        MissingExtraError: SciPy is not installed.
    """
    own, hub = own or {}, BENCHMARK_CLASSES[benchmark_name(benchmark)](repo, rev)
    if len(own) + len(agents) < 2:
        raise HubError("A comparison needs two agents: own results and an agent, or two agents of the hub.")
    if both := set(own) & set(agents):
        raise HubError(f"Own results have the name {both.pop()!r} of an agent of the hub; give them another.")
    notes = _protocol_notes(hub, agents, protocol or {})
    tasks = [_task(hub, env_id, own, agents, notes) for env_id in _env_ids(hub, own, agents, env_ids)]
    aggregates, improvements = _over_tasks(hub, tasks, notes)
    return Comparison(hub.name, tasks, aggregates, improvements, list(dict.fromkeys(notes)))


def _env_ids(
    hub: Benchmark, own: Mapping[str, Mapping[str, Any]], agents: Sequence[str], env_ids: Sequence[str] | None
) -> list[str]:
    rows = {agent: hub.source.catalogue.rows("available", hub.name, agent) for agent in agents}
    have = [{row["env_id"] for row in of_agent} for of_agent in rows.values()]
    have += [set(results) for results in own.values()]
    if env_ids is None:
        env_ids = [env_id for env_id in dict.fromkeys(e for one in have for e in sorted(one))
                   if all(env_id in one for one in have)]  # fmt: skip
    if not env_ids:
        listed = "; ".join(
            f"{name}: {', '.join(sorted(one))}" for name, one in zip([*rows, *own], have, strict=True)
        )
        raise HubError(f"There is no environment that all agents have. {listed}.")
    for env_id in env_ids:
        for name, results in own.items():
            if env_id not in results:
                raise UnknownNameError("env_id", env_id, results, where=f"the results of {name!r}")
    return list(env_ids)


@dataclass(frozen=True)
class _Results:
    """The results of one agent on one environment: final scores, evaluation curves, or both."""

    scores: npt.NDArray[np.float64]
    budget: int | None = None
    curves: npt.NDArray[np.float64] | None = None
    steps: npt.NDArray[np.int64] | None = None

    def at(self, env_step: int) -> npt.NDArray[np.float64]:
        """Return the curve of each seed at an env step."""
        assert self.curves is not None
        assert self.steps is not None
        return np.array([np.interp(env_step, self.steps, row) for row in self.curves])


def _task(
    hub: Benchmark,
    env_id: str,
    own: Mapping[str, Mapping[str, Any]],
    agents: Sequence[str],
    notes: list[str],
) -> Task:
    results = {name: _own_results(name, env_id, by_env[env_id], notes) for name, by_env in own.items()}
    results |= {agent: _hub_results(hub, env_id, agent) for agent in agents}
    budgets = {one.budget for one in results.values() if one.budget is not None}
    env_step = min(budgets, default=None)
    scores = {name: one.scores for name, one in results.items()}
    if unknown := [name for name, one in results.items() if one.budget is None]:
        env_step = None if len(budgets) != 1 else env_step
        notes.append(f"The budget of {', '.join(unknown)} is not known; final scores are compared.")
    elif env_step is not None and max(budgets) > (1 + _SAME_BUDGET) * env_step:
        scores = {name: one.at(env_step) for name, one in results.items()}
        notes.append(
            f"{env_id}: budgets differ ({', '.join(f'{b:,}' for b in sorted(budgets))} env steps), so "
            f"evaluation curves are compared at {env_step:,}, interpolated between their points."
        )
    groups = {name: _group(one) for name, one in scores.items()}
    first, *others = groups
    return Task(env_id, env_step, groups, [_pair(first, other, groups) for other in others])


def _hub_results(hub: Benchmark, env_id: str, agent: str) -> _Results:
    cell = hub.source.catalogue.cell(hub.name, agent, env_id)
    scores = hub.load_scores(cell.env_id, agent).mean(axis=1, dtype=np.float64)
    curves = hub.load_curves(cell.env_id, agent)
    budget = hub.source.catalogue.cells[str(cell)]["num_train_steps"]
    return _Results(scores, budget, curves["eval"].astype(np.float64), curves.eval_steps)


def _own_results(name: str, env_id: str, results: Any, notes: list[str]) -> _Results:
    where = f"The results of {name!r} on {env_id!r}"
    if hasattr(results, "column_names"):  # a PyArrow table, as logs.read returns it
        from rllte.hub import logs

        if len(ends := set(logs.lengths(results).values())) > 1:
            notes.append(
                f"{env_id}: the runs of {name} end at {min(ends):,} to {max(ends):,} env steps; all are read "
                f"up to {min(ends):,}."
            )
        results = logs.to_curves(results)
    if isinstance(results, Curves):
        split = "eval" if "eval" in results else "train"
        if split == "train":
            notes.append(f"{name} has returns of training episodes; the hub's are of evaluation episodes.")
        curves, steps = np.asarray(results[split], np.float64), results.steps(split)
        return _Results(_finite(curves[:, -1], where), int(steps[-1]), curves, steps)
    array = np.asarray(results, np.float64)
    if array.ndim not in (1, 2) or not array.size:
        raise HubError(
            f"{where} have shape {array.shape}; expected (num_seeds,) or (num_seeds, num_episodes)."
        )
    return _Results(_finite(array if array.ndim == 1 else array.mean(axis=1), where))


def _finite(scores: npt.NDArray[np.float64], where: str) -> npt.NDArray[np.float64]:
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise HubError(f"{where} have NaN or infinite values, the first in row {row}.")
    return scores


def _group(scores: npt.NDArray[np.float64]) -> Group:
    low, high = statistics.mean_interval(scores)
    return Group(scores, Interval(float(scores.mean()), float(low), float(high)))


def _pair(first: str, second: str, groups: Mapping[str, Group]) -> Pair:
    one, other = groups[first].scores, groups[second].scores
    difference = statistics.welch(one, other)
    return Pair((first, second), difference, _verdict(first, second, one, other, difference))


def _verdict(first: str, second: str, one: Any, other: Any, difference: Difference) -> str:
    count = f"with {len(one)} and {len(other)} seeds"
    if math.isnan(difference.low):
        reason = (
            "one seed is too few to tell" if min(len(one), len(other)) < 2 else "neither varies over seeds"
        )
        return f"{first} and {second} differ by {difference.value:.4g} {count}; {reason}."
    span = f"[{difference.low:.4g}, {difference.high:.4g}]"
    if difference.p_value < 1 - statistics.CONFIDENCE:
        word = "higher" if difference.value > 0 else "lower"
        return f"{first} is {word} than {second} by {abs(difference.value):.4g} {count} (difference {span})."
    needed = statistics.seeds_needed(
        difference.value, float(np.std(one, ddof=1)), float(np.std(other, ddof=1))
    )
    more = "1,000 seeds or more" if needed >= 1000 else f"about {needed} seeds"
    return (
        f"{first} and {second} are not told apart {count} (difference {difference.value:.4g}, {span}); "
        f"{more} each would tell a difference of this size in 80 % of cases."
    )


def _over_tasks(
    hub: Benchmark, tasks: list[Task], notes: list[str]
) -> tuple[dict[str, Interval], dict[tuple[str, str], Interval]]:
    """Return the aggregates of each agent and the probabilities of improvement, where they are meaningful."""
    if len(tasks) < 2:
        return {}, {}
    first, *others = tasks[0].groups
    by_agent = {name: {task.env_id: task.groups[name].scores for task in tasks} for name in tasks[0].groups}
    improvements = {
        (first, other): statistics.improvement_over(by_agent[first], by_agent[other]) for other in others
    }
    fewest = min(len(group.scores) for task in tasks for group in task.groups.values())
    notes.append(f"Over environments: {statistics.coverage_text(fewest)}.")
    if len(tasks) < statistics.MIN_TASKS:
        notes.append(f"No IQM: {len(tasks)} environments are fewer than {statistics.MIN_TASKS}.")
        return {}, improvements
    bounds = load_bounds(hub.source, hub.name)
    aggregates = {}
    for name, scores in by_agent.items():
        normalised = {e: (row - bounds[e][0]) / (bounds[e][1] - bounds[e][0]) for e, row in scores.items()}
        aggregates[name] = statistics.aggregate(normalised)
    return aggregates, improvements


def _protocol_notes(hub: Benchmark, agents: Sequence[str], protocol: Mapping[str, Any]) -> list[str]:
    """Return what differs between the protocols of the agents, and of own results as far as they are said."""
    for key in protocol:
        if key not in PROTOCOL:
            raise UnknownNameError("key", key, PROTOCOL, where="protocol")
    of_agents = {agent: _hub_protocol(hub, agent) for agent in agents}
    notes = []
    for one, other in combinations(of_agents, 2):
        notes += _unlike(one, of_agents[one], other, of_agents[other])
    for agent, facts in of_agents.items():
        notes += _unlike("The own results", dict(protocol), agent, facts)
    return notes


def _hub_protocol(hub: Benchmark, agent: str) -> dict[str, Any]:
    rows = hub.source.catalogue.rows(None, hub.name, agent)
    facts: dict[str, Any] = {"split": "eval", "sticky_actions": False}
    modes = {row["policy_mode"] for row in rows if "policy_mode" in row}
    pixels = agent.lower().replace("-", "") == "drqv2"
    facts["frame_skip"] = 4 if hub.name == "atari" else 2 if pixels else 1
    return facts | ({"policy_mode": modes.pop()} if len(modes) == 1 else {})


def _unlike(one: str, facts: Mapping[str, Any], other: str, others: Mapping[str, Any]) -> list[str]:
    return [
        f"Protocols differ in {key}: {one} {facts[key]}, {other} {others[key]}."
        for key in PROTOCOL
        if key in facts and key in others and facts[key] != others[key]
    ]
