//! The example runs, and does what it says.

use tempfile::TempDir;
use tur_core::ByteRange;

#[path = "../examples/storage_alone.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod storage_alone;

use storage_alone::{PIECE, PIECES, content, piece, run};

#[test]
fn a_file_that_was_left_half_way_is_gone_on_with_and_shown_whole() {
    let dir = TempDir::new().unwrap();
    let (there, path) = run(dir.path(), "file", 3).unwrap();
    assert!(there.is_empty() && path.is_none());
    assert!(!dir.path().join("file").exists());
    let (there, path) = run(dir.path(), "file", 100).unwrap();
    assert_eq!(there.len(), 3 * PIECE);
    assert!(there.covers(ByteRange::new(piece(5).start, PIECES * PIECE)));
    assert_eq!(path.unwrap(), dir.path().join("file"));
    #[expect(clippy::disallowed_methods, reason = "looked at from outside")]
    let have = std::fs::read(dir.path().join("file")).unwrap();
    assert!(have == content(ByteRange::new(0, PIECES * PIECE)));
    assert!(!dir.path().join("file.part").exists() && !dir.path().join("file.tur").exists());
}
