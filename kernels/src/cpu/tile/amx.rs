//! Products by AMX: up to 32 rows by the 64 columns of a panel, 64 bytes of inputs an instruction.
//!
//! Called by `tile` and `tile::integer`. A panel lies in memory as the tiles read it: 16 words of inputs below each
//! other, 16 columns side by side; a word holds four bytes or a pair of bfloat16. Sums of bytes are exact. Those of
//! bfloat16 are taken in the order of the inputs, 32 an instruction, whatever the number of rows.
#![allow(unsafe_code)]

use std::arch::asm;
use std::marker::PhantomData;

use crate::cpu::panel::PANEL;
use crate::isa::{Isa, Level};

/// Rows of a block.
pub const ROWS: usize = 32;
/// Words of inputs that an instruction takes.
pub const UNITS: usize = 16;
/// Rows of a tile, which has 64 bytes in each.
const TILE_ROWS: usize = 16;

/// Numbers of a block, `[row][column]`.
#[repr(C, align(64))]
struct Sums<T>([[T; PANEL]; ROWS]);

/// The form of eight tiles as `ldtilecfg` reads it: palette 1, 16 rows of 64 bytes each.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static WHOLE_TILES: Shapes = {
    let mut shapes = Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let mut tile = 0;
    while tile < 8 {
        (shapes.row_bytes[tile], shapes.rows[tile]) = (64, TILE_ROWS as u8);
        tile += 1;
    }
    shapes
};

/// Rows of operands times a panel.
#[derive(Clone, Copy)]
pub struct Block {
    /// First row of operands. Rows that do not begin with a line of the cache take four times as long.
    pub x: *const u32,
    /// Words from row to row.
    pub x_stride: usize,
    /// Rows, 1 to [`ROWS`]. As many are read as the next multiple of 16.
    pub rows: usize,
    /// The panel: `units * PANEL` words.
    pub panel: *const u32,
    /// Words of a column: a multiple of [`UNITS`], above zero.
    pub units: usize,
    /// Whether the panel, and what follows it, has to come from memory: it is asked for ahead of time then.
    pub streams: bool,
}

impl Block {
    /// Whether products over so many words of inputs can be taken.
    pub const fn takes(units: usize) -> bool {
        units > 0 && units.is_multiple_of(UNITS)
    }
}

/// Numbers that tiles sum up.
pub trait Number: Copy + Default {
    /// Adds 16 rows by all columns to the sums.
    const FEW: Run;
    /// Adds 32 rows by half of the columns to the sums.
    const MANY: Run;
}

/// Signed bytes of rows times unsigned bytes of panels.
impl Number for i32 {
    const FEW: Run = bytes_16;
    const MANY: Run = bytes_32;
}

/// Pairs of bfloat16 on both sides.
impl Number for f32 {
    const FEW: Run = bf16_16;
    const MANY: Run = bf16_32;
}

/// Tiles that the thread may use as long as this lives. A thread has one such value at a time: with the first that is
/// dropped, its tiles are gone.
pub struct Tiles<T> {
    sums: Sums<T>,
    /// The registers are those of one thread.
    of_thread: PhantomData<*const ()>,
}

impl<T: Number> Tiles<T> {
    /// Sets the thread's tiles up.
    pub fn new(isa: Isa) -> Self {
        assert!(isa.level() == Level::Amx, "{} has no tiles", isa.level().name());
        // SAFETY: the `Isa` proves the instructions; the shapes are those of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE_TILES, options(nostack, preserves_flags, readonly)) };
        Self { sums: Sums([[T::default(); PANEL]; ROWS]), of_thread: PhantomData }
    }

    /// Sums of each row and column of the panel, added to what `start` writes for each row.
    ///
    /// # Safety
    /// The pointers of the block must be readable as its fields say.
    pub unsafe fn sums(&mut self, block: &Block, start: impl Fn(usize, &mut [T; PANEL])) -> &[[T; PANEL]] {
        let Block { x, x_stride, rows, panel, units, streams } = *block;
        debug_assert!(Block::takes(units) && (1..=ROWS).contains(&rows));
        self.sums.0[..rows].iter_mut().enumerate().for_each(|(row, sums)| start(row, sums));
        let out = self.sums.0.as_mut_ptr().cast::<u32>();
        let ahead = if streams { Ahead::of(panel) } else { Ahead::nothing(out) };
        // SAFETY: by the caller's promise; the tiles were set up; halves of the columns stay inside panel and sums.
        unsafe {
            if rows <= TILE_ROWS {
                (T::FEW)(x, x_stride, panel, units / UNITS, out, ahead);
            } else {
                (T::MANY)(x, x_stride, panel, units / UNITS, out, ahead);
                let half = PANEL / 2;
                (T::MANY)(x, x_stride, panel.add(half), units / UNITS, out.add(half), Ahead::nothing(out));
            }
        }
        &self.sums.0[..rows]
    }
}

