//! The ops that read most in a decode step, alone: `cargo bench -p kernels --bench decode_ops`.
//!
//! Products of 18 layers and attention over two sides, in the sizes of T5Gemma 2 270M-270M with int8 weights and int8
//! pages for the source, on every core. Between two passes over the layers, all caches are filled with other memory.

use std::hint::black_box;
use std::time::Instant;

use kernels::cpu::{Cpu, Isa, Pages};
use kernels::{
    AttentionOps, AttentionShape, Bandwidth, GatedRows, KvColumns, KvFormat, KvSide, LayerPages, LayerPagesMut,
    LinearRows, MatrixUse, PageShape, PageSpan, PagedAttention, PagedRows, ProductOps, Scheme, Storage, Stream,
    WeightFormat, WeightPart,
};

const LAYERS: usize = 18;
const HIDDEN: usize = 640;
const FEED_FORWARD: usize = 2048;
const SHAPE: AttentionShape = AttentionShape { heads: 4, kv_heads: 1, head_dim: 256, scale: 0.0625, softcap: None };
/// Positions of a row's own side.
const OWN: u32 = 32;
/// Rows, and positions of their sources.
const BATCHES: [(usize, u32); 5] = [(1, 256), (8, 256), (32, 256), (8, 1024), (1, 4096)];
const PASSES: usize = 24;
/// Bytes that no cache holds.
const OTHER_MEMORY: usize = 256 << 20;

fn main() -> kernels::Result<()> {
    let cpu = Cpu::new(Isa::detect(), 0);
    println!("{}; the memory gives {:.1} GB/s", cpu.describe(), cpu.bytes_per_s()? / 1e9);
    println!("{LAYERS} layers, medians of {PASSES} passes; speed of the bytes that must be read");
    let layers = (0..LAYERS as u64).map(|seed| Layer::random(&cpu, seed)).collect::<kernels::Result<Vec<_>>>()?;
    for (rows, source) in BATCHES {
        // Products do not depend on the source.
        if source == BATCHES[0].1 {
            products(&cpu, &layers, rows)?;
        }
        attention(&cpu, rows, source)?;
    }
    Ok(())
}

/// The products of a decoder layer.
struct Layer<M> {
    qkv: M,
    out: M,
    gate_up: M,
    down: M,
}

impl Layer<<Cpu as Storage>::Matrix> {
    fn random(cpu: &Cpu, seed: u64) -> kernels::Result<Self> {
        let matrix = |nth, rows, cols, usage| {
            let part = WeightPart::Random { rows, cols, seed: 4 * seed + nth, deviation: 0.02 };
            cpu.matrix(&[part], WeightFormat::Quantized(Scheme::Int8), usage)
        };
        Ok(Self {
            qkv: matrix(0, SHAPE.query_width() + 2 * SHAPE.kv_width(), HIDDEN, MatrixUse::Multiply)?,
            out: matrix(1, HIDDEN, SHAPE.query_width(), MatrixUse::Multiply)?,
            gate_up: matrix(2, 2 * FEED_FORWARD, HIDDEN, MatrixUse::Gated)?,
            down: matrix(3, HIDDEN, FEED_FORWARD, MatrixUse::Multiply)?,
        })
    }
}

fn products(cpu: &Cpu, layers: &[Layer<<Cpu as Storage>::Matrix>], rows: usize) -> kernels::Result<()> {
    let (x, heads, joined) =
        (random(cpu, rows, HIDDEN)?, random(cpu, rows, SHAPE.query_width())?, random(cpu, rows, FEED_FORWARD)?);
    let mut qkv = cpu.activations(rows, SHAPE.query_width() + 2 * SHAPE.kv_width())?;
    let (mut y, mut gate_up) = (cpu.activations(rows, HIDDEN)?, cpu.activations(rows, 2 * FEED_FORWARD)?);
    let mut gated = cpu.activations(rows, FEED_FORWARD)?;
    let all = LinearRows::first(rows);
    let bytes = |of: fn(&Layer<_>) -> &_| layers.iter().map(|layer| cpu.matrix_bytes(of(layer))).sum();
    let each = |op: &mut dyn FnMut(&Layer<_>)| median_ms(|| layers.iter().for_each(&mut *op));
    let ms = each(&mut |layer| cpu.linear(&x, &layer.qkv, all, &mut qkv));
    report("queries, keys, values", rows, ms, bytes(|layer| &layer.qkv));
    let ms = each(&mut |layer| cpu.linear(&heads, &layer.out, all, &mut y));
    report("output of attention", rows, ms, bytes(|layer| &layer.out));
    let ms = each(&mut |layer| {
        cpu.linear_geglu(&x, &layer.gate_up, all, GatedRows { gate_up: &mut gate_up, out: &mut gated });
    });
    report("gate and up", rows, ms, bytes(|layer| &layer.gate_up));
    let ms = each(&mut |layer| cpu.linear(&joined, &layer.down, all, &mut y));
    report("down", rows, ms, bytes(|layer| &layer.down));
    Ok(())
}

