"""The lock files hold what pyproject.toml asks for, each with its hashes."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.architecture.source import ROOT

LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)


def locked(text: str) -> dict[str, Version]:
    return {canonicalize_name(name): Version(version) for name, version in LOCKED.findall(text)}


def unmet(requirements: list[str], versions: dict[str, Version]) -> list[str]:
    """Return a sentence for each requirement that no locked version satisfies."""
    return [
        f"The lock file does not satisfy {requirement}: run 'make lock'."
        for requirement in map(Requirement, requirements)
        if requirement.name != "troupe"
        and not requirement.specifier.contains(
            versions.get(canonicalize_name(requirement.name), Version("0")), prereleases=True
        )
    ]


def unhashed(text: str) -> list[str]:
    """Return a sentence for each locked package without a hash."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    return [
        f"{entry.split()[0]} has no hash: run 'make lock'."
        for entry in entries
        if LOCKED.match(entry) and "--hash=sha256:" not in entry
    ]


@pytest.mark.parametrize(
    ("lock", "extra"), [("run", "embedded"), ("test", "test"), ("bench", "bench")]
)
@pytest.mark.capability("SB-005")
def test_the_lock_file_holds_what_the_project_asks_for(lock, extra):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")

    wanted = project["dependencies"] + project["optional-dependencies"][extra]

    assert unmet(wanted, locked(text)) + unhashed(text) == []


def test_all_lock_files_hold_the_same_versions():
    run, test, bench = (
        locked((ROOT / "requirements" / f"{lock}.txt").read_text("utf-8"))
        for lock in ("run", "test", "bench")
    )

    assert run.items() <= test.items() <= bench.items()


def test_a_requirement_that_is_not_met_is_found():
    versions = locked(
        "trio==0.35.0 \\\n    --hash=sha256:00\nh11==0.16.0 ; os_name == 'nt' \\\n"
    )

    assert unmet(["trio>=0.35", "h11>=0.16"], versions) == []
    assert len(unmet(["trio>=0.36", "wsproto>=1"], versions)) == 2


def test_a_package_without_a_hash_is_found():
    assert len(unhashed("a==1\nb==2 \\\n    --hash=sha256:00\n# b==3")) == 1
