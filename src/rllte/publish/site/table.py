"""The numbers behind a chart, as a table for screen readers and for copying."""

from typing import Any

from rllte.publish.site.facts import Row


def curve_table(curves: list[Row], title: str) -> Any:
    """Return the means of learning curves as an HTML table that opens on request."""
    from markupsafe import Markup, escape

    steps = sorted({step for curve in curves for step in curve["steps"]})
    by_step = [dict(zip(curve["steps"], curve["mean"], strict=True)) for curve in curves]
    head = "".join(f'<th scope="col">{escape(curve["label"])}</th>' for curve in curves)
    lines = [
        f"<tr><td>{step}</td>" + "".join(f"<td>{column.get(step, '')}</td>" for column in by_step) + "</tr>"
        for step in steps
    ]
    return Markup(  # labels are escaped, the rest are numbers
        f"<details data-search-exclude><summary>Values as a table</summary>"
        f"<table><caption>{escape(title)}: mean return over seeds</caption>"
        f'<thead><tr><th scope="col">env step</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></details>"
    )