impl<T> Drop for Tiles<T> {
    fn drop(&mut self) {
        // SAFETY: whoever made this had the instructions. Registers in their first state cost no switch of threads.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// Memory that is asked for, at each instruction over the inputs.
#[derive(Clone, Copy)]
pub struct Ahead {
    first: *const u32,
    /// Bytes to what the next instruction asks for.
    step: usize,
}

/// Instructions over the inputs that pass until what was asked for is needed.
const STEPS_AHEAD: usize = 4;

impl Ahead {
    /// The words of a panel that are read some instructions later.
    fn of(panel: *const u32) -> Self {
        Self { first: panel.wrapping_add(STEPS_AHEAD * UNITS * PANEL), step: UNITS * PITCH }
    }

    /// The words from here on, which are in the cache anyway.
    fn nothing(cached: *const u32) -> Self {
        Self { first: cached, step: 0 }
    }
}

/// Operands, the words between their rows, panel, instructions over the inputs, sums, memory to ask for.
// SAFETY: whoever calls one promises that operands, panel and sums are as long as `Tiles::sums` says.
pub type Run = unsafe fn(*const u32, usize, *const u32, usize, *mut u32, Ahead);

/// Bytes from one row of a panel to the next, and of the sums.
const PITCH: usize = 4 * PANEL;

/// Asks for 16 lines of the cache, from so many bytes after `ahead` on.
macro_rules! ask {
    ($from:literal) => {
        concat!(
            ".irp line, 0, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960\n",
            "prefetcht1 [{ahead} + ",
            $from,
            " + \\line]\n.endr"
        )
    };
}

/// The two runs for an instruction that multiplies tiles. They change the eight registers and `out` alone.
macro_rules! runs {
    ($few:ident, $many:ident, $multiply:literal) => {
        /// 16 rows by all columns of a panel.
        unsafe fn $few(x: *const u32, x_stride: usize, panel: *const u32, steps: usize, out: *mut u32, ahead: Ahead) {
            // SAFETY: by the caller's promise.
            unsafe {
                asm!(
                    "tileloadd tmm0, [{out} + {pitch}]",
                    "tileloadd tmm1, [{out} + {pitch} + 64]",
                    "tileloadd tmm2, [{out} + {pitch} + 128]",
                    "tileloadd tmm3, [{out} + {pitch} + 192]",
                    "2:",
                    "tileloadd tmm4, [{x} + {stride}]",
                    "tileloadd tmm5, [{panel} + {pitch}]",
                    concat!($multiply, " tmm0, tmm4, tmm5"),
                    ask!(0),
                    "tileloadd tmm6, [{panel} + {pitch} + 64]",
                    concat!($multiply, " tmm1, tmm4, tmm6"),
                    ask!(1024),
                    "tileloadd tmm7, [{panel} + {pitch} + 128]",
                    concat!($multiply, " tmm2, tmm4, tmm7"),
                    ask!(2048),
                    "tileloadd tmm5, [{panel} + {pitch} + 192]",
                    concat!($multiply, " tmm3, tmm4, tmm5"),
                    ask!(3072),
                    "add {x}, 64",
                    "add {panel}, {step}",
                    "add {ahead}, {ahead_step}",
                    "dec {steps}",
                    "jnz 2b",
                    "tilestored [{out} + {pitch}], tmm0",
                    "tilestored [{out} + {pitch} + 64], tmm1",
                    "tilestored [{out} + {pitch} + 128], tmm2",
                    "tilestored [{out} + {pitch} + 192], tmm3",
                    x = inout(reg) x => _,
                    stride = in(reg) 4 * x_stride,
                    panel = inout(reg) panel => _,
                    pitch = in(reg) PITCH,
                    step = const UNITS * PITCH,
                    steps = inout(reg) steps => _,
                    ahead = inout(reg) ahead.first => _,
                    ahead_step = in(reg) ahead.step,
                    out = in(reg) out,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }

        /// 32 rows by 32 columns: each of four tiles that are loaded is multiplied twice.
        unsafe fn $many(x: *const u32, x_stride: usize, panel: *const u32, steps: usize, out: *mut u32, ahead: Ahead) {
            // SAFETY: by the caller's promise.
            unsafe {
                asm!(
                    "tileloadd tmm0, [{out} + {pitch}]",
                    "tileloadd tmm1, [{out} + {pitch} + 64]",
                    "tileloadd tmm2, [{lower_out} + {pitch}]",
                    "tileloadd tmm3, [{lower_out} + {pitch} + 64]",
                    "2:",
                    "tileloadd tmm6, [{panel} + {pitch}]",
                    "tileloadd tmm4, [{x} + {stride}]",
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    ask!(0),
                    "tileloadd tmm7, [{panel} + {pitch} + 64]",
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    ask!(1024),
                    "tileloadd tmm5, [{lower_x} + {stride}]",
                    concat!($multiply, " tmm2, tmm5, tmm6"),
                    ask!(2048),
                    concat!($multiply, " tmm3, tmm5, tmm7"),
                    ask!(3072),
                    "add {x}, 64",
                    "add {lower_x}, 64",
                    "add {panel}, {step}",
                    "add {ahead}, {ahead_step}",
                    "dec {steps}",
                    "jnz 2b",
                    "tilestored [{out} + {pitch}], tmm0",
                    "tilestored [{out} + {pitch} + 64], tmm1",
                    "tilestored [{lower_out} + {pitch}], tmm2",
                    "tilestored [{lower_out} + {pitch} + 64], tmm3",
                    x = inout(reg) x => _,
                    lower_x = inout(reg) x.add(TILE_ROWS * x_stride) => _,
                    stride = in(reg) 4 * x_stride,
                    panel = inout(reg) panel => _,
                    pitch = in(reg) PITCH,
                    step = const UNITS * PITCH,
                    steps = inout(reg) steps => _,
                    ahead = inout(reg) ahead.first => _,
                    ahead_step = in(reg) ahead.step,
                    out = in(reg) out,
                    lower_out = in(reg) out.add(TILE_ROWS * PANEL),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

runs!(bytes_16, bytes_32, "tdpbsud");
runs!(bf16_16, bf16_32, "tdpbf16ps");
