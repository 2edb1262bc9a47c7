"""The Autobahn fuzzing client against an upstream, directly and through Bowline: equal verdicts, case by case.

    compare.py BINARY WSTEST [--full]

A proxy that only carries bytes is neither stricter nor laxer than what is behind it, so a difference in either
direction is a failure, even where the verdict through Bowline would be the better one. The upstream is
../echo_upstream.mjs (Node `ws`, permessage-deflate on). Last line: `N passed, N failed`.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import proxy  # noqa: E402  (it is one folder up)

# Framing, pings, reserved bits, opcodes, fragments, UTF-8, closes, limits (up to 16 MiB) and auto-fragmenting: all.
# Compression (12 and 13) has 216 cases of a thousand messages each, ten seconds apiece in Python 2: of each of its
# twelve groups the small, a middling and an auto-fragmented size. --full runs every one.
USUAL = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)]
USUAL += [f"12.{group}.{size}" for group in range(1, 6) for size in (1, 3, 6, 11)]
USUAL += [f"13.{group}.{size}" for group in range(1, 8) for size in (1, 3, 6)]

# Its own report says how a case ended and how the sockets were closed; both must be the same.
VERDICTS = ("behavior", "behaviorClose", "remoteCloseCode")


def main(binary, wstest, full):
    keep = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "../../../target")).resolve() / "clients"
    reports = keep / "autobahn"
    reports.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bowline-autobahn-")))
        upstream = stack.enter_context(proxy.node_upstream())
        bowline = stack.enter_context(proxy.bowline(binary, folder, upstream, upstream))
        spec = folder / "fuzzingclient.json"
        spec.write_text(json.dumps({
            "outdir": str(reports),
            "servers": [
                {"agent": "direct", "url": f"ws://127.0.0.1:{upstream}/node"},
                {"agent": "bowline", "url": f"ws://127.0.0.1:{bowline.port}/node"},
            ],
            "cases": ["*"] if full else USUAL,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }))
        run(wstest, spec, keep / "autobahn.log")
    verdicts = json.loads((reports / "index.json").read_text())
    return compare(verdicts["direct"], verdicts["bowline"], reports)


def run(wstest, spec, log):
    """The fuzzing client to its end, with a line now and then: it says nothing for minutes otherwise."""
    command = [wstest, "--mode", "fuzzingclient", "--webport", "0", "--spec", str(spec)]
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


def compare(direct, through, reports):
    """One check a case; a case that ran on one side only is a failure too."""
    passed = failed = 0
    seen = {}
    for case in sorted(direct.keys() | through.keys(), key=lambda name: [int(part) for part in name.split(".")]):
        one, other = (side.get(case) for side in (direct, through))
        differing = [
            f"{verdict} {one[verdict]} directly, {other[verdict]} through Bowline"
            for verdict in VERDICTS
            if one and other and one[verdict] != other[verdict]
        ]
        if not one or not other:
            differing.append(f"it ran only {'directly' if one else 'through Bowline'}")
        if differing:
            failed += 1
            print(f"  FAILED case {case}: {'; '.join(differing)}")
        else:
            passed += 1
            seen[one["behavior"]] = seen.get(one["behavior"], 0) + 1
    print("  verdicts, the same on both ways: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(seen.items())))
    print(f"  case by case: {reports / 'index.html'}")
    if passed == 0:
        failed += 1
        print("  FAILED the fuzzing client ran a case: it ran none")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--full"]
    if len(arguments) != 2:
        sys.exit("usage: compare.py BINARY WSTEST [--full]")
    sys.exit(main(arguments[0], arguments[1], "--full" in sys.argv))
