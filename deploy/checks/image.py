"""Runs the image as a pod of the example overlay would, in bubblewrap: the image's files as a read-only root, the user of
the image, no capability, process 1, volumes as the kubelet lays them. `deploy/check` calls it inside a network of its own,
so that its ports and its DNS server are nobody else's.

image.py --root FOLDER --config INSPECTED.json --bwrap BINARY [--strace BINARY --trace FILE]
"""

import argparse
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

import yaml

USER = 65532
# For anything that is waited for, in seconds. Under strace everything takes longer.
DEADLINE = 30
OVERLAY = pathlib.Path("deploy/kubernetes/example-overlay")
# Three ways a name resolves: the resolver's own rule, /etc/hosts, DNS.
HOSTS = "127.0.0.1 localhost\n127.0.0.2 upstream.hosts.test\n"
NAMES = {"vendor.dns.test": "127.0.0.3"}
UPSTREAMS = {8080: "localhost", 8081: "upstream.hosts.test", 8082: "vendor.dns.test"}
REAL = "the-real-credential"


def wait_for(what, happened):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = happened()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {DEADLINE} s")


def expect(what, found, wanted):
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers everything, and remembers what it was shown."""

    protocol_version = "HTTP/1.1"
    seen = []

    def do_GET(self):
        Upstream.seen.append((self.server.server_address[0], self.path, self.headers.get("authorization")))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


class Dns(socketserver.BaseRequestHandler):
    """One question, one A record; an empty answer to anything else about a known name."""

    def handle(self):
        question, sock = self.request
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind, asked = question[at + 1 : at + 3], question[12 : at + 5]
        address = NAMES.get(".".join(labels).lower())
        records = b""
        if address and kind == b"\0\1":
            records = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address)
        code = b"\x81\x80" if address else b"\x81\x83"
        counts = b"\0\1" + (b"\0\1" if records else b"\0\0") + b"\0\0\0\0"
        sock.sendto(question[:2] + code + counts + asked + records, self.client_address)


class Volume:
    """A folder as the kubelet writes it: a dated folder, `..data` leading there, a link for each file; swapped whole."""

    def __init__(self, path):
        self.path, self.number = path, 0
        path.mkdir(parents=True)

    def write(self, files):
        self.number += 1
        dated = self.path / f"..2026_11_25_09_00_00.{self.number}"
        dated.mkdir()
        for name, text in files.items():
            (dated / name).write_text(text)
            link = self.path / name
            if not link.is_symlink():
                link.symlink_to(pathlib.Path("..data") / name)
        temporary = self.path / "..data_tmp"
        temporary.symlink_to(dated.name)
        temporary.rename(self.path / "..data")


class Pod:
    """The image's files, the volumes, and what starts the image with them."""

    def __init__(self, folder, arguments):
        self.folder, self.arguments = folder, arguments
        # What `buildah inspect` says; OCI has no HEALTHCHECK, so the image is built in the format of Docker.
        self.image = json.loads(pathlib.Path(arguments.config).read_text())["Docker"]["config"]
        expect("the image's user", self.image["User"], f"{USER}:{USER}")
        self.bwrap = folder / "bwrap"
        shutil.copy(arguments.bwrap, self.bwrap)
        self.root = folder / "root"
        shutil.copytree(arguments.root, self.root)
        # What a container runtime makes before it starts a pod: mount points, and the kubelet's two files.
        for mount in ["proc", "dev", "run/scopegate", "run/secrets/scopegate"]:
            (self.root / mount).mkdir(parents=True)
        for mount in ["etc/scopegate/config", "etc/scopegate/policies"]:
            (self.root / mount).mkdir(parents=True)
        (folder / "hosts").write_text(HOSTS)
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions ndots:1 timeout:2\n")
        for name in ["hosts", "resolv.conf"]:
            (self.root / "etc" / name).touch()
        self.config = Volume(folder / "config")
        self.policies = Volume(folder / "policies")
        self.credentials = Volume(folder / "credentials")
        (folder / "run").mkdir()
        os.chown(folder / "run", USER, USER)

    def command(self, command, *more):
        """As the image's user, for good: the user is given up before bubblewrap makes the pod."""
        ro = ["--ro-bind"]
        volumes = [
            *ro, self.root, "/",
            *ro, self.folder / "hosts", "/etc/hosts",
            *ro, self.folder / "resolv.conf", "/etc/resolv.conf",
            *ro, self.config.path, "/etc/scopegate/config",
            *ro, self.policies.path, "/etc/scopegate/policies",
            *ro, self.credentials.path, "/run/secrets/scopegate",
            "--bind", self.folder / "run", "/run/scopegate",
        ]
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all", "--no-new-privs"]
        bwrap = [
            self.bwrap, "--unshare-user", "--uid", USER, "--gid", USER, "--unshare-pid", "--as-pid-1", "--unshare-ipc",
            "--unshare-uts", "--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv", *volumes,
            "--proc", "/proc", "--dev", "/dev", "--chdir", self.image["WorkingDir"], *more,
        ]
        return [str(word) for word in [*user, *self.tracer(more), *bwrap, *command]]

    def tracer(self, more):
        if not (more and self.arguments.strace):
            return []
        return [self.arguments.strace, "-f", "-qq", "-s", "64", "-o", self.folder / "trace"]

    def run(self, *command):
        return subprocess.run(self.command(command), capture_output=True, text=True, timeout=DEADLINE, check=False)

    @contextlib.contextmanager
    def started(self):
        """The image's own command. Gives the process as this side of the namespace numbers it."""
        if self.arguments.strace:
            (self.folder / "trace").touch()
            os.chown(self.folder / "trace", USER, USER)
        read, write = os.pipe()
        command = self.command([*self.image["Entrypoint"], *self.image["Cmd"]], "--info-fd", write)
        with open(self.folder / "out", "wb") as out, open(self.folder / "err", "wb") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err, pass_fds=[write])
        os.close(write)
        try:
            # Up to its end and no further: strace keeps the other side open.
            info = b""
            while not info.rstrip().endswith(b"}"):
                info += os.read(read, 4096) or b"}"
            yield process, json.loads(info)["child-pid"]
        finally:
            os.close(read)
            process.kill()
            process.wait()


