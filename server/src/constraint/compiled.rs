//! A compiled grammar, and places in it.

use std::fmt;
use std::sync::Arc;

use super::reader::{Reader, broken};
use super::vocabulary::LEXER_STATES;
use crate::request::{Constrain, ConstraintError, ConstraintState};

/// A compiled grammar.
pub(super) struct Compiled(Arc<Shared>);

/// Everything that the places of a grammar share.
struct Shared {
    /// Has read nothing. What the lexer of a parser learns, and how it fails, is shared by its clones, so every answer
    /// begins with a deep clone of this one.
    start: Reader,
    end_tokens: Vec<u32>,
    size: Size,
}

/// Bytes of memory, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Bytes of the compiled grammar.
    pub compiled: usize,
    /// Bytes that every answer has for itself when it begins.
    pub answer: usize,
    /// Most bytes that an answer may need beyond these. It may take a quarter more.
    pub growth: usize,
}

/// A place in a grammar. Its clones share its lexer.
#[derive(Clone)]
struct Place {
    shared: Arc<Shared>,
    reader: Reader,
    /// Tokens that were read.
    tokens: Vec<u32>,
    /// Growth up to which the lexer keeps what it has learned.
    retry_at: usize,
    /// Whether the tokens could not be read again.
    is_lost: bool,
}

impl Compiled {
    /// The grammar of a reader that has read no token.
    pub fn new(start: Reader, end_tokens: &[u32], size: Size) -> Self {
        Self(Arc::new(Shared { start, end_tokens: end_tokens.to_vec(), size }))
    }
}

impl Constrain for Compiled {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(Place::start(&self.0))
    }

    fn bytes(&self) -> usize {
        self.0.size.compiled
    }

    fn answer_bytes(&self) -> usize {
        self.0.size.answer
    }
}

impl Place {
    fn start(shared: &Arc<Shared>) -> Self {
        let (reader, tokens) = (shared.start.deep_clone(), Vec::new());
        Self { shared: Arc::clone(shared), reader, tokens, retry_at: shared.size.growth, is_lost: false }
    }

    /// Bytes beyond those of a beginning.
    fn growth(&self) -> usize {
        let lexer_bytes = |reader: &Reader| reader.parser.parser.lexer_stats().num_bytes;
        let learned = lexer_bytes(&self.reader).saturating_sub(lexer_bytes(&self.shared.start));
        self.kept_bytes() + learned
    }

    /// Bytes of everything that is read, beyond those of a beginning. They cannot be forgotten.
    fn kept_bytes(&self) -> usize {
        self.reader.kept_bytes() - self.shared.start.kept_bytes()
    }

    /// Number of states that the lexer has.
    fn states(&self) -> usize {
        self.reader.parser.parser.lexer_stats().num_states
    }

    /// Whether the reader is of no use any more: its lexer has as many states as it may. Clones share it, so any of
    /// them may have filled it.
    fn is_used_up(&self) -> bool {
        self.is_lost || self.states() >= LEXER_STATES.most
    }

    /// Forgets what the lexer has learned where that takes too much memory: it learns anew what it needs.
    ///
    /// What it needs may be nearly as much, so it is left to grow by a quarter before it forgets again.
    fn stay_small(&mut self) -> Result<(), ConstraintError> {
        if self.growth() <= self.retry_at {
            return Ok(());
        }
        self.forget()?;
        let (most, growth) = (self.shared.size.growth, self.growth());
        if growth > most {
            let reason = format!("following it takes more than {most} bytes (limits.form_growth_bytes)");
            return Err(ConstraintError { reason });
        }
        self.retry_at = most.max(growth + most / 4);
        Ok(())
    }

    /// Reads all tokens again, with a lexer that has learned nothing but what it needs for them.
    fn forget(&mut self) -> Result<(), ConstraintError> {
        let tokens = std::mem::take(&mut self.tokens);
        *self = Self { retry_at: self.retry_at, is_lost: true, ..Self::start(&self.shared) };
        let most_bytes = self.most_bytes();
        let outcome = tokens.iter().try_for_each(|&token| {
            self.reader.refuel();
            self.reader.read(token, most_bytes)
        });
        self.tokens = tokens;
        outcome?;
        if self.states() > LEXER_STATES.needed {
            let reason = format!("following it takes more than {} states of a lexer", LEXER_STATES.needed);
            return Err(ConstraintError { reason });
        }
        self.is_lost = false;
        Ok(())
    }

