//! The copy of the output table that choices are screened with: 8-bit integers, and for each row how far the copy may
//! lie from it.
//!
//! Made by `matrix`, read by `choose`, which states the bound.
#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::panel::PANEL;
use super::parts::Parts;
use super::pool::SharedMut;
use super::quantized::{Panels8, QuantizedRows};
use super::weight_memory::Packing;
use crate::error::Result;
use crate::quantize::Scheme;

/// Norms beyond which rows are not screened: products stay far from overflow, and what instructions lose that take
/// the smallest numbers for zero (at most 1.2e-38 for each input and unit of the other side) stays below what
/// `choose` allows for.
pub(super) const LARGEST_NORM: f64 = 1e9;
/// Relative loss of the bound's float32 operations.
pub(super) const SLACK: f64 = 1.0 / (1 << 18) as f64;

/// The copy of a table, with the bounds of its rows.
pub(crate) struct Screen {
    pub(super) panels: Panels8,
    /// Norm of each row's rounding error, `[panel][column]`; infinite where a row must not be screened.
    pub(super) errors: Buffer<f32>,
    /// Norm of each row.
    pub(super) norms: Buffer<f32>,
}

impl Screen {
    /// Copies the rows of a table; `round` says what the table made of a number.
    pub(super) fn pack(by: Packing<'_>, parts: Parts<'_>, round: impl Fn(f32) -> f32 + Sync) -> Result<Self> {
        let rows = QuantizedRows { parts, scheme: Scheme::Int8 };
        let places = rows.count().next_multiple_of(PANEL);
        let mut errors = by.zeroed(places, "bounds of the output table")?;
        let mut norms = by.zeroed(places, "bounds of the output table")?;
        // What pads the last panel has no range: the panel is always multiplied.
        errors[rows.count()..].fill(f32::INFINITY);
        let (errors_out, norms_out) = (SharedMut::new(&mut errors), SharedMut::new(&mut norms));
        let panels = Panels8::pack_rounded(by, &rows, &round, |row, values, integers, scale| {
            let (error, norm) = row_bounds(values, integers, scale);
            // SAFETY: each row has a place of its own.
            unsafe {
                errors_out.slice(row..row + 1)[0] = error;
                norms_out.slice(row..row + 1)[0] = norm;
            }
        })?;
        Ok(Self { panels, errors, norms })
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + (self.errors.len() + self.norms.len()) * 4
    }
}

/// Norms of a row's rounding error and of the row itself, rounded up.
fn row_bounds(values: &[f32], integers: &[u8], scale: f32) -> (f32, f32) {
    let square = |x: f64| x * x;
    let stands_for = |q: &u8| f64::from(q.cast_signed()) * f64::from(scale);
    let error: f64 = values.iter().zip(integers).map(|(&w, q)| square(f64::from(w) - stands_for(q))).sum();
    let norm = values.iter().map(|&w| square(f64::from(w))).sum::<f64>().sqrt();
    // Written so that a norm that is not a number is refused too.
    if norm <= LARGEST_NORM {
        ((error.sqrt() * (1.0 + SLACK)) as f32, (norm * (1.0 + SLACK)) as f32)
    } else {
        (f32::INFINITY, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_rows_that_are_no_numbers_are_not_screened() {
        assert_eq!(row_bounds(&[1.0, f32::NAN], &[1, 0], f32::NAN).0, f32::INFINITY);
        assert_eq!(row_bounds(&[2.0, -1.0], &[127, 0], 2.0 / 127.0).0, (1.0 + SLACK) as f32);
    }
}
