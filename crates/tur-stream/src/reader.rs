//! A reader for threads that may wait: [`Reader`].

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tur_engine::{Error, Wait};

use crate::cursor::{Cursor, Step};
use crate::interrupt::on_this_thread;
use crate::media::Inner;
use crate::{Interrupt, ReadError};

/// Reads a media on a thread that may wait, like a file. It needs no runtime; on a thread of one it holds up everything else
/// there, so use [`AsyncReader`](crate::AsyncReader) in its place.
///
/// A read returns what is there, at least one byte, and waits only while there is none. `SeekFrom::End` waits for the first
/// answer, and is `Unsupported` where that tells no length. What is inside of an error is a [`ReadError`].
pub struct Reader {
    cursor: Cursor,
    interrupt: Interrupt,
}

impl Reader {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self {
            cursor: Cursor::new(inner),
            interrupt: Interrupt::default(),
        }
    }

    /// What ends this reader's wait from another thread.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// Reads what is there, and never waits for bytes, nor for a disk that saves some: for threads that must not, such as that of
    /// an audio device. `Pending` if there is nothing; then it is asked for before all else, and the call is to be made again
    /// later. `Ready(Ok(0))` is the end of the file. Bytes that the system has dropped from its page cache come from the disk.
    pub fn try_read(&mut self, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let step = self.check().and_then(|()| self.cursor.step(into));
        match step {
            Ok(Step::Read(came)) => Poll::Ready(Ok(came)),
            Ok(Step::Wait(_)) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }

    /// An error once it was interrupted: then nothing is fetched for it any more.
    fn check(&mut self) -> Result<(), ReadError> {
        let checked = self.interrupt.check();
        if checked.is_err() {
            self.cursor.retire();
        }
        checked
    }

    /// Waits for bytes, an answer, or the interruption.
    fn wait(&mut self, mut wait: Wait) -> Result<(), ReadError> {
        let interrupt = &self.interrupt;
        on_this_thread(poll_fn(|cx| {
            if interrupt.poll(cx).is_err() {
                return Poll::Ready(Ok(()));
            }
            let waited: Poll<Result<(), Error>> = Pin::new(&mut wait).poll(cx);
            waited.map_err(ReadError::from)
        }))?;
        self.check()
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.check()?;
            match self.cursor.step(into)? {
                Step::Read(came) => return Ok(came),
                Step::Wait(wait) => self.wait(wait)?,
            }
        }
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if let SeekFrom::End(_) = to {
            let open = self.cursor.until_open();
            self.wait(open)?;
        }
        self.cursor.seek(to)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.cursor.position())
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("position", &self.cursor.position())
            .finish_non_exhaustive()
    }
}
