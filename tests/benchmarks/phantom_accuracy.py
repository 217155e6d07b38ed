"""Print how near the maps of the simulated head come to the truth; exit with 1 where a limit is missed.

Run with `python -m tests.benchmarks.phantom_accuracy`. Without arguments it maps the four acceptance scans with the
default recipe: axial and oblique by 20°, 1.2 mm isotropic and 1 × 1 × 2 mm, five echoes, SNR 60.
"""

import argparse
import resource
import sys
import time
from dataclasses import replace

import torch

from pipeline.recipe import builtin_recipe
from pipeline.run import run
from pipeline.simulation.phantom import Head, adult_head
from pipeline.simulation.scanner import DEMONSTRATION, Protocol, SimulatedScan, acquire
from pipeline.studies.accuracy import Score, score

ISOTROPIC = Protocol(shape=(128, 192, 160), voxel_size_mm=(1.2, 1.2, 1.2), snr=60.0)
ANISOTROPIC = Protocol(shape=(78, 232, 192), voxel_size_mm=(2.0, 1.0, 1.0), snr=60.0)
TILT = (20.0, 0.0, 0.0)

ACCEPTANCE = {
    "axial, 1.2 mm": ISOTROPIC,
    "oblique 20°, 1.2 mm": replace(ISOTROPIC, rotation_deg=TILT),
    "axial, 1 × 1 × 2 mm": ANISOTROPIC,
    "oblique 20°, 1 × 1 × 2 mm": replace(ANISOTROPIC, rotation_deg=TILT),
}
CASES = {**ACCEPTANCE, "demonstration": DEMONSTRATION}


def main() -> int:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    head = adult_head()
    chosen = options.case or list(ACCEPTANCE)
    missed: list[str] = []
    for name in chosen:
        missed += [f"{name}: {sentence}" for sentence in report(name, head, options)]
    print("\nAll limits are kept." if not missed else "\nMissed:\n  " + "\n  ".join(missed))
    return 1 if missed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="default", help="name of a built-in recipe")
    parser.add_argument("--case", action="append", choices=list(CASES), help="one case; may be repeated")
    parser.add_argument("--snr", type=float, help="another signal-to-noise ratio")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise")
    parser.add_argument("--true-mask", action="store_true", help="give the true brain instead of the computed mask")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def report(name: str, head: Head, options: argparse.Namespace) -> list[str]:
    """Simulate, map and print one case; return what it misses."""
    protocol = replace(CASES[name], seed=options.seed)
    if options.snr:
        protocol = replace(protocol, snr=options.snr)
    began = time.perf_counter()
    scan = acquire(head, protocol)
    simulated = time.perf_counter()
    result, quality, steps = mapped(scan, options)
    print(f"\n{name} · recipe {options.recipe} · SNR {protocol.snr:.0f} · {len(protocol.echo_times_s)} echoes")
    print(f"  simulated in {simulated - began:.1f} s, mapped in {time.perf_counter() - simulated:.1f} s", end=" (")
    print(", ".join(f"{step} {seconds:.1f}" for step, seconds in steps.items()), end=")\n")
    print_score(result)
    print("  quality: " + ", ".join(f"{key} {value:g}" for key, value in quality.figures.items()))
    print("".join(f"  warning: {sentence}\n" for sentence in quality.warnings), end="")
    print(f"  peak memory so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB", flush=True)
    return result.shortcomings()


def mapped(scan: SimulatedScan, options: argparse.Namespace):
    acquisition = replace(scan.acquisition, mask=scan.brain) if options.true_mask else scan.acquisition
    began: dict[str, float] = {}
    steps: dict[str, float] = {}

    def listen(step: str, fraction: float) -> None:
        began.setdefault(step, time.perf_counter())
        if fraction >= 1:
            steps[step] = time.perf_counter() - began[step]

    maps, quality = run(acquisition, builtin_recipe(options.recipe), listen)
    return score(scan, maps.susceptibility, maps.mask), quality, steps


def print_score(result: Score) -> None:
    print(
        f"  detrended NRMSE {result.detrended_nrmse_percent:.1f} %, slope {result.slope:.3f}, "
        f"coverage {100 * result.coverage:.2f} %, mask outside the brain {100 * result.outside_share:.1f} %"
    )
    print(f"  {'region':34}{'voxels':>7}{'truth':>9}{'measured':>10}{'error':>8}  [ppb]")
    for region in result.regions:
        verdict = "" if not region.is_judged else "ok" if region.is_within_limit else "MISSED"
        print(
            f"  {region.name:34}{region.n_voxels:7d}{region.truth_ppb:9.1f}{region.measured_ppb:10.1f}"
            f"{region.error_ppb:+8.1f}  {verdict}"
        )


if __name__ == "__main__":
    sys.exit(main())
