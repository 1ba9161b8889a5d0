//! Each role at each endpoint, by the one table; and nobody at any of them.

use scopegate::config::model::admin::Role;
use scopegate::control::admin::right::{Right, may};

use super::*;

/// The token of a role.
fn token(role: Role) -> &'static str {
    match role {
        Role::Viewer => VIEWER,
        Role::Approver => APPROVER,
        Role::Admin => ADMIN,
    }
}

/// An act in shadow, which can be restored and promoted.
fn shadow(gate: &Gate) -> String {
    let mut revoke = revoke();
    revoke["shadow"] = json!(true);
    let (status, done) = tell(gate, ADMIN, &order(gate, &revoke));
    assert_eq!(status, 200, "{done}");
    done["id"].as_str().expect("an id").to_owned()
}

/// What may be done by whom: each endpoint by its least right, and each order by what it does.
fn asked(gate: &Gate, id: &str) -> Vec<(Right, Ask)> {
    let order = |text: Value| order(gate, &text);
    let window = json!({"act": "install-window", "app": "jira/tracker", "for": "1h", "reason": "x"});
    let suspend = json!({"act": "suspend", "app": "jira/tracker", "reason": "x"});
    let mut all: Vec<_> =
        Endpoint::ALL.into_iter().map(|endpoint| (endpoint.least(), sound(gate, endpoint, id))).collect();
    all.extend([
        (Right::Give, order(grant())),
        (Right::Give, order(window)),
        (Right::Take, order(suspend)),
        (Right::Take, order(revoke())),
    ]);
    all
}

/// The same, changing nothing.
fn dry(ask: &Ask) -> Ask {
    let text = ask.text();
    let path = text.split(' ').nth(1).expect("a path").to_owned();
    let mut dry = if path.contains("/acts") && text.starts_with("POST") {
        Ask::post(&format!("{path}?dry_run=true"))
    } else {
        return ask.clone();
    };
    for field in text.lines().skip(1).take_while(|line| !line.is_empty()) {
        let (name, value) = field.split_once(": ").expect("a field");
        if name == "if-match" {
            dry = dry.with(name, value);
        }
    }
    dry.json(text.split("\r\n\r\n").nth(1).expect("a body"))
}

#[test]
fn each_role_may_what_the_table_says_and_nobody_else_may_anything() {
    let gate = on_tcp().start();
    let id = shadow(&gate);
    let (mut permits, mut denials) = (0, 0);
    let before = (generation(&gate), acts(&gate));
    for (right, ask) in asked(&gate, &id) {
        for role in Role::ALL {
            if may(role, right) {
                let (status, answer) = tell(&gate, token(role), &dry(&ask));
                assert_eq!(status, 200, "{role:?} {}: {answer}", ask.text());
                permits += 1;
                continue;
            }
            for ask in [&ask, &dry(&ask)] {
                let (status, answer) = tell(&gate, token(role), ask);
                assert_eq!((status, &answer["code"]), (403, &json!("role")), "{role:?} {}: {answer}", ask.text());
                denials += 1;
            }
        }
        let nobody = [
            ask.clone(),
            ask.clone().bearer("0123456789abcdef-nobody"),
            ask.clone().bearer(&ADMIN[..ADMIN.len() - 1]),
            ask.clone().bearer(ADMIN).bearer(ADMIN),
            ask.clone().with("authorization", ADMIN),
            ask.clone().with("x-authorization", &format!("Bearer {ADMIN}")),
        ];
        for ask in nobody {
            let answer = raw(&gate, &ask);
            assert!(matches!(answer.status, 401 | 429), "{}: {} {}", ask.text(), answer.status, answer.body);
            denials += 1;
        }
    }
    assert_eq!((generation(&gate), acts(&gate)), before, "what was refused or tried changed something");
    assert!(denials > 2 * permits, "{denials} denials, {permits} permits");
    assert!(gate.upstream.requests().is_empty());
}

#[test]
fn an_approver_stops_an_app_and_an_admin_lets_it_go_on() {
    let gate = on_tcp().start();
    let edit = Ask::put("/rest/api/3/issue/PROJ-1").bearer("tracker").json(r#"{"fields":{"summary":"x"}}"#);
    gate.passes(&edit);
    // What takes needs no `If-Match`: an incident does not wait for a second look.
    let (status, done) = tell(&gate, APPROVER, &Ask::post("/api/v1/acts").json(&revoke().to_string()));
    assert_eq!(status, 200, "{done}");
    gate.refuses(&edit, "scope_revoked");
    let id = done["id"].as_str().expect("an id");
    let restore = || sound(&gate, Endpoint::Restore, id);
    assert_eq!(tell(&gate, APPROVER, &restore()).0, 403);
    assert_eq!(tell(&gate, VIEWER, &restore()).0, 403);
    gate.refuses(&edit, "scope_revoked");
    assert_eq!(tell(&gate, ADMIN, &restore()).0, 200);
    gate.passes(&edit);
}

#[test]
fn whoever_asks_is_told_who_the_gate_takes_them_for() {
    let gate = on_tcp().start();
    let who = |token: &str| tell(&gate, token, &Ask::get("/api/v1/whoami")).1;
    assert_eq!(who(VIEWER), json!({"principal": "token:grafana", "role": "viewer", "may": ["read"]}));
    assert_eq!(who(APPROVER), json!({"principal": "token:oncall", "role": "approver", "may": ["read", "take"]}));
    assert_eq!(who(ADMIN), json!({"principal": "token:dana", "role": "admin", "may": ["read", "take", "give"]}));
}

#[test]
fn a_token_that_is_taken_out_of_the_file_ends_at_once_and_a_broken_file_lets_nobody_in() {
    let gate = on_tcp().start();
    let status = |token: &str| raw(&gate, &Ask::get("/api/v1/whoami").bearer(token)).status;
    assert_eq!((status(ADMIN), status(VIEWER)), (200, 200));
    std::fs::write(gate.path("tokens"), "grafana viewer 0123456789abcdef-viewer\n").expect("a file");
    assert_eq!((status(ADMIN), status(VIEWER)), (401, 200));
    std::fs::write(gate.path("tokens"), "grafana viewer 0123456789abcdef-viewer\ndana king x\n").expect("a file");
    assert_eq!((status(ADMIN), status(VIEWER)), (401, 401));
    std::fs::remove_file(gate.path("tokens")).expect("it was there");
    assert_eq!(status(VIEWER), 401);
    std::fs::write(gate.path("tokens"), "0123456789abcdef0123\n").expect("a file");
    let (status, who) = tell(&gate, "0123456789abcdef0123", &Ask::get("/api/v1/whoami"));
    assert_eq!((status, &who["role"], &who["principal"]), (200, &json!("admin"), &json!("token")), "a token alone");
}

#[test]
fn what_does_not_exist_is_not_told_to_strangers() {
    let gate = on_tcp().start();
    for ask in [Ask::get("/api/v1/nothing"), Ask::get("/"), Ask::new("DELETE", "/api/v1/acts"), Ask::get("/metrics")] {
        assert_eq!(raw(&gate, &ask).status, 401, "{}", ask.text());
    }
    assert_eq!(tell(&gate, VIEWER, &Ask::get("/api/v1/nothing")).1["code"], "endpoint");
    let answer = raw(&gate, &Ask::new("DELETE", "/api/v1/acts").bearer(ADMIN));
    assert_eq!((answer.status, &answer.json()["code"]), (405, &json!("method")));
    let allowed = answer.field("allow").expect("which methods there are");
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
}
