//! Alerts, dashboard and README speak of the metrics that are served, and of all of them.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use scopegate::authz::Reason;
use scopegate::metrics::{Metrics, Outcome};

use super::*;

const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const TESTS: &str = "deploy/prometheus/alerts.test.yaml";
const DASHBOARD: &str = "deploy/grafana/scopegate.json";

/// The labels that Prometheus adds, and those of the series that it makes of a histogram.
const ADDED: [&str; 3] = ["instance", "job", "le"];

/// The families of `/metrics`, each with its labels.
fn served() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::new(1).unwrap();
    let gate = metrics.gate("g").unwrap();
    gate.app(None).request(Outcome::Deny);
    gate.app(None).denial(Reason::Unidentified);
    gate.app(None).cut(Reason::Unidentified);
    metrics.observe([("g", None, 1.0)]);
    metrics.bypass("g", "open");
    metrics.certificate("g", 1.0);
    metrics.certificate_problem("g", true);
    metrics.state_problem("journal", false);
    metrics.bucket("acts", true, 0, 0);
    metrics.bucket_synced("acts", 1.0);
    metrics.key_set("g", "i", true, 1.0);
    metrics.snapshot(1, "d");
    let text = metrics.render().unwrap();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut served: BTreeMap<String, BTreeSet<String>> =
        families.map(|family| (family.to_owned(), BTreeSet::new())).collect();
    let label = Regex::new(r#"([a-z_]+)=""#).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let family = family(line.split(['{', ' ']).next().unwrap(), &served).unwrap_or_else(|| panic!("{line}"));
        let labels = label.captures_iter(line).map(|found| found[1].to_owned());
        served.get_mut(&family).unwrap().extend(labels);
    }
    served
}

/// The family of a series: a histogram makes three of one.
fn family(series: &str, served: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let whole = ["", "_bucket", "_sum", "_count"].into_iter().filter_map(|suffix| series.strip_suffix(suffix));
    whole.map(str::to_owned).find(|name| served.contains_key(name))
}

/// The families that a text names. One that is not served fails.
fn named(path: &str, served: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let text = text(path);
    // Labels of namespaces and files are written with `-` and `.`, metrics never.
    let series = Regex::new(r"\bscopegate_[a-z0-9_]+").unwrap();
    let named = series.find_iter(&text).map(|found| found.as_str());
    named
        .map(|series| family(series, served).unwrap_or_else(|| panic!("{path}: {series} is not on /metrics")))
        .collect()
}

#[test]
fn what_alerts_dashboard_and_readme_name_is_served_and_the_reverse() {
    let served = served();
    let watched: BTreeSet<String> = [ALERTS, DASHBOARD].iter().flat_map(|path| named(path, &served)).collect();
    let all: BTreeSet<String> = served.keys().cloned().collect();
    assert_eq!(named("README.md", &served), all, "README.md, \"Metrics\"");
    let unwatched: Vec<_> = all.difference(&watched).collect();
    assert!(unwatched.is_empty(), "no alert and no panel of {DASHBOARD} shows {unwatched:?}: add one");
    named(TESTS, &served);
}

#[test]
fn selectors_use_the_labels_that_are_served() {
    let served = served();
    let selector = Regex::new(r#"\b(scopegate_[a-z0-9_]+)\{([^}]*)\}"#).unwrap();
    let label = Regex::new(r#"([a-z_]+)(?:=~|!=|!~|=)\\?""#).unwrap();
    for path in [ALERTS, TESTS, DASHBOARD, "README.md"] {
        let text = text(path);
        for found in selector.captures_iter(&text) {
            let family = family(&found[1], &served).unwrap();
            for label in label.captures_iter(&found[2]) {
                let known = served[&family].contains(&label[1]) || ADDED.contains(&&label[1]);
                assert!(known, "{path}: {family} has no label {}", &label[1]);
            }
        }
    }
}

#[test]
fn each_alert_says_how_urgent_it_is_and_what_to_do_and_has_both_cases() {
    let rules = documents(ALERTS)[0]["groups"][0]["rules"].as_sequence().unwrap().clone();
    let tests = documents(TESTS)[0]["tests"].as_sequence().unwrap().clone();
    let cases: Vec<Value> =
        tests.iter().flat_map(|test| test["promql_expr_test"].as_sequence().unwrap().clone()).collect();
    assert!(rules.len() >= 8);
    for rule in &rules {
        let alert = rule["alert"].as_str().unwrap();
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{alert}");
        let (summary, description) =
            (rule["annotations"]["summary"].as_str(), rule["annotations"]["description"].as_str());
        assert!(summary.unwrap().len() > 10 && description.unwrap().len() > 80, "{alert}");
        let expression = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
        let own: Vec<bool> = cases
            .iter()
            .filter(|case| case["expr"].as_str() == Some(&expression))
            .map(|case| !case["exp_samples"].as_sequence().unwrap().is_empty())
            .collect();
        assert!(own.contains(&true), "{alert}: no case fires it");
        assert!(own.contains(&false), "{alert}: no case must not fire it");
    }
}

#[test]
fn the_readme_lists_the_alerts_that_there_are_and_how_urgent_they_are() {
    let rules = documents(ALERTS)[0]["groups"][0]["rules"].as_sequence().unwrap().clone();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let given: BTreeSet<(String, String)> =
        rules.iter().map(|rule| (word(&rule["alert"]), word(&rule["labels"]["severity"]))).collect();
    let readme = text("README.md");
    let (_, section) = readme.split_once("\n### Alerts and dashboard\n").unwrap();
    let lines = section.split("\n### ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    let mut written = BTreeSet::new();
    for line in lines {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (names, severities) = (cells[1].split(", "), cells[2].split(", "));
        assert_eq!(names.clone().count(), severities.clone().count(), "{line}");
        written.extend(
            names.zip(severities).map(|(name, severity)| (name.trim_matches('`').to_owned(), severity.to_owned())),
        );
    }
    assert_eq!(written, given, "README.md, \"Alerts and dashboard\"");
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: serde_json::Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "gate", "app"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title}");
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(cells.insert((x, y)), "{title} lies over another");
        }
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        assert!(panel["type"] == "row" || !targets.is_empty(), "{title}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}
