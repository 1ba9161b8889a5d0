//! `scopegate init`: a first configuration, one app and one guardrail, with comments. They pass `check`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What differs from product to product in the files.
struct Sample {
    product: &'static str,
    upstream: &'static str,
    tenant: &'static str,
    /// Lines of the gate that this product needs, each with its indent.
    gate: &'static str,
    kind: &'static str,
    scope: &'static str,
    /// A container list, and what the grant is for.
    within: &'static str,
    guarded: &'static str,
}

const SAMPLES: [Sample; 5] = [
    Sample {
        product: "jira",
        upstream: "https://acme.atlassian.net",
        tenant: "acme",
        gate: "    issue_keys: prefix               # PROJ-1 lies in PROJ: unsound where issues are moved\n    names: as_written                # a project key is compared as written: unsound where keys change\n",
        kind: "oauth",
        scope: "read:jira-work",
        within: "{project: [PROJ]}",
        guarded: "manage:jira-configuration",
    },
    Sample {
        product: "slack",
        upstream: "https://slack.com",
        tenant: "T024BE7LD",
        gate: "    channel_types: prefix            # C… is public, G… private or mpim: unsound where channels are shared\n",
        kind: "bot",
        scope: "chat:write",
        within: "{channel: [C0HELP]}",
        guarded: "gate:deliver",
    },
    Sample {
        product: "confluence",
        upstream: "https://acme.atlassian.net",
        tenant: "acme",
        gate: LOOKED_UP,
        kind: "oauth",
        scope: "read:confluence-content.all",
        within: "{space: [DOCS]}",
        guarded: "manage:confluence-configuration",
    },
    Sample {
        product: "bitbucket",
        upstream: "https://api.bitbucket.org",
        tenant: "acme",
        gate: LOOKED_UP,
        kind: "access_token",
        scope: "repository",
        within: "{repository: [website]}",
        guarded: "repository:admin",
    },
    Sample {
        product: "buddy",
        upstream: "https://api.buddy.works",
        tenant: "acme",
        gate: LOOKED_UP,
        kind: "api_token",
        scope: "EXECUTION_INFO",
        within: "{project: [website]}",
        guarded: "INTEGRATION_MANAGE",
    },
];

/// What container an id lies in only the product knows.
const LOOKED_UP: &str = "    # lookups: {credential: {file: /run/secrets/lookups}}   # asks the product what lies where; without it apps' own do\n";

