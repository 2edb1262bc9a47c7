"""What a run says: one Markdown table, and the raw figures beside it."""

import datetime
import json
import os
import platform
import statistics
import subprocess
from pathlib import Path

from .peers import HERE, ROOT
from .scenes import SCENES

RUNS = HERE.parent / "runs"

# What Bowline has promised: the scene, against whom (None: the best peer), and the ratio.
MARKS = {
    "echo": ("nginx", 1.0),
    "bulk": (None, 1.0),
    "handshake": ("nginx", 1.0),
    "get": (None, 1.0),
    "idle": ("haproxy", 0.5),
}
# And of itself alone: the scene, and the figure.
BOUNDS = {"heartbeat": 1.0}


def machine():
    """Date, commit, machine."""
    words = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        words.setdefault(key.strip(), value.strip())
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpu": f"{words.get('model name', platform.machine())} (family {words.get('cpu family')}, model {words.get('model')})",
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
    }


def commit():
    """The short name of the commit, `-dirty` when files differ from it, or `uncommitted`."""
    def git(*words):
        done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    name = git("rev-parse", "--short=10", "HEAD")
    if not name:
        return "uncommitted"
    # Tables of earlier runs do not change what is measured.
    return f"{name}-dirty" if git("status", "--porcelain", "--", ".", ":!benches/runs") else name


