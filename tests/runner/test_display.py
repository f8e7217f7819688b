"""What a batch says in a pipe."""

import io
from typing import Any

import pytest
from rich.console import Console

from rllte.runner import display


def _lines(*shown: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    with display.Display(1, Console(file=out, soft_wrap=True, highlight=False)) as shows:
        for row in shown:
            shows.show({"a run": {"node": "here", **row}})
    return out.getvalue().splitlines()


def test_a_pipe_gets_a_line_for_each_stage_and_none_for_what_is_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(display, "_LINE_EVERY_S", 0.0)
    early = {"stage": "train", "env_step": 10, "num_train_steps": 1000}
    late = {**early, "env_step": 500}
    evaluate = {"stage": "evaluate"}
    assert _lines(early, early, late, late, evaluate, evaluate) == [
        "a run on here: train, env steps 10 of 1,000",
        "a run on here: train, env steps 500 of 1,000",
        "a run on here: evaluate",
    ]


def test_a_pipe_gets_no_second_line_of_a_stage_within_half_a_minute() -> None:
    rows = [{"stage": "train", "env_step": step, "num_train_steps": 1000} for step in (10, 20, 30)]
    assert _lines(*rows) == ["a run on here: train, env steps 10 of 1,000"]


def test_a_pipe_gets_a_line_when_a_run_goes_back_to_a_stage() -> None:
    train, evaluate = {"stage": "train"}, {"stage": "evaluate"}
    assert _lines(train, evaluate, train, evaluate) == [
        f"a run on here: {stage}" for stage in ("train", "evaluate", "train", "evaluate")
    ]


def test_a_budget_that_is_passed_by_its_last_update_leaves_no_negative_time() -> None:
    row = {"node": "here", "stage": "train", "env_step": 1010, "num_train_steps": 1000, "rate": 0.1}
    assert display.cells("a run", row)[-1] == "0:00:00"
