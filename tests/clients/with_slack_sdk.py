"""slack_sdk, as an app uses it, against the gate."""

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler, ServerErrorRetryHandler

from checks import Checks, equal, holds, raised

checks = Checks("slack_sdk")
BASE = f"{checks.gates['slack']}/api/"
bot = WebClient(token=checks.keys["bot"], base_url=BASE)
dana = WebClient(token=checks.keys["dana"], base_url=BASE)


def refused(call, error: str, **arguments) -> SlackApiError:
    """The call ends in the SDK's own error with this code, and the vendor's host sees nothing."""
    with checks.unseen():
        told = raised(SlackApiError, call, **arguments)
    equal((told.response.status_code, told.response["error"]), (200, error))
    return told


with checks.check("at start-up auth.test tells whose token it is, for bot and user"):
    equal(bot.auth_test()["user_id"], "U0ASSIST")
    equal(dana.auth_test()["user_id"], "U0DANA")
    equal(bot.api_test(foo="bar")["args"]["foo"], "bar")

with checks.check("reads: team, a user, a channel's messages"):
    equal(bot.team_info()["team"]["domain"], "acme")
    equal(bot.users_info(user="U0DANA")["user"]["name"], "dana")
    equal(bot.conversations_info(channel="C0HELP")["channel"]["name"], "help")
    holds(bot.conversations_history(channel="C0HELP", limit=1)["messages"][0]["text"], "my laptop is slow")

with checks.check("the channels are listed to the last page"):
    pages = [page["channels"] for page in bot.conversations_list(limit=2)]
    equal([len(page) for page in pages], [2, 2, 1])
    equal(pages[-1][0]["id"], "C0NEWS")

with checks.check("the users are listed to the last page"):
    users = [user["name"] for page in bot.users_list(limit=2) for user in page["members"]]
    equal(users, ["dana", "lee", "kim", "assist", "rob"])

with checks.check("a channel's messages are read to the last page"):
    messages = [
        message for page in bot.conversations_history(channel="C0HELP", limit=2) for message in page["messages"]
    ]
    equal(len(messages), 5)

with checks.check("writes: a message as JSON, a reaction as a form"):
    sent = bot.chat_postMessage(channel="C0HELP", text="on it")
    equal(sent["message"]["text"], "on it")
    bot.reactions_add(channel="C0HELP", timestamp=sent["ts"], name="eyes")
    kinds = {each["target"]: each["headers"]["content-type"].split(";")[0] for each in checks.seen()}
    equal(kinds["/api/chat.postMessage"], "application/json")
    equal(kinds["/api/reactions.add"], "application/x-www-form-urlencoded")

with checks.check("a direct message is opened with people, by whoever may write to one and to several"):
    equal(bot.conversations_open(users="U0LEE")["channel"]["id"], "D0LEE")
    equal(bot.conversations_open(users=["U0LEE", "U0KIM"])["channel"]["id"], "D0LEE")
    refused(dana.conversations_open, "not_allowed_token_type", users="U0LEE")

with checks.check("a file is uploaded by who may have a bearer URL, and by nobody else"):
    done = bot.files_upload_v2(channel="C0HELP", filename="screen.txt", content="a screenshot")
    equal(bot.files_info(file=done["files"][0]["id"])["file"]["name"], "screen.txt")
    with checks.revoked("SEC-1145"):
        error = refused(bot.files_upload_v2, "missing_scope", channel="C0HELP", filename=checks.never, content="x")
        holds(error.response["needed"], "gate:mint")
        bot.files_info(file=done["files"][0]["id"])

with checks.check("a scope that is not granted is missing_scope, with needed and provided"):
    error = refused(bot.pins_add, "missing_scope", channel="C0HELP", timestamp=checks.never)
    equal(error.response["needed"], "pins:write")
    assert "chat:write" in error.response["provided"].split(","), error.response["provided"]
    equal(error.response.headers["x-accepted-oauth-scopes"], "pins:write")

