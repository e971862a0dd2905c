"""Runs programs of Postgres as children of this process, with an account and an environment of their own.

Called by `initdb` and `embedded`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

    from actors.db.cluster_files import ClusterFiles

# Not our own environment: it may hold secrets and `PG…` variables, and a superuser can read the server's.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


async def run_child(
    files: ClusterFiles, command: Sequence[str | Path], **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run `command` as the account that owns `files`, and wait for its end; `options` are those of `trio.run_process`.

    It has a session of its own: a Ctrl-C at the terminal is for us, who then stop it in due order.
    Any exit status is returned.
    """
    account = files.account
    return await trio.run_process(
        command,
        check=False,
        cwd=files.directory,
        env=ENVIRONMENT,
        start_new_session=True,
        user=account.user,
        group=account.group,
        extra_groups=account.extra_groups,
        **options,
    )