/// Writes `config/scopegate.yaml` and two policy files below `folder`, and says which.
///
/// # Errors
/// `AlreadyExists` before anything is written if one of them is there; nothing is ever overwritten. `InvalidInput` for
/// a product that it has no sample for.
pub fn init(folder: &Path, product: &str) -> io::Result<Vec<PathBuf>> {
    let sample = SAMPLES.iter().find(|sample| sample.product == product).ok_or_else(|| {
        let known: Vec<_> = SAMPLES.iter().map(|sample| sample.product).collect();
        let message = format!("there is no sample for `{product}`; use --product {}", known.join(" or --product "));
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })?;
    let files = [
        (folder.join("config/scopegate.yaml"), configuration(sample)),
        (folder.join(format!("policies/{product}/example-app.yaml")), app(sample, &digest_of_no_key()?)),
        (folder.join("policies/guardrails.yaml"), guardrail(sample)),
    ];
    if let Some((path, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        return Err(exists(path));
    }
    for (path, text) in &files {
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        // `create_new` also refuses what came between the look and the write.
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => exists(path),
                _ => error,
            })?;
        file.write_all(text.as_bytes())?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// What to do with the files, in the order in which it is done.
pub fn next(folder: &Path, product: &str) -> String {
    let tenant = SAMPLES.iter().find(|sample| sample.product == product).map_or("TENANT", |sample| sample.tenant);
    let enter = match folder.to_str() {
        Some("." | "") | None => String::new(),
        Some(folder) => format!("  cd {folder}\n"),
    };
    format!(
        "\nnext:
{enter}  edit config/scopegate.yaml: where {product} is, and which tenant
  scopegate credential new --app {product}/example-app --tenant {tenant}   # its digest into policies/{product}/example-app.yaml
  scopegate check
  scopegate serve"
    )
}

fn exists(path: &Path) -> io::Error {
    let message =
        format!("{} is there already and stays as it is; delete it, or run init in another folder", path.display());
    io::Error::new(io::ErrorKind::AlreadyExists, message)
}

fn configuration(sample: &Sample) -> String {
    let Sample { product, upstream, tenant, gate, .. } = sample;
    format!(
        "\
# scopegate's configuration. Relative paths start at the folder of this file. `scopegate check` says what is wrong.
version: 1
gates:
  - name: {product}
    listen: 127.0.0.1:8080           # what apps call in place of {upstream}
    product: {product}
    identify: [gate_key]             # apps hold keys of scopegate's own; `scopegate credential new` prints one
    upstream: {upstream}
    bypass: credential               # what the app holds is worth nothing upstream
    tenant: {{fixed: {tenant}}}
{gate}policies: ../policies              # hot-reloaded: saving a file is enough
health: {{listen: 127.0.0.1:9902}}   # /livez /readyz /metrics
state: ../state                      # what `revoke` and the like write, the journal, the use of rights
admin: {{listen: unix:../state/admin.sock}}   # explain, snapshot, acts
"
    )
}

/// Chance bytes: whoever forgets to put a real digest in has an app that nobody can be.
fn digest_of_no_key() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn app(sample: &Sample, digest: &str) -> String {
    let Sample { product, tenant, kind, scope, within, .. } = sample;
    format!(
        "\
# One app: where it is installed, what it may do. What is not granted is refused.
version: 1
app: {product}/example-app
name: Example app
contact: platform@example.com
installations:
  - tenant: {tenant}
    # installed_at: 2026-11-20T09:00:00Z   # opens the install window for 24h from then on
    credentials:
      # `scopegate credential new --app {product}/example-app --tenant {tenant}` prints a key and its digest: put it here.
      # The file holds the app's real credential; the gate puts it in, and the app never sees it.
      - method: gate_key
        sha256: \"{digest}\"
        kind: {kind}
        upstream: {{file: /run/secrets/example-app}}
grants:
  - {{for: what the app does with it, scopes: ['{scope}'], actors: [app], in: {within}}}
revocations: []
  # Takes the scope away everywhere, whatever is granted, as soon as the file is saved:
  # - {{scopes: ['{scope}'], in: all, reason: TICKET-1}}
"
    )
}

fn guardrail(sample: &Sample) -> String {
    let Sample { product, guarded, .. } = sample;
    format!(
        "\
# Revocations that reach every app of the product, also apps written later. They win over every grant.
version: 1
guardrail: no-standing-admin
apps: {{product: {product}}}
tenants: all
revocations:
  # Only while an app is being installed (24h from `installed_at` of its installation on).
  - {{scopes: ['{guarded}'], in: all, unless: install_window, reason: needed only for installing}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::policy::file::{Origin, parse_bytes};
    use crate::config;
    use crate::problem::file_name;

    #[test]
    fn what_init_writes_is_read_without_a_problem() {
        for sample in &SAMPLES {
            let folder = tempfile::tempdir().unwrap();
            let files = init(folder.path(), sample.product).unwrap();
            let config = config::load(&files[0], &|product| product == sample.product).unwrap();
            assert_eq!(config.gates.len(), 1);
            for file in &files[1..] {
                let parsed = parse_bytes(&file_name(file.clone()), &fs::read(file).unwrap(), Origin::Policy);
                assert_eq!(parsed.problems, []);
                assert_eq!(parsed.documents.len(), 1);
            }
        }
    }

    #[test]
    fn init_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        let kept = folder.path().join("policies/guardrails.yaml");
        fs::write(&kept, "mine").unwrap();
        let error = init(folder.path(), "jira").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("stays as it is"), "{error}");
        assert_eq!(fs::read_to_string(kept).unwrap(), "mine");
        assert!(!folder.path().join("config").exists());
        assert_eq!(init(folder.path(), "teapot").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
