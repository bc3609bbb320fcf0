//! A choice among given targets: a tree of their tokens.
//!
//! An answer is one of the targets, token by token as the tokenizer writes it, and then an end token. With beams the
//! best targets by score are found without scoring all of them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::vocabulary::Vocabulary;
use crate::request::{Constrain, Constraint, ConstraintError, ConstraintState};

/// Targets that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetsError {
    /// There are none.
    #[error("there is nothing to choose from")]
    Empty,
    /// One of them has a token that is no text, or cannot be tokenised.
    #[error("entry {index} cannot be tokenised as text: {problem}")]
    Untokenizable {
        /// Its index.
        index: usize,
        /// The fault in it.
        problem: String,
    },
}

/// A tree of targets.
pub struct Targets {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    end_tokens: Vec<u32>,
    /// Words of a mask.
    words: usize,
}

/// A beginning of one or more targets.
#[derive(Clone)]
struct Node {
    /// Tokens that go on from here, ascending.
    edges: Range<u32>,
    /// Whether a target ends here.
    is_end: bool,
    /// Most tokens that may follow, the end token included.
    longest: u32,
}

#[derive(Clone, Copy)]
struct Edge {
    token: u32,
    node: u32,
}

impl Targets {
    /// The tree of these texts; equal ones count once.
    ///
    /// # Errors
    /// Without a text, or where a text cannot be written in tokens that are text.
    pub fn compile(texts: &[impl AsRef<str>], vocabulary: &Vocabulary) -> Result<Constraint, TargetsError> {
        let ids = |(index, text): (usize, &_)| ids(AsRef::as_ref(text), vocabulary, index);
        let targets = texts.iter().enumerate().map(ids).collect::<Result<Vec<_>, _>>()?;
        Ok(Constraint::new(Shared(Arc::new(Self::new(targets, vocabulary)?))))
    }

    /// The tree of these lists of ids.
    ///
    /// # Errors
    /// Without a list.
    fn new(mut targets: Vec<Vec<u32>>, vocabulary: &Vocabulary) -> Result<Self, TargetsError> {
        if targets.is_empty() {
            return Err(TargetsError::Empty);
        }
        targets.sort_unstable();
        targets.dedup();
        let (end_tokens, words) = (vocabulary.end_tokens.clone(), vocabulary.size().div_ceil(32));
        let mut tree = Self { nodes: Vec::new(), edges: Vec::new(), end_tokens, words };
        tree.nodes.push(Node { edges: 0..0, is_end: false, longest: 0 });
        // Targets that begin alike are a range of the sorted list: those of each node, level by level.
        let mut level = vec![(0_u32, 0..targets.len())];
        for depth in 0.. {
            let mut next = Vec::new();
            for (node, range) in level {
                tree.extend(node, range, depth, &targets, &mut next);
            }
            if next.is_empty() {
                tree.measure();
                tree.nodes.shrink_to_fit();
                tree.edges.shrink_to_fit();
                return Ok(tree);
            }
            level = next;
        }
        unreachable!("targets are finite")
    }

    /// Gives a node its edges: `range` of the targets have its `depth` tokens. The nodes behind them go to `next`.
    fn extend(
        &mut self,
        node: u32,
        range: Range<usize>,
        depth: usize,
        targets: &[Vec<u32>],
        next: &mut Vec<(u32, Range<usize>)>,
    ) {
        // A target that ends comes before those that go on.
        let is_end = targets[range.start].len() == depth;
        let mut start = range.start + usize::from(is_end);
        let first_edge = self.edges.len() as u32;
        while start < range.end {
            let token = targets[start][depth];
            let same = targets[start..range.end].partition_point(|target| target[depth] == token);
            let behind = self.nodes.len() as u32;
            self.nodes.push(Node { edges: 0..0, is_end: false, longest: 0 });
            self.edges.push(Edge { token, node: behind });
            next.push((behind, start..start + same));
            start += same;
        }
        self.nodes[node as usize] = Node { edges: first_edge..self.edges.len() as u32, is_end, longest: 0 };
    }

