//! Which source file uses names of which other, read from paths in the code. Re-exports are followed to the file that
//! defines the name.
//!
//! Used by `circles.rs`. Works on text; a name that a macro makes is not seen.

use std::collections::{BTreeMap, BTreeSet};

use super::rust;

/// Re-exports of re-exports that are followed before a path counts as foreign.
const DEPTH: usize = 16;

/// A module's path: the crate's name, then the names of modules.
type ModulePath = Vec<String>;

/// One name that a `use` item brings into a module.
struct Imported {
    /// The module's own name for it; `*` imports every name that the path holds.
    alias: String,
    path: Vec<String>,
}

/// A source file, which is a module.
struct Module {
    path: ModulePath,
    /// Code without comments, literals and tests.
    code: String,
    imports: Vec<Imported>,
}

/// The end of a path.
enum Target {
    Module(usize),
    /// A name that is defined in this file.
    Name(usize),
}

/// The modules of all crates.
pub struct Modules {
    all: Vec<Module>,
    by_path: BTreeMap<ModulePath, usize>,
}

impl Modules {
    /// Reads sources, each a path from the repository's root and its text.
    pub fn new(sources: &[(String, String)]) -> Self {
        let read = |(path, text): &(String, String)| {
            let code = rust::code_only(rust::without_tests(text));
            Module { path: module_path(path), imports: imports(&code), code }
        };
        let all: Vec<_> = sources.iter().map(read).collect();
        let by_path = all.iter().enumerate().map(|(index, module)| (module.path.clone(), index)).collect();
        Self { all, by_path }
    }

    /// For each source, by index, the sources that define the names it uses.
    pub fn arrows(&self) -> Vec<BTreeSet<usize>> {
        (0..self.all.len()).map(|module| self.used_by(module)).collect()
    }

    fn used_by(&self, module: usize) -> BTreeSet<usize> {
        let own = &self.all[module];
        let imported = own.imports.iter().map(|import| import.path.clone());
        let written = paths(&own.code).into_iter().filter(|path| path.len() > 1);
        let targets = imported.chain(written).filter_map(|path| self.resolve(module, &path, true, DEPTH));
        let files = targets.filter_map(|target| match target {
            Target::Name(file) => Some(file),
            Target::Module(_) => None,
        });
        files.filter(|file| *file != module).collect()
    }

    /// Follows `path` from a module. `first` says that it begins there, so that it may name another crate.
    fn resolve(&self, module: usize, path: &[String], first: bool, depth: usize) -> Option<Target> {
        let Some((head, rest)) = path.split_first() else { return Some(Target::Module(module)) };
        if depth == 0 {
            return None;
        }
        let own = &self.all[module];
        let go = |to: &[String]| self.by_path.get(to).and_then(|next| self.resolve(*next, rest, false, depth - 1));
        match head.as_str() {
            "self" if first => return self.resolve(module, rest, false, depth - 1),
            // Only as the last part of an import: the module itself.
            "self" => return Some(Target::Module(module)),
            "crate" => return go(&own.path[..1]),
            "super" => return go(&own.path[..own.path.len() - 1]),
            "*" => return None,
            _ => {}
        }
        let child = [own.path.as_slice(), std::slice::from_ref(head)].concat();
        if self.by_path.contains_key(&child) {
            return go(&child);
        }
        if let Some(import) = own.imports.iter().find(|import| import.alias == *head && import.path != path) {
            return self.resolve(module, &[import.path.as_slice(), rest].concat(), true, depth - 1);
        }
        for glob in own.imports.iter().filter(|import| import.alias == "*") {
            let Some(Target::Module(from)) = self.resolve(module, &glob.path[..glob.path.len() - 1], true, depth - 1)
            else {
                continue;
            };
            let imports = self.all[from].imports.iter().any(|import| import.alias == *head);
            if imports || self.defines(from, head) {
                return self.resolve(from, path, false, depth - 1);
            }
        }
        (!first).then_some(Target::Name(module))
    }

    fn defines(&self, module: usize, name: &str) -> bool {
        let kinds = ["fn", "struct", "enum", "trait", "const", "static", "type", "union"];
        kinds.iter().any(|kind| rust::has_word(&self.all[module].code, &format!("{kind} {name}")))
    }
}

fn module_path(file: &str) -> ModulePath {
    let mut parts: Vec<_> = file.split('/').filter(|part| *part != "src").map(str::to_owned).collect();
    let stem = parts.pop().expect("a path has a last part");
    let stem = stem.trim_end_matches(".rs");
    if !(stem == "mod" || stem == "lib" && parts.len() == 1) {
        parts.push(stem.to_owned());
    }
    parts
}

/// Every name that the `use` items of a file bring in.
fn imports(code: &str) -> Vec<Imported> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let begins = code[..at].chars().next_back().is_none_or(|before| !(rust::is_word(before)));
        let Some(end) = code[at..].find(';') else { continue };
        if begins {
            expand(&[], &code[at + 4..at + end], &mut found);
        }
    }
    found
}

/// Adds the names of one tree of imports, such as `a::{b, c as d, e::*}`.
fn expand(prefix: &[String], tree: &str, found: &mut Vec<Imported>) {
    let tree = tree.trim();
    if let Some((path, list)) = tree.split_once('{') {
        let prefix = [prefix, &parts(path)].concat();
        let list = list.trim_end().trim_end_matches('}');
        for item in split_outside_braces(list) {
            expand(&prefix, item, found);
        }
        return;
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let mut path = [prefix, &parts(path)].concat();
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    let Some(last) = path.last().cloned() else { return };
    found.push(Imported { alias: alias.map_or(last, str::to_owned), path });
}

fn split_outside_braces(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut items) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items.push(&list[from..]);
    items
}

fn parts(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Every sequence of names joined by `::` in a file.
fn paths(code: &str) -> Vec<Vec<String>> {
    let joined = |c: char| !(rust::is_word(c) || c == ':');
    code.split(joined).filter(|path| path.contains("::")).map(parts).collect()
}
