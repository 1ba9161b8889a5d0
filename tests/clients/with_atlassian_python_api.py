"""atlassian-python-api, as an app uses it, against the gate."""

import io
import logging

from atlassian import Jira
from atlassian.jira import JiraCloud
from requests.exceptions import HTTPError, RetryError

from checks import Checks, equal, holds, raised, told_by

# What it would write on standard error: the refusals that are asked for here.
logging.disable(logging.CRITICAL)

checks = Checks("atlassian-python-api")
GATE = checks.gates["jira"]
timetracker = Jira(url=GATE, token=checks.keys["timetracker"], cloud=True)
reader = Jira(url=GATE, token=checks.keys["reader"], cloud=True)
# An API token, shown as Basic.
reporter = Jira(url=GATE, username="reporter@example.com", password=checks.keys["reporter"], cloud=True)


def refused(call, status: int, *arguments, **named) -> dict:
    """The call ends in the SDK's own error with this status; what the gate tells. The vendor's host sees nothing."""
    with checks.unseen():
        error = raised(HTTPError, call, *arguments, **named)
    return told_by(error, status)


def task(project: str, summary: str) -> dict:
    return {"project": {"key": project}, "summary": summary, "issuetype": {"name": "Task"}}


with checks.check("at start-up serverInfo and myself are told"):
    equal(timetracker.get_server_info()["deploymentType"], "Cloud")
    equal(timetracker.myself()["displayName"], "Dana")
    equal(reporter.get_server_info()["deploymentType"], "Cloud")

with checks.check("reads: the fields, an issue with all its fields, its transitions"):
    equal(len(timetracker.get_all_fields()), 3)
    equal(timetracker.issue("PROJ-1")["fields"]["status"]["name"], "To Do")
    equal(timetracker.get_issue("PROJ-1", update_history=False)["key"], "PROJ-1")
    equal([each["name"] for each in timetracker.get_issue_transitions("PROJ-1")], ["To Do", "In Progress", "Done"])
    equal(JiraCloud(url=GATE, token=checks.keys["timetracker"]).get_server_info()["deploymentType"], "Cloud")

with checks.check("the projects are read to the last page, though `nextPage` names the vendor's host"):
    before = len(checks.seen())
    projects = timetracker.projects()
    equal([project["key"] for project in projects], ["PROJ", "SEC", "LEGAL", "HR", "OPS", "WEB", "APP"])
    equal([each["headers"].get("via") for each in checks.seen()[before:]], ["1.1 scopegate"] * 3)

with checks.check("a link that an answer gives is called as it stands, and goes through the gate"):
    link = timetracker.issue("PROJ-1")["self"]
    equal(timetracker.get(link, absolute=True)["key"], "PROJ-1")

with checks.check("a search is read to the last page, by tokens"):
    found = JiraCloud(url=GATE, token=checks.keys["timetracker"]).enhanced_jql_get_list_of_tickets("project = PROJ")
    equal([issue["key"] for issue in found], [f"PROJ-{number}" for number in range(1, 8)])
    equal(len(timetracker.enhanced_jql_get_list_of_tickets("project = SEC")), 2)

with checks.check("writes: an issue, a field, a comment, a transition"):
    key = timetracker.create_issue(fields=task("PROJ", "made by atlassian-python-api"))["key"]
    timetracker.update_issue_field(key, {"summary": "changed"})
    timetracker.issue_add_comment(key, "an hour")
    timetracker.set_issue_status_by_transition_id(key, "31")
    fields = timetracker.issue(key)["fields"]
    equal((fields["summary"], fields["status"]["name"]), ("changed", "Done"))

with checks.check("an attachment is written and read through the gate, though `content` names the vendor's host"):
    before = len(checks.seen())
    log = io.BytesIO(b"a log")
    log.name = "a.log"
    timetracker.add_attachment_object("PROJ-3", log)
    content = timetracker.issue("PROJ-3")["fields"]["attachment"][0]["content"]
    equal(timetracker.get(content, absolute=True, not_json_response=True), b"a log")
    equal({each["headers"].get("via") for each in checks.seen()[before:]}, {"1.1 scopegate"})

