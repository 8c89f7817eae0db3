"""Owns where DuckDB comes from: the virtual environment in the cache directory, which is made when it is missing."""

import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "varpulis"


def import_duckdb():
    """The duckdb module; continues in the environment's interpreter where this one does not have it."""
    try:
        import duckdb
        return duckdb
    except ImportError:
        python = CACHE / "venv" / "bin" / "python"
        if Path(sys.prefix) == CACHE / "venv":
            raise
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(CACHE / "venv")], check=True)
        if subprocess.run([python, "-c", "import duckdb"], capture_output=True).returncode:
            subprocess.run([python, "-m", "pip", "install", "--quiet", "duckdb"], check=True)
        os.execv(python, [str(python), *sys.argv])
