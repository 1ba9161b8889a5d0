"""atlassian-python-api's three clients of Confluence, as an app uses them, against the gate."""

import logging
import warnings

from atlassian import Confluence, ConfluenceV2
from atlassian.errors import ApiError
from requests.exceptions import HTTPError

from checks import Checks, equal, holds, raised, told_by

# What it would write on standard error: the refusals that are asked for here, and that version 1 is old.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

checks = Checks("atlassian-python-api:confluence")
GATE = checks.gates["confluence"]
SPACES = ["ENG", "HR", "LEGAL", "OPS", "WEB", "DOCS", "TEAM"]
ENG, HR, LEGAL = "98305", "98306", "98307"


class Clients:
    """Of one credential: `old` for version 1 of the API, `new` and `cloud` for version 2."""

    def __init__(self, **credential):
        self.cloud = Confluence(url=f"{GATE}/wiki/api/v2", cloud=True, **credential)
        self.old = Confluence(url=f"{GATE}/wiki", cloud=False, **credential)
        self.new = ConfluenceV2(url=f"{GATE}/wiki", **credential)


docs = Clients(token=checks.keys["docs"])
reader = Clients(token=checks.keys["reader"])
# API tokens, shown as Basic. Version 1 calls a space by its key, version 2 by its number.
editor = Clients(username="editor@example.com", password=checks.keys["editor"]).old
filer = Clients(username="filer@example.com", password=checks.keys["filer"]).new


def refused(call, status: int, *arguments, **named) -> dict:
    """The call ends in the SDK's own error with this status; what the gate tells. The vendor's host sees nothing."""
    with checks.unseen():
        error = raised(HTTPError, call, *arguments, **named)
    return told_by(error, status)


def not_found(call, *arguments, **named) -> dict:
    """As above, where the SDK makes an error of its own of a 404, around that of the answer."""
    with checks.unseen():
        error = raised(ApiError, call, *arguments, **named)
    return told_by(error.reason, 404)


with checks.check("at start-up the user, the groups and the spaces are told"):
    equal(docs.old.get("rest/api/user/current")["displayName"], "Dana")
    equal(len(docs.old.get("rest/api/group")["results"]), 3)
    equal(docs.cloud.get_space(ENG)["key"], "ENG")
    equal(docs.new.get_space_by_key("ENG")["id"], ENG)
    equal(docs.old.get_space("ENG")["key"], "ENG")

with checks.check("reads: a page by version 1 and by version 2"):
    id = docs.new.get_page_by_title("ENG", "ENG page 1")["results"][0]["id"]
    equal(docs.new.get_page_by_id(id)["title"], "ENG page 1")
    equal(docs.old.get_page_by_id(id, expand="version")["version"]["number"], 1)
    equal(docs.old.get_page_space(id), "ENG")

with checks.check("the spaces are read to the last page, by a cursor, though `base` and `Link` name the vendor's host"):
    before = len(checks.seen())
    equal([space["key"] for space in docs.cloud.get_all_spaces()], SPACES)
    equal([space["key"] for space in docs.new.get_spaces()], SPACES)
    equal(checks.through_the_gate(before), 6)

with checks.check("the pages of a space, and what a query finds, are read to the last page"):
    before = len(checks.seen())
    titles = [f"ENG page {number}" for number in range(1, 8)]
    equal([page["title"] for page in docs.new.get_pages(space_id=ENG)], titles)
    equal([page["title"] for page in docs.old.get_all_pages_from_space_as_generator("ENG", limit=3)], titles)
    found = [docs.old.cql("space = ENG and type = page", start=start, limit=3) for start in range(0, 7, 3)]
    equal([each["title"] for page in found for each in page["results"]], titles)
    equal(checks.through_the_gate(before), 9)

with checks.check("below the path of Atlassian's OAuth gateway the same is read, for the tenant that it names"):
    gateway = ConfluenceV2(url=f"{GATE}/ex/confluence/acme/wiki", token=checks.keys["docs"])
    equal([space["key"] for space in gateway.get_spaces()], SPACES)
    elsewhere = ConfluenceV2(url=f"{GATE}/ex/confluence/elsewhere/wiki", token=checks.keys["docs"])
    equal(refused(elsewhere.get_spaces, 401)["reason"], "unknown_tenant")

with checks.check("a link that an answer gives is called as it stands, and goes through the gate"):
    before = len(checks.seen())
    link = docs.old.get_page_by_id("40000")["_links"]["self"]
    equal(docs.old.get(link, absolute=True)["id"], "40000")
    equal(checks.through_the_gate(before), 2)

with checks.check("writes: a page is made, changed, labelled, commented on and deleted"):
    page = docs.new.create_page(space_id=ENG, title="made by atlassian-python-api", body="<p>one</p>")
    equal(docs.new.update_page(page["id"], title="changed", body="<p>two</p>")["version"]["number"], 2)
    equal(docs.old.set_page_label(page["id"], "seen")["results"][0]["name"], "seen")
    equal(docs.old.add_comment(page["id"], "<p>an hour</p>")["type"], "comment")
    below = docs.old.create_page("ENG", "below", "<p>three</p>", parent_id=page["id"])
    equal([child["id"] for child in docs.old.get_page_child_by_type(page["id"])], [below["id"]])
    equal(docs.new.delete_page(below["id"]), True)
    equal(docs.new.get_page_by_id(page["id"])["title"], "changed")

with checks.check("a page is moved below another, and copied into another space"):
    first, second = (page["id"] for page in docs.new.get_pages(space_id=ENG)[:2])
    docs.old.put(f"rest/api/content/{second}/move/append/{first}")
    equal(docs.new.get_page_by_id(second)["parentId"], first)
    into_hr = {"destination": {"type": "space", "value": "HR"}, "pageTitle": "copied"}
    equal(docs.old.post(f"rest/api/content/{first}/copy", data=into_hr)["space"]["key"], "HR")

