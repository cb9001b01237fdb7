//! Windows on real files: what is mapped, what is not, and that nobody is killed.

use super::*;
use crate::{Disk, Open, PosixDisk};

/// A file on a file system that can be mapped: where temporary files are, or in memory.
fn file() -> (tempfile::TempDir, OwnedFd, Windows) {
    for root in [std::env::temp_dir(), "/dev/shm".into()] {
        let Ok(dir) = tempfile::tempdir_in(&root) else {
            continue;
        };
        let handle = PosixDisk.open_dir(dir.path(), false).unwrap();
        let file = PosixDisk.open(&handle, "f", Open::New(0o600)).unwrap();
        if let Some(windows) = Windows::of(&file) {
            return (dir, file, windows);
        }
    }
    panic!("no file system here is known to keep its promises: set TMPDIR to one that does");
}

/// Room for `range`, as a part asks for it.
fn reserve(file: &OwnedFd, windows: &Windows, range: ByteRange) {
    PosixDisk.allocate(file, range.start, range.len()).unwrap();
    windows.reserved(range);
}

fn len(file: &OwnedFd) -> u64 {
    PosixDisk.stat(file).unwrap().len
}

fn pread(file: &OwnedFd, at: u64, len: usize) -> Vec<u8> {
    let mut into = vec![0; len];
    let came = PosixDisk.read_at(file, at, &mut into).unwrap();
    into.truncate(came);
    into
}

#[test]
fn what_is_written_through_a_window_is_in_the_file_and_no_more() {
    let (_dir, file, windows) = file();
    reserve(&file, &windows, ByteRange::new(0, 2 * WINDOW));
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")];
    assert_eq!(windows.write(&file, 4_094, &slices), Some(4));
    assert_eq!(
        (len(&file), pread(&file, 4_090, 99)),
        (4_098, b"\0\0\0\0abcd".to_vec())
    );
    let mut into = [9; 8];
    assert_eq!(windows.read(&file, 4_095, &mut into), Some(3));
    assert_eq!(&into, b"bcd\x09\x09\x09\x09\x09");
    assert_eq!(windows.read(&file, 4_098, &mut into), Some(0));
    // A write goes up to the end of its window; the next one goes on.
    assert_eq!(windows.write(&file, WINDOW - 1, &slices), Some(1));
    assert_eq!(windows.write(&file, WINDOW, &slices[2..]), Some(2));
    assert_eq!(pread(&file, WINDOW - 1, 9), b"acd\0");
    PosixDisk.sync(&file).unwrap();
}

#[test]
fn a_hole_is_never_written_through_a_window() {
    let (_dir, file, windows) = file();
    let one = [IoSlice::new(b"x")];
    assert_eq!(windows.write(&file, 0, &one), None);
    reserve(&file, &windows, ByteRange::new(0, 10_000));
    assert_eq!(windows.write(&file, 9_999, &one), Some(1));
    assert_eq!(windows.write(&file, 10_000, &one), None);
    // A new length gives room back.
    windows.set_len(&file, 4_000).unwrap();
    assert_eq!(windows.write(&file, 4_000, &one), None);
    assert_eq!(windows.write(&file, 3_999, &one), Some(1));
}

#[test]
fn lengthening_never_cuts_what_another_writer_wrote() {
    let (_dir, file, windows) = file();
    reserve(&file, &windows, ByteRange::new(0, 10_000));
    PosixDisk
        .write_at(&file, 20_000, &[IoSlice::new(b"far")])
        .unwrap();
    assert_eq!(
        windows.write(&file, 5_000, &[IoSlice::new(b"near")]),
        Some(4)
    );
    assert_eq!(
        (len(&file), pread(&file, 20_000, 9)),
        (20_003, b"far".to_vec())
    );
}

/// The file is cut behind an open window, as often as it takes: an error and no signal.
#[test]
fn a_page_that_lost_its_bytes_is_an_error_and_no_signal() {
    let (_dir, file, windows) = file();
    reserve(&file, &windows, ByteRange::new(0, 1 << 20));
    assert_eq!(
        windows.write(&file, 0, &[IoSlice::new(&[7; 1 << 16])]),
        Some(1 << 16)
    );
    let window = Arc::clone(&windows.lock().open[0]);
    PosixDisk.set_len(&file, 0).unwrap();
    let mut into = [0; 100];
    let fault = Some(Errno::FAULT.raw_os_error());
    assert_eq!(window.read(0, &mut into).unwrap_err().raw_os_error(), fault);
    let error = window.write(5_000, &[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.raw_os_error(), fault);
    assert_eq!(windows.read(&file, 0, &mut into), Some(0));
    // The windows stay in use: a write makes the file long again, as `pwrite` would.
    assert_eq!(windows.write(&file, 5_000, &[IoSlice::new(b"x")]), Some(1));
    assert_eq!(pread(&file, 4_999, 9), b"\0x");
}

/// A restart empties the part while a digest or a checkpoint still reads it: nobody else touches the file.
#[test]
fn this_process_may_cut_the_file_while_it_reads() {
    const LEN: u64 = 4 << 20;
    let (_dir, file, windows) = file();
    let full = vec![7; usize::try_from(LEN).unwrap()];
    let ended = AtomicBool::new(false);
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut into = vec![0; 1 << 18];
            let mut read = 0;
            while !ended.load(Ordering::Relaxed) {
                for at in (0..LEN).step_by(into.len()) {
                    read += windows.read(&file, at, &mut into).unwrap_or(0);
                }
            }
            read
        });
        for _ in 0..300 {
            reserve(&file, &windows, ByteRange::new(0, LEN));
            let taken = windows.write(&file, 0, &[IoSlice::new(&full)]);
            assert_eq!(taken, Some(full.len()));
            windows.set_len(&file, 0).unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(read > 0, "nothing was read meanwhile");
}

#[test]
fn few_windows_are_open_whatever_the_number_of_lanes() {
    let (_dir, file, windows) = file();
    for lane in (0..40).rev() {
        let at = lane * WINDOW + 3;
        reserve(&file, &windows, ByteRange::new(at, at + 9));
        let bytes = [u8::try_from(lane).unwrap(); 9];
        assert_eq!(windows.write(&file, at, &[IoSlice::new(&bytes)]), Some(9));
        assert!(windows.lock().open.len() <= WINDOWS_MAX);
    }
    for lane in 0..40 {
        let mut into = [0; 2];
        assert_eq!(windows.read(&file, lane * WINDOW + 5, &mut into), Some(2));
        assert_eq!(into, [u8::try_from(lane).unwrap(); 2]);
    }
}

#[test]
fn where_mapping_is_refused_it_is_not_asked_for_again() {
    let (_dir, file, windows) = file();
    reserve(&file, &windows, ByteRange::new(0, 100));
    let refused: io::Result<()> = Err(Errno::NOMEM.into());
    assert_eq!(windows.done(refused), None);
    assert_eq!(windows.write(&file, 0, &[IoSlice::new(b"x")]), None);
    assert_eq!(windows.read(&file, 0, &mut [0; 1]), None);
    assert!(windows.lock().open.is_empty());
}

#[test]
fn only_file_systems_that_keep_their_promises_are_mapped() {
    let proc = PosixDisk.open_dir("/proc/self".as_ref(), false).unwrap();
    assert_eq!(ground(&proc), None);
    let (_dir, _file, windows) = file();
    assert!(matches!(windows.ground, Ground::Firm | Ground::Memory));
}
