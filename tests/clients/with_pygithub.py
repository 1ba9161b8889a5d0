"""PyGithub, as an app uses it, against the gate."""

import io
import logging

from github import Auth, Github, GithubException, UnknownObjectException
from github.GithubException import BadCredentialsException

from checks import Checks, equal, holds, raised

# What it would write on standard error: the refusals that are asked for here.
logging.disable(logging.CRITICAL)

checks = Checks("PyGithub")
ACCEPTED = "x-accepted-github-permissions"


def client(name: str, gate: str = checks.gates["github"], **settings) -> Github:
    # It would wait a second between two writes.
    named = {"seconds_between_requests": 0, "seconds_between_writes": 0} | settings
    return Github(base_url=f"{gate}/api/v3", auth=Auth.Token(checks.keys.get(name, name)), **named)


builder, triage, reader = (client(name) for name in ("builder", "triage", "reader"))
REPOSITORIES = ["website", "docs", "vault", "shop", "tools", "infra", "archive"]


def refused(kind, status: int, call, *arguments, **named) -> dict:
    """The call ends in exactly this error of the SDK; what the gate tells. The vendor's host sees nothing."""
    with checks.unseen():
        error = raised(kind, call, *arguments, **named)
    equal((type(error), error.status), (kind, status))
    told = error.data["scopegate"]
    holds(str(error.data), told["decision"], *(told[each] for each in ["contact"] if each in told))
    return told | {"permissions": error.headers.get(ACCEPTED), "message": error.data["message"]}


with checks.check("at start-up the user, the organisation and a repository are told"):
    equal(builder.get_user().login, "builder[bot]")
    equal(builder.get_organization("acme").name, "Acme")
    equal(builder.get_repo("acme/website").full_name, "acme/website")

with checks.check("lists are read to the last page, though `Link` names the vendor's host"):
    before = len(checks.seen())
    equal([each.name for each in builder.get_organization("acme").get_repos()], REPOSITORIES)
    issues = builder.get_repo("acme/website").get_issues(state="all")
    equal([issue.number for issue in issues], [1, 2, 3, 4, 5, 6, 7])
    # The organisation, the repository, and three pages of each.
    equal(checks.through_the_gate(before), 8)

with checks.check("reads: an issue, and a file as it was written"):
    here = builder.get_repo("acme/website")
    equal(here.get_issue(1).title, "website needs a hand, 1")
    equal(here.get_contents("README.md").decoded_content, b"# words\n")

with checks.check("writes: an issue with a comment, closed by the link that it came with"):
    before = len(checks.seen())
    issue = builder.get_repo("acme/website").create_issue("made by PyGithub", body="words")
    equal(issue.create_comment("an hour").body, "an hour")
    issue.edit(state="closed")
    equal(issue.state, "closed")
    equal(checks.through_the_gate(before), 4)

with checks.check("writes: a file is made and changed"):
    here = builder.get_repo("acme/website")
    made = here.create_file("docs/a.txt", "made", "one")
    here.update_file("docs/a.txt", "changed", "two", made["content"].sha)
    equal(here.get_contents("docs/a.txt").decoded_content, b"two")

with checks.check("a release gets an asset by `upload_url`, which names the vendor's host, through the gate"):
    before = len(checks.seen())
    release = builder.get_repo("acme/website").create_git_release("v1", "One", "words")
    asset = release.upload_asset_from_memory(io.BytesIO(b"a log"), 5, "a.log", content_type="text/plain")
    equal((asset.name, asset.size), ("a.log", 5))
    equal(checks.through_the_gate(before), 3)

with checks.check("a repository is forked and handed on within the organisation"):
    here = builder.get_repo("acme/website")
    equal(here.create_fork(organization="acme", name="forked").full_name, "acme/forked")
    equal(here.transfer_ownership("acme"), True)

with checks.check("a limited app reads and writes in its repository"):
    here = client("triage", lazy=True).get_repo("acme/website")
    equal(here.get_issue(2).title, "website needs a hand, 2")
    equal(here.create_issue("by triage").title, "by triage")

with checks.check("a write that is refused for want of a permission is a 403 that names it"):
    here = reader.get_repo("acme/website")
    told = refused(GithubException, 403, here.create_issue, checks.never)
    equal(told["message"], "Resource not accessible by integration")
    equal((told["reason"], told["permissions"]), ("missing_scope", "issues=write"))
    told = refused(GithubException, 403, here.create_file, "b.txt", "made", checks.never)
    equal(told["permissions"], "contents=write")

with checks.check("a repository that is not granted, and one that was taken away, is not found"):
    told = refused(UnknownObjectException, 404, lambda: triage.get_repo("acme/shop"))
    equal((told["reason"], told["permissions"]), ("container_not_granted", None))
    equal(refused(UnknownObjectException, 404, lambda: triage.get_repo("acme/vault"))["reason"], "container_revoked")
    told = refused(UnknownObjectException, 404, triage.get_repo("acme/docs").create_issue, checks.never)
    equal(told["reason"], "container_not_granted")

with checks.check("a repository is neither forked into nor handed to another owner"):
    here = builder.get_repo("acme/website")
    told = refused(BadCredentialsException, 401, here.create_fork, organization="elsewhere", name=checks.never)
    equal(told["reason"], "unknown_tenant")
    told = refused(BadCredentialsException, 401, here.transfer_ownership, "elsewhere", new_name=checks.never)
    equal(told["reason"], "unknown_tenant")

with checks.check("a permission that is revoked while the script runs is a 403 at the next call, and reading works on"):
    here = builder.get_repo("acme/website")
    issue = here.create_issue("before")
    with checks.revoked("SEC-1142"):
        told = refused(GithubException, 403, issue.create_comment, checks.never)
        equal((told["reason"], told["permissions"]), ("scope_revoked", "issues=write"))
        equal(here.get_issue(issue.number).title, "before")
        triage.get_repo("acme/website").get_issue(1).create_comment("another app goes on")
    checks.given_back(lambda: issue.create_comment("after"))

with checks.check("a permission that is revoked in one repository while the script runs is not found there"):
    issue = triage.get_repo("acme/website").get_issue(1)
    issue.create_comment("before")
    with checks.revoked("SEC-1143"):
        told = refused(UnknownObjectException, 404, issue.create_comment, checks.never)
        equal(told["reason"], "container_revoked")
        equal(triage.get_repo("acme/website").get_issue(1).number, 1)
        builder.get_repo("acme/website").create_issue("another app goes on")
    checks.given_back(lambda: issue.create_comment("after"))

with checks.check("a path that is no operation, and a strange key, are told as GitHub tells them"):
    labels = builder.get_repo("acme/website").get_labels()
    equal(refused(UnknownObjectException, 404, lambda: list(labels))["reason"], "unknown_operation")
    told = refused(BadCredentialsException, 401, lambda: client("sg_of-nobody").get_user().login)
    equal(told["reason"], "unknown_app")

with checks.check("while the product is away a call is a 502, once, and the same client goes on afterwards"):
    steady = client("builder", retry=0)
    with checks.away(), checks.asked(1):
        equal(raised(GithubException, steady.get_repo, "acme/website").status, 502)
    equal(steady.get_repo("acme/website").name, "website")

with checks.check("a gate that has no policy yet is asked once, and is no authentication error"):
    early = client("builder", checks.unready, retry=0)
    with checks.unseen(), checks.asked(1, unready=True):
        error = raised(GithubException, early.get_repo, "acme/website")
    equal((type(error), error.status), (GithubException, 503))
    equal(error.data["scopegate"]["reason"], "no_policy")

checks.end()
