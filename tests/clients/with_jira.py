"""jira (python-jira), as an app uses it, against the gate."""

import io
import logging

from jira import JIRA
from jira.exceptions import JIRAError

from checks import Checks, equal, holds, raised

# What it would write on standard error: the refusals and retries that are asked for here.
logging.disable(logging.CRITICAL)

checks = Checks("jira")
GATE = checks.gates["jira"]


def client(name: str, **options) -> JIRA:
    return JIRA(server=GATE, token_auth=checks.keys[name], **options)


def reporter_client(**options) -> JIRA:
    """An API token, shown as Basic."""
    return JIRA(server=GATE, basic_auth=("reporter@example.com", checks.keys["reporter"]), **options)


def refused(call, status: int, *arguments, **named) -> dict:
    """The call ends in the SDK's own error with this status; what the gate tells. The vendor's host sees nothing."""
    with checks.unseen():
        error = raised(JIRAError, call, *arguments, **named)
    equal(error.status_code, status)
    told = error.response.json()["scopegate"]
    holds(error.text, told["decision"], *told.get("needed", []), *(told[each] for each in ["contact"] if each in told))
    return told | {"text": error.text}


def task(project: str, summary: str) -> dict:
    return {"project": {"key": project}, "summary": summary, "issuetype": {"name": "Task"}}


with checks.check("it starts: serverInfo passes for OAuth and for an API token, whatever else they may do"):
    for jira in (client("timetracker"), client("reader"), reporter_client()):
        equal((jira.deploymentType, jira._version[0]), ("Cloud", 1001))

# Where it may not start, every check below says so by itself.
start = {"get_server_info": False}
timetracker, reader, reporter = client("timetracker", **start), client("reader", **start), reporter_client(**start)
for each in (timetracker, reader, reporter):
    each.deploymentType = "Cloud"

with checks.check("reads: who asks, the fields, the projects, an issue, its transitions"):
    equal(timetracker.myself()["displayName"], "Dana")
    equal([field["id"] for field in timetracker.fields()], ["summary", "status", "description"])
    equal(len(timetracker.projects()), 7)
    equal(timetracker.issue("PROJ-1").fields.status.name, "To Do")
    equal([each["name"] for each in timetracker.transitions("PROJ-1")], ["To Do", "In Progress", "Done"])

with checks.check("a search is read to the last page, by tokens"):
    found = timetracker.search_issues("project = PROJ", maxResults=False)
    equal([issue.key for issue in found], [f"PROJ-{number}" for number in range(1, 8)])

with checks.check("a search is read to the last page, by offsets, with the fields asked for first"):
    before = len(checks.seen())
    found = client("timetracker", **start).search_issues("project = PROJ", maxResults=False)
    equal(len(found), 7)
    asked = [each["target"].split("?")[0] for each in checks.seen()[before:]]
    equal(asked, ["/rest/api/2/field"] + ["/rest/api/2/search"] * 3)

with checks.check("writes by key: an issue, a comment, a transition"):
    made = timetracker.create_issue(fields=task("PROJ", "made by python-jira"))
    equal(timetracker.add_comment(made.key, "an hour").body, "an hour")
    timetracker.transition_issue(made.key, "Done")
    equal(timetracker.issue(made.key).fields.status.name, "Done")

with checks.check("writes by an answer's `self`, which names the vendor's host and the issue's id"):
    issue = timetracker.issue("PROJ-2")
    issue.update(fields={"summary": "changed"})
    equal(timetracker.issue("PROJ-2").fields.summary, "changed")
    gone = timetracker.create_issue(fields=task("PROJ", "to be deleted"))
    gone.delete()
    equal(raised(JIRAError, timetracker.issue, gone.key).status_code, 404)

with checks.check("an attachment is written and read through the gate, though `content` names the vendor's host"):
    before = len(checks.seen())
    timetracker.add_attachment("PROJ-3", io.BytesIO(b"a log"), filename="a.log")
    attachment = timetracker.issue("PROJ-3").fields.attachment[0]
    equal(attachment.get(), b"a log")
    equal({each["headers"].get("via") for each in checks.seen()[before:]}, {"1.1 scopegate"})

with checks.check("an attachment on a host that the catalog lists is fetched by the gate, for who may have no bearer URL"):
    timetracker.add_attachment("PROJ-3", io.BytesIO(b"a film"), filename="listed-film.mp4")
    attachment = next(one for one in reader.issue("PROJ-3").fields.attachment if one.filename == "listed-film.mp4")
    equal(attachment.get(), b"a film")

