"""GitHub Enterprise with one organisation: REST below /api/v3, as far as its SDKs go in these checks.

Every answer names the product's own origin, as GitHub does: in `Link` and in each `url`.
"""

import re
from base64 import b64decode, b64encode
from hashlib import sha1

from .server import Answer, Request

# So that each list has more than one page.
PAGE_MAX = 3
ORGANISATION = "acme"
WHEN = "2025-11-20T09:00:00Z"
REPOSITORIES = ["website", "docs", "vault", "shop", "tools", "infra", "archive"]
ISSUES = 7


class GitHub:
    """`tokens`: the real ones, which it takes, and no other."""

    def __init__(self, origin: str, tokens: list[str]):
        self.origin, self.base = origin, f"{origin}/api/v3"
        self.taken = [f"Bearer {each}" for each in tokens]
        self.repositories = {name: self._made(name) for name in REPOSITORIES}

    def answer(self, request: Request) -> Answer:
        if request.headers.get("authorization", "") not in self.taken:
            return _error(401, "Bad credentials")
        for method, pattern, handle in self._routes():
            found = re.fullmatch(pattern, request.path)
            if method == request.method and found:
                return handle(request, *found.groups())
        for method, pattern, handle in self._routes_of_a_repository():
            found = re.fullmatch(f"/api/(?:v3|uploads)/repos/{ORGANISATION}/([a-z-]+){pattern}", request.path)
            if method == request.method and found and found[1] in self.repositories:
                return handle(request, self.repositories[found[1]], *found.groups()[1:])
        return _error(404, "Not Found")

    def _routes(self):
        yield "GET", "/api/v3/user", lambda request: Answer(body=self._user())
        yield "GET", f"/api/v3/orgs/{ORGANISATION}", lambda request: Answer(body=self._organisation())
        yield "GET", f"/api/v3/orgs/{ORGANISATION}/repos", self._list

    def _routes_of_a_repository(self):
        yield "GET", "", lambda request, here: Answer(body=self._repository(here))
        yield "POST", "/forks", self._fork
        yield "POST", "/transfer", lambda request, here: Answer(202, self._repository(here))
        yield "GET", "/issues", lambda request, here: self._page(request, here["issues"])
        yield "POST", "/issues", lambda request, here: Answer(201, self._add_issue(here, request.json()))
        yield "GET", "/issues/([0-9]+)", lambda request, here, number: Answer(body=here["issues"][int(number) - 1])
        yield "PATCH", "/issues/([0-9]+)", self._change_issue
        yield "POST", "/issues/([0-9]+)/comments", self._comment
        yield "GET", "/contents/(.+)", self._content
        yield "PUT", "/contents/(.+)", self._write
        yield "POST", "/releases", self._release
        yield "POST", "/releases/([0-9]+)/assets", self._upload

    def _page(self, request: Request, all: list[dict]) -> Answer:
        number = int(request.query.get("page", 1))
        size = min(int(request.query.get("per_page", 30)), PAGE_MAX)
        last = -(-len(all) // size)
        here = f"{self.origin}{request.path}?per_page={size}&page="
        links = [f'<{here}{number + 1}>; rel="next"', f'<{here}{last}>; rel="last"'] if number < last else []
        headers = {"link": ", ".join(links)} if links else {}
        return Answer(body=all[(number - 1) * size : number * size], headers=headers)

    def _list(self, request: Request) -> Answer:
        return self._page(request, [self._repository(each) for each in self.repositories.values()])

    def _made(self, name: str) -> dict:
        made = {"name": name, "issues": [], "files": {"README.md": b"# words\n"}, "releases": 0}
        for number in range(1, ISSUES + 1):
            self._add_issue(made, {"title": f"{name} needs a hand, {number}"})
        return made

    def _fork(self, request: Request, here: dict) -> Answer:
        name = request.json().get("name", f"{here['name']}-fork")
        self.repositories[name] = self._made(name)
        return Answer(202, self._repository(self.repositories[name]))

    def _add_issue(self, here: dict, asked: dict) -> dict:
        number = len(here["issues"]) + 1
        url = f"{self._at(here)}/issues/{number}"
        issue = {"id": 1000 + number, "number": number, "state": "open", "url": url, "user": self._user()}
        issue |= {
            "repository_url": self._at(here),
            "comments_url": f"{url}/comments",
            "comments": 0,
            "created_at": WHEN,
        }
        here["issues"].append(issue | asked)
        return here["issues"][-1]

    def _change_issue(self, request: Request, here: dict, number: str) -> Answer:
        here["issues"][int(number) - 1].update(request.json())
        return Answer(body=here["issues"][int(number) - 1])

    def _comment(self, request: Request, here: dict, number: str) -> Answer:
        issue = here["issues"][int(number) - 1]
        issue["comments"] += 1
        url = f"{self._at(here)}/issues/comments/{issue['comments']}"
        return Answer(201, {"id": issue["comments"], "url": url, "body": request.json()["body"], "user": self._user()})

    def _content(self, request: Request, here: dict, path: str) -> Answer:
        return Answer(body=self._file(here, path)) if path in here["files"] else _error(404, "Not Found")

    def _write(self, request: Request, here: dict, path: str) -> Answer:
        is_new = path not in here["files"]
        here["files"][path] = b64decode(request.json()["content"])
        commit = {"sha": sha1(here["files"][path]).hexdigest(), "url": f"{self._at(here)}/git/commits/0"}
        return Answer(201 if is_new else 200, {"content": self._file(here, path), "commit": commit})

    def _file(self, here: dict, path: str) -> dict:
        content = here["files"][path]
        told = {"type": "file", "name": path.split("/")[-1], "path": path, "sha": sha1(content).hexdigest()}
        url = f"{self._at(here)}/contents/{path}"
        return told | {"url": url, "size": len(content), "encoding": "base64", "content": b64encode(content).decode()}

    def _release(self, request: Request, here: dict) -> Answer:
        here["releases"] += 1
        url = f"{self._at(here)}/releases/{here['releases']}"
        upload = f"{self.origin}/api/uploads/repos/{ORGANISATION}/{here['name']}/releases/{here['releases']}/assets"
        links = {"url": url, "assets_url": f"{url}/assets", "upload_url": f"{upload}{{?name,label}}"}
        return Answer(201, {"id": here["releases"], "assets": []} | request.json() | links)

    def _upload(self, request: Request, here: dict, release: str) -> Answer:
        here["files"][request.query["name"]] = request.body
        url = f"{self._at(here)}/releases/assets/1"
        return Answer(201, {"id": 1, "name": request.query["name"], "size": len(request.body), "url": url})

    def _at(self, here: dict) -> str:
        return f"{self.base}/repos/{ORGANISATION}/{here['name']}"

    def _repository(self, here: dict) -> dict:
        told = {"id": 1, "name": here["name"], "full_name": f"{ORGANISATION}/{here['name']}", "private": True}
        return told | {"url": self._at(here), "owner": self._owner(), "default_branch": "main"}

    def _organisation(self) -> dict:
        return self._owner() | {"url": f"{self.base}/orgs/{ORGANISATION}", "name": "Acme"}

    def _owner(self) -> dict:
        return {"login": ORGANISATION, "id": 2, "type": "Organization", "url": f"{self.base}/users/{ORGANISATION}"}

    def _user(self) -> dict:
        return {"login": "builder[bot]", "id": 3, "type": "Bot", "url": f"{self.base}/users/builder"}


def _error(status: int, message: str) -> Answer:
    return Answer(
        status, {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    )
