"""What people were told is stored is there, whatever was killed meanwhile; and how that is counted."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rlhf_envs.feedback import PreferenceStore, Query
from rlhf_envs.segments import Segment
from scripts.benchmarks.robustness import (
    VICTIMS,
    Kill,
    Robustness,
    RoundFigures,
    count_lost_and_doubled,
    disturbed_round,
)
from tests.answers import give_answer
from tests.trainer import ROOT

ON_A_SMALL_DISK = """
mount -t tmpfs -o size=2m small {disk} && cp -r {run} {disk}/run && dd if=/dev/zero of={disk}/filler 2> /dev/null
{python} -m rlhf_envs label --run-dir {disk}/run --feedback web --port 0 --annotators ann; echo "status $?"
{python} -m rlhf_envs label --run-dir {disk}/run --feedback oracle; echo "status $?"
{python} -m rlhf_envs archive export --run-dir {disk}/run --no-clips --to {disk}/export; echo "status $?"
ls -A {disk}
"""


@pytest.mark.slow
def test_every_acknowledged_answer_survives_the_kill_of_any_process(tmp_path: Path) -> None:
    kills = [Kill(victim, after, 0.2) for after, victim in zip((3, 8, 13), VICTIMS, strict=True)]
    # The two annotators on the web page practise with 4 each, which leaves 24.
    found = disturbed_round(tmp_path, kills, answers=32, seconds=550)
    assert found.failure == ""
    assert found.killed == list(VICTIMS)
    assert (found.lost, found.doubled) == (0, 0)
    assert found.acknowledged >= 18


@pytest.mark.slow
def test_on_a_full_disk_every_command_ends_in_a_sentence_and_leaves_nothing_half_done(
    copied: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (copied / "film.mp4").unlink(missing_ok=True)
    script = ON_A_SMALL_DISK.format(disk=disk, run=copied, python=sys.executable)
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=500)
    if "status" not in done.stdout:
        pytest.skip("a small disk cannot be made here: " + done.stderr.strip())
    assert done.stdout.count("status 2") == 3, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(said) == 3 and all("full" in line or "No space left" in line for line in said), said
    assert done.stdout.split()[-2:] == ["filler", "run"]


def test_lost_and_doubled_answers_are_noticed(tmp_path: Path) -> None:
    shown = Segment(np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32), np.zeros(2, np.float32))
    with PreferenceStore.create(tmp_path / "feedback.db") as store:
        store.ask([Query(str(number), 0, (shown, shown)) for number in range(3)])
        for query, name in ((1, "ann"), (2, "ann"), (3, "cyd")):
            give_answer(store, query, name, "left")

    def counted(told: dict[int, int], in_window: list[int]) -> tuple[int, int, int]:
        over_http = {answer: (query, "ann") for answer, query in told.items()}
        return count_lost_and_doubled(tmp_path, over_http, in_window, "cyd")

    assert counted({1: 1, 2: 2}, [3]) == (0, 0, 0)
    assert counted({1: 1, 2: 2, 9: 9}, [3, 8]) == (2, 0, 0)
    assert counted({1: 1, 2: 1}, [3]) == (1, 0, 0)
    assert counted({1: 1}, []) == (0, 1, 0)
    with PreferenceStore.open(tmp_path / "feedback.db") as store:
        give_answer(store, 1, "cyd", "left")
    assert counted({1: 1, 2: 2}, [3, 1]) == (0, 0, 1)


def test_a_round_that_came_to_no_end_shows_in_the_table() -> None:
    good = RoundFigures(["trainer", "server", "trainer"], 60, 0, 0, 0, "", 12.0)
    stuck = RoundFigures(["server"], 1200, 1, 2, 3, "waited too long for training to end", 300.0)
    attack = {"name": "damaged stores", "tried": 1500, "failed": 2, "note": "others harmless", "failures": []}
    table = Robustness.table({"rounds": [vars(good), vars(stuck)], "attacks": [attack]}).splitlines()
    assert table[2] == "| 2 | 2 | 0 | 1,260 | 1 | 2 | 3 | 1 of 2 |"
    assert table[-1] == "| damaged stores | 1,500 | 2 | others harmless |"
