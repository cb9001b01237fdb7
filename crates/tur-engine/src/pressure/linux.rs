//! What is left on Linux: `/proc`, and the control group of the process.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use tur_sched::Sign;

/// Largest file that is read; those meant have a few KiB.
const FILE_MAX: u64 = 64 * 1024;
/// Most groups between that of the process and the root.
const DEPTH_MAX: usize = 32;
/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// What is left; signs that cannot be read are left out.
pub(super) fn signs() -> Vec<Sign> {
    let memory = read("/proc/meminfo")
        .ok()
        .and_then(|text| available(&text))
        .map(Sign::Available);
    let group = read("/proc/self/cgroup")
        .ok()
        .and_then(|text| limit(&text, Path::new(GROUPS)))
        .map(Sign::Limit);
    let descriptors = descriptors().map(Sign::Descriptors);
    [memory, group, descriptors].into_iter().flatten().collect()
}

/// Descriptors that may still be opened.
fn descriptors() -> Option<u64> {
    let most = match read("/proc/self/limits") {
        Ok(text) => open_files_max(&text)?,
        // EMFILE: that this cannot be read says it all.
        Err(error) if error.raw_os_error() == Some(24) => return Some(0),
        Err(_) => return None,
    };
    let open = match fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself. Who has this many has no use for the exact number.
        Ok(entries) => entries.take(1 << 20).count().saturating_sub(1),
        Err(_) => return Some(0),
    };
    Some(most.saturating_sub(u64::try_from(open).unwrap_or(u64::MAX)))
}

/// `MemAvailable` in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The soft limit of open files; none is more than anybody opens.
fn open_files_max(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Names of the files of one version of control groups.
struct Names {
    limit: &'static str,
    used: &'static str,
    /// Fields of `memory.stat`, in bytes, that count as used and are given back when memory is short: file caches. A
    /// download fills them up to any limit.
    cached: [&'static str; 2],
}

const V2: Names = Names {
    limit: "memory.max",
    used: "memory.current",
    cached: ["inactive_file", "active_file"],
};
const V1: Names = Names {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: ["total_inactive_file", "total_active_file"],
};

/// The room below the memory limit of the process's group, or of one around it: the least of them, in bytes.
fn limit(cgroup: &str, mount: &Path) -> Option<u64> {
    let groups = cgroup.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        if controllers.split(',').any(|name| name == "memory") {
            Some((mount.join("memory"), path, V1))
        } else if controllers.is_empty() {
            Some((mount.to_owned(), path, V2))
        } else {
            None
        }
    });
    groups
        .filter_map(|(root, path, names)| least_room(&root, path, &names))
        .min()
}

/// From the group up to the root of the mount. A group that is not visible from here is left out; the root stands for
/// a container's own.
fn least_room(root: &Path, group: &str, names: &Names) -> Option<u64> {
    let inside = Path::new(group)
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let bottom = if inside {
        root.join(group.trim_start_matches('/'))
    } else {
        root.to_owned()
    };
    let groups: Vec<PathBuf> = bottom
        .ancestors()
        .take_while(|dir| dir.starts_with(root))
        .take(DEPTH_MAX)
        .map(Path::to_owned)
        .collect();
    groups.iter().filter_map(|dir| room(dir, names)).min()
}

/// The room in one group; `None` without a limit.
fn room(dir: &Path, names: &Names) -> Option<u64> {
    let number = |name: &str| read(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    let most = number(names.limit)?;
    let used = number(names.used)?;
    let stat = read(dir.join("memory.stat")).unwrap_or_default();
    let cached: u64 = stat
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| names.cached.contains(name))
        .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
        .fold(0, u64::saturating_add);
    Some(most.saturating_sub(used.saturating_sub(cached)))
}

fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let meminfo = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\n";
        assert_eq!(available(meminfo), Some(8 << 20));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
        let limits = |n| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max processes             7                    8                    processes \n\
                 Max open files            {n}                 524288               files     \n"
            )
        };
        assert_eq!(open_files_max(&limits("1024")), Some(1024));
        assert_eq!(open_files_max(&limits("unlimited")), Some(u64::MAX));
        assert_eq!(open_files_max(""), None);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test makes the files that a kernel would"
    )]
    fn group(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).expect("made");
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("written");
        }
    }

    #[test]
    fn the_narrowest_group_counts_and_caches_do_not() {
        let place = tempfile::tempdir().expect("room");
        let root = place.path();
        let stat = "anon 50\ninactive_file 200\nactive_file 100\nfile_dirty 7\n";
        group(
            &root.join("a/b"),
            &[("memory.max", "max\n"), ("memory.current", "5\n")],
        );
        group(
            &root.join("a"),
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "900\n"),
                ("memory.stat", stat),
            ],
        );
        assert_eq!(limit("0::/a/b\n", root), Some(400));
        assert_eq!(limit("0::/\n", root), None, "the root has no limit");
        assert_eq!(limit("1:cpu:/a\n", root), None);
        assert_eq!(limit("0::/../a\n", root), None, "not visible from here");
        assert_eq!(limit("", root), None);
    }

    #[test]
    fn the_first_version_of_groups_is_known_too() {
        let place = tempfile::tempdir().expect("room");
        let files = [
            ("memory.limit_in_bytes", "1000"),
            ("memory.usage_in_bytes", "990"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 40\n"),
        ];
        // Inside a container its own group is the root of the mount, whatever its name outside.
        group(&place.path().join("memory"), &files);
        let cgroup = "12:memory,hugetlb:/docker/abc\n0::/x\n";
        assert_eq!(limit(cgroup, place.path()), Some(50));
    }

    #[test]
    fn this_process_has_signs() {
        let signs = signs();
        let memory = |sign: &Sign| matches!(sign, Sign::Available(bytes) if *bytes > 0);
        let files = |sign: &Sign| matches!(sign, Sign::Descriptors(left) if *left > 0);
        assert!(
            signs.iter().any(memory) && signs.iter().any(files),
            "{signs:?}"
        );
    }
}
