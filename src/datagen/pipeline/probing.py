"""Whether the models of a cast can play their roles where they are served: what `datagen check` asks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from datagen.clients.capabilities import NEEDS, ProbeFinding, probe, require
from datagen.clients.chat import ChatEngine, ModelSpec
from datagen.clients.retrying import Patience
from datagen.config import CastConfig
from datagen.errors import DatagenError, UnfitEndpointError
from datagen.pipeline.calling import model_spec, models_of, open_engine


@dataclass(frozen=True, slots=True)
class ModelFindings:
    """One model, seen where it is served."""

    model: ModelSpec
    roles: tuple[str, ...]
    found: tuple[ProbeFinding, ...]
    unfit: str
    """The sentence that refuses it; empty where it can play all its roles."""

    def needed(self, finding: ProbeFinding) -> bool:
        """Whether a role of this model needs what the finding is about."""
        return any(finding.capability in NEEDS[role] for role in self.roles)


def probe_cast(cast: CastConfig) -> Iterator[ModelFindings]:
    """Every model that plays a role, asked for everything; a few short calls each, which nothing books."""
    engines: dict[str, ChatEngine] = {}
    patience = Patience(first=cast.retry_seconds, jitter=cast.retry_seconds)
    for name in models_of(cast):
        model = model_spec(name, cast.models[name])
        roles = tuple(role for role in cast.roles if name in cast.players(role))
        try:
            if model.endpoint not in engines:
                engines[model.endpoint] = open_engine(model.endpoint, cast.endpoints[model.endpoint], cast)
            found = probe(engines[model.endpoint], model, patience=patience)
            yield ModelFindings(model, roles, found, _refusal(found, roles, model))
        except DatagenError as exc:  # no key, or an engine that cannot be loaded here
            yield ModelFindings(model, roles, (), str(exc))


def _refusal(found: tuple[ProbeFinding, ...], roles: tuple[str, ...], model: ModelSpec) -> str:
    try:
        require(found, roles, model)
    except UnfitEndpointError as exc:
        return str(exc)
    return ""
