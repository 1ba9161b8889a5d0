"""Bitbucket Cloud with one workspace: REST 2.0, as far as its SDKs go in these checks.

Every answer names the product's own origin, as Bitbucket does: in `next` and in `links`. An SDK that follows one would
go around the gate.
"""

import re
from base64 import b64encode

from .files import Files
from .server import Answer, Request, parts

# Bitbucket may answer with fewer than were asked for; so that each list has more than one page.
PAGE_MAX = 3
WORKSPACE = "acme"
ACCOUNT = "{11111111-2222-4333-8444-555555555555}"
WHEN = "2025-11-20T09:00:00.000000+00:00"
REPOSITORIES = ["website", "shop", "vault", "docs", "tools", "infra", "archive"]
PROJECTS = ["WEB", "OPS", "DATA", "LAB"]
PULL_REQUESTS = 4
BRANCHES = ["main", "feature/one", "feature/two", "fix"]
# Its type is told of an answer without a body too.
NO_BODY = {"content-type": "text/html; charset=utf-8"}
HEAD = "0123456789abcdef0123456789abcdef01234567"


class Bitbucket:
    """`bearer`, `basic`: the real credentials that the product takes, and no other."""

    def __init__(self, origin: str, uploads: Files, bearer: list[str], basic: list[str]):
        """`uploads`: where the bytes of downloads are, a host that the gate's catalog lists."""
        self.base, self.uploads = f"{origin}/2.0", uploads
        self.taken = [f"Bearer {each}" for each in bearer]
        self.taken += [f"Basic {b64encode(each.encode()).decode()}" for each in basic]
        self.repositories = {slug: self._made(slug) for slug in REPOSITORIES}

    def answer(self, request: Request) -> Answer:
        if request.headers.get("authorization", "") not in self.taken:
            return _error(401, "Access denied. You must have write or admin access.")
        # It takes a path with a last slash for the one without.
        path = request.path.removesuffix("/")
        for method, pattern, handle in self._routes():
            found = re.fullmatch(f"/2.0{pattern}", path)
            if method != request.method or not found:
                continue
            slug = found.groupdict().get("slug")
            if slug is None:
                return handle(request, *found.groups())
            here = self.repositories.get(slug)
            # The first group is the repository's; what else is in the path follows it.
            return handle(request, here, *found.groups()[1:]) if here else _error(404, f"Repository {slug} not found")
        return _error(404, f"{request} is not here")

    def _routes(self):
        yield "GET", "/user", lambda request: Answer(body=self._account())
        yield "GET", "/user/workspaces", lambda request: self._page(request, [{"workspace": self._workspace()}])
        yield "GET", f"/workspaces/{WORKSPACE}", lambda request: Answer(body=self._workspace())
        yield "GET", f"/workspaces/{WORKSPACE}/projects", lambda request: self._page(request, self._projects())
        yield "GET", f"/repositories/{WORKSPACE}", self._list
        yield "POST", f"/repositories/{WORKSPACE}/([a-z0-9-]+)", self._create
        at = f"/repositories/{WORKSPACE}/(?P<slug>[a-z0-9-]+)"
        yield "GET", at, lambda request, here: Answer(body=self._repository(here))
        yield "PUT", at, self._update
        yield "DELETE", at, self._delete
        yield "POST", f"{at}/forks", self._fork
        yield "GET", f"{at}/refs/branches", lambda request, here: self._page(request, self._branches(here))
        yield "POST", f"{at}/refs/branches", self._branch
        yield "GET", f"{at}/refs/branches/(.+)", lambda request, here, name: Answer(body=self._named(here, name))
        yield "GET", f"{at}/pullrequests", lambda request, here: self._page(request, here["pulls"])
        yield "POST", f"{at}/pullrequests", self._pull
        yield "GET", f"{at}/pullrequests/([0-9]+)", lambda request, here, id: Answer(body=here["pulls"][int(id) - 1])
        yield "POST", f"{at}/pullrequests/([0-9]+)/approve", lambda request, here, id: Answer(body={"approved": True})
        yield "POST", f"{at}/pullrequests/([0-9]+)/merge", self._merge
        yield "GET", f"{at}/pullrequests/([0-9]+)/comments", self._comments
        yield "POST", f"{at}/pullrequests/([0-9]+)/comments", self._comment
        yield "GET", f"{at}/pullrequests/([0-9]+)/diff", self._to_diff
        yield "GET", f"{at}/diff/{WORKSPACE}/[a-z0-9-]+:[0-9a-f]+(?:%0D|\r)[0-9a-f]+", self._diffed
        yield "GET", f"{at}/issues", lambda request, here: self._page(request, here["issues"])
        yield "POST", f"{at}/issues", self._issue
        yield "POST", f"{at}/issues/([0-9]+)/attachments", self._attach
        yield "POST", f"{at}/src", self._commit
        yield "GET", f"{at}/src/[^/]+/(.+)", lambda request, here, path: Answer(body=here["files"][path])
        yield "GET", f"{at}/downloads", lambda request, here: self._page(request, here["downloads"])
        yield "POST", f"{at}/downloads", self._upload
        yield "GET", f"{at}/downloads/(.+)", self._download
        yield "POST", f"{at}/hooks", self._hook

    def _page(self, request: Request, all: list[dict]) -> Answer:
        number = int(request.query.get("page", 1))
        size = min(int(request.query.get("pagelen", 10)), PAGE_MAX)
        page = {"values": all[(number - 1) * size : number * size], "page": number, "pagelen": size, "size": len(all)}
        if number * size < len(all):
            # Always without a last slash.
            here = f"{self.base}{request.path.removesuffix('/').removeprefix('/2.0')}"
            page["next"] = f"{here}?pagelen={size}&page={number + 1}"
        return Answer(body=page)

    # Repositories.

    def _made(self, slug: str) -> dict:
        made = {"slug": slug, "description": "", "branches": list(BRANCHES), "files": {"README.md": b"# words\n"}}
        made |= {"pulls": [], "comments": [], "issues": [], "downloads": [], "hooks": []}
        for number in range(1, PULL_REQUESTS + 1):
            self._add_pull(made, f"{slug} change {number}", "feature/one")
        return made

    def _list(self, request: Request) -> Answer:
        return self._page(request, [self._repository(each) for each in self.repositories.values()])

    def _create(self, request: Request, slug: str) -> Answer:
        self.repositories[slug] = self._made(slug)
        return Answer(body=self._repository(self.repositories[slug]))

    def _update(self, request: Request, here: dict) -> Answer:
        here["description"] = request.json().get("description", here["description"])
        return Answer(body=self._repository(here))

    def _delete(self, request: Request, here: dict) -> Answer:
        del self.repositories[here["slug"]]
        return Answer(204, headers=NO_BODY)

    def _fork(self, request: Request, here: dict) -> Answer:
        asked = request.json()
        if asked["workspace"]["slug"] != WORKSPACE:
            return _error(404, "no such workspace")
        slug = asked.get("name", f"{here['slug']}-fork")
        self.repositories[slug] = self._made(slug)
        return Answer(201, self._repository(self.repositories[slug]))

    def _branches(self, here: dict) -> list[dict]:
        return [self._named(here, name) for name in here["branches"]]

    def _named(self, here: dict, name: str) -> dict:
        links = self._links(f"{self._at(here)}/refs/branches/{name}")
        return {"type": "branch", "name": name, "target": {"type": "commit", "hash": HEAD}, "links": links}

    def _branch(self, request: Request, here: dict) -> Answer:
        here["branches"].append(request.json()["name"])
        return Answer(201, self._named(here, here["branches"][-1]))

    # Pull requests and issues.

    def _add_pull(self, here: dict, title: str, branch: str) -> dict:
        id = len(here["pulls"]) + 1
        at = f"{self._at(here)}/pullrequests/{id}"
        pull = {"type": "pullrequest", "id": id, "title": title, "state": "OPEN", "author": self._account()}
        pull["source"] = {"branch": {"name": branch}, "repository": self._short(here)}
        pull["destination"] = {"branch": {"name": "main"}, "repository": self._short(here)}
        pull["links"] = self._links(at) | {name: {"href": f"{at}/{name}"} for name in ("approve", "merge")}
        pull["links"]["diff"] = {"href": self._diff(here, id)}
        pull["close_source_branch"] = False
        here["pulls"].append(pull)
        return pull

    def _pull(self, request: Request, here: dict) -> Answer:
        asked = request.json()
        return Answer(201, self._add_pull(here, asked["title"], asked["source"]["branch"]["name"]))

    def _merge(self, request: Request, here: dict, id: str) -> Answer:
        here["pulls"][int(id) - 1]["state"] = "MERGED"
        return Answer(body=here["pulls"][int(id) - 1])

    def _comments(self, request: Request, here: dict, id: str) -> Answer:
        return self._page(request, here["comments"])

    def _comment(self, request: Request, here: dict, id: str) -> Answer:
        at = f"{self._at(here)}/pullrequests/{id}/comments/{len(here['comments']) + 1}"
        comment = {"type": "pullrequest_comment", "id": len(here["comments"]) + 1, "user": self._account()}
        here["comments"].append(comment | {"content": request.json()["content"], "links": self._links(at)})
        return Answer(201, here["comments"][-1])

    def _to_diff(self, request: Request, here: dict, id: str) -> Answer:
        """Bitbucket sends whoever asks for this to the repository's own diff."""
        return Answer(302, headers={"location": self._diff(here, int(id))})

    def _diffed(self, request: Request, here: dict) -> Answer:
        return Answer(body=b"diff --git a/a b/a\n")

    def _diff(self, here: dict, id: int) -> str:
        """Both commits of a pull request, as Bitbucket writes them: behind the repository, a carriage return between."""
        commits = f"{WORKSPACE}/{here['slug']}:{HEAD[:12]}%0D{HEAD[12:24]}"
        return f"{self._at(here)}/diff/{commits}?from_pullrequest_id={id}&topic=true"

    def _issue(self, request: Request, here: dict) -> Answer:
        id = len(here["issues"]) + 1
        issue = {"type": "issue", "id": id, "state": "new", "links": self._links(f"{self._at(here)}/issues/{id}")}
        here["issues"].append(issue | request.json())
        return Answer(201, here["issues"][-1])

    # Files.

    def _commit(self, request: Request, here: dict) -> Answer:
        for part in parts(request):
            if part.filename is not None:
                here["files"][part.name] = part.content
        return Answer(201, headers=NO_BODY | {"location": f"{self._at(here)}/commit/{HEAD}"})

    def _attach(self, request: Request, here: dict, id: str) -> Answer:
        return self._kept(request, here)

    def _upload(self, request: Request, here: dict) -> Answer:
        return self._kept(request, here)

    def _kept(self, request: Request, here: dict) -> Answer:
        for part in parts(request):
            number = str(len(self.uploads.bytes))
            self.uploads.bytes[number] = part.content
            links = self._links(f"{self._at(here)}/downloads/{part.filename}")
            kept = {"type": "download", "name": part.filename, "size": len(part.content), "links": links}
            here["downloads"].append(kept | {"number": number})
        return Answer(201, headers=NO_BODY)

    def _download(self, request: Request, here: dict, name: str) -> Answer:
        number = next(each["number"] for each in here["downloads"] if each["name"] == name)
        return Answer(302, headers={"location": self.uploads.url(number)})

    def _hook(self, request: Request, here: dict) -> Answer:
        uuid = "{00000000-0000-4000-8000-000000000000}"
        links = self._links(f"{self._at(here)}/hooks/{uuid}")
        return Answer(201, {"type": "webhook_subscription", "uuid": uuid, "links": links} | request.json())

    # What is told of each.

    def _at(self, here: dict) -> str:
        return f"{self.base}/repositories/{WORKSPACE}/{here['slug']}"

    def _links(self, own: str) -> dict:
        return {"self": {"href": own}, "html": {"href": "https://bitbucket.org/acme"}}

    def _short(self, here: dict) -> dict:
        full = f"{WORKSPACE}/{here['slug']}"
        return {"type": "repository", "full_name": full, "name": here["slug"], "links": self._links(self._at(here))}

    def _repository(self, here: dict) -> dict:
        at = self._at(here)
        links = self._links(at) | {name: {"href": f"{at}/{name}"} for name in ("pullrequests", "forks", "hooks")}
        told = {"slug": here["slug"], "description": here["description"], "is_private": True, "links": links}
        return self._short(here) | told | {"project": {"type": "project", "key": "WEB"}, "created_on": WHEN}

    def _workspace(self) -> dict:
        at = f"{self.base}/workspaces/{WORKSPACE}"
        links = self._links(at) | {name: {"href": f"{at}/{name}"} for name in ("projects", "members")}
        links["repositories"] = {"href": f"{self.base}/repositories/{WORKSPACE}"}
        return {"type": "workspace", "slug": WORKSPACE, "name": "Acme", "uuid": ACCOUNT, "links": links}

    def _projects(self) -> list[dict]:
        at = f"{self.base}/workspaces/{WORKSPACE}/projects"
        return [
            {
                "type": "project",
                "key": key,
                "name": key.title(),
                "links": self._links(f"{at}/{key}")
                | {"repositories": {"href": f"{self.base}/repositories/{WORKSPACE}"}},
            }
            for key in PROJECTS
        ]

    def _account(self) -> dict:
        links = self._links(f"{self.base}/users/{ACCOUNT}")
        return {"type": "user", "uuid": ACCOUNT, "display_name": "Dana", "nickname": "dana", "links": links}


def _error(status: int, message: str) -> Answer:
    return Answer(status, {"type": "error", "error": {"message": message}})