fn attention(cpu: &Cpu, rows: usize, source: u32) -> kernels::Result<()> {
    let [own, cross] = [(OWN, KvFormat::Bf16), (source, KvFormat::Int8)];
    let pages_of = |(tokens, format): (u32, KvFormat)| tokens.div_ceil(format.page_tokens() as u32);
    let count = rows as u32 * (pages_of(own) + pages_of(cross));
    let shape = PageShape { pages: count as usize, layers: LAYERS, kv_heads: SHAPE.kv_heads, head_dim: SHAPE.head_dim };
    let mut pages = cpu.pages(shape, &[own.1, cross.1])?;
    let tables: Vec<u32> = (0..count).collect();
    let spans = |(tokens, format), start: u32| {
        let first = move |row| start + row * pages_of((tokens, format));
        (0..rows as u32).map(|row| PageSpan { first: first(row), tokens }).collect::<Vec<_>>()
    };
    let (own_spans, cross_spans) = (spans(own, 0), spans(cross, rows as u32 * pages_of(own)));
    fill(cpu, &mut pages, PagedRows { spans: &own_spans, tables: &tables, format: own.1 })?;
    fill(cpu, &mut pages, PagedRows { spans: &cross_spans, tables: &tables, format: cross.1 })?;
    let side = |spans, format| KvSide { rows: PagedRows { spans, tables: &tables, format }, window: None };
    let attention =
        PagedAttention { shape: &SHAPE, first: side(&own_spans, own.1), second: Some(side(&cross_spans, cross.1)) };
    let (q, mut out) = (random(cpu, rows, SHAPE.query_width())?, cpu.activations(rows, SHAPE.query_width())?);
    let ms = median_ms(|| {
        for layer in 0..LAYERS {
            cpu.attend_paged(&q, attention, LayerPages { pages: &pages, layer }, &mut out);
        }
    });
    let position = 2 * SHAPE.kv_width();
    let bytes = rows * LAYERS * position * (2 * OWN as usize + source as usize);
    report(&format!("attention, source {source}"), rows, ms, bytes);
    Ok(())
}

/// Writes random keys and values to every layer.
fn fill(cpu: &Cpu, pages: &mut Pages, rows: PagedRows<'_>) -> kernels::Result<()> {
    let positions = |span: &PageSpan| {
        let first = span.first;
        (1..=span.tokens).map(move |tokens| PageSpan { first, tokens })
    };
    let ends: Vec<PageSpan> = rows.spans.iter().flat_map(positions).collect();
    let kv = random(cpu, ends.len(), 2 * SHAPE.kv_width())?;
    for layer in 0..LAYERS {
        let columns = KvColumns { rows: &kv, first: 0, key_norm: None };
        cpu.write_pages(columns, PagedRows { spans: &ends, ..rows }, LayerPagesMut { pages: &mut *pages, layer });
    }
    Ok(())
}

fn random(cpu: &Cpu, rows: usize, width: usize) -> kernels::Result<<Cpu as Storage>::Activations> {
    let mut values = vec![0.0; rows * width];
    WeightPart::Random { rows: 1, cols: values.len(), seed: 9, deviation: 1.0 }.read_row(0, &mut values);
    let mut out = cpu.activations(rows, width)?;
    cpu.upload(&values, &mut out);
    Ok(out)
}

/// Median time of a pass, in milliseconds.
fn median_ms(mut pass: impl FnMut()) -> f64 {
    let other = vec![1_u8; OTHER_MEMORY];
    let mut times: Vec<f64> = (0..PASSES)
        .map(|_| {
            black_box(other.iter().step_by(64).map(|&byte| u64::from(byte)).sum::<u64>());
            let began = Instant::now();
            pass();
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[PASSES / 2]
}

fn report(what: &str, rows: usize, ms: f64, bytes: usize) {
    println!("{rows:3} rows  {what:24} {ms:8.3} ms {:6.1} GB/s", bytes as f64 / ms / 1e6);
}