def ask(port, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.getheader("x-scopegate-reason"), answer.read().decode()
    except ConnectionRefusedError:
        return None, None, ""
    except (http.client.HTTPException, ConnectionError):
        # What is under way when it is revoked is cut.
        return None, "cut", ""
    finally:
        connection.close()


def issue(port, key, credential):
    return ask(port, f"/rest/api/3/issue/{key}", {"authorization": f"Bearer {credential}"})


def configuration():
    """The shipped one, with upstreams on this machine: one gate for each way of resolving a name."""
    config = yaml.safe_load((OVERLAY / "config/scopegate.yaml").read_text())
    (gate,) = config["gates"]
    config["gates"] = [
        {**gate, "name": f"{gate['name']}-{port}", "listen": f"0.0.0.0:{port}", "upstream": f"http://{host}:9000"}
        for port, host in UPSTREAMS.items()
    ]
    return yaml.safe_dump(config)


def bundled(digest):
    """The shipped policies, for a key that somebody has."""
    maps = yaml.safe_load_all((OVERLAY / "bundle/configmaps.yaml").read_text())
    files = {key: text for one in maps for key, text in one["data"].items()}
    return {key: re.sub(r'sha256: "[0-9a-f]{64}"', f'sha256: "{digest}"', text) for key, text in files.items()}


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def is_confined(pid):
    """What the kernel says of the running gate."""
    status = status_of(pid)
    expect("its user", status["Uid"].split(), [str(USER)] * 4)
    expect("its group", status["Gid"].split(), [str(USER)] * 4)
    expect("more groups", status["Groups"].strip(), "")
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]:
        expect(name, int(status[name], 16), 0)
    expect("NoNewPrivs", status["NoNewPrivs"], "1")
    expect("it is process 1", status["NSpid"].split()[-1], "1")
    mounts = {}
    for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        point, options = line.split()[4:6]
        mounts[point] = options.split(",")[0]
    expect("the root", mounts["/"], "ro")
    kernel = re.compile(r"/(proc|dev)(/.*)?$")
    writable = [point for point, mode in mounts.items() if mode == "rw" and not kernel.match(point)]
    expect("what it may write", writable, ["/run/scopegate"])


def passes(port, key, credential, real):
    before = len(Upstream.seen)
    status, reason, _ = issue(port, key, credential)
    expect(f"{UPSTREAMS[port]}: {key}", (status, reason), (200, None))
    # One that was cut a moment ago may be told late.
    (seen,) = [seen for seen in Upstream.seen[before:] if seen[1] == f"/rest/api/3/issue/{key}"]
    expect("the credential upstream", seen[2], f"Bearer {real}")
    return seen[0]


