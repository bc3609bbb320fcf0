//! A simulation of the scheduler under load and faults over virtual time.
//!
//! The clock moves by what each step would cost, clients come and go by it, and a device without numbers runs the
//! plans. All of it follows from a seed. Every token, the order of turns, pages and the end of each request are checked
//! as it runs.
//!
//!     cargo test --workspace --test simulation -- --steps 10000000
//!     cargo test --release --workspace --test simulation -- --steps 1000000000 --seed 7
//!     cargo test --workspace --test simulation -- --seed 7 --world 4711

mod clients;
mod device;
mod dice;
mod forms;
mod load;
mod threads;
mod witness;
mod world;

use std::time::Instant;

use dice::Dice;
use world::{Tally, World};

/// Steps of an ordinary run.
const STEPS: u64 = 1_000_000;
/// Steps of a world before the next one, with other limits, begins.
const STEPS_OF_A_WORLD: u64 = 50_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, otherwise: u64| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(otherwise, |at| arguments[at + 1].parse().unwrap_or_else(|_| panic!("{flag} needs a number")))
    };
    let (steps, seed) = (number("--steps", STEPS), number("--seed", 1));
    let world = number("--world", u64::MAX);
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let began = Instant::now();
    let tally = if world < u64::MAX { live(seed, world) } else { on_all_cores(steps.div_ceil(STEPS_OF_A_WORLD), seed) };
    tally.check();
    println!("{tally:#?}\nin {:.1} s", began.elapsed().as_secs_f64());
}

/// Lives so many worlds.
fn on_all_cores(worlds: u64, seed: u64) -> Tally {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let lives_of = |thread: u64| {
        let mut tally = Tally::default();
        (thread..worlds).step_by(threads as usize).for_each(|world| tally += live(seed, world));
        tally
    };
    std::thread::scope(|scope| {
        let lives: Vec<_> = (0..threads).map(|thread| scope.spawn(move || lives_of(thread))).collect();
        let mut all = Tally::default();
        for life in lives {
            all += life.join().expect("a world failed: its number is above");
        }
        all
    })
}

/// Lives the world of this number, and names it where a check fails.
fn live(seed: u64, world: u64) -> Tally {
    let lived = std::panic::catch_unwind(|| World::new(Dice::new(seed).apart(world)).live(STEPS_OF_A_WORLD));
    lived.unwrap_or_else(|_| panic!("it was this world: --seed {seed} --world {world}"))
}
