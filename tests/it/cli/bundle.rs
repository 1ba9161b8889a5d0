//! `scopegate bundle`: what it writes, mounted as Kubernetes mounts it, says what the folder says.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use serde::Deserialize as _;

use super::*;
use crate::support::gate::digested;

const BUNDLE: [&str; 6] = ["bundle", "--config", "scopegate.yaml", "--split", "--out", "bundle"];

/// The manifests: data by the name of each ConfigMap.
fn maps(folder: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = std::fs::read_to_string(folder.join("bundle/configmaps.yaml")).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(serde_yaml::Value::deserialize);
    let map = |value: serde_yaml::Value| {
        let name = value["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!((value["kind"].as_str(), value["apiVersion"].as_str()), (Some("ConfigMap"), Some("v1")));
        (name, serde_yaml::from_value(value["data"].clone()).unwrap())
    };
    documents.map(|value| map(value.unwrap())).collect()
}

/// What `volume.yaml` mounts.
fn sources(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("bundle/volume.yaml")).unwrap();
    let patch: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let volume = &patch["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(volume["name"].as_str(), Some("policies"));
    let sources = volume["projected"]["sources"].as_sequence().unwrap();
    let name = |source: &serde_yaml::Value| {
        let map = source["configMap"].as_mapping().unwrap();
        assert_eq!(map.len(), 1, "nothing is optional: {map:?}");
        source["configMap"]["name"].as_str().unwrap().to_owned()
    };
    sources.iter().map(name).collect()
}

/// The folder as the kubelet lays it: flat files in a dated folder, `..data` leads there, and a link for each file.
fn mount(folder: &Path) -> PathBuf {
    let (maps, root) = (maps(folder), folder.join("mounted"));
    let dated = "..2026_11_25_09_00_00.1";
    std::fs::create_dir_all(root.join(dated)).unwrap();
    symlink(dated, root.join("..data")).unwrap();
    let sources = sources(folder);
    assert_eq!(sources, maps.keys().cloned().collect::<Vec<_>>(), "every map is mounted");
    for (key, text) in sources.iter().flat_map(|name| &maps[name]) {
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{key}");
        assert!(!root.join(key).exists(), "{key} is in one map only");
        std::fs::write(root.join(dated).join(key), text).unwrap();
        symlink(Path::new("..data").join(key), root.join(key)).unwrap();
    }
    root
}

/// Every cell, without the places that say where it is written.
fn cells(folder: &Path, policies: &str) -> Vec<String> {
    let json =
        run_in(folder, &["cells", "--catalog", "tracker.yaml", "--policies", policies, "--format", "json"]).json();
    let strip = |cell: &Value| {
        let mut cell = cell.clone();
        for key in ["granted_by", "revoked_by"] {
            cell[key] = Value::Bool(cell[key].is_string());
        }
        cell.to_string()
    };
    let mut cells: Vec<String> = json["cells"].as_array().unwrap().iter().map(strip).collect();
    cells.sort();
    cells
}

/// More apps, in folders and under names that no key can hold as they are.
fn estate() -> tempfile::TempDir {
    let folder = tracker();
    let app = |name: &str, grants: &str| {
        digested(&format!(
            "version: 1\napp: tracker/{name}\nname: {name}\ncontact: it@example.com\ninstallations:\n  - tenant: acme\n    \
             credentials: [{{method: gate_key, kind: connect, sha256: sha256({name}), upstream: {{file: /run/{name}}}}}]\n\
             grants: [{grants}]\n"
        ))
    };
    let grant = "{scopes: [READ], actors: [app], in: {project: [PROJ]}}";
    for (path, name) in [
        ("policies/teams/a/one.yaml", "one"),
        ("policies/teams/b/one.yaml", "two"),
        ("policies/teams__b__three.yml", "three"),
        ("policies/über uns/vier €.yaml", "four"),
    ] {
        write(&folder.path().join("."), path, &app(name, grant));
    }
    write(
        folder.path(),
        "policies/teams/no-newline.yaml",
        "version: 1\r\nset: sensitive\r\ntenant: acme\r\nproject: [HR]",
    );
    folder
}

#[test]
fn a_bundle_that_is_mounted_says_what_the_folder_says() {
    let folder = estate();
    for maps in ["1", "3"] {
        run_in(folder.path(), &[&BUNDLE[..], &["--maps", maps]].concat()).says(0, &["bundle/configmaps.yaml"]);
        assert_eq!(self::maps(folder.path()).len().to_string(), maps);
        mount(folder.path());
        let (written, mounted) = (cells(folder.path(), "policies"), cells(folder.path(), "mounted"));
        assert_eq!(written.len(), 10, "{written:?}");
        assert_eq!(written, mounted);
        std::fs::remove_dir_all(folder.path().join("mounted")).unwrap();
    }
}

#[test]
fn a_key_names_the_file_it_came_from() {
    let folder = estate();
    let listing = run_in(folder.path(), &[&BUNDLE[..], &["--format", "json"]].concat()).json();
    assert_eq!(listing["maps"][0]["name"], "scopegate-policies-1-of-1");
    let files = listing["maps"][0]["files"].as_array().unwrap();
    let key = |path: &str| {
        files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("{files:?}"))["key"].clone()
    };
    assert_eq!(key("teams/b/one.yaml"), "teams__b__one.yaml");
    assert_eq!(key("teams__b__three.yml"), "teams_5F_b_5F_three.yml");
    assert_eq!(key("über uns/vier €.yaml"), "_C3_BCber_20uns__vier_20_E2_82_AC.yaml");
    assert_eq!(maps(folder.path())["scopegate-policies-1-of-1"].len(), files.len());
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let folder = estate();
    let manifests = |out: &str| {
        run_in(folder.path(), &["bundle", "--config", "scopegate.yaml", "--split", "--out", out]).says(0, &[]);
        ["configmaps.yaml", "volume.yaml"].map(|file| std::fs::read(folder.path().join(out).join(file)).unwrap())
    };
    assert_eq!(manifests("one"), manifests("two"));
}

