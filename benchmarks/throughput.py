"""Measure training, ours and stable-baselines3's: env steps per second, and shares of the machine's peak.

Each measurement runs in its own process (``measure.py``), so that none warms up another. In a repeat every
contender trains once; the next repeat has them in reverse order. A ratio compares the two rates of one
repeat, and the result is the median over repeats. If there are several peers, the one with the higher median
is compared. Shares of the peak count only the floating-point operations of gradient steps. The machine should
do nothing else. With the defaults it takes an hour on two cores, half of it for Procgen.

    python benchmarks/throughput.py --cases dmc_sac,minigrid_ppo --repeats 3 --seconds 10
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

CORES = len(os.sched_getaffinity(0))

Result = dict[str, float]


@dataclass(frozen=True)
class Case:
    """What is trained, the peers, and the results that are required.

    Attributes:
        benchmark: Name of the benchmark.
        agent: Name of the agent. The peers use the settings of its pipeline, too.
        env_id: Name of the environment.
        num_threads: Number of threads of PyTorch and of the environments in our training. A peer uses its own
            default, all cores.
        peers: The kinds of vectors of environments with which stable-baselines3 is measured.
        peer_modules: The modules that the peers import.
        ratio: Smallest accepted ratio of our rate to the peer's.
        update_share: Smallest accepted rate of the update phase, as a share of the rate of bare forward and
            backward passes; None if it is not measured.
        max_rss_bytes: Largest accepted memory of the process, in bytes.
        max_replay_bytes: Largest accepted size of a full replay, in bytes.
    """

    benchmark: str
    agent: str
    env_id: str
    num_threads: int
    peers: tuple[str, ...] = ()
    peer_modules: tuple[str, ...] = ()
    ratio: float | None = None
    update_share: float | None = None
    max_rss_bytes: float | None = None
    max_replay_bytes: float | None = None


CASES = {
    "atari_ppo": Case(
        "atari",
        "ppo",
        "Pong-v5",
        CORES,
        peers=("DummyVecEnv", "SubprocVecEnv"),
        peer_modules=("stable_baselines3", "ale_py", "cv2"),
        ratio=1.5,
        update_share=0.92,
        max_rss_bytes=1.5e9,
    ),
    "dmc_sac": Case(
        "dmc",
        "sac",
        "cheetah_run",
        CORES,
        peers=("DummyVecEnv",),
        peer_modules=("stable_baselines3", "dm_control"),
        ratio=1.4,
        max_replay_bytes=1.0e9,
    ),
    "minigrid_ppo": Case(
        "minigrid",
        "ppo",
        "DoorKey-5x5-v0",
        1,  # splitting layers this small between threads takes longer than computing them
        peers=("DummyVecEnv",),
        peer_modules=("stable_baselines3", "minigrid"),
        ratio=2.0,
    ),
    "procgen_ppo": Case("procgen", "ppo", "coinrun", CORES, update_share=0.92),
}


def measure(name: str, who: str, options: Sequence[str]) -> Result:
    """Return what ``measure.py`` prints for ``"ours"``, for a peer, or for ``"gemm"``, the machine's peak."""
    command = [sys.executable, str(Path(__file__).with_name("measure.py")), name, who, *options]
    env = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{name}: measuring {who} failed")
    return json.loads(done.stdout.splitlines()[-1])


def contenders(case: Case) -> list[str]:
    missing = [name for name in case.peer_modules if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"{case.env_id}: no peer, for {', '.join(missing)} cannot be imported (make bench installs all)",
            file=sys.stderr,
        )
    return ["ours", *(() if missing else case.peers)]


def run_case(name: str, repeats: int, options: Sequence[str]) -> dict[str, list[Result]]:
    """Measure the peak and every contender ``repeats`` times; return the results of each."""
    order = ["gemm", *contenders(CASES[name])]
    results: dict[str, list[Result]] = {who: [] for who in order}
    for i in range(repeats):
        for who in order if i % 2 == 0 else reversed(order):
            results[who].append(measure(name, who, options))
            rate = results[who][-1]["rate"]
            text = f"{rate / 1e9:.0f} GFLOP/s" if who == "gemm" else f"{rate:.1f} env steps/s"
            print(f"{name} {i + 1}/{repeats} {who}: {text}", file=sys.stderr, flush=True)
    return results


def column(results: list[Result], key: str = "rate") -> list[float]:
    return [result[key] for result in results]


def ratios(results: dict[str, list[Result]], peer: str) -> list[float]:
    return [a / b for a, b in zip(column(results["ours"]), column(results[peer]), strict=True)]


def update_shares(ours: list[Result]) -> list[float]:
    return [result["update_rate"] / result["bare_rate"] for result in ours]


def fastest_peer(results: dict[str, list[Result]]) -> str | None:
    peers = [who for who in results if who not in ("gemm", "ours")]
    return max(peers, key=lambda who: median(column(results[who])), default=None)


