"""A vendor's host: answers like its API, names itself in its links, and keeps every request that it gets."""

import json
import re
import socket
import ssl
import threading
from base64 import b64decode
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

LOOPBACK = "127.0.0.1"
# The largest body that a script sends is a file of a few bytes.
BODY_MAX_BYTES = 1024 * 1024
# Nothing on loopback takes longer; a script that hangs is ended by its suite.
IDLE_TIMEOUT_S = 60
# What the gate writes into each request that it forwards (RFC 9110 §7.6.3).
GATE_VIA = "1.1 scopegate"
# What the gate calls itself where it asks for itself: which container a thing lies in.
GATE_AGENT = "scopegate"


@dataclass
class Request:
    """A request as the vendor's host saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def json(self) -> dict:
        return json.loads(self.body or b"{}")

    def arguments(self) -> dict:
        """The arguments of a Slack method: of the query and of a form or JSON body."""
        if self.content_type.startswith("application/json"):
            return self.query | self.json()
        return self.query | dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @property
    def through_the_gate(self) -> bool:
        return self.headers.get("via") == GATE_VIA

    @property
    def is_question(self) -> bool:
        return self.headers.get("user-agent") == GATE_AGENT and self.method == "GET" and not self.body

    def everything(self) -> str:
        """All that it showed, with what Basic hides."""
        scheme, _, hidden = self.headers.get("authorization", "").partition(" ")
        plain = b64decode(hidden).decode("utf-8", "replace") if scheme == "Basic" else ""
        return f"{self.target} {self.headers} {plain} {self.body.decode('utf-8', 'replace')}"

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass
class Part:
    """A part of a form."""

    name: str
    filename: str | None
    content: bytes


def parts(request: Request) -> list[Part]:
    """The parts of a `multipart/form-data` body (RFC 7578)."""
    boundary = re.search(r'boundary="?([^";]+)', request.content_type)[1]
    found = []
    for each in request.body.split(f"--{boundary}".encode())[1:-1]:
        head, content = each.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)
        named = dict(re.findall(r'\b(name|filename)="([^"]*)"', head.decode()))
        found.append(Part(named["name"], named.get("filename"), content.removesuffix(b"\r\n")))
    return found


@dataclass
class Answer:
    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, dict[str, str]]:
        if self.body is None:
            return b"", self.headers
        if isinstance(self.body, bytes):
            return self.body, {"content-type": "application/octet-stream"} | self.headers
        text = json.dumps(self.body)
        return text.encode(), {"content-type": "application/json;charset=UTF-8"} | self.headers


class Vendor:
    """A listener on loopback. It can be taken away and brought back on the same port."""

    def __init__(self, product, tls: tuple[Path, Path] | None = None):
        """`product(origin)` makes what answers: an object with `answer(request)`. `tls`: certificate and key."""
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._tls = tls
        self._server = _Server((LOOPBACK, 0), self, tls)
        self.port = self._server.server_address[1]
        self.origin = f"{'https' if tls else 'http'}://{LOOPBACK}:{self.port}"
        self.product = product(self.origin)
        self._serve()

    def requests(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    def stop(self):
        """Closes the listener and every connection."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server.cut()
        self._server = None

    def start(self):
        if self._server is None:
            self._server = _Server((LOOPBACK, self.port), self, self._tls)
            self._serve()

    def _serve(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def take(self, request: Request) -> Answer:
        with self._lock:
            self._requests.append(request)
            return self.product.answer(request)


class Control:
    """How a script, which is another process, looks at a vendor's host and takes it away."""

    def __init__(self, vendor: Vendor):
        self._vendor = vendor
        self._server = _Server((LOOPBACK, 0), self)
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, request: Request) -> Answer:
        match (request.method, request.path):
            case ("GET", "/requests"):
                return Answer(body=[_shown(each) for each in self._vendor.requests() if not each.is_question])
            case ("GET", "/questions"):
                return Answer(body=[_shown(each) for each in self._vendor.requests() if each.is_question])
            case ("POST", "/stop"):
                self._vendor.stop()
            case ("POST", "/start"):
                self._vendor.start()
            case _:
                return Answer(404)
        return Answer(204)

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._server.cut()


def _shown(request: Request) -> dict:
    shown = {"method": request.method, "target": request.target, "headers": request.headers}
    return shown | {"body": request.body.decode("utf-8", "replace")}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, owner, tls: tuple[Path, Path] | None = None):
        self.owner = owner
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            # The handshake is made by the thread that answers, with the first byte it reads.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request(self, request, client_address):
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._connections.discard(request)
        super().shutdown_request(request)

    def cut(self):
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It was closed from the other side.

    def handle_error(self, request, client_address):
        pass  # A connection that was cut.


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S

    def _handle(self):
        body = self._body()
        if body is None:
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.owner.take(Request(self.command, self.path, headers, body))
        body, headers = answer.encoded()
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _body(self) -> bytes | None:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked()
        length = int(self.headers.get("content-length") or 0)
        if length > BODY_MAX_BYTES:
            self.send_error(413)
            return None
        return self.rfile.read(length)

    def _chunked(self) -> bytes | None:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
            if len(body) > BODY_MAX_BYTES:
                self.send_error(413)
                return None
        while self.rfile.readline().strip():
            pass  # Trailers.
        return body

    def log_message(self, format, *arguments):
        pass  # The suite says what came, and only where it matters.
