"""The Autobahn fuzzing client against an upstream, directly and through Bowline: equal verdicts, case by case.

    compare.py BINARY WSTEST [--full]

A proxy that only carries bytes is neither stricter nor laxer than what is behind it, so a difference in either
direction is a failure, even where the verdict through Bowline would be the better one. The upstream is
../echo_upstream.mjs (Node `ws`, permessage-deflate on). A third way is through Bowline with everything that reaches it
dribbled (dribble.py), while it pings both sides every 50 ms. Last line: `N passed, N failed`.
"""

import contextlib
import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import dribble  # noqa: E402
import proxy  # noqa: E402  (it is one folder up)

# Framing, pings, reserved bits, opcodes, fragments, UTF-8, closes, limits (up to 16 MiB) and auto-fragmenting: all.
# Compression (12 and 13) has 216 cases of a thousand messages each, ten seconds apiece in Python 2: of each of its
# twelve groups the small, a middling and an auto-fragmented size. --full runs every one. These, and never more, are
# dribbled too: of a connection's bytes the first 32 KiB each way (dribble.MOST), which is all of most cases.
USUAL = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)]
USUAL += [f"12.{group}.{size}" for group in range(1, 6) for size in (1, 3, 6, 11)]
USUAL += [f"13.{group}.{size}" for group in range(1, 8) for size in (1, 3, 6)]

# The client keeps quiet for two seconds in the middle of a frame (6.4.3), and must not count as gone.
PINGED = "websocket: { heartbeat: { interval: 50ms, timeout: 10s } }"

# Its own report says how a case ended and how the sockets were closed; both must be the same.
VERDICTS = ("behavior", "behaviorClose", "remoteCloseCode")


def main(binary, wstest, full):
    keep = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "../../../target")).resolve() / "clients"
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bowline-autobahn-")))
        upstream = stack.enter_context(proxy.node_upstream())
        usual = as_it_is(binary, wstest, full, folder, upstream, keep)
        dribbled, silent = dribbled_and_pinged(binary, wstest, folder, upstream, keep)
    direct = usual["direct"]
    passed, failed = compare(direct, usual["bowline"], "through Bowline", keep / "autobahn")
    among = {case: verdict for case, verdict in direct.items() if any(fnmatch.fnmatch(case, one) for one in USUAL)}
    more = compare(among, dribbled, "dribbled through Bowline", keep / "autobahn-dribbled")
    for side in silent:
        print(f"  FAILED the {side} was pinged and answered: it was not")
    passed, failed = passed + more[0], failed + more[1] + len(silent)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def as_it_is(binary, wstest, full, folder, upstream, keep):
    """The verdicts directly and through Bowline."""
    with proxy.bowline(binary, folder, upstream, upstream) as bowline:
        servers = {"direct": upstream, "bowline": bowline.port}
        return run([wstest], folder, servers, ["*"] if full else USUAL, keep / "autobahn")


def dribbled_and_pinged(binary, wstest, folder, upstream, keep):
    """The verdicts of the third way, and which sides have never answered a ping of Bowline."""
    client = [str(pathlib.Path(wstest).with_name("python")), str(HERE / "pinged.py")]
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(dribble.behind(upstream))
        bowline = stack.enter_context(proxy.bowline(binary, folder, slow, slow, PINGED))
        port = stack.enter_context(dribble.before(bowline.port))
        verdicts = run(client, folder, {"dribbled": port}, USUAL, keep / "autobahn-dribbled")
        pings = {side: answered(bowline.admin, side) for side in ("client", "upstream")}
    print("  pings that were answered: " + ", ".join(f"{count} by the {side}" for side, count in pings.items()))
    return verdicts["dribbled"], [side for side, count in pings.items() if count == 0]


def answered(admin, side):
    """How many pings of Bowline a side has answered, on all routes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    counts = [line for line in lines if line.startswith("bowline_tunnel_ping_seconds_count{") and f'side="{side}"' in line]
    return sum(int(float(line.split()[-1])) for line in counts)


def run(client, folder, servers, cases, reports):
    """The fuzzing client to its end, with a line now and then: it says nothing for minutes otherwise."""
    reports.mkdir(parents=True, exist_ok=True)
    spec, log = folder / "fuzzingclient.json", reports.with_suffix(".log")
    spec.write_text(json.dumps({
        "outdir": str(reports),
        "servers": [{"agent": agent, "url": f"ws://127.0.0.1:{port}/node"} for agent, port in servers.items()],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }))
    command = [*client, "--mode", "fuzzingclient", "--webport", "0", "--spec", str(spec)]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        group = None
        try:
            for line in process.stdout:
                out.write(line)
                if line.startswith("Running test case ID "):
                    words = line.split()
                    now = (words[7], words[4].split(".")[0])
                    if now != group:
                        group = now
                        print(f"  {now[0]}: cases {now[1]}.*", flush=True)
            status = process.wait()
        finally:
            proxy.ended(process)
    if status != 0:
        sys.exit(f"the fuzzing client ended with {status}; its output is in {log}")
    return json.loads((reports / "index.json").read_text())


def compare(direct, through, way, reports):
    """One check a case: how many passed and failed. A case that ran on one side only is a failure too."""
    passed = failed = 0
    seen = {}
    for case in sorted(direct.keys() | through.keys(), key=lambda name: [int(part) for part in name.split(".")]):
        one, other = (side.get(case) for side in (direct, through))
        differing = [
            f"{verdict} {one[verdict]} directly, {other[verdict]} {way}"
            for verdict in VERDICTS
            if one and other and one[verdict] != other[verdict]
        ]
        if not one or not other:
            differing.append(f"it ran only {'directly' if one else way}")
        if differing:
            failed += 1
            print(f"  FAILED case {case}: {'; '.join(differing)}")
        else:
            passed += 1
            seen[one["behavior"]] = seen.get(one["behavior"], 0) + 1
    print(f"  verdicts, the same directly and {way}: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(seen.items())))
    print(f"  case by case: {reports / 'index.html'}")
    if passed == 0:
        failed += 1
        print("  FAILED the fuzzing client ran a case: it ran none")
    return passed, failed


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--full"]
    if len(arguments) != 2:
        sys.exit("usage: compare.py BINARY WSTEST [--full]")
    sys.exit(main(arguments[0], arguments[1], "--full" in sys.argv))
