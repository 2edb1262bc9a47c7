//! Configuration files, right and wrong: what `bowline check` says about each, to the letter.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use bowline::config;
use bowline::plan::Plan;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {}", folder.display());
    files
}

/// What is said about a file, of its structure and of its meaning, with its bare name in place of
/// its path.
fn said(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(path).unwrap();
    // No variable is set, so that the environment of whoever runs this changes nothing.
    let (config, mut mistakes) = config::parse(name, &text, &|_| None);
    Plan::build(&config, Path::new(""), &mut mistakes);
    mistakes.to_string()
}

#[test]
fn every_valid_file_is_read_without_a_mistake() {
    for path in files("valid") {
        assert_eq!(said(&path), "", "{}", path.display());
    }
}

#[test]
fn every_invalid_file_is_answered_with_exactly_its_lines() {
    for path in files("invalid") {
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        let said = said(&path);
        assert_eq!(said, expected.trim_end(), "{} says:\n{said}\n", path.display());
    }
}

#[test]
fn the_reference_in_docs_is_the_one_that_the_types_make() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    assert!(
        fs::read_to_string(page).unwrap_or_default() == config::reference(),
        "run: cargo run -- schema --markdown > docs/configuration.md"
    );
}

#[test]
fn every_key_of_the_schema_is_in_the_fixture_that_has_every_key() {
    let schema = config::schema();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/valid");
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    // That of TLS is apart: the files that it names are not there.
    let text = read("every_key.yaml") + &read("tls.yaml");
    let parts = schema["$defs"].as_object().unwrap().iter();
    for part in parts.map(|(_, part)| part).chain([&schema]) {
        for key in part["properties"].as_object().into_iter().flat_map(|keys| keys.keys()) {
            assert!(text.contains(&format!("{key}:")), "{key}");
        }
    }
}