with checks.check("an attachment on a host that the catalog lists is fetched by the gate, for who may have no bearer URL"):
    film = io.BytesIO(b"a film")
    film.name = "listed-film.mp4"
    timetracker.add_attachment_object("PROJ-3", film)
    attachments = reader.issue("PROJ-3")["fields"]["attachment"]
    content = next(one["content"] for one in attachments if one["filename"] == "listed-film.mp4")
    equal(reader.get(content, absolute=True, not_json_response=True), b"a film")

with checks.check("an API token that is limited to a project reads and writes there"):
    equal(reporter.issue("PROJ-4")["key"], "PROJ-4")
    reporter.issue_add_comment("PROJ-4", "seen")
    equal([each["headers"]["authorization"].split()[0] for each in checks.seen()[-2:]], ["Basic", "Basic"])

with checks.check("a write that is refused for want of a scope is a 401 that names the scope"):
    told = refused(reader.create_issue, 401, fields=task("PROJ", checks.never))
    equal((told["reason"], told["needed"]), ("missing_scope", ["write:jira-work"]))
    holds(told["text"], "Unauthorized; scope does not match")

with checks.check("a project that is not granted, and one that was taken away, is a 404"):
    equal(refused(reporter.create_issue, 404, fields=task("SEC", checks.never))["reason"], "container_not_granted")
    equal(refused(reporter.issue, 404, "LEGAL-1")["reason"], "container_revoked")
    equal(reporter.issue_exists("LEGAL-1"), False)
    equal(reporter.issue("SEC-1")["key"], "SEC-1")

with checks.check("a scope that is revoked while the script runs is a 401 at the next call, and reading works on"):
    timetracker.issue_add_comment("PROJ-1", "before")
    with checks.revoked("SEC-1142"):
        told = refused(timetracker.issue_add_comment, 401, "PROJ-1", checks.never)
        equal((told["reason"], told["needed"]), ("scope_revoked", ["write:jira-work"]))
        refused(timetracker.update_issue_field, 401, "SEC-1", {"summary": checks.never})
        equal(timetracker.issue("PROJ-1")["key"], "PROJ-1")
        reporter.issue_add_comment("PROJ-1", "another app goes on")
    checks.given_back(lambda: timetracker.issue_add_comment("PROJ-1", "after"))

with checks.check("a scope that is revoked in one project while the script runs is a 404 there, and reading works on"):
    reporter.issue_add_comment("PROJ-1", "before")
    with checks.revoked("SEC-1143"):
        equal(refused(reporter.issue_add_comment, 404, "PROJ-1", checks.never)["reason"], "container_revoked")
        equal(reporter.issue("PROJ-1")["key"], "PROJ-1")
        timetracker.issue_add_comment("PROJ-1", "another app goes on")
    checks.given_back(lambda: reporter.issue_add_comment("PROJ-1", "after"))

with checks.check("a path that is no operation, and a strange key, are told as Jira tells them"):
    equal(refused(timetracker.get, 404, "rest/agile/1.0/board")["reason"], "unknown_operation")
    equal(refused(Jira(url=GATE, token="sg_of-nobody").myself, 401)["reason"], "unknown_app")

with checks.check("while the product is away a call is a 502, once, and the same client goes on afterwards"):
    with checks.away(), checks.asked(1):
        equal(raised(HTTPError, timetracker.issue, "PROJ-1").response.status_code, 502)
    equal(timetracker.issue("PROJ-1")["key"], "PROJ-1")

with checks.check("a gate that has no policy yet is asked once, and is no authentication error"):
    early = Jira(url=checks.unready, token=checks.keys["timetracker"])
    with checks.unseen(), checks.asked(1, unready=True):
        error = raised(HTTPError, early.myself)
    equal(error.response.status_code, 503)
    holds(str(error), "no_policy")

with checks.check("with its backing off, such a gate is asked again as often as it was told, and no more"):
    tries = {"backoff_and_retry": True, "max_backoff_retries": 1, "max_backoff_seconds": 1}
    early = Jira(url=checks.unready, token=checks.keys["timetracker"], **tries)
    with checks.unseen(), checks.asked(2, unready=True):
        raised(RetryError, early.myself)

checks.end()
