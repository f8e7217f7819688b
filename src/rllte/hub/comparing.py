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
from rllte.names import agent_name, benchmark_name

if TYPE_CHECKING:
    import pyarrow as pa

_SAME_BUDGET = 0.01
"""Budgets that differ by less than this share, as those rounded up to whole updates do, count as equal."""
_WINDOW = 10
"""Training episodes that are averaged where a log has each of them."""
_MANY_SEEDS = 20
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
    remote: str | None = None,
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
        remote: As ``Benchmark`` takes it.

    Raises:
        UnknownNameError: There is no such benchmark, agent, env_id or key of ``protocol``.
        MissingArtifactError: A cell is planned, or its file cannot be downloaded.
        HubError: There are not two agents to compare, or no environment that all have.
        MissingExtraError: SciPy is not installed.
    """
    own, hub = own or {}, BENCHMARK_CLASSES[benchmark_name(benchmark)](repo, rev, remote)
    agents = [agents] if isinstance(agents, str) else list(agents)
    _check_own(hub, own)
    if len(own) + len(agents) < 2:
        raise HubError("A comparison needs two agents: own results and an agent, or two agents of the hub.")
    if both := set(own) & set(agents):
        raise HubError(f"Own results have the name {both.pop()!r} of an agent of the hub; give them another.")
    notes = _protocol_notes(hub, agents, protocol or {})
    tasks = [_task(hub, env_id, own, agents, notes) for env_id in _env_ids(hub, own, agents, env_ids, notes)]
    aggregates, improvements = _over_tasks(hub, tasks, notes)
    if (count := sum(len(task.pairs) for task in tasks)) > 1:
        notes.append(f"{count} differences are tested at 5 % each, not corrected for their number.")
    return Comparison(hub.name, tasks, aggregates, improvements, list(dict.fromkeys(notes)))


def _check_own(hub: Benchmark, own: Mapping[str, Any]) -> None:
    """Raise unless own results are by agent and environment, and the benchmark has the environments."""
    known = {row["env_id"]: None for row in hub.source.catalogue.rows(None, hub.name)}
    for name, results in own.items():
        if not isinstance(results, Mapping):
            raise HubError(
                f"own[{name!r}] is not a dict. Own results are by agent and environment: "
                '{"mine": {"cheetah_run": scores}}.'
            )
        for env_id in results:
            if env_id not in known:
                raise UnknownNameError("env_id", env_id, known, where=f"benchmark '{hub.name}'")


def _env_ids(
    hub: Benchmark,
    own: Mapping[str, Mapping[str, Any]],
    agents: Sequence[str],
    env_ids: Sequence[str] | None,
    notes: list[str],
) -> list[str]:
    """Return the environments to compare: those given, else those that all agents have."""
    rows = hub.source.catalogue.rows
    have = {agent: [row["env_id"] for row in rows("available", hub.name, agent)] for agent in agents}
    have |= {name: list(results) for name, results in own.items()}
    if env_ids is not None:
        for name in own:
            for env_id in env_ids:
                if env_id not in have[name]:
                    raise UnknownNameError("env_id", env_id, have[name], where=f"the results of {name!r}")
        return list(env_ids)
    shared = [env_id for env_id in next(iter(have.values())) if all(env_id in one for one in have.values())]
    if not shared:
        listed = "; ".join(f"{name}: {', '.join(one) or 'none'}" for name, one in have.items())
        raise HubError(f"There is no environment that all agents have. {listed}.")
    if left := [env_id for name in own for env_id in own[name] if env_id not in shared]:
        names = ", ".join(dict.fromkeys(left))
        notes.append(f"Not compared, as an agent has no available cell there: {names}.")
    return shared


@dataclass(frozen=True)
class _Results:
    """The results of one agent on one environment.

    Attributes:
        scores: ``(num_seeds,)``, the final score of each seed.
        budget: Env steps of the shortest run; None if it is not known.
        curves: Env steps and returns of each seed, if there are curves.
    """

    scores: npt.NDArray[np.float64]
    budget: int | None = None
    curves: tuple[tuple[npt.NDArray[Any], npt.NDArray[Any]], ...] = ()

    def at(self, env_step: int) -> npt.NDArray[np.float64]:
        """Return the curve of each seed at an env step, by linear interpolation."""
        return np.array([np.interp(env_step, steps, returns) for steps, returns in self.curves])

    @property
    def first_step(self) -> int:
        """The env step from which on all curves have points."""
        return max(int(steps[0]) for steps, _ in self.curves)


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
        env_step = None
        notes.append(f"The budget of {', '.join(unknown)} is not known; final scores are compared.")
    elif env_step is not None and max(budgets) > (1 + _SAME_BUDGET) * env_step:
        scores = {name: one.at(env_step) for name, one in results.items()}
        listed = ", ".join(f"{budget:,}" for budget in sorted(budgets))
        notes.append(
            f"{env_id}: budgets differ ({listed} env steps), so evaluation curves are compared at "
            f"{env_step:,}, interpolated between their points."
        )
        notes += [
            f"{env_id}: {name} has its first point at {one.first_step:,} env steps, whose value is taken."
            for name, one in results.items()
            if one.first_step > env_step
        ]
    groups = {name: _group(one) for name, one in scores.items()}
    first, *others = groups
    return Task(env_id, env_step, groups, [_pair(first, other, groups) for other in others])


def _hub_results(hub: Benchmark, env_id: str, agent: str) -> _Results:
    cell = hub.source.catalogue.cell(hub.name, agent, env_id)
    scores = hub.load_scores(cell.env_id, agent).mean(axis=1, dtype=np.float64)
    curves = hub.load_curves(cell.env_id, agent)
    budget = hub.source.catalogue.cells[str(cell)]["num_train_steps"]
    return _Results(scores, budget, tuple((curves.eval_steps, row) for row in curves["eval"]))


def _own_results(name: str, env_id: str, results: Any, notes: list[str]) -> _Results:
    where = f"The results of {name!r} on {env_id!r}"
    if hasattr(results, "column_names"):  # a PyArrow table, as logs.read returns it
        results = _of_table(name, results, notes)
    if isinstance(results, Curves):
        results = _of_curves(name, results, notes)
    if not isinstance(results, _Results):
        results = _Results(_of_array(results, where))
    scores = results.scores
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise HubError(f"{where} have NaN or infinite values, the first in row {row}.")
    if len(scores) > _MANY_SEEDS:
        notes.append(f"{env_id}: {name} has {len(scores)} seeds. Are they episodes?")
    if len(np.unique(scores)) < len(scores):
        notes.append(f"{env_id}: some seeds of {name} have the same score; are they copies of one run?")
    return results


def _of_table(name: str, table: "pa.Table", notes: list[str]) -> _Results:
    """Return the results of a table with the columns of ``logs.read``."""
    import pyarrow.compute as pc

    from rllte.hub import logs

    splits = set(table.column("split").to_pylist())
    split = "eval" if "eval" in splits else "train"
    by_seed: dict[int, list[tuple[int, float, int]]] = {}
    for row in table.to_pylist():
        if row["split"] == split:
            point = (row["env_step"], row["episode_return"], row.get("num_episodes", 0))
            by_seed.setdefault(row["seed"], []).append(point)
    ends = logs.lengths(table.filter(pc.equal(table.column("split"), split)))
    if len(set(ends.values())) > 1:
        shortest = min(ends, key=lambda seed: ends[seed])
        notes.append(
            f"The runs of {name} end at {min(ends.values()):,} to {max(ends.values()):,} env steps; seed "
            f"{shortest} is the shortest, and all are read up to its end."
        )
    curves = []
    for points in by_seed.values():
        steps, returns, counts = map(np.array, zip(*points, strict=True))
        single = split == "train" and (counts == 1).all()
        curves.append((steps, statistics.trailing_mean(returns, _WINDOW) if single else returns))
    if split == "train":
        notes.append(
            f"{name} has returns of training episodes (single episodes as means of the last {_WINDOW}); the "
            "hub's are of evaluation episodes."
        )
    end = min(ends.values())
    scores = np.array([returns[np.searchsorted(steps, end, side="right") - 1] for steps, returns in curves])
    return _Results(scores, end, tuple(curves))


def _of_curves(name: str, curves: Curves, notes: list[str]) -> _Results:
    split = "eval" if "eval" in curves else "train"
    if split == "train":
        notes.append(f"{name} has returns of training episodes; the hub's are of evaluation episodes.")
    rows, steps = np.asarray(curves[split], np.float64), curves.steps(split)
    return _Results(rows[:, -1], int(steps[-1]), tuple((steps, row) for row in rows))


def _of_array(results: Any, where: str) -> npt.NDArray[np.float64]:
    try:
        array = np.asarray(results, np.float64)
    except (ValueError, TypeError):
        array = np.empty(())
    if array.ndim not in (1, 2) or not array.size:
        raise HubError(f"{where} must be numbers of shape (num_seeds,) or (num_seeds, num_episodes).")
    return array if array.ndim == 1 else array.mean(axis=1)


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
        few = min(len(one), len(other)) < 2
        reason = "one seed is too few to tell more" if few else "neither varies over seeds"
        return f"the means of {first} and {second} differ by {difference.value:.4g} {count}; {reason}."
    found = f"difference {difference.value:.4g} [{difference.low:.4g}, {difference.high:.4g}]"
    found += f", p = {difference.p_value:.2g}"
    if difference.p_value < 1 - statistics.CONFIDENCE:
        word = "higher" if difference.value > 0 else "lower"
        return f"{first} is {word} than {second} {count} ({found})."
    text = f"{first} and {second} are not told apart {count} ({found})"
    if min(len(one), len(other)) < statistics.MIN_SEEDS:  # two seeds say little of how much seeds vary
        return f"{text}."
    deviations = (float(np.std(values, ddof=1)) for values in (one, other))
    needed = statistics.seeds_needed(difference.value, *deviations)
    more = "1,000 or more" if needed >= 1000 else f"about {needed}"
    return (
        f"{text}; if the true difference and spread are as observed, {more} seeds each would tell them "
        "apart in 80 % of cases."
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
        normalised = {env_id: statistics.normalized(row, bounds[env_id]) for env_id, row in scores.items()}
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


def frame_skip(benchmark: str, agent: str) -> int:
    """Return how many frames of the simulator one env step of an agent of the hub takes."""
    return 4 if benchmark == "atari" else 2 if agent_name(agent) == "drqv2" else 1


def _hub_protocol(hub: Benchmark, agent: str) -> dict[str, Any]:
    rows = hub.source.catalogue.rows(None, hub.name, agent)
    facts: dict[str, Any] = {"split": "eval", "sticky_actions": False}
    modes = {row["policy_mode"] for row in rows if "policy_mode" in row}
    facts["frame_skip"] = frame_skip(hub.name, agent)
    return facts | ({"policy_mode": modes.pop()} if len(modes) == 1 else {})


def _unlike(one: str, facts: Mapping[str, Any], other: str, others: Mapping[str, Any]) -> list[str]:
    return [
        f"Protocols differ in {key}: {one} {facts[key]}, {other} {others[key]}."
        for key in PROTOCOL
        if key in facts and key in others and facts[key] != others[key]
    ]
