"""Says what `make setup` is about to do, and stops early where it cannot work."""

import shutil
import sys
from pathlib import Path

NEEDED_GIB = 8


def main() -> int:
    """Check Python, venv and disk; print what will be downloaded."""
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 is there
        version = ".".join(str(part) for part in sys.version_info[:3])
        print(f"distilljob needs Python 3.11 or newer; this is {version}. Try: make PYTHON=python3.12", file=sys.stderr)
        return 1
    try:
        import ensurepip  # noqa: F401 - Debian leaves it out of python3
    except ImportError:
        print("Python's venv is missing. On Debian or Ubuntu: apt-get install python3-venv", file=sys.stderr)
        return 1
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    if free_gib < NEEDED_GIB:
        print(f"The installation needs about {NEEDED_GIB} GiB; here are {free_gib:.1f} GiB free.", file=sys.stderr)
        return 1
    print("Installing into .venv: torch with its GPU libraries is about 5 GB; a few minutes on a fast connection.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
