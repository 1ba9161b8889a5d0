"""atlassian-python-api's client of Bitbucket Cloud, as an app uses it, against the gate."""

import logging

from atlassian.bitbucket import Cloud
from requests.exceptions import HTTPError

from checks import Checks, equal, holds, raised, told_by

# What it would write on standard error: the refusals that are asked for here.
logging.disable(logging.CRITICAL)

checks = Checks("atlassian-python-api:bitbucket")
GATE = checks.gates["bitbucket"]
builder = Cloud(url=GATE, token=checks.keys["builder"])
reader = Cloud(url=GATE, token=checks.keys["reader"])
# API tokens, shown as Basic.
porter = Cloud(url=GATE, username="porter@example.com", password=checks.keys["porter"])
surveyor = Cloud(url=GATE, username="surveyor@example.com", password=checks.keys["surveyor"])
REPOSITORIES = ["website", "shop", "vault", "docs", "tools", "infra", "archive"]
HEAD = "0123456789abcdef0123456789abcdef01234567"


def repository(client: Cloud, slug: str):
    return client.repositories.get("acme", slug)


def refused(call, status: int, *arguments, **named) -> dict:
    """The call ends in the SDK's own error with this status; what the gate tells. The vendor's host sees nothing."""
    with checks.unseen():
        error = raised(HTTPError, call, *arguments, **named)
    return told_by(error, status)


with checks.check("at start-up the user and a repository are told"):
    equal(builder.get("user")["nickname"], "dana")
    equal(repository(builder, "website").name, "website")
    equal(repository(reader, "docs").is_private, True)
    equal(repository(porter, "shop").slug, "shop")

with checks.check("from the workspace on, by the links in it, projects and repositories are read to the last page"):
    before = len(checks.seen())
    (workspace,) = surveyor.workspaces.each()
    equal([project.key for project in workspace.projects.each()], ["WEB", "OPS", "DATA", "LAB"])
    equal([each.slug for each in workspace.repositories.each()], REPOSITORIES)
    equal(workspace.repositories.get("shop").slug, "shop")
    # The workspaces, the one, two pages of projects, three of repositories, and one of these.
    equal(checks.through_the_gate(before), 8)

with checks.check("pull requests, branches and issues are read to the last page"):
    before = len(checks.seen())
    here = repository(builder, "website")
    titles = [f"website change {number}" for number in range(1, 5)]
    equal([each["title"] for each in here._get_paged("pullrequests")], titles)
    equal([each["name"] for each in here._get_paged("refs/branches")], ["main", "feature/one", "feature/two", "fix"])
    equal([here.branches.get(name).hash for name in ["main", "feature/two"]], [HEAD, HEAD])
    equal(list(here.issues.each()), [])
    equal(checks.through_the_gate(before), 8)

with checks.check("a path with a last slash, by which it lists pull requests and branches, is a 400"):
    here = repository(builder, "website")
    for listed in (here.pullrequests, here.branches):
        equal(refused(next, 400, listed.each())["reason"], "bad_request")

with checks.check("an object is changed by the link that it came with, and goes through the gate"):
    before = len(checks.seen())
    here = repository(builder, "tools")
    here.description = "changed"
    equal(repository(builder, "tools").description, "changed")
    equal(checks.through_the_gate(before), 3)

with checks.check("writes: a branch, an issue, a pull request with a comment, approved and merged"):
    here = repository(builder, "website")
    equal(here.branches.create("made", HEAD).name, "made")
    equal(here.issues.create("a bug", "words", "bug", "minor").get_data("state"), "new")
    pull = here.pullrequests.create("made by atlassian-python-api", "made", "main")
    pull.comment("an hour")
    equal([comment.raw for comment in pull.comments()], ["an hour"])
    equal(pull.approve()["approved"], True)
    pull.merge()
    equal(here.pullrequests.get(pull.id).is_merged, True)

with checks.check("a pull request's diff, which is somewhere else, is read through the gate"):
    before = len(checks.seen())
    equal(repository(builder, "website").pullrequests.get(1).diff(), "diff --git a/a b/a\n")
    equal(checks.through_the_gate(before), 4)

with checks.check("a repository is made, forked and deleted"):
    made = builder.repositories.post("acme/made-here", data={"scm": "git", "project": {"key": "WEB"}})
    equal(made["slug"], "made-here")
    forked = repository(builder, "website").post("forks", data={"name": "forked", "workspace": {"slug": "acme"}})
    equal(forked["full_name"], "acme/forked")

