//! Files and names in memory, with what of them is on the disk for certain and what is not: [`Tree`].
//!
//! Every change since the last sync that concerns it stays in the order in which it was made; [`super::crash`] decides
//! which of them a loss of power leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tur_core::Wall;

use crate::FileKind;

/// What a cache keeps as one.
const PAGE: u64 = 4096;

/// Directory and name.
pub(super) type At = (PathBuf, String);
/// What names lead to.
pub(super) type Names = BTreeMap<At, u64>;

/// Directories, names and files.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) dirs: Vec<PathBuf>,
    pub(super) names: Names,
    /// Names as of the last sync of their directory, and what changed since.
    pub(super) durable_names: Names,
    pub(super) name_changes: Vec<(u64, Arc<Change>)>,
    pub(super) nodes: BTreeMap<u64, Node>,
    /// Counts changes, over crashes too: what an earlier process left unsynced comes before what this one does.
    pub(super) serial: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: FileKind,
    pub(super) data: Vec<u8>,
    pub(super) attributes: Attributes,
    reserved: u64,
    /// As of the last sync, and what changed since.
    pub(super) durable: Vec<u8>,
    pub(super) durable_attributes: Attributes,
    pub(super) since: Vec<Since>,
    /// The bytes before the file was made shorter: what a careless file system may show again.
    pub(super) ghost: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) modified: Wall,
}

/// A change of a file since its last sync.
#[derive(Clone, Debug)]
pub(super) struct Since {
    pub(super) serial: u64,
    pub(super) change: Arc<Change>,
    /// True if a sync has succeeded since. It is kept only because an older one is in doubt.
    pub(super) safe: bool,
    /// True if a failed sync may have dropped it: no later sync saves it.
    pub(super) in_doubt: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    MakeDir(PathBuf),
    Create {
        at: At,
        ino: u64,
        kind: FileKind,
        mode: u32,
    },
    /// A file without a name.
    Unnamed {
        ino: u64,
        mode: u32,
    },
    /// Its first name.
    Link {
        at: At,
        ino: u64,
    },
    Rename {
        from: At,
        to: At,
        ino: u64,
    },
    Unlink {
        at: At,
        ino: u64,
    },
    SyncDir(PathBuf),
    Write {
        ino: u64,
        at: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        ino: u64,
        len: u64,
    },
    Reserve {
        ino: u64,
        end: u64,
    },
    Sync {
        ino: u64,
        end: SyncEnd,
    },
    SetMode {
        ino: u64,
        mode: u32,
    },
    SetModified {
        ino: u64,
        to: Wall,
    },
}

/// How a sync of a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncEnd {
    /// Everything is on the disk.
    Done,
    /// It failed; what is read from now on is what the disk has.
    Reverted,
    /// It failed; what is read from now on is what was written, but no later sync writes it.
    Forgotten,
}

impl Change {
    /// The file whose bytes or attributes it changes.
    fn file(&self) -> Option<u64> {
        match self {
            Change::Write { ino, .. }
            | Change::SetLen { ino, .. }
            | Change::Reserve { ino, .. }
            | Change::Sync { ino, .. }
            | Change::SetMode { ino, .. }
            | Change::SetModified { ino, .. } => Some(*ino),
            _ => None,
        }
    }

    /// The first and the last page of the file that it writes to.
    fn pages(&self) -> Option<(u64, u64)> {
        match self {
            Change::Write { at, bytes, .. } if !bytes.is_empty() => {
                Some((at / PAGE, (at + bytes.len() as u64 - 1) / PAGE))
            }
            _ => None,
        }
    }

    /// The names that it changes.
    pub(super) fn touches(&self) -> [Option<&At>; 2] {
        match self {
            Change::Create { at, .. } | Change::Link { at, .. } | Change::Unlink { at, .. } => {
                [Some(at), None]
            }
            Change::Rename { from, to, .. } => [Some(from), Some(to)],
            _ => [None, None],
        }
    }
}

impl Tree {
    pub(super) fn apply(&mut self, change: &Arc<Change>) {
        self.serial += 1;
        match &**change {
            Change::MakeDir(path) => self.dirs.push(path.clone()),
            Change::SyncDir(path) => self.sync_dir(path),
            Change::Create {
                ino, kind, mode, ..
            } => {
                self.nodes.insert(*ino, Node::new(*kind, *mode));
                self.rename(change);
            }
            Change::Unnamed { ino, mode } => {
                self.nodes.insert(*ino, Node::new(FileKind::Regular, *mode));
            }
            Change::Link { .. } | Change::Rename { .. } | Change::Unlink { .. } => {
                self.rename(change);
            }
            _ => {
                let node = change.file().and_then(|ino| self.nodes.get_mut(&ino));
                if let Some(node) = node {
                    node.apply(self.serial, change);
                }
            }
        }
    }

    /// A number that no file has. Those of files that a crash took are given again.
    pub(super) fn free_ino(&self) -> u64 {
        (1..)
            .find(|ino| !self.nodes.contains_key(ino))
            .expect("there are fewer files than numbers")
    }

