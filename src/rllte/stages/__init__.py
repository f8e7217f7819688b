"""The functions that a pipeline's DVC stages call: train, evaluate, export, collect, demonstrate and film."""

from collections.abc import Callable

from rllte.errors import UnknownNameError

STAGES = ("train", "evaluate", "export", "collect", "demonstrate", "film")


def stage_function(kind: str) -> Callable[..., str]:
    """Return the function of a stage. It takes the root of the checkout, and a run, a cell or a dataset.

    Raises:
        UnknownNameError: There is no such stage.
    """
    if kind == "train":
        from rllte.stages.train import train

        return train
    if kind == "evaluate":
        from rllte.stages.evaluate import evaluate

        return evaluate
    if kind == "export":
        from rllte.stages.export import export

        return export
    if kind == "collect":
        from rllte.stages.collect import collect

        return collect
    if kind == "demonstrate":
        from rllte.stages.demonstrate import demonstrate

        return demonstrate
    if kind == "film":
        from rllte.stages.video import make_video

        return make_video
    raise UnknownNameError("stage", kind, STAGES)
