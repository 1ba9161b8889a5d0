"""The proxies: how each is set up, started, accounted for and ended."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
START_SECONDS = 20
PROXY_CORE, LOAD_CORE = "0", "1"
# What the app that asks may do, as tables that HAProxy and Envoy can hold: app, scope and project.
GRANTS_OF_AN_APP = 10
# The app that may search the whole site and download from it.
SITE_APP = 8
SITE_PATHS = ["/rest/api/3/search/jql", "/rest/api/3/attachment/content/"]


class Failed(Exception):
    """A proxy that does not start, or a run that measured something else than answers."""


class Setting:
    """Where everything is."""

    def __init__(self, tools, folder, connections_max):
        self.tools, self.folder, self.connections_max = tools, folder, connections_max
        self.estate = folder / "estate"
        self.estate.mkdir(parents=True)
        lines = subprocess.run([tools["bench"], "estate", self.estate], check=True, capture_output=True, text=True)
        self.tokens = lines.stdout.split()
        # The app that asks for issues, and the one that asks for what reaches the whole site.
        self.token, self.site_token = self.tokens[7], self.tokens[SITE_APP]
        self.upstream = f"127.0.0.1:{free_port()}"


class Running:
    """A process with all that it started, on one core."""

    def __init__(self, name, command, folder, core, ports, environment=None):
        self.name, self.ports = name, ports
        # Whether links in answers are made to name this proxy.
        self.keeps_links = name == "scopegate"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "out.log", "wb") as out, open(folder / "err.log", "wb") as err:
            self.process = subprocess.Popen(
                ["taskset", "-c", core, *map(str, command)], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env={**os.environ, **(environment or {})}, cwd=folder,
            )
        self.errors = folder / "err.log"

    def wait_until_open(self):
        end = time.monotonic() + START_SECONDS
        for port in self.ports.values():
            while not can_connect(port):
                if self.process.poll() is not None or time.monotonic() > end:
                    self.end()
                    raise Failed(f"{self.name} does not start:\n{self.errors.read_text()[-4000:]}")
                time.sleep(0.02)
        return self

    def pids(self):
        """This process and its descendants."""
        found = [self.process.pid]
        for pid in found:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu_seconds(self):
        """What the scheduler counted for every thread: nanoseconds, and not the clock ticks of `stat`."""
        total = 0
        for pid in self.pids():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def pss_mib(self):
        rollups = (pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.pids())
        lines = (line for text in rollups for line in text.splitlines() if line.startswith("Pss:"))
        return sum(int(line.split()[1]) for line in lines) / 1024

    def end(self):
        """By its own id; nginx and the others end their children."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def can_connect(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def render(name, to, values):
    text = (HERE / "config" / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    to.write_text(text)
    return to


def upstream(setting):
    port = int(setting.upstream.rsplit(":", 1)[1])
    command = [setting.tools["bench"], "upstream", setting.upstream]
    return Running("upstream", command, setting.folder / "upstream", LOAD_CORE, {"plain": port}).wait_until_open()


def start(name, setting):
    """Starts a proxy by its name in `PROXIES`."""
    folder = setting.folder / name
    folder.mkdir()
    ports = {"plain": free_port(), "tls": free_port()}
    values = {
        "FOLDER": folder, "ESTATE": setting.estate, "UPSTREAM": setting.upstream,
        "UPSTREAM_PORT": setting.upstream.rsplit(":", 1)[1],
        "PLAIN": f"127.0.0.1:{ports['plain']}", "TLS": f"127.0.0.1:{ports['tls']}",
        "PLAIN_PORT": ports["plain"], "TLS_PORT": ports["tls"],
    }
    kind, option = PROXIES[name]
    command, environment = kind(setting, folder, values, option)
    if kind is bare:
        del ports["tls"]
    return Running(name, command, folder, PROXY_CORE, ports, environment).wait_until_open()


def nginx(setting, folder, values, option):
    bodies = "proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k;" if option == "streaming" else ""
    log = f"{folder}/access.log" if option == "log" else "off"
    # Its worker would else be a user who may not write the bodies that it buffers in files here.
    user = "user root;" if os.geteuid() == 0 else ""
    config = render("nginx.conf", folder / "nginx.conf", values | {"ACCESS_LOG": log, "BODIES": bodies, "USER": user})
    return [setting.tools["nginx"], "-e", folder / "nginx-error.log", "-c", config], None


def haproxy(setting, folder, values, option):
    rules = haproxy_maps(setting, folder) if option == "maps" else ""
    config = render("haproxy.cfg", folder / "haproxy.cfg", values | {"RULES": rules})
    return [setting.tools["haproxy"], "-db", "-f", config], None


def haproxy_maps(setting, folder):
    """Token → app, method and path → scope, and (app, scope, project) granted or not: as far as maps go."""
    import hashlib

    digest = {token: hashlib.sha256(f"Bearer {token}".encode()).hexdigest().upper() for token in setting.tokens}
    apps = "".join(f"{digest[token]} app-{number:05}\n" for number, token in enumerate(setting.tokens))
    scopes = "".join(f"{start} {scope}\n" for start, scope in SCOPES)
    grants = ""
    for number in range(len(setting.tokens)):
        grants += "".join(f"app-{number:05}|{scope}|{project} 1\n" for scope, project in grants_of(number))
    # The part of the path where a project would stand.
    grants += "".join(f"app-{SITE_APP:05}|read:jira-work|{path.split('/')[5]} 1\n" for path in SITE_PATHS)
    for name, text in {"apps": apps, "scopes": scopes, "grants": grants}.items():
        (folder / f"{name}.map").write_text(text)
    return f"""
    http-request set-var(txn.app) req.hdr(authorization),sha2(256),hex,map_str({folder}/apps.map)
    http-request deny deny_status 401 unless {{ var(txn.app) -m found }}
    http-request set-var-fmt(txn.route) "%[method]|%[path]"
    http-request set-var(txn.scope) var(txn.route),map_beg({folder}/scopes.map)
    http-request deny deny_status 403 unless {{ var(txn.scope) -m found }}
    http-request set-var(txn.project) path,field(6,/),field(1,-)
    http-request set-var-fmt(txn.cell) "%[var(txn.app)]|%[var(txn.scope)]|%[var(txn.project)]"
    http-request deny deny_status 403 unless {{ var(txn.cell),map_str({folder}/grants.map) -m found }}
    http-request del-header x-forwarded-for
    """


# The paths of ten of Jira's operations; scopegate knows 616.
SCOPES = [
    ("GET|/rest/api/3/issue/", "read:jira-work"), ("POST|/rest/api/3/issue/", "write:jira-work"),
    ("PUT|/rest/api/3/issue/", "write:jira-work"), ("GET|/rest/api/3/project/", "read:jira-work"),
    ("GET|/rest/api/3/user", "read:jira-user"), ("GET|/rest/api/3/search", "read:jira-work"),
    ("GET|/rest/api/3/myself", "read:jira-user"), ("POST|/rest/api/3/webhook", "manage:jira-webhook"),
    ("GET|/rest/api/3/attachment/content/", "read:jira-work"), ("DELETE|/rest/api/3/issue/", "write:jira-work"),
]


def grants_of(app):
    """The estate's own grants, in short: reads in PROJ and OPS, writes in PROJ, the others elsewhere."""
    own = [("read:jira-work", "PROJ"), ("read:jira-work", "OPS"), ("write:jira-work", "PROJ")]
    others = range(GRANTS_OF_AN_APP - 1)
    return own + [("write:jira-work", f"{side}{app}X{number}") for number in others for side in "PQ"]


def envoy(setting, folder, values, option):
    filters = envoy_rbac(setting) if option == "rbac" else ""
    config = render("envoy.yaml", folder / "envoy.yaml", values | {"FILTERS": filters})
    command = [setting.tools["envoy"], "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    return command, None


def envoy_rbac(setting):
    """One policy for each app: its token, and for each grant the method and the start of the path."""
    methods = {"read:jira-work": ["GET"], "write:jira-work": ["POST", "PUT"]}
    policies = []
    for number, token in enumerate(setting.tokens):
        rules = []
        for scope, project in grants_of(number):
            for method in methods[scope]:
                path = f"{{url_path: {{path: {{prefix: /rest/api/3/issue/{project}-}}}}}}"
                verb = f'{{header: {{name: ":method", string_match: {{exact: {method}}}}}}}'
                rules.append(f"{{and_rules: {{rules: [{verb}, {path}]}}}}")
        if number == SITE_APP:
            rules += [f"{{url_path: {{path: {{prefix: {path}}}}}}}" for path in SITE_PATHS]
        who = f'{{header: {{name: authorization, string_match: {{exact: "Bearer {token}"}}}}}}'
        policies.append(f"app-{number:05}: {{principals: [{who}], permissions: [{', '.join(rules)}]}}")
    kind = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
    rules = f"{{action: ALLOW, policies: {{{', '.join(policies)}}}}}"
    return f'{{name: envoy.filters.http.rbac, typed_config: {{"@type": {kind}, rules: {rules}}}}},'


def scopegate(setting, folder, values, option):
    catalog = "product: jira" if option == "full" else f"catalog: {catalog_without_links(folder)}"
    values = values | {"HEALTH_PORT": free_port(), "CATALOG": catalog}
    config = render("scopegate.yaml", folder / "scopegate.yaml", values)
    return [setting.tools["scopegate"], "serve", "--config", config], {"RUST_LOG": "warn"}


def catalog_without_links(folder):
    """Jira's own catalog, of which the part on links is left out."""
    catalogs = HERE.parents[1] / "config" / "catalogs"
    shutil.copy(catalogs / "jira.yaml", folder)
    kept, leaving = [], False
    for line in (catalogs / "jira.overlay.yaml").read_text().splitlines(keepends=True):
        if not line[0].isspace():
            leaving = line == "links:\n"
        kept += [] if leaving else [line]
    (folder / "jira.overlay.yaml").write_text("".join(kept))
    return folder / "jira.yaml"


def bare(setting, folder, values, option):
    return [setting.tools["bench"], "bare", values["PLAIN"], setting.upstream], None


# What stands in the table, in its order: how it is started, and with which option.
PROXIES = {
    "nginx": (nginx, "plain"),
    "nginx-log": (nginx, "log"),
    "nginx-streaming": (nginx, "streaming"),
    "haproxy": (haproxy, "plain"),
    "haproxy-maps": (haproxy, "maps"),
    "envoy": (envoy, "plain"),
    "envoy-rbac": (envoy, "rbac"),
    "hyper-bare": (bare, "plain"),
    "scopegate": (scopegate, "full"),
    "scopegate-links-left": (scopegate, "links left"),
}
