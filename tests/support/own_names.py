"""Run ``python -m cempstream`` where the names of machines are looked up in a file of our choice.

``python -m tests.support.own_names HOSTS VERB…``: HOSTS stands in for ``/etc/hosts``, for this process alone.
What is written into it later counts from the next look-up on.
"""

from __future__ import annotations

import os
import sys

_COVER = 'mount --bind "$0" /etc/hosts && exec "$@"'


def main(hosts: str, words: list[str]) -> None:
    """Become the command, in a namespace of mounts that no other process has."""
    ours = [sys.executable, "-m", "cempstream", *words]
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", _COVER, hosts, *ours])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