    /// Counts the tokens that may follow each node. A node stands before those behind it.
    fn measure(&mut self) {
        for index in (0..self.nodes.len()).rev() {
            let behind = self.edges(&self.nodes[index]).iter().map(|edge| self.nodes[edge.node as usize].longest);
            // The token of the edge, or the end token.
            self.nodes[index].longest = 1 + behind.max().unwrap_or(0);
        }
    }

    fn edges(&self, node: &Node) -> &[Edge] {
        &self.edges[node.edges.start as usize..node.edges.end as usize]
    }
}

/// The ids of a target.
fn ids(text: &str, vocabulary: &Vocabulary, index: usize) -> Result<Vec<u32>, TargetsError> {
    let refused = |problem: String| TargetsError::Untokenizable { index, problem };
    let ids = vocabulary.tokenizer.encode(text).map_err(|error| refused(error.to_string()))?;
    let is_text = |&id: &u32| (id as usize) < vocabulary.size() && !vocabulary.tokenizer.is_special(id);
    match ids.iter().find(|id| !is_text(id)) {
        Some(id) => Err(refused(format!("id {id} is a special token, or unknown to the model"))),
        None => Ok(ids),
    }
}

#[derive(Debug)]
struct Shared(Arc<Targets>);

impl Constrain for Shared {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(Beginning { targets: Arc::clone(&self.0), node: Some(0) })
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.0.nodes[..]) + size_of_val(&self.0.edges[..])
    }

    fn longest(&self) -> Option<usize> {
        self.0.nodes.first().map(|root| root.longest as usize)
    }
}

/// A place in the tree; `None` after the end.
#[derive(Debug, Clone)]
struct Beginning {
    targets: Arc<Targets>,
    node: Option<u32>,
}

impl Beginning {
    fn node(&self) -> Option<&Node> {
        self.node.map(|node| &self.targets.nodes[node as usize])
    }
}

impl ConstraintState for Beginning {
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(self.clone())
    }

    fn write_allowed(&mut self, words: &mut Vec<u32>) -> Result<(), ConstraintError> {
        words.clear();
        words.resize(self.targets.words, 0);
        let mut allow = |id: u32| words[id as usize / 32] |= 1 << (id % 32);
        let node = self.node();
        if let Some(node) = node {
            self.targets.edges(node).iter().for_each(|edge| allow(edge.token));
        }
        if node.is_none_or(|node| node.is_end) {
            self.targets.end_tokens.iter().copied().for_each(allow);
        }
        Ok(())
    }

    fn advance(&mut self, token: u32) -> Result<(), ConstraintError> {
        let node = self.node();
        if self.targets.end_tokens.contains(&token) && node.is_none_or(|node| node.is_end) {
            self.node = None;
            return Ok(());
        }
        let edges = node.map_or(&[][..], |node| self.targets.edges(node));
        let found = edges.binary_search_by_key(&token, |edge| edge.token);
        let found = found.map_err(|_| ConstraintError { reason: format!("token {token} continues no target") })?;
        self.node = Some(edges[found].node);
        Ok(())
    }

    fn longest_after(&self, token: u32) -> Option<usize> {
        let edges = self.node().map_or(&[][..], |node| self.targets.edges(node));
        let found = edges.binary_search_by_key(&token, |edge| edge.token).ok()?;
        Some(self.targets.nodes[edges[found].node as usize].longest as usize)
    }

    fn list_forced(&mut self, out: &mut Vec<u32>) {
        let mut node = self.node();
        while let Some(Node { is_end: false, .. }) = node
            && let [only] = self.targets.edges(node.expect("it was matched"))
        {
            out.push(only.token);
            node = Some(&self.targets.nodes[only.node as usize]);
        }
    }
}

impl fmt::Debug for Targets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Targets").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}
