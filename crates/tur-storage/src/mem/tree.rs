//! Files and names in memory, and what of them a crash leaves: [`Tree`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use tur_core::Wall;

use crate::FileKind;

/// Bytes that reach the disk together or not at all.
const SECTOR: usize = 512;

/// What a crash takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed: everything written is there, in the same boot.
    Nothing,
    /// Power was lost: what was not synced is gone.
    Unsynced,
    /// Power was lost: of what was not synced, some sectors reached the disk. Seeded.
    Torn(u64),
}

/// Directories, names and files.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) dirs: Vec<PathBuf>,
    pub(super) names: BTreeMap<(PathBuf, String), u64>,
    /// Names as of the last sync of their directory, and what changed since.
    durable_names: BTreeMap<(PathBuf, String), u64>,
    name_changes: Vec<Change>,
    pub(super) nodes: BTreeMap<u64, Node>,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: FileKind,
    pub(super) data: Vec<u8>,
    reserved: u64,
    pub(super) mode: u32,
    pub(super) modified: Wall,
    /// Bytes as of the last sync, and what changed since.
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    MakeDir(PathBuf),
    Create {
        at: (PathBuf, String),
        ino: u64,
        kind: FileKind,
        mode: u32,
    },
    Rename {
        from: (PathBuf, String),
        to: (PathBuf, String),
    },
    Unlink((PathBuf, String)),
    SyncDir,
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
        done: bool,
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

impl Node {
    pub(super) fn used(&self) -> u64 {
        self.reserved.max(self.data.len() as u64)
    }

    /// Applies a change of the bytes.
    fn edit(data: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Write { at, bytes, .. } => {
                let at = usize::try_from(*at).expect("files in memory are small");
                let end = at + bytes.len();
                if data.len() < end {
                    data.resize(end, 0);
                }
                data[at..end].copy_from_slice(bytes);
            }
            Change::SetLen { len, .. } => {
                data.resize(usize::try_from(*len).expect("files in memory are small"), 0);
            }
            _ => {}
        }
    }
}

impl Tree {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::MakeDir(path) => self.dirs.push(path.clone()),
            Change::Create {
                at,
                ino,
                kind,
                mode,
            } => {
                let node = Node {
                    kind: *kind,
                    data: Vec::new(),
                    reserved: 0,
                    mode: *mode,
                    modified: Wall::default(),
                    durable: Vec::new(),
                    changes: Vec::new(),
                };
                self.nodes.insert(*ino, node);
                self.names.insert(at.clone(), *ino);
                self.name_changes.push(change.clone());
            }
            Change::Rename { .. } | Change::Unlink(_) => {
                rename(&mut self.names, change);
                self.name_changes.push(change.clone());
            }
            Change::SyncDir => {
                self.durable_names = self.names.clone();
                self.name_changes.clear();
            }
            Change::Write { ino, .. }
            | Change::SetLen { ino, .. }
            | Change::Reserve { ino, .. }
            | Change::Sync { ino, .. }
            | Change::SetMode { ino, .. }
            | Change::SetModified { ino, .. } => {
                if let Some(node) = self.nodes.get_mut(ino) {
                    node.apply(change);
                }
            }
        }
    }

    /// Takes away what the crash did not leave.
    pub(super) fn lose(&mut self, loss: Loss) {
        let mut dice = match loss {
            Loss::Nothing => return,
            Loss::Unsynced => None,
            Loss::Torn(seed) => Some(Dice(seed | 1)),
        };
        let mut names = self.durable_names.clone();
        if let Some(dice) = &mut dice {
            // File systems keep the order of names.
            let kept = dice.below(self.name_changes.len() as u64 + 1);
            for change in self.name_changes.iter().take(kept as usize) {
                rename(&mut names, change);
            }
        }
        for node in self.nodes.values_mut() {
            let mut data = std::mem::take(&mut node.durable);
            if let Some(dice) = &mut dice {
                for change in &node.changes {
                    dice.tear(change)
                        .iter()
                        .for_each(|c| Node::edit(&mut data, c));
                }
            }
            node.durable = data.clone();
            node.data = data;
            node.changes.clear();
        }
        self.durable_names = names.clone();
        self.names = names;
        self.name_changes.clear();
    }
}

impl Node {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { .. } | Change::SetLen { .. } => {
                Node::edit(&mut self.data, change);
                if let Change::SetLen { len, .. } = change {
                    self.reserved = self.reserved.min(*len);
                }
                self.changes.push(change.clone());
            }
            Change::Reserve { end, .. } => self.reserved = self.reserved.max(*end),
            Change::Sync { done: true, .. } => {
                self.durable = self.data.clone();
                self.changes.clear();
            }
            Change::Sync { done: false, .. } => {
                // The pages were dropped; what is read from now on is what the disk has.
                let len = self.data.len();
                self.data = self.durable.clone();
                self.data.resize(len, 0);
                self.changes.clear();
                self.durable = self.data.clone();
            }
            Change::SetMode { mode, .. } => self.mode = *mode,
            Change::SetModified { to, .. } => self.modified = *to,
            _ => {}
        }
    }
}

/// Applies a change of names.
fn rename(names: &mut BTreeMap<(PathBuf, String), u64>, change: &Change) {
    match change {
        Change::Create { at, ino, .. } => {
            names.insert(at.clone(), *ino);
        }
        Change::Rename { from, to } => {
            if let Some(ino) = names.remove(from) {
                names.insert(to.clone(), ino);
            }
        }
        Change::Unlink(at) => {
            names.remove(at);
        }
        _ => {}
    }
}

/// A small generator (xorshift): enough to vary a crash, the same for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// What of a change reached the disk.
    fn tear(&mut self, change: &Change) -> Vec<Change> {
        match change {
            Change::Write { ino, at, bytes } => {
                let first = SECTOR - (*at as usize) % SECTOR;
                let mut pieces = Vec::new();
                let mut from = 0;
                while from < bytes.len() {
                    let step = if from == 0 { first } else { SECTOR };
                    let to = bytes.len().min(from + step);
                    if self.below(2) == 0 {
                        pieces.push(Change::Write {
                            ino: *ino,
                            at: at + from as u64,
                            bytes: bytes[from..to].to_vec(),
                        });
                    }
                    from = to;
                }
                pieces
            }
            other if self.below(2) == 0 => vec![other.clone()],
            _ => Vec::new(),
        }
    }
}
