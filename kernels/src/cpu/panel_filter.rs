//! Finds the panels of the output table that a draw may depend on, from the ranges of their logits and the draw's rule.
//!
//! Called by [`super::choose`] for each draw. A panel is passed over only where none of its ids can be among those that
//! the draw keeps. What an id needs to be among them is the draw's [`Floor`]:
//!
//! - Of panels that the rule leaves alone, the `kept`-th largest lower bound is a floor: so many ids with their own
//!   logits reach it. The lower bound of a panel that the rule touches does not count, since its largest id may be
//!   refused.
//! - Where that floor leaves many panels, as it does where a rule touches most of them, the logits of a few promising
//!   panels are computed, and the `kept`-th largest of them under the rule is a floor.
//!
//! An id is compared with the floor as far as it may rise: to its panel's upper bound, and what the rule makes of that.
//! A panel whose ids are all refused is passed over. A panel whose range is not known is needed in any case: a logit in
//! it may not be a number.

use super::panel::PANEL;
use crate::sampling::{Draw, DrawRule, LogitEdit, TokenMask};

/// Change of the order of logits by soft-cap, rule and temperature, relative to the largest number on the way: numbers
/// that lie closer together may be equal afterwards.
const TIE_MARGIN: f64 = 4e-6;
/// Absolute loss that is allowed for.
pub(super) const LOST: f64 = 1e-20;
/// Penalties below which, or above whose inverse, what a logit may rise to is not estimated.
const LEAST_PENALTY: f32 = 1e-3;

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

/// Wishes of a draw: how many logits it keeps, under which rule, behind which soft-cap.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    /// Number of the largest logits that the draw depends on.
    pub kept: usize,
    /// Rule over them.
    pub rule: DrawRule<'a>,
    /// Soft-cap before the rule.
    pub softcap: Option<f32>,
}

impl<'a> Wish<'a> {
    /// The wish of a narrow draw.
    pub fn of(draw: &Draw, rule: DrawRule<'a>, softcap: Option<f32>) -> Self {
        Self { kept: draw.sampling.kept(), rule, softcap }
    }
}

/// A number that the logit of an id, soft-capped and under the rule, certainly reaches if the draw keeps the id.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) struct Floor(f64);

impl Floor {
    /// Nothing is below it.
    pub const NONE: Self = Self(f64::NEG_INFINITY);

    /// The floor that a number of known logits give of which the draw keeps one; the logits are soft-capped and under
    /// the rule.
    pub fn of_known(logits: &mut [f32], kept: usize) -> Self {
        if logits.len() < kept || logits.iter().any(|logit| logit.is_nan()) {
            return Self::NONE;
        }
        Self(f64::from(*logits.select_nth_unstable_by(kept - 1, |a, b| b.total_cmp(a)).1))
    }

    /// The larger of two.
    pub fn max(self, other: Self) -> Self {
        if other > self { other } else { self }
    }

    /// The least raw logit that may reach the floor where the rule does not change it.
    fn raw(self, softcap: Option<f32>) -> f32 {
        before_softcap(self.0, self.0.abs(), softcap)
    }

    /// The least raw logit that may reach the floor through an edit.
    fn raw_before(self, edit: &LogitEdit, softcap: Option<f32>) -> f32 {
        if !(LEAST_PENALTY..=LEAST_PENALTY.recip()).contains(&edit.penalty) {
            return f32::NEG_INFINITY;
        }
        let (penalty, bias) = (f64::from(edit.penalty), f64::from(edit.bias));
        let magnitude = self.0.abs() + bias.abs();
        let unbiased = self.0 - bias - TIE_MARGIN * magnitude;
        let unpenalised = if unbiased > 0.0 { unbiased * penalty } else { unbiased / penalty };
        before_softcap(unpenalised, magnitude * penalty.max(penalty.recip()), softcap)
    }
}

/// The least raw logit that may not be told from `logit` once both are soft-capped; `magnitude` is that of the largest
/// number that has been rounded.
fn before_softcap(logit: f64, magnitude: f64, softcap: Option<f32>) -> f32 {
    let raw = match softcap.map(f64::from) {
        None => logit - TIE_MARGIN * magnitude,
        Some(cap) => {
            let capped = (logit - TIE_MARGIN * magnitude.max(cap)) / cap;
            if capped <= -1.0 {
                f64::NEG_INFINITY
            } else if capped >= 1.0 {
                f64::INFINITY
            } else {
                cap * capped.atanh()
            }
        }
    };
    if raw.is_infinite() {
        return raw as f32;
    }
    // Below whatever rounding to float32 makes of it.
    (raw - raw.abs() * 1e-6 - LOST) as f32
}

/// Effect of a rule on the ids of a panel; of several effects, the last in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Treatment {
    /// Nothing.
    Untouched,
    /// Some logits change, or become minus infinity.
    Touched,
    /// All become minus infinity.
    Refused,
}

/// Panels that the draws from one row depend on; working memory is kept between rows.
#[derive(Default)]
pub(super) struct PanelFilter {
    needed: Vec<bool>,
    treatments: Vec<Treatment>,
    order: Vec<f32>,
    ranked: Vec<(f32, usize)>,
}

