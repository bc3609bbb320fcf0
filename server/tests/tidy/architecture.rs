//! The map of the house holds: every module has its line in ARCHITECTURE.md, and every file and test that a page names
//! exists.
//!
//! Works on the pages' text: a path or a test stands in backticks.

use std::collections::BTreeSet;

use crate::rust;
use crate::tree::{Entry, entries, read};

const MAP: &str = "ARCHITECTURE.md";
/// Folders that hold code, from the repository's root.
const CODE_FOLDERS: [&str; 10] =
    ["fuzz", "kernels", "model", "server", "simulation", "loadtest", "docs", "examples", "scripts", ".ci"];
/// Fewest invariants that the map names.
const INVARIANTS: usize = 12;

/// Texts in backticks of a line, in order.
fn code_spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Modules that need a line: each crate, each folder of its source, and each file that lies directly in `src`.
fn modules(paths: &[String]) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for path in paths {
        let parts: Vec<&str> = path.split('/').collect();
        let is_source = parts.len() > 2 && parts[1] == "src" && path.ends_with(".rs");
        if !is_source || parts.iter().any(|part| ["tests", "tests.rs"].contains(part)) {
            continue;
        }
        modules.insert(format!("{}/", parts[0]));
        if parts.len() > 3 {
            modules.extend((3..parts.len()).map(|end| format!("{}/", parts[..end].join("/"))));
        } else if !["lib.rs", "main.rs"].contains(&parts[2]) {
            modules.insert(path.clone());
        }
    }
    // A file and the folder of the same name are one module.
    let folders = modules.clone();
    modules.retain(|module| !module.strip_suffix(".rs").is_some_and(|stem| folders.contains(&format!("{stem}/"))));
    modules
}

/// Whether `span` is a path from the repository's root, rather than a command, a URL or a name.
fn is_path(span: &str) -> bool {
    let first = span.split('/').next().expect("splitting gives at least one part");
    let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    is_plain && span.contains('/') && CODE_FOLDERS.contains(&first)
}

/// Whether a file or folder is at `path`.
fn exists(path: &str, paths: &[String]) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    paths.iter().any(|file| file == path || file.starts_with(&folder))
}

/// Tests that a line names, each with its file or folder, as in `` `server/tests/a.rs`: `one`, `two` ``.
fn named_tests(line: &str) -> Vec<(&str, &str)> {
    let is_name = |span: &str| span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let mut named = Vec::new();
    // The file that the next test would belong to, and the mark that has to stand before it.
    let mut expected = None;
    let pieces: Vec<&str> = line.split('`').collect();
    for pair in pieces.chunks_exact(2) {
        let (before, span) = (pair[0], pair[1]);
        expected = match expected {
            Some((file, mark)) if mark == before && is_name(span) => {
                named.push((file, span));
                Some((file, ", "))
            }
            _ => is_path(span).then_some((span, ": ")),
        };
    }
    named
}

/// Whether a test of this name stands in the file, or in a file of the folder; a macro may define it.
fn defines(path: &str, name: &str, all: &[Entry]) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    let files = all.iter().filter(|entry| entry.path == path || entry.path.starts_with(&folder));
    files.filter(|entry| entry.is("rs")).any(|entry| rust::has_word(&rust::code_only(&entry.text()), name))
}

fn pages(all: &[Entry]) -> impl Iterator<Item = &Entry> {
    all.iter().filter(|entry| entry.is("md") && (!entry.path.contains('/') || entry.path.starts_with("docs/")))
}

#[test]
fn every_crate_folder_and_top_level_file_has_its_line_in_the_map() {
    let paths: Vec<String> = entries().into_iter().map(|entry| entry.path).collect();
    let map = read(MAP);
    let listed: BTreeSet<&str> = map.lines().filter(|line| line.starts_with("| `")).flat_map(first_span).collect();
    let missing = modules(&paths).into_iter().filter(|module| !listed.contains(module.as_str()));
    crate::hold(missing.map(|module| format!("{MAP}: no line for `{module}`")).collect());
}

fn first_span(line: &str) -> Option<&str> {
    code_spans(line).first().copied()
}

#[test]
fn every_path_that_a_page_names_exists() {
    let all = entries();
    let paths: Vec<String> = all.iter().map(|entry| entry.path.clone()).collect();
    let mut broken = Vec::new();
    for page in pages(&all) {
        for (index, line) in page.text().lines().enumerate() {
            let missing = code_spans(line).into_iter().filter(|span| is_path(span) && !exists(span, &paths));
            broken.extend(missing.map(|path| format!("{}:{}: there is no {path}", page.path, index + 1)));
        }
    }
    crate::hold(broken);
}

#[test]
fn a_file_that_a_module_s_line_names_lies_in_that_module() {
    let paths: Vec<String> = entries().into_iter().map(|entry| entry.path).collect();
    let mut broken = Vec::new();
    for line in read(MAP).lines().filter(|line| line.starts_with("| `")) {
        let spans = code_spans(line);
        let module = spans[0].trim_end_matches(".rs").trim_end_matches('/');
        let files = spans.iter().skip(1).filter(|span| span.ends_with(".rs") && !is_path(span));
        let missing = files.filter(|file| !exists(&format!("{module}/{file}"), &paths));
        broken.extend(missing.map(|file| format!("{MAP}: there is no {file} in {module}")));
    }
    crate::hold(broken);
}

#[test]
fn every_test_that_a_page_names_exists() {
    let all = entries();
    let mut broken = Vec::new();
    let mut invariants = 0;
    for page in pages(&all) {
        for (index, line) in page.text().lines().enumerate() {
            let named = named_tests(line);
            invariants += usize::from(page.path == MAP && !named.is_empty());
            let missing = named.into_iter().filter(|(file, name)| !defines(file, name, &all));
            broken.extend(missing.map(|(file, name)| format!("{}:{}: no {name} in {file}", page.path, index + 1)));
        }
    }
    crate::hold(broken);
    assert!(invariants >= INVARIANTS, "{MAP} names tests for {invariants} invariants");
}

#[test]
fn a_line_s_tests_are_those_after_their_file() {
    let line = "| Rows | `server/tests/a.rs`: `one`, `two`; `model/tests/b.rs`; `docs/x.md` and `three` | `four` |";
    assert_eq!(named_tests(line), [("server/tests/a.rs", "one"), ("server/tests/a.rs", "two")]);
    let line = "`server/tests/a.rs`, `server/src/b.rs`: `one`, `server/src/c.rs`: `two`";
    assert_eq!(named_tests(line), [("server/src/b.rs", "one"), ("server/src/c.rs", "two")]);
}

#[test]
fn modules_are_crates_folders_and_files_beside_the_crate_root() {
    let paths = ["a/src/lib.rs", "a/src/b.rs", "a/src/c.rs", "a/src/c/d.rs", "a/src/e/f/g.rs", "a/src/e/tests/h.rs"];
    let modules = modules(&paths.map(str::to_owned));
    assert_eq!(modules.into_iter().collect::<Vec<_>>(), ["a/", "a/src/b.rs", "a/src/c/", "a/src/e/", "a/src/e/f/"]);
}
