"""What a person sees while texts are written: the probe's estimate, then rows, yield, speed and time left."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .run import Run

PLAIN_EVERY = 15.0  # seconds between lines where the output is not a terminal
CROWDED, CROWDED_AFTER = 0.6, 15.0  # share of the time of all threads that they use at least; seconds until a look
ROW_BYTES = 700  # on disk per kept row, journal and Parquet together (measured on sst2)


def clock(seconds: float) -> str:
    """Return seconds as `m:ss` or `h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Watch:
    """Called after every chunk; prints the probe after the first, then keeps the progress current.

    Args:
        console: Where to print.
        folder: On whose disk room is looked up.
        num_rows: Rows wanted in the end.
        threads: Of the model, where this process computes on a CPU.
    """

    def __init__(self, console: Console, folder: Path, num_rows: int, threads: int = 1):
        self.console, self.folder, self.num_rows = console, folder, num_rows
        self.progress = Progress(
            BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        )
        self._bar = self.progress.add_task("", total=1.0)
        self._next = 0.0
        self._probed = False
        self._began = time.monotonic(), time.process_time()
        self._timer = threading.Timer(CROWDED_AFTER, self._crowded, [threads])
        self._timer.daemon = True
        if threads > 1:
            self._timer.start()

    def __call__(self, run: Run, stage: str) -> None:
        """Show the state of a run."""
        if stage != "rows":
            self._show(f"{stage}: {run.ledger.stage(stage).asked} asked", 0.0)
            return
        counts = run.ledger.stage("rows")
        spare = sum(max(0, cell.kept - cell.want) for cell in run.cells)  # their label had enough: no end is nearer
        kept = min(counts.kept - spare, self.num_rows)
        rate = kept / max(counts.seconds, 1e-9)
        speed = f"{rate:.1f} rows/s, {clock((self.num_rows - kept) / rate) if rate else 'unknown'} left"
        if not self._probed:
            self._probed = True
            self._probe(f"kept {counts.kept} of {counts.asked}, {speed}")
        self._show(
            f"{kept} of {self.num_rows} rows, yield {counts.kept / counts.asked:.0%}, {speed}", kept / self.num_rows
        )

    def _probe(self, found: str) -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
        free = shutil.disk_usage(self.folder).free / 1e6
        need = self.num_rows * ROW_BYTES / 1e6
        self.console.print(
            f"probe: {found}; {memory:.0f} MB of memory; about {need:.1f} MB of disk, {free:.0f} MB free"
        )
        if self.console.is_terminal:
            self.progress.start()

    def _crowded(self, threads: int) -> None:
        """Say that threads mostly wait: each step ends with the last of them, so one without a core holds up all."""
        began, used = self._began
        share = (time.process_time() - used) / (time.monotonic() - began) / threads
        if share < CROWDED and os.getloadavg()[0] > (os.cpu_count() or 1):
            self.console.print(
                f"other work takes the cores: {threads} threads, which wait for one another, got {share:.0%} of them; "
                "stopped and begun again with OMP_NUM_THREADS=1 before the command this may be several times faster"
            )

    def _show(self, line: str, share: float) -> None:
        if self.console.is_terminal:
            self.progress.update(self._bar, description=line, completed=share)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY
            self.console.print(line)

    def close(self) -> None:
        """Take the progress off the screen."""
        self._timer.cancel()
        if self.console.is_terminal:
            self.progress.stop()