impl PanelFilter {
    /// Begins a row: nothing is needed yet.
    pub fn begin(&mut self, panels: usize) {
        self.needed.clear();
        self.needed.resize(panels, false);
    }

    /// The floor that the ranges give.
    pub fn floor(&mut self, ranges: Ranges<'_>, wish: Wish<'_>) -> Floor {
        let Self { treatments, order, .. } = self;
        treat(wish.rule, ranges.uppers.len(), treatments);
        let lower = nth_untouched(ranges.lowers, treatments, wish.kept, order).map(f64::from);
        lower.map_or(Floor::NONE, |lower| match wish.softcap.map(f64::from) {
            None => Floor(lower),
            Some(cap) => Floor(cap * (lower / cap).tanh()),
        })
    }

    /// Adds the panels with an id that may reach the floor.
    pub fn add(&mut self, ranges: Ranges<'_>, wish: Wish<'_>, floor: Floor) {
        let Self { needed, treatments, .. } = self;
        treat(wish.rule, needed.len(), treatments);
        let raw = floor.raw(wish.softcap);
        // Written so that what is not a number may reach anything.
        let may_reach = |panel: usize, raw: f32| !(ranges.are_known && ranges.uppers[panel] < raw);
        for (panel, needed) in needed.iter_mut().enumerate() {
            let is_refused = treatments.get(panel) == Some(&Treatment::Refused);
            *needed |= may_reach(panel, if is_refused { f32::INFINITY } else { raw });
        }
        let mut last: Option<(&LogitEdit, f32)> = None;
        for edit in wish.rule.edits.iter().filter(|edit| !edit.only_lowers()) {
            let panel = edit.id as usize / PANEL;
            if treatments.get(panel).is_none_or(|treatment| *treatment == Treatment::Refused) || needed[panel] {
                continue;
            }
            // Edits of a request are often alike.
            let raw = match last {
                Some((last, raw)) if (last.penalty, last.bias) == (edit.penalty, edit.bias) => raw,
                _ => floor.raw_before(edit, wish.softcap),
            };
            last = Some((edit, raw));
            needed[panel] = may_reach(panel, raw);
        }
    }

