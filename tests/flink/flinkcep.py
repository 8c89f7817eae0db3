"""FlinkCEP on this machine: the Java program beside this file, and a call of it (its jars: see `jars.py`)."""

import json
import subprocess
import sys
from pathlib import Path

import jars

HERE = Path(__file__).resolve().parent
JARS = ("flink-cep-", "flink-dist-", "log4j-api-", "log4j-core-", "log4j-slf4j-impl-")


def prepare(cache: Path) -> list[str]:
    """The command that runs the Java program."""
    path = jars.class_path(cache, JARS, sorted(HERE.glob("*.java")), "Cases")
    return ["java", "-Dlog4j2.level=OFF", "-cp", path, "Cases"]


def run(command: list[str], cases: list[dict]) -> list[dict]:
    """The result of each case, in their order."""
    text = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]
