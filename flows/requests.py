"""The one parameter of every flow. Prefect validates it before a run starts, so a faulty config never becomes a run."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from datagen.config import DatagenConfig, load_config
from datagen.errors import ConfigError


class RunRequest(BaseModel):
    """A config file, and keys laid over it: `{"config": "data/presets/demo.toml", "overlays": ["run.seed=8"]}`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    config: str
    """Path of a TOML file, relative to the folder the flow runs in, or the name of a preset."""
    overlays: tuple[str, ...] = ()
    """`section.key=value`, as with `datagen run --set`."""

    @model_validator(mode="after")
    def _is_a_valid_config(self) -> Self:
        try:
            self.load()
        except ConfigError as exc:
            raise ValueError(str(exc)) from exc
        return self

    def load(self) -> DatagenConfig:
        return load_config(self.config, self.overlays)
