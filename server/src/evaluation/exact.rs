//! Accuracy: the share of rows that are answered exactly.
//!
//! For labels, and for short texts that are compared as a whole.

/// Counts over the rows so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accuracy {
    right: u64,
    rows: u64,
}

impl Accuracy {
    /// Counts a row; white space around either text does not matter.
    pub fn add(&mut self, written: &str, wanted: &str) {
        self.right += u64::from(written.trim() == wanted.trim());
        self.rows += 1;
    }

    /// From 0 to 1; `None` without a row.
    pub fn share(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.right as f64 / self.rows as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_an_answer_does_not_matter_but_case_does() {
        let mut accuracy = Accuracy::default();
        assert_eq!(accuracy.share(), None);
        for (written, wanted) in [(" libs\n", "libs"), ("Libs", "libs"), ("lib", "libs"), ("net", "net")] {
            accuracy.add(written, wanted);
        }
        assert_eq!(accuracy.share(), Some(0.5));
    }
}
