"""Bowline and the upstreams behind it, as processes on free ports, ended by pid whatever happens."""

import contextlib
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent

CONFIG = """\
listeners:
  - address: 127.0.0.1:{port}
    http2: prior_knowledge
  - address: 127.0.0.1:{secure}
    tls: {{ certificates: [ {{ cert: certs/server.pem, key: certs/server.key }} ] }}
routes:
  - match: {{ path: /echo }}
    upstream: echo
  - match: {{ path: /node }}
    upstream: node
  - match: {{ path: /python }}
    upstream: python
  - match: {{ path: /listed }}
    upstream: echo
    origins: "http://127.0.0.1:{page}"
  - match: {{ path: /shared }}
    upstream: api
    cors:
      origins: "http://127.0.0.1:{page}"
      methods: [ GET, PUT ]
      headers: X-Asked
      expose: X-Told
      credentials: true
  - match: {{ path: /public }}
    upstream: api
    cors: {{ origins: any }}
  - match: {{ path: / }}
    upstream: page
upstreams:
  echo: {{ builtin: echo }}
  page: {{ builtin: page }}
  node: {{ endpoints: [ "127.0.0.1:{node}" ] }}
  python: {{ endpoints: [ "127.0.0.1:{python}" ] }}
  api: {{ endpoints: [ "127.0.0.1:{api}" ] }}
admin: {{ address: 127.0.0.1:{admin} }}
{more}
"""


# Two Bowlines of one operator in front of one socket.io cluster.
SOCKETIO_CONFIG = """\
listeners:
  - address: 127.0.0.1:{port}
routes:
  - upstream: socketio
upstreams:
  socketio:
    endpoints: [ {nodes} ]
    balance: round_robin
    sticky: engineio
secret: 0123456789abcdef0123456789abcdef
admin: {{ address: 127.0.0.1:{admin} }}
"""


# SIGTERM unwinds like an error does: what was started is ended, what was written to /tmp is removed.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Bowline:
    """A running Bowline: `port` for clients, `admin` for /metrics, `log` where it writes.

    `secure` is a port of TLS for localhost, with a certificate of `authority`; both are of `bowline` only.
    `page` is a port whose pages it lets in, `api` that of an upstream; a client may serve on them.
    """

    def __init__(self, process, port, admin, log, page, api):
        self.process, self.port, self.admin, self.log = process, port, admin, log
        self.page, self.api = page, api

    def stop(self):
        """Ask it to end as an operator would; the exit status, or None when it had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            return None


def free_ports(count):
    """Ports that nobody listens on now: all are held at once, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def upstream(command):
    """Starts an upstream that prints its port; yields the port."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[-1]} ended with {process.wait()} before it listened")
        yield int(line)
    finally:
        ended(process)


def node_upstream():
    return upstream(["node", str(HERE / "echo_upstream.mjs")])


def socketio_node():
    return upstream(["node", str(HERE / "socketio_upstream.mjs")])


def python_upstream():
    return upstream([sys.executable, str(HERE / "echo_upstream.py")])


@contextlib.contextmanager
def bowline(binary, folder, node, python, more=""):
    """Starts `binary` with a configuration in `folder` that routes to the two upstreams' ports; `more` is further YAML."""
    port, secure, admin, page, api = free_ports(5)
    text = CONFIG.format(
        port=port, secure=secure, admin=admin, node=node, python=python, page=page, api=api, more=more
    )
    certs = folder / "certs"
    if not certs.exists():
        subprocess.run([binary, "cert", "--out", str(certs)], check=True, stdout=subprocess.DEVNULL)
    with running(binary, folder, text, port, admin, page, api) as started:
        started.secure, started.authority = secure, certs / "ca.pem"
        yield started


@contextlib.contextmanager
def bowline_for_socketio(binary, folder, nodes):
    """Starts `binary` in front of the socket.io nodes on these ports."""
    port, admin = free_ports(2)
    nodes = ", ".join(f'"127.0.0.1:{node}"' for node in nodes)
    with running(binary, folder, SOCKETIO_CONFIG.format(port=port, admin=admin, nodes=nodes), port, admin) as started:
        yield started


@contextlib.contextmanager
def running(binary, folder, text, port, admin, page=None, api=None):
    """Starts `binary` with the configuration `text`, which says `port` and `admin`."""
    folder.mkdir(exist_ok=True)
    config = folder / "config.yaml"
    config.write_text(text)
    log = folder / "bowline.log"
    with log.open("w") as out:
        process = subprocess.Popen([binary, "run", "--config", str(config)], stdout=out, stderr=out)
        try:
            wait_ready(process, admin, log)
            yield Bowline(process, port, admin, log, page, api)
        finally:
            ended(process)


def wait_ready(process, admin, log):
    """Until /readyz says yes: the state is asked for, not guessed by a pause."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"bowline ended with {process.returncode}:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise RuntimeError(f"bowline was not ready in 20 s:\n{log.read_text()}")


def ended(process):
    """Kills a process that is still there, and collects it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()
