//! Files that import each other in a circle: none may reach over the edge of a folder, and those in kernels stay small.
//!
//! `x.rs` belongs to the folder `x/` where there is one.

use std::collections::BTreeSet;

use super::imports::Modules;
use super::{hold, sources};

/// The most files that may form a circle in kernels.
const KERNEL_CIRCLE: usize = 5;

/// Circles by the indices of their files: every two of a circle reach each other.
fn circles(arrows: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let reached: Vec<_> = (0..arrows.len()).map(|from| reachable(arrows, from)).collect();
    let mut found: Vec<Vec<usize>> = Vec::new();
    for (from, reached_from) in reached.iter().enumerate() {
        let circle: Vec<_> = reached_from.iter().copied().filter(|to| reached[*to].contains(&from)).collect();
        if circle.first() == Some(&from) {
            found.push(circle);
        }
    }
    found
}

/// The files that `from` uses, itself included where a circle leads back.
fn reachable(arrows: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<_> = arrows[from].iter().copied().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(&arrows[next]);
        }
    }
    reached
}

fn folder(path: &str, all: &[(String, String)]) -> String {
    let own = path.trim_end_matches(".rs");
    let is_parent = all.iter().any(|(other, _)| other.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')));
    if is_parent { own.to_owned() } else { path.rsplit_once('/').expect("sources lie in folders").0.to_owned() }
}

fn broken_circles(sources: &[(String, String)]) -> Vec<String> {
    let arrows = Modules::new(sources).arrows();
    let mut broken = Vec::new();
    for circle in circles(&arrows) {
        let files: Vec<_> = circle.iter().map(|file| sources[*file].0.as_str()).collect();
        let folders: BTreeSet<_> = files.iter().map(|file| folder(file, sources)).collect();
        let too_large = files[0].starts_with("kernels/") && files.len() > KERNEL_CIRCLE;
        if folders.len() > 1 || too_large {
            let inside = |file: usize| arrows[file].iter().filter(|to| circle.contains(to)).copied();
            let ties = circle.iter().flat_map(|from| inside(*from).map(|to| (*from, to)));
            let ties = ties.map(|(from, to)| format!("    {} -> {}", sources[from].0, sources[to].0));
            broken.push(format!("a circle of {} files:\n{}", files.len(), ties.collect::<Vec<_>>().join("\n")));
        }
    }
    broken
}

#[test]
fn files_of_different_folders_do_not_import_each_other_in_a_circle() {
    let sources: Vec<_> = sources().map(|source| (source.path.clone(), source.text())).collect();
    hold(broken_circles(&sources));
}

#[test]
fn a_circle_is_found_through_re_exports_imports_of_modules_and_globs() {
    let broken = |files: &[(&str, &str)]| {
        let root = ("model/src/lib.rs", "pub mod a;\nmod c;\n");
        broken_circles(
            &files
                .iter()
                .chain([&root])
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect::<Vec<_>>(),
        )
    };
    let facade = ("model/src/a/mod.rs", "mod b;\npub use b::{B, self as renamed};\n");
    let user = ("model/src/a/b.rs", "use crate::c;\npub struct B(c::C);\n");
    let back = |text: &'static str| ("model/src/c.rs", text);
    for text in [
        "use super::a::B;\npub struct C;",
        "pub struct C;\nfn f(b: crate::a::B) {}",
        "use crate::a::*;\nuse renamed::B;",
    ] {
        let found = broken(&[facade, user, back(text)]);
        assert!(found.len() == 1 && found[0].contains("model/src/a/b.rs -> model/src/c.rs"), "{text}: {found:?}");
    }
    assert_eq!(broken(&[facade, user, back("// crate::a::B\npub struct C;")]), Vec::<String>::new());
    let same_folder = [("model/src/a/b.rs", "use super::c::C;"), ("model/src/a/c.rs", "use super::b::B;"), facade];
    assert_eq!(broken(&same_folder), Vec::<String>::new());
    let file = |at: usize| (format!("kernels/src/f{at}.rs"), format!("use crate::f{0}::F{0};", (at + 1) % 6));
    let ring: Vec<_> = (0..6).map(file).collect();
    let root = ("kernels/src/lib.rs".to_owned(), String::new());
    assert_eq!(broken_circles(&[ring.as_slice(), std::slice::from_ref(&root)].concat()).len(), 1);
    assert_eq!(broken_circles(&[&ring[..5], &[root]].concat()), Vec::<String>::new());
}
