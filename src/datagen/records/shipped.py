"""Files that we author and ship: `data/` at the root of a checkout, `datagen/data/` in an installed package."""

from __future__ import annotations

from pathlib import Path

from datagen.errors import ConfigError

_PACKAGE = Path(__file__).parents[1]


def shipped_file(name: str) -> Path:
    """Path of a shipped file or folder, such as `themes.toml` or `ontology`."""
    for folder in (_PACKAGE / "data", _PACKAGE.parents[1] / "data"):
        if (folder / name).exists():
            return folder / name
    raise ConfigError(f"the shipped file data/{name} is missing. Reinstall: pip install --force-reinstall datagen.")
