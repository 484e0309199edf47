"""The corpus of a run: its snapshot with facts, and what is derived from the facts once for all processes.

    snapshot/knowledge/graph-ab12…/    the fact graph, for one set of declared assumptions
    snapshot/knowledge/guesser.gz      the prior of every answer type

Both are made again where they are missing, and `build_knowledge` removes them with the facts they came from.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from datagen.agents.symbolic.guesser import PriorModel, fit
from datagen.config import DatagenConfig, KnowledgeConfig, WebConfig
from datagen.errors import ConfigError, SnapshotError
from datagen.knowledge.catalogue import Catalogue, load_catalogue
from datagen.knowledge.graph import FactGraph
from datagen.records.ids import content_id
from datagen.web.knowledge_pass import build_knowledge
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.sources import open_source
from datagen.web.synthetic.ontology import load_ontology

Counts = dict[str, int | str]
Say = Callable[[str], None]

GUESSER_NAME = "guesser.gz"


def silent(_text: str) -> None: ...


def build_corpus(config: DatagenConfig, say: Say = silent) -> Counts:
    """Make the snapshot that a config names, unless it is there with facts of the catalogue the config names."""
    if config.web.live is not None:
        return {"live web": config.web.live.service}
    folder = Path(config.web.snapshot)
    if has_facts(folder, config.knowledge):
        return describe_corpus(folder)
    if not config.web.sources and not (folder / "manifest.json").exists():
        raise ConfigError(
            f"there is no snapshot at {folder} and web.sources is empty; name sources in the config, or run "
            f"`datagen snapshot build {folder} SOURCE`."
        )
    return build_corpus_from(config.web, config.knowledge, say)


def build_corpus_from(web: WebConfig, knowledge: KnowledgeConfig, say: Say = silent) -> Counts:
    """Add sources to a snapshot and read all its pages into facts."""
    folder = Path(web.snapshot)
    catalogue = _catalogue_named(knowledge.catalogue)
    if web.sources:
        say(f"reading pages of {', '.join(web.sources)} into {folder}")
        sources = [open_source(source) for source in web.sources]
        build_snapshot(sources, folder, BuildOptions(mode=web.extraction, workers=web.workers))
    say("reading facts")
    build_knowledge(folder, catalogue, workers=web.workers)
    return describe_corpus(folder)


def describe_corpus(folder: Path) -> Counts:
    """Counts of a finished snapshot: pages, what was skipped and why, facts."""
    snapshot = Snapshot.open(folder)
    manifest, facts = snapshot.manifest, snapshot.knowledge.fields
    counts: Counts = {"snapshot": str(folder), "digest": snapshot.digest, "pages": manifest.pages}
    counts |= {f"source {source.name}": source.pages for source in manifest.sources}
    counts |= {f"skipped: {reason}": count for reason, count in manifest.skipped.items()}
    return counts | {name: facts[name] for name in ("facts", "closures", "entities", "catalogue")}


def has_facts(folder: Path, knowledge: KnowledgeConfig) -> bool:
    """Whether a finished snapshot is there, read with the catalogue that the config names."""
    try:
        held = Snapshot.open(folder).catalogue()
    except SnapshotError:
        return False
    wanted = _catalogue_named(knowledge.catalogue)
    if wanted is None:
        return any(relation.origin == "induced" for relation in held.relations.values())
    return held.digest == wanted.digest


def _catalogue_named(name: str) -> Catalogue | None:
    """None for a catalogue that has to be induced from the pages."""
    if name == "induced":
        return None
    if name == "synthetic":
        return load_ontology()
    if not Path(name).is_file():
        raise ConfigError(f"knowledge.catalogue is {name!r}: write `synthetic`, `induced`, or the path of a catalogue.")
    return load_catalogue(Path(name))


def catalogue_for_live(knowledge: KnowledgeConfig) -> Catalogue:
    """The words that programs know on the live web: there are no pages yet to induce others from."""
    return _catalogue_named(knowledge.catalogue) or load_ontology()


def graph_folder(snapshot: Snapshot, knowledge: KnowledgeConfig) -> Path:
    assumed = {"closed_types": knowledge.closed_types, "silent_relations": knowledge.silent_relations}
    return snapshot.folder / "knowledge" / content_id("graph", assumed)[:14]


def guesser_path(snapshot: Snapshot) -> Path:
    return snapshot.folder / "knowledge" / GUESSER_NAME


def derive(snapshot: Snapshot, knowledge: KnowledgeConfig) -> None:
    """Make the fact graph and the guesser where they are missing, before worker processes ask for them."""
    _refuse_unknown_assumptions(snapshot.catalogue(), knowledge)
    folder = graph_folder(snapshot, knowledge)
    try:
        FactGraph.load(folder)
    except SnapshotError:
        FactGraph.build(
            snapshot.catalogue(),
            snapshot.facts(),
            snapshot.closures(),
            snapshot.entities(),
            closed_types=knowledge.closed_types,
            silent_relations=knowledge.silent_relations,
        ).save(folder)
    path = guesser_path(snapshot)
    if not path.exists():
        partial = path.with_name(f".tmp-{path.name}")
        fit(snapshot.catalogue(), snapshot.entities(), snapshot.facts()).save(partial)
        partial.replace(path)


def _refuse_unknown_assumptions(catalogue: Catalogue, knowledge: KnowledgeConfig) -> None:
    """An assumption about a class that does not exist would be taken for made and have no effect."""
    for key, named, known in (
        ("closed_types", knowledge.closed_types, catalogue.types),
        ("silent_relations", knowledge.silent_relations, catalogue.relations),
    ):
        for name in named:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(sorted(known)[:12])}, …"
                raise ConfigError(f"knowledge.{key} names {name!r}, which the catalogue does not have; {hint}")


def open_guesser(snapshot: Snapshot) -> PriorModel:
    return PriorModel.load(guesser_path(snapshot))
