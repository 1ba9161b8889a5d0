//! The systemd unit: least privilege, and time to drain. `systemd-analyze` judges the rest in `deploy/check`.

use scopegate::config::model::Listen;

use super::*;

const UNIT: &str = "deploy/systemd/scopegate.service";

fn settings() -> Vec<(String, String)> {
    let text = text(UNIT);
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn values(key: &str) -> Vec<String> {
    settings().into_iter().filter(|(name, _)| name == key).map(|(_, value)| value).collect()
}

#[test]
fn the_unit_gives_no_privilege() {
    for (key, expected) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("AmbientCapabilities", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateUsers", "yes"),
        ("PrivateDevices", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictNamespaces", "yes"),
        ("SystemCallArchitectures", "native"),
        ("Restart", "on-failure"),
    ] {
        assert_eq!(values(key), [expected], "{key}");
    }
    assert!(values("SystemCallFilter")[0].starts_with("@system-service"), "a list of what is allowed comes first");
    for key in ["ReadWritePaths", "User", "BindPaths", "SupplementaryGroups"] {
        assert_eq!(values(key), Vec::<String>::new(), "{key}: state and runtime folders are all that is written");
    }
}

/// The number before a word of a text.
fn number_before(text: &str, word: &str) -> u64 {
    let (before, _) = text.split_once(word).unwrap_or_else(|| panic!("no `{word}` in {text}"));
    before.rsplit([' ', '(']).next().unwrap().replace(',', "").parse().unwrap_or_else(|_| panic!("{before}{word}"))
}

/// The limits are what was measured for as many connections as the configuration allows, and room above it.
#[test]
fn the_memory_limits_come_from_what_was_measured() {
    let config = config("deploy/systemd/scopegate.yaml");
    let connections = config.gates.iter().map(|gate| gate.limits.connections_max as u64).max().unwrap();
    let readme = text("README.md");
    let row = |name: &str| readme.lines().find(|line| line.starts_with(&format!("| memory, {name} |"))).unwrap();
    let (at_rest, connection) =
        (number_before(row("request"), " MiB with 50 apps"), number_before(row("request"), " KiB a kept"));
    let held = number_before(row("limit"), " MiB that held bodies");
    assert_eq!(held as usize, scopegate::proxy::limits::HELD_TOTAL_MAX >> 20);
    let upstreams = config.gates.iter().map(|gate| gate.limits.upstream_connections_max as u64).max().unwrap();
    let untaken = number_before(row("limit"), " KiB that an answer");
    assert_eq!(untaken as usize, (2 * scopegate::proxy::limits::ANSWER_BUFFER_BYTES) >> 10);
    let needed = at_rest + connection * connections / 1024 + held + untaken * upstreams / 1024;
    let limit = |key: &str| number_before(&values(key)[0], "M");
    let [high, max] = ["MemoryHigh", "MemoryMax"].map(limit);
    assert!(needed * 5 / 4 < high && high < max, "{needed} MiB of {high} and {max}");
    assert!(row("limit").contains(&format!("`MemoryHigh` {high} MiB, `MemoryMax` {max} MiB")), "{}", row("limit"));
    for told in [text(UNIT), row("limit").to_owned()] {
        assert!(told.contains(&format!("{needed} MiB")), "{needed} MiB are needed: {told}");
    }
}

/// What is copied when the service starts cannot reload: the drop-in gives the files themselves, and no more than that.
#[test]
fn the_drop_in_for_credentials_that_reload_gives_the_files_and_nothing_else() {
    const DROP_IN: &str = "deploy/systemd/reloading-credentials.conf";
    let text = text(DROP_IN);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(lines, ["[Service]", "LoadCredential=", "SupplementaryGroups=scopegate-credentials"]);
    let [credential] = &values("LoadCredential")[..] else { panic!("one credential is shown") };
    let (folder, _) = credential.split_once(':').unwrap().1.rsplit_once('/').unwrap();
    for told in [format!("chmod 0750 {folder} "), format!("{{file: {folder}/NAME}}")] {
        assert!(text.contains(&told), "{told}");
    }
    for place in [self::text(UNIT), self::text("README.md")] {
        assert!(place.contains("reloading-credentials.conf"), "whoever needs it must find it");
    }
}

#[test]
fn the_unit_gives_time_to_drain_and_the_folders_that_the_configuration_names() {
    let config = config("deploy/systemd/scopegate.yaml");
    let timeout = Duration::from_secs(values("TimeoutStopSec")[0].parse().unwrap());
    assert!(timeout > drain(&config), "{timeout:?} for {:?}", drain(&config));
    assert_eq!(values("StateDirectory"), ["scopegate"]);
    assert_eq!(values("RuntimeDirectory"), ["scopegate"]);
    let state = Path::new("/var/lib/scopegate");
    assert_eq!(config.state.as_deref(), Some(state));
    assert!(config.overrides.unwrap().starts_with(state));
    let Some(Listen::Unix(socket)) = config.admin.map(|admin| admin.listen) else { panic!("no socket") };
    assert!(socket.starts_with("/run/scopegate"));
    let [credential] = &values("LoadCredential")[..] else { panic!("one credential is shown") };
    let name = credential.split(':').next().unwrap();
    assert!(
        text("deploy/systemd/policies/timetracker.yaml")
            .contains(&format!("/run/credentials/scopegate.service/{name}"))
    );
    assert!(values("ExecStart")[0].ends_with(" serve --config /etc/scopegate/scopegate.yaml"));
}
