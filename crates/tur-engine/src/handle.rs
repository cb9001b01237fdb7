//! What a caller holds of a running download.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::{broadcast, mpsc, oneshot};
use tur_core::Kind;

use crate::board::Board;
use crate::{Completed, Error, Event, Events, Progress};

/// What a caller may say to a driver. The channel is bounded by hand: who floods it waits for nobody and is heard last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Pause,
    Resume,
    Cancel,
}

/// A running download. Dropping it cancels the download and keeps what landed.
#[derive(Debug)]
pub struct Handle {
    board: Board,
    commands: mpsc::Sender<Command>,
    outcome: Option<oneshot::Receiver<Result<Completed, Error>>>,
    first: Mutex<Option<broadcast::Receiver<Event>>>,
}

impl Handle {
    pub(crate) fn new(
        board: Board,
        commands: mpsc::Sender<Command>,
        outcome: oneshot::Receiver<Result<Completed, Error>>,
        first: broadcast::Receiver<Event>,
    ) -> Self {
        Self {
            board,
            commands,
            outcome: Some(outcome),
            first: Mutex::new(Some(first)),
        }
    }

    /// The number that its events carry.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.board.id()
    }

    /// Where it stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.board.progress().clone()
    }

    /// Its events: the first call gets them from the beginning, later ones from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Events::new(first.unwrap_or_else(|| self.board.subscribe()))
    }

    /// Stops fetching and keeps everything, until [`resume`](Handle::resume).
    pub fn pause(&self) {
        self.say(Command::Pause);
    }

    /// Goes on after a [`pause`](Handle::pause).
    pub fn resume(&self) {
        self.say(Command::Resume);
    }

    /// Ends the download and keeps what landed. Its outcome is an error of kind [`Kind::Signal`], unless it was
    /// complete already.
    pub fn cancel(&self) {
        self.say(Command::Cancel);
    }

    /// Waits for the outcome. Cancel-safe; asked again after it was told, it is an error.
    ///
    /// # Errors
    /// Why the download failed; [`Kind::Signal`] if it was cancelled or its downloader is gone.
    pub async fn wait(&mut self) -> Result<Completed, Error> {
        let Some(outcome) = &mut self.outcome else {
            return Err(Error::new(Kind::Usage, "the outcome was told already"));
        };
        let result = outcome.await;
        self.outcome = None;
        result.unwrap_or_else(|_gone| {
            Err(Error::new(Kind::Other, "the engine stopped: this is a bug"))
        })
    }

    fn say(&self, command: Command) {
        // A full channel holds a wish not yet heard, a closed one a download that is over: in both there is nothing
        // to add but a cancel, and dropping the handle is one.
        if let Err(unsaid) = self.commands.try_send(command) {
            tracing::debug!(?unsaid, "a command came too late");
        }
    }
}

impl IntoFuture for Handle {
    type Output = Result<Completed, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move { self.wait().await })
    }
}