    fn rename(&mut self, change: &Arc<Change>) {
        edit_names(&mut self.names, change);
        self.name_changes.push((self.serial, Arc::clone(change)));
    }

    fn sync_dir(&mut self, path: &PathBuf) {
        let inside = |at: &At| at.0 == *path;
        self.durable_names.retain(|at, _| !inside(at));
        let now = self.names.iter().filter(|(at, _)| inside(at));
        self.durable_names
            .extend(now.map(|(at, ino)| (at.clone(), *ino)));
        self.name_changes
            .retain(|(_, change)| !change.touches().into_iter().flatten().any(inside));
    }
}

impl Node {
    fn new(kind: FileKind, mode: u32) -> Self {
        let attributes = Attributes {
            mode,
            modified: Wall::default(),
        };
        Self {
            kind,
            data: Vec::new(),
            attributes,
            reserved: 0,
            durable: Vec::new(),
            durable_attributes: attributes,
            since: Vec::new(),
            ghost: Vec::new(),
        }
    }

    /// Bytes of the disk that it takes.
    pub(super) fn used(&self) -> u64 {
        self.reserved.max(self.data.len() as u64)
    }

    fn apply(&mut self, serial: u64, change: &Arc<Change>) {
        match &**change {
            Change::Reserve { end, .. } => self.reserved = self.reserved.max(*end),
            Change::Sync { end, .. } => self.sync(*end),
            other => {
                if let Change::SetLen { len, .. } = other {
                    self.reserved = self.reserved.min(*len);
                    if (*len as usize) < self.data.len() && self.ghost.len() < self.data.len() {
                        self.ghost = self.data.clone();
                    }
                }
                edit(&mut self.data, other);
                self.attributes.edit(other);
                self.write_again(other);
                self.since.push(Since {
                    serial,
                    change: Arc::clone(change),
                    safe: false,
                    in_doubt: false,
                });
            }
        }
    }

    /// A write makes its pages dirty as a whole: what a failed sync has dropped of them is written with them.
    fn write_again(&mut self, change: &Change) {
        let Some((first, last)) = change.pages() else {
            return;
        };
        for since in self.since.iter_mut().filter(|since| since.in_doubt) {
            let pages = since.change.pages();
            since.in_doubt = pages.is_some_and(|(from, to)| from < first || to > last);
        }
    }

    fn sync(&mut self, end: SyncEnd) {
        match end {
            SyncEnd::Done if self.since.iter().any(|since| since.in_doubt) => {
                for since in &mut self.since {
                    since.safe |= !since.in_doubt;
                }
            }
            SyncEnd::Done => {
                self.durable.clone_from(&self.data);
                self.durable_attributes = self.attributes;
                self.since.clear();
            }
            SyncEnd::Reverted => {
                let len = self.data.len();
                self.data.clone_from(&self.durable);
                self.data.resize(len, 0);
                self.since.clear();
                self.durable.clone_from(&self.data);
                self.durable_attributes = self.attributes;
            }
            SyncEnd::Forgotten => {
                for since in &mut self.since {
                    // Lengths are not in pages: they are saved with the next sync.
                    since.in_doubt |= !since.safe && since.change.pages().is_some();
                }
            }
        }
    }

    /// The file as it is after a crash: nothing of it is uncertain.
    pub(super) fn settled(&self, data: Vec<u8>, attributes: Attributes) -> Node {
        Node {
            kind: self.kind,
            reserved: self.reserved,
            durable: data.clone(),
            data,
            attributes,
            durable_attributes: attributes,
            since: Vec::new(),
            ghost: Vec::new(),
        }
    }
}

impl Attributes {
    pub(super) fn edit(&mut self, change: &Change) {
        match change {
            Change::SetMode { mode, .. } => self.mode = *mode,
            Change::SetModified { to, .. } => self.modified = *to,
            _ => {}
        }
    }
}

/// Applies a change of the bytes.
pub(super) fn edit(data: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, bytes, .. } => put(data, *at, bytes),
        Change::SetLen { len, .. } => {
            data.resize(usize::try_from(*len).expect("files in memory are small"), 0);
        }
        _ => {}
    }
}

/// Writes `bytes` at `at`, making the file longer where it must be.
pub(super) fn put(data: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).expect("files in memory are small");
    let end = at + bytes.len();
    if data.len() < end {
        data.resize(end, 0);
    }
    data[at..end].copy_from_slice(bytes);
}

/// Applies a change of names.
pub(super) fn edit_names(names: &mut Names, change: &Change) {
    match change {
        Change::Create { at, ino, .. } | Change::Link { at, ino } => {
            names.insert(at.clone(), *ino);
        }
        Change::Rename { from, to, ino } => {
            names.remove(from);
            names.insert(to.clone(), *ino);
        }
        Change::Unlink { at, .. } => {
            names.remove(at);
        }
        _ => {}
    }
}