    fn read(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.reader.read(token, self.most_bytes())?;
        self.tokens.push(token);
        Ok(())
    }

    /// Most bytes of everything that is read.
    fn most_bytes(&self) -> usize {
        self.shared.size.growth.saturating_add(self.shared.start.kept_bytes())
    }

    /// Finds something that comes next. A lexer that is full in the end gives nothing of meaning: another one finds it
    /// then.
    fn find<T>(&mut self, find: impl Fn(&mut Reader) -> T) -> Result<T, ConstraintError> {
        let found = find(&mut self.reader);
        if !self.is_used_up() {
            return Ok(found);
        }
        self.forget()?;
        Ok(find(&mut self.reader))
    }
}

impl ConstraintState for Place {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(self.clone())
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        let mask = self.find(|reader| {
            if reader.is_over() {
                return Ok(reader.parser.token_env.tok_trie().eos_token_set());
            }
            reader.parser.compute_mask().map_err(|error| broken(&error))
        });
        words.clear();
        words.extend_from_slice(mask??.as_slice());
        self.stay_small()
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        // What is over reads nothing more.
        if self.reader.is_over() && self.shared.end_tokens.contains(&token) {
            return Ok(());
        }
        let read = self.read(token);
        if !self.is_used_up() {
            return read;
        }
        if read.is_err() {
            self.tokens.push(token);
        }
        self.forget()
    }

    fn list_forced(&mut self, out: &mut Vec<u32>) {
        // A place that cannot be found again says so when it is asked for a mask.
        out.extend(self.find(|reader| reader.parser.compute_ff_tokens()).unwrap_or_default());
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Compiled(..)")
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Place(..)")
    }
}

#[cfg(test)]
mod tests {
    use kernels::math::philox;

    use super::*;
    use crate::constraint::Grammar;
    use crate::constraint::tests::DEMO;

    /// The beginning of an answer that may grow by so many bytes.
    fn start(form: Grammar, growth: usize) -> Place {
        let start = form.reader(|grammar| DEMO.parser(grammar), growth).unwrap();
        let size = Size { compiled: 0, answer: 0, growth };
        Place::start(&Arc::new(Shared { start, end_tokens: DEMO.end_tokens.clone(), size }))
    }

    /// A form whose lexer's states tell so many letters apart.
    fn telling(letters: usize) -> Grammar {
        Grammar::Regex(format!("([a-d]*a[a-d]{{{letters}}}e)*"))
    }

    /// A text of so many letters, which comes again after `period` of them.
    fn text(length: u32, period: u32) -> impl Iterator<Item = u32> {
        let letters = ["a", "b", "c", "d"].map(|letter| DEMO.tokenizer.id_of(letter).unwrap());
        (0..length).map(move |position| letters[philox(3, [position % period, 0, 0, 0])[0] as usize % 4])
    }

    /// Growth of an answer that is asked for no masks.
    fn least_growth(letters: usize, text: impl Iterator<Item = u32>) -> usize {
        let mut place = start(telling(letters), 1 << 40);
        for token in text {
            place.reader.refuel();
            place.read(token).unwrap();
        }
        place.growth()
    }

    /// How many times an answer forgets what its lexer has learned.
    fn times_forgotten(mut place: Place, text: impl Iterator<Item = u32>) -> usize {
        let forgets = |token| {
            let states = place.states();
            place.write_allowed(&mut Vec::new()).unwrap();
            let forgets = place.states() < states;
            place.advance(token).unwrap();
            forgets || place.states() < states
        };
        text.map(forgets).filter(|&forgets| forgets).count()
    }

    #[test]
    fn a_long_answer_that_meets_new_states_all_along_goes_on_after_it_has_forgotten_them() {
        let text = || text(3500, u32::MAX);
        let times = times_forgotten(start(telling(200), least_growth(200, text()) * 5 / 4), text());
        assert!((3..30).contains(&times), "{times} times");
    }

    #[test]
    fn an_answer_that_needs_nearly_what_it_may_take_does_not_forget_at_every_token() {
        let text = || text(4000, 2000);
        let times = times_forgotten(start(telling(13), least_growth(13, text()) + 1000), text());
        assert!((3..100).contains(&times), "{times} times");
    }

    #[test]
    fn an_answer_whose_lexer_is_full_goes_on_after_it_has_forgotten_its_states() {
        let times = times_forgotten(start(telling(40), 1 << 40), text(3500, u32::MAX));
        assert!((1..30).contains(&times), "{times} times");
    }

