//! Finds the panels of the output table that a draw may depend on, from the ranges of their logits and the draw's rule.
//!
//! Called by [`super::choose`] for each draw. A panel is passed over only where none of its ids can be among those that
//! the draw keeps:
//!
//! - The floor is the `kept`-th largest lower bound among panels that the rule leaves alone. So many ids with their own
//!   logits reach it, and an id that certainly stays below it is not among the `kept` best.
//! - A panel in which the rule lowers or refuses some ids can only lose. It is compared with the floor like any other,
//!   but its lower bound does not count, since its largest id may be one of them.
//! - A panel with an id whose logit may rise is always needed; a panel whose ids are all refused never is.
//!
//! A panel whose range is not known is needed in any case: a logit in it may not be a number.

use super::panel::PANEL;
use crate::sampling::{Draw, DrawRule, TokenMask};

/// Change of the order of logits by soft-cap and temperature, relative to the cap or the logit: numbers that lie closer
/// together may be equal afterwards.
const TIE_MARGIN: f64 = 4e-6;
/// Absolute loss that is allowed for.
pub(super) const LOST: f64 = 1e-20;

/// Ranges of the logits of one row's panels, before they are soft-capped.
#[derive(Clone, Copy)]
pub(super) struct Ranges<'a> {
    /// The largest that a logit of the panel may be; not a number, or infinite, where that is not known.
    pub uppers: &'a [f32],
    /// A number that the largest logit of the panel certainly reaches.
    pub lowers: &'a [f32],
    /// Whether these hold at all for this row.
    pub are_known: bool,
}

/// Effect of a rule on the ids of a panel; of several effects, the last in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Treatment {
    /// Nothing.
    Untouched,
    /// Some logits fall, or become minus infinity.
    Lowered,
    /// Some logits may rise.
    Raised,
    /// All become minus infinity.
    Refused,
}

/// Panels that the draws from one row depend on; working memory is kept between rows.
#[derive(Default)]
pub(super) struct PanelFilter {
    needed: Vec<bool>,
    treatments: Vec<Treatment>,
    order: Vec<f32>,
}

impl PanelFilter {
    /// Begins a row: nothing is needed yet.
    pub fn begin(&mut self, panels: usize) {
        self.needed.clear();
        self.needed.resize(panels, false);
    }

    /// Adds the panels that a narrow draw from the row depends on.
    pub fn add(&mut self, ranges: Ranges<'_>, draw: &Draw, rule: DrawRule<'_>, softcap: Option<f32>) {
        let Self { needed, treatments, order } = self;
        treat(rule, needed.len(), treatments);
        let lower = nth_untouched(ranges.lowers, treatments, draw.sampling.kept(), order);
        let floor = lower.map_or(f32::NEG_INFINITY, |lower| still_equal(lower, softcap));
        for (panel, needed) in needed.iter_mut().enumerate() {
            let floor = match treatments.get(panel) {
                None | Some(Treatment::Untouched | Treatment::Lowered) => floor,
                Some(Treatment::Raised) => f32::NEG_INFINITY,
                Some(Treatment::Refused) => f32::INFINITY,
            };
            // Written so that what is not a number is needed.
            *needed |= !(ranges.are_known && ranges.uppers[panel] < floor);
        }
    }

    /// The panels, ascending.
    pub fn needed(&self) -> impl Iterator<Item = usize> + '_ {
        self.needed.iter().enumerate().filter_map(|(panel, needed)| needed.then_some(panel))
    }
}

/// Writes the effect of the rule on each panel; the list stays empty for a rule that touches none.
fn treat(rule: DrawRule<'_>, panels: usize, out: &mut Vec<Treatment>) {
    out.clear();
    if rule.is_free() {
        return;
    }
    out.resize(panels, Treatment::Untouched);
    if let Some(mask) = rule.mask {
        const WORDS: usize = PANEL / TokenMask::WORD_IDS;
        for (panel, treatment) in out.iter_mut().enumerate() {
            let mut words = (0..WORDS).map(|word| mask.words.get(panel * WORDS + word).copied().unwrap_or(0));
            *treatment = if words.clone().all(|word| word == 0) {
                Treatment::Refused
            } else if words.all(|word| word == !0) {
                Treatment::Untouched
            } else {
                Treatment::Lowered
            };
        }
    }
    let mut raise = |id: u32, to: Treatment| {
        if let Some(treatment) = out.get_mut(id as usize / PANEL) {
            *treatment = to.max(*treatment);
        }
    };
    for edit in rule.edits {
        raise(edit.id, if edit.only_lowers() { Treatment::Lowered } else { Treatment::Raised });
    }
    rule.banned.iter().for_each(|&id| raise(id, Treatment::Lowered));
}

