//! The rules of prose that a program can hold: line width, the form of doc comments, reasons for unsafe code.
//!
//! Each rule takes a file's text and lists `(line, fault)`, with lines counted from 1. Reads no files but in the tests.

use crate::tree::{Entry, entries};

/// Characters of a line, at most.
const WIDTH: usize = 120;
const TEXT_EXTENSIONS: [&str; 12] = ["rs", "cu", "cuh", "cc", "h", "py", "sh", "toml", "md", "js", "css", "html"];
const CODE_EXTENSIONS: [&str; 5] = ["rs", "cu", "cuh", "cc", "h"];
/// Openings of a doc comment that hide its subject. The comment names the thing instead: "Marks a row whose id was not
/// drawn" for "Of a row whose id was not drawn", "Limits of a request" for "What a request may hold".
const BANNED_OPENINGS: [&str; 10] =
    ["Of", "The same", "As", "What", "That", "Those", "Whoever", "Likewise", "Like that", "So do"];
/// Names that are written small, so that a paragraph may begin with them.
const SMALL_NAMES: [&str; 8] =
    ["float16", "float32", "float64", "bfloat16", "int4", "int8", "transformers", "cuBLASLt"];
/// Reasons for unsafe code that send the reader elsewhere.
const BORROWED_REASONS: [&str; 5] = ["as above", "as before", "see above", "likewise", "the same"];

type Faults = Vec<(usize, String)>;

/// Lines wider than [`WIDTH`]. A line that is a single word, such as a URL, cannot be wrapped; in Markdown neither can
/// rows of tables and code blocks (fenced, or indented by four spaces after an empty line).
fn wide_lines(text: &str, is_markdown: bool) -> Faults {
    let (mut fenced, mut indented, mut blank) = (false, false, true);
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut can_be_wrapped = !is_one_word(line);
        if is_markdown {
            fenced ^= line.trim_start().starts_with("```");
            blank |= line.trim().is_empty();
            indented = (indented || blank) && (line.starts_with("    ") || line.trim().is_empty());
            can_be_wrapped &= !(fenced || indented || line.starts_with('|'));
            blank = line.trim().is_empty();
        }
        let width = line.chars().count();
        if width > WIDTH && can_be_wrapped {
            faults.push((index + 1, format!("{width} columns ({WIDTH} at most)")));
        }
    }
    faults
}

/// Whether a line has no space to wrap it at, but for indentation and the mark of a comment or list item.
fn is_one_word(line: &str) -> bool {
    let marks = ["//!", "///", "//", "#", "- ", "* "];
    let text = line.trim();
    let text = marks.iter().find_map(|mark| text.strip_prefix(mark)).unwrap_or(text);
    !text.trim().contains(char::is_whitespace)
}

/// Paragraphs of doc comments that begin with neither a capital nor code, that do not end with a full stop, or that
/// open with a circumlocution.
fn ill_formed_docs(text: &str) -> Faults {
    let mut faults = Vec::new();
    for doc in doc_comments(text) {
        let blocks = blocks(&doc);
        for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.is_paragraph) {
            let before_list = blocks.get(index + 1).is_some_and(|next| !next.is_paragraph);
            if !begins_well(&block.text) {
                faults.push((block.line, format!("begins with neither a capital nor code: {}", block.text)));
            }
            if !ends_well(&block.text, before_list) {
                faults.push((block.line, format!("does not end with a full stop: {}", block.text)));
            }
            if let (0, Some(opening)) = (index, banned_opening(&block.text)) {
                faults.push((block.line, format!("opens with \"{opening}\" instead of its subject: {}", block.text)));
            }
        }
    }
    faults
}

fn begins_well(paragraph: &str) -> bool {
    let start = paragraph.trim_start_matches(['*', '_', '"', '(']);
    let capital_or_code = |c: char| c.is_uppercase() || c.is_ascii_digit() || c == '`' || c == '[';
    start.starts_with(capital_or_code) || SMALL_NAMES.iter().any(|name| start.starts_with(name))
}

fn ends_well(paragraph: &str, before_list: bool) -> bool {
    let end = paragraph.trim_end_matches([')', '"', '*', '_']);
    end.ends_with(['.', '?', '!']) || (before_list && end.ends_with(':'))
}

fn banned_opening(paragraph: &str) -> Option<&'static str> {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "_'-".contains(c);
    let opens = |opening: &&&str| paragraph.strip_prefix(**opening).is_some_and(|rest| !rest.starts_with(goes_on));
    BANNED_OPENINGS.iter().find(opens).copied()
}

/// Comments of one kind (`///` or `//!`) on consecutive lines, as line numbers and texts without the mark.
fn doc_comments(text: &str) -> Vec<Vec<(usize, &str)>> {
    let mut docs: Vec<Vec<(usize, &str)>> = Vec::new();
    let mut open = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let is_doc = |mark: &&str| line.starts_with(*mark) && !line.starts_with("////");
        let mark = ["///", "//!"].into_iter().find(is_doc);
        if let Some(mark) = mark {
            if open != Some(mark) {
                docs.push(Vec::new());
            }
            let rest = &line[mark.len()..];
            let doc = docs.last_mut().expect("one was opened for this mark");
            doc.push((index + 1, rest.strip_prefix(' ').unwrap_or(rest)));
        }
        open = mark;
    }
    docs
}

/// A paragraph of a doc comment with its lines joined, or a list, table, heading or code block by its first line.
struct Block {
    is_paragraph: bool,
    line: usize,
    text: String,
}

