//! Rules over what draws may choose.

use kernels::{DrawRule, DrawRules, LogitEdit, RuleId, TokenMask};

/// Rules of every kind: masks that allow few ids, most, and none; edits that raise and lower logits; bans of a few ids,
/// of forty more and of many; all of them together. They touch the ids of `best`.
pub fn rules(vocab: usize, best: &[u32]) -> (DrawRules, Vec<Option<RuleId>>) {
    let words = vocab.div_ceil(32);
    let mask = |allows: &dyn Fn(u32) -> bool| -> Vec<u32> {
        let word = |word: u32| (0..32).filter(|bit| allows(word * 32 + bit)).map(|bit| 1 << bit).sum();
        (0..words as u32).map(word).collect()
    };
    let few = mask(&|id| id % 97 == 5);
    let most = mask(&|id| !best.contains(&id) && id % 331 != 7);
    let stretches = mask(&|id| id / 64 % 3 == 1);
    let edits = |edit: &dyn Fn(u32) -> LogitEdit| -> Vec<LogitEdit> {
        let mut ids: Vec<u32> = best.iter().copied().chain((0..vocab as u32).step_by(61)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(edit).collect()
    };
    let penalties = edits(&|id| LogitEdit { id, penalty: 1.3, bias: if id % 2 == 0 { -0.3 } else { 0.0 } });
    let biases = edits(&|id| LogitEdit::bias(id, if id % 3 == 0 { 4.5 } else { -100.0 }));
    let bans = |more: &mut dyn Iterator<Item = u32>| -> Vec<u32> {
        let mut ids: Vec<u32> = best.iter().copied().chain(more).collect();
        ids.sort_unstable();
        ids
    };
    let (few_bans, many) = (bans(&mut std::iter::empty()), bans(&mut (0..vocab as u32).step_by(13)));
    let several = bans(&mut (0..vocab as u32).rev().step_by(7).take(40));
    let masked = |words| Some(TokenMask { words });
    let free = DrawRule::default();
    let list = [
        free,
        DrawRule::ban(&few_bans),
        DrawRule::ban(&many),
        DrawRule { mask: masked(&few), ..free },
        DrawRule { mask: masked(&most), ..free },
        DrawRule { mask: masked(&most[..words / 2]), ..free },
        DrawRule { mask: masked(&[]), ..free },
        DrawRule { edits: &penalties, ..free },
        DrawRule { edits: &biases, ..free },
        DrawRule { mask: masked(&stretches), edits: &biases, banned: &few_bans },
        DrawRule::ban(&several),
    ];
    let mut rules = DrawRules::default();
    let ids = list.map(|rule| Some(rules.add(rule)));
    (rules, std::iter::once(None).chain(ids).collect())
}
