//! The tokens of a vocabulary as a tree of bytes, of which a parser is asked no more than it has to be.
//!
//! Used by `mask_finder`.

use llguidance::toktrie::{Recognizer, SimpleVob};

use super::reach::Reach;
use super::runs::{KINDS, LONGEST, Run};

/// Marks a byte that ends no token.
const NO_TOKEN: u32 = u32::MAX;
/// Marks tokens that are no runs, as a length that no run has.
const NO_RUN: u8 = LONGEST + 1;

/// Tokens as bytes, in the order in which a walk meets them.
#[derive(Debug)]
pub struct TokenTree {
    nodes: Vec<Node>,
}

/// A byte of one token, or of several that begin alike.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The token that ends here.
    token: u32,
    /// Index after the last node below this one.
    end: u32,
    /// Number of bytes before this one.
    depth: u16,
    byte: u8,
    /// Length of the longest run of each kind that ends here or below; [`NO_RUN`] of the last kind for other tokens.
    longest: [u8; KINDS],
}

impl TokenTree {
    /// The tree of tokens whose ids are their indices. Those without bytes are left out.
    ///
    /// # Panics
    /// When a token has more than 65,535 bytes.
    pub fn new(tokens: &[&[u8]]) -> Self {
        let mut sorted: Vec<(&[u8], u32)> = tokens.iter().copied().zip(0..).collect();
        sorted.retain(|(bytes, _)| !bytes.is_empty());
        sorted.sort_unstable();
        let mut nodes: Vec<Node> = Vec::new();
        let (mut path, mut before): (Vec<usize>, &[u8]) = (Vec::new(), &[]);
        for (bytes, token) in sorted {
            let common = before.iter().zip(bytes).take_while(|(one, other)| one == other).count();
            // A token that has the bytes of another ends in a node of its own.
            let common = common.min(bytes.len() - 1);
            close(&mut nodes, &mut path, common);
            for (depth, &byte) in bytes.iter().enumerate().skip(common) {
                let depth = u16::try_from(depth).expect("tokens are short");
                path.push(nodes.len());
                nodes.push(Node { token: NO_TOKEN, end: 0, depth, byte, longest: [0; KINDS] });
            }
            let last = nodes.last_mut().expect("the token has bytes");
            last.token = token;
            let Run { kind, length } = Run::of(bytes).unwrap_or(Run { kind: KINDS - 1, length: NO_RUN });
            last.longest[kind] = length;
            before = bytes;
        }
        close(&mut nodes, &mut path, 0);
        nodes.shrink_to_fit();
        Self { nodes }
    }

    /// Adds the tokens whose bytes the parser takes, but for runs of which is known whether it takes them.
    pub fn add_allowed(&self, parser: &mut impl Recognizer, known: Reach, allowed: &mut SimpleVob) {
        parser.trie_started("mask");
        let (mut depth, mut index) = (0, 0);
        while let Some(node) = self.nodes.get(index) {
            let end = node.end as usize;
            if node.is_known(known) {
                index = end;
                continue;
            }
            let above = usize::from(node.depth);
            if depth > above {
                parser.pop_bytes(depth - above);
                depth = above;
            }
            if parser.try_push_byte(node.byte) {
                depth += 1;
                index += 1;
                if node.token != NO_TOKEN {
                    allowed.allow_token(node.token);
                }
            } else {
                index = end;
            }
        }
        parser.pop_bytes(depth);
        parser.trie_finished();
    }
}

impl Node {
    /// Whether nothing but known runs end here and below.
    fn is_known(&self, known: Reach) -> bool {
        if known.is_most {
            return self.longest[KINDS - 1] < NO_RUN;
        }
        (0..KINDS).all(|kind| self.longest[kind] <= known.length_of(kind))
    }
}

/// Ends what is below so many bytes of a path: it is complete, and told to what is above.
fn close(nodes: &mut [Node], path: &mut Vec<usize>, depth: usize) {
    let end = u32::try_from(nodes.len()).expect("a vocabulary has fewer bytes");
    while path.len() > depth {
        let Some(node) = path.pop().and_then(|index| nodes.get_mut(index)) else { return };
        node.end = end;
        let below = node.longest;
        let above = path.last().and_then(|&index| nodes.get_mut(index));
        for (above, below) in above.into_iter().flat_map(|node| &mut node.longest).zip(below) {
            *above = (*above).max(below);
        }
    }
}
