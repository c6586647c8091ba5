"""How often advice is right on made-up ledgers, as docs/diagnostics.md tells: PYTHONPATH=. python benchmarks/advice.py [SEEDS]"""

from __future__ import annotations

import sys
from collections import Counter

from tests.ledgers import fake_run

from headtail.training.advice import advise

HEALTHY = [
    *({"every": every} for every in (50, 100, 250)),
    *({"lists": lists} for lists in (2000, 800, 400)),
    {"noise": 3},
    *({"noise": 2, "carried": carried} for carried in (0.5, 0.8)),
]
FAULTY = [
    *({"fault": fault, "noise": noise} for fault in ("over-confident", "over-fitting", "easy pairs") for noise in (1, 2)),
    *({"lists": 2000, "saw_tooth": drop} for drop in (0.02, 0.03, 0.05)),
]


def main(seeds: int) -> None:
    """One line a kind of run: in how many of its seeds anything was told, and each kind of advice."""
    for options in [*HEALTHY, *FAULTY]:
        told = [{one.kind for one in advise(fake_run(seed=seed, layers=0, **options))} for seed in range(seeds)]
        kinds = Counter(kind for one in told for kind in one)
        print(f"{options!s:<48} {sum(map(bool, told)):>4} of {seeds}  {dict(kinds)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
