"""Hold a finished run on the synthetic web against the complete truth of that world."""

from __future__ import annotations

from datagen import storage
from datagen.dataset.audit import Audited, audit
from datagen.errors import ConfigError
from datagen.runs.directory import open_run
from datagen.runs.tables import read_run_manifest
from datagen.web.snapshot import Snapshot
from datagen.web.sources import open_source
from datagen.web.synthetic.source import SyntheticSource
from datagen.web.synthetic.truth import build_truth


def audit_run(directory: str) -> Audited:
    """Evaluate every accepted question of a run over the world it was made from."""
    read_run_manifest(directory)
    named = open_run(directory).config.web.sources
    sources = [open_source(source) for source in named]
    if len(sources) != 1 or not isinstance(sources[0], SyntheticSource):
        raise ConfigError(
            f"{directory} was made from {', '.join(named) or 'a finished snapshot'}; only a run on one synthetic web "
            '(web.sources = ["synthetic:seed=7,pages=4000"]) has a complete truth to be held against.'
        )
    held = Snapshot.open(open_run(directory).config.web.snapshot).manifest.sources
    if [source.fingerprint for source in held] != [sources[0].fingerprint()]:
        raise ConfigError(
            f"{directory} rests on a web that this version writes differently; make the run again to audit it."
        )
    tables = [storage.read_parquet(storage.join(directory, f"{name}.parquet")) for name in ("questions", "rejects")]
    return audit(tables[0].to_pylist(), build_truth(sources[0].web.addresses), tables[1].to_pylist())
