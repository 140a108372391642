"""What is said while texts are written."""

import time

import pytest
from rich.console import Console

from hf_synth import progress


@pytest.mark.parametrize(
    ("threads", "load", "said"), [(2, 6.0, True), (2, 0.5, False), (1, 6.0, False)], ids=["busy", "idle", "one thread"]
)
def test_a_busy_machine_is_named_with_what_helps(tmp_path, monkeypatch, capsys, threads, load, said):
    """Two threads wait for each other where one has no core, and are slower than one alone."""
    monkeypatch.setattr(progress, "CROWDED_AFTER", 0.05)
    monkeypatch.setattr(progress.os, "getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr(progress.os, "cpu_count", lambda: 2)
    watch = progress.Watch(Console(width=1000), tmp_path, 10, threads)
    time.sleep(0.3)  # as threads do that wait
    watch.close()
    assert ("OMP_NUM_THREADS=1" in capsys.readouterr().out) == said
