//! In the place of AMX on other processors: there are no tiles.

#![allow(unsafe_code)]

use std::convert::Infallible;
use std::marker::PhantomData;

use crate::cpu::panel::PANEL;
use crate::isa::Isa;

/// Rows of a block.
pub const ROWS: usize = super::TILE_ROWS;

/// Rows of operands times a panel.
#[expect(dead_code, reason = "no block is ever multiplied here")]
pub struct Block {
    pub x: *const u32,
    pub x_stride: usize,
    pub rows: usize,
    pub panel: *const u32,
    pub units: usize,
    pub streams: bool,
}

impl Block {
    /// No product can be taken.
    pub const fn takes(_: usize) -> bool {
        false
    }
}

/// There are none.
pub struct Tiles<T>(Infallible, PhantomData<T>);

impl<T> Tiles<T> {
    pub fn new(isa: Isa) -> Self {
        unreachable!("{} has no tiles", isa.level().name());
    }

    /// Is never called.
    ///
    /// # Safety
    /// None is needed.
    pub unsafe fn sums(&mut self, _: &Block, _: impl Fn(usize, &mut [T; PANEL])) -> &[[T; PANEL]] {
        match self.0 {}
    }
}
