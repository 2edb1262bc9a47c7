"""The scenes: one piece of work given to one proxy, and what it cost the proxy."""

import json
import select
import subprocess
import tempfile
import time
from pathlib import Path

from .peers import TARGET
from .process import Failed, Process, busy

PROXY_CORE, LOAD_CORE = 0, 1
LOAD = TARGET / "release" / "load"
# What memory settles in: allocators return pages late, and Go's collector runs every so often.
SETTLE = 2.0


class Scene:
    """A scene's name, its column, and the figure taken from one round.

    `seconds` is how long it takes whatever was asked for; `only` are the proxies that have what it measures.
    """

    def __init__(self, name, column, unit, options, figure, *, seconds=None, only=None, digits=1):
        self.name, self.column, self.unit, self.options, self.figure = name, column, unit, options, figure
        self.seconds, self.only, self.digits = seconds, only, digits

    def is_for(self, peer):
        return self.only is None or peer.name in self.only


def _cpu_each(raw):
    return raw["proxy_cpu_ns"] / raw["count"] / 1000


def _memory_each(raw):
    return (raw["memory_after"]["pss"] - raw["memory_before"]["pss"]) / raw["sockets"] / 1024


def _share(raw):
    """The proxy's share of a core, in hundredths; every socket must have been pinged twice meanwhile."""
    if raw["count"] < 2 * raw["sockets"]:
        raise Failed(f"{raw['count']} pings came to {raw['sockets']} sockets in {raw['seconds']:.0f} s")
    return 100 * raw["proxy_busy"]


SCENES = [
    Scene("echo", "64 B echo", "µs", ["--sockets", 64, "--bytes", 64], _cpu_each),
    Scene("bulk", "64 KiB echo", "µs", ["--sockets", 8, "--bytes", 65536], _cpu_each),
    Scene("handshake", "handshake", "µs", ["--sockets", 32], _cpu_each),
    Scene("get", "GET", "µs", ["--sockets", 64], _cpu_each),
    Scene("idle", "idle socket", "KiB", ["--sockets", 8000, "--bytes", 64], _memory_each),
    # Two intervals of 30 s and a little.
    Scene("heartbeat", "5,000 idle sockets pinged", "% of a core", ["--sockets", 5000, "--bytes", 64], _share,
          seconds=65.0, only=["bowline"], digits=2),
]


def play(scene, peer, seconds, warmup):
    """One round of one scene on a fresh proxy and a fresh backend; raises Failed.

    Fresh, so that no scene pays for, or lives off, the memory of the one before.
    """
    seconds = scene.seconds or seconds
    with tempfile.TemporaryDirectory(prefix="bowline-compare-") as name:
        folder = Path(name)
        # nginx's worker is another user and must pass through.
        folder.chmod(0o755)
        with Process([LOAD, "backend"], LOAD_CORE, folder / "backend.log", stdout=subprocess.PIPE) as backend:
            address = _line(backend, 10, "the backend")
            port = address.rpartition(":")[2]
            proxy, proxy_port = peer.start(PROXY_CORE, port, folder / "proxy")
            with proxy:
                try:
                    raw = _ask(scene, proxy, proxy_port, backend, seconds, warmup, folder)
                except Failed as failed:
                    words = [f"{failed}"]
                    if proxy.gone():
                        words.append(f"{peer.title} had ended")
                    for label, process in ((peer.title, proxy), ("backend", backend)):
                        if process.tail():
                            words.append(f"{label} said: {process.tail()}")
                    raise Failed("; ".join(words)) from None
    raw["figure"] = scene.figure(raw)
    return raw


def _ask(scene, proxy, port, backend, seconds, warmup, folder):
    if scene.name == "idle":
        time.sleep(SETTLE)
    before = proxy.memory()
    argv = [LOAD, scene.name, "--address", f"127.0.0.1:{port}", *scene.options, "--seconds", seconds, "--warmup", warmup]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with Process(argv, LOAD_CORE, folder / "load.log", **pipes) as load:
        word = _line(load, 90 + warmup, "the load")
        if word != "ready":
            _refuse(word)
        if scene.name == "idle":
            time.sleep(SETTLE)
        after = proxy.memory()

        before_work = _clocks(proxy, load, backend)
        load.child.stdin.write("go\n")
        load.child.stdin.flush()
        word = _line(load, 60 + seconds, "the load")
        spent = {name: value - before_work[name] for name, value in _clocks(proxy, load, backend).items()}

        raw = json.loads(word)
        if raw["errors"] or not raw["count"]:
            _refuse(word)
        load.child.stdin.close()
        load.child.wait(timeout=30)
    raw.update(
        spent,
        memory_before=before, memory_after=after, priority=proxy.raised,
        proxy_busy=spent["proxy_cpu_ns"] / spent["wall_ns"],
        load_busy=spent["load_cpu_ns"] / spent["wall_ns"],
        # What neither the proxy nor the load used of the two cores, as a share of one core.
        foreign=max(0, spent["cores_ns"] - spent["proxy_cpu_ns"] - spent["load_cpu_ns"]) / spent["wall_ns"],
    )
    return raw


def _clocks(proxy, load, backend):
    return {
        "proxy_cpu_ns": proxy.cpu(),
        "proxy_stat_ns": proxy.ticks(),
        "load_cpu_ns": load.cpu() + backend.cpu(),
        "cores_ns": busy(PROXY_CORE) + busy(LOAD_CORE),
        "wall_ns": time.monotonic_ns(),
    }


def _refuse(word):
    try:
        raw = json.loads(word)
    except ValueError:
        raise Failed(f"the load said {word!r}") from None
    raise Failed(f"{raw['errors']} errors in {raw['count']} answers: {', '.join(raw['why']) or 'no answer at all'}")


def _line(process, patience, who):
    """The next line a process prints, within a time."""
    stream = process.child.stdout
    ready, _, _ = select.select([stream], [], [], patience)
    if not ready:
        raise Failed(f"{who} said nothing for {patience:.0f} s")
    line = stream.readline().strip()
    if not line:
        raise Failed(f"{who} ended: {process.tail()}")
    return line
