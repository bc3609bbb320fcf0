//! A disk of its own for the program under test, which the test fills and empties.
//!
//! It is a file system in memory, mounted where only the program and a process that holds it see it. Where the system
//! does not allow that, a limit on the size of files stands in for it.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;

/// Bytes that such a file system gives at once.
pub const PAGE_BYTES: u64 = 4096;
const FILLER: &str = "filler";
/// Ways of `unshare`, and of `nsenter` to what it made, that give a process mounts of its own: as anybody, and as root.
const WAYS: [[&[&str]; 2]; 2] = [
    [&["--user", "--map-root-user", "--mount"], &["--user", "--preserve-credentials", "--mount"]],
    [&["--mount"], &["--mount"]],
];

pub struct SmallDisk {
    folder: TempDir,
    kind: Kind,
}

enum Kind {
    Mounted {
        /// The process that keeps the mount.
        holder: Child,
        enter: &'static [&'static str],
    },
    /// Most bytes of a file, and the process that runs under this limit.
    Limited { bytes: Cell<Option<u64>>, running: Cell<Option<u32>> },
}

impl SmallDisk {
    /// An empty disk.
    pub fn new(mib: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = WAYS.iter().find_map(|[make, enter]| Some((mount(folder.path(), mib, make)?, *enter)));
        let kind = match mounted {
            Some((holder, enter)) => Kind::Mounted { holder, enter },
            None => {
                eprintln!("no mounts of one's own here: a limit on the size of files stands in for a full disk");
                Kind::Limited { bytes: Cell::new(None), running: Cell::new(None) }
            }
        };
        Self { folder, kind }
    }

    /// Whether it is a disk indeed, which can be filled to the page.
    pub const fn is_real(&self) -> bool {
        matches!(self.kind, Kind::Mounted { .. })
    }

    /// Path of a file for the program.
    pub fn inside(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Path of the same file for the test.
    pub fn seen(&self, name: &str) -> PathBuf {
        match &self.kind {
            Kind::Mounted { holder, .. } => {
                let root = PathBuf::from(format!("/proc/{}/root", holder.id()));
                root.join(self.folder.path().strip_prefix("/").unwrap()).join(name)
            }
            Kind::Limited { .. } => self.folder.path().join(name),
        }
    }

    /// The system's words for a disk that is full.
    pub const fn reason(&self) -> &'static str {
        if self.is_real() { "No space left on device (os error 28)" } else { "File too large (os error 27)" }
    }

    /// Lets a command see this disk.
    pub fn give_to(&self, command: &Command) -> Command {
        let mut inside = match &self.kind {
            Kind::Mounted { holder, enter } => {
                let mut inside = Command::new("nsenter");
                inside.args(["--target", &holder.id().to_string()]).args(*enter).arg("--");
                inside
            }
            Kind::Limited { bytes, .. } => {
                let mut inside = Command::new("prlimit");
                let limit = bytes.get().map_or("unlimited".to_owned(), |bytes| bytes.to_string());
                inside.arg(format!("--fsize={limit}:")).arg("--");
                inside
            }
        };
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        inside
    }

    /// Says which process writes to it while it is filled and emptied.
    pub fn is_used_by(&self, process: u32) {
        if let Kind::Limited { running, .. } = &self.kind {
            running.set(Some(process));
        }
    }

    /// Leaves room for so many pages.
    pub fn fill(&self, pages: u64) {
        if let Kind::Limited { .. } = self.kind {
            return self.limit(Some(PAGE_BYTES * pages));
        }
        self.make_room();
        let mut filler = File::create(self.seen(FILLER)).unwrap();
        for piece in [1 << 20, PAGE_BYTES as usize] {
            while filler.write(&vec![1; piece]).is_ok_and(|count| count > 0) {}
        }
        let length = filler.metadata().unwrap().len();
        filler.set_len(length - PAGE_BYTES * pages).unwrap();
    }

    /// Takes away what was filled in.
    pub fn make_room(&self) {
        match self.kind {
            Kind::Limited { .. } => self.limit(None),
            Kind::Mounted { .. } => _ = fs::remove_file(self.seen(FILLER)),
        }
    }

    fn limit(&self, most: Option<u64>) {
        let Kind::Limited { bytes, running } = &self.kind else { return };
        bytes.set(most);
        if let Some(process) = running.get() {
            let maximum = getrlimit(Resource::Fsize).maximum;
            let limit = Rlimit { current: most.or(maximum), maximum };
            prlimit(Pid::from_raw(process.try_into().unwrap()), Resource::Fsize, limit).unwrap();
        }
    }

    /// Pages that the files below a folder take.
    pub fn pages(&self, name: &str) -> u64 {
        self.files(name).iter().map(|path| fs::metadata(path).unwrap().len().div_ceil(PAGE_BYTES)).sum()
    }

    /// Names of files below a folder that are not complete.
    pub fn halves(&self, name: &str) -> Vec<PathBuf> {
        let mut files = self.files(name);
        files.retain(|path| path.to_str().unwrap().contains("partial"));
        files
    }

    fn files(&self, name: &str) -> Vec<PathBuf> {
        let (mut files, mut folders) = (Vec::new(), vec![self.seen(name)]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Kind::Mounted { holder, .. } = &mut self.kind {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// A process that has mounted a file system of this size; none where it may not.
fn mount(folder: &Path, mib: u64, flags: &[&str]) -> Option<Child> {
    let script = format!("mount -t tmpfs -o size={mib}m,mode=755 none \"$0\" && echo mounted && exec cat");
    let mut command = Command::new("unshare");
    command.args(flags).args(["sh", "-c", &script]).arg(folder);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut said = String::new();
    BufReader::new(holder.stdout.as_mut()?).read_line(&mut said).ok()?;
    if said == "mounted\n" {
        return Some(holder);
    }
    let _ = holder.wait();
    None
}
