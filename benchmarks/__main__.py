"""Every benchmark, one after the other, at sizes that end within minutes: `make bench`.

    python -m benchmarks                    # all of them, small
    python -m benchmarks chat --records 0   # one of them, with its own options

Each file here is also a command of its own with larger sizes; `docs/log.md` holds dated results.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

QUICK = {
    "certificates.py": ["--sizes", "1000", "10000", "--trees", "500"],
    "chat.py": ["--calls", "5120", "--memory", "20000", "--records", "200", "--only", "ours"],
    "environment.py": ["--pages", "10000", "--seconds", "3"],
    "generation.py": ["--pages", "1000", "4000", "--questions", "100"],
    "gpu.py": [],
    "learner.py": ["--sizes", "3 x 96", "--rollouts", "8", "--rounds", "1", "--steps", "1"],
    "loader.py": ["--rows", "1000000", "--limit", "50000", "--rounds", "2"],
    "orchestration.py": [],
    "rewards.py": [],
    "rollouts.py": ["--questions", "100"],
    "sampler.py": ["--rounds", "2", "--kv-heads", "3"],
    "snapshot.py": [],
    "solvers.py": ["--pages", "2000", "--candidates", "100"],
    "world.py": [],
}


def main() -> int:
    folder = Path(__file__).parent
    named, *options = sys.argv[1:] or [""]
    if named:
        return subprocess.run([sys.executable, folder / f"{named}.py", *options], check=False).returncode
    failed = []
    for name in sorted(p.name for p in folder.glob("[!_]*.py")):
        print(f"\n## {name}\n", flush=True)
        done = subprocess.run([sys.executable, folder / name, *QUICK.get(name, [])], check=False)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