    #[test]
    fn a_branch_goes_on_after_another_has_filled_the_lexer_that_they_share() {
        let mut one = start(telling(40), 1 << 40);
        let mut other = one.clone();
        let mut text = text(20_000, u32::MAX);
        while one.states() < LEXER_STATES.most {
            // The lexer is filled when a token is read, without a mask.
            one.reader.refuel();
            one.reader.read(text.next().expect("the lexer is full after fewer tokens"), usize::MAX).ok();
        }
        let mut words = [Vec::new(), Vec::new()];
        let a = DEMO.tokenizer.id_of("a").unwrap();
        let mut alone = start(telling(40), 1 << 40);
        for place in [&mut other, &mut alone] {
            place.list_forced(&mut Vec::new());
            place.advance(a).unwrap();
        }
        other.write_allowed(&mut words[0]).unwrap();
        alone.write_allowed(&mut words[1]).unwrap();
        assert_eq!(words[0], words[1]);
    }

    #[test]
    fn a_place_that_cannot_be_found_again_tells_nothing() {
        let mut place = start(telling(40), 1 << 40);
        text(50, u32::MAX).for_each(|token| place.read(token).unwrap());
        // The form has no such text.
        place.tokens.insert(20, DEMO.tokenizer.id_of("z").unwrap());
        assert!(place.forget().is_err());
        let mut forced = Vec::new();
        place.list_forced(&mut forced);
        assert!(forced.is_empty());
        assert!(place.write_allowed(&mut Vec::new()).is_err());
        assert!(place.advance(DEMO.tokenizer.id_of("a").unwrap()).is_err());
    }

    #[test]
    fn rows_that_are_made_to_try_an_end_are_not_kept() {
        let items: Vec<String> = (0..500).map(|number| format!("\"!{number}\"")).collect();
        let form = Grammar::Lark(format!("start: /[a-d]*/ item\nitem: {}\n", items.join(" | ")));
        let mut place = start(form, 256 << 10);
        for token in text(100, u32::MAX) {
            place.write_allowed(&mut Vec::new()).unwrap();
            place.advance(token).unwrap();
        }
        assert!(place.kept_bytes() < 16 << 10, "{} bytes", place.kept_bytes());
    }

    /// Goes on by what is forced, or by any allowed token. Returns whether there was one.
    fn go_on(place: &mut Place, random: u32) -> bool {
        let (forced, words) = seen(place);
        if !forced.is_empty() {
            forced.iter().for_each(|&token| place.advance(token).unwrap());
            return true;
        }
        let allowed = |id: &u32| words[*id as usize / 32] >> (id % 32) & 1 == 1 && !DEMO.ends(*id);
        let ids: Vec<u32> = (0..DEMO.size() as u32).filter(allowed).collect();
        let token = ids.get(random as usize % ids.len().max(1));
        token.into_iter().for_each(|&token| place.advance(token).unwrap());
        token.is_some()
    }

    /// The tokens that come next without a choice, and the mask.
    fn seen(place: &mut Place) -> (Vec<u32>, Vec<u32>) {
        let (mut forced, mut words) = (Vec::new(), Vec::new());
        place.list_forced(&mut forced);
        place.write_allowed(&mut words).unwrap();
        (forced, words)
    }

    /// Texts with limits in tokens begin where the bytes before them are forced, which is before these are tokens.
    #[test]
    fn what_forgets_reads_texts_with_limits_in_tokens_as_before() {
        for form in [
            "start: (\"name: \" word \"; description: \")+\nword[max_tokens=3]: %json {\"type\": \"string\"}\n",
            "start: (head word)+\nhead: \"the description of the \"\nword[max_tokens=4]: /[a-z ]+/\n",
            "start: (head tail)+\nhead: /[a-d]/ \"escription of the \"\n\
             tail[max_tokens=5]: %lark {\nstart: (/[a-z]/ \"1\")+\n}\n",
        ] {
            for seed in 0..4 {
                let mut place = start(Grammar::Lark(form.into()), 1 << 40);
                for position in 0..60 {
                    let mut again = place.clone();
                    again.forget().unwrap();
                    assert_eq!(seen(&mut again), seen(&mut place), "position {position} of {form}");
                    if !go_on(&mut place, philox(seed, [position, 0, 0, 0])[0]) {
                        break;
                    }
                }
            }
        }
    }
}
