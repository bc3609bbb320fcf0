//! Results that are read of a source's final encoder states: a pooled state, all states, or scores of classes.
//!
//! Called once a batch went through every encoder layer. Results are float32 whatever the model computes in.

use std::ops::Range;

use kernels::{Backend, Segment};

use crate::class_head::ClassHead;
use crate::layers::StackSpace;

/// Rows that are brought to the host at once: results need little memory beside their own.
const BLOCK_ROWS: usize = 256;

/// A result that is read of a source's final states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Readout {
    /// The state of the last token, `[hidden]`.
    LastToken,
    /// The mean of all states, `[hidden]`.
    Mean,
    /// The state of every token, `[source_len, hidden]`.
    EveryToken,
    /// The head's score of every class, `[classes]`. Only models with a classification head have them.
    Classes,
}

/// A result that is wanted of one source of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadoutAsk {
    /// Rows of the source in the batch, at least one.
    pub segment: Segment,
    /// The result.
    pub readout: Readout,
}

impl ReadoutAsk {
    /// Rows of the batch whose states it needs.
    const fn rows(&self) -> Range<u32> {
        let Segment { start, len } = self.segment;
        match self.readout {
            Readout::LastToken | Readout::Classes => start + len - 1..start + len,
            Readout::Mean | Readout::EveryToken => start..start + len,
        }
    }
}

/// A row whose state is read, and the index of the result that it is read for.
#[derive(Clone, Copy)]
struct WantedRow {
    result: usize,
    row: u32,
}

/// Reads results of a lane's final states.
pub(crate) struct Reader<'a, B: Backend> {
    pub backend: &'a B,
    /// The head of a model that classifies.
    pub head: Option<&'a ClassHead>,
}

impl<B: Backend> Reader<'_, B> {
    /// Appends what is `asked` to `out`, in the order asked. Overwrites the lane's buffer of sub-layer outputs.
    ///
    /// # Panics
    /// When scores of classes are asked for and there is no head.
    pub fn read(&self, asked: &[ReadoutAsk], space: &mut StackSpace<B>, out: &mut Vec<Vec<f32>>) {
        let StackSpace { x, y, .. } = space;
        let of_result = |(result, ask): (usize, &ReadoutAsk)| ask.rows().map(move |row| WantedRow { result, row });
        let wanted: Vec<WantedRow> = asked.iter().enumerate().flat_map(of_result).collect();
        let mut readings: Vec<Reading> = asked.iter().map(Reading::new).collect();
        for block in wanted.chunks(BLOCK_ROWS) {
            let rows: Vec<u32> = block.iter().map(|wanted| wanted.row).collect();
            self.backend.gather(x, &rows, y);
            let states = self.backend.download(y, rows.len());
            for (wanted, state) in block.iter().zip(states.chunks_exact(states.len() / rows.len())) {
                readings[wanted.result].add(state);
            }
        }
        out.extend(readings.into_iter().map(|reading| match reading {
            Reading::States { numbers, readout: Readout::Classes, .. } => {
                self.head.expect("only a model with a head is asked for classes").scores(&numbers)
            }
            Reading::States { numbers, .. } => numbers,
            Reading::Sums { sums, rows } => sums.into_iter().map(|sum| (sum / f64::from(rows)) as f32).collect(),
        }));
    }
}

/// A result of which some states were read.
enum Reading {
    /// The states themselves, one after the other, for a readout of so many rows.
    States { numbers: Vec<f32>, readout: Readout, rows: usize },
    /// Their sums, column by column. Double precision keeps the error from growing with the source's length.
    Sums { sums: Vec<f64>, rows: u32 },
}

impl Reading {
    fn new(ask: &ReadoutAsk) -> Self {
        match ask.readout {
            Readout::Mean => Self::Sums { sums: Vec::new(), rows: ask.segment.len },
            readout => Self::States { numbers: Vec::new(), readout, rows: ask.rows().len() },
        }
    }

    /// Adds the state of the next row.
    fn add(&mut self, state: &[f32]) {
        match self {
            Self::States { numbers, rows, .. } => {
                if numbers.is_empty() {
                    numbers.reserve_exact(*rows * state.len());
                }
                numbers.extend_from_slice(state);
            }
            Self::Sums { sums, .. } => {
                sums.resize(state.len(), 0.0);
                sums.iter_mut().zip(state).for_each(|(sum, &number)| *sum += f64::from(number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(readout: Readout) -> Reading {
        let mut reading = Reading::new(&ReadoutAsk { segment: Segment { start: 4, len: 3 }, readout });
        [[1.0, 10.0], [2.0, 20.0], [6.0, 0.0]].iter().for_each(|state| reading.add(state));
        reading
    }

    #[test]
    fn sums_are_taken_column_by_column_and_states_are_kept_in_their_order() {
        let Reading::Sums { sums, rows } = read(Readout::Mean) else { panic!("a mean is made of sums") };
        assert_eq!((sums, rows), (vec![9.0, 30.0], 3));
        let Reading::States { numbers, .. } = read(Readout::EveryToken) else { panic!("states are kept") };
        assert_eq!(numbers, [1.0, 10.0, 2.0, 20.0, 6.0, 0.0]);
    }

    #[test]
    fn pooled_results_need_the_rows_of_their_source_only() {
        let rows = |readout| ReadoutAsk { segment: Segment { start: 4, len: 3 }, readout }.rows();
        assert_eq!((rows(Readout::LastToken), rows(Readout::Classes)), (6..7, 6..7));
        assert_eq!((rows(Readout::Mean), rows(Readout::EveryToken)), (4..7, 4..7));
    }
}
