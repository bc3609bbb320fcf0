//! Instruction sets: detected once, held as a value.
//!
//! Used by every op on the processor. An [`Isa`] proves that the machine has its instructions.

#[cfg(target_arch = "x86_64")]
mod amx;

use crate::error::{Error, Result};

/// An instruction set that the kernels are compiled for, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The compiler's baseline.
    Scalar,
    /// AVX2 with FMA.
    Avx2,
    /// AVX2 with 8-bit dot products, in AVX-VNNI or in AVX-512 VNNI.
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// AVX-512 with 8-bit dot products.
    Avx512Vnni,
    /// AVX-512 with 8-bit and bfloat16 dot products.
    Avx512Bf16,
    /// AVX-512 with the dot products above, and AMX: products of tiles of 8-bit integers and of bfloat16.
    Amx,
}

/// Width of the vectors that a level computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// Arrays; the compiler may do what its baseline allows.
    Scalar,
    /// 256 bits.
    V256,
    /// 512 bits.
    V512,
}

impl Level {
    /// All of them, worst first.
    pub const ALL: [Self; 7] =
        [Self::Scalar, Self::Avx2, Self::AvxVnni, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16, Self::Amx];

    /// The name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        }
    }

    /// Whether bfloat16 pairs are multiplied as they are, which rounds both operands.
    pub const fn multiplies_bf16(self) -> bool {
        matches!(self, Self::Avx512Bf16 | Self::Amx)
    }

    pub(crate) const fn vectors(self) -> Vectors {
        match self {
            Self::Scalar => Vectors::Scalar,
            Self::Avx2 | Self::AvxVnni => Vectors::V256,
            Self::Avx512 | Self::Avx512Vnni | Self::Avx512Bf16 | Self::Amx => Vectors::V512,
        }
    }

    /// Whether this machine has it.
    fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let avx512_vnni = avx512 && is_x86_feature_detected!("avx512vnni");
            let avx512_bf16 = avx512_vnni && is_x86_feature_detected!("avx512bf16");
            match self {
                Self::Scalar => true,
                Self::Avx2 => avx2,
                Self::AvxVnni => avx512_vnni || (avx2 && is_x86_feature_detected!("avxvnni")),
                Self::Avx512 => avx512,
                Self::Avx512Vnni => avx512_vnni,
                Self::Avx512Bf16 => avx512_bf16,
                Self::Amx => avx512_bf16 && amx::is_available(),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Scalar
        }
    }
}

/// A level that this machine was seen to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

impl Isa {
    /// The best level of this machine.
    pub fn detect() -> Self {
        Self::all().last().expect("every machine has the baseline")
    }

    /// A chosen level; an error where the machine lacks it.
    pub fn force(level: Level) -> Result<Self> {
        if level.is_available() {
            return Ok(Self(level));
        }
        let names: Vec<&str> = Self::all().map(|isa| isa.level().name()).collect();
        Err(Error::Unavailable { wanted: format!("the instruction set {}", level.name()), available: names.join(", ") })
    }

    /// Every level of this machine, worst first.
    pub fn all() -> impl Iterator<Item = Self> {
        Level::ALL.into_iter().filter(|level| level.is_available()).map(Self)
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
    (
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(unsafe_code)]
        $visibility fn $name(isa: $crate::isa::Isa, $($argument: $kind),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $kind),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $kind),*) $(-> $result)? { body($($argument),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512($($argument: $kind),*) $(-> $result)? { body($($argument),*) }
            match isa.level().vectors() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the `Isa` value proves that the machine has these features.
                $crate::isa::Vectors::V512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the `Isa` value proves that the machine has AVX2 and FMA.
                $crate::isa::Vectors::V256 => unsafe { avx2($($argument),*) },
                _ => body($($argument),*),
            }
        }
    };
}
pub(crate) use for_each_isa;