def summarize(name: str, results: dict[str, list[Result]], peak: float) -> dict[str, float | None]:
    """Return the numbers of a case; a number that the case does not have is None.

    Args:
        name: Name of the case.
        results: Results of each contender.
        peak: Peak of the machine, in FLOP/s.
    """
    ours, peer = results["ours"], fastest_peer(results)
    flops_per_step = ours[0]["flops_per_step"]
    numbers = {
        "ours": median(column(ours)),
        "peer": median(column(results[peer])) if peer else None,
        "ratio": median(ratios(results, peer)) if peer else None,
        "update_share": None if CASES[name].update_share is None else median(update_shares(ours)),
        "share_of_peak": median(column(ours)) * flops_per_step / peak,
        "peer_share_of_peak": median(column(results[peer])) * flops_per_step / peak if peer else None,
        "max_rss_bytes": max(column(ours, "max_rss_bytes")),
        "replay_bytes": ours[0].get("replay_bytes"),
    }
    return {key: value if value is None else float(f"{value:.4g}") for key, value in numbers.items()}


def line(title: str, value: str, limit: str = "", reached: bool = True, each: Iterable[float] = ()) -> str:
    """Return a line of the report: a number, its limit, and the values of which it is the median."""
    asked = f"   asked for {limit}: {'reached' if reached else 'NOT reached'}" if limit else ""
    values = ", ".join(f"{one:.4g}" for one in each)
    return f"  {title:36}{value:>12}{asked}" + (f"   of {values}" if values else "")


def rate_lines(results: dict[str, list[Result]]) -> list[str]:
    lines = []
    for who, found in results.items():
        if who != "gemm":
            title = f"{who} (threads: {found[0]['num_threads']}), env steps/s"
            lines.append(line(title, f"{median(column(found)):.1f}", each=column(found)))
    return lines


def describe(name: str, results: dict[str, list[Result]], numbers: dict[str, float | None]) -> list[str]:
    """Return the lines of the report about a case."""
    case, ours, peer = CASES[name], results["ours"], fastest_peer(results)
    lines = [f"\n{name}: {case.env_id}", *rate_lines(results)]
    if peer:
        ratio = numbers["ratio"]
        asked = (f"≥ {case.ratio}", ratio >= case.ratio)
        lines.append(line(f"ours ÷ {peer}", f"{ratio:.3f}", *asked, ratios(results, peer)))
    if case.update_share:
        share = numbers["update_share"]
        asked = (f"≥ {case.update_share}", share >= case.update_share)
        lines.append(line("update ÷ bare passes", f"{share:.3f}", *asked, update_shares(ours)))
        for key in ("update_rate", "bare_rate"):
            lines.append(line(f"  {key}, samples/s", f"{median(column(ours, key)):.0f}"))
    lines.append(line("share of the peak, ours", f"{numbers['share_of_peak']:.1%}"))
    if peer:
        lines.append(line("share of the peak, peer", f"{numbers['peer_share_of_peak']:.1%}"))
    for title, size, limit in (
        ("memory at its most, ours", numbers["max_rss_bytes"], case.max_rss_bytes),
        ("a full replay", numbers["replay_bytes"], case.max_replay_bytes),
    ):
        if size:
            asked = (f"< {limit / 1e9} GB", size < limit) if limit else ()
            lines.append(line(title, f"{size / 1e9:.3f} GB", *asked))
    return lines


@click.command(context_settings={"show_default": True})
@click.option("--cases", default=",".join(CASES), help="Names, with commas between them.")
@click.option("--repeats", type=click.IntRange(1), default=5, help="Measurements of each contender.")
@click.option("--seconds", default=20.0, help="Least length of one measurement; updates are whole.")
@click.option("--threads", default=0, help="For ours; 0 for each case's own: all cores, 1 on MiniGrid.")
@click.option("--peer-threads", default=0, help="For the peer; 0 for its default, PyTorch's.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def main(cases: str, repeats: int, seconds: float, threads: int, peer_threads: int, as_json: bool) -> None:
    """Measure the cases one after the other, then print what they reached."""
    unknown = set(cases.split(",")) - set(CASES)
    if unknown:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    options = [f"--seconds={seconds}", f"--threads={threads}", f"--peer-threads={peer_threads}"]
    measured = {name: run_case(name, repeats, options) for name in cases.split(",")}
    peak = max(rate for results in measured.values() for rate in column(results["gemm"]))
    print(f"peak: {peak / 1e9:.0f} GFLOP/s, a float32 matrix product on {CORES} threads")
    summary = {name: summarize(name, results, peak) for name, results in measured.items()}
    for name, results in measured.items():
        print("\n".join(describe(name, results, summary[name])))
    if as_json:
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
