//! What is decided before Slack: channels in every place they can stand, conversation types, token kinds.

use super::*;

const BOT: &str = "xoxb-assist";
const DANA: &str = "xoxp-dana";
const LEE: &str = "xoxp-lee";

/// The same message in each of the three shapes that Slack takes.
fn post(channel: &str, token: &str) -> [Ask; 3] {
    let method = "/api/chat.postMessage";
    [
        Ask::post(method).bearer(token).json(&format!(r#"{{"channel":"{channel}","text":"hello"}}"#)),
        Ask::post(method).bearer(token).form(&format!("text=hello&channel={channel}")),
        Ask::post(&format!("{method}?channel={channel}&text=hello")).bearer(token),
    ]
}

fn history(channel: &str, token: &str) -> Ask {
    Ask::get(&format!("/api/conversations.history?channel={channel}&limit=1")).bearer(token)
}

#[track_caller]
fn is_slack(answer: &crate::support::client::Answer, error: &str) {
    assert_eq!(answer.status, 200);
    assert_eq!((&answer.json()["ok"], &answer.json()["error"]), (&false.into(), &error.into()), "{}", answer.body);
}

#[test]
fn a_message_goes_to_granted_channels_only_in_whatever_shape_it_is_asked() {
    let gate = assist(
        "grants: [{scopes: ['chat:write'], actors: [app], in: {channel: [C0HELP, C0TRIAGE]}}]\n\
         revocations: [{scopes: ['chat:write'], in: {channel: [C0TRIAGE]}, reason: SEC-1142}]\n",
    );
    for ask in post("C0HELP", BOT) {
        gate.passes(&ask);
    }
    for ask in post("C0OTHER", BOT) {
        is_slack(&gate.refuses(&ask, "container_not_granted"), "channel_not_found");
    }
    for ask in post("C0TRIAGE", BOT) {
        is_slack(&gate.refuses(&ask, "container_revoked"), "channel_not_found");
    }
    // A user's id opens a direct message that nothing here knows: it may be the revoked one.
    for ask in post("U0DANA", BOT) {
        gate.refuses(&ask, "container_revoked");
    }
    let without = Ask::post("/api/chat.postMessage").bearer(BOT).json(r#"{"text":"hello"}"#);
    is_slack(&gate.refuses(&without, "bad_request"), "invalid_arguments");
}

#[test]
fn a_body_goes_on_byte_for_byte_whatever_it_was_judged_by() {
    let gate = assist("grants: [{scopes: ['chat:write'], actors: [app], in: {channel: [C0HELP]}}]\n");
    for body in [
        "{ \"channel\": \"C0HELP\",\n\t\"text\": \"Gr\u{fc}\u{df}e \u{1f600} \\u00e9\" }\n",
        r#"{"blocks":[{"type":"section","text":{"type":"mrkdwn","text":"*a*"}}],"channel":"C0HELP"}"#,
        r#"{"chann\u0065l":"C0HELP"}"#,
    ] {
        let ask = Ask::post("/api/chat.postMessage").bearer(BOT).json(body);
        assert_eq!(String::from_utf8_lossy(&gate.passes(&ask).body), body);
        // B01: without a length it is judged the same.
        gate.passes_raw(&ask.chunked());
        let other = Ask::post("/api/chat.postMessage").bearer(BOT).json(&body.replace("C0HELP", "C0EXEC"));
        gate.refuses(&other, "container_not_granted");
        gate.refuses_raw(&other.chunked(), "container_not_granted");
    }
}

#[test]
fn a_channel_that_is_named_twice_is_refused() {
    let gate = assist("grants: [{scopes: ['chat:write'], actors: [app], in: all}]\n");
    let method = "/api/chat.postMessage";
    for ask in [
        Ask::post(&format!("{method}?channel=C0HELP")).form("channel=C0HELP"),
        Ask::post(&format!("{method}?channel=C0HELP")).json(r#"{"channel":"C0EXEC"}"#),
        Ask::post(&format!("{method}?channel=C0HELP&channel=C0EXEC")),
        Ask::post(&format!("{method}?channel=C0HELP&Channel=C0EXEC")),
        Ask::post(&format!("{method}?channel=C0HELP&channel[]=C0EXEC")),
        Ask::post(&format!("{method}?channel=C0HELP%26channel=C0EXEC")),
        Ask::post(&format!("{method}?a=1;channel=C0EXEC&channel=C0HELP")),
        Ask::post(method).form("channel=C0HELP&channel=C0EXEC"),
        Ask::post(method).json(r#"{"channel":"C0HELP","channel":"C0EXEC"}"#),
        Ask::post(method).json(r#"{"channel":"C0HELP","ch\u0061nnel":"C0EXEC"}"#),
        Ask::post(method).json(r#"{"channel":"C0HELP","Channel":"C0EXEC"}"#),
        Ask::post(method).json(r#"{"channel":["C0HELP","C0EXEC"]}"#),
        Ask::post(method).json(r#"{"channel":""}"#),
        Ask::post(method).form("channel="),
    ] {
        is_slack(&gate.refuses(&ask.bearer(BOT), "bad_request"), "invalid_arguments");
    }
}

const PUBLIC_ONLY: &str = "grants: [{scopes: ['channels:history'], actors: [app], in: all}]\n";
const ALL_HISTORY: &str = "grants: [{scopes: ['channels:history', 'groups:history', 'im:history', 'mpim:history'], actors: [app], in: all}]\n";

#[test]
fn the_type_of_a_conversation_says_which_history_scope_is_needed() {
    let gate = assist(PUBLIC_ONLY);
    gate.passes(&history("C0HELP", BOT));
    let answer = gate.refuses(&history("D0DANA", BOT), "missing_scope");
    is_slack(&answer, "missing_scope");
    assert_eq!(
        (&answer.json()["needed"], &answer.json()["provided"]),
        (&"im:history".into(), &"channels:history".into())
    );
    assert_eq!(answer.field("x-accepted-oauth-scopes"), Some("im:history"));
    gate.refuses(&history("G0SECRET", BOT), "missing_scope");
    let gate = assist("grants: [{scopes: ['im:history'], actors: [app], in: all}]\n");
    gate.passes(&history("D0DANA", BOT));
    gate.refuses(&history("C0HELP", BOT), "missing_scope");
}

#[test]
fn a_channel_of_unknown_type_needs_the_scope_of_every_type() {
    let start = |rules: &str| slack(&slack_app(rules)).without("channel_types").start();
    let gate = start(PUBLIC_ONLY);
    gate.refuses(&history("C0HELP", BOT), "missing_scope");
    gate.refuses(&history("G0SECRET", BOT), "missing_scope");
    let gate = start(ALL_HISTORY);
    gate.passes(&history("C0HELP", BOT));
    // What is taken of any type that it may have refuses it.
    let gate = start(&format!("{ALL_HISTORY}revocations: [{{scopes: ['groups:history'], in: all, reason: x}}]\n"));
    gate.refuses(&history("C0HELP", BOT), "scope_revoked");
    gate.passes(&history("D0DANA", BOT));
}

#[test]
fn a_list_of_conversations_is_judged_by_the_types_that_it_asks_for() {
    let gate = assist("grants: [{scopes: ['channels:read'], actors: [app], in: all}]\n");
    let list = |query: &str| Ask::get(&format!("/api/conversations.list{query}")).bearer(BOT);
    gate.passes(&list(""));
    gate.passes(&list("?types=public_channel"));
    gate.refuses(&list("?types=public_channel,private_channel"), "missing_scope");
    gate.refuses(&list("?types=public_channel%2Cim"), "missing_scope");
    gate.refuses(&list("?types=im"), "missing_scope");
    gate.refuses(&Ask::post("/api/conversations.list").bearer(BOT).form("types=im"), "missing_scope");
    gate.refuses(&list("?types=something_new"), "missing_scope");
    gate.refuses(&list("?types=public_channel&types=im"), "missing_scope");
}

#[test]
fn a_scope_is_taken_for_one_kind_of_token_and_left_for_the_other() {
    let gate = assist(
        "grants: [{scopes: ['chat:write'], actors: [app, user], in: all}]\n\
         revocations: [{scopes: ['chat:write'], actors: [user], in: {channel: [C0EXEC]}, reason: SEC-1142}]\n",
    );
    for (bot, user) in post("C0EXEC", BOT).into_iter().zip(post("C0EXEC", DANA)) {
        gate.passes(&bot);
        gate.refuses(&user, "container_revoked");
    }
    let gate = assist("grants: [{scopes: ['chat:write'], actors: [user], in: all}]\n");
    let [as_bot, ..] = post("C0HELP", BOT);
    let [as_user, ..] = post("C0HELP", DANA);
    is_slack(&gate.refuses(&as_bot, "actor_not_allowed"), "not_allowed_token_type");
    gate.passes(&as_user);
}

#[test]
fn a_grant_for_a_group_of_users_is_for_no_other_user() {
    let group = "version: 1\ngroup: agents\ntenant: T024BE7LD\nusers: [U0DANA]\n";
    let rules = "grants: [{scopes: ['chat:write'], actors: [user], users: {groups: [agents]}, in: all}]\n";
    let gate = slack(&slack_app(rules)).policy("agents.yaml", group).start();
    let [dana, ..] = post("C0HELP", DANA);
    let [lee, ..] = post("C0HELP", LEE);
    gate.passes(&dana);
    is_slack(&gate.refuses(&lee, "user_not_allowed"), "access_denied");
    // In a revocation the group takes from its members alone.
    let rules = "grants: [{scopes: ['chat:write'], actors: [user], in: all}]\n\
                 revocations: [{scopes: ['chat:write'], users: {groups: [agents]}, in: all, reason: x}]\n";
    let gate = slack(&slack_app(rules)).policy("agents.yaml", group).start();
    gate.refuses(&dana, "scope_revoked");
    gate.passes(&lee);
}

#[test]
fn a_condition_on_users_is_met_in_a_revocation_where_no_user_is_known() {
    let unknown = "version: 1\napp: slack/assist\nname: A\ncontact: c\ninstallations:\n  - tenant: T024BE7LD\n    credentials:\n      \
                   - {method: token, kind: user, sha256: sha256(xoxp-unknown)}\n      \
                   - {method: token, kind: user, user: U0LEE, sha256: sha256(xoxp-lee)}\n";
    let rules = "grants: [{scopes: ['chat:write'], actors: [user], in: all}]\n\
                 revocations: [{scopes: ['chat:write'], users: {ids: [U0DANA]}, in: all, reason: x}]\n";
    let gate = slack(&format!("{unknown}{rules}")).start();
    let [nobody, ..] = post("C0HELP", "xoxp-unknown");
    let [lee, ..] = post("C0HELP", LEE);
    gate.refuses(&nobody, "scope_revoked");
    gate.passes(&lee);
    let rules = "grants: [{scopes: ['chat:write'], actors: [user], users: {ids: [U0LEE]}, in: all}]\n";
    let gate = slack(&format!("{unknown}{rules}")).start();
    gate.refuses(&nobody, "user_not_allowed");
    gate.passes(&lee);
}

#[test]
fn a_method_whose_needs_nobody_stated_is_refused_whatever_is_granted() {
    let gate = assist(
        "grants: [{scopes: all, actors: [app, user], in: all}, \
         {scopes: ['gate:deliver', 'gate:mint', 'gate:admit'], actors: [app, user], in: all}]\n",
    );
    is_slack(&gate.refuses(&Ask::get("/api/rtm.connect").bearer(BOT), "unknown_operation"), "unknown_method");
    for path in ["/api/no.such.method", "/api/chat.postmessage", "/api", "/", "/api/chat.postMessage.x"] {
        gate.refuses(&Ask::post(path).bearer(BOT).form("channel=C0HELP"), "unknown_operation");
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        gate.refuses(&Ask::new(method, "/api/chat.postMessage").bearer(BOT), "unknown_operation");
    }
}

#[test]
fn what_needs_no_scope_needs_an_installation_that_lives() {
    let auth = |token: &str| Ask::post("/api/auth.test").bearer(token).form("");
    let gate = assist("grants: [{scopes: ['users:read'], actors: [app], in: {channel: [C0HELP]}}]\n");
    gate.passes(&auth(BOT));
    gate.refuses(&auth(DANA), "actor_not_allowed");
    let gate = assist("grants: []\n");
    gate.refuses(&auth(BOT), "missing_scope");
    let gate = assist(
        "grants: [{scopes: ['users:read'], actors: [app], in: all}]\nrevocations: [{scopes: all, in: all, reason: x}]\n",
    );
    gate.refuses(&auth(BOT), "scope_revoked");
}

#[test]
fn a_guard_is_granted_by_its_written_name_alone() {
    let join = Ask::post("/api/conversations.join").bearer(BOT).json(r#"{"channel":"C0HELP"}"#);
    let gate = assist("grants: [{scopes: all, actors: [app], in: all}]\n");
    let answer = gate.refuses(&join, "missing_scope");
    assert!(answer.json()["needed"].as_str().is_some_and(|needed| needed.contains("gate:admit")), "{}", answer.body);
    let gate = assist("grants: [{scopes: ['channels:join', 'gate:admit'], actors: [app], in: all}]\n");
    gate.passes(&join);
}

#[test]
fn two_names_of_one_scope_are_one() {
    let archive = Ask::post("/api/conversations.archive").bearer(BOT).json(r#"{"channel":"C0HELP"}"#);
    let grant = "grants: [{scopes: ['channels:manage'], actors: [app], in: all}]\n";
    assist(grant).passes(&archive);
    let gate = assist(&format!("{grant}revocations: [{{scopes: ['channels:write'], in: all, reason: x}}]\n"));
    gate.refuses(&archive, "scope_revoked");
}

#[test]
fn a_caller_that_is_limited_to_channels_reaches_no_file() {
    let gate = assist("grants: [{scopes: ['files:read', 'users:read'], actors: [app], in: {channel: [C0HELP]}}]\n");
    let file = Ask::get("/api/files.info?file=F0ABC").bearer(BOT);
    gate.refuses(&file, "container_unresolved");
    gate.refuses(&Ask::get("/api/files.info?file=C0HELP").bearer(BOT), "bad_request");
    gate.passes(&Ask::get("/api/users.list").bearer(BOT));
}

#[test]
fn an_observed_gate_passes_one_credential_that_no_policy_named_and_says_so() {
    let until = time::OffsetDateTime::now_utc() + time::Duration::days(7);
    let until = until.format(&time::format_description::well_known::Rfc3339).expect("a time");
    let guardrail = "version: 1\nguardrail: walls\napps: all\ntenants: [T024BE7LD]\nrevocations: [{scopes: all, in: {channel: [C0EXEC]}, reason: x}]\n";
    let gate = slack(&slack_app("grants: []\n"))
        .policy("walls.yaml", guardrail)
        .gate("mode", &format!("{{observe: {{until: {until}}}}}"))
        .top("state", "state")
        .start();
    let [ask, ..] = post("C0HELP", "xoxb-stranger");
    let answer = gate.ask(&ask);
    assert_eq!((answer.status, answer.reason()), (200, None), "{}", answer.body);
    assert_eq!(answer.field("x-scopegate-would"), Some("unknown_app"));
    assert_eq!(gate.upstream.requests().len(), 1);
    for ask in post("C0EXEC", "xoxb-stranger") {
        gate.refuses(&ask, "container_revoked");
    }
    gate.refuses(&Ask::get("/api/users.list"), "unidentified");
    gate.refuses(&Ask::get("/api/users.list?token=xoxb-one").bearer("xoxb-two"), "unknown_app");
    gate.refuses(&Ask::get("/api/users.list").bearer("sg_unknown"), "unknown_app");
    gate.refuses(&Ask::get("/api/users.list?team_id=TOTHER").bearer("xoxb-stranger"), "unknown_tenant");
    // An app that a policy knows is not observed with the gate.
    let [known, ..] = post("C0HELP", BOT);
    gate.refuses(&known, "missing_scope");
    assert_eq!(gate.metric(r#"scopegate_observe{app="none",gate="slack"}"#), 1.0);
    assert_eq!(gate.metric(r#"scopegate_requests_total{app="none",gate="slack",outcome="would_deny"}"#), 1.0);
}

#[test]
fn a_url_of_another_host_is_handed_out_under_its_guards_alone() {
    let open = Ask::post("/api/apps.connections.open").bearer("xapp-1");
    let gate_with = |guards: &str, revocations: &str| {
        slack(&format!(
            "version: 1\napp: slack/assist\nname: Assist\ncontact: it@example.com\ninstallations:\n  - tenant: T024BE7LD\n    \
             credentials:\n      - {{method: token, kind: app_level, sha256: sha256(xapp-1)}}\n\
             grants: [{{scopes: ['connections:write'{guards}], actors: [app], in: all}}]\n{revocations}"
        ))
        .start()
    };
    for guards in ["", ", 'gate:deliver'", ", 'gate:mint'"] {
        is_slack(&gate_with(guards, "").refuses(&open, "missing_scope"), "missing_scope");
    }
    let both = ", 'gate:deliver', 'gate:mint'";
    gate_with(both, "").passes(&open);
    for guard in ["gate:deliver", "gate:mint"] {
        let revoked = format!("revocations: [{{scopes: ['{guard}'], in: all, reason: SEC-8}}]\n");
        gate_with(both, &revoked).refuses(&open, "scope_revoked");
    }
}

/// A multipart body of these fields, and a file behind them.
fn multipart(method: &str, fields: &[(&str, &str)], file: &str) -> Ask {
    let field = |(name, text): &(&str, &str)| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let fields: String = fields.iter().map(field).collect();
    let file = format!(
        "--x\r\nContent-Disposition: form-data; name=\"{file}\"; filename=\"a.png\"\r\n\
         Content-Type: image/png\r\n\r\nPNG --y\r\n--x--\r\n"
    );
    Ask::post(method).with("content-type", "multipart/form-data; boundary=x").body(&format!("{fields}{file}"))
}

#[test]
fn a_file_is_sent_beside_its_arguments_as_the_vendor_says() {
    let gate = assist(
        "grants: [{scopes: ['users.profile:write'], actors: [user], in: all}, \
         {scopes: ['files:write'], actors: [app], in: {channel: [C0HELP]}}]\n\
         revocations: [{scopes: ['files:write'], in: {channel: [C0EXEC]}, reason: SEC-1}]\n",
    );
    let photo = |fields: &[(&str, &str)]| multipart("/api/users.setPhoto", fields, "image");
    let seen = gate.passes(&photo(&[("crop_w", "100")]).bearer(DANA));
    assert!(String::from_utf8_lossy(&seen.body).contains("PNG --y"), "{}", seen.head);
    // The token may stand in a field.
    gate.passes(&photo(&[("token", DANA)]));
    gate.refuses(&photo(&[("token", "xoxp-stranger")]), "unknown_app");
    gate.refuses(&photo(&[("token", LEE)]).bearer(DANA), "unidentified");
    gate.refuses(&photo(&[]), "unidentified");
    gate.refuses(&photo(&[("token", DANA), ("token", DANA)]), "bad_request");
    gate.refuses(&photo(&[("Token", DANA)]), "bad_request");
    gate.refuses(&photo(&[("team_id", "T0OTHER")]).bearer(DANA), "unknown_tenant");
    gate.passes(&photo(&[("team_id", "T024BE7LD")]).bearer(DANA));
    let upload = |fields: &[(&str, &str)]| multipart("/api/files.upload", fields, "file").bearer(BOT);
    gate.passes(&upload(&[("channels", "C0HELP"), ("title", "x")]));
    gate.refuses(&upload(&[("channels", "C0OTHER")]), "container_not_granted");
    gate.refuses(&upload(&[("channels", "C0HELP,C0EXEC")]), "container_revoked");
    gate.refuses(&upload(&[("title", "x")]), "container_revoked");
    gate.refuses(&upload(&[("channels", "C0HELP"), ("channels", "C0HELP")]), "bad_request");
    gate.refuses(&upload(&[("Channels", "C0HELP")]), "bad_request");
    gate.refuses(&multipart("/api/files.upload", &[], "channels").bearer(BOT), "bad_request");
    let in_query = multipart("/api/files.upload?channels=C0HELP", &[("channels", "C0HELP")], "file");
    gate.refuses(&in_query.bearer(BOT), "bad_request");
    // Behind a file some readers do not look.
    let behind = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n\
                  --x\r\nContent-Disposition: form-data; name=\"channels\"\r\n\r\nC0HELP\r\n--x--\r\n";
    let behind =
        Ask::post("/api/files.upload").bearer(BOT).with("content-type", "multipart/form-data; boundary=x").body(behind);
    gate.refuses(&behind, "bad_request");
}

#[test]
fn a_method_that_takes_no_file_does_not_read_its_arguments_from_multipart() {
    let gate = assist("grants: [{scopes: ['files:read'], actors: [app], in: {channel: [C0HELP]}}]\n");
    let list = |fields: &[(&str, &str)]| multipart("/api/files.remote.list", fields, "file").bearer(BOT);
    gate.refuses(&list(&[("channel", "C0HELP")]), "bad_request");
}

#[test]
fn a_gate_key_in_a_field_beside_a_file_is_refused_for_it_cannot_be_taken_out() {
    let key = format!("sg_{}", "k".repeat(43));
    let policy = format!(
        "version: 1\napp: slack/keyed\nname: k\ncontact: c\ninstallations:\n  - tenant: T024BE7LD\n    credentials:\n      \
         - {{method: gate_key, kind: user, user: U0DANA, sha256: \"sha256({key})\", upstream: {{file: secrets/real}}}}\n\
         grants: [{{scopes: ['users.profile:write'], actors: [user], in: all}}]\n"
    );
    let gate = Setup::slack().policy("keyed.yaml", &policy).file("secrets/real", "xoxp-real").start();
    let photo = |fields: &[(&str, &str)]| multipart("/api/users.setPhoto", fields, "image");
    gate.refuses(&photo(&[("token", &key)]), "unidentified");
    let seen = gate.passes(&photo(&[]).bearer(&key));
    assert_eq!(seen.field("authorization"), Some("Bearer xoxp-real"));
}