with checks.check("a file is attached and read through the gate, which fetches it from a host that the catalog lists"):
    before = len(checks.seen())
    attached = docs.old.attach_content(b"a log", "a.log", page_id="40002")["results"][0]
    equal(docs.old.get_attachments("40002")["results"][0]["title"], "a.log")
    path = f"rest/api/content/40002/child/attachment/{attached['id']}/download"
    equal(reader.old.get(path, not_json_response=True), b"a log")
    # It looks whether there is such a file before it sends one.
    equal(checks.through_the_gate(before), 4)

with checks.check("API tokens that are limited to spaces read and write there, by key and by number"):
    equal(editor.create_page("ENG", "by version 1", "<p>one</p>")["space"]["key"], "ENG")
    equal(editor.get_all_pages_from_space_raw("ENG")["results"][0]["title"], "ENG page 1")
    equal(filer.create_page(space_id=ENG, title="by version 2", body="<p>one</p>")["spaceId"], ENG)
    equal(filer.get_pages(space_id=ENG, title="by version 2", limit=1)[0]["title"], "by version 2")
    equal({each["headers"]["authorization"].split()[0] for each in checks.seen()[-4:]}, {"Basic"})

with checks.check("a write that is refused for want of a scope is a 401 that names the scope"):
    told = refused(reader.new.create_page, 401, space_id=ENG, title=checks.never, body="")
    equal((told["reason"], told["needed"]), ("missing_scope", ["write:page:confluence"]))
    holds(told["text"], "Unauthorized; scope does not match")
    told = refused(reader.old.create_page, 401, "ENG", checks.never, "<p></p>")
    equal((told["reason"], told["needed"]), ("missing_scope", ["write:confluence-content"]))

with checks.check("an upload that is refused for want of a scope is a 401, and nothing of the file arrives"):
    # It looks whether there is such a file before it sends one: that may pass.
    error = raised(HTTPError, reader.old.attach_content, checks.never.encode(), "b.log", page_id="40002")
    told = told_by(error, 401)
    equal((told["reason"], told["needed"]), ("missing_scope", ["write:confluence-file"]))

with checks.check("a space that is not granted, and one that was taken away, is a 404"):
    equal(not_found(editor.create_page, "HR", checks.never, "<p></p>")["reason"], "container_not_granted")
    equal(editor.get_space("HR")["key"], "HR")
    equal(not_found(editor.get_space, "LEGAL")["reason"], "container_revoked")
    equal(refused(editor.cql, 404, "space = LEGAL")["reason"], "container_revoked")
    told = refused(filer.create_page, 404, space_id=HR, title=checks.never, body="")
    equal(told["reason"], "container_not_granted")
    equal(refused(filer.get_pages, 404, space_id=LEGAL)["reason"], "container_revoked")

with checks.check("a query that may leave its space is refused whole"):
    refused(editor.cql, 404, "space = ENG or type = page")
    refused(editor.cql, 404, "type = page")

with checks.check("a scope that is revoked while the script runs is a 401 in both versions, and reading works on"):
    docs.new.create_page(space_id=ENG, title="before", body="")
    with checks.revoked("SEC-1142"):
        told = refused(docs.new.create_page, 401, space_id=ENG, title=checks.never, body="")
        equal((told["reason"], told["needed"]), ("scope_revoked", ["write:page:confluence"]))
        # The classic scope is granted still: the revocation reaches through to what the granular one stood for.
        refused(docs.old.create_page, 401, "ENG", checks.never, "<p></p>")
        refused(docs.old.put, 401, "rest/api/content/40001/move/append/40002")
        refused(docs.old.post, 401, "rest/api/content/40001/copy", data=into_hr)
        equal(docs.new.get_page_by_id("40001")["id"], "40001")
        filer.create_page(space_id=ENG, title="another app goes on", body="")
    checks.given_back(lambda: docs.new.create_page(space_id=ENG, title="after", body=""))

with checks.check("a scope that is revoked in one space while the script runs is a 404 there, and reading works on"):
    filer.create_page(space_id=ENG, title="before", body="")
    with checks.revoked("SEC-1143"):
        told = refused(filer.create_page, 404, space_id=ENG, title=checks.never, body="")
        equal(told["reason"], "container_revoked")
        equal(filer.get_space(ENG)["key"], "ENG")
        docs.new.create_page(space_id=ENG, title="another app goes on", body="")
    checks.given_back(lambda: filer.create_page(space_id=ENG, title="after", body=""))

with checks.check("a path that is no operation, and a strange key, are told as Confluence tells them"):
    equal(refused(docs.old.get, 404, "rest/ui/1.0/content/40001/labels")["reason"], "unknown_operation")
    stranger = ConfluenceV2(url=f"{GATE}/wiki", token="sg_of-nobody")
    equal(refused(stranger.get_space, 401, ENG)["reason"], "unknown_app")

with checks.check("while the product is away a call is a 502, once, and the same client goes on afterwards"):
    with checks.away(), checks.asked(1):
        equal(raised(HTTPError, docs.new.get_page_by_id, "40001").response.status_code, 502)
    equal(docs.new.get_page_by_id("40001")["id"], "40001")

with checks.check("a gate that has no policy yet is asked once, and is no authentication error"):
    early = ConfluenceV2(url=f"{checks.unready}/wiki", token=checks.keys["docs"])
    with checks.unseen(), checks.asked(1, unready=True):
        error = raised(HTTPError, early.get_page_by_id, "40001")
    equal(error.response.status_code, 503)
    holds(str(error), "no_policy")

checks.end()
