//! Draws from rows of logits on the device.
//!
//! Called by the backend in `cuda`. `sample.cu` has the kernel; what a draw's parameters alone decide is computed here.

use super::Cuda;
use super::device::Device;
use super::rows::{Activations, Number};
use crate::backend;
use crate::sampling::{min_p_floor, uniform};

const THREADS: u32 = 1024;
/// Bytes of `Chooser` in `select.cuh`.
pub(super) const CHOOSER_BYTES: usize = 256 * 8 + 32 * 8 + 32 * 4 + 8 + 8;
/// What the kernel writes where logits are not numbers.
const NOTHING: u32 = u32::MAX;

#[derive(Clone, Copy)]
#[repr(C)]
struct Draw {
    top_p: f64,
    uniform: u64,
    min_weight: u64,
    row: u32,
    temperature: f32,
    top_k: u32,
    forbid_end: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Sample {
    logits: u64,
    draws: u64,
    end_ids: u64,
    out: u64,
    pitch: u32,
    vocab: u32,
    end_count: u32,
    unused: u32,
}

impl Draw {
    fn new(draw: &backend::Draw) -> Self {
        let sampling = &draw.choice.sampling;
        Self {
            top_p: f64::from(sampling.top_p),
            uniform: uniform(&draw.choice),
            min_weight: min_p_floor(sampling.min_p),
            row: draw.row,
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            forbid_end: u32::from(draw.choice.forbid_end),
        }
    }

    /// As the kernel reads it, in words.
    fn words(self) -> [u32; 10] {
        let [top_p, uniform, min_weight] =
            [self.top_p.to_bits(), self.uniform, self.min_weight].map(|bits| [bits as u32, (bits >> 32) as u32]);
        let [a, b] = top_p;
        let [c, d] = uniform;
        let [e, f] = min_weight;
        [a, b, c, d, e, f, self.row, self.temperature.to_bits(), self.top_k, self.forbid_end]
    }
}

const _: () = assert!(size_of::<Draw>() == 40);

impl<D: Device> Cuda<D> {
    pub(super) fn draw(
        &self,
        logits: &Activations<D>,
        draws: &[backend::Draw],
        end_ids: &[u32],
        out: &mut Vec<Option<u32>>,
    ) {
        let Some(last) = draws.iter().map(|draw| draw.row as usize).max() else { return };
        let words: Vec<u32> = draws.iter().flat_map(|draw| Draw::new(draw).words()).collect();
        let [draws_at, end_ids_at, out_at] = self.lists([&words, end_ids, &vec![0; draws.len()]]);
        let params = Sample {
            logits: logits.rows(0, last + 1, Number::F32),
            draws: draws_at,
            end_ids: end_ids_at,
            out: out_at,
            pitch: logits.pitch as u32,
            vocab: logits.width as u32,
            end_count: end_ids.len() as u32,
            unused: 0,
        };
        self.launch("sample", [draws.len() as u32, 1, 1], (THREADS, CHOOSER_BYTES), &params);
        let mut bytes = vec![0; draws.len() * 4];
        self.device().read(out_at, &mut bytes);
        let ids = bytes.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id));
        out.extend(ids.map(|id| (id != NOTHING).then_some(id)));
    }
}
