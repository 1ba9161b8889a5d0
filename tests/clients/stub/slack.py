"""A Slack workspace: the Web API, as far as its SDKs go in these checks."""

import re

from .files import Files
from .server import Answer, Request

TEAM = "T024BE7LD"
# So that each list has more than one page.
PAGE_MAX = 2
CHANNELS = {"C0HELP": "help", "C0TRIAGE": "triage", "C0EXEC": "exec", "C0ADS": "ads", "C0NEWS": "news"}
USERS = {"U0DANA": "dana", "U0LEE": "lee", "U0KIM": "kim", "U0ASSIST": "assist", "U0ROB": "rob"}
MESSAGES = 5
# Methods that take no JSON, only a form (`json_input_supported` of the vendor's description is not set).
FORM_ONLY = {"auth.revoke", "files.getUploadURLExternal", "conversations.history", "conversations.list", "users.list"}


class Slack:
    """`tokens`: the real tokens that the workspace takes, with the user that each stands for."""

    def __init__(self, origin: str, files_host: Files, tokens: dict[str, str]):
        self.origin = origin
        self.files_host = files_host
        self.tokens = {f"Bearer {token}": user for token, user in tokens.items()}
        self.files: dict[str, dict] = {}
        self.sent = 0

    def answer(self, request: Request) -> Answer:
        method = request.path.removeprefix("/api/")
        user = self.tokens.get(request.headers.get("authorization", ""))
        if user is None:
            return _no("invalid_auth")
        if method in FORM_ONLY and request.body and request.content_type.startswith("application/json"):
            return _no("invalid_post_type")
        handle = self._methods().get(method)
        if handle is None:
            return _no("unknown_method")
        answer = handle(user, request.arguments())
        return answer if isinstance(answer, Answer) else Answer(body={"ok": True} | answer)

    def _methods(self):
        return {
            "api.test": lambda user, asked: {"args": asked},
            "auth.test": self._who,
            "conversations.list": lambda user, asked: _page(asked, "channels", [self._channel(id) for id in CHANNELS]),
            "conversations.history": self._history,
            "conversations.info": lambda user, asked: {"channel": self._channel(asked["channel"])},
            "conversations.open": lambda user, asked: {"channel": {"id": "D0LEE"}},
            "users.list": lambda user, asked: _page(asked, "members", [self._user(id) for id in USERS]),
            "users.info": lambda user, asked: {"user": self._user(asked["user"])},
            "team.info": lambda user, asked: {"team": {"id": TEAM, "name": "Acme Corp", "domain": "acme"}},
            "chat.postMessage": self._post,
            "chat.update": lambda user, asked: {"channel": asked["channel"], "ts": asked["ts"], "text": asked["text"]},
            "chat.delete": lambda user, asked: {"channel": asked["channel"], "ts": asked["ts"]},
            "reactions.add": lambda user, asked: {},
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete,
            "files.info": lambda user, asked: {"file": self._file(asked["file"])},
        }

    def _who(self, user: str, asked: dict) -> dict:
        return {"url": f"{self.origin}/", "team": "Acme Corp", "user": USERS[user], "team_id": TEAM, "user_id": user}

    def _history(self, user: str, asked: dict) -> dict | Answer:
        if asked["channel"] not in CHANNELS:
            return _no("channel_not_found")
        messages = [self._message("U0DANA", f"my laptop is slow, {number}", number) for number in range(MESSAGES)]
        page = _page(asked, "messages", messages)
        return page | {"has_more": bool(page["response_metadata"]["next_cursor"])}

    def _post(self, user: str, asked: dict) -> dict | Answer:
        if not asked.get("text"):
            return _no("no_text")
        self.sent += 1
        message = self._message(user, asked["text"], 1000 + self.sent)
        return {"channel": asked["channel"], "ts": message["ts"], "message": message}

    def _upload_url(self, user: str, asked: dict) -> dict:
        id = f"F{len(self.files) + 1:08d}"
        self.files[id] = {"name": asked["filename"], "user": user, "shared": []}
        return {"upload_url": self.files_host.url(id), "file_id": id}

    def _complete(self, user: str, asked: dict) -> dict | Answer:
        files = asked["files"]
        ids = re.findall(r"F[0-9]{8}", files if isinstance(files, str) else str(files))
        if not ids or any(id not in self.files_host.bytes for id in ids):
            return _no("file_not_found")
        for id in ids:
            self.files[id]["shared"].append(asked.get("channel_id"))
        return {"files": [{"id": id, "title": self.files[id]["name"]} for id in ids]}

    def _channel(self, id: str) -> dict:
        return {"id": id, "name": CHANNELS[id], "is_channel": True, "is_private": False, "is_member": True}

    def _user(self, id: str) -> dict:
        profile = {"image_48": f"{self.origin}/avatars/{id}.png", "display_name": USERS[id]}
        return {"id": id, "team_id": TEAM, "name": USERS[id], "deleted": False, "profile": profile}

    def _message(self, user: str, text: str, number: int) -> dict:
        return {"type": "message", "user": user, "text": text, "ts": f"1764000000.{number:06d}", "team": TEAM}

    def _file(self, id: str) -> dict:
        file = self.files[id]
        url = f"{self.origin}/files-pri/{TEAM}-{id}/{file['name']}"
        size = len(self.files_host.bytes[id])
        return {"id": id, "name": file["name"], "user": file["user"], "url_private": url, "size": size}


def _page(asked: dict, name: str, all: list) -> dict:
    start = int(str(asked.get("cursor") or "dGVhbQ0").removeprefix("dGVhbQ"))
    end = start + min(int(asked.get("limit") or 100), PAGE_MAX)
    cursor = f"dGVhbQ{end}" if end < len(all) else ""
    return {name: all[start:end], "response_metadata": {"next_cursor": cursor}}


def _no(error: str) -> Answer:
    return Answer(body={"ok": False, "error": error})
