"""A running `scopegate serve` in a folder of its own, before a vendor's host."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from string import Template

import processes

HERE = Path(__file__).parent
# A debug build on a busy machine; most of the time it is well below a second.
DEADLINE_S = 30
LOOK_S = 0.02
# What gives waits until the folder stayed the same for this long. Short, so that a script does not wait for it.
SETTLE = "100ms"
# As long as is allowed: such a gate has no policy for the length of a script.
NEVER_SETTLED = "60s"


class Failed(Exception):
    """A gate did not do what it must before anything can be checked."""


def mint(program: Path, app: str, tenant: str) -> tuple[str, str]:
    """A gate key and its digest, as an administrator gets them."""
    told = subprocess.run(
        [program, "credential", "new", "--app", app, "--tenant", tenant], capture_output=True, text=True, check=True
    ).stdout
    key = next(line for line in told.splitlines() if line.startswith("sg_"))
    return key, told.split('sha256: "')[1].split('"')[0]


class Gate:
    """Started when made; `ready` waits until it serves by a policy."""

    def __init__(self, program: Path, folder: Path, product: str, settle: str, filled: dict, secrets: dict):
        """`filled`: what stands for the names after dollar signs; `secrets`: files by name."""
        self.policy = folder / "policies" / f"{product}.yaml"
        for name in ("policies", "secrets"):
            (folder / name).mkdir(parents=True)
        for name, secret in secrets.items():
            (folder / "secrets" / name).write_text(secret)
        self.policy.write_text(Template((HERE / "policies" / f"{product}.yaml").read_text()).substitute(filled))
        config = folder / "scopegate.yaml"
        config.write_text(Template((HERE / "config" / f"{product}.yaml").read_text()).substitute(filled, SETTLE=settle))
        self._errors = folder / "errors.log"
        with (folder / "requests.log").open("wb") as requests, self._errors.open("wb") as errors:
            self._process = processes.start([program, "serve", "--config", config], stdout=requests, stderr=errors)
        try:
            self._wait("to listen", lambda: "health listens" in self.told())
        except BaseException:
            self.stop()
            raise
        self.addresses = {line["gate"]: f"http://{line['address']}" for line in self._lines("gate listens")}
        self.health = next(f"http://{line['address']}" for line in self._lines("health listens"))

    def ready(self):
        self._wait("to be ready", lambda: _status(f"{self.health}/readyz") == 200)

    def told(self) -> str:
        return self._errors.read_text()

    def stop(self) -> int:
        return processes.end(self._process)

    def _lines(self, message: str):
        lines = (json.loads(line) for line in self.told().splitlines())
        return [line for line in lines if line["message"] == message]

    def _wait(self, what: str, done):
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            if self._process.poll() is not None:
                raise Failed(f"the gate ended with {self._process.returncode}:\n{self.told()}")
            if time.monotonic() > deadline:
                raise Failed(f"the gate had {DEADLINE_S} s {what}:\n{self.told()}")
            time.sleep(LOOK_S)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
