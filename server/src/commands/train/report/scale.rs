//! From a figure to its place on an axis, and the round numbers that are written beside it.
//!
//! Called by the report's charts. Knows no picture.

/// How an axis grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// By equal steps.
    Linear,
    /// By equal factors; figures that are not above 0 have no place.
    Logarithmic,
}

/// An axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    growth: Growth,
    least: f64,
    most: f64,
}

impl Scale {
    /// An axis on which all figures have their place; `None` without any.
    pub fn around(growth: Growth, figures: impl Iterator<Item = f64>) -> Option<Self> {
        let (least, most) = figures
            .filter(|figure| place(growth, *figure).is_some())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), figure| (least.min(figure), most.max(figure)));
        if least > most {
            return None;
        }
        // A line of equal figures lies in the middle.
        let margin = if most > least { 0.0 } else { least.abs().max(1e-9) * 0.5 };
        Some(Self { growth, least: least - margin, most: most + margin })
    }

    /// Where a figure is, from 0 at the least to 1 at the most; `None` when it has no place.
    pub fn share(&self, figure: f64) -> Option<f64> {
        let place = |figure| place(self.growth, figure);
        let (least, most) = (place(self.least)?, place(self.most)?);
        Some((place(figure)? - least) / (most - least))
    }

    /// Round numbers on the axis, about `count` of them.
    pub fn ticks(&self, count: usize) -> Vec<f64> {
        match self.growth {
            Growth::Linear => self.even_ticks(count),
            Growth::Logarithmic => {
                let decades = (self.least.log10().floor() as i32)..=(self.most.log10().ceil() as i32);
                let within = |tick: &f64| (self.least..=self.most).contains(tick);
                let of = |factors: &[f64]| -> Vec<f64> {
                    let all = decades.clone().flat_map(|power| factors.iter().map(move |own| own * 10_f64.powi(power)));
                    all.filter(within).collect()
                };
                let (sparse, dense) = (of(&[1.0]), of(&[1.0, 2.0, 5.0]));
                match (sparse.len() >= 3, dense.len() >= 2) {
                    (true, _) => sparse,
                    (false, true) => dense,
                    (false, false) => self.even_ticks(count),
                }
            }
        }
    }

    fn even_ticks(&self, count: usize) -> Vec<f64> {
        let rough = (self.most - self.least) / count.max(1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.least / step).ceil() as i64;
        let last = (self.most / step).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }
}

fn place(growth: Growth, figure: f64) -> Option<f64> {
    match growth {
        _ if !figure.is_finite() => None,
        Growth::Linear => Some(figure),
        Growth::Logarithmic => (figure > 0.0).then(|| figure.ln()),
    }
}

/// A number as people write it: `0.25`, `12000`, `3e-5`.
pub fn written(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let size = number.abs();
    if !(1e-3..1e6).contains(&size) {
        return trimmed(&format!("{number:.2e}"));
    }
    let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
    trimmed(&format!("{number:.decimals$}"))
}

/// Without the zeros that say nothing.
fn trimmed(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').map_or((text, None), |(digits, exponent)| (digits, Some(exponent)));
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    exponent.map_or_else(|| digits.to_owned(), |exponent| format!("{digits}e{exponent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(growth: Growth, figures: &[f64]) -> Scale {
        Scale::around(growth, figures.iter().copied()).unwrap()
    }

    #[test]
    fn ticks_are_round_numbers_within_the_figures() {
        let ticks = |figures: &[f64]| scale(Growth::Linear, figures).ticks(5);
        assert_eq!(ticks(&[0.0, 10.0]), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(&[1.0, 1200.0]), [500.0, 1000.0]);
        assert_eq!(scale(Growth::Logarithmic, &[0.05, 200.0]).ticks(5), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!(scale(Growth::Logarithmic, &[0.9, 6.0]).ticks(5), [1.0, 2.0, 5.0]);
        assert!(scale(Growth::Logarithmic, &[1.1, 1.2]).ticks(4).len() >= 2);
    }

    #[test]
    fn figures_lie_between_the_ends_and_what_has_no_place_is_left_out() {
        let linear = scale(Growth::Linear, &[f64::NAN, 2.0, 4.0, f64::INFINITY]);
        assert_eq!((linear.share(2.0), linear.share(3.0), linear.share(4.0)), (Some(0.0), Some(0.5), Some(1.0)));
        assert_eq!(linear.share(f64::NAN), None);
        let logarithmic = scale(Growth::Logarithmic, &[0.0, 1.0, 100.0]);
        assert!((logarithmic.share(10.0).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(logarithmic.share(0.0), None);
        assert_eq!(Scale::around(Growth::Linear, [f64::NAN].into_iter()), None);
        assert_eq!(scale(Growth::Linear, &[3.0, 3.0]).share(3.0), Some(0.5));
        assert_eq!(scale(Growth::Linear, &[0.0]).share(0.0), Some(0.5));
    }

    #[test]
    fn numbers_are_written_short() {
        let texts = [0.0, 0.25, 12_000.0, 3e-5, 1.5e-3, 2.0, 1_234_567.0, -0.5, 6.141_59].map(written);
        assert_eq!(texts, ["0", "0.25", "12000", "3e-5", "0.0015", "2", "1.23e6", "-0.5", "6.142"]);
    }
}
