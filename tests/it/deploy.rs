//! What `deploy/` ships fits the gate: configurations, ports, times, names. What needs other programs is in `deploy/check`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod image;
mod manifests;
mod monitoring;
mod unit;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use scopegate::config::Config;
use serde::Deserialize as _;
use serde_yaml::Value;

/// The request log may take this long after the drain.
const LOG_CLOSE: Duration = Duration::from_secs(2);

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document of a file of YAML.
fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
    documents.map(|document| document.unwrap_or_else(|error| panic!("{path}: {error}"))).collect()
}

fn config(path: &str) -> Config {
    let known = |name: &str| scopegate::authz::catalog::builtin::catalog(name).is_some();
    scopegate::config::load(&project(path), &known).unwrap_or_else(|problems| panic!("{path}: {problems:#?}"))
}

fn scopegate(folder: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_scopegate")).args(arguments).current_dir(project(folder)).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{folder}: {arguments:?}: {said}");
    said
}

/// What a gate needs between the first signal and its end.
fn drain(config: &Config) -> Duration {
    config.drain.delay + config.drain.timeout + LOG_CLOSE
}

#[test]
fn every_configuration_that_is_shipped_passes_check() {
    for (folder, config) in [
        ("deploy/kubernetes/example-overlay", "config/scopegate.yaml"),
        ("deploy/kubernetes/sidecar", "config/scopegate.yaml"),
        ("deploy/systemd", "scopegate.yaml"),
    ] {
        let said = scopegate(folder, &["check", "--config", config]);
        assert!(said.contains("0 errors") && said.contains("1 guardrail"), "{folder}: {said}");
    }
}
