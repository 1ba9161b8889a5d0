"""The vendor's other hosts, for the bytes of files: files.slack.com, api.media.atlassian.com.

It asks for no credential. Its URLs are bearer URLs: they work for whoever holds them, so the gate lets an app have one
only under `gate:mint`, and fetches the bytes itself from a host that its catalog lists.
"""

import re

from .server import Answer, Request


class Files:
    def __init__(self, origin: str, name: str | None = None):
        """`name`: how its URLs call it, where that is not what it listens on."""
        self.origin = f"https://{name}" if name else origin
        self.bytes: dict[str, bytes] = {}

    def url(self, id: str) -> str:
        return f"{self.origin}/file/{id}"

    def answer(self, request: Request) -> Answer:
        found = re.fullmatch(r"/file/(\w+)", request.path)
        if request.method == "POST" and found:
            self.bytes[found[1]] = request.body
            return Answer(body=f"OK - {len(request.body)}".encode())
        if request.method == "GET" and found and found[1] in self.bytes:
            return Answer(body=self.bytes[found[1]])
        return Answer(404)
