//! Writes the seeds of a target into a folder, one file each: `seeds TARGET FOLDER`.

use std::path::PathBuf;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, folder] = arguments.as_slice() else { panic!("usage: seeds TARGET FOLDER") };
    let target = fuzz::TARGETS.into_iter().find(|target| target.name == name).expect("a target of this name");
    for (index, seed) in (target.seeds)().into_iter().enumerate() {
        std::fs::write(PathBuf::from(folder).join(format!("seed-{index}")), seed).expect("the folder can be written");
    }
}
