//! What `check` says of names of containers that nothing can tell.

use super::*;

const CONFIG: &str = "version: 1
policies: policies
gates:
  - {name: slack, listen: '127.0.0.1:0', upstream: 'http://127.0.0.1:9999', product: slack, tenant: {fixed: T0ACME}, bypass: network, identify: [token]}
";

fn policy(rules: &str) -> String {
    format!(
        "version: 1\napp: slack/assist\nname: Assist\ncontact: it@example.com\ninstallations:\n  - tenant: T0ACME\n    \
         credentials:\n      - {{method: token, kind: bot, sha256: {}}}\n{rules}",
        "295b8af04d83ced4b13a4c17fba42b10bb8f94715e78df00800c3819ada66d35"
    )
}

#[test]
fn check_refuses_the_name_of_a_channel_for_nothing_tells_which_one_has_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "scopegate.yaml", CONFIG);
    let check = |rules: &str| {
        write(folder.path(), "policies/assist.yaml", &policy(rules));
        run_in(folder.path(), &["check", "--config", "scopegate.yaml"])
    };
    let granted = |channel: &str| {
        format!("grants: [{{scopes: ['chat:write'], actors: [app], in: {{channel: ['{channel}']}}}}]\n")
    };
    check(&granted("C0EXEC")).says(0, &["0 errors"]);
    for name in ["#exec", "exec"] {
        let said = format!("`{name}` stands for nothing: the product cannot be asked which channel has that name");
        check(&granted(name)).says(1, &["1 error", &said, "write the channel's id", "--> policies/assist.yaml"]);
        let revoked = format!(
            "grants: [{{scopes: ['chat:write'], actors: [app], in: all}}]\n\
             revocations: [{{scopes: ['chat:write'], in: {{channel: ['{name}']}}, reason: SEC-1}}]\n"
        );
        check(&revoked).says(1, &["1 error", &said]);
        let set = format!("version: 1\nset: channels\ntenant: T0ACME\nchannel: ['{name}']\n");
        write(folder.path(), "policies/set.yaml", &set);
        check(&granted("C0EXEC")).says(1, &[&said, "--> policies/set.yaml"]);
        std::fs::remove_file(folder.path().join("policies/set.yaml")).unwrap();
    }
}
