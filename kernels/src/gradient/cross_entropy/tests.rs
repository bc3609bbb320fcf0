//! Cross-entropy against its textbook form.

use super::*;
use crate::gradient::tests::{hold_gradient, numbers, on_threads, wide};

fn log_softmax(logits: &[f64]) -> (Vec<f64>, f64) {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = max + logits.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    (logits.iter().map(|x| x - log_sum).collect(), log_sum)
}

fn logits(state: &[f64], table: &[f64], softcap: Option<f32>) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(state).map(|(a, b)| a * b).sum::<f64>();
    let cap = |x: f64| softcap.map_or(x, |cap| f64::from(cap) * (x / f64::from(cap)).tanh());
    table.chunks(state.len()).map(dot).map(cap).collect()
}

fn textbook(ask: &CrossEntropy<'_>, states: &[f64], table: &[f64]) -> f64 {
    let width = ask.head.width;
    let row = |(index, state): (usize, &[f64])| {
        let logits_of_row = logits(state, table, ask.head.softcap);
        let (log_p, log_sum) = log_softmax(&logits_of_row);
        let label = -log_p[ask.labels[index] as usize];
        let z = f64::from(ask.z_loss) * log_sum * log_sum;
        let Some(teacher) = ask.teacher else {
            return label + z;
        };
        let (weight, temperature) = (f64::from(teacher.weight), f64::from(teacher.temperature));
        let soften = |logits: Vec<f64>| log_softmax(&logits.iter().map(|x| x / temperature).collect::<Vec<_>>()).0;
        let teacher_width = teacher.head.width;
        let teacher_state = wide(&teacher.head.states[index * teacher_width..][..teacher_width]);
        let teaches = soften(logits(&teacher_state, &wide(teacher.head.table), teacher.head.softcap));
        let learns = soften(logits_of_row);
        let soft = -teaches.iter().zip(&learns).map(|(t, l)| t.exp() * l).sum::<f64>();
        (1.0 - weight) * label + weight * temperature * temperature * soft + z
    };
    states.chunks(width).enumerate().map(row).sum()
}

#[test]
fn the_loss_and_its_gradients_follow_the_textbook() {
    let (rows, width, teacher_width, vocab) = (5, 7, 3, 37);
    let (states, table) = (numbers(rows * width, 1), numbers(vocab * width, 2));
    let (teacher_states, teacher_table) = (numbers(rows * teacher_width, 3), numbers(vocab * teacher_width, 4));
    let labels = [0, 36, 5, 5, 17];
    for (softcap, z_loss, teacher) in
        [(None, 0.0, None), (Some(3.0), 0.01, None), (Some(3.0), 0.01, Some((2.0, 0.4))), (None, 0.0, Some((0.7, 1.0)))]
    {
        let head = Head { states: &states, table: &table, width, softcap };
        let teacher = teacher.map(|(temperature, weight)| {
            let softcap = Some(2.0);
            let head = Head { states: &teacher_states, table: &teacher_table, width: teacher_width, softcap };
            Teacher { head, temperature, weight }
        });
        let ask = CrossEntropy { head, labels: &labels, z_loss, teacher, for_states: true, for_table: true };
        let out = cross_entropy(&ask);
        let expected = textbook(&ask, &wide(&states), &wide(&table));
        assert!((out.loss - expected).abs() < 1e-5 * expected.abs(), "{} instead of {expected}", out.loss);
        let plain = CrossEntropy { z_loss: 0.0, teacher: None, ..ask };
        let expected = textbook(&plain, &wide(&states), &wide(&table));
        assert!((out.cross_entropy - expected).abs() < 1e-5 * expected.abs());
        hold_gradient(&out.d_states, &states, |states| textbook(&ask, states, &wide(&table)));
        hold_gradient(&out.d_table, &table, |table| textbook(&ask, &wide(&states), table));
        let without = cross_entropy(&CrossEntropy { for_states: false, for_table: false, ..ask });
        assert_eq!((without.loss, without.d_states.len(), without.d_table.len()), (out.loss, 0, 0));
    }
}

#[test]
fn rows_of_several_chunks_add_up_on_any_number_of_threads() {
    let (rows, width, vocab) = (1100, 4, 19);
    let (states, table) = (numbers(rows * width, 1), numbers(vocab * width, 2));
    let labels: Vec<u32> = (0..rows as u32).map(|row| row * 7 % vocab as u32).collect();
    let head = Head { states: &states, table: &table, width, softcap: None };
    let ask = CrossEntropy { head, labels: &labels, z_loss: 0.0, teacher: None, for_states: true, for_table: true };
    let out = on_threads(1, || cross_entropy(&ask));
    assert_eq!(out, on_threads(3, || cross_entropy(&ask)));
    let expected = textbook(&ask, &wide(&states), &wide(&table));
    assert!((out.loss - expected).abs() < 1e-5 * expected);
    let best = |state: &[f64]| {
        let logits = logits(state, &wide(&table), None);
        (0..vocab).fold(0, |best, id| if logits[id] > logits[best] { id } else { best })
    };
    let states = wide(&states);
    let correct = states.chunks(width).zip(&labels).filter(|(state, label)| best(state) == **label as usize);
    assert_eq!(out.correct, correct.count());
}

#[test]
fn of_equal_logits_the_first_is_the_answer() {
    let head = Head { states: &[1.0, 1.0], table: &[2.0, 2.0, 1.0], width: 1, softcap: None };
    let ask = CrossEntropy { head, labels: &[0, 1], z_loss: 0.0, teacher: None, for_states: false, for_table: false };
    assert_eq!(cross_entropy(&ask).correct, 1);
}

#[test]
fn no_rows_have_no_loss() {
    let head = Head { states: &[], table: &[1.0; 6], width: 2, softcap: None };
    let ask = CrossEntropy { head, labels: &[], z_loss: 0.0, teacher: None, for_states: true, for_table: true };
    let out = cross_entropy(&ask);
    assert_eq!((out.loss, out.d_states, out.d_table), (0.0, vec![], vec![0.0; 6]));
}
