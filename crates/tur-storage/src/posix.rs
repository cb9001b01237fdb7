//! [`Disk`] on a POSIX system.

use std::io::{self, IoSlice};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use tur_core::{ByteRange, Wall};

use crate::{Disk, FileId, FileKind, Onto, Open, Stat};

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct PosixDisk;

impl PosixDisk {
    /// The descriptors that this process may have open; `None` if there is no limit.
    #[must_use]
    pub fn descriptors_max(&self) -> Option<u64> {
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    }
}

impl Disk for PosixDisk {
    type Dir = OwnedFd;
    type File = OwnedFd;

    fn open_dir(&self, path: &Path, create: bool) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) if create => {
                make_dirs(path)?;
                Ok(rustix::fs::open(path, flags, Mode::empty())?)
            }
            done => Ok(done?),
        }
    }

    fn stat_at(&self, dir: &OwnedFd, name: &str) -> io::Result<Stat> {
        Ok(from_stat(&rustix::fs::statat(
            dir,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?))
    }

    fn open(&self, dir: &OwnedFd, name: &str, how: Open) -> io::Result<OwnedFd> {
        // NONBLOCK: a FIFO that took the name in the meantime must not hold us up. It means nothing for plain files.
        let flags =
            OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let (flags, mode) = match how {
            Open::Existing => (flags, Mode::empty()),
            Open::New(bits) => (flags | OFlags::CREATE | OFlags::EXCL, to_mode(bits)),
        };
        Ok(rustix::fs::openat(dir, name, flags, mode)?)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn open_unnamed(&self, dir: &OwnedFd, mode: u32) -> io::Result<OwnedFd> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, ".", flags, to_mode(mode)) {
            Ok(file) => Ok(file),
            // What kernels and file systems without such files say (open(2)).
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT | Errno::NOSYS) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Through `/proc`, as open(2) shows it: naming a file by its descriptor alone takes a privilege.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn link(&self, file: &OwnedFd, dir: &OwnedFd, name: &str) -> io::Result<()> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(CWD, path, dir, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(()),
            // Without `/proc`, or where the file system has no links.
            Err(Errno::NOENT | Errno::XDEV | Errno::OPNOTSUPP | Errno::PERM | Errno::NOSYS) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn stat(&self, file: &OwnedFd) -> io::Result<Stat> {
        Ok(from_stat(&rustix::fs::fstat(file)?))
    }

    /// On NFS Linux makes a lock on the server of it (flock(2), since 2.6.12), except where the mount says that locks are
    /// local: then other machines are not kept off.
    fn try_lock(&self, file: &OwnedFd) -> io::Result<bool> {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read_at(&self, file: &OwnedFd, at: u64, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::pread(file, into, at)?)
    }

    fn write_at(&self, file: &OwnedFd, at: u64, from: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        let taken = rustix::io::pwritev(file, from, at)?;
        // Elsewhere one buffer at a time: a short write, which the layer above expects.
        #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
        let taken = match from.iter().find(|slice| !slice.is_empty()) {
            Some(slice) => rustix::io::pwrite(file, slice, at)?,
            None => 0,
        };
        Ok(taken)
    }

    fn allocate(&self, file: &OwnedFd, at: u64, len: u64) -> io::Result<()> {
        allocate(file, at, len).map_err(|error| match error {
            Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::NODEV => {
                io::ErrorKind::Unsupported.into()
            }
            other => other.into(),
        })
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn give_back(&self, file: &OwnedFd, range: ByteRange) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(file, flags, range.start, range.len()) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_len(&self, file: &OwnedFd, len: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(file, len)?)
    }

    fn sync(&self, file: &OwnedFd) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let done = rustix::fs::fdatasync(file);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let done = rustix::fs::fsync(file);
        Ok(done?)
    }

    fn set_modified(&self, file: &OwnedFd, to: Wall) -> io::Result<()> {
        let time = rustix::fs::Timespec {
            tv_sec: to.unix_secs(),
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        Ok(rustix::fs::futimens(file, &times)?)
    }

    fn set_mode(&self, file: &OwnedFd, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(file, to_mode(mode))?)
    }

    fn rename(&self, dir: &OwnedFd, from: &str, to: &str, onto: Onto) -> io::Result<()> {
        match onto {
            Onto::Any => Ok(rustix::fs::renameat(dir, from, dir, to)?),
            Onto::Free => rename_free(dir, from, to),
        }
    }

    fn unlink(&self, dir: &OwnedFd, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
    }

    fn sync_dir(&self, dir: &OwnedFd) -> io::Result<()> {
        match rustix::fs::fsync(dir) {
            // Some file systems have no sync of directories; there is nothing else to call.
            Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::BADF) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn available(&self, dir: &OwnedFd) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(dir)?;
        if stat.f_blocks == 0 {
            // It keeps no account of room (ramfs, some in user space): a full one will say so when it is written to.
            return Ok(u64::MAX);
        }
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn file_size_limit(&self) -> Option<u64> {
        rustix::process::getrlimit(rustix::process::Resource::Fsize).current
    }

    fn largest_file(&self, dir: &OwnedFd) -> Option<u64> {
        #[cfg(target_os = "linux")]
        return magic(dir).and_then(largest_on);
        // Where the kind of file system is not told by a number, the write that goes too far tells.
        #[cfg(not(target_os = "linux"))]
        None
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        // It cannot change while a process lives.
        static BOOT: OnceLock<Option<[u8; 16]>> = OnceLock::new();
        *BOOT.get_or_init(|| parse_boot_id(&read_small("/proc/sys/kernel/random/boot_id")?))
    }

    fn umask(&self) -> u32 {
        // `/proc` tells it without touching it; elsewhere it can only be read by setting it.
        read_small("/proc/self/status")
            .and_then(|status| parse_umask(&status))
            .unwrap_or_else(|| {
                let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
                rustix::process::umask(mask);
                mode_bits(mask)
            })
    }
}

/// Renames without replacing: in one step where the system can, else by a second link.
fn rename_free(dir: &OwnedFd, from: &str, to: &str) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    match rustix::fs::renameat_with(dir, from, dir, to, rustix::fs::RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        done => return Ok(done?),
    }
    link_free(dir, from, to)
}

