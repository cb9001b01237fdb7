//! What servers have said of themselves, by origin, remembered for as long as the transport lives.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tur_core::Origin;

/// A word of each of the last [`ORIGINS_MAX`] origins that said it.
pub(crate) struct Recent<T>(Arc<Mutex<VecDeque<(Origin, T)>>>);

impl<T> Clone for Recent<T> {
    fn clone(&self) -> Self {
        let Self(words) = self;
        Self(Arc::clone(words))
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> fmt::Debug for Recent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}

impl<T: Copy> Recent<T> {
    /// What `origin` said last.
    pub(crate) fn of(&self, origin: &Origin) -> Option<T> {
        let words = self.lock();
        let word = words.iter().find(|(there, _)| there == origin);
        word.map(|(_, word)| *word)
    }

    /// A way to note what one origin says.
    pub(crate) fn note(&self, origin: &Origin) -> Note<T> {
        Note {
            recent: self.clone(),
            origin: origin.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Origin, T)>> {
        let Self(words) = self;
        words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes what one origin says.
#[derive(Debug)]
pub(crate) struct Note<T> {
    recent: Recent<T>,
    origin: Origin,
}

impl<T: Copy> Note<T> {
    pub(crate) fn set(&self, word: T) {
        self.put(&mut self.recent.lock(), word);
    }

    fn put(&self, words: &mut VecDeque<(Origin, T)>, word: T) {
        words.retain(|(there, _)| *there != self.origin);
        if words.len() >= ORIGINS_MAX {
            words.pop_front();
        }
        words.push_back((self.origin.clone(), word));
    }
}

impl<T: Copy + Default> Note<T> {
    /// Changes what is noted, and returns what `change` does.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut words = self.recent.lock();
        let noted = words.iter().find(|(there, _)| *there == self.origin);
        let mut word = noted.map(|(_, word)| *word).unwrap_or_default();
        let result = change(&mut word);
        self.put(&mut words, word);
        result
    }
}

const ORIGINS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use tur_core::Scheme;

    use super::*;

    #[test]
    fn the_last_words_of_the_last_origins_are_remembered() {
        let origin = |port| Origin {
            scheme: Scheme::Https,
            host: "h".to_owned(),
            port,
        };
        let recent = Recent::default();
        for port in 0..100 {
            recent.note(&origin(port)).set(0);
            recent.note(&origin(port)).set(port);
        }
        // Said again, it is no longer the oldest.
        recent.note(&origin(36)).set(7);
        recent.note(&origin(100)).set(100);
        recent.note(&origin(37)).change(|word| *word = 38);
        assert_eq!(recent.of(&origin(35)), None);
        assert_eq!(recent.of(&origin(36)), Some(7));
        assert_eq!(recent.of(&origin(37)), Some(38));
        assert_eq!(recent.of(&origin(38)), None);
        assert!((39..=100).all(|port| recent.of(&origin(port)) == Some(port)));
    }
}