#[test]
fn a_file_too_large_for_a_map_is_parted_between_its_documents() {
    let folder = tracker();
    let set =
        |n: usize| format!("version: 1\nset: set-{n}\ntenant: acme\nproject: [P{n}]\n# {}\n", "why ".repeat(8_000));
    let guardrail = "version: 1\nguardrail: large\napps: all\ntenants: [acme]\nrevocations: [{in: {project: ['set:set-7']}, reason: x}]\n";
    let text: Vec<String> = (0..60).map(set).chain([guardrail.to_owned()]).collect();
    write(folder.path(), "policies/large.yaml", &text.join("---\n"));
    run_in(folder.path(), &BUNDLE).says(0, &["ConfigMaps"]);
    let maps = maps(folder.path());
    assert!(maps.len() > 1, "{}", maps.len());
    for map in maps.values() {
        assert!(map.iter().map(|(key, text)| key.len() + text.len()).sum::<usize>() <= 1_000_000);
    }
    let keys: Vec<&String> = maps.values().flat_map(BTreeMap::keys).collect();
    assert!(keys.iter().any(|key| *key == "large.yaml__guardrail__large.yaml"), "{keys:?}");
    mount(folder.path());
    assert_eq!(cells(folder.path(), "policies"), cells(folder.path(), "mounted"));

    write(folder.path(), "policies/large.yaml", &format!("{}# {}\n", set(0), "x".repeat(1_000_000)));
    let refused = run_in(folder.path(), &BUNDLE);
    refused.says(1, &["large.yaml: its one document has", "several documents with the same head"]);
}

#[test]
fn what_check_refuses_is_not_bundled() {
    let folder = tracker();
    write(folder.path(), "policies/broken.yaml", "version: 1\napp: tracker/broken\nwrong: 1\n");
    run_in(folder.path(), &BUNDLE).says(1, &["policies/broken.yaml:3", "scopegate check"]);
    assert!(!folder.path().join("bundle").exists());
    let whole = run_in(folder.path(), &["bundle", "--config", "scopegate.yaml"]);
    whole.says(1, &["policies/broken.yaml:3"]);
    assert_eq!(whole.out, "");
}

#[test]
fn without_split_one_file_has_all_documents() {
    let folder = estate();
    let bundle = run_in(folder.path(), &["bundle", "--config", "scopegate.yaml"]);
    bundle.says(0, &["# teams/a/one.yaml\n---\n"]);
    write(folder.path(), "whole/all.yaml", &bundle.out);
    assert_eq!(cells(folder.path(), "policies"), cells(folder.path(), "whole"));
    run_in(folder.path(), &["bundle", "--config", "scopegate.yaml", "--out", "all.yaml"]).says(0, &["all.yaml"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("all.yaml")).unwrap(), bundle.out);

    let set = format!("version: 1\nset: large\ntenant: acme\nproject: [PX]\n# {}\n", "x".repeat(1_000_000));
    write(folder.path(), "policies/large.yaml", &set);
    let large = run_in(folder.path(), &["bundle", "--config", "scopegate.yaml", "--out", "all.yaml"]);
    large.says(0, &["too many for one ConfigMap", "--split"]);
}

#[test]
fn overrides_are_acts_of_one_gate_and_not_bundled() {
    let folder = tracker();
    let config = std::fs::read_to_string(folder.path().join("scopegate.yaml")).unwrap();
    write(folder.path(), "scopegate.yaml", &format!("{config}overrides: overrides\n"));
    write(
        folder.path(),
        "overrides/1.yaml",
        "version: 1\napp: tracker/timetracker\nrevocations: [{scopes: [READ], in: all, reason: INC-1}]\n",
    );
    run_in(folder.path(), &BUNDLE).says(0, &["2 files in 1 ConfigMap"]);
    let maps = maps(folder.path());
    assert_eq!(maps["scopegate-policies-1-of-1"].keys().collect::<Vec<_>>(), ["guardrails.yaml", "timetracker.yaml"]);
}

#[test]
fn usage_of_bundle_is_2_and_says_what_is_meant() {
    let folder = tracker();
    run_in(folder.path(), &["bundle", "--name", "x"]).says(2, &["--split"]);
    run_in(folder.path(), &[&BUNDLE[..], &["--name", "A_b"]].concat())
        .says(2, &["--name `A_b` is no name of an object"]);
    run_in(folder.path(), &[&BUNDLE[..], &["--namespace", "a.b"]].concat()).says(2, &["--namespace `a.b`"]);
    run_in(folder.path(), &[&BUNDLE[..], &["--maps", "0"]].concat()).says(2, &["--maps"]);
    run_in(folder.path(), &["bundle", "--config", "scopegate.yaml", "--format", "json"]).says(2, &["--out"]);
    assert!(!folder.path().join("bundle").exists());
    let piped = run_in(folder.path(), &["bundle", "--config", "scopegate.yaml", "--split", "--namespace", "123"]);
    piped.says(0, &[]);
    assert!(piped.out.contains("kind: ConfigMap") && !piped.out.contains("Deployment"), "{}", piped.out);
    assert!(piped.out.contains("  namespace: \"123\"\n") && piped.err.contains("kind: Deployment"), "{}", piped.err);
}
