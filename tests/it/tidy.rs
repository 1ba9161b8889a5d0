//! The house rules that a compiler does not check: who may import whom, and what no file may hold.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each file below `src/`, with its path from there and its text.
fn house() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The code of a file before its tests, which may import what they like.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

fn lives_in(name: &str, module: &str) -> bool {
    name == format!("{module}.rs") || name.starts_with(&format!("{module}/"))
}

#[test]
fn the_pure_core_imports_nothing_that_does_io() {
    let forbidden = [
        "crate::proxy",
        "crate::control",
        "crate::app",
        "crate::cli",
        "crate::live",
        "crate::metrics",
        "crate::telemetry",
        "crate::shutdown",
        "crate::demo",
        "tokio::",
        "hyper::",
        "std::net::Tcp",
        "std::net::Udp",
        "ToSocketAddrs",
        "std::fs",
        "SystemTime::now",
        "Instant::now",
    ];
    for (name, text) in house().iter().filter(|(name, _)| lives_in(name, "authz")) {
        for word in forbidden {
            assert!(!code(text).contains(word), "{name} uses {word}");
        }
    }
}

#[test]
fn data_plane_and_control_plane_meet_only_in_the_middle() {
    for (name, text) in &house() {
        if lives_in(name, "proxy") {
            assert!(!code(text).contains("crate::control"), "{name} imports the control plane");
        }
        if lives_in(name, "control") {
            assert!(!code(text).contains("crate::proxy"), "{name} imports the data plane");
        }
    }
}

#[test]
fn only_the_yaml_reader_knows_the_yaml_library() {
    for (name, text) in &house() {
        let reads = lives_in(name, "yaml") || name.ends_with("/file.rs") || name.contains("/file/");
        assert!(reads || !code(text).contains("serde_saphyr"), "{name} uses the YAML library");
    }
}

#[test]
fn nothing_on_the_request_path_is_boxed_behind_a_trait() {
    for (name, text) in house().iter().filter(|(name, _)| lives_in(name, "proxy") || lives_in(name, "authz")) {
        // Cells are read by people, after a reload or on a command.
        let is_request_path = !name.starts_with("authz/policy/cells");
        assert!(!(is_request_path && code(text).contains("Box<dyn")), "{name} boxes a trait object");
    }
}

#[test]
fn there_is_no_mod_rs_and_every_file_says_what_it_is() {
    for (name, text) in &house() {
        assert!(!name.ends_with("mod.rs"), "{name}: a module is `name.rs` beside `name/`");
        assert!(text.starts_with("//! "), "{name} does not say what it is");
    }
}
