"""How far the states of DMC's demonstrations spread: random actions beside the level exploration.

Two numbers for each task: the mean logarithm of the distance to the twelfth-nearest other observation (a
particle estimate of entropy without its constants), and the median over dimensions of the ratio of standard
deviations. Observations are scaled by the mean and the standard deviation of the random dataset.

    python benchmarks/spread.py
"""

import argparse

import numpy as np
from scipy.spatial import cKDTree

from rllte import hub
from rllte.hub.datasets import Demonstrations, DMControl

NEIGHBOUR = 12
SMALLEST = 1e-6  # a distance of 0 counts as this one


def observations(demonstrations: Demonstrations) -> np.ndarray:
    """Return all observations, one row for each."""
    return np.concatenate([episode["observations"] for episode in demonstrations.values()])


def log_distance(points: np.ndarray) -> float:
    """Return the mean logarithm of the distance to the twelfth-nearest other point."""
    distances, _ = cKDTree(points).query(points, NEIGHBOUR + 1)  # the nearest is the point itself
    return float(np.log(np.maximum(distances[:, NEIGHBOUR], SMALLEST)).mean())


def main() -> None:
    """Print one row for each task that has both levels."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", help="default: all tasks of rndddpg")
    tasks = parser.parse_args().tasks or [row["env_id"] for row in hub.available("dmc", "rndddpg")]
    print("| task | log distance, random | log distance, exploration | ratio of standard deviations |")
    print("|:--|--:|--:|--:|")
    for task in tasks:
        random = observations(DMControl().load_demonstrations(task, level="random"))
        explored = observations(DMControl().load_demonstrations(task, level="exploration"))
        scale = random.std(axis=0) + 1e-8
        ratio = np.median(explored.std(axis=0) / scale)
        distances = [log_distance((points - random.mean(axis=0)) / scale) for points in (random, explored)]
        print(f"| {task} | {distances[0]:.2f} | {distances[1]:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
