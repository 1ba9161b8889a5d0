"""A Confluence Cloud site: REST v1 and v2, as far as its SDKs go in these checks.

Its links are relative beside a `base` that names the site's own origin, as Confluence's are, and `self` is whole.
"""

import re
from base64 import b64encode

from .files import Files
from .server import Answer, Request, parts

# Confluence may answer with fewer than were asked for; so that each list has more than one page.
PAGE_MAX = 3
ACCOUNT_ID = "5b10ac8d82e05b22cc7d4ef5"
WHEN = "2025-11-20T09:00:00.000Z"
# Version 1 names a space by its key, version 2 by its number.
SPACES = {key: str(98305 + index) for index, key in enumerate(["ENG", "HR", "LEGAL", "OPS", "WEB", "DOCS", "TEAM"])}
PAGES = {"ENG": 7, "HR": 2, "LEGAL": 1}
GROUPS = ["administrators", "developers", "writers"]


class Confluence:
    """`bearer`, `basic`: the real credentials that the site takes, and no other. `jwt`: the issuer of a Connect app."""

    def __init__(self, origin: str, media: Files, bearer: list[str], basic: list[str], jwt: bool):
        """`media`: where the bytes of attachments are, a host that the gate's catalog lists."""
        self.origin, self.media = origin, media
        self.taken = [f"Bearer {each}" for each in bearer]
        self.taken += [f"Basic {b64encode(each.encode()).decode()}" for each in basic]
        self.jwt = jwt
        self.pages: dict[str, dict] = {}
        self.templates: dict[str, dict] = {}
        for space, count in PAGES.items():
            for number in range(1, count + 1):
                self._add(space, f"{space} page {number}", "<p>words</p>")

    def answer(self, request: Request) -> Answer:
        credential = request.headers.get("authorization", "")
        if credential not in self.taken and not (self.jwt and credential.startswith("JWT ")):
            return Answer(401, {"code": 401, "message": "Unauthorized"})
        # The OAuth gateway has the same API below `/ex/confluence/{cloudId}`.
        path = re.sub(r"^/ex/confluence/[^/]+", "", request.path)
        for method, pattern, handle in self._routes():
            found = re.fullmatch(pattern, path)
            if method == request.method and found:
                return handle(request, *found.groups())
        return Answer(404, {"statusCode": 404, "message": f"{request} is not on this site"})

    def _routes(self):
        for method, pattern, handle in self._routes_of_version_1():
            yield method, f"/wiki/rest/api{pattern}", handle
        for method, pattern, handle in self._routes_of_version_2():
            yield method, f"/wiki/api/v2{pattern}", handle

    # Version 1: lists by `start`, whose links lead on from `base`.

    def _routes_of_version_1(self):
        yield "GET", "/user/current", lambda request: Answer(body=self._user())
        yield "GET", "/settings/systemInfo", lambda request: Answer(body={"cloudId": "acme", "commitHash": "0" * 40})
        yield "GET", "/group", lambda request: self._list(request, [{"type": "group", "name": name} for name in GROUPS])
        yield "GET", "/space", lambda request: self._list(request, [self._space(key) for key in SPACES])
        yield "GET", "/space/([A-Z]+)", lambda request, key: Answer(body=self._space(key))
        yield "GET", "/space/([A-Z]+)/content/page", lambda request, key: self._list(request, self._in(key))
        yield "GET", "/content", self._contents
        yield "POST", "/content", self._create
        yield "GET", "/content/([0-9]+)", lambda request, id: self._with(id, lambda page: Answer(body=self._old(page)))
        yield "PUT", "/content/([0-9]+)", self._update
        yield "DELETE", "/content/([0-9]+)", self._delete
        yield "GET", "/content/([0-9]+)/child/page", self._children
        yield "GET", "/content/([0-9]+)/child/attachment", self._attachments
        yield "POST", "/content/([0-9]+)/child/attachment", self._attach
        yield "PUT", "/content/([0-9]+)/child/attachment", self._attach
        yield "GET", "/content/([0-9]+)/child/attachment/(att[0-9]+)/download", self._download
        yield "POST", "/content/([0-9]+)/label", self._label
        yield "PUT", "/content/([0-9]+)/move/(before|after|append)/([0-9]+)", self._move
        yield "POST", "/content/([0-9]+)/copy", self._copy
        yield "GET", "/(?:content/)?search", self._search
        yield "POST", "/template", self._template
        yield "GET", "/template/([0-9]+)", lambda request, id: Answer(body=self.templates[id])

    def _list(self, request: Request, all: list[dict]) -> Answer:
        start = int(request.query.get("start", 0))
        size = min(int(request.query.get("limit", 25)), PAGE_MAX)
        links = {"base": f"{self.origin}/wiki", "context": "/wiki", "self": f"{self.origin}{request.target}"}
        if start + size < len(all):
            kept = "".join(f"&{name}={request.query[name]}" for name in ("cql", "spaceKey") if name in request.query)
            path = request.path.removeprefix("/wiki")
            links["next"] = f"{path}?limit={size}&start={start + size}{kept.replace(' ', '%20')}"
        results = all[start : start + size]
        return Answer(body={"results": results, "start": start, "limit": size, "size": len(results), "_links": links})

    def _contents(self, request: Request) -> Answer:
        found = self._in(request.query["spaceKey"]) if "spaceKey" in request.query else self._all()
        return self._list(
            request, [each for each in found if request.query.get("title", each["title"]) == each["title"]]
        )

    def _create(self, request: Request) -> Answer:
        asked = request.json()
        if asked["type"] == "comment":
            return self._with(asked["container"]["id"], lambda page: self._comment(page, asked["body"]))
        parent = asked.get("ancestors", [{}])[0].get("id")
        page = self._add(asked["space"]["key"], asked["title"], asked["body"]["storage"]["value"], parent)
        return Answer(body=self._old(page))

    def _comment(self, page: dict, body: dict) -> Answer:
        page["comments"].append({"id": str(70000 + len(page["comments"])), "type": "comment", "body": body})
        return Answer(body=page["comments"][-1])

    def _update(self, request: Request, id: str) -> Answer:
        asked = request.json()
        return self._with(id, lambda page: self._changed(page, asked, asked.get("body", {}).get("storage"), self._old))

    def _delete(self, request: Request, id: str) -> Answer:
        return Answer(204) if self.pages.pop(id, None) else _no_content()

    def _children(self, request: Request, id: str) -> Answer:
        return self._list(request, [self._old(page) for page in self.pages.values() if page["parent"] == id])

    def _attachments(self, request: Request, id: str) -> Answer:
        return self._with(id, lambda page: self._list(request, page["attachments"]))

    def _attach(self, request: Request, id: str) -> Answer:
        if request.headers.get("x-atlassian-token") != "no-check" or "multipart/form-data" not in request.content_type:
            return Answer(403, {"statusCode": 403, "message": "XSRF check failed"})
        return self._with(id, lambda page: self._list(request, self._kept(page, request)))

    def _kept(self, page: dict, request: Request) -> list[dict]:
        for part in parts(request):
            if part.name == "file":
                id = str(90000 + len(self.media.bytes))
                self.media.bytes[id] = part.content
                link = f"{self.origin}/wiki/rest/api/content/att{id}"
                page["attachments"].append({"id": f"att{id}", "title": part.filename, "_links": {"self": link}})
        return page["attachments"][-1:]

    def _download(self, request: Request, page: str, attachment: str) -> Answer:
        return Answer(302, headers={"location": self.media.url(attachment.removeprefix("att"))})

    def _label(self, request: Request, id: str) -> Answer:
        asked = request.json()
        labels = [each["name"] for each in (asked if isinstance(asked, list) else [asked])]
        return self._with(id, lambda page: page["labels"].extend(labels) or self._list(request, self._labels(page)))

    def _labels(self, page: dict) -> list[dict]:
        return [{"prefix": "global", "name": name, "id": name} for name in page["labels"]]

    def _move(self, request: Request, id: str, position: str, target: str) -> Answer:
        at = self.pages[target]
        parent = at["id"] if position == "append" else at["parent"]
        return self._with(id, lambda page: page.update(parent=parent, space=at["space"]) or Answer(body={"pageId": id}))

    def _copy(self, request: Request, id: str) -> Answer:
        to = request.json()["destination"]
        below = self.pages[to["value"]] if to["type"] == "parent_page" else {"space": to["value"], "id": None}
        title = request.json().get("pageTitle")
        return self._with(
            id,
            lambda page: Answer(
                body=self._old(self._add(below["space"], title or page["title"], page["body"], below["id"]))
            ),
        )

    def _search(self, request: Request) -> Answer:
        wanted = re.search(r"space\s*=\s*\"?(\w+)", request.query["cql"])
        found = self._in(wanted[1]) if wanted else self._all()
        if request.path.endswith("/content/search"):
            return self._list(request, found)
        return self._list(request, [{"content": each, "title": each["title"]} for each in found])

    def _template(self, request: Request) -> Answer:
        id = str(60000 + len(self.templates))
        self.templates[id] = request.json() | {"templateId": id}
        return Answer(body=self.templates[id])

    # Version 2: lists by a cursor.

    def _routes_of_version_2(self):
        yield "GET", "/spaces", self._spaces
        yield "GET", "/spaces/([0-9]+)", lambda request, id: Answer(body=self._new_space(_key(id)))
        yield "GET", "/spaces/([0-9]+)/pages", lambda request, id: self._page(request, self._new_in(_key(id)))
        yield "GET", "/pages", self._new_pages
        yield "POST", "/pages", self._new_create
        yield "GET", "/pages/([0-9]+)", lambda request, id: self._with(id, lambda page: Answer(body=self._new(page)))
        yield "PUT", "/pages/([0-9]+)", self._new_update
        yield "DELETE", "/pages/([0-9]+)", self._delete
        yield (
            "GET",
            "/pages/([0-9]+)/labels",
            lambda request, id: self._with(id, lambda page: self._page(request, self._labels(page))),
        )

    def _page(self, request: Request, all: list[dict]) -> Answer:
        start = int(request.query.get("cursor", "c0").removeprefix("c"))
        end = start + min(int(request.query.get("limit", 25)), PAGE_MAX)
        body = {"results": all[start:end], "_links": {"base": f"{self.origin}/wiki"}}
        if end >= len(all):
            return Answer(body=body)
        kept = "".join(f"&{name}={request.query[name]}" for name in ("space-id",) if name in request.query)
        following = f"{request.path}?limit={end - start}&cursor=c{end}{kept}"
        body["_links"]["next"] = following
        return Answer(body=body, headers={"link": f'<{self.origin}{following}>; rel="next"'})

    def _spaces(self, request: Request) -> Answer:
        keys = request.query["keys"].split(",") if "keys" in request.query else list(SPACES)
        return self._page(request, [self._new_space(key) for key in keys])

    def _new_pages(self, request: Request) -> Answer:
        if "space-id" in request.query:
            found = self._new_in(_key(request.query["space-id"]))
        else:
            found = [self._new(page) for page in self.pages.values()]
        return self._page(
            request, [each for each in found if request.query.get("title", each["title"]) == each["title"]]
        )

    def _new_create(self, request: Request) -> Answer:
        asked = request.json()
        page = self._add(
            _key(asked["spaceId"]), asked["title"], asked["body"]["storage"]["value"], asked.get("parentId")
        )
        return Answer(body=self._new(page))

    def _new_update(self, request: Request, id: str) -> Answer:
        asked = request.json()
        return self._with(id, lambda page: self._changed(page, asked, asked.get("body", {}).get("storage"), self._new))

    # What both versions tell.

    def _with(self, id: str, handle) -> Answer:
        page = self.pages.get(id)
        return handle(page) if page else _no_content()

    def _changed(self, page: dict, asked: dict, body: dict | None, shown) -> Answer:
        page["title"] = asked.get("title", page["title"])
        page["body"] = body["value"] if body else page["body"]
        page["version"] = asked["version"]["number"]
        return Answer(body=shown(page))

    def _add(self, space: str, title: str, body: str, parent: str | None = None) -> dict:
        id = str(40000 + len(self.pages))
        page = {"id": id, "space": space, "title": title, "body": body, "parent": parent, "version": 1}
        self.pages[id] = page | {"labels": [], "comments": [], "attachments": []}
        return self.pages[id]

    def _all(self) -> list[dict]:
        return [self._old(page) for page in self.pages.values()]

    def _in(self, space: str) -> list[dict]:
        return [self._old(page) for page in self.pages.values() if page["space"] == space]

    def _new_in(self, space: str) -> list[dict]:
        return [self._new(page) for page in self.pages.values() if page["space"] == space]

    def _old(self, page: dict) -> dict:
        return {
            "id": page["id"],
            "type": "page",
            "status": "current",
            "title": page["title"],
            "space": self._space(page["space"]),
            "version": {"number": page["version"], "by": self._user()},
            "body": {"storage": {"value": page["body"], "representation": "storage"}},
            "_links": {"self": f"{self.origin}/wiki/rest/api/content/{page['id']}", "webui": f"/pages/{page['id']}"},
        }

    def _new(self, page: dict) -> dict:
        return {
            "id": page["id"],
            "status": "current",
            "title": page["title"],
            "spaceId": SPACES[page["space"]],
            "parentId": page["parent"],
            "authorId": ACCOUNT_ID,
            "createdAt": WHEN,
            "version": {"number": page["version"], "createdAt": WHEN},
            "body": {"storage": {"value": page["body"], "representation": "storage"}},
            "_links": {"base": f"{self.origin}/wiki", "webui": f"/pages/{page['id']}"},
        }

    def _space(self, key: str) -> dict:
        links = {"self": f"{self.origin}/wiki/rest/api/space/{key}", "webui": f"/spaces/{key}"}
        return {"id": int(SPACES[key]), "key": key, "name": key.title(), "type": "global", "_links": links}

    def _new_space(self, key: str) -> dict:
        return {"id": SPACES[key], "key": key, "name": key.title(), "type": "global", "status": "current"}

    def _user(self) -> dict:
        link = f"{self.origin}/wiki/rest/api/user?accountId={ACCOUNT_ID}"
        return {"type": "known", "accountId": ACCOUNT_ID, "displayName": "Dana", "_links": {"self": link}}


def _key(id: str) -> str:
    return next(key for key, number in SPACES.items() if number == id)


def _no_content() -> Answer:
    return Answer(404, {"statusCode": 404, "message": "No content found with the given id, or you may not see it."})
