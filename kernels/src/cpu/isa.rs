//! Instruction sets: detected once, held as a value.
//!
//! Made by whoever builds a [`super::Cpu`]. A value of a level proves that the machine has it.

use crate::backend::{Error, Result};

/// An instruction set that the kernels are compiled for. Later ones include the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Whatever the compiler's baseline has.
    Scalar,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// AVX-512 with BF16 dot products.
    Avx512Bf16,
}

impl Level {
    /// All of them, lowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Avx512Bf16];

    /// The name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
        }
    }
}

/// A level that this machine was seen to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

impl Isa {
    /// The best level of this machine.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 && is_x86_feature_detected!("avx512bf16") {
                return Self(Level::Avx512Bf16);
            }
            if avx512 {
                return Self(Level::Avx512);
            }
            if avx2 {
                return Self(Level::Avx2);
            }
        }
        Self(Level::Scalar)
    }

    /// A chosen level; an error where the machine lacks it.
    pub fn force(level: Level) -> Result<Self> {
        let best = Self::detect();
        if level <= best.0 {
            return Ok(Self(level));
        }
        Err(Error::Unavailable {
            wanted: format!("the instruction set {}", level.name()),
            available: best.0.name().into(),
        })
    }

    /// Every level of this machine, lowest first.
    pub fn all() -> impl Iterator<Item = Self> {
        let best = Self::detect().0;
        Level::ALL.into_iter().filter(move |&level| level <= best).map(Self)
    }

    /// The level.
    pub const fn level(self) -> Level {
        self.0
    }
}

/// Compiles a plain function once for each vector width and dispatches on an [`Isa`].
///
/// The body is ordinary Rust over arrays and slices; the compiler vectorises each copy. Results are the same
/// bits in every copy as long as the body fixes the order of its sums and uses `mul_add` where it wants one.
macro_rules! for_each_isa {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(unsafe_code)]
        $visibility fn $name(isa: $crate::cpu::isa::Isa, $($argument: $kind),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $kind),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $kind),*) $(-> $result)? { body($($argument),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512($($argument: $kind),*) $(-> $result)? { body($($argument),*) }
            match isa.level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the `Isa` value proves that the machine has these features.
                $crate::cpu::isa::Level::Avx512 | $crate::cpu::isa::Level::Avx512Bf16 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::cpu::isa::Level::Avx2 => unsafe { avx2($($argument),*) },
                _ => body($($argument),*),
            }
        }
    };
}
pub(crate) use for_each_isa;
