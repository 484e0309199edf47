"""The synthetic web: a fictional, consistent world of any size, and the pages that speak of it."""

from datagen.web.synthetic.ontology import load_ontology
from datagen.web.synthetic.pages import SyntheticWeb
from datagen.web.synthetic.server import serve
from datagen.web.synthetic.source import SyntheticSource
from datagen.web.synthetic.truth import build_truth, entity_types, truth_facts

__all__ = ["SyntheticSource", "SyntheticWeb", "build_truth", "entity_types", "load_ontology", "serve", "truth_facts"]
