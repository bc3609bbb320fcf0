//! Results that are read of a source's final encoder states: a pooled state, all states, or scores of classes.
//!
//! Called once a batch went through every encoder layer. Results are float32 whatever the model computes in.

use kernels::{Backend, Segment};

use crate::class_head::ClassHead;
use crate::layers::StackSpace;

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

impl Readout {
    /// Whether the state of the last token is all that it needs.
    const fn needs_last_only(self) -> bool {
        matches!(self, Self::LastToken | Self::Classes)
    }
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
    const fn end(&self) -> u32 {
        self.segment.start + self.segment.len
    }
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
        let (of_last, of_all): (Vec<&ReadoutAsk>, Vec<&ReadoutAsk>) =
            asked.iter().partition(|ask| ask.readout.needs_last_only());
        let mut last = Vec::new();
        if !of_last.is_empty() {
            let rows: Vec<u32> = of_last.iter().map(|ask| ask.end() - 1).collect();
            self.backend.gather(x, &rows, y);
            last = self.backend.download(y, rows.len());
        }
        let rows = of_all.iter().map(|ask| ask.end() as usize).max().unwrap_or_default();
        let all = if rows == 0 { Vec::new() } else { self.backend.download(x, rows) };
        let width = last.len().checked_div(of_last.len()).or_else(|| all.len().checked_div(rows));
        let Some(width) = width else { return };
        let mut last = last.chunks_exact(width);
        for ask in asked {
            let Segment { start, len } = ask.segment;
            let mut state = || last.next().expect("a last state was read for each source that asks for it");
            let states = || &all[start as usize * width..][..len as usize * width];
            out.push(match ask.readout {
                Readout::LastToken => state().to_vec(),
                Readout::Classes => self.head.expect("only a model with a head is asked for classes").scores(state()),
                Readout::EveryToken => states().to_vec(),
                Readout::Mean => mean(states(), width),
            });
        }
    }
}

/// The mean of rows of this width. Sums are in double precision, so that it does not depend on the source's length.
fn mean(states: &[f32], width: usize) -> Vec<f32> {
    let rows = (states.len() / width) as f64;
    let mut sums = vec![0.0_f64; width];
    for state in states.chunks_exact(width) {
        sums.iter_mut().zip(state).for_each(|(sum, &number)| *sum += f64::from(number));
    }
    sums.into_iter().map(|sum| (sum / rows) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_taken_column_by_column() {
        assert_eq!(mean(&[1.0, 10.0, 2.0, 20.0, 6.0, 0.0], 2), [3.0, 10.0]);
    }
}