with checks.check("a file is uploaded and read through the gate, which fetches it from a host that the catalog lists"):
    before = len(checks.seen())
    here = repository(builder, "website")
    here.post("downloads", files={"files": ("a.log", b"a log")}, headers={"Accept": "application/json"})
    equal([download.name for download in here.downloads.each()], ["a.log"])
    equal(next(iter(reader.repositories.get("acme", "website").downloads.each())).size, 5)
    equal(reader.get("repositories/acme/website/downloads/a.log", not_json_response=True), b"a log")
    checks.through_the_gate(before)

with checks.check("a file is committed by multipart and read as it was written"):
    here = repository(builder, "website")
    here.post("src", files={"docs/a.txt": ("a.txt", b"words")}, headers={"Accept": "*/*"})
    equal(here.get_source_file("main", "docs/a.txt"), b"words")

with checks.check("an API token that is limited to repositories reads and writes there"):
    here = repository(porter, "website")
    equal(here.branches.create("by-porter", HEAD).name, "by-porter")
    equal(here.pullrequests.get(1).comment("seen")["id"], 2)
    equal({each["headers"]["authorization"].split()[0] for each in checks.seen()[-3:]}, {"Basic"})

with checks.check("a write that is refused for want of a scope is a 403 that names what is required and granted"):
    told = refused(repository(reader, "website").branches.create, 403, checks.never, HEAD)
    equal((told["reason"], told["needed"]), ("missing_scope", ["repository:write"]))
    holds(told["text"], "Your credentials lack one or more required privilege scopes.")
    holds(told["text"], "'required': ['repository:write']", "'granted': ['repository']")
    # The vendor states no OAuth scope for the workspace itself: it is open to API tokens alone.
    told = refused(builder.workspaces.get, 403, "acme")
    equal((told["reason"], told["needed"]), ("missing_scope", ["read:workspace:bitbucket"]))
    refused(repository(reader, "website").hooks.create, 403, f"https://evil.example/{checks.never}", "", ["repo:push"])

with checks.check("a repository that is not granted, and one that was taken away, is a 404"):
    equal(refused(repository, 404, porter, "docs")["reason"], "container_not_granted")
    equal(refused(repository, 404, porter, "vault")["reason"], "container_revoked")
    told = refused(repository(porter, "shop").branches.create, 404, checks.never, HEAD)
    equal(told["reason"], "container_not_granted")

with checks.check("a fork into another workspace is another tenant's"):
    here = repository(builder, "website")
    data = {"name": checks.never, "workspace": {"slug": "elsewhere"}}
    equal(refused(here.post, 401, "forks", data=data)["reason"], "unknown_tenant")

with checks.check("a scope that is revoked while the script runs is a 403 at the next call, and reading works on"):
    here = repository(builder, "website")
    pull = here.pullrequests.create("before", "fix")
    with checks.revoked("SEC-1142"):
        told = refused(pull.approve, 403)
        equal((told["reason"], told["needed"]), ("scope_revoked", ["pullrequest:write"]))
        refused(here.pullrequests.create, 403, checks.never, "fix")
        equal(here.pullrequests.get(pull.id).title, "before")
        equal(repository(porter, "website").pullrequests.get(1).comment("another app goes on")["id"], 3)
    checks.given_back(pull.approve)

with checks.check("a scope that is revoked in one repository while the script runs is a 404 there"):
    here = repository(porter, "website")
    here.branches.create("before", HEAD)
    with checks.revoked("SEC-1143"):
        equal(refused(here.branches.create, 404, checks.never, HEAD)["reason"], "container_revoked")
        equal(repository(porter, "website").slug, "website")
        repository(builder, "website").branches.create("another app goes on", HEAD)
    checks.given_back(lambda: here.branches.create("after", HEAD))

with checks.check("a path that is no operation, and a strange key, are told as Bitbucket tells them"):
    equal(refused(builder.get, 404, "repositories/acme/website/no-such")["reason"], "unknown_operation")
    stranger = Cloud(url=GATE, token="sg_of-nobody")
    equal(refused(stranger.get, 401, "user")["reason"], "unknown_app")

with checks.check("while the product is away a call is a 502, once, and the same client goes on afterwards"):
    with checks.away(), checks.asked(1):
        equal(raised(HTTPError, repository, builder, "website").response.status_code, 502)
    equal(repository(builder, "website").slug, "website")

with checks.check("a gate that has no policy yet is asked once, and is no authentication error"):
    early = Cloud(url=checks.unready, token=checks.keys["builder"])
    with checks.unseen(), checks.asked(1, unready=True):
        error = raised(HTTPError, repository, early, "website")
    equal(error.response.status_code, 503)
    holds(str(error), "no_policy")

checks.end()
