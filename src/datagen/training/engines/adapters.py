"""Adapters in a folder that trainer and servers share, each version under a name of its own.

    /shared/adapters/policy-v000012-5f0c2a91/adapter_config.json
                                             adapter_model.safetensors
                     policy-v000013-e07b3c44/...

The name ends with a digest of the adapter, so it is never used for other weights, also where training went back to an
earlier checkpoint and comes to a version for the second time. vLLM finds kept keys and values by the name of the adapter:
weights that are swapped under one name are served with the keys and values of the old ones. A folder gets its name when
it is whole.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagen.errors import EngineError
from datagen.records.ids import sha256_hex
from datagen.storage import TEMPORARY_PREFIX, write_atomic

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


class AdapterFolder:
    """Where versions of one adapter lie."""

    def __init__(
        self, root: Path, *, name: str = "policy", config: Mapping[str, Any] | None = None, keep: int = 2
    ) -> None:
        """`config`: peft's, as `LoraConfig.to_dict()` gives it; only needed where tensors are placed and not folders.

        The newest `keep` versions stay, at least two: requests on their second try may still name the one before.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ValueError(f"{name!r} is no name for an adapter: letters, digits, dots, dashes and underscores")
        self.keep = max(2, keep)
        self._root = root.resolve()
        self._name = name
        self._config = config

    def path(self, name: str) -> Path:
        return self._root / name

    def place(self, version: int, weights: Mapping[str, Tensor] | Path) -> Path:
        """Put an adapter there: a folder of peft's, or its tensors. Returns its folder, whose name is the adapter's.

        Raises `EngineError` where a folder is no adapter.
        """
        parts = _read(weights) if isinstance(weights, Path) else self._written(weights)
        digest = sha256_hex(b"".join(parts.values()))[:8]
        final = self.path(f"{self._name}-v{version:06d}-{digest}")
        if final.is_dir():
            return final
        begun = self._root / f"{TEMPORARY_PREFIX}{final.name}"
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        for name, data in parts.items():
            write_atomic(begun / name, data)
        begun.rename(final)
        return final

    def prune(self, keep: Collection[str]) -> None:
        """Remove all versions but these."""
        for folder in self._root.glob(f"{self._name}-v*"):
            if folder.name not in keep:
                shutil.rmtree(folder, ignore_errors=True)

    def _written(self, weights: Mapping[str, Tensor]) -> dict[str, bytes]:
        from safetensors.torch import save

        if self._config is None:
            raise EngineError(
                "an adapter that comes as tensors needs its config; give AdapterFolder peft's `to_dict()`."
            )
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        config = json.dumps(self._config, default=_plain, sort_keys=True, indent=2)
        return {CONFIG: config.encode(), WEIGHTS: save(tensors)}


def _read(folder: Path) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}
    except FileNotFoundError as exc:
        raise EngineError(f"{folder} is no adapter: {exc.filename} is missing; write it with save_pretrained.") from exc


def _plain(value: Any) -> Any:
    """Configs of peft hold sets and enums."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return getattr(value, "value", str(value))
