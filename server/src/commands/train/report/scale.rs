//! Axes: the position of a figure, and the round numbers that label them.
//!
//! Used by the charts. Knows no picture.

/// Growth along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// By equal steps.
    Linear,
    /// By equal factors. Figures of 0 and below have no position.
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
    /// An axis that covers all figures; `None` if none has a position.
    pub fn around(growth: Growth, figures: impl Iterator<Item = f64>) -> Option<Self> {
        let (least, most) = figures
            .filter(|figure| position(growth, *figure).is_some())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), figure| (least.min(figure), most.max(figure)));
        if least > most {
            return None;
        }
        // Equal figures lie in the middle.
        let margin = if most > least { 0.0 } else { least.abs().max(1e-9) * 0.5 };
        Some(Self { growth, least: least - margin, most: most + margin })
    }

    /// Position of a figure, from 0 at the least to 1 at the most; `None` if it has none.
    pub fn share(&self, figure: f64) -> Option<f64> {
        let position = |figure| position(self.growth, figure);
        let (least, most) = (position(self.least)?, position(self.most)?);
        Some((position(figure)? - least) / (most - least))
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

fn position(growth: Growth, figure: f64) -> Option<f64> {
    match growth {
        _ if !figure.is_finite() => None,
        Growth::Linear => Some(figure),
        Growth::Logarithmic => (figure > 0.0).then(|| figure.ln()),
    }
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
    fn figures_lie_between_the_ends_and_what_has_no_position_is_left_out() {
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
}
