"""What verl's and TRL's own functions give on random tensors: values and gradients, as JSON for the tests of ours.

    .venv-verl/bin/python tests/oracles/training_oracles.py verl      writes tests/fixtures/training_verl.json
    .venv-trl/bin/python  tests/oracles/training_oracles.py trl       writes tests/fixtures/training_trl.json

`make test` builds both environments (requirements-verl.lock, requirements-trl.lock). The same seed gives the same numbers
in both. Everything is in double precision; inputs are rounded to six decimals first, so that JSON holds them exactly.

Every number comes out of code of the peer: its registered losses, advantages and aggregations where it has functions;
for TRL, which has one method, `GRPOTrainer._compute_loss` and `DPOTrainer._compute_loss` called on an object that carries
the attributes they read, the model's forward pass being replaced by the tensors of the batch; and those statements of
`_generate_and_score_completions` that compute advantages and sampler weights, taken out of the source by their condition.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training_tensors import SEED, batch, listed

FIXTURES = Path(__file__).parents[1] / "fixtures"


def main() -> None:
    peer = sys.argv[1] if len(sys.argv) == 2 else ""
    if peer == "verl":
        from training_verl import from_verl as ask
    elif peer == "trl":
        from training_trl import from_trl as ask
    else:
        raise SystemExit(__doc__)
    found = ask()
    batches = {
        name: {key: listed(value) for key, value in batch(name).items()}
        for name in sorted({case["batch"] for case in found["losses"]})
    }
    path = FIXTURES / f"training_{peer}.json"
    path.parent.mkdir(exist_ok=True)
    written = {"written_by": "tests/oracles/training_oracles.py", "seed": SEED, "batches": batches, **found}
    path.write_text(json.dumps(written, separators=(",", ":")) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB, {len(found['losses'])} losses\n")


if __name__ == "__main__":
    main()
