//! Memory that this process may take, by its control groups and the machine.
//!
//! Read by `loading` before and after the weights are loaded. Works on the contents of files; what follows from them is
//! decided elsewhere.

use std::path::{Path, PathBuf};

/// Folders of the control groups, by version.
const UNIFIED: &str = "/sys/fs/cgroup";
const HYBRID: &str = "/sys/fs/cgroup/unified";
const VERSION_1: &str = "/sys/fs/cgroup/memory";
/// Value that means no limit in version 1: the largest number of whole pages, whatever their size.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// Memory figures of the system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryBounds {
    /// The lowest limit of the control groups; a process that exceeds it is killed.
    pub limit: Option<MemoryLimit>,
    /// Memory that the machine could give now without swapping.
    pub available: Option<u64>,
    /// Memory of this process, without the files that it reads.
    pub resident: Option<u64>,
}

/// A limit in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The most that all processes of the group may take.
    pub bytes: u64,
    /// Where it is set.
    pub file: PathBuf,
}

impl MemoryBounds {
    /// Reads the present figures. A figure that cannot be read is `None`.
    pub fn read() -> Self {
        Self::from_files(&|path| std::fs::read_to_string(path).ok())
    }

    /// Figures from the contents that `read` gives for these files.
    pub fn from_files(read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let status = read(Path::new("/proc/self/status")).unwrap_or_default();
        let own = bytes(&status, "RssAnon").map(|own| own + bytes(&status, "RssShmem").unwrap_or(0));
        Self {
            limit: limit_files(&read(Path::new("/proc/self/cgroup")).unwrap_or_default())
                .into_iter()
                .filter_map(|file| Some(MemoryLimit { bytes: parse_limit(&read(&file)?)?, file }))
                .min_by_key(|limit| limit.bytes),
            available: read(Path::new("/proc/meminfo")).and_then(|text| bytes(&text, "MemAvailable")),
            resident: own.or_else(|| bytes(&status, "VmRSS")),
        }
    }
}

/// Files that may hold a limit, of the groups named in `/proc/self/cgroup` and of those that they are in. Inside a
/// container the groups may be named as they are outside; then only the roots exist.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (roots, name): (&[&str], _) = match controllers {
            "" => (&[UNIFIED, HYBRID], "memory.max"),
            of if of.split(',').any(|controller| controller == "memory") => (&[VERSION_1], "memory.limit_in_bytes"),
            _ => continue,
        };
        for root in roots {
            let group = Path::new(group.trim_start_matches('/'));
            files.extend(group.ancestors().map(|ancestor| Path::new(root).join(ancestor).join(name)));
        }
    }
    files
}

fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < NO_LIMIT_BYTES)
}

fn bytes(text: &str, name: &str) -> Option<u64> {
    kibibytes(text, name).map(|kibibytes| kibibytes * 1024)
}

/// A number of kibibytes out of `/proc/self/status` or `/proc/meminfo`.
pub fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn bounds(files: &[(&str, &str)]) -> MemoryBounds {
        MemoryBounds::from_files(&|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, content)| (*content).to_owned())
        })
    }

    fn limit(files: &[(&str, &str)]) -> Option<(u64, String)> {
        bounds(files).limit.map(|limit| (limit.bytes, limit.file.display().to_string()))
    }

    #[test]
    fn the_lowest_limit_of_a_group_and_those_around_it_holds() {
        let group = ("/proc/self/cgroup", "0::/system.slice/encdec.service\n");
        let own = "/sys/fs/cgroup/system.slice/encdec.service/memory.max";
        let around = "/sys/fs/cgroup/system.slice/memory.max";
        assert_eq!(limit(&[group, (own, "104857600\n"), (around, "max\n")]), Some((100 * MIB, own.to_owned())));
        assert_eq!(limit(&[group, (own, "max\n"), (around, "52428800\n")]), Some((50 * MIB, around.to_owned())));
        assert_eq!(limit(&[group, (own, "104857600"), (around, "52428800")]), Some((50 * MIB, around.to_owned())));
        assert_eq!(limit(&[group, (own, "max\n"), (around, "max\n")]), None);
    }

    #[test]
    fn a_container_that_sees_its_group_as_the_root_or_by_its_name_outside_finds_its_limit() {
        let file = ("/sys/fs/cgroup/memory.max", "1073741824\n");
        for group in ["0::/\n", "0::/docker/0123abcd\n", "0::/../../kubepods/pod1\n"] {
            assert_eq!(limit(&[("/proc/self/cgroup", group), file]).unwrap().0, 1024 * MIB, "{group}");
        }
    }

    #[test]
    fn version_1_has_a_number_for_no_limit() {
        let groups = "12:cpu,cpuacct:/docker/ab\n5:memory:/docker/ab\n1:name=systemd:/docker/ab\n0::/system.slice\n";
        let groups = ("/proc/self/cgroup", groups);
        let root = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        let own = "/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes";
        assert_eq!(limit(&[groups, (root, "536870912\n")]).unwrap().0, 512 * MIB);
        assert_eq!(limit(&[groups, (own, "268435456\n"), (root, "9223372036854771712\n")]).unwrap().0, 256 * MIB);
        assert_eq!(limit(&[groups, (root, "9223372036854771712\n")]), None);
        assert_eq!(limit(&[groups, (root, "9223372036854710272\n")]), None, "with pages of 64 KiB");
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        assert_eq!(bounds(&[]), MemoryBounds::default());
        let nonsense = [("/proc/self/cgroup", "nonsense\n0:\n"), ("/proc/meminfo", "MemAvailable: much\n")];
        assert_eq!(bounds(&nonsense), MemoryBounds::default());
    }

    #[test]
    fn own_memory_leaves_out_files_where_the_system_tells_them_apart() {
        let all = "VmRSS:\t  300 kB\nRssAnon:\t  200 kB\nRssFile:\t  90 kB\nRssShmem:\t  10 kB\n";
        let resident = |status| bounds(&[("/proc/self/status", status)]).resident;
        assert_eq!(resident(all), Some(210 << 10));
        assert_eq!(resident("VmRSS:\t  300 kB\n"), Some(300 << 10));
        assert_eq!(bounds(&[("/proc/meminfo", "MemTotal: 9 kB\nMemAvailable:  7 kB\n")]).available, Some(7 << 10));
    }

    #[test]
    fn this_machine_says_how_much_memory_it_has_and_this_process_takes() {
        let bounds = MemoryBounds::read();
        assert!(bounds.available.unwrap() > MIB && bounds.resident.unwrap() > 1 << 16, "{bounds:?}");
    }
}
