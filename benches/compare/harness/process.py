"""Processes started here: pinned, measured, and ended by their own ids whatever happens.

Nothing in this file ends a process that it did not start.
"""

import os
import signal
import subprocess
import time
from pathlib import Path


# Ahead of ordinary work, behind what the kernel itself must do.
PRIORITY = -15


class Failed(Exception):
    """One scene, or one proxy, did not do what it should; the run goes on without it."""


class Process:
    """A child in a process group of its own, pinned to one core."""

    def __init__(self, argv, core, log, stdin=None, stdout=None, env=None):
        self.argv = ["taskset", "-c", str(core), *map(str, argv)]
        self.log = Path(log)
        with open(self.log, "ab") as errors:
            self.child = subprocess.Popen(
                self.argv,
                stdin=stdin or subprocess.DEVNULL,
                stdout=stdout or errors,
                stderr=errors,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                text=True,
            )
        self.pid = self.child.pid
        self.raised = self._raise_priority()

    def _raise_priority(self):
        """Lets the run go before whatever else the machine does; needs root, and says if it got it.

        With autogroups, which are one a session, a nice value counts inside the session only.
        """
        try:
            os.setpriority(os.PRIO_PGRP, self.pid, PRIORITY)
            autogroup = Path(f"/proc/{self.pid}/autogroup")
            if autogroup.exists():
                autogroup.write_text(str(PRIORITY))
        except OSError:
            return False
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def gone(self):
        """Whether the child itself has ended; it is not reaped, so its id stays its own."""
        if self.child.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self, patience=3.0):
        """TERM to the child, then KILL to what is left of its group."""
        if self.child.returncode is not None:
            return
        if not self.gone():
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while not self.gone() and time.monotonic() < deadline:
            time.sleep(0.02)
        # The child is not reaped yet, so the group's id cannot have become another's.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        for stream in (self.child.stdin, self.child.stdout):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass

    def tail(self):
        """The last words of the process, on one line."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:])

    def tree(self):
        """The ids of the child and of all that it started."""
        pids = [self.pid]
        for pid in pids:
            for task in _tasks(pid):
                try:
                    children = Path(f"/proc/{pid}/task/{task}/children").read_text()
                except OSError:
                    continue
                pids.extend(int(child) for child in children.split())
        return pids

    def cpu(self):
        """CPU time of the whole tree so far, in nanoseconds.

        From each process's CPU clock: the same sum as utime + stime in /proc/PID/stat, threads
        that have ended included, without its rounding to hundredths of a second.
        """
        return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in self.tree())

    def ticks(self):
        """The same from /proc/PID/stat, in nanoseconds: coarse, and kept as a check."""
        total = 0
        for pid in self.tree():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total * 1_000_000_000 // os.sysconf("SC_CLK_TCK")

    def memory(self):
        """User memory of the whole tree now, in bytes, from /proc/PID/smaps_rollup."""
        total = {"pss": 0, "rss": 0, "private": 0}
        for pid in self.tree():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
                name, size = line.split()[:2]
                if name in ("Pss:", "Rss:"):
                    total[name[:-1].lower()] += int(size) * 1024
                elif name in ("Private_Clean:", "Private_Dirty:"):
                    total["private"] += int(size) * 1024
        return total


def busy(core):
    """Time that a core has not been idle so far, in nanoseconds, whoever used it."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            ticks = [int(field) for field in line.split()[1:9]]
            # idle and iowait; guest time is already in user time.
            return (sum(ticks) - ticks[3] - ticks[4]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    raise Failed(f"there is no core {core}")


def _tasks(pid):
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
