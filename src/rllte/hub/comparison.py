"""A comparison of agents: its numbers, and how it is printed."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rllte.hub.statistics import Difference, Interval

_CAPTION = "Mean over seeds [95 % interval by Student's t] (number of seeds)."


@dataclass(frozen=True)
class Group:
    """The seeds of one agent on one environment.

    Attributes:
        scores: ``(num_seeds,)``, the mean return of each seed.
        mean: Their mean, with its 95 % interval by Student's t (NaN with one seed).
    """

    scores: npt.NDArray[np.float64]
    mean: Interval


@dataclass(frozen=True)
class Pair:
    """Two agents on one environment.

    Attributes:
        names: The two agents.
        difference: Of their means, first minus second, by Welch's t-test.
        verdict: The same in words.
    """

    names: tuple[str, str]
    difference: Difference
    verdict: str


@dataclass(frozen=True)
class Task:
    """The comparison on one environment.

    Attributes:
        env_id: The environment.
        env_step: Where all agents are compared; None if the budget of own scores is not known.
        groups: The seeds of each agent.
        pairs: The first agent with each of the others.
    """

    env_id: str
    env_step: int | None
    groups: dict[str, Group]
    pairs: list[Pair]


@dataclass(frozen=True)
class Comparison:
    """A comparison of agents on the environments of a benchmark.

    Attributes:
        benchmark: The benchmark.
        tasks: One for each environment.
        aggregates: IQM of normalised scores over the environments for each agent; empty with fewer than four.
        improvements: Probability that the first agent scores higher than each of the others, averaged over
            the environments; empty with one environment.
        notes: What one must know to read the numbers: interpolated curves, unlike protocols, few seeds.
    """

    benchmark: str
    tasks: list[Task]
    aggregates: dict[str, Interval]
    improvements: dict[tuple[str, str], Interval]
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.to_text()

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values, for JSON; what is not known is None."""
        return {
            "benchmark": self.benchmark,
            "tasks": [_task_dict(task) for task in self.tasks],
            "iqm": {name: _plain(one._asdict()) for name, one in self.aggregates.items()},
            "probability_of_improvement": [
                {"agents": list(names), **_plain(one._asdict())} for names, one in self.improvements.items()
            ],
            "notes": self.notes,
        }

    def to_json(self) -> str:
        """Return ``to_dict`` as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def rows(self) -> list[list[str]]:
        """Return the table of means: a header, then one row for each environment."""
        names = list(dict.fromkeys(name for task in self.tasks for name in task.groups))
        rows = [["environment", "env steps", *names]]
        for task in self.tasks:
            cells = [_cell(task.groups[name]) if name in task.groups else "–" for name in names]
            rows.append([task.env_id, "?" if task.env_step is None else f"{task.env_step:,}", *cells])
        if self.aggregates:
            rows.append(["IQM, normalised", "", *[_interval(self.aggregates[name]) for name in names]])
        return rows

    def to_markdown(self) -> str:
        """Return the means as a Markdown table, then the verdicts and notes as lists."""
        head, *rows = self.rows()
        lines = [f"| {' | '.join(head)} |", f"|:--|{'--:|' * (len(head) - 1)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join(
            [*lines, "", _CAPTION, "", *(f"- {text}" for text in [*self.verdicts(), *self.notes])]
        )

    def to_latex(self) -> str:
        """Return the means as a LaTeX table for the package booktabs, with the notes as comments."""
        head, *rows = ([_latex(text) for text in row] for row in self.rows())
        lines = [f"% {_latex(text)}" for text in [_CAPTION, *self.verdicts(), *self.notes]]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", " & ".join(head) + r" \\"]
        lines += [r"\midrule", *(" & ".join(row) + r" \\" for row in rows), r"\bottomrule", r"\end{tabular}"]
        return "\n".join(lines)

    def to_text(self) -> str:
        """Return the means as aligned columns, then the verdicts and notes."""
        rows = self.rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        notes = [f"Note: {text}" for text in self.notes]
        return "\n".join([*lines, _CAPTION, "", *self.verdicts(), *notes])

    def verdicts(self) -> list[str]:
        """Return one sentence for each pair of agents and environment, and one for each pair over all."""
        lines = [f"{task.env_id}: {pair.verdict}" for task in self.tasks for pair in task.pairs]
        return lines + [
            f"All environments: the probability that {one} scores higher than {other} is {_interval(value)}."
            for (one, other), value in self.improvements.items()
        ]


def _task_dict(task: Task) -> dict[str, Any]:
    return {
        "env_id": task.env_id,
        "env_step": task.env_step,
        "agents": {
            name: {"scores": group.scores.tolist(), **_plain(group.mean._asdict())}
            for name, group in task.groups.items()
        },
        "differences": [
            {"agents": list(pair.names), **_plain(pair.difference._asdict()), "verdict": pair.verdict}
            for pair in task.pairs
        ],
    }


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in values.items()}


def _cell(group: Group) -> str:
    return f"{_interval(group.mean)} ({len(group.scores)})"


def _interval(one: Interval) -> str:
    return f"{one.value:.4g}" + ("" if math.isnan(one.low) else f" [{one.low:.4g}, {one.high:.4g}]")


def _latex(text: str) -> str:
    return text.replace("_", r"\_").replace("%", r"\%").replace("–", "--")
