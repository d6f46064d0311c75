"""Coverage-guided fuzzing (libFuzzer, by atheris): ``python -m tests.fuzz.guided packets --seconds 60``.

It ends with 0 when the time is up, and otherwise with a traceback and the bytes that raised, in a file of the
working folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cempstream"]):
    from tests.fuzz.targets import decode_packet, file_seeds, packet_seeds, read_file


def main() -> None:
    """Fuzz one target for a bounded time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=("packets", "files"))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=20261120)
    parser.add_argument("--folder", type=Path, help="Where to work; else a temporary one.")
    given = parser.parse_args()
    if given.folder is None:
        # libFuzzer ends the process: whoever is to tidy up is another one. In memory, where the system has
        # such a place, because a file is written thousands of times.
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
            command = [sys.executable, "-m", "tests.fuzz.guided", *sys.argv[1:], "--folder", name]
            sys.exit(subprocess.run(command, check=False).returncode)
    seeds = packet_seeds() if given.target == "packets" else file_seeds()
    corpus, path = given.folder / "corpus", given.folder / "spectra"
    corpus.mkdir()
    for i, seed in enumerate(seeds):
        (corpus / f"seed-{i:02d}").write_bytes(seed)

    def read(content: bytes) -> bool:
        return decode_packet(content) if given.target == "packets" else read_file(content, path)

    def one(content: bytes) -> None:
        read(content)

    assert sum(map(read, seeds)) >= len(seeds) // 2, "most seeds must be read"
    options = [
        f"-max_total_time={given.seconds}",
        f"-seed={given.seed}",
        f"-max_len={max(map(len, seeds)) + 4096}",
        "-timeout=5",  # one input may not take longer
        "-rss_limit_mb=1024",  # nor more memory
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
