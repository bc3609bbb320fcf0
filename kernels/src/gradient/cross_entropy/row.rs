//! The loss of one row of logits, and their gradient, which replaces them.
//!
//! Called by `cross_entropy` for the rows of a chunk, each by one thread. Loops are written out: an adapter's closure
//! that is not inlined would be compiled for the baseline, where a fused multiply-add is a call.

use crate::gradient::lanes::{LANES, largest, sum_lanes, sum_of};
use crate::isa::for_each_isa;
use crate::math;

/// Numbers that are summed in float32 before their sum is added in float64.
const BLOCK: usize = 64 * LANES;

/// One row of logits.
pub(super) struct Row<'a> {
    /// Logits before the softcap; replaced by their gradient if that is wanted.
    pub logits: &'a mut [f32],
    pub label: usize,
    pub softcap: Option<f32>,
    pub z_loss: f32,
    pub teacher: Option<TeacherRow<'a>>,
    pub gradient: bool,
}

/// The teacher's row; its logits are working memory.
pub(super) struct TeacherRow<'a> {
    pub logits: &'a mut [f32],
    pub softcap: Option<f32>,
    pub temperature: f32,
    pub weight: f32,
}

/// Contribution of a row to the sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowLoss {
    pub loss: f64,
    pub cross_entropy: f64,
    pub correct: bool,
}

/// A softmax over a row, at a temperature.
#[derive(Clone, Copy)]
struct Softmax {
    max: f32,
    /// One over the temperature.
    inverse: f32,
    sum: f64,
}

impl Softmax {
    #[inline(always)]
    fn of(logits: &[f32], temperature: f32) -> Self {
        let (max, inverse, mut sum) = (largest(logits), 1.0 / temperature, 0.0);
        for block in logits.chunks(BLOCK) {
            sum += f64::from(sum_of(block, |logit| math::exp((logit - max) * inverse)));
        }
        Self { max, inverse, sum }
    }

    /// Logarithm of the sum of exponentials.
    #[inline(always)]
    fn log_sum(self) -> f64 {
        f64::from(self.max) * f64::from(self.inverse) + self.sum.ln()
    }

    /// The factor of exponentials that gives probabilities times `weight`.
    #[inline(always)]
    fn factor(self, weight: f32) -> f32 {
        (f64::from(weight) / self.sum) as f32
    }

    #[inline(always)]
    fn exponential(self, logit: f32) -> f32 {
        math::exp((logit - self.max) * self.inverse)
    }
}

#[inline(always)]
fn cap_all(logits: &mut [f32], softcap: Option<f32>) {
    if let Some(cap) = softcap {
        for logit in logits {
            *logit = math::softcap(*logit, cap);
        }
    }
}

/// `-sum(p_teacher * log p_student)`, both at the teacher's temperature. Both rows are capped.
#[inline(always)]
fn against_teacher(logits: &[f32], of: Softmax, teacher: &[f32], teacher_of: Softmax) -> f64 {
    let mut sum = 0.0;
    for (logits, teacher) in logits.chunks(BLOCK).zip(teacher.chunks(BLOCK)) {
        let mut lanes = [0.0; LANES];
        let ((logits, logits_rest), (teacher, teacher_rest)) =
            (logits.as_chunks::<LANES>(), teacher.as_chunks::<LANES>());
        for (logits, teacher) in logits.iter().zip(teacher) {
            for lane in 0..LANES {
                lanes[lane] += (of.max - logits[lane]) * teacher_of.exponential(teacher[lane]);
            }
        }
        for (lane, (logit, teacher)) in lanes.iter_mut().zip(logits_rest.iter().zip(teacher_rest)) {
            *lane += (of.max - logit) * teacher_of.exponential(*teacher);
        }
        sum += f64::from(sum_lanes(lanes));
    }
    // log p_student = (logit - max) / T - log(sum)
    sum * f64::from(of.inverse) / teacher_of.sum + of.sum.ln()
}

for_each_isa! {
    /// `(1 - w) CE(label) + w T^2 CE(teacher) + z (log sum)^2`.
    pub(super) fn loss(row: Row<'_>) -> RowLoss {
        let Row { logits, label, softcap, z_loss, teacher, gradient } = row;
        cap_all(logits, softcap);
        let plain = Softmax::of(logits, 1.0);
        let (log_sum, label_logit) = (plain.log_sum(), logits[label]);
        let cross_entropy = log_sum - f64::from(label_logit);
        let correct = label_logit == plain.max && logits[..label].iter().all(|&logit| logit < label_logit);
        let weight = teacher.as_ref().map_or(0.0, |teacher| teacher.weight);
        let mut loss = f64::from(1.0 - weight) * cross_entropy + f64::from(z_loss) * log_sum * log_sum;
        let inverse_cap = softcap.map_or(0.0, |cap| 1.0 / cap);
        let slope = |logit: f32| {
            let ratio = logit * inverse_cap;
            1.0 - ratio * ratio
        };
        let own = plain.factor(1.0 - weight + 2.0 * z_loss * log_sum as f32);
        if let Some(teacher) = teacher {
            cap_all(teacher.logits, teacher.softcap);
            let of = Softmax::of(logits, teacher.temperature);
            let teacher_of = Softmax::of(teacher.logits, teacher.temperature);
            let square = f64::from(teacher.temperature) * f64::from(teacher.temperature);
            loss += f64::from(weight) * square * against_teacher(logits, of, teacher.logits, teacher_of);
            if gradient {
                let share = weight * teacher.temperature;
                let (student, teaches) = (of.factor(share), teacher_of.factor(share));
                for (logit, teacher) in logits.iter_mut().zip(&*teacher.logits) {
                    let part = student * of.exponential(*logit) - teaches * teacher_of.exponential(*teacher);
                    *logit = own.mul_add(plain.exponential(*logit), part) * slope(*logit);
                }
            }
        } else if gradient {
            for logit in logits.iter_mut() {
                *logit = own * plain.exponential(*logit) * slope(*logit);
            }
        }
        if gradient {
            logits[label] -= (1.0 - weight) * slope(label_logit);
        }
        RowLoss { loss, cross_entropy, correct }
    }
}
