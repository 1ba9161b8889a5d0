"""What a script in Python uses: one line a check, the gate's metrics, and an administrator's edit of a policy file."""

import contextlib
import json
import os
import re
import sys
import time
import traceback
import urllib.request
from pathlib import Path

# For a reload, which takes milliseconds.
DEADLINE_S = 15
LOOK_S = 0.01


class Checks:
    def __init__(self, sdk: str):
        world = json.loads(os.environ["SCOPEGATE_WORLD"])
        self.sdk = sdk
        self.gates, self.unready, self.keys = world["gates"], world["unready"], world["keys"]
        self.origin, self.secret, self.never = world["origin"], world["secret"], world["never"]
        self.issuer = world["issuer"]
        self._health, self._unready_health = world["health"], world["unready_health"]
        self._policy, self._vendor = Path(world["policy"]), world["vendor"]
        self._failed = 0

    @contextlib.contextmanager
    def check(self, fact: str):
        """One fact. Whatever is raised inside is its failure, and the next is checked all the same."""
        try:
            yield
        except Exception:
            self._failed += 1
            print(f"FAILED  {self.sdk}: {fact}", flush=True)
            print(f"{fact}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        else:
            print(f"ok      {self.sdk}: {fact}", flush=True)

    def end(self):
        print("done", flush=True)
        sys.exit(1 if self._failed else 0)

    def seen(self) -> list[dict]:
        """Every request that the vendor's host saw, but for the gate's own questions."""
        return json.loads(_ask(f"{self._vendor}/requests"))

    def questions(self) -> list[dict]:
        """What the gate itself asked the vendor's host."""
        return json.loads(_ask(f"{self._vendor}/questions"))

    def through_the_gate(self, before: int) -> int:
        """How many requests the vendor's host saw since; each of them passed the gate."""
        seen = self.seen()[before:]
        equal({each["headers"].get("via") for each in seen}, {"1.1 scopegate"})
        return len(seen)

    @contextlib.contextmanager
    def unseen(self):
        """The vendor's host sees nothing of what happens inside."""
        before = len(self.seen())
        yield
        more = [f"{each['method']} {each['target']}" for each in self.seen()[before:]]
        assert not more, f"the vendor's host saw {more}"

    @contextlib.contextmanager
    def away(self):
        """The vendor's host is not there."""
        _ask(f"{self._vendor}/stop", "POST")
        try:
            yield
        finally:
            _ask(f"{self._vendor}/start", "POST")

    @contextlib.contextmanager
    def asked(self, times: int, unready: bool = False):
        """The gate gets exactly so many requests inside: the SDK tries again no more often than this."""
        health = self._unready_health if unready else self._health
        before = _requests(health)
        yield
        # A request is counted when its answer has been written, which the SDK may see a moment before.
        self._until(f"the gate counts {times} requests", lambda: _requests(health) - before >= times)
        came = _requests(health) - before
        assert came == times, f"the gate got {came} requests"

    @contextlib.contextmanager
    def revoked(self, reason: str):
        """An administrator takes the `#` away before the revocation with this reason, and puts it back at the end.

        Inside, the gate has it in force: its metrics no longer name the digest of the policy before.
        """
        text = self._policy.read_text()
        edited = re.sub(rf"^( *)#(.*reason: {reason}\}}.*)$", r"\1\2", text, flags=re.MULTILINE)
        assert edited != text, f"no revocation with {reason}"
        before = self._digests()
        self._write(edited)
        self._until("the edit is in force", lambda: before.isdisjoint(self._digests()))
        try:
            yield
        finally:
            self._write(text)
            self._until("the edit is taken back", lambda: self._digests() == before)

    def given_back(self, call):
        """What gives waits until the folder has settled: `call` until it is not refused."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return call()
            except Exception:
                if time.monotonic() > deadline:
                    raise
            time.sleep(LOOK_S)

    def _write(self, text: str):
        """Whole and at once, as an editor does it: written beside the folder and renamed over."""
        written = self._policy.parent.with_name("written")
        written.write_text(text)
        written.rename(self._policy)

    def _digests(self) -> set[str]:
        """Of the policy in force; for a moment, of two."""
        found = re.findall(r'^scopegate_snapshot_info\{digest="(\w+)"\} 1$', _metrics(self._health), re.MULTILINE)
        assert found, "no digest of the policy in force"
        return set(found)

    def _until(self, what: str, done):
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < deadline, f"waited {DEADLINE_S} s until {what}"
            time.sleep(LOOK_S)


def raised(kind, call, *arguments, **named):
    """The error of this kind that a call ends with."""
    try:
        answer = call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}, but {answer!r}")


def told_by(error, status: int) -> dict:
    """What the gate tells by an answer with this status that requests made an error of; the error says it too."""
    equal(error.response.status_code, status)
    told = error.response.json()["scopegate"]
    holds(str(error), told["decision"], *told.get("needed", []), *(told[each] for each in ["contact"] if each in told))
    return told | {"text": str(error)}


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def holds(text: str, *words: str):
    for word in words:
        assert word in text, f"no {word!r} in {text!r}"


def _requests(health: str) -> float:
    counts = re.findall(r"^scopegate_requests_total\{[^}]*\} (\S+)$", _metrics(health), re.MULTILINE)
    return sum(float(count) for count in counts)


def _metrics(health: str) -> str:
    return _ask(f"{health}/metrics")


def _ask(url: str, method: str = "GET") -> str:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=DEADLINE_S) as answer:
        return answer.read().decode()