def refused(port, key, credential, reason):
    before = len(Upstream.seen)
    return issue(port, key, credential)[1] == reason and len(Upstream.seen) == before


def serves(pod, key, digest):
    with pod.started() as (process, pid):
        begun = time.monotonic()
        wait_for("ready", lambda: process.poll() is not None or ask(9902, "/readyz")[0] == 200)
        assert process.poll() is None, (pod.folder / "err").read_text()
        print(f"note: ready after {time.monotonic() - begun:.2f} s, at most")
        expect("/livez", ask(9902, "/livez"), (200, None, "ok\n"))
        is_confined(pid)
        health = pod.run(*pod.image["Healthcheck"]["Test"][1:])
        expect(f"HEALTHCHECK {health.stdout}{health.stderr}", health.returncode, 0)
        addresses = [passes(port, "PROJ-1", key, REAL) for port in UPSTREAMS]
        expect("where the names led", addresses, ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
        assert refused(8080, "OTHER-1", key, "container_not_granted"), issue(8080, "OTHER-1", key)

        # A revocation and a new credential, each by the swap of one link.
        files = bundled(digest)
        files["jira__timetracker.yaml"] += "revocations: [{scopes: ['read:jira-work'], in: {project: [PROJ]}, reason: x}]\n"
        pod.policies.write(files)
        begun = time.monotonic()
        wait_for("the revocation", lambda: refused(8080, "PROJ-1", key, "container_revoked"))
        print(f"note: revoked {time.monotonic() - begun:.2f} s after the swap of ..data, at most")
        passes(8081, "OPS-1", key, REAL)
        pod.credentials.write({"timetracker": "another"})
        wait_for("the new credential", lambda: issue(8082, "OPS-1", key)[0] == 200 and Upstream.seen[-1][2] == "Bearer another")

        os.kill(pid, signal.SIGTERM)
        wait_for("not ready", lambda: ask(9902, "/readyz")[0] == 503)
        expect("/livez of a gate that drains", ask(9902, "/livez")[0], 200)
        passes(8081, "OPS-1", key, "another")
        expect("its end", process.wait(DEADLINE), 0)
        lines = [json.loads(line) for line in (pod.folder / "out").read_text().splitlines()]
        assert len(lines) >= 7, lines
        text = (pod.folder / "out").read_text() + (pod.folder / "err").read_text()
        assert key not in text and REAL not in text, "a secret is in the log"


def refuses_a_broken_configuration(pod):
    good = configuration()
    pod.config.write({"scopegate.yaml": good.replace("bypass: credential", "bypass: perhaps")})
    result = pod.run(*pod.image["Entrypoint"], *pod.image["Cmd"])
    expect(f"a broken configuration {result.stdout}", result.returncode, 1)
    assert "--> config/scopegate.yaml:" in result.stderr, result.stderr
    pod.config.write({"scopegate.yaml": good})


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main(arguments):
    for address in ["127.0.0.1", "127.0.0.2", "127.0.0.3"]:
        serve(http.server.ThreadingHTTPServer((address, 9000), Upstream))
    serve(socketserver.UDPServer(("127.0.0.1", 53), Dns))
    with tempfile.TemporaryDirectory(prefix="scopegate-image-") as folder:
        os.chmod(folder, 0o755)
        pod = Pod(pathlib.Path(folder), arguments)
        pod.config.write({"scopegate.yaml": configuration()})
        pod.policies.write(bundled("0" * 64))
        made = pod.run(*pod.image["Entrypoint"], "credential", "new", "--app", "jira/timetracker", "--tenant", "acme")
        key, digest = re.search(r"\bsg_[\w-]+", made.stdout)[0], re.search(r"\b[0-9a-f]{64}\b", made.stdout)[0]
        pod.policies.write(bundled(digest))
        pod.credentials.write({"timetracker": REAL})
        refuses_a_broken_configuration(pod)
        serves(pod, key, digest)
        if arguments.trace:
            shutil.copy(pod.folder / "trace", arguments.trace)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ["--root", "--config", "--bwrap"]:
        parser.add_argument(name, required=True)
    parser.add_argument("--strace")
    parser.add_argument("--trace")
    try:
        main(parser.parse_args())
    except AssertionError as error:
        sys.exit(str(error))
