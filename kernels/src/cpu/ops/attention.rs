//! Attention and pages.

use crate::attention::{FullAttention, PagedAttention, STRIP_KEYS, Segment};
use crate::backend::{AttentionOps, KvColumns};
use crate::cpu::activations::{Activations, Gain};
use crate::cpu::attend_full::Full;
use crate::cpu::attend_paged::Paged;
use crate::cpu::pages::{KeyNorm, KvRows, PageWrite, Pages};
use crate::cpu::pool::locked;
use crate::cpu::processor::Cpu;
use crate::cpu::tile::Operands;
use crate::number::Precision;
use crate::paging::{LayerPages, LayerPagesMut, PageCopy, PagedRows};

impl AttentionOps for Cpu {
    fn write_pages(&self, kv: KvColumns<'_, Activations, Gain>, rows: PagedRows<'_>, to: LayerPagesMut<'_, Pages>) {
        let key_norm = kv.key_norm.map(|norm| KeyNorm { gain: &norm.gain.0, eps: norm.eps });
        let source = KvRows { values: &kv.rows.data, width: kv.rows.width, column: kv.first, key_norm };
        to.pages.write(&PageWrite { isa: self.isa, pool: &self.pool, source, rows, layer: to.layer });
    }

    fn copy_pages(&self, copies: &[PageCopy], pages: &mut Pages) {
        pages.copy(copies);
    }

    fn attend_full(
        &self,
        qkv: &Activations,
        segments: &[Segment],
        attention: FullAttention<'_>,
        out: &mut Activations,
    ) {
        let FullAttention { shape, window, precision, queries } = attention;
        let dots = precision == Precision::Bf16 && self.isa.level().multiplies_bf16();
        let operands = if dots { Operands::Bf16 } else { Operands::F32 };
        let (isa, pool, qkv, strip_keys) = (self.isa, &self.pool, &qkv.data, STRIP_KEYS);
        let full = Full { isa, pool, operands, shape, window, segments, queries, qkv, strip_keys };
        full.run(&mut locked(&self.packed_kv), &mut out.data);
    }

    fn attend_paged(
        &self,
        q: &Activations,
        attention: PagedAttention<'_>,
        from: LayerPages<'_, Pages>,
        out: &mut Activations,
    ) {
        let (isa, pool) = (self.isa, &self.pool);
        Paged { isa, pool, attention, q: &q.data, q_width: q.width, from }.run(&mut out.data);
    }
}
