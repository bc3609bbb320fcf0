//! The memory's own speed: the floor that a decode step is measured against.
//!
//! Called by benchmarks. Reads a buffer far larger than any cache with all threads, as the products do.

use std::hint::black_box;
use std::time::Instant;

use super::buffer::Buffer;
use super::pool::{Pool, RowsMut};
use crate::error::Result;
use crate::isa::{Isa, for_each_isa};

const WORDS: usize = 1 << 28;
const PASSES: usize = 5;

for_each_isa! {
    fn sum(words: &[u32]) -> u32 {
        let mut lanes = [0_u32; 64];
        for chunk in words.as_chunks::<64>().0 {
            for lane in 0..64 {
                lanes[lane] = lanes[lane].wrapping_add(chunk[lane]);
            }
        }
        lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
    }
}

/// The best of a few passes over 1 GiB.
pub(super) fn read_bytes_per_s(isa: Isa, pool: &Pool) -> Result<f64> {
    let mut buffer = Buffer::<u32>::zeroed(WORDS, "measuring the memory")?;
    pool.split_rows(RowsMut { data: &mut buffer, width: 1 }, WORDS, 1, |_, words| words.fill(1));
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let start = Instant::now();
        pool.split(WORDS, 1, |share| {
            black_box(sum(isa, &buffer[share]));
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok((WORDS * 4) as f64 / best)
}
