//! Lengths in tokens: one number, or a distribution within bounds.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Normal, Uniform};
use serde::Deserialize;

/// Longest source or target that can be asked for.
const MOST_TOKENS: u32 = 10_000_000;

/// Lengths of sources or targets, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Lengths {
    /// Every length is this one.
    Fixed(u32),
    /// Lengths are drawn.
    Drawn(Drawn),
}

/// A distribution of lengths. Draws are rounded, and those outside the bounds are moved to the nearer bound.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    distribution: Shape,
    /// Mean of the lengths before the bounds apply; not for `uniform`.
    mean: Option<f64>,
    /// Standard deviation of the lengths before the bounds apply; not for `uniform`.
    deviation: Option<f64>,
    least: u32,
    most: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shape {
    Uniform,
    Normal,
    Lognormal,
}

impl TryFrom<toml::Value> for Lengths {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let lengths = match value {
            toml::Value::Integer(length) => {
                let length = u32::try_from(length).map_err(|_| format!("{length} is no length in tokens"))?;
                Self::Fixed(length)
            }
            toml::Value::Table(_) => Self::Drawn(value.try_into().map_err(|error| error.message().to_owned())?),
            _ => return Err("a length is a number, or a table with distribution, least and most".to_owned()),
        };
        lengths.check()?;
        Ok(lengths)
    }
}

impl Lengths {
    fn check(&self) -> Result<(), String> {
        let Self::Drawn(Drawn { distribution, mean, deviation, least, most }) = *self else {
            return self.check_most(self.most());
        };
        self.check_most(most)?;
        if least > most {
            return Err(format!("least ({least}) is above most ({most})"));
        }
        match (distribution, mean, deviation) {
            (Shape::Uniform, None, None) => Ok(()),
            (Shape::Uniform, ..) => Err("a uniform distribution has least and most, but no mean or deviation".into()),
            (_, Some(mean), Some(deviation)) if mean > 0.0 && deviation >= 0.0 && (mean + deviation).is_finite() => {
                Ok(())
            }
            _ => Err("a normal or lognormal distribution needs a mean above 0 and a deviation of at least 0".into()),
        }
    }

    fn check_most(&self, most: u32) -> Result<(), String> {
        let fits = most <= MOST_TOKENS;
        fits.then_some(()).ok_or_else(|| format!("{most} tokens are too many ({MOST_TOKENS} at most)"))
    }

    /// The least length, in tokens.
    pub fn least(&self) -> u32 {
        match self {
            Self::Fixed(length) => *length,
            Self::Drawn(drawn) => drawn.least,
        }
    }

    /// The greatest length, in tokens.
    pub fn most(&self) -> u32 {
        match self {
            Self::Fixed(length) => *length,
            Self::Drawn(drawn) => drawn.most,
        }
    }

    /// Draws a length, in tokens.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> u32 {
        let Self::Drawn(Drawn { distribution, mean, deviation, least, most }) = *self else { return self.most() };
        let (mean, deviation) = (mean.unwrap_or_default(), deviation.unwrap_or_default());
        let length = match distribution {
            Shape::Uniform => {
                return Uniform::new_inclusive(least, most).expect("least is at most most").sample(random);
            }
            Shape::Normal => Normal::new(mean, deviation).expect("both are finite").sample(random),
            Shape::Lognormal => {
                // The parameters of the logarithm that give the lengths this mean and deviation.
                let variance = (1.0 + (deviation / mean).powi(2)).ln();
                let log = LogNormal::new(mean.ln() - variance / 2.0, variance.sqrt());
                log.expect("both are finite").sample(random)
            }
        };
        length.round().clamp(f64::from(least), f64::from(most)) as u32
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn lengths(text: &str) -> Result<Lengths, String> {
        let table: toml::Table = format!("x = {text}").parse().unwrap();
        table["x"].clone().try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn draws_have_the_mean_and_deviation_that_were_asked_for() {
        for shape in ["normal", "lognormal"] {
            let text = format!("{{ distribution = '{shape}', mean = 400, deviation = 60, least = 1, most = 4000 }}");
            let lengths = lengths(&text).unwrap();
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let drawn: Vec<f64> = (0..20_000).map(|_| f64::from(lengths.draw(&mut random))).collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let variance = drawn.iter().map(|length| (length - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
            assert!((mean - 400.0).abs() < 2.0 && (variance.sqrt() - 60.0).abs() < 2.0, "{shape}: {mean}, {variance}");
        }
    }

    #[test]
    fn a_draw_stays_within_its_bounds() {
        let lengths = lengths("{ distribution = 'normal', mean = 10, deviation = 50, least = 5, most = 12 }").unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        assert!((0..1000).map(|_| lengths.draw(&mut random)).all(|length| (5..=12).contains(&length)));
    }

    #[test]
    fn impossible_lengths_are_refused_with_their_reason() {
        for (text, reason) in [
            ("-1", "no length"),
            ("'long'", "a number, or a table"),
            ("{ distribution = 'uniform', least = 9, most = 3 }", "above most"),
            ("{ distribution = 'uniform', least = 1, most = 3, mean = 2 }", "no mean"),
            ("{ distribution = 'normal', least = 1, most = 3, mean = 2 }", "needs a mean"),
            ("{ distribution = 'normal', least = 1, most = 3, meen = 2 }", "unknown field `meen`"),
            ("99999999", "too many"),
        ] {
            let error = lengths(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
