//! The truth that a run is judged by: which byte of which version was written.
//!
//! Read [`Truth`].

use tur_core::{ByteRange, Identity, RangeSet};

use crate::origin::{Tag, tag};
use crate::violation::Violation;

/// What is really in the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    written: RangeSet,
    /// By version; together they are `written`.
    versions: Vec<(u32, RangeSet)>,
    /// Bytes written that were given up later.
    pub(crate) given_up: u64,
}

impl Truth {
    /// What is in the file now.
    pub(crate) fn written(&self) -> &RangeSet {
        &self.written
    }

    /// Bytes of a version are written.
    pub(crate) fn write(&mut self, range: ByteRange, version: u32) -> Result<(), Violation> {
        if range.is_empty() {
            return Ok(());
        }
        if self.written.insert(range) != range.len() {
            return Err(Violation::WrittenTwice(range));
        }
        match self
            .versions
            .iter_mut()
            .find(|(known, _)| *known == version)
        {
            Some((_, set)) => {
                set.insert(range);
            }
            None => self.versions.push((version, [range].into_iter().collect())),
        }
        Ok(())
    }

    /// True if all of `range` is there, and of this version: only then are bytes of that version equal to it.
    pub(crate) fn is_of(&self, range: ByteRange, version: u32) -> bool {
        self.versions
            .iter()
            .any(|(known, set)| *known == version && set.covers(range))
    }

    /// The machine gave up what is in `range`.
    pub(crate) fn forget(&mut self, range: ByteRange) {
        self.given_up += self.written.remove(range);
        for (_, set) in &mut self.versions {
            set.remove(range);
        }
    }

    /// Judges the claim that the file is complete, `total` bytes of what `identity` names. `sizes` are the lengths of
    /// the versions that the origin serves.
    pub(crate) fn judge(
        &self,
        total: u64,
        identity: Option<&Identity>,
        sizes: &[(u32, u64)],
    ) -> Result<(), Violation> {
        if let Some(missing) = self.written.gaps(ByteRange::new(0, total)).iter().next() {
            return Err(Violation::Missing(missing));
        }
        let present: Vec<u32> = self
            .versions
            .iter()
            .filter(|(_, set)| !set.is_empty())
            .map(|(version, _)| *version)
            .collect();
        let named = identity.and_then(|identity| identity.etag.as_ref());
        let version = match (present.as_slice(), named) {
            // An empty file is of whatever version is empty.
            ([], _) => None,
            ([version], _) => Some(*version),
            _ => return Err(Violation::Mixed(present)),
        };
        if let (Some(version), Some(named)) = (version, named) {
            let kind = if named.weak { Tag::Weak } else { Tag::Strong };
            if tag(kind, version).as_ref() != Some(named) {
                return Err(Violation::WrongVersion(version));
            }
        }
        let served =
            |(known, size): &(u32, u64)| version.is_none_or(|v| v == *known) && *size == total;
        if !sizes.iter().any(served) {
            return Err(Violation::WrongLength(total));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [(u32, u64); 2] = [(0, 100), (1, 100)];

    fn identity(version: u32) -> Identity {
        Identity {
            total: Some(100),
            etag: tag(Tag::Strong, version),
            ..Identity::default()
        }
    }

    fn written(parts: &[(u64, u64, u32)]) -> Truth {
        let mut truth = Truth::default();
        for (start, end, version) in parts {
            truth
                .write(ByteRange::new(*start, *end), *version)
                .expect("fresh bytes");
        }
        truth
    }

    #[test]
    fn only_every_byte_of_one_version_under_its_name_is_complete() {
        let judge =
            |parts: &[(u64, u64, u32)]| written(parts).judge(100, Some(&identity(0)), &SIZES);
        assert_eq!(judge(&[(50, 100, 0), (0, 50, 0)]), Ok(()));
        assert_eq!(
            judge(&[(0, 99, 0)]),
            Err(Violation::Missing(ByteRange::new(99, 100)))
        );
        assert_eq!(
            judge(&[(0, 50, 0), (50, 100, 1)]),
            Err(Violation::Mixed(vec![0, 1]))
        );
        assert_eq!(judge(&[(0, 100, 1)]), Err(Violation::WrongVersion(1)));
        let short = written(&[(0, 50, 0)]).judge(50, Some(&identity(0)), &SIZES);
        assert_eq!(short, Err(Violation::WrongLength(50)));
    }

    #[test]
    fn a_byte_is_written_again_only_after_it_was_given_up() {
        let mut truth = written(&[(0, 10, 0)]);
        let again = ByteRange::new(5, 6);
        assert_eq!(truth.write(again, 0), Err(Violation::WrittenTwice(again)));
        let mut truth = written(&[(0, 10, 0)]);
        truth.forget(again);
        assert_eq!((truth.write(again, 1), truth.given_up), (Ok(()), 1));
    }
}