class Report:
    """Figures as they come in: `rounds[peer][scene]` is a list of raw results."""

    def __init__(self, peers, scenes, settings):
        self.peers, self.scenes = peers, scenes
        self.about = {**machine(), **settings}
        self.versions, self.absent, self.failed, self.configs = {}, {}, {}, {}
        self.rounds = {peer.name: {scene.name: [] for scene in scenes} for peer in peers}

    def add(self, peer, scene, raw):
        self.rounds[peer.name][scene.name].append(raw)

    def fail(self, peer, scene, why):
        self.failed.setdefault(peer.name, {}).setdefault(scene.name, []).append(why)

    def figure(self, peer, scene):
        """The median over the rounds; None when there is none or any round failed."""
        if scene in self.failed.get(peer, {}):
            return None
        figures = [raw["figure"] for raw in self.rounds.get(peer, {}).get(scene, [])]
        return statistics.median(figures) if figures else None

    def table(self):
        lines = [
            "| | " + " | ".join(f"{scene.column}, {scene.unit}" for scene in self.scenes) + " |",
            "|---|" + "---:|" * len(self.scenes),
        ]
        for peer in self.peers:
            cells = [self._cell(peer.name, scene) for scene in self.scenes]
            lines.append(self._row(f"{peer.title} {self.versions.get(peer.name, '')}".strip(), cells))
        if "bowline" in self.rounds and "bowline" not in self.absent:
            others = [peer for peer in self.peers if peer.name != "bowline" and peer.name not in self.absent]
            for peer in others:
                ratios = [self._ratio(scene.name, peer.name) for scene in self.scenes]
                lines.append(self._row(f"Bowline / {peer.title}", [f"{r:.2f}" if r else "" for r in ratios]))
            if others or any(scene.name in BOUNDS for scene in self.scenes):
                lines.append(self._row("Mark", [self._mark(scene.name) for scene in self.scenes]))
        return "\n".join(lines)

    @staticmethod
    def _row(head, cells):
        return f"| {head} | " + " | ".join(cells) + " |"

    def _cell(self, peer, scene):
        if peer in self.absent:
            return "absent"
        if scene.name in self.failed.get(peer, {}):
            return "**failed**"
        figures = [raw["figure"] for raw in self.rounds[peer][scene.name]]
        if not figures:
            return ""
        low, middle, high = (f"{of(figures):.{scene.digits}f}" for of in (min, statistics.median, max))
        return f"{middle} ({low}–{high})" if len(figures) > 1 else middle

    def _ratio(self, scene, peer):
        own, other = self.figure("bowline", scene), self.figure(peer, scene)
        return own / other if own is not None and other else None

    def _mark(self, scene):
        if scene in BOUNDS:
            figure, bound = self.figure("bowline", scene), BOUNDS[scene]
            if figure is None:
                return "not measured"
            return f"≤ {bound:.2f}: {'met' if figure <= bound else f'missed at {figure:.2f}'}"
        peer, bound = MARKS[scene]
        if peer:
            ratio, whom = self._ratio(scene, peer), next((p.title for p in self.peers if p.name == peer), peer)
        else:
            peers = [p.name for p in self.peers if not p.name.startswith("bowline")]
            ratios = [self._ratio(scene, name) for name in peers]
            ratio, whom = max((r for r in ratios if r), default=None), "best peer"
        if ratio is None:
            return "not measured"
        verdict = "met" if ratio <= bound else f"missed at {ratio:.2f}"
        return f"≤ {bound:.2f} × {whom}: {verdict}"

    def notes(self):
        """One line for each row or cell that has no figure."""
        lines = [f"- {name}: absent: {why}" for name, why in self.absent.items()]
        for name, scenes in self.failed.items():
            lines += [f"- {name}, {scene}: {why}" for scene, whys in scenes.items() for why in whys[:1]]
        return "\n".join(lines)

    def markdown(self):
        about = self.about
        parts = [
            f"# Side by side, {about['date'][:10]}, {about['commit']}",
            self.table(),
            self.notes(),
            f"CPU per message, handshake or request of the proxy alone, and its memory per idle socket: median of "
            f"{about['rounds']} interleaved round(s) (lowest–highest), {about['seconds']:g} s each. "
            f"What each column means: [benches/README.md](../README.md).",
            f"- Date: {about['date']}\n- Commit: {about['commit']}\n- Machine: {about['cpu']}, {about['cores']} cores\n"
            f"- Kernel: {about['kernel']}\n- Command: `{about['command']}`\n"
            f"- {self.disturbance()}",
        ]
        for peer in self.peers:
            if peer.name in self.configs:
                config = self.configs[peer.name]
                parts.append(
                    f"<details><summary>{peer.title}: {config['name']}</summary>\n\n"
                    f"`{config['command']}`\n\n```\n{config['text'].rstrip()}\n```\n</details>"
                )
        return "\n\n".join(part for part in parts if part) + "\n"

    def disturbance(self):
        """How much else the machine did meanwhile: the first thing to look at in a strange figure."""
        rounds = [raw for scenes in self.rounds.values() for raws in scenes.values() for raw in raws]
        shares = [raw["foreign"] for raw in rounds] or [0]
        raised = "raised priority" if all(raw["priority"] for raw in rounds) else "ordinary priority (root could raise it)"
        return (
            f"Proxies and load ran at {raised}; other work and the kernel's own took "
            f"{statistics.median(shares):.0%} of one core (median; at most {max(shares):.0%})"
        )

    def raw(self):
        return {
            **self.about,
            "versions": self.versions,
            "absent": self.absent,
            "failed": self.failed,
            "median": {
                peer.name: {scene.name: self.figure(peer.name, scene.name) for scene in self.scenes}
                for peer in self.peers
            },
            "units": {scene.name: scene.unit for scene in self.scenes},
            "results": self.rounds,
            "configs": self.configs,
        }

    def write(self):
        """Writes DATE-COMMIT.md and .json, never over an older pair; returns the first's path."""
        RUNS.mkdir(exist_ok=True)
        stem = f"{self.about['date'][:10]}-{self.about['commit']}"
        name, count = stem, 1
        while (RUNS / f"{name}.md").exists():
            count += 1
            name = f"{stem}-{count}"
        (RUNS / f"{name}.md").write_text(self.markdown())
        (RUNS / f"{name}.json").write_text(json.dumps(self.raw(), indent=1, ensure_ascii=False) + "\n")
        return RUNS / f"{name}.md"


def complete(scenes):
    """Whether a run had every scene, so that its table may stand among the others."""
    return len(scenes) == len(SCENES)
