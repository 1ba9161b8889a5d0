"""Drives each vendor's SDK against a running gate with a made-up product behind it.

One suite is one SDK: a vendor's host that keeps all that it sees, a gate before it with a policy folder, and a script
that uses the SDK as an app would. The script says what it found, a line for each check; afterwards the suite looks at
what the vendor's host saw.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import processes
from gate import NEVER_SETTLED, SETTLE, Gate, mint
from stub.bitbucket import Bitbucket
from stub.confluence import Confluence
from stub.files import Files
from stub.github import GitHub
from stub.jira import Jira
from stub.server import Control, Request, Vendor
from stub.slack import Slack

HERE = Path(__file__).resolve().parent
# The longest script takes about 20 s, most of it waiting as long as the gate's `Retry-After` says.
SCRIPT_MAX_S = 120
# What a script puts into each write that must be refused; it must be in nothing that the vendor's host saw.
NEVER = "must-not-arrive"
PASSED, FAILED, DONE = "ok      ", "FAILED  ", "done"


@dataclass(frozen=True)
class Suite:
    sdk: str
    product: str
    script: str
    # Whether it reaches the hosts for files: of no request at all nothing is shown.
    fetches: bool = True


SUITES = [
    Suite("slack_sdk", "slack", "with_slack_sdk.py"),
    Suite("@slack/web-api", "slack", "with_slack_web_api.mjs"),
    Suite("jira", "jira", "with_jira.py"),
    Suite("atlassian-python-api", "jira", "with_atlassian_python_api.py"),
    Suite("jira.js", "jira", "with_jira_js.mjs"),
    Suite("PyJWT", "jira", "with_pyjwt.py", fetches=False),
    Suite("jose", "jira", "with_jose.mjs", fetches=False),
    Suite("atlassian-python-api:confluence", "confluence", "with_atlassian_python_api_confluence.py"),
    Suite("confluence.js", "confluence", "with_confluence_js.mjs"),
    Suite("atlassian-python-api:bitbucket", "bitbucket", "with_atlassian_python_api_bitbucket.py"),
    Suite("bitbucket", "bitbucket", "with_bitbucket.mjs"),
    Suite("PyGithub", "github", "with_pygithub.py"),
    Suite("@octokit/rest", "github", "with_octokit_rest.mjs"),
]

# The real credentials. Only the gate and the vendor's host know them. One with a colon is shown as Basic.
REAL = {
    "jira": {
        "timetracker": "real-timetracker",
        "reporter": "reporter@example.com:real-reporter",
        "reader": "real-reader",
        "scribe": "real-scribe",
        "scribe_dana": "real-scribe-dana",
        "portal": "real-portal",
    },
    "slack": {"bot": "xoxb-real-bot", "dana": "xoxp-real-dana"},
    "confluence": {
        "docs": "real-docs",
        "editor": "editor@example.com:real-editor",
        "filer": "filer@example.com:real-filer",
        "reader": "real-reader",
    },
    "bitbucket": {
        "builder": "real-builder",
        "porter": "porter@example.com:real-porter",
        "surveyor": "surveyor@example.com:real-surveyor",
        "reader": "real-reader",
    },
    "github": {"builder": "real-builder", "triage": "real-triage", "reader": "real-reader"},
}
# A secret that app and product share. It signs, and is never sent.
SHARED_SECRET = "the shared secret of the installation"
TENANTS = {"jira": "acme", "slack": "T024BE7LD", "confluence": "acme", "bitbucket": "acme", "github": "acme"}
# A host that the product redirects to, and that the built-in catalog lists.
MEDIA_HOSTS = {
    "jira": "api.media.atlassian.com",
    "confluence": "api.media.atlassian.com",
    "bitbucket": "bbuseruploads.s3.amazonaws.com",
}
# Products before which a gate takes the tokens of an identity provider.
WITH_ISSUER = ("jira",)
# Products whose scripts reach a host for files that no catalog lists.
WITH_FILES = ("jira", "slack")


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """Of a host, signed by itself: certificate and key."""
    certificate, key = folder / "media.pem", folder / "media.key"
    asked = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
    added = ["-addext", f"subjectAltName=DNS:{host}", "-addext", "basicConstraints=critical,CA:FALSE"]
    command = ["openssl", "req", "-x509", *asked, *added, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def vendor_of(product: str, files: Vendor, media: Vendor) -> Vendor:
    real = REAL[product]
    basic = [credential for credential in real.values() if ":" in credential]
    bearer = [credential for credential in real.values() if credential not in basic]
    match product:
        case "slack":
            users = {real["bot"]: "U0ASSIST", real["dana"]: "U0DANA"}
            return Vendor(lambda origin: Slack(origin, files.product, users))
        case "jira":
            return Vendor(lambda origin: Jira(origin, (files.product, media.product), bearer, basic, jwt=True))
        case "confluence":
            return Vendor(lambda origin: Confluence(origin, media.product, bearer, basic, jwt=True))
        case "bitbucket":
            return Vendor(lambda origin: Bitbucket(origin, media.product, bearer, basic))
        case "github":
            return Vendor(lambda origin: GitHub(origin, bearer))
    raise ValueError(product)


class Run:
    """A suite that is being run. `lines`: what is to be shown of it."""

    def __init__(self, suite: Suite, program: Path, built: Path):
        self.suite, self.program, self.built = suite, program, built
        self.lines: list[str] = []

    def whole(self) -> "Run":
        folder = Path(tempfile.mkdtemp(prefix="scopegate-clients-"))
        try:
            self._in(folder)
        except Exception as error:  # Whatever it is, it is a failure of this suite and is shown as one.
            self._say(False, "the suite could be run", f"{type(error).__name__}: {error}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self

    def count(self, mark: str) -> int:
        return sum(line.startswith(mark) for line in self.lines)

    def _in(self, folder: Path):
        product = self.suite.product
        files = Vendor(Files)
        # A product without such a host has one that nobody goes to.
        media_host = MEDIA_HOSTS.get(product, "media.invalid")
        listed = certificate(folder, media_host)
        media = Vendor(lambda origin: Files(origin, media_host), tls=listed)
        vendor = vendor_of(product, files, media)
        control = Control(vendor)
        minted = {name: mint(self.program, f"{product}/{name}", TENANTS[product]) for name in REAL[product]}
        keys = {name: key for name, (key, _) in minted.items()}
        filled = {name.upper(): digest for name, (_, digest) in minted.items()}
        filled |= {"ORIGIN": vendor.origin, "MEDIA_HOST": media_host, "MEDIA": f"127.0.0.1:{media.port}"}
        filled["CATALOG"] = str(HERE / "config" / f"{product}.catalog.yaml")
        secrets = REAL[product] | {"shared": SHARED_SECRET, "media.pem": listed[0].read_text()}
        issuer = self._issuer() if product in WITH_ISSUER else {}
        if issuer:
            secrets["jwks.json"] = json.dumps(issuer["published"])
        gates = []
        try:
            for name, settle in (("gate", SETTLE), ("unready", NEVER_SETTLED)):
                gates.append(Gate(self.program, folder / name, product, settle, filled, secrets))
            gate, unready = gates
            gate.ready()
            self._script(
                {
                    "gates": gate.addresses,
                    "health": gate.health,
                    "unready": unready.addresses[product],
                    "unready_health": unready.health,
                    "built": str(self.built),
                    "policy": str(gate.policy),
                    "vendor": control.url,
                    "origin": vendor.origin,
                    "keys": keys,
                    "secret": SHARED_SECRET,
                    "issuer": issuer,
                    "never": NEVER,
                }
            )
            self._look(vendor, list(keys.values()))
            if product in WITH_FILES and self.suite.fetches:
                self._look_at_files(files)
            if product in MEDIA_HOSTS and self.suite.fetches:
                self._look_at_listed(media)
        finally:
            codes = [gate.stop() for gate in gates]
            for host in (control, vendor, files, media):
                host.stop()
        if any(codes):
            self._say(False, "each gate ends when it is asked to", f"exit codes {codes}")

    def _issuer(self) -> dict:
        """The keys of an identity provider."""
        made = subprocess.run([self.built / "venv/bin/python", HERE / "issuer.py"], check=True, capture_output=True)
        return json.loads(made.stdout)

    def _script(self, world: dict):
        script = HERE / self.suite.script
        environment = os.environ | {"SCOPEGATE_WORLD": json.dumps(world), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [self.built / "venv/bin/python" if script.suffix == ".py" else "node", script]
        ran = processes.start(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            told, complaint = ran.communicate(timeout=SCRIPT_MAX_S)
        except subprocess.TimeoutExpired:
            processes.end(ran)
            told, complaint = ran.communicate()
            self._say(False, f"the script ends within {SCRIPT_MAX_S} s", complaint)
        code = processes.end(ran)
        lines = told.splitlines()
        self.lines += [line for line in lines if line != DONE]
        if code not in (0, 1) or DONE not in lines:
            self._say(False, "the script runs to its end", f"exit code {code}\n{complaint}")
        elif code != 0:
            self.lines += [f"        {line}" for line in complaint.splitlines()]

    def _look(self, vendor: Vendor, keys: list[str]):
        """What holds of all that the vendor's hosts saw, whatever the script did."""
        seen = vendor.requests()
        around = [request for request in seen if not request.through_the_gate and not request.is_question]
        self._none(seen, around, "the vendor's host saw nothing that did not pass the gate")
        self._none(seen, _showing(keys, seen), "the vendor's host never saw a gate key")
        self._none(seen, _showing([NEVER], seen), "the vendor's host saw nothing of what was refused")

    def _look_at_files(self, files: Vendor):
        """The host of bearer URLs is reached without the gate, by who may have such a URL.

        An SDK may show it the token that it holds all the same: a gate key, which is worth nothing there.
        """
        real = list(REAL[self.suite.product].values())
        fetched = files.requests()
        self._none(fetched, _showing(real, fetched), "the vendor's host for files never saw a real credential")

    def _look_at_listed(self, media: Vendor):
        """The gate alone goes to the host that its catalog lists, and shows it no credential of any sort."""
        seen = media.requests()
        self._none(
            seen,
            [each for each in seen if {"authorization", "cookie"} & set(each.headers) or "sg_" in each.everything()],
            "the host that the gate follows redirects to saw no credential",
        )

    def _none(self, seen: list[Request], wrong: list[Request], fact: str):
        """Of no request at all nothing was shown."""
        self._say(bool(seen) and not wrong, fact, "\n".join(map(str, wrong)) or "it saw no request at all")

    def _say(self, held: bool, fact: str, why: str):
        self.lines.append(f"{PASSED if held else FAILED}{self.suite.sdk}: {fact}")
        if not held:
            self.lines += [f"        {line}" for line in why.splitlines()]


def _showing(secrets: list[str], requests: list[Request]) -> list[Request]:
    return [request for request in requests if any(secret in request.everything() for secret in secrets)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True, help="the built scopegate")
    parser.add_argument("--built", type=Path, required=True, help="the folder with venv/ and npm/")
    parser.add_argument("only", nargs="*", help="SDKs; all when absent")
    asked = parser.parse_args()
    suites = [suite for suite in SUITES if not asked.only or suite.sdk in asked.only]
    unknown = set(asked.only) - {suite.sdk for suite in suites}
    if unknown:
        parser.error(f"no suite for {', '.join(sorted(unknown))}; there are {', '.join(suite.sdk for suite in SUITES)}")
    runs = [Run(suite, asked.program.resolve(), asked.built.resolve()) for suite in suites]
    # Everything here is on loopback.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Each waits for most of its time, for as long as a `Retry-After` says. Together they take as long as the slowest.
    with ThreadPoolExecutor(len(runs)) as pool:
        try:
            for run in pool.map(Run.whole, runs):
                print("\n".join(run.lines), flush=True)
        finally:
            processes.end_all()
    passed, failed = (sum(run.count(mark) for run in runs) for mark in (PASSED, FAILED))
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
