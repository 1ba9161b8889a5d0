"""A Jira Cloud site: REST v2 and v3, as far as its SDKs go in these checks.

Every answer names the site's own origin, as Jira does: in `self`, `nextPage`, `content`, `avatarUrls`. An SDK that
follows one would go around the gate.
"""

import re
from base64 import b64encode

from .files import Files
from .server import Answer, Request

# Attachments whose names begin so are kept on the host that the gate's catalog lists.
ON_LISTED_HOST = "listed-"
# Jira may answer with fewer than were asked for; so that each list has more than one page.
PAGE_MAX = 3
ACCOUNT_ID = "5b10ac8d82e05b22cc7d4ef5"
WHEN = "2025-11-20T09:00:00.000+0000"
PROJECTS = ["PROJ", "SEC", "LEGAL", "HR", "OPS", "WEB", "APP"]
ISSUES = {"PROJ": 7, "SEC": 2, "LEGAL": 1}
STATUSES = {"1": "To Do", "3": "In Progress", "10001": "Done"}


class Jira:
    """`bearer`, `basic`: the real credentials that the site takes, and no other. `jwt`: the issuer of a Connect app."""

    def __init__(self, origin: str, hosts: tuple[Files, Files], bearer: list[str], basic: list[str], jwt: bool):
        """`hosts`: for the bytes of files; the gate's catalog lists the second of them."""
        self.origin = origin
        self.hosts = hosts
        self.taken = [f"Bearer {each}" for each in bearer]
        self.taken += [f"Basic {b64encode(each.encode()).decode()}" for each in basic]
        self.jwt = jwt
        self.issues: dict[str, dict] = {}
        self.webhooks = 0
        for project, count in ISSUES.items():
            for number in range(1, count + 1):
                self._add(project, {"summary": f"{project} needs a hand, {number}"})

    def answer(self, request: Request) -> Answer:
        credential = request.headers.get("authorization", "")
        if credential not in self.taken and not (self.jwt and credential.startswith("JWT ")):
            return Answer(401, {"code": 401, "message": "Unauthorized"})
        # The OAuth gateway has the same API below `/ex/jira/{cloudId}`.
        found = re.fullmatch(r"(?:/ex/jira/[^/]+)?/rest/api/(2|3|latest)(/.*)", request.path)
        if not found:
            return Answer(404, {"errorMessages": ["this site is small"], "errors": {}})
        version = "2" if found[1] == "latest" else found[1]
        return self._route(request, f"{self.origin}/rest/api/{version}", found[2])

    def _route(self, request: Request, base: str, path: str) -> Answer:
        for method, pattern, handle in self._routes():
            found = re.fullmatch(pattern, path)
            if method == request.method and found:
                return handle(request, base, *found.groups())
        return Answer(404, {"errorMessages": [f"{request.method} {path} is not on this site"], "errors": {}})

    def _routes(self):
        yield "GET", "/serverInfo", self._server_info
        yield "GET", "/myself", lambda request, base: Answer(body=self._user(base))
        yield "GET", "/field", self._fields
        yield "GET", "/project", lambda request, base: Answer(body=[self._project(base, key) for key in PROJECTS])
        yield "GET", "/project/search", self._project_search
        yield "GET", r"/project/([A-Z]+)", lambda request, base, key: Answer(body=self._project(base, key))
        yield "GET", "/search/jql", lambda request, base: self._search_by_token(base, request.query)
        yield "POST", "/search/jql", lambda request, base: self._search_by_token(base, request.json())
        yield "GET", "/search", lambda request, base: self._search_by_start(base, request.query)
        yield "POST", "/search", lambda request, base: self._search_by_start(base, request.json())
        yield "POST", "/issue", self._create
        yield "GET", r"/issue/([^/]+)", self._issue_get
        yield "PUT", r"/issue/([^/]+)", self._issue_edit
        yield "DELETE", r"/issue/([^/]+)", self._issue_delete
        yield "GET", r"/issue/([^/]+)/comment", self._comments
        yield "POST", r"/issue/([^/]+)/comment", self._comment_add
        yield "GET", r"/issue/([^/]+)/transitions", self._transitions
        yield "POST", r"/issue/([^/]+)/transitions", self._transition
        yield "POST", r"/issue/([^/]+)/attachments", self._attach
        yield "GET", r"/attachment/content/([0-9]+)", self._attachment_content
        yield (
            "GET",
            "/permissionscheme",
            lambda request, base: Answer(body={"permissionSchemes": [self._scheme(base, "10000")]}),
        )
        yield "PUT", "/permissionscheme/([0-9]+)", lambda request, base, id: Answer(body=self._scheme(base, id))
        yield "POST", "/webhook", self._register

    def _server_info(self, request: Request, base: str) -> Answer:
        return Answer(
            body={
                "baseUrl": self.origin,
                "displayUrl": self.origin,
                "version": "1001.0.0-SNAPSHOT",
                "versionNumbers": [1001, 0, 0],
                "deploymentType": "Cloud",
                "buildNumber": 100281,
                "buildDate": WHEN,
                "serverTime": WHEN,
                "scmInfo": "0" * 40,
                "serverTitle": "Jira",
            }
        )

    def _fields(self, request: Request, base: str) -> Answer:
        fields = [
            ("summary", "Summary", "string"),
            ("status", "Status", "status"),
            ("description", "Description", "string"),
        ]
        return Answer(
            body=[
                {
                    "id": id,
                    "key": id,
                    "name": name,
                    "custom": False,
                    "orderable": True,
                    "navigable": True,
                    "searchable": True,
                    "clauseNames": [id],
                    "schema": {"type": kind, "system": id},
                }
                for id, name, kind in fields
            ]
        )

    def _project_search(self, request: Request, base: str) -> Answer:
        start = int(request.query.get("startAt", 0))
        size = min(int(request.query.get("maxResults", 50)), PAGE_MAX)
        end = start + size
        here = f"{base}/project/search?maxResults={size}&startAt="
        page = {
            "self": f"{here}{start}",
            "maxResults": size,
            "startAt": start,
            "total": len(PROJECTS),
            "isLast": end >= len(PROJECTS),
            "values": [self._project(base, key) for key in PROJECTS[start:end]],
        }
        return Answer(body=page if page["isLast"] else page | {"nextPage": f"{here}{end}"})

    def _search_by_token(self, base: str, asked: dict) -> Answer:
        found = self._matching(asked.get("jql", ""))
        start = int(str(asked.get("nextPageToken") or "t0").removeprefix("t"))
        end = start + min(int(asked.get("maxResults") or 50), PAGE_MAX)
        page = {"issues": [self._issue(base, issue) for issue in found[start:end]], "isLast": end >= len(found)}
        return Answer(body=page if page["isLast"] else page | {"nextPageToken": f"t{end}"})

    def _search_by_start(self, base: str, asked: dict) -> Answer:
        found = self._matching(asked.get("jql", ""))
        start = int(asked.get("startAt") or 0)
        size = min(int(asked.get("maxResults") or 50), PAGE_MAX)
        issues = [self._issue(base, issue) for issue in found[start : start + size]]
        return Answer(body={"startAt": start, "maxResults": size, "total": len(found), "issues": issues})

    def _matching(self, jql: str) -> list[dict]:
        wanted = re.search(r"project\s*=\s*\"?(\w+)", jql)
        return [issue for issue in self.issues.values() if not wanted or issue["project"] == wanted[1]]

    def _create(self, request: Request, base: str) -> Answer:
        fields = request.json()["fields"]
        issue = self._add(fields["project"]["key"], fields)
        return Answer(201, {"id": issue["id"], "key": issue["key"], "self": f"{base}/issue/{issue['id']}"})

    def _issue_get(self, request: Request, base: str, name: str) -> Answer:
        issue = self._named(name)
        return Answer(body=self._issue(base, issue)) if issue else _no_issue()

    def _issue_edit(self, request: Request, base: str, name: str) -> Answer:
        issue = self._named(name)
        if not issue:
            return _no_issue()
        issue["fields"].update(request.json().get("fields", {}))
        return Answer(204)

    def _issue_delete(self, request: Request, base: str, name: str) -> Answer:
        issue = self._named(name)
        if not issue:
            return _no_issue()
        del self.issues[issue["key"]]
        return Answer(204)

    def _comments(self, request: Request, base: str, name: str) -> Answer:
        issue = self._named(name)
        start = int(request.query.get("startAt", 0))
        size = min(int(request.query.get("maxResults", 50)), PAGE_MAX)
        all = [self._comment(base, issue, comment) for comment in issue["comments"]]
        return Answer(
            body={"startAt": start, "maxResults": size, "total": len(all), "comments": all[start : start + size]}
        )

    def _comment_add(self, request: Request, base: str, name: str) -> Answer:
        issue = self._named(name)
        if not issue:
            return _no_issue()
        issue["comments"].append({"id": str(20000 + len(issue["comments"])), "body": request.json()["body"]})
        return Answer(201, self._comment(base, issue, issue["comments"][-1]))

    def _transitions(self, request: Request, base: str, name: str) -> Answer:
        transitions = [
            {"id": f"{index}1", "name": status, "to": self._status(base, id), "hasScreen": False, "isAvailable": True}
            for index, (id, status) in enumerate(STATUSES.items(), 1)
        ]
        return Answer(body={"expand": "transitions", "transitions": transitions})

    def _transition(self, request: Request, base: str, name: str) -> Answer:
        issue = self._named(name)
        index = int(request.json()["transition"]["id"]) // 10 - 1
        issue["status"] = list(STATUSES)[index]
        return Answer(204)

    def _attach(self, request: Request, base: str, name: str) -> Answer:
        if request.headers.get("x-atlassian-token") != "no-check" or "multipart/form-data" not in request.content_type:
            return Answer(403, {"errorMessages": ["XSRF check failed"], "errors": {}})
        issue = self._named(name)
        named = re.search(rb'filename="([^"]*)"', request.body)
        content = request.body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        filename = named[1].decode()
        id = str(30000 + sum(len(host.bytes) for host in self.hosts))
        self.hosts[filename.startswith(ON_LISTED_HOST)].bytes[id] = content
        attachment = {"id": id, "filename": filename, "size": len(content)}
        issue["attachments"].append(attachment)
        return Answer(body=[self._attachment(base, attachment)])

    def _attachment_content(self, request: Request, base: str, id: str) -> Answer:
        for host in self.hosts:
            if id in host.bytes:
                return Answer(303, headers={"location": host.url(id)})
        return Answer(404, {"errorMessages": ["no such attachment"], "errors": {}})

    def _register(self, request: Request, base: str) -> Answer:
        self.webhooks += 1
        return Answer(body={"webhookRegistrationResult": [{"createdWebhookId": self.webhooks}]})

    def _add(self, project: str, fields: dict) -> dict:
        count = sum(issue["project"] == project for issue in self.issues.values()) + 1
        key = f"{project}-{count}"
        issue = {"id": str(10100 + len(self.issues)), "key": key, "project": project, "fields": dict(fields)}
        self.issues[key] = issue | {"status": "1", "comments": [], "attachments": []}
        return self.issues[key]

    def _named(self, name: str) -> dict | None:
        by_id = (issue for issue in self.issues.values() if issue["id"] == name)
        return self.issues.get(name) or next(by_id, None)

    def _issue(self, base: str, issue: dict) -> dict:
        fields = {
            "issuetype": {"self": f"{base}/issuetype/10001", "id": "10001", "name": "Task", "subtask": False},
            "project": self._project(base, issue["project"]),
            "status": self._status(base, issue["status"]),
            "reporter": self._user(base),
            "created": WHEN,
            "attachment": [self._attachment(base, attachment) for attachment in issue["attachments"]],
        }
        shown = {"id": issue["id"], "key": issue["key"], "self": f"{base}/issue/{issue['id']}", "expand": "names"}
        return shown | {"fields": issue["fields"] | fields}

    def _project(self, base: str, key: str) -> dict:
        id = str(10000 + PROJECTS.index(key)) if key in PROJECTS else "10999"
        return {
            "self": f"{base}/project/{id}",
            "id": id,
            "key": key,
            "name": key.title(),
            "projectTypeKey": "software",
            "simplified": False,
            "style": "classic",
            "isPrivate": False,
            "avatarUrls": self._avatars(),
        }

    def _status(self, base: str, id: str) -> dict:
        return {"self": f"{base}/status/{id}", "id": id, "name": STATUSES[id], "description": ""}

    def _user(self, base: str) -> dict:
        return {
            "self": f"{base}/user?accountId={ACCOUNT_ID}",
            "accountId": ACCOUNT_ID,
            "accountType": "atlassian",
            "displayName": "Dana",
            "active": True,
            "timeZone": "Etc/UTC",
            "avatarUrls": self._avatars(),
        }

    def _comment(self, base: str, issue: dict, comment: dict) -> dict:
        url = f"{base}/issue/{issue['id']}/comment/{comment['id']}"
        return comment | {"self": url, "author": self._user(base), "created": WHEN, "updated": WHEN}

    def _attachment(self, base: str, attachment: dict) -> dict:
        return {
            "self": f"{base}/attachment/{attachment['id']}",
            "id": attachment["id"],
            "filename": attachment["filename"],
            "author": self._user(base),
            "created": WHEN,
            "size": attachment["size"],
            "mimeType": "text/plain",
            "content": f"{base}/attachment/content/{attachment['id']}",
        }

    def _scheme(self, base: str, id: str) -> dict:
        return {"self": f"{base}/permissionscheme/{id}", "id": int(id), "name": "Default Permission Scheme"}

    def _avatars(self) -> dict:
        return {"48x48": f"{self.origin}/secure/projectavatar?avatarId=10200"}


def _no_issue() -> Answer:
    text = "Issue does not exist or you do not have permission to see it."
    return Answer(404, {"errorMessages": [text], "errors": {}})
