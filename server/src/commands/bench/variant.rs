//! The arithmetics that there are to compare, by the names that tables give them.
//!
//! Used by every kind of bench. The only place that lists them.

use kernels::Precision;

use crate::config::ModelChoice;

/// One arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Its name in tables.
    pub name: &'static str,
    precision: Precision,
}

impl Variant {
    /// All, in the order in which they are measured and shown.
    pub const ALL: [Self; 2] =
        [Self { name: "f32", precision: Precision::F32 }, Self { name: "bf16", precision: Precision::Bf16 }];

    /// The one that these settings choose.
    pub fn of(choice: &ModelChoice) -> Self {
        let is_chosen = |variant: &Self| variant.precision == choice.precision;
        Self::ALL.into_iter().find(is_chosen).expect("every arithmetic that can be chosen is listed")
    }

    /// Sets it.
    pub fn choose(self, choice: &mut ModelChoice) {
        choice.precision = self.precision;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_variant_is_found_again_in_the_settings_that_it_makes() {
        let mut choice = Config::from_layers(Vec::new()).unwrap().model;
        for variant in Variant::ALL {
            variant.choose(&mut choice);
            assert_eq!(Variant::of(&choice), variant);
        }
    }
}
