"""Starts the image with exactly what a kustomization rendered: the configuration and the policies come out of its
ConfigMaps, through its volumes, to where its mounts say. `deploy/check` calls it inside a network of its own.

rendered.py MANIFESTS.yaml --policies FOLDER --root FOLDER --config INSPECTED.json --bwrap BINARY

FOLDER holds the policies that must come out: these apps, in the running gate, and no other's.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import sys
import tempfile

import yaml

from image import DEADLINE, Pod, ask, expect, wait_for

MOUNTS = ["/etc/scopegate/config", "/etc/scopegate/policies"]


class Rendered:
    """The one Deployment with a gate in it, and the ConfigMaps."""

    def __init__(self, path):
        documents = [one for one in yaml.safe_load_all(pathlib.Path(path).read_text()) if one]
        maps = [one for one in documents if one["kind"] == "ConfigMap"]
        self.used = set()
        self.maps = {one["metadata"]["name"]: one["data"] for one in maps}
        expect("ConfigMaps of one name", len(self.maps), len(maps))
        (deployment,) = [one for one in documents if one["kind"] == "Deployment"]
        self.pod = deployment["spec"]["template"]["spec"]
        containers = [*self.pod.get("initContainers", []), *self.pod["containers"]]
        (self.gate,) = [one for one in containers if one["name"] == "scopegate"]
        expect("the arguments", self.gate["args"], ["serve"])

    def mounted(self, path):
        """What the kubelet lays at a mount: key and text. A ConfigMap that is not rendered is not there."""
        (mount,) = [one for one in self.gate["volumeMounts"] if one["mountPath"] == path]
        (volume,) = [one for one in self.pod["volumes"] if one["name"] == mount["name"]]
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        names = [source["configMap"]["name"] for source in sources]
        assert names, f"nothing is mounted at {path}"
        self.used.update(names)
        files = {}
        for name in names:
            for key, text in self.maps[name].items():
                assert key not in files, f"{key} is in two ConfigMaps"
                files[key] = text
        return files


def written(folder):
    """The apps of a policy folder, and its guardrails: whom its documents are about."""
    texts = [path.read_text() for path in sorted(pathlib.Path(folder).rglob("*.y*ml"))]
    return heads(texts)


def heads(texts):
    documents = [one for text in texts for one in yaml.safe_load_all(text) if one]
    return sorted((head, one[head]) for one in documents for head in ("app", "guardrail") if head in one)


def ask_admin(path):
    """The running gate's own word for how many apps it judges."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(DEADLINE)
        admin.connect(str(path))
        admin.sendall(b"GET /api/v1/snapshot HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: admin.recv(65536), b""))
    return json.loads(answer.split(b"\r\n\r\n", 1)[1])


def main(arguments):
    rendered = Rendered(arguments.manifests)
    config, policies = (rendered.mounted(path) for path in MOUNTS)
    expect("ConfigMaps that nobody mounts", set(rendered.maps) - rendered.used, set())
    wanted = written(arguments.policies)
    expect("the documents that are rendered", heads(policies.values()), wanted)
    apps = sorted({name for head, name in wanted if head == "app"})
    assert apps, f"{arguments.policies} has no app"
    with tempfile.TemporaryDirectory(prefix="scopegate-rendered-") as folder:
        os.chmod(folder, 0o755)
        pod = Pod(pathlib.Path(folder), arguments)
        pod.config.write(config)
        pod.policies.write(policies)
        pod.credentials.write({})
        told = pod.run(*pod.image["Entrypoint"], "check")
        expect(f"check {told.stdout}{told.stderr}", told.returncode, 0)
        cells = json.loads(pod.run(*pod.image["Entrypoint"], "cells", "--format", "json").stdout)["cells"]
        strangers = {cell["app"] for cell in cells} - set(apps)
        expect("apps that nobody wrote", strangers, set())
        health = int(yaml.safe_load(config["scopegate.yaml"])["health"]["listen"].rsplit(":", 1)[1])
        with pod.started() as (process, pid):
            wait_for("ready", lambda: process.poll() is not None or ask(health, "/readyz")[0] == 200)
            assert process.poll() is None, (pod.folder / "err").read_text()
            expect("apps in the running gate", ask_admin(pod.folder / "run/admin.sock")["apps"], len(apps))
            os.kill(pid, signal.SIGTERM)
            expect("its end", process.wait(DEADLINE), 0)
    print(f"note: apps: {', '.join(apps)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("manifests")
    for name in ["--policies", "--root", "--config", "--bwrap"]:
        parser.add_argument(name, required=True)
    parser.set_defaults(strace=None)
    try:
        main(parser.parse_args())
    except AssertionError as error:
        sys.exit(str(error))
