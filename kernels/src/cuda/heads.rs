//! Attention kernels by the width of head that they are compiled for.
//!
//! Used by `attend_full` and `attend_paged`.

/// A kernel compiled for heads of up to `widest` numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadKernel {
    pub widest: usize,
    pub name: &'static str,
}

/// The first kernel that takes heads of this width. `kernels` are sorted by width.
pub(super) fn kernel_for(head_dim: usize, kernels: &[HeadKernel]) -> HeadKernel {
    assert!(head_dim.is_multiple_of(8), "heads are multiples of 8 wide");
    *kernels.iter().find(|kernel| head_dim <= kernel.widest).expect("heads are at most 256 wide")
}
