"""The learners of another checkout of this project, in a process of their own.

Python runs this file as a script, with the other checkout in front of its search path.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from turns import Peer


def work(transitions: int, threads: int) -> None:
    """Answer each line "scheme seeds device n" with the seconds of n updates."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # other lines must not mix with the answers
    import learners

    import marl

    torch.set_num_threads(threads)
    dataset = learners.data(transitions)
    rows = {}
    print(json.dumps({"marl": str(Path(marl.__file__).parent)}), file=answers)
    for line in sys.stdin:
        scheme, seeds, device, count = line.split()
        if (asked := (scheme, seeds, device)) not in rows:
            rows[asked], _ = learners.learner_row(
                learners.SCHEMES[int(scheme)], int(seeds), dataset, device, 1
            )
        print(rows[asked].seconds(int(count)), file=answers)


@contextmanager
def started(checkout: Path, transitions: int) -> Iterator[Peer]:
    """Start the learners of a checkout, and end them afterwards."""
    here = str(checkout.resolve())
    threads = torch.get_num_threads()
    command = [sys.executable, __file__, f"--transitions={transitions}", f"--threads={threads}"]
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(command, Path(folder) / "errors.txt", {**os.environ, "PYTHONPATH": here})
        try:
            if peer.described["marl"] != str(Path(here) / "marl"):
                sys.exit(f"error: --before {checkout}: found {peer.described['marl']} instead")
            yield peer
        finally:
            peer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transitions", type=int, default=1000, help="transitions to train on")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    work(**vars(parser.parse_args()))
