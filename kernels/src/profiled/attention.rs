//! Bytes that attention and writing to pages must move.

use super::device::Profiled;
use super::profile::Op;
use super::rows::norm_bytes;
use super::storage::{FLOAT_BYTES, ProfiledPages};
use crate::attention::{FullAttention, KvSide, PagedAttention, Segment};
use crate::backend::{AttentionOps, Backend, KvColumns, RotaryHeads, RotaryRows};
use crate::paging::{KvFormat, LayerPages, LayerPagesMut, PageCopy, PagedRows};

impl<B: Backend> Profiled<B> {
    /// Bytes of one position's keys and values in one layer.
    fn position_bytes(&self, pages: &ProfiledPages<B::Pages>, format: KvFormat) -> usize {
        self.inner.page_bytes(pages.shape, &[format]) / format.page_tokens() / pages.shape.layers.max(1)
    }

    /// Bytes of the keys and values that rows see.
    fn side_bytes(&self, pages: &ProfiledPages<B::Pages>, side: KvSide<'_>) -> usize {
        let positions: usize = (0..side.rows.spans.len()).map(|row| side.visible(row).len()).sum();
        positions * self.position_bytes(pages, side.rows.format)
    }
}

impl<B: Backend> AttentionOps for Profiled<B> {
    fn write_pages(
        &self,
        kv: KvColumns<'_, Self::Activations, Self::Gain>,
        rows: PagedRows<'_>,
        to: LayerPagesMut<'_, Self::Pages>,
    ) {
        let row_bytes = kv.rows.numbers(kv.rows.width - kv.first) + self.position_bytes(to.pages, rows.format);
        let norm_bytes = if kv.key_norm.is_some() { to.pages.shape.head_dim * FLOAT_BYTES } else { 0 };
        let kv = KvColumns { rows: &kv.rows.inner, first: kv.first, key_norm: kv.key_norm };
        let to = LayerPagesMut { pages: &mut to.pages.inner, layer: to.layer };
        let bytes = rows.spans.len() * row_bytes + norm_bytes;
        self.measure(Op::of("write_pages"), bytes, |inner| inner.write_pages(kv, rows, to));
    }

    fn rope_and_write(
        &self,
        qkv: &mut Self::Activations,
        rows: RotaryRows<'_>,
        heads: RotaryHeads<'_, Self::RopeTable, Self::Gain>,
        to: LayerPagesMut<'_, Self::Pages>,
    ) {
        let (queries, angles) = (heads.shape.query_width(), heads.shape.head_dim);
        let row_bytes = qkv.numbers(qkv.width + queries) + angles * FLOAT_BYTES;
        let page_bytes = self.position_bytes(to.pages, rows.paged.format);
        let bytes = rows.positions.len() * (row_bytes + page_bytes) + norm_bytes(heads);
        let to = LayerPagesMut { pages: &mut to.pages.inner, layer: to.layer };
        let run = |inner: &B| inner.rope_and_write(&mut qkv.inner, rows, heads, to);
        self.measure(Op::of("rope_and_write"), bytes, run);
    }

    fn copy_pages(&self, copies: &[PageCopy], pages: &mut Self::Pages) {
        let bytes = 2 * copies.len() * pages.page_bytes;
        self.measure(Op::of("copy_pages"), bytes, |inner| inner.copy_pages(copies, &mut pages.inner));
    }

    fn attend_full(
        &self,
        qkv: &Self::Activations,
        segments: &[Segment],
        attention: FullAttention<'_>,
        out: &mut Self::Activations,
    ) {
        let rows = segments.iter().map(|segment| segment.len as usize).sum();
        let bytes = qkv.bytes(rows) + out.bytes(rows);
        let run = |inner: &B| inner.attend_full(&qkv.inner, segments, attention, &mut out.inner);
        self.measure(Op::of("attend_full"), bytes, run);
    }

    fn attend_paged(
        &self,
        q: &Self::Activations,
        attention: PagedAttention<'_>,
        from: LayerPages<'_, Self::Pages>,
        out: &mut Self::Activations,
    ) {
        let rows = attention.rows();
        let kv_bytes: usize = attention.sides().map(|side| self.side_bytes(from.pages, side)).sum();
        let bytes = kv_bytes + rows * q.numbers(attention.shape.query_width()) + out.bytes(rows);
        let from = LayerPages { pages: &from.pages.inner, layer: from.layer };
        let run = |inner: &B| inner.attend_paged(&q.inner, attention, from, &mut out.inner);
        self.measure(Op::of("attend_paged"), bytes, run);
    }
}

#[cfg(test)]
mod tests {
    use crate::attention::{AttentionShape, KvSide, PagedAttention};
    use crate::backend::{AttentionOps, Storage};
    use crate::cpu::{Cpu, Isa};
    use crate::paging::{KvFormat, LayerPages, PageShape, PageSpan, PagedRows};
    use crate::profiled::{Op, Profile, Profiled};

    #[test]
    fn attention_over_two_sides_moves_the_bytes_of_both() {
        let profile = Profile::default();
        let backend = Profiled::new(Cpu::new(Isa::detect(), 1), profile.clone());
        let shape = AttentionShape { heads: 2, kv_heads: 1, head_dim: 8, scale: 1.0, softcap: None };
        let pool = PageShape { pages: 4, layers: 1, kv_heads: 1, head_dim: 8 };
        let pages = backend.pages(pool, &[KvFormat::F32, KvFormat::Int8]).unwrap();
        let (q, mut out) = (backend.activations(1, 16).unwrap(), backend.activations(1, 16).unwrap());
        let (own, source) = ([PageSpan { first: 0, tokens: 20 }], [PageSpan { first: 2, tokens: 40 }]);
        let side = |spans, format, window| KvSide { rows: PagedRows { spans, tables: &[0, 1, 2, 3], format }, window };
        let first = side(&own[..], KvFormat::F32, Some(5));
        let second = Some(side(&source[..], KvFormat::Int8, None));
        let attention = PagedAttention { shape: &shape, first, second };
        backend.attend_paged(&q, attention, LayerPages { pages: &pages, layer: 0 }, &mut out);
        // Five positions of 16 numbers, forty of 16 bytes and two scales, then the query and the output.
        let expected = 5 * 16 * 4 + 40 * (16 + 8) + 2 * 16 * 4;
        assert_eq!(profile.take()[&Op::of("attend_paged")].bytes, expected);
    }
}
