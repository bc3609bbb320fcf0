//! Whole numbers of a body as the engine wants them.

/// For numbers that were checked against a 32-bit range.
pub fn to_u32(number: i128) -> u32 {
    u32::try_from(number).expect("the range was checked")
}

/// For numbers that mean the same from some size on: `-1` is off as 0 is, and what no model can do is checked later.
pub fn saturated(number: i128) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// Any 64-bit integer is a seed; the random stream wants its bits.
pub fn seed_bits(number: i128) -> u64 {
    match i64::try_from(number) {
        Ok(signed) => signed.cast_unsigned(),
        Err(_) => u64::try_from(number).expect("the range was checked"),
    }
}
