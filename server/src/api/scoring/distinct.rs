//! Texts whose embeddings are compared, each once: equal texts have equal embeddings.

use std::collections::HashMap;
use std::sync::Arc;

use super::tokenise::Tokens;

/// The texts of both sides without repetitions.
#[derive(Debug)]
pub struct DistinctTexts {
    /// Token ids of each text.
    pub texts: Vec<Arc<[u32]>>,
    /// Which text each source is.
    pub sources: Vec<usize>,
    /// Which text each target is.
    pub targets: Vec<usize>,
}

impl DistinctTexts {
    /// The texts of a call.
    pub fn of(tokens: &Tokens) -> Self {
        let (mut texts, mut known) = (Vec::new(), HashMap::new());
        let mut index = |text: &Arc<[u32]>| {
            *known.entry(Arc::clone(text)).or_insert_with(|| {
                texts.push(Arc::clone(text));
                texts.len() - 1
            })
        };
        let [sources, targets] = [&tokens.sources, &tokens.targets].map(|side| side.iter().map(&mut index).collect());
        Self { texts, sources, targets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_of_either_side_are_one() {
        let [a, b, c] = [[1, 2], [3, 4], [5, 6]].map(Arc::<[u32]>::from);
        let tokens = Tokens {
            sources: vec![Arc::clone(&a)],
            targets: vec![Arc::clone(&b), [1, 2].into(), Arc::clone(&c), [3, 4].into()],
        };
        let DistinctTexts { texts, sources, targets } = DistinctTexts::of(&tokens);
        assert_eq!((texts, sources, targets), (vec![a, b, c], vec![0], vec![1, 0, 2, 1]));
    }
}
