"""Fetches nginx and nchan from the Debian packages and unpacks them below `bench/bin/nchan`; nothing is installed."""

import subprocess
import tempfile
from pathlib import Path

PACKAGES = ("nginx", "libnginx-mod-nchan")
PROGRAMS = ("usr/sbin/nginx", "usr/lib/nginx/modules/ngx_nchan_module.so")
#: Where the packaged nginx keeps bodies it spools, and where ours does: relative to the prefix it is started with.
#: The module has a server of its own that no configuration reaches, so the path is changed in our copies of both.
COMPILED_IN = b"/var/lib/nginx/"
RELATIVE = b"var/lib/nginx//"


def install(root: Path) -> None:
    """Unpack the packages into `root` unless they are there.

    Raises:
        SystemExit: this is no Debian, or its package mirror is out of reach.
    """
    if (root / "var/lib/nginx").exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run(["apt-get", "download", *PACKAGES], folder)
            for package in Path(folder).glob("*.deb"):
                _run(["dpkg", "--extract", str(package), str(root)], folder)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(
                f"the peer nchan needs Debian's packages {PACKAGES}: {error}"
            ) from None
    for name in PROGRAMS:
        (root / name).write_bytes((root / name).read_bytes().replace(COMPILED_IN, RELATIVE))
    (root / "var/lib/nginx").mkdir(parents=True, exist_ok=True)


def versions(root: Path) -> dict[str, str]:
    said = subprocess.run(
        [str(root / "usr/sbin/nginx"), "-v"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return {"nginx": said.stderr.strip().rpartition("/")[2], "nchan": _nchan_version(root)}


def _nchan_version(root: Path) -> str:
    changelog = root / "usr/share/doc/libnginx-mod-nchan/changelog.Debian.gz"
    command = ["zcat", str(changelog)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return said.stdout.split("(", 1)[1].split(")", 1)[0]


def _run(command: list[str], folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