with checks.check("an API token that is limited to a project reads and writes there"):
    equal(reporter.issue("PROJ-4").key, "PROJ-4")
    reporter.add_comment("PROJ-4", "seen")
    equal([each["headers"]["authorization"].split()[0] for each in checks.seen()[-2:]], ["Basic", "Basic"])

with checks.check("an issue by its number, which names no project: the gate asks the product, with the caller's own token"):
    number = reporter.issue("PROJ-4").id
    equal(reporter.issue(number).key, "PROJ-4")
    asked = [each for each in checks.questions() if each["target"].startswith(f"/rest/api/3/issue/{number}?")]
    equal([each["headers"]["authorization"].split()[0] for each in asked], ["Basic"])
    error = raised(JIRAError, reporter.issue, "999999")
    equal((error.status_code, error.response.headers["x-scopegate-reason"]), (404, "not_found"))

with checks.check("a write that is refused for want of a scope is a 401 that names the scope"):
    told = refused(reader.create_issue, 401, fields=task("PROJ", checks.never))
    equal((told["reason"], told["needed"]), ("missing_scope", ["write:jira-work"]))
    holds(told["text"], "Unauthorized; scope does not match")
    told = refused(reader.add_comment, 401, "PROJ-1", checks.never)
    equal(told["needed"], ["write:jira-work"])

with checks.check("a project that is not granted, and one that was taken away, is a 404"):
    equal(refused(reporter.create_issue, 404, fields=task("SEC", checks.never))["reason"], "container_not_granted")
    equal(refused(reporter.issue, 404, "HR-1")["reason"], "container_not_granted")
    equal(refused(reporter.issue, 404, "LEGAL-1")["reason"], "container_revoked")
    equal(reporter.issue("SEC-1").key, "SEC-1")

with checks.check("an app that is limited to projects writes by an answer's `self` where the issue lies in one of them"):
    issue = reporter.issue("PROJ-5")
    issue.update(fields={"summary": "by its number"})
    equal(timetracker.issue("PROJ-5").fields.summary, "by its number")

with checks.check("an app that writes only for users is refused on its own, and for a user in other projects"):
    scribe, dana = client("scribe"), client("scribe_dana")
    equal(dana.create_issue(fields=task("PROJ", "as Dana asked")).fields.project.key, "PROJ")
    equal(refused(scribe.create_issue, 403, fields=task("PROJ", checks.never))["reason"], "actor_not_allowed")
    equal(refused(dana.create_issue, 404, fields=task("SEC", checks.never))["reason"], "container_not_granted")
    equal(scribe.issue("SEC-1").key, "SEC-1")

with checks.check("a scope that is revoked while the script runs is a 401 at the next call, and reading works on"):
    timetracker.add_comment("PROJ-1", "before")
    with checks.revoked("SEC-1142"):
        told = refused(timetracker.add_comment, 401, "PROJ-1", checks.never)
        equal((told["reason"], told["needed"]), ("scope_revoked", ["write:jira-work"]))
        refused(timetracker.create_issue, 401, fields=task("SEC", checks.never))
        equal(timetracker.issue("PROJ-1").key, "PROJ-1")
        reporter.add_comment("PROJ-1", "another app goes on")
    checks.given_back(lambda: timetracker.add_comment("PROJ-1", "after"))

with checks.check("a scope that is revoked in one project while the script runs is a 404 there, and reading works on"):
    reporter.add_comment("PROJ-1", "before")
    with checks.revoked("SEC-1143"):
        equal(refused(reporter.add_comment, 404, "PROJ-1", checks.never)["reason"], "container_revoked")
        equal(reporter.issue("PROJ-1").key, "PROJ-1")
        timetracker.add_comment("PROJ-1", "another app goes on")
    checks.given_back(lambda: reporter.add_comment("PROJ-1", "after"))

with checks.check("a path that is no operation, and a strange key, are told as Jira tells them"):
    equal(refused(timetracker.boards, 404)["reason"], "unknown_operation")
    equal(refused(JIRA(server=GATE, token_auth="sg_of-nobody", **start).myself, 401)["reason"], "unknown_app")

with checks.check("while the product is away a call is a 502, once, and the same client goes on afterwards"):
    with checks.away(), checks.asked(1):
        equal(raised(JIRAError, timetracker.issue, "PROJ-1").status_code, 502)
    equal(timetracker.issue("PROJ-1").key, "PROJ-1")

with checks.check("a gate that has no policy yet is asked again once, as it was told, and is no authentication error"):
    early = JIRA(server=checks.unready, token_auth=checks.keys["timetracker"], max_retries=1, **start)
    with checks.unseen(), checks.asked(2, unready=True):
        error = raised(JIRAError, early.myself)
    equal(error.status_code, 503)
    holds(error.text, "no_policy")

checks.end()
