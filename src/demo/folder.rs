//! The one folder that a demo writes: policies to edit, made-up secrets, the configuration and the log of requests.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::authz::identity::gate_key;

/// What the made-up upstreams take, and no app of the demo holds.
pub(super) const JIRA_TOKEN: &str = "real-jira-token-of-the-demo";
pub(super) const SLACK_TOKEN: &str = "real-slack-token-of-the-demo";

const CONFIG: &str = include_str!("scopegate.yaml");
pub(super) const TIMETRACKER: &str = "policies/timetracker.yaml";
pub(super) const ASSIST: &str = "policies/assist.yaml";
const POLICIES: [(&str, &str); 3] = [
    (TIMETRACKER, include_str!("policies/timetracker.yaml")),
    (ASSIST, include_str!("policies/assist.yaml")),
    ("policies/guardrails.yaml", include_str!("policies/guardrails.yaml")),
];

/// Where everything of a demo listens: the Jira gate and the Slack gate, health, and their upstreams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub gates: [SocketAddr; 2],
    pub health: SocketAddr,
    pub upstreams: [SocketAddr; 2],
}

/// The gate keys of the demo's two apps. They are printed, and stored nowhere.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub jira: String,
    pub slack: String,
}

/// Removed with all that is in it when dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // Whoever deleted it first did what was wanted.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Folder {
    /// A new folder that nobody else may enter: others' links below `/tmp` are not followed, for it must not be there.
    pub(super) fn create(keep: bool) -> io::Result<Self> {
        let name = format!("scopegate-demo-{}", URL_SAFE_NO_PAD.encode(random::<6>()?).replace(['-', '_'], "x"));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, keep })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join("scopegate.yaml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("requests.log")
    }

    /// Writes the policies with the digests of keys that are minted here, and the secrets that they name.
    pub(super) fn write_policies(&mut self) -> io::Result<Keys> {
        let keys = Keys { jira: gate_key::mint(random()?), slack: gate_key::mint(random()?) };
        fs::create_dir(self.path.join("policies"))?;
        fs::create_dir(self.path.join("secrets"))?;
        fs::write(self.path.join("secrets/jira-token"), JIRA_TOKEN)?;
        fs::write(self.path.join("secrets/slack-token"), SLACK_TOKEN)?;
        for (name, text) in POLICIES {
            let text =
                text.replace(&"0".repeat(64), &digest(&keys.jira)).replace(&"1".repeat(64), &digest(&keys.slack));
            fs::write(self.path.join(name), text)?;
        }
        Ok(keys)
    }

    /// Writes the configuration and returns its text.
    pub(super) fn write_config(&self, addresses: &Addresses) -> io::Result<String> {
        let [jira, slack] = addresses.gates;
        let [jira_upstream, slack_upstream] = addresses.upstreams;
        let text = CONFIG
            .replace("JIRA_LISTEN", &jira.to_string())
            .replace("SLACK_LISTEN", &slack.to_string())
            .replace("HEALTH_LISTEN", &addresses.health.to_string())
            .replace("JIRA_UPSTREAM", &format!("http://{jira_upstream}"))
            .replace("SLACK_UPSTREAM", &format!("http://{slack_upstream}"));
        fs::write(self.config(), &text)?;
        Ok(text)
    }
}

/// As `sha256:` of a credential in a policy.
fn digest(key: &str) -> String {
    gate_key::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
