"""How many instructions does a single call take? Unlike time, that hardly depends on what else the machine does.

    python bench/micro/instructions.py                   # a minute; --write-baseline, --compare

Counted by `perf` where the machine lets it, else by `valgrind`; where there is neither, this ends with a remark.
Each call is run some times and some times more in processes of their own; the difference is the calls' own.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from calls import CALLS

PROGRAM = Path(__file__).with_name("calls.py")
BASELINE = Path(__file__).parents[1] / "baseline-instructions.json"
FEW, MANY = 200, 1200
#: How many more instructions a call may take than the baseline says: what is counted is nearly the same every time.
ALLOWED = 0.10
PERF = ("perf", "stat", "--event", "instructions:u", "--field-separator", ",")
VALGRIND = (
    "valgrind",
    "--tool=cachegrind",
    "--cache-sim=no",
    "--cachegrind-out-file=/dev/null",
)
COUNTED = {
    "perf": re.compile(r"^(\d+),+instructions", re.MULTILINE),
    "valgrind": re.compile(r"I +refs: +([\d,]+)"),
}


def find_counter() -> tuple[str, ...] | None:
    """Return the command that counts here, None if there is none."""
    for command in (PERF, VALGRIND):
        if shutil.which(command[0]) and count(command, ["-c", ""]) is not None:
            return command
    return None


def count(counter: tuple[str, ...], arguments: list[str]) -> int | None:
    """Return the instructions of a run of Python with these arguments, None if they could not be counted."""
    # Strings hash alike in every run.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    finished = subprocess.run(
        [*counter, sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=True,
    )
    found = COUNTED[counter[0]].search(finished.stderr)
    return int(found[1].replace(",", "")) if found else None


def instructions_of(counter: tuple[str, ...], name: str) -> float:
    few, many = (count(counter, [str(PROGRAM), name, str(times)]) for times in (FEW, MANY))
    assert few is not None
    assert many is not None
    return (many - few) / (MANY - FEW)


def main() -> int:
    options = _parse()
    counter = find_counter()
    if counter is None:
        print("instructions: neither perf nor valgrind can count them here")
        return 0
    known = _known() if options.compare else {}
    found, dearer = {}, 0
    for name in CALLS:
        found[name] = round(instructions_of(counter, name))
        change = f"{found[name] / known[name] - 1:+.1%}" if name in known else ""
        is_dearer = name in known and found[name] > known[name] * (1 + ALLOWED)
        dearer += is_dearer
        print(
            f"{name:40}{found[name]:10} instructions  {change}{'  DEARER' if is_dearer else ''}",
            flush=True,
        )
    if options.write_baseline:
        written = {"python": platform.python_version(), "instructions": found}
        BASELINE.write_text(json.dumps(written, indent=1) + "\n")
    return int(dearer > 0)


def _known() -> dict[str, int]:
    """Return the baseline; another Python takes other instructions, so there is none for it."""
    baseline = json.loads(BASELINE.read_text())
    if baseline["python"] == platform.python_version():
        return dict(baseline["instructions"])
    print(f"no comparison: the baseline is of Python {baseline['python']}")
    return {}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--compare", action="store_true", help="fail if dearer than the baseline"
    )
    parser.add_argument("--write-baseline", action="store_true", help="make this the baseline")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