/// The `n`-th largest number of the panels that are left alone, counted from 1.
fn nth_untouched(lowers: &[f32], treatments: &[Treatment], n: usize, room: &mut Vec<f32>) -> Option<f32> {
    if treatments.is_empty() && n == 1 {
        return Some(lowers.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    }
    let is_untouched = |panel: usize| treatments.get(panel).is_none_or(|&treatment| treatment == Treatment::Untouched);
    room.clear();
    room.extend(lowers.iter().enumerate().filter(|(panel, _)| is_untouched(*panel)).map(|(_, lower)| lower));
    (n <= room.len()).then(|| *room.select_nth_unstable_by(n - 1, |a, b| b.total_cmp(a)).1)
}

/// The least raw logit that may not be told from `lower` once both are soft-capped and divided by a temperature.
fn still_equal(lower: f32, softcap: Option<f32>) -> f32 {
    let lower = f64::from(lower);
    let floor = match softcap.map(f64::from) {
        None => lower - TIE_MARGIN * lower.abs(),
        Some(cap) => {
            let capped = (lower / cap).tanh() - TIE_MARGIN;
            if capped <= -1.0 { f64::NEG_INFINITY } else { cap * capped.atanh() }
        }
    };
    // Below whatever rounding to float32 makes of it.
    (floor - floor.abs() * 1e-6 - LOST) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::{LogitEdit, Sampling};

    #[test]
    fn logits_above_the_margin_stay_apart_and_saturated_ones_survive() {
        for cap in [None, Some(30.0), Some(2.0)] {
            for lower in [-80.0_f32, -29.0, -1.0, 0.0, 0.001, 3.0, 25.0, 29.5, 200.0, 1e6] {
                let floor = still_equal(lower, cap);
                assert!(floor <= lower);
                let after = |z: f32| cap.map_or(z, |cap| crate::math::softcap(z, cap));
                for temperature in [1.0_f32, 0.7, 1.9] {
                    let below = floor.next_down();
                    assert!(
                        floor == f32::NEG_INFINITY || after(below) / temperature < after(lower) / temperature,
                        "{cap:?}, {lower}, {floor}"
                    );
                }
            }
        }
        assert!(still_equal(1e6, Some(30.0)) < 250.0, "a saturated softcap makes equals of these");
    }

    #[test]
    fn the_nth_largest_counts_from_one_and_counts_equals() {
        let mut room = Vec::new();
        let numbers = [3.0, 9.0, -1.0, 9.0, 4.0];
        let nth: Vec<_> = (1..=6).map(|n| nth_untouched(&numbers, &[], n, &mut room)).collect();
        assert_eq!(nth, [Some(9.0), Some(9.0), Some(4.0), Some(3.0), Some(-1.0), None]);
    }

    /// Panels that a draw of the two best depends on, where panel `i` holds logits up to about `i`.
    fn needed(rule: DrawRule<'_>) -> Vec<usize> {
        let (lowers, uppers) = ([-0.1, 0.9, 1.9, 2.9, 3.9], [0.1, 1.1, 2.1, 3.1, f32::NAN]);
        let mut filter = PanelFilter::default();
        let sampling = Sampling { temperature: 1.0, top_k: 2, ..Sampling::GREEDY };
        filter.begin(5);
        filter.add(
            Ranges { uppers: &uppers, lowers: &lowers, are_known: true },
            &Draw { sampling, ..Draw::greedy(0) },
            rule,
            None,
        );
        filter.needed().collect()
    }

    #[test]
    fn panels_that_a_rule_touches_do_not_raise_the_floor() {
        let id = |panel: usize| (panel * PANEL + 5) as u32;
        assert_eq!(needed(DrawRule::default()), [3, 4]);
        assert_eq!(needed(DrawRule::ban(&[id(3)])), [2, 3, 4]);
        assert_eq!(needed(DrawRule::ban(&[id(3), id(4)])), [1, 2, 3, 4]);
        let edits = [LogitEdit::penalty(id(2), 1.5), LogitEdit::bias(id(3), -0.1)];
        assert_eq!(needed(DrawRule { edits: &edits, ..DrawRule::default() }), [1, 2, 3, 4]);
    }

    #[test]
    fn a_panel_with_a_logit_that_may_rise_is_needed() {
        for edit in [LogitEdit::bias(7, 0.1), LogitEdit::penalty(7, 0.9)] {
            assert_eq!(needed(DrawRule { edits: &[edit], ..DrawRule::default() }), [0, 3, 4]);
        }
    }

    #[test]
    fn a_panel_of_refused_ids_is_needed_only_where_its_range_is_not_known() {
        const WORDS: usize = PANEL / 32;
        let of_mask = |words: &[u32]| needed(DrawRule { mask: Some(TokenMask { words }), ..DrawRule::default() });
        let mut words = [!0; 5 * WORDS];
        words[3 * WORDS..].fill(0);
        assert_eq!(of_mask(&words), [1, 2, 4]);
        words[2 * WORDS] = 1;
        assert_eq!(of_mask(&words), [0, 1, 2, 4]);
        // Words that are missing refuse their ids.
        assert_eq!(of_mask(&words[..WORDS]), [0, 4]);
    }
}
