//! Where the bytes of a command go, and how its end is told.
//!
//! [`Delivery`] hands the answer and its bytes to whoever asked; [`Completion`] tells the end exactly once, also if it is
//! dropped on a way that nobody thought of.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::Error;
use crate::careful::{caught, quietly};
use crate::fetch::{Fetched, Full, Head, Taker};
use crate::pipe::Pipe;

type Response = Box<dyn FnOnce(&Head) + Send>;
type Data = Box<dyn FnMut(&[u8]) + Send>;
type Check = Box<dyn FnMut(&Head) -> Result<(), String> + Send>;
type Told = Box<dyn FnOnce(Result<Fetched, Error>) + Send>;

/// What a caller wants to be told of while the bytes come.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) accept: Option<Check>,
    pub(crate) response: Option<Response>,
    pub(crate) data: Option<Data>,
    pub(crate) slow: Option<Box<dyn FnOnce() + Send>>,
    /// A reader that the bytes wait for.
    pub(crate) pipe: Option<Arc<Pipe>>,
}

/// A command may end in anybody's hands: what its callbacks own is nobody else's harm.
impl Drop for Hooks {
    fn drop(&mut self) {
        quietly(self.accept.take());
        quietly(self.response.take());
        quietly(self.data.take());
        quietly(self.slow.take());
    }
}

/// The taker of a command's bytes.
pub(crate) struct Delivery {
    hooks: Hooks,
    most: Option<u64>,
    taken: u64,
}

impl Delivery {
    /// Delivers at most so many bytes.
    pub(crate) fn new(hooks: Hooks, bytes_max: Option<u64>) -> Self {
        Self {
            hooks,
            most: bytes_max,
            taken: 0,
        }
    }
}

impl Taker for Delivery {
    fn head(&mut self, head: &Head) -> Result<(), String> {
        if let Some(check) = &mut self.hooks.accept {
            check(head)?;
        }
        if let Some(told) = self.hooks.response.take() {
            told(head);
        }
        if let Some(pipe) = &self.hooks.pipe {
            pipe.begin(head);
        }
        Ok(())
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.hooks.pipe {
            Some(pipe) => pipe.poll_room(cx),
            None => Poll::Ready(()),
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), Full> {
        self.taken += bytes.len() as u64;
        if let Some(most) = self.most.filter(|most| self.taken > *most) {
            return Err(Full(most));
        }
        if let Some(data) = &mut self.hooks.data {
            data(&bytes);
        }
        if let Some(pipe) = &self.hooks.pipe {
            pipe.push(bytes);
        }
        Ok(())
    }

    fn slow(&mut self) {
        if let Some(told) = self.hooks.slow.take() {
            told();
        }
    }
}

/// Tells the end of a command, once: as cancelled, if it is dropped before.
#[derive(Default)]
pub(crate) struct Completion(Vec<Told>);

impl Completion {
    pub(crate) fn add(&mut self, told: Told) {
        self.0.push(told);
    }

    /// Tells whoever wants to know.
    pub(crate) fn tell(mut self, result: Result<Fetched, Error>) {
        self.all(&result);
    }

    fn all(&mut self, result: &Result<Fetched, Error>) {
        for told in self.0.drain(..) {
            let result = result.clone();
            // It owns all it touches: nothing half done is seen after its panic.
            if let Err(panic) = caught(move || told(result)) {
                tracing::error!(panic, "a callback panicked at the end of a fetch");
            }
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.all(&Err(Error::cancelled()));
        }
    }
}
