//! The Dockerfile: what its last stage holds and how it is run. `deploy/check` builds and runs it.

use super::*;

/// Instructions with their arguments, continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = text("Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let written = joined.lines().filter_map(|line| line.trim().split_once(' '));
    written.map(|(word, rest)| (word.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

/// The instructions of each stage, from its FROM.
fn stages() -> Vec<Vec<(String, String)>> {
    let mut stages: Vec<Vec<(String, String)>> = Vec::new();
    for instruction in instructions() {
        if instruction.0 == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().expect("FROM comes first").push(instruction);
    }
    stages
}

fn of<'s>(stage: &'s [(String, String)], word: &str) -> Vec<&'s str> {
    stage.iter().filter(|(found, _)| found == word).map(|(_, rest)| rest.as_str()).collect()
}

#[test]
fn the_last_stage_is_the_binary_and_nothing_else() {
    let stages = stages();
    assert_eq!(stages.len(), 2);
    let last = &stages[1];
    assert_eq!(of(last, "FROM"), ["scratch"]);
    assert_eq!(of(last, "COPY"), ["--from=build /out/scopegate /scopegate"]);
    assert_eq!(of(last, "RUN"), Vec::<&str>::new(), "there is no shell");
    assert_eq!(of(last, "ADD"), Vec::<&str>::new());
    assert_eq!(of(last, "USER"), ["65532:65532"]);
    assert_eq!(of(last, "WORKDIR"), ["/etc/scopegate"], "config/scopegate.yaml is found from there");
    for word in ["ENTRYPOINT", "CMD"] {
        let form: Vec<String> = serde_json::from_str(of(last, word)[0]).expect("the exec form");
        assert_eq!(form, [if word == "CMD" { "serve" } else { "/scopegate" }]);
    }
    let health = of(last, "HEALTHCHECK")[0];
    let (_, command) = health.split_once("CMD ").expect("a command");
    assert_eq!(serde_json::from_str::<Vec<String>>(command).expect("the exec form"), ["/scopegate", "health"]);
}

#[test]
fn the_build_is_pinned_and_of_this_release() {
    let stages = stages();
    let manifest = text("Cargo.toml");
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let [from] = of(&stages[0], "FROM")[..] else { panic!("one base") };
    assert!(
        from.starts_with(&format!("docker.io/library/rust:{rust}.")) && from.ends_with("-bookworm AS build"),
        "{from}"
    );
    let [run] = of(&stages[0], "RUN")[..] else { panic!("one step") };
    assert!(run.contains("cargo build --locked --release --bin scopegate"), "{run}");
    let label = format!("org.opencontainers.image.version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(of(&stages[1], "LABEL")[0].contains(&label), "{label}");
}

#[test]
fn the_context_is_what_the_build_copies() {
    let ignore = text(".dockerignore");
    let lines: Vec<&str> = ignore.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let (first, allowed) = lines.split_first().unwrap();
    assert_eq!(*first, "*", "nothing goes along that is not named");
    let mut copied: Vec<String> = Vec::new();
    for copy in of(&stages()[0], "COPY") {
        let words: Vec<&str> = copy.split(' ').collect();
        copied.extend(words[..words.len() - 1].iter().map(|word| (*word).to_owned()));
    }
    let mut allowed: Vec<String> = allowed.iter().map(|line| line.strip_prefix('!').unwrap().to_owned()).collect();
    allowed.sort();
    copied.sort();
    assert_eq!(allowed, copied);
    for path in copied {
        assert!(project(&path).exists(), "{path}");
    }
}