    /// The panels, ascending.
    pub fn needed(&self) -> impl Iterator<Item = usize> + '_ {
        self.needed.iter().enumerate().filter_map(|(panel, needed)| needed.then_some(panel))
    }

    /// So many panels that promise the largest logits under the rule, in no order; fewer where it refuses the others.
    pub fn promising(
        &mut self,
        ranges: Ranges<'_>,
        rule: DrawRule<'_>,
        count: usize,
    ) -> impl Iterator<Item = usize> + '_ {
        let Self { treatments, ranked, .. } = self;
        treat(rule, ranges.uppers.len(), treatments);
        ranked.clear();
        ranked.extend(ranges.uppers.iter().copied().zip(0..));
        for edit in rule.edits.iter().filter(|edit| !edit.only_lowers()) {
            if let Some((promise, panel)) = ranked.get_mut(edit.id as usize / PANEL) {
                *promise = promise.max(edit.apply(ranges.uppers[*panel]));
            }
        }
        ranked.retain(|(_, panel)| treatments.get(*panel) != Some(&Treatment::Refused));
        if (1..ranked.len()).contains(&count) {
            ranked.select_nth_unstable_by(count - 1, |a, b| b.0.total_cmp(&a.0));
            ranked.truncate(count);
        }
        ranked.iter().map(|(_, panel)| *panel)
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
                Treatment::Touched
            };
        }
    }
    for id in rule.edits.iter().map(|edit| edit.id).chain(rule.banned.iter().copied()) {
        if let Some(treatment) = out.get_mut(id as usize / PANEL) {
            *treatment = Treatment::Touched.max(*treatment);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_above_the_margin_stay_apart_and_saturated_ones_survive() {
        for cap in [None, Some(30.0), Some(2.0)] {
            let after = |z: f32| cap.map_or(z, |cap| crate::math::softcap(z, cap));
            for lower in [-80.0_f32, -29.0, -1.0, 0.0, 0.001, 3.0, 25.0, 29.5, 200.0, 1e6] {
                let ranges = Ranges { uppers: &[lower], lowers: &[lower], are_known: true };
                let wish = Wish { kept: 1, rule: DrawRule::default(), softcap: cap };
                let raw = PanelFilter::default().floor(ranges, wish).raw(cap);
                assert!(raw <= lower);
                for temperature in [1.0_f32, 0.7, 1.9] {
                    let below = raw.next_down();
                    assert!(
                        raw == f32::NEG_INFINITY || after(below) / temperature < after(lower) / temperature,
                        "{cap:?}, {lower}, {raw}"
                    );
                }
            }
        }
        assert!(Floor(30.0).raw(Some(30.0)) < 250.0, "a saturated softcap makes equals of these");
    }

    #[test]
    fn below_what_an_edit_starts_from_no_logit_reaches_the_floor_through_it() {
        let edits = [(1.0, 0.5), (1.0, -0.5), (1.0, 100.0), (0.5, 0.0), (1.3, 2.0), (0.7, -1.0), (900.0, 0.25)];
        for cap in [None, Some(30.0)] {
            let after = |z: f32| cap.map_or(z, |cap| crate::math::softcap(z, cap));
            for (penalty, bias) in edits {
                let edit = LogitEdit { id: 0, penalty, bias };
                for known in [-80.0_f32, -3.0, -0.01, 0.0, 0.25, 7.0, 29.99, 31.0, 129.0] {
                    let raw = Floor(f64::from(known)).raw_before(&edit, cap);
                    let below = if raw == f32::INFINITY { 1e30 } else { raw.next_down() };
                    for temperature in [1.0_f32, 0.7] {
                        assert!(
                            raw == f32::NEG_INFINITY || edit.apply(after(below)) / temperature < known / temperature,
                            "{cap:?}, {edit:?}, {known}, {raw}"
                        );
                    }
                    // Not far below, either.
                    let above = raw + raw.abs().max(1.0) * penalty.max(penalty.recip()) * 0.1;
                    assert!(raw.abs() >= 25.0 || edit.apply(after(above)) >= known, "{cap:?}, {edit:?}, {known}");
                }
            }
        }
        assert_eq!(Floor(1.0).raw_before(&LogitEdit::penalty(0, 1e-4), None), f32::NEG_INFINITY);
        assert_eq!(Floor(32.0).raw_before(&LogitEdit::bias(0, 1.0), Some(30.0)), f32::INFINITY);
    }

    #[test]
    fn the_floor_of_known_logits_is_the_last_that_is_kept() {
        let lowest = f32::NEG_INFINITY;
        assert_eq!(Floor::of_known(&mut [1.0, 3.0, lowest, 3.0], 2), Floor(3.0));
        assert_eq!(Floor::of_known(&mut [1.0, 3.0, lowest, 3.0], 4), Floor::NONE);
        assert_eq!(Floor::of_known(&mut [1.0, 3.0], 3), Floor::NONE);
        assert_eq!(Floor::of_known(&mut [1.0, f32::NAN], 1), Floor::NONE);
        assert_eq!(Floor(1.0).max(Floor::NONE), Floor(1.0));
    }

    #[test]
    fn the_nth_largest_counts_from_one_and_counts_equals() {
        let mut room = Vec::new();
        let numbers = [3.0, 9.0, -1.0, 9.0, 4.0];
        let nth: Vec<_> = (1..=6).map(|n| nth_untouched(&numbers, &[], n, &mut room)).collect();
        assert_eq!(nth, [Some(9.0), Some(9.0), Some(4.0), Some(3.0), Some(-1.0), None]);
    }

    const LOWERS: [f32; 5] = [-0.1, 0.9, 1.9, 2.9, 3.9];
    const RANGES: Ranges<'_> = Ranges { uppers: &[0.1, 1.1, 2.1, 3.1, f32::NAN], lowers: &LOWERS, are_known: true };

    /// Panels that a draw of the two best depends on, where panel `i` holds logits up to about `i`.
    fn needed(rule: DrawRule<'_>) -> Vec<usize> {
        let wish = Wish { kept: 2, rule, softcap: None };
        let mut filter = PanelFilter::default();
        filter.begin(5);
        let floor = filter.floor(RANGES, wish);
        filter.add(RANGES, wish, floor);
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
    fn a_panel_is_needed_where_a_logit_may_rise_to_the_floor() {
        let of = |edit| needed(DrawRule { edits: &[edit], ..DrawRule::default() });
        // The floor is 2.9.
        assert_eq!(of(LogitEdit::bias(7, 2.7)), [3, 4]);
        assert_eq!(of(LogitEdit::bias(7, 2.9)), [0, 3, 4]);
        assert_eq!(of(LogitEdit::penalty(64 + 7, 0.4)), [3, 4]);
        assert_eq!(of(LogitEdit::penalty(64 + 7, 0.3)), [1, 3, 4]);
    }

    #[test]
    fn the_most_promising_panels_are_those_of_the_largest_logits_under_the_rule() {
        let promising = |rule: DrawRule<'_>, count| {
            let mut filter = PanelFilter::default();
            let mut panels: Vec<_> = filter.promising(RANGES, rule, count).collect();
            panels.sort_unstable();
            panels
        };
        assert_eq!(promising(DrawRule::default(), 3), [2, 3, 4]);
        assert_eq!(promising(DrawRule::default(), 9), [0, 1, 2, 3, 4]);
        let edits = [LogitEdit::bias(7, 5.0), LogitEdit::bias(2 * 64, -5.0)];
        assert_eq!(promising(DrawRule { edits: &edits, ..DrawRule::default() }, 2), [0, 4]);
        let words = [!0, !0, 1, 0, !0, !0];
        let mask = Some(TokenMask { words: &words });
        assert_eq!(promising(DrawRule { mask, ..DrawRule::default() }, 2), [1, 2]);
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