fn blocks(doc: &[(usize, &str)]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // `open`: the next line goes on with the last block.
    let (mut fenced, mut open) = (false, false);
    for &(line, text) in doc {
        let bare = text.trim();
        let continues = blocks.last_mut().filter(|_| open);
        match continues {
            _ if bare.starts_with("```") => {
                if !fenced {
                    blocks.push(Block { is_paragraph: false, line, text: bare.to_owned() });
                }
                (fenced, open) = (!fenced, false);
            }
            _ if fenced => {}
            _ if bare.is_empty() => open = false,
            Some(block) if block.is_paragraph && !begins_block(bare) => block.text = format!("{} {bare}", block.text),
            Some(block) if !block.is_paragraph && !begins_block(bare) => {}
            _ => {
                let is_paragraph = !begins_block(bare) && !text.starts_with("    ");
                blocks.push(Block { is_paragraph, line, text: bare.to_owned() });
                open = !bare.starts_with('#');
            }
        }
    }
    blocks
}

/// Whether a line begins a list item, a row of a table, a heading, HTML or a link's definition.
fn begins_block(line: &str) -> bool {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_numbered = numbered.len() < line.len() && (numbered.starts_with(". ") || numbered.starts_with(") "));
    let is_heading = line.starts_with('#') && line.trim_start_matches('#').starts_with(' ');
    let is_definition = line.starts_with('[') && line.contains("]: ");
    is_numbered || is_heading || is_definition || ["- ", "* ", "+ ", "|", "<"].iter().any(|mark| line.starts_with(mark))
}

/// Reasons for unsafe code that are somebody else's.
fn borrowed_reasons(text: &str) -> Faults {
    let is_borrowed = |line: &str| {
        let reason = line.split_once("SAFETY:").map(|(_, reason)| reason.trim().to_ascii_lowercase());
        reason.is_some_and(|reason| BORROWED_REASONS.iter().any(|borrowed| reason.starts_with(borrowed)))
    };
    let faults = text.lines().enumerate().filter(|(_, line)| is_borrowed(line));
    faults.map(|(index, _)| (index + 1, "unsafe code without a reason of its own".to_owned())).collect()
}

fn hold(extensions: &[&str], rule: impl Fn(&Entry) -> Faults) {
    let files = entries().into_iter().filter(|entry| extensions.iter().any(|extension| entry.is(extension)));
    let say =
        |entry: Entry| rule(&entry).into_iter().map(move |(line, fault)| format!("{}:{line}: {fault}", entry.path));
    crate::hold(files.flat_map(say).collect());
}

#[test]
fn no_line_is_wider_than_the_screen() {
    hold(&TEXT_EXTENSIONS, |entry| wide_lines(&entry.text(), entry.is("md")));
}

#[test]
fn doc_comments_are_sentences_that_name_their_subject() {
    hold(&CODE_EXTENSIONS, |entry| ill_formed_docs(&entry.text()));
}

#[test]
fn every_reason_for_unsafe_code_is_its_own() {
    // The rules' own examples are in this file.
    let own = |entry: &Entry| entry.path.ends_with("tidy/prose.rs");
    hold(&CODE_EXTENSIONS, |entry| if own(entry) { Vec::new() } else { borrowed_reasons(&entry.text()) });
}

fn lines(faults: &Faults) -> Vec<usize> {
    faults.iter().map(|(line, _)| *line).collect()
}

#[test]
fn wide_lines_are_found_unless_they_cannot_be_wrapped() {
    let (wide, word) = ("ab ".repeat(50), "a".repeat(130));
    assert_eq!(lines(&wide_lines(&format!("{wide}\n    // {word}\n    {wide}"), false)), [1, 3]);
    let narrow = "é".repeat(120);
    assert!(wide_lines(&format!("a {}", &narrow[..236]), false).is_empty());
    let markdown = format!("| {wide}\n\n    {wide}\n\n    {wide}\n\n- {wide}\n    {wide}\n```\n{wide}\n```\n{wide}");
    assert_eq!(lines(&wide_lines(&markdown, true)), [7, 8, 12]);
}

#[test]
fn paragraphs_of_doc_comments_are_sentences() {
    let mark = |doc: &str| doc.lines().map(|line| format!("    /// {line}\n")).collect::<String>();
    let faulty = |doc: &str| lines(&ill_formed_docs(&mark(doc)));
    let good =
        ["`x` rows.", "[`X`] and (all) of it.", "float32.", "A list:\n- one\n- two", "A\nb\nc.\n\n2 more.", "Why?"];
    good.iter().for_each(|doc| assert!(faulty(doc).is_empty(), "{doc}"));
    let code = "Code:\n\n    let x = 1;\n\nThen prose.\n\n```text\nfree form\n```";
    assert!(faulty(code).is_empty());
    let bad = ["rows.", "Rows", "Rows:", "A list:\n- one\n\nno capital.", "Rows.\n\nno capital."];
    assert_eq!(bad.map(faulty), [vec![1], vec![1], vec![1], vec![4], vec![3]]);
}

#[test]
fn openings_that_hide_the_subject_are_found_in_the_first_paragraph_only() {
    let opens_badly = |doc: &str| ill_formed_docs(&format!("/// {doc}")).len() == 1;
    assert!(["Of a row.", "The same.", "As [`X`].", "What is read.", "Those of it."].into_iter().all(opens_badly));
    assert!(!["Offsets.", "Assets.", "Whether it is.", "What-if rows."].into_iter().any(opens_badly));
    assert!(ill_formed_docs("/// Rows.\n///\n/// As in the paper, one each.").is_empty());
    assert_eq!(lines(&ill_formed_docs("//! Rows.\n/// What.\n")), [2]);
}

#[test]
fn a_reason_elsewhere_is_no_reason() {
    assert_eq!(lines(&borrowed_reasons("// SAFETY: as above.\n// SAFETY: the same.\n// SAFETY: it is bound.")), [1, 2]);
}
