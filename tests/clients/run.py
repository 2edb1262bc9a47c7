"""Runs the real clients against a Bowline binary: `run.py BINARY [CLIENT...]`, clients python, node, http2, browser, browser_http2,
socketio and origins.

Each client prints `ok NAME` or `FAILED NAME: why` per check; the last line here is `N passed, N failed`.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

import proxy

CLIENTS = {
    "python": [sys.executable, "-W", "error::DeprecationWarning", "python_client.py"],
    "node": ["node", "node_client.mjs"],
    "http2": ["node", "http2_client.mjs"],
    "browser": ["node", "browser_client.mjs"],
    "browser_http2": ["node", "browser_http2_client.mjs"],
    "socketio": ["node", "socketio_client.mjs"],
    "origins": ["node", "origins_client.mjs"],
}
SECONDS = 180


class Tally:
    """Checks that passed and failed so far."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, holds, why=""):
        if holds:
            self.passed += 1
            print(f"  ok {name}", flush=True)
        else:
            self.failed += 1
            print(f"  FAILED {name}: {why}", flush=True)


def run_client(name, environment, tally):
    """One client to its end; a client that dies or hangs is itself a failure."""
    print(f"{name}:", flush=True)
    process = subprocess.Popen(CLIENTS[name], cwd=proxy.HERE, env=environment, stdout=subprocess.PIPE, text=True)
    hung = threading.Event()

    def kill():
        hung.set()
        process.kill()

    timer = threading.Timer(SECONDS, kill)
    timer.start()
    failed_before = tally.failed
    ran = 0
    try:
        for line in process.stdout:
            ran += bool(re.match(r"(ok|FAILED) ", line))
            tally.passed += line.startswith("ok ")
            tally.failed += line.startswith("FAILED ")
            print(f"  {line}", end="", flush=True)
        status = process.wait()
    finally:
        timer.cancel()
        proxy.ended(process)
    if hung.is_set():
        tally.check(f"{name} ends", False, f"still running after {SECONDS} s")
    elif status != 0 and tally.failed == failed_before:
        tally.check(f"{name} ends", False, f"exit status {status}")
    elif ran == 0:
        tally.check(f"{name} checks something", False, "it printed no check")


def ends_well(bowline, keep, tally):
    """Asks Bowline to end; what it logged is kept."""
    print("bowline:")
    status = bowline.stop()
    log = bowline.log.read_text()
    tally.check("ends with status 0 on SIGTERM", status == 0, f"status {status}")
    tally.check("never panicked", "panicked" not in log, "see its log")
    keep.write_text(log)
    if tally.failed:
        print(f"the end of Bowline's log, the whole of it in {keep}:")
        print("\n".join(log.splitlines()[-40:]))


def main(binary, chosen):
    tally = Tally()
    keep = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", proxy.HERE / "../../target")) / "clients"
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bowline-clients-") as folder:
        folder = pathlib.Path(folder)
        with proxy.node_upstream() as node, proxy.python_upstream() as python:
            with proxy.bowline(binary, folder, node, python) as bowline:
                ports = {"BOWLINE": bowline.port, "SECURE": bowline.secure, "ADMIN": bowline.admin, "PAGE": bowline.page, "API": bowline.api}
                environment = dict(os.environ, SCREENSHOTS=str(keep.resolve()), AUTHORITY=str(bowline.authority))
                environment.update({f"{name}_PORT": str(port) for name, port in ports.items()})
                for name in chosen:
                    if name != "socketio":
                        run_client(name, environment, tally)
                ends_well(bowline, keep / "bowline.log", tally)
        if "socketio" in chosen:
            with contextlib.ExitStack() as stack:
                nodes = [stack.enter_context(proxy.socketio_node()) for _ in range(2)]
                starting = [proxy.bowline_for_socketio(binary, folder / side, nodes) for side in ("left", "right")]
                bowlines = [stack.enter_context(each) for each in starting]
                ports = ",".join(str(each.port) for each in bowlines)
                run_client("socketio", dict(os.environ, SOCKETIO_PORTS=ports), tally)
                for side, each in zip(("left", "right"), bowlines):
                    ends_well(each, keep / f"bowline-socketio-{side}.log", tally)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2 or set(sys.argv[2:]) - set(CLIENTS):
        sys.exit(f"usage: run.py BINARY [{' '.join(CLIENTS)}]")
    sys.exit(main(sys.argv[1], sys.argv[2:] or list(CLIENTS)))
