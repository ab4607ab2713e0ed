"""A directory of the user's own for what is made once on a machine: generated files, and what products cost."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path


def cache_directory() -> Path | None:
    """A directory for generated files in `PGMDSL_CACHE_DIR`, or in the user's cache; None if it is not safe.

    Code is loaded from here: it has to be a real directory that belongs to this user and that nobody else can write.
    """
    given = os.environ.get("PGMDSL_CACHE_DIR")
    try:
        directory = (Path(given) if given else _user_cache() / "pgmdsl").absolute() / "kernels"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except (OSError, RuntimeError):  # not writable, or the user has no home
        return None
    mine = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o022)
    return directory if mine and stat.S_ISDIR(found.st_mode) else None


def _user_cache() -> Path:
    """Where this platform keeps a user's caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def store(path: Path, text: str) -> Path | None:
    """The path, once it holds exactly this text; None if it cannot. Written atomically, kept if it is there."""
    wanted = text.encode()
    try:
        if not path.is_symlink() and path.is_file() and path.read_bytes() == wanted:
            return path
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            file.write(wanted)
        os.replace(file.name, path)
    except OSError:
        return None
    return path
