"""Show the progress of a batch: a live table in a terminal, plain lines in a pipe."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from rllte.runner.tasks import Outcome

_LINE_EVERY_S = 30.0
_COLUMNS = ("run", "node", "stage", "env steps", "steps/s", "last return", "time left")


class Display:
    """Shows the progress of the running tasks, and prints a line for each task that ends.

    Args:
        total: Number of tasks.
        console: Where to print; standard error by default.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._total, self._done = total, set[str]()
        self._said: dict[str, tuple[float, str, str]] = {}  # last line printed of a task: time, stage, text

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def finished(self, outcome: Outcome) -> None:
        """Print that a task is done, or why it failed."""
        self._done.add(outcome.task)
        what = f"failed: {outcome.error}" if outcome.error else "done"
        self._console.print(f"{len(self._done)}/{self._total} {outcome.task}: {what}", markup=False)

    def show(self, rows: dict[str, dict[str, Any]]) -> None:
        """Show the progress of the tasks that are running."""
        running = {
            name: cells(name, row)
            for name, row in sorted(rows.items())
            if name not in self._done and row["stage"] != "done"
        }
        if self._console.is_terminal:
            self._live.update(_table(running, len(self._done), self._total), refresh=True)
            return
        for name, texts in running.items():
            values = [
                f"{column} {text}" for column, text in zip(_COLUMNS[3:], texts[3:], strict=True) if text
            ]
            stage, line = texts[2], f"{name} on {texts[1]}: {', '.join([texts[2], *values])}"
            when, last_stage, last_line = self._said.get(name, (0.0, "", ""))
            if stage != last_stage or (line != last_line and time.monotonic() - when > _LINE_EVERY_S):
                self._said[name] = time.monotonic(), stage, line
                self._console.print(line, markup=False)


def cells(name: str, row: dict[str, Any]) -> list[str]:
    """Return the texts of a row of the table; the text of an unknown value is empty."""
    step, total, rate = row.get("env_step"), row.get("num_train_steps"), row.get("rate")
    training = row["stage"] == "train"
    left = max(total - step, 0) / rate if training and step is not None and total and rate else None
    return [
        name,
        row["node"],
        row["stage"],
        f"{step:,} of {total:,}" if training and step is not None else "",
        f"{rate:,.0f}" if training and rate else "",
        f"{row['last_return']:.4g}" if "last_return" in row else "",
        f"{int(left // 3600)}:{int(left // 60 % 60):02}:{int(left % 60):02}" if left is not None else "",
    ]


def _table(rows: dict[str, list[str]], done: int, total: int) -> Table:
    table = Table(title=f"{done} of {total} tasks done", title_justify="left", box=None)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in _COLUMNS[:3] else "right", no_wrap=True)
    for texts in rows.values():
        table.add_row(*texts)
    return table
