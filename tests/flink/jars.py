"""Flink's jars, and Java programs compiled against them.

The jars come from PyPI's `apache-flink-libraries` (330 MB, fetched once) into a folder outside the checkout, where
the Java programs are compiled as well.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "apache-flink-libraries==2.3.0"


def class_path(cache: Path, names: tuple[str, ...], sources: list[Path], main: str) -> str:
    """The class path of the program `main`. Jars, which begin with `names`, and classes are made where they are missing
    or old."""
    if len(list(cache.glob("*.jar"))) < len(names):
        fetch(cache, names)
    jars = ":".join(map(str, sorted(cache.glob("*.jar"))))
    classes = cache / "classes"
    made = classes / f"{main}.class"
    if not made.exists() or made.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        subprocess.run(["javac", "-nowarn", "-d", classes, "-cp", jars, *sources], check=True)
    return f"{classes}:{jars}"


def fetch(cache: Path, names: tuple[str, ...]):
    print(f"fetching {PACKAGE} into {cache}", file=sys.stderr)
    cache.mkdir(parents=True, exist_ok=True)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", cache, PACKAGE]
    subprocess.run(download, check=True)
    for wheel in cache.glob("apache_flink_libraries-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                name = member.filename.rsplit("/", 1)[-1]
                if "/lib/" in member.filename and name.startswith(names):
                    (cache / name).write_bytes(archive.read(member))
        wheel.unlink()
