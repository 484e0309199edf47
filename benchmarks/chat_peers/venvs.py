"""Environments of the other generators: pinned, each in a folder of its own that outlives the benchmark."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


class CannotInstallError(Exception):
    """pip's last words."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another generator. `without` are packages of its own that are installed first and alone, where `loose` names a
    requirement whose bound is to be dropped."""

    name: str
    script: str
    packages: tuple[str, ...]
    loose: str | None = None

    @property
    def folder(self) -> str:
        return self.packages[0].partition("[")[0].replace("==", "-") + f"-py{sys.version_info.minor}"


PEERS = (
    # It asks for a certifi so new that not every mirror has it. Any does.
    Peer(
        "DataDesigner 0.9.7",
        "data_designer_job.py",
        ("data-designer==0.9.7", "data-designer-config==0.9.7", "data-designer-engine==0.9.7"),
        loose="certifi",
    ),
    Peer("Bespoke curator 0.1.31", "curator_job.py", ("bespokelabs-curator==0.1.31",)),
    # It imports requests without asking for it: huggingface-hub used to bring it along.
    Peer("distilabel 1.5.3", "distilabel_job.py", ("distilabel[openai,instructor]==1.5.3", "requests")),
)
_REQUIREMENTS = """
import importlib.metadata as metadata, re, sys
own, loose = sys.argv[2:], sys.argv[1]
for package in own:
    for need in metadata.requires(package) or ():
        name = re.match(r"[A-Za-z0-9._-]+", need)[0]
        if name not in own and "extra ==" not in need:
            print(name if name == loose else need)
"""


def python_of(peer: Peer, root: Path) -> Path:
    """The interpreter of a peer's environment, which is made if need be. Raises `CannotInstallError`."""
    folder = root / peer.folder
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    if peer.loose is None:
        _install(python, *peer.packages)
    else:
        _install(python, "--no-deps", *peer.packages)
        names = [package.partition("==")[0] for package in peer.packages]
        asked = [python, "-c", _REQUIREMENTS, peer.loose, *names]
        _install(python, *subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split("\n")[:-1])
    (folder / "complete").touch()
    return python


def _install(python: Path, *what: str) -> None:
    done = subprocess.run([python, "-m", "pip", "install", "-q", *what], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise CannotInstallError(" ".join(said)[-300:] or done.stderr[-300:])
