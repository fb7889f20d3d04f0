//! The guide in docs/guide: its links, and the names that it gives to things in the code. Its programs are doctests. And
//! the tests that docs/contract.md names.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// A page of the guide.
struct Page {
    name: String,
    path: PathBuf,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages, or none in a package of the crate, which lacks some of what the guide links to.
fn pages() -> Vec<Page> {
    if !root().join("verify").exists() {
        return Vec::new();
    }
    let page = |path: PathBuf| Page {
        name: path.file_name().unwrap().to_str().unwrap().to_string(),
        text: fs::read_to_string(&path).unwrap(),
        path,
    };
    let entries = fs::read_dir(root().join("docs/guide")).unwrap();
    entries.map(|entry| page(entry.unwrap().path())).collect()
}

/// The text outside of the fenced blocks.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The links of a page, each as its text and its target.
fn links(text: &str) -> Vec<(String, String)> {
    let prose = prose(text);
    let mut links = Vec::new();
    let mut rest = prose.as_str();
    while let Some(middle) = rest.find("](") {
        let (before, after) = (&rest[..middle], &rest[middle + 2..]);
        let text = &before[before.rfind('[').unwrap() + 1..];
        let end = after.find(')').unwrap();
        links.push((text.replace('\n', " "), after[..end].to_string()));
        rest = &after[end..];
    }
    links
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(text: &str) -> Vec<String> {
    let anchor = |heading: &str| {
        let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
        let lower = heading.trim().to_lowercase();
        lower.chars().filter(kept).collect::<String>()
    };
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')).replace(' ', "-"))
        .collect()
}

/// Whether `name` is in the text as a whole word.
fn has_word(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part)
    })
}

/// What is wrong with a link.
fn fault(page: &Page, text: &str, target: &str) -> Option<&'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match path {
        "" => page.path.clone(),
        _ => page.path.parent().unwrap().join(path),
    };
    if !file.exists() {
        return Some("there is no such file");
    }
    let contents = fs::read_to_string(&file).unwrap_or_default();
    if !anchor.is_empty() && !anchors(&contents).iter().any(|known| known == anchor) {
        return Some("there is no such heading");
    }
    // The text names a thing in the file, or the file.
    let name = text.strip_prefix('`')?.strip_suffix('`')?;
    let is_there = path.contains(name) || name.split("::").all(|part| has_word(&contents, part));
    (!is_there).then_some("there is no such name in the file")
}

#[test]
fn the_links_of_the_guide_lead_to_what_they_name() {
    let mut faults = Vec::new();
    for page in pages() {
        for (text, target) in links(&page.text) {
            if target.starts_with("https://") {
                continue;
            }
            if let Some(fault) = fault(&page, &text, &target) {
                faults.push(format!("{}: [{text}]({target}): {fault}", page.name));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_mutants_that_the_guide_runs_are_there() {
    for page in pages() {
        for command in page.text.split(".ci/mutants ").skip(1) {
            let is_name = |word: &&str| word.starts_with("unix-") || word.starts_with("windows-");
            for name in command.split_whitespace().take_while(is_name) {
                let name = name.trim_end_matches(|c: char| !c.is_alphanumeric());
                let patch = root().join(format!("verify/mutants/{name}.patch"));
                assert!(patch.exists(), "{}: {name}", page.name);
            }
        }
    }
}

#[test]
fn every_chapter_is_in_the_list_and_its_programs_are_tested() {
    let list = root().join("docs/guide/README.md");
    let list = fs::read_to_string(list).unwrap();
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for page in pages().iter().filter(|page| page.name != "README.md") {
        let name = &page.name;
        assert!(list.contains(&format!("]({name})")), "no link to {name}");
        let included = format!("include_str!(\"../docs/guide/{name}\")");
        assert!(library.contains(&included), "no doctests of {name}");
    }
}

/// The hard cases of the contract, each in a row with the tests that have it: a file, a colon, and the names.
#[test]
fn the_tests_that_the_contract_names_are_there() {
    let contract = fs::read_to_string(root().join("docs/contract.md")).unwrap();
    let cases = contract.split("\n## 8. ").nth(1).unwrap();
    let cases = cases.split("\n## ").next().unwrap();
    let mut tests = 0;
    for row in cases.lines().filter(|line| line.starts_with('|')) {
        let mut file = String::new();
        // Every other part of a row is code.
        for word in row.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                file = fs::read_to_string(root().join("tests").join(word)).unwrap();
            } else if !file.is_empty() && word.starts_with(|c: char| c.is_lowercase()) {
                let is_there = match word.strip_suffix('…') {
                    Some(start) => file.contains(&format!("fn {start}")),
                    None => file.contains(&format!("fn {word}")) && has_word(&file, word),
                };
                assert!(is_there, "{row}: {word}");
                tests += 1;
            }
        }
    }
    assert!(tests > 0);
}
