//! Scalar functions that every implementation shares, written so that they vectorise.
//!
//! Called by all backends. `exp` is defined by its sequence of fused operations, so that every machine
//! gives the same bits; sampling depends on that.

/// Adding 1.5 * 2^23 leaves the nearest integer in the low mantissa bits.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// Natural exponential, within 2 ulp on `[-87, 88]`; 0 below, and never infinite.
///
/// Cody-Waite reduction to `|r| <= ln 2 / 2`, then a polynomial of degree 7, all in fused steps.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let p = reduced_exp(reduce(clamped, shifted - ROUND));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let value = p * power;
    if x < -87.0 { 0.0 } else { value }
}

/// `x - n * ln 2`.
#[inline(always)]
fn reduce(x: f32, n: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_145_75;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x))
}

/// The exponential of a reduced argument.
#[inline(always)]
fn reduced_exp(r: f32) -> f32 {
    let mut p = 1.0 / 5040.0;
    p = r.mul_add(p, 1.0 / 720.0);
    p = r.mul_add(p, 1.0 / 120.0);
    p = r.mul_add(p, 1.0 / 24.0);
    p = r.mul_add(p, 1.0 / 6.0);
    p = r.mul_add(p, 0.5);
    p = r.mul_add(p, 1.0);
    r.mul_add(p, 1.0)
}

/// The whole number nearest to `x / ln 2`: `exp(x)` is about two to its power.
#[inline(always)]
pub fn nearest_power(x: f32) -> f32 {
    x.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND
}

/// Two to a whole power of at most 127; 0 below the normal numbers.
#[inline(always)]
pub fn power_of_two(power: f32) -> f32 {
    // The power in the low mantissa bits is shifted to where exponents stand.
    let bits = ((power + ROUND).to_bits() << 23).wrapping_add(0x3f80_0000);
    if power < -126.0 { 0.0 } else { f32::from_bits(bits) }
}

/// `exp(x) * 2^-power` where `power` is at least [`nearest_power`] of `x`; 0 below the normal numbers. Another power
/// gives the same digits: the polynomial does not see it.
#[inline(always)]
pub fn exp_over(x: f32, power: f32) -> f32 {
    let n = nearest_power(x);
    // Numbers so large that their integers are no longer exact stay finite.
    let value = reduced_exp(reduce(x, n).clamp(-1.0, 1.0)) * power_of_two(n - power);
    if n - power < -126.0 { 0.0 } else { value }
}

/// Below this magnitude [`tanh`] is its polynomial.
pub const TANH_SMALL: f32 = 0.25;

/// Hyperbolic tangent, within 4 ulp: odd polynomial near zero, else `1 - 2 / (e^2x + 1)`.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    // Unlike a minimum, a clamped NaN stays one.
    let large = 1.0 - 2.0 / (exp(2.0 * magnitude.clamp(0.0, 20.0)) + 1.0);
    if magnitude < TANH_SMALL { tanh_small(x) } else { large.copysign(x) }
}

/// [`tanh`] of numbers below [`TANH_SMALL`] in magnitude, to the last bit.
#[inline(always)]
pub fn tanh_small(x: f32) -> f32 {
    let (magnitude, square) = (x.abs(), x * x);
    let mut p = 62.0 / 2835.0;
    p = square.mul_add(p, -17.0 / 315.0);
    p = square.mul_add(p, 2.0 / 15.0);
    p = square.mul_add(p, -1.0 / 3.0);
    (square * magnitude).mul_add(p, magnitude).copysign(x)
}

/// `cap * tanh(x / cap)`: keeps `x` within `(-cap, cap)`.
#[inline(always)]
pub fn softcap(x: f32, cap: f32) -> f32 {
    cap * tanh(x / cap)
}

/// GELU in its tanh form (`gelu_pytorch_tanh`).
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let inner = SQRT_2_OVER_PI * (0.044_715 * x * x).mul_add(x, x);
    0.5 * x * (1.0 + tanh(inner))
}

