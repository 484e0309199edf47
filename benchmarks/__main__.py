"""Every benchmark, one after the other, at sizes that end within minutes: `make bench`.

Each file here is also a command of its own with larger sizes; `docs/log.md` holds dated results.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

QUICK = {
    "certificates.py": ["--sizes", "1000", "10000", "--trees", "500"],
    "generation.py": ["--pages", "1000", "4000", "--questions", "100"],
    "orchestration.py": [],
    "snapshot.py": [],
    "solvers.py": ["--pages", "2000", "--candidates", "100"],
    "world.py": [],
}


def main() -> int:
    folder = Path(__file__).parent
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
