//! Whether AMX's tiles can be used: the processor has them, the system keeps them, and lets this process use them.
//!
//! Called by `isa`, once for each look at what the machine has.
#![allow(unsafe_code)]

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

/// Bits of leaf 7's `edx`: tiles, and products of their bytes.
const TILES: u32 = 1 << 24;
const BYTES: u32 = 1 << 25;
/// Bit of leaf 1's `ecx`: programs may read which registers the system keeps.
const OSXSAVE: u32 = 1 << 27;
/// Registers that the system has to keep: the tiles' shapes and the tiles.
const KEPT: u64 = 1 << 17 | 1 << TILE_DATA;
/// Linux's number of the tiles among the registers.
const TILE_DATA: u32 = 18;

/// Whether this process may use tiles of bytes. The first call asks the system for them.
pub fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_tiles() && are_granted())
}

fn has_tiles() -> bool {
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: the system has enabled the instruction.
    let kept = unsafe { kept_registers() };
    __cpuid_count(7, 0).edx & (TILES | BYTES) == TILES | BYTES && kept & KEPT == KEPT
}

#[target_feature(enable = "xsave")]
fn kept_registers() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for the tiles, for all threads of the process: 8 KiB each, which it keeps from the first use on.
#[cfg(target_os = "linux")]
fn are_granted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    // SAFETY: the call reads and writes no memory of this program.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, libc::c_ulong::from(TILE_DATA)) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn are_granted() -> bool {
    false
}