/// The fall-back: `link` refuses an existing name by itself.
fn link_free(dir: &OwnedFd, from: &str, to: &str) -> io::Result<()> {
    rustix::fs::linkat(dir, from, dir, to, AtFlags::empty())?;
    Ok(rustix::fs::unlinkat(dir, from, AtFlags::empty())?)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate(file: &OwnedFd, at: u64, len: u64) -> Result<(), Errno> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, at, len)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allocate(_: &OwnedFd, _: u64, _: u64) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Which kind of file system it is (statfs(2)). The field has other widths and signs elsewhere; the numbers have 32 bits.
#[cfg(target_os = "linux")]
pub(crate) fn magic(file: &OwnedFd) -> Option<u64> {
    let stat = rustix::fs::fstatfs(file).ok()?;
    Some(u64::try_from(stat.f_type).ok()? & 0xffff_ffff)
}

/// The largest file by the kind of file system (statfs(2)).
#[cfg(target_os = "linux")]
fn largest_on(magic: u64) -> Option<u64> {
    /// FAT, whose directory entries have 32 bits for a length. exFAT has another number and no such limit.
    const MSDOS: u64 = 0x4d44;
    (magic == MSDOS).then_some(u32::MAX.into())
}

/// Makes the directory and its missing parents, so that they outlive a loss of power.
fn make_dirs(path: &Path) -> io::Result<()> {
    for part in path.ancestors().collect::<Vec<_>>().iter().rev() {
        if part.as_os_str().is_empty() {
            continue;
        }
        match rustix::fs::mkdirat(CWD, *part, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
            Ok(()) => save_name(part)?,
            Err(Errno::EXIST) => {}
            // A parent that cannot be written to may exist all the same: the next step, or the open, tells.
            Err(_) if rustix::fs::stat(*part).is_ok() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Syncs the directory that the name of a new one stands in, if it may be read.
fn save_name(dir: &Path) -> io::Result<()> {
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    match PosixDisk.open_dir(above.unwrap_or(Path::new(".")), false) {
        Ok(above) => PosixDisk.sync_dir(&above),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

#[expect(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    reason = "the fields have other widths on other systems"
)]
fn from_stat(stat: &rustix::fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Special,
    };
    Stat {
        id: FileId {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
        },
        kind,
        len: u64::try_from(stat.st_size).unwrap_or(0),
        allocated: u64::try_from(stat.st_blocks)
            .unwrap_or(0)
            .saturating_mul(512),
        links: u64::from(stat.st_nlink),
        mode: stat.st_mode as u32 & 0o7777,
        modified: Wall::from_unix_secs(stat.st_mtime as i64),
        modified_ns: nanos(stat.st_mtime.into(), stat.st_mtime_nsec.into())
            .max(nanos(stat.st_ctime.into(), stat.st_ctime_nsec.into())),
    }
}

fn nanos(secs: i128, nanos: i128) -> i128 {
    secs * 1_000_000_000 + nanos
}

fn to_mode(bits: u32) -> Mode {
    Mode::from_bits_truncate((bits & 0o777) as _)
}

#[expect(
    clippy::useless_conversion,
    reason = "mode_t is narrower on other systems"
)]
fn mode_bits(mode: Mode) -> u32 {
    u32::from(mode.as_raw_mode()) & 0o777
}

/// The first 8 KiB of a small text file of the system.
fn read_small(path: &str) -> Option<String> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut buffer = vec![0; 8 << 10];
    let len = rustix::io::read(&file, &mut buffer).ok()?;
    buffer.truncate(len);
    String::from_utf8(buffer).ok()
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}

fn parse_umask(status: &str) -> Option<u32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_about_itself_is_read() {
        assert_eq!(
            parse_umask("Name:\tx\nUmask:\t0022\nState:\tR\n"),
            Some(0o022)
        );
        assert_eq!(parse_umask("Name:\tx\n"), None);
        assert_eq!(
            parse_boot_id("00000000-0000-0000-0000-0000000000ff\n"),
            Some(255_u128.to_be_bytes())
        );
        assert_eq!(parse_boot_id(""), None);
    }

    #[test]
    fn a_fat_file_system_holds_no_file_of_4_gib() {
        assert_eq!(largest_on(0x4d44), Some(4_294_967_295));
        for other in [0xef53, 0x5846_5342, 0x0102_1994, 0x2011_bab0, 0x6969] {
            assert_eq!(largest_on(other), None);
        }
    }

    #[test]
    fn the_fall_back_of_rename_refuses_an_existing_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = PosixDisk.open_dir(dir.path(), false).unwrap();
        for name in ["a", "b"] {
            PosixDisk.open(&dir, name, Open::New(0o600)).unwrap();
        }
        let error = link_free(&dir, "a", "b").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        link_free(&dir, "a", "c").unwrap();
        assert!(PosixDisk.stat_at(&dir, "a").is_err());
        assert_eq!(PosixDisk.stat_at(&dir, "c").unwrap().links, 1);
    }
}
