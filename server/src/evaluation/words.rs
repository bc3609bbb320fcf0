//! Words as BLEU counts them, and the white space between them.
//!
//! The "13a" tokenisation of NIST's `mteval-v13a.pl`, as sacrebleu 2 defines it: four entities are resolved, ASCII
//! punctuation stands alone, but `'` and `-` inside words stay, and so do `.` and `,` between digits.

/// The words of a text.
pub fn words_13a(text: &str) -> Vec<String> {
    let text = text.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    // One after the other: `&amp;lt;` ends as `<`.
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let mut characters: Vec<char> = Vec::with_capacity(text.len() + 2);
    characters.push(' ');
    for character in text.chars() {
        match stands_alone(character) {
            true => characters.extend([' ', character, ' ']),
            false => characters.push(character),
        }
    }
    characters.push(' ');
    let is_point = |character: char| matches!(character, '.' | ',');
    let is_digit = |character: char| character.is_ascii_digit();
    let characters = pairs(
        &characters,
        |first, second| !is_digit(first) && is_point(second),
        |first, second| [first, ' ', second, ' '],
    );
    let characters = pairs(
        &characters,
        |first, second| is_point(first) && !is_digit(second),
        |first, second| [' ', first, ' ', second],
    );
    let characters =
        pairs(&characters, |first, second| is_digit(first) && second == '-', |first, second| [first, ' ', second, ' ']);
    let words = characters.split(|&character| is_space(character)).filter(|word| !word.is_empty());
    words.map(|word| word.iter().collect()).collect()
}

/// White space as Python's `str.split` sees it: Unicode's, and four control characters.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// All ASCII punctuation but `'`, `,`, `-` and `.`.
fn stands_alone(character: char) -> bool {
    character.is_ascii_punctuation() && !matches!(character, '\'' | ',' | '-' | '.')
}

/// Replaces pairs of neighbours from left to right; a character belongs to one pair at most.
fn pairs(
    characters: &[char],
    is_pair: impl Fn(char, char) -> bool,
    replaced: impl Fn(char, char) -> [char; 4],
) -> Vec<char> {
    let mut out = Vec::with_capacity(2 * characters.len());
    let mut rest = characters;
    while let [first, tail @ ..] = rest {
        match tail {
            [second, after @ ..] if is_pair(*first, *second) => {
                out.extend(replaced(*first, *second));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punctuation_stands_alone_but_inside_numbers_and_words() {
        let text = "It's 3.14, (or 1,000-fold)... well-known; e.g. x=5-3.";
        let expected = "It's 3.14 , ( or 1,000 - fold ) . . . well-known ; e . g . x = 5 - 3 .";
        assert_eq!(words_13a(text).join(" "), expected);
    }

    #[test]
    fn entities_are_resolved_and_broken_words_are_joined() {
        assert_eq!(
            words_13a("&quot;a&amp;lt;b&quot; hyphen-\nated\nline\u{a0}end").join(" "),
            "\" a < b \" hyphenated line end"
        );
        assert!(words_13a(" \n").is_empty());
    }
}