/// Frequency of rotary pair `i`, `theta^(-2i / head_dim)`, in float32 as transformers computes it.
pub fn inverse_frequency(i: usize, head_dim: usize, theta: f32) -> f32 {
    1.0 / theta.powf((2 * i) as f32 / head_dim as f32)
}

/// Lanes of a sum over a slice, whatever the width of the vectors.
pub(crate) const LANES: usize = 16;

/// The sum of all lanes, in one fixed order.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Rounds to bfloat16, to nearest even, and returns its bits. NaN stays NaN.
#[inline(always)]
pub fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    (if x.is_nan() { (bits >> 16) | 0x40 } else { rounded }) as u16
}

/// The float32 of a bfloat16's bits; exact.
#[inline(always)]
pub fn bf16_value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// `x` rounded to bfloat16 and widened again.
#[inline(always)]
pub fn round_bf16(x: f32) -> f32 {
    bf16_value(bf16_bits(x))
}

/// Philox 4x32 with 10 rounds (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011).
pub fn philox(key: u64, counter: [u32; 4]) -> [u32; 4] {
    const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    let mut keys = [key as u32, (key >> 32) as u32];
    let mut c = counter;
    for _ in 0..10 {
        let first = MULTIPLIERS[0] * u64::from(c[0]);
        let second = MULTIPLIERS[1] * u64::from(c[2]);
        c = [
            (second >> 32) as u32 ^ c[1] ^ keys[0],
            second as u32,
            (first >> 32) as u32 ^ c[3] ^ keys[1],
            first as u32,
        ];
        keys[0] = keys[0].wrapping_add(WEYL[0]);
        keys[1] = keys[1].wrapping_add(WEYL[1]);
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_follows_the_library_within_two_ulp() {
        let mut x = -86.9_f32;
        while x < 88.0 {
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.4e-7, "exp({x}) is off by {error}");
            x += 0.013_7;
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-200.0), 0.0);
        assert!(exp(1e9).is_finite());
    }

    #[test]
    fn an_exponential_over_a_power_of_two_has_the_same_digits_whatever_the_power() {
        let mut x = -700.0_f32;
        while x < 700.0 {
            let power = nearest_power(x);
            let value = exp_over(x, power);
            let expected = (f64::from(x) - f64::from(power) * std::f64::consts::LN_2).exp();
            assert!((f64::from(value) - expected).abs() / expected < 2.4e-7, "exp({x}) over 2^{power} is {value}");
            assert_eq!(exp_over(x, power + 9.0) * 512.0, value);
            assert_eq!(exp_over(x, power + 127.0), 0.0);
            x += 0.137;
        }
        assert!(exp_over(f32::NAN, 3.0).is_nan());
        assert_eq!((exp_over(f32::NEG_INFINITY, 3.0), power_of_two(f32::NEG_INFINITY)), (0.0, 0.0));
        assert!(exp_over(1e30, nearest_power(1e30)).is_finite());
    }

    #[test]
    fn tanh_follows_the_library_and_keeps_the_sign() {
        let mut x = -12.0_f32;
        while x < 12.0 {
            let expected = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - expected).abs() / expected.abs().max(1e-30);
            assert!(error < 5e-7, "tanh({x}) is off by {error}");
            x += 0.001_3;
        }
        assert_eq!(tanh(0.0), 0.0);
        assert_eq!(tanh(1e6), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn bfloat16_rounds_to_nearest_even() {
        assert_eq!(round_bf16(1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(round_bf16(1.0 + 3.0 / 256.0), 1.0 + 4.0 / 256.0);
        assert_eq!(bf16_bits(-2.0), 0xc000);
        assert!(round_bf16(f32::NAN).is_nan());
        assert_eq!(round_bf16(f32::INFINITY), f32::INFINITY);
    }

    #[test]
    fn philox_gives_the_published_vectors() {
        assert_eq!(philox(0, [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox(u64::MAX, [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox(0x299f_31d0_a409_3822, [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
