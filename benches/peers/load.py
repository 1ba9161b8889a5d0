"""The clients: wrk and h2load, which keep connections busy, and the open-loop client of the bench program."""

import http.client
import json
import os
import re
import subprocess
import time

from proxies import HERE, LOAD_CORE, Failed

ISSUE = "/rest/api/3/issue/"
SMALL = ISSUE + "PROJ-1?fields=summary,issuetype,project,assignee"
SEARCH = "/rest/api/3/search/jql?jql=project%3DPROJ&maxResults=500"
DOWNLOAD = "/rest/api/3/attachment/content/10001"
UPLOAD = ISSUE + "PROJ-1/attachments"
# What is asked: the listener, how, path, connections. Few connections for large bodies: they fill any queue.
CASES = {
    "1 KiB issue, JSON": ("plain", "keep", SMALL, 32),
    "1 KiB issue, JSON, TLS": ("tls", "keep", SMALL, 32),
    "1 KiB issue, JSON, TLS, HTTP/2": ("tls", "h2", SMALL, 8),
    "1 KiB issue, JSON, new TLS connection each": ("tls", "close", SMALL, 16),
    "1 MiB search page, JSON": ("plain", "keep", SEARCH, 8),
    "1 MiB download, octet-stream": ("plain", "keep", DOWNLOAD, 8),
    "1 MiB upload, octet-stream": ("plain", "upload", UPLOAD, 8),
}
# Requests under way on one connection of HTTP/2: with its 8 connections as many as over HTTP/1.1.
STREAMS = 4
HEADERS = {"Accept": "application/json", "User-Agent": "assist/2.7.1", "Accept-Encoding": "gzip, deflate"}
HOST = "jira.gate.internal"
# By what the product's links begin, and by what they begin where they are kept at the gate.
PRODUCT, GATE = b'"https://acme.atlassian.net/rest', f'"http://{HOST}/rest'.encode()


# How long a gate may take until its policies are in force.
SETTLE_SECONDS = 10

def token(setting, path):
    """Two apps ask: what reaches the whole site is granted to one of its own."""
    return setting.token if path.startswith(ISSUE) else setting.site_token


def saturate(setting, proxy, case, seconds):
    """CPU of the proxy for one request, in microseconds, and requests per second, with all connections busy."""
    busy = h2load if CASES[case][1] == "h2" else wrk
    before, start = proxy.cpu_seconds(), time.monotonic()
    counts, output = busy(setting, proxy, case, seconds)
    took, cpu = time.monotonic() - start, proxy.cpu_seconds() - before
    if counts["failed"] or not counts["requests"]:
        raise Failed(f"{counts}\n{output}")
    took = counts.get("micros", took * 1e6) / 1e6
    return {"cpu_us": cpu / counts["requests"] * 1e6, "per_second": counts["requests"] / took}


def wrk(setting, proxy, case, seconds):
    scheme, special, path, connections = CASES[case]
    connections = min(connections, setting.connections_max)
    url = f"{'https' if scheme == 'tls' else 'http'}://127.0.0.1:{proxy.ports[scheme]}{path}"
    method = "POST" if special == "upload" else "GET"
    command = [setting.tools["wrk"], "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s",
               "-s", HERE / "config" / "wrk.lua", url, "--", method, special, token(setting, path)]
    output = run(command, {"OPENSSL_CONF": str(HERE / "config" / "client-tls.cnf")})
    return json.loads(output.strip().splitlines()[-1]), output


def h2load(setting, proxy, case, seconds):
    scheme, _, path, connections = CASES[case]
    connections = min(connections, setting.connections_max)
    url = f"https://127.0.0.1:{proxy.ports[scheme]}{path}"
    headers = {":authority": HOST, **HEADERS, "Authorization": f"Bearer {token(setting, path)}"}
    command = [setting.tools["h2load"], "-t1", f"-c{connections}", f"-m{STREAMS}", f"-D{seconds}", "--npn-list=h2",
               "--tls13-ciphers=TLS_AES_256_GCM_SHA384", *(f"-H{name}: {value}" for name, value in headers.items()), url]
    output = run(command, {})
    return h2load_counts(output), output


def h2load_counts(output):
    """What h2load counted. A status is counted with its head and a success with its end, so that when the time is over
    there may be more of the former: what failed is said by the other classes of status and by what got no answer."""
    counted = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    answered = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    if not counted or not answered or "Application protocol: h2" not in output:
        raise Failed(output)
    succeeded, *lost = map(int, counted.groups())
    return {"requests": succeeded, "failed": sum(lost) + sum(map(int, answered.groups()))}


def at_rate(setting, port, rate, connections, seconds):
    """Latencies in microseconds from the time at which each request was due."""
    command = [setting.tools["bench"], "latency", f"127.0.0.1:{port}", SMALL, setting.token, rate, connections, seconds]
    return json.loads(run(command, {"RUST_BACKTRACE": "0"}))


def run(command, environment):
    command = ["taskset", "-c", LOAD_CORE, *map(str, command)]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    if ended.returncode:
        raise Failed(f"{command[3]} ended with {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def look(setting, proxy, case):
    """One request of a case, and whether it is answered with what the case says, with the links that it should have."""
    _, special, path, _ = CASES[case]
    # A gate whose policies were written a moment ago waits until their folder has settled, and says 503 until then.
    end = time.monotonic() + SETTLE_SECONDS
    while (answered := asked(setting, proxy, special, path))[0] == 503 and time.monotonic() < end:
        time.sleep(0.1)
    status, media, body = answered
    size = 1024 if path == SMALL else 1024 * 1024
    wrong = [f"status {status}"] if status != 200 else []
    wrong += [f"a body of {len(body)} bytes"] if special != "upload" and not proxy.keeps_links and len(body) != size else []
    if path == DOWNLOAD:
        wrong += [media] if media != "application/octet-stream" else []
    else:
        wrong += [media] if media != "application/json;charset=UTF-8" else []
        wanted, unwanted = (GATE, PRODUCT) if proxy.keeps_links else (PRODUCT, GATE)
        wrong += [f"no link {wanted}"] if wanted not in body else []
        wrong += [f"a link {unwanted}"] if unwanted in body else []
        json.loads(body)
    if wrong:
        raise Failed(f"{path} is answered with {', '.join(wrong)}:\n{body[:400]}")


def asked(setting, proxy, special, path):
    """Status, media type and body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.ports["plain"], timeout=20)
    headers = {**HEADERS, "Host": HOST, "Authorization": f"Bearer {token(setting, path)}"}
    if special == "upload":
        connection.request("POST", path, b"x" * 1024, {**headers, "Content-Type": "application/octet-stream"})
    else:
        connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body, media = answer.read(), answer.headers["Content-Type"]
    connection.close()
    return answer.status, media, body


def let_settle():
    """Time for connections to be closed and for a log to be written, before the next proxy has its turn."""
    time.sleep(0.2)
