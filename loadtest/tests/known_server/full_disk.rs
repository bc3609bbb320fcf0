//! A full disk under the files of a run: what was measured is told all the same, and earlier reports stay whole.

use std::process::Command;

use crate::mock::{Mock, Script};
use crate::program::output;

#[test]
fn a_disk_that_takes_no_byte_costs_no_figure_and_no_earlier_report() {
    let (mock, folder) = (Mock::start(Script::default()), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let flags = ["--url", &mock.url(), "--concurrency", "1", "--requests", "2"].map(str::to_owned);
    for (flag, name) in [("--json", "figures.json"), ("--html", "page.html"), ("--jsonl", "requests.jsonl")] {
        std::fs::write(path(name), "earlier").unwrap();
        // A limit on the size of files stands in for a full disk.
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_loadtest")]);
        let output = limited.args(&flags).args([flag, &path(name)]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(&format!("cannot write {}", path(name))) && errors.contains("make room"), "{errors}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("2 whole, 0 failed"), "the figures are printed");
        let kept = std::fs::read_to_string(path(name)).unwrap();
        // The log of requests is written while they run, in the place of the earlier one.
        assert_eq!(kept, if name == "requests.jsonl" { "" } else { "earlier" });
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing half is left");
    // A device that is always full.
    let full = output(&[&flags.each_ref().map(String::as_str)[..], &["--json", "/dev/full"]].concat());
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8(full.stderr).unwrap().contains("No space left on device"));
}
