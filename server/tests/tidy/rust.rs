//! The part of Rust's grammar that the rules need: what is code, where tests begin, how long functions are.
//!
//! Used by the rules in `tidy.rs`. Works on text; reads no files.

/// The text with comments and the contents of literals replaced by spaces, line by line as before.
pub fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    let get = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let find = |from: usize, wanted: &str| {
        let wanted: Vec<char> = wanted.chars().collect();
        let tail = chars.get(from..).unwrap_or_default();
        tail.windows(wanted.len()).position(|window| window == wanted).map_or(chars.len(), |offset| from + offset)
    };
    match (get(at), get(at + 1)) {
        ('/', '/') => find(at, "\n"),
        ('/', '*') => block_comment_end(chars, at),
        ('"', _) => quoted_end(chars, at),
        ('\'', '\\') => find(at + 3, "'") + 1,
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        ('r', '"' | '#') if !(at > 0 && is_word(get(at - 1)) && !matches!(get(at - 1), 'b' | 'c')) => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            match get(at + 1 + hashes) {
                '"' => (find(at + 2 + hashes, &format!("\"{}", "#".repeat(hashes))) + 1 + hashes).min(chars.len()),
                _ => at,
            }
        }
        _ => at,
    }
}

fn quoted_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (at, depth) = (at + 2, depth + 1),
            ('*', '/') => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// Whether a character may stand in a name.
pub const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether `word` stands in `code` on its own, not as part of a longer name.
pub fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let after = code[at + word.len()..].chars().next().unwrap_or(' ');
        !is_word(before) && !is_word(after)
    })
}

/// The text up to its test module, which stands last.
pub fn without_tests(text: &str) -> &str {
    let marks = text.match_indices("\n#[cfg(test)]\nmod ");
    let with_body = |at: usize| text[at..].lines().nth(2).is_some_and(|line| line.ends_with('{'));
    let end = marks.map(|(at, _)| at).find(|at| with_body(*at)).map_or(text.len(), |at| at + 1);
    &text[..end]
}

/// `(line, lines)` of every function with a body: where it starts, from 1, and how long it is.
pub fn functions(text: &str) -> Vec<(usize, usize)> {
    let code = code_only(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let named = code[at + 3..].starts_with(|c: char| is_word(c));
        let whole_word = !code[..at].ends_with(is_word);
        if let (true, true, Some(end)) = (named, whole_word, body_end(&code, at)) {
            let first = code[..at].matches('\n').count();
            found.push((first + 1, code[at..end].matches('\n').count() + 1));
        }
    }
    found
}

/// Lines, from 1, of the functions that anyone outside their file may call and that take a tuple. A function of a trait
/// counts where `in_traits`.
pub fn tuple_parameters(text: &str, in_traits: bool) -> Vec<usize> {
    let code = code_only(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let line_start = code[..at].rfind('\n').map_or(0, |end| end + 1);
        let is_public = has_word(&code[line_start..at], "pub") || in_traits;
        let Some(open) = code[at..].find('(').map(|offset| at + offset) else { continue };
        let takes_tuple = parameters(&code[open..]).iter().any(|parameter| {
            let of = parameter.split_once(':').map_or("", |(_, of)| of.trim_start());
            let of = of.trim_start_matches('&').trim_start_matches("mut ");
            of.starts_with('(') && of.contains(',')
        });
        if is_public && takes_tuple {
            found.push(code[..at].matches('\n').count() + 1);
        }
    }
    found
}

/// Parameters of the list that begins with a bracket.
fn parameters(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0, 1, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 1 => {
                found.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            found.push(&list[from..at]);
            break;
        }
    }
    found
}

/// Where the body of the function at `start` closes; `None` for a declaration.
fn body_end(code: &str, start: usize) -> Option<usize> {
    let (mut brackets, mut braces) = (0, 0);
    for (offset, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => continue,
        }
        if c == '}' && braces == 0 && brackets == 0 {
            return Some(start + offset);
        }
    }
    None
}

#[test]
fn comments_and_literals_are_no_code() {
    let text =
        "a /* b /* c */ d */ e // f\nlet s = \"g\\\"h\"; let r = r#\"i\"j\"#; let c = '\"'; let l: &'k str = b\"m\";";
    let code = code_only(text);
    assert_eq!(code.chars().filter(|c| *c == '\n').count(), 1);
    let words: Vec<_> = code.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["a", "e", "let", "s", "let", "r", "let", "c", "let", "l", "k", "str", "b"]);
}

#[test]
fn a_function_is_measured_from_its_name_to_its_closing_brace() {
    let text = "fn one() {}\n\nimpl A {\n    fn two(x: [u8; 2]) -> u8 {\n        let s = \"}\";\n        s\n    }\n    \
                fn no();\n}\n";
    assert_eq!(functions(text), [(1, 1), (4, 4)]);
    assert_eq!(functions("type F = fn (u8);\nmacro_rules! m { () => { fn $name() {} } }"), []);
}

#[test]
fn a_tuple_is_found_among_the_parameters_of_public_functions() {
    let text = "pub fn a(x: u8, (b, c): (u8, u8)) {}\nfn d(e: (u8, u8)) {}\n\
                pub fn f(g: impl Fn((u8, u8))) -> (u8, u8) {}\npub(crate) fn h(\n    i: &mut (u8, u8),\n) {}\n";
    assert_eq!(tuple_parameters(text, false), [1, 4]);
    assert_eq!(tuple_parameters(text, true), [1, 2, 4]);
}

#[test]
fn tests_end_the_source_but_a_test_module_s_declaration_does_not() {
    let text = "mod a;\n#[cfg(test)]\nmod fake;\nfn b() {}\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(without_tests(text), "mod a;\n#[cfg(test)]\nmod fake;\nfn b() {}\n");
    assert!(has_word("x = unsafe {", "unsafe") && !has_word("allow(unsafe_code)", "unsafe"));
}
