//! A library that is loaded before the program under test, so that the test can set its wall clock, hold up its reading
//! of a checkpoint, and have its engine panic.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::answer::PATIENCE;
use crate::process::command;

/// Numbers that the library shares with the test, by their places.
const SECONDS: u64 = 0;
const FAULT: u64 = 1;
const GATE: u64 = 2;
/// Values of the gate.
const OPEN: i64 = 0;
const ARMED: i64 = 1;
const HELD: i64 = 2;

/// The library, built once.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (own, place) = (folder.join(format!("preload-{}.so", std::process::id())), folder.join("preload.so"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serving/preload.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", source, "-o"]).arg(&own);
        assert!(compiler.status().expect("there is a C compiler").success());
        fs::rename(own, &place).unwrap();
        place
    })
}

/// The world as a program under test sees it.
pub struct World {
    shared: File,
    folder: TempDir,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world");
        fs::write(&path, [0; 4096]).unwrap();
        let shared = File::options().read(true).write(true).open(path).unwrap();
        Self { shared, folder }
    }

    /// The program in this world.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("LD_PRELOAD", library()).env("ENCDEC_TEST_WORLD", self.folder.path().join("world"));
        command
    }

    /// Sets the wall clock to so many seconds after the true time.
    pub fn set_clock(&self, seconds: i64) {
        self.set(SECONDS, seconds);
    }

    /// Has the engine's thread panic when it looks at a clock for so many times more.
    pub fn break_engine(&self, looks: i64) {
        self.set(FAULT, looks);
    }

    /// Holds up the program in the middle of its checkpoint.
    pub fn hold_reading(&self) {
        self.set(GATE, ARMED);
    }

    /// Waits until it is held up.
    pub fn wait_until_held(&self) {
        let start = Instant::now();
        while self.get(GATE) != HELD {
            assert!(start.elapsed() < PATIENCE, "it does not read the checkpoint");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it read on.
    pub fn let_go(&self) {
        self.set(GATE, OPEN);
    }

    fn set(&self, place: u64, value: i64) {
        self.shared.write_all_at(&value.to_ne_bytes(), 8 * place).unwrap();
    }

    fn get(&self, place: u64) -> i64 {
        let mut bytes = [0; 8];
        self.shared.read_exact_at(&mut bytes, 8 * place).unwrap();
        i64::from_ne_bytes(bytes)
    }
}
