"""The file to start from when training an algorithm of your own."""

from __future__ import annotations

import re
import subprocess
import sys

from folders import ROOT


def test_the_file_trains_and_evaluates_without_a_warning() -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "own_ippo.py")]
    done = subprocess.run(
        [*command, "--updates", "60", "--episodes", "16"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    found = re.fullmatch(r"unseen episodes: score (\d\.\d\d), worst user \d\.\d\d", last)
    assert found
    assert float(found[1]) > 1.3  # a random walk scores 1.07 and silence 0