with checks.check("a refusal tells an administrator what to look for: reason, decision, whom to ask"):
    error = refused(bot.pins_add, "missing_scope", channel="C0HELP", timestamp=checks.never)
    equal(error.response["scopegate"]["reason"], "missing_scope")
    equal(error.response["scopegate"]["contact"], "it-platform@example.com")
    equal(error.response["scopegate"]["decision"], error.response.headers["x-scopegate-decision"])

with checks.check("a channel that is not granted is channel_not_found"):
    error = refused(bot.chat_postMessage, "channel_not_found", channel="C0ADS", text=checks.never)
    equal(error.response["scopegate"]["reason"], "container_not_granted")

with checks.check("a channel that was taken away is channel_not_found, and the next channel is read"):
    error = refused(bot.conversations_history, "channel_not_found", channel="C0EXEC")
    equal(error.response["scopegate"]["reason"], "container_revoked")
    bot.conversations_history(channel="C0ADS")

with checks.check(
    "a scope that is revoked while the script runs is missing_scope at the next call, and the rest works on"
):
    bot.reactions_add(channel="C0HELP", timestamp="1764000000.000001", name="eyes")
    with checks.revoked("SEC-1142"):
        error = refused(bot.reactions_add, "missing_scope", channel="C0HELP", timestamp=checks.never, name="eyes")
        equal((error.response["needed"], error.response["scopegate"]["reason"]), ("reactions:write", "scope_revoked"))
        bot.chat_postMessage(channel="C0HELP", text="still here")
    checks.given_back(lambda: bot.reactions_add(channel="C0HELP", timestamp="1764000000.000002", name="eyes"))

with checks.check(
    "a channel that is revoked while the script runs is channel_not_found, and the next channel is served"
):
    bot.chat_postMessage(channel="C0HELP", text="before")
    with checks.revoked("SEC-1143"):
        refused(bot.chat_postMessage, "channel_not_found", channel="C0HELP", text=checks.never)
        bot.chat_postMessage(channel="C0TRIAGE", text="over here")
        bot.conversations_history(channel="C0HELP")
    checks.given_back(lambda: bot.chat_postMessage(channel="C0HELP", text="and back"))

with checks.check("chat:write is taken from the user token and left to the bot token"):
    dana.chat_update(channel="C0ADS", ts="1764000000.000001", text="edited for an agent")
    with checks.revoked("SEC-1144"):
        error = refused(dana.chat_update, "missing_scope", channel="C0ADS", ts="1764000000.000001", text=checks.never)
        equal(error.response["needed"], "chat:write")
        refused(dana.chat_delete, "missing_scope", channel="C0ADS", ts=checks.never)
        bot.chat_postMessage(channel="C0HELP", text="as the app")
        dana.conversations_history(channel="C0ADS")
    checks.given_back(lambda: dana.chat_update(channel="C0ADS", ts="1764000000.000001", text="edited again"))

with checks.check("a scope of one token kind is no scope of the other"):
    error = refused(dana.users_list, "not_allowed_token_type")
    equal(error.response["scopegate"]["reason"], "actor_not_allowed")

with checks.check("an unknown method and a strange token are told as Slack tells them"):
    refused(bot.api_call, "unknown_method", api_method="no.such.method")
    refused(WebClient(token="xoxb-of-nobody", base_url=BASE).auth_test, "invalid_auth")

with checks.check(
    "while the product is away a call is service_unavailable, once, and the same token goes on afterwards"
):
    with checks.away(), checks.asked(1):
        error = raised(SlackApiError, bot.users_list)
    equal((error.response.status_code, error.response["error"]), (502, "service_unavailable"))
    equal(bot.users_list()["ok"], True)

with checks.check("with its retry handlers it asks a gate that has no policy yet twice, and stops"):
    handlers = [ServerErrorRetryHandler(max_retry_count=1), RateLimitErrorRetryHandler(max_retry_count=1)]
    early = WebClient(token=checks.keys["bot"], base_url=f"{checks.unready}/api/", retry_handlers=handlers)
    with checks.unseen(), checks.asked(2, unready=True):
        error = raised(SlackApiError, early.auth_test)
    equal((error.response.status_code, error.response["error"]), (503, "service_unavailable"))
    equal(early.token, checks.keys["bot"])

checks.end()
