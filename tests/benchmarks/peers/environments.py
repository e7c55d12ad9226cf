"""What is compared, and an environment for each: on top of the one that runs this script, so that all use its torch."""

import hashlib
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """A simulator: its script here, what pip installs for it, how many processes are started, and versions to print."""

    script: str
    requirement: str = ""
    processes: int = 1
    packages: tuple[str, ...] = ()


PEERS = {
    "fedbench": Peer("with_fedbench", packages=("fedbench-core", "torch")),
    "pfl-research": Peer("with_pfl", "pfl[pytorch]==0.6.0", processes=2, packages=("pfl", "torch")),
    "flower": Peer("with_flower", "flwr[simulation]==1.41.0", packages=("flwr", "ray", "torch")),
    "bare": Peer("bare", processes=2, packages=("torch",)),
}


def python_of(peer: Peer, cache: Path) -> Path:
    """The Python that runs `peer`; its environment is made in `cache` on first use."""
    if not peer.requirement:
        return Path(sys.executable)
    key = hashlib.sha256(f"{peer.requirement} {sys.prefix} {sys.version}".encode()).hexdigest()[:8]
    folder = cache.resolve() / f"{peer.script}-{key}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        _make(folder, python, peer.requirement)
    return python


def _make(folder: Path, python: Path, requirement: str) -> None:
    """Make an environment that also sees the packages of this one, after its own."""
    venv.create(folder, clear=True, with_pip=True)
    own = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    (Path(own.strip()) / "below.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
    (folder / "complete").touch()


def versions(peer: Peer, python: Path) -> str:
    """The versions of the packages of `peer`, as its Python sees them."""
    listed = f"[f'{{name}} {{version(name)}}' for name in {peer.packages}]"
    code = f"from importlib.metadata import version; print(*{listed}, sep=', ')"
    return subprocess.check_output([python, "-c", code], text=True).strip()
