//! One small fetch that a peer asks for: [`Command`].

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use tur_core::port::Field;
use tur_core::{ByteRange, Kind, Secret, Target};
use tur_http::{Netrc, RedirectPolicy, Terms, TypeGlob};
use tur_sched::{Priority, RetryPolicy};

use crate::careful::{Careful, caught};
use crate::credentials::{Credentials, Given};
use crate::delivery::{Completion, Delivery, Hooks};
use crate::fetch::{FetchJob, Fetched, Head};
use crate::passport::SignIn;
use crate::{CancelToken, Error, bounds, download};

/// A fetch of a file or of a range of it, into callbacks, a buffer or a stream. Whoever accepts it completes it exactly
/// once, whatever becomes of the peer, the downloader or the network.
///
/// Callbacks run on the engine's thread, which moves everybody's bytes: they are to be quick and must not block. One that
/// panics costs its own fetch alone.
#[must_use = "a command is carried out by a peer's handle, or handed over by `Peer::poll_next`"]
pub struct Command {
    url: String,
    range: Result<Option<ByteRange>, Error>,
    fields: Vec<Field>,
    given: Given,
    priority: Priority,
    demand: Option<Demand>,
    epoch: Option<CancelToken>,
    terms: Terms,
    retry: RetryPolicy,
    read_timeout: Option<Duration>,
    slow_after: Option<Duration>,
    bytes_max: Option<u64>,
    hooks: Hooks,
    done: Completion,
}

/// Where, which bytes, and what is shown.
type Checked = (Target, Option<ByteRange>, (Vec<Field>, SignIn));

/// True while somebody waits for these bytes now.
pub(crate) type Demand = Box<dyn Fn() -> bool + Send + Sync>;

/// A command that was checked, and what it was asked with.
pub(crate) struct Accepted {
    pub(crate) job: FetchJob,
    pub(crate) priority: Priority,
    pub(crate) demand: Option<Demand>,
    pub(crate) epoch: Option<CancelToken>,
    pub(crate) delivery: Delivery,
    pub(crate) done: Completion,
}

/// What a command has where it says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) read: Duration,
    pub(crate) slow: Duration,
}

impl Command {
    /// Fetches the whole of `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            range: Ok(None),
            fields: Vec::new(),
            given: Given::default(),
            priority: Priority::High,
            demand: None,
            epoch: None,
            terms: Terms::default(),
            retry: RetryPolicy::default(),
            read_timeout: None,
            slow_after: None,
            bytes_max: None,
            hooks: Hooks::default(),
            done: Completion::default(),
        }
    }

    /// Only these bytes: `0..100` are the first hundred, `100..` all but these. What lies beyond the end is not there, and
    /// no error; a range that begins there is one.
    pub fn range(mut self, range: impl RangeBounds<u64>) -> Self {
        self.range = bytes_of(&range).map(Some);
        self
    }

    /// A request field for the origin of the URL, and no other. Replaces one of tur's own.
    pub fn field(mut self, name: &str, value: impl Into<Secret>) -> Self {
        self.fields.push(Field {
            name: name.to_owned(),
            value: value.into(),
        });
        self
    }

    /// As [`Download::basic_auth`](crate::Download::basic_auth).
    pub fn basic_auth(mut self, user: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        self.given.credentials = Some(Credentials::Basic(user.into(), password.into()));
        self
    }

    /// As [`Download::digest`](crate::Download::digest). A challenge is answered for each command anew.
    pub fn digest(mut self, user: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        self.given.credentials = Some(Credentials::Digest(user.into(), password.into()));
        self
    }

    /// As [`Download::bearer`](crate::Download::bearer).
    pub fn bearer(mut self, token: impl Into<Secret>) -> Self {
        self.given.credentials = Some(Credentials::Bearer(token.into()));
        self
    }

    /// As [`Download::netrc`](crate::Download::netrc).
    pub fn netrc(mut self, netrc: Arc<Netrc>) -> Self {
        self.given.netrc = Some(netrc);
        self
    }

    /// As [`Download::cookies`](crate::Download::cookies). What answers set is kept for this command alone.
    pub fn cookies(mut self, text: impl Into<Secret>) -> Self {
        self.given.cookies.0.push(text.into());
        self
    }

    /// How urgent it is among the commands of its peer. Default: `High`, the next to be needed; `Low` is for what is
    /// fetched ahead.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Asked at decisions, at most once a millisecond: while it says true, somebody waits for these bytes and the command counts as `High`,
    /// whatever its priority. It must not block.
    pub fn demand(mut self, waits: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let waits = Careful::new(waits);
        // A probe whose panic says that nobody waits.
        self.demand = Some(Box::new(move || caught(&*waits).unwrap_or(false)));
        self
    }

    /// Ends as cancelled with this token: one token for all that one seek has asked for, say.
    pub fn epoch(mut self, token: &CancelToken) -> Self {
        self.epoch = Some(token.clone());
        self
    }

    /// Takes only answers of such a media type, or of another one that was given; others fail with kind `Server` before any
    /// byte. An answer without a type counts as `application/octet-stream`.
    pub fn accept_type(mut self, glob: TypeGlob) -> Self {
        self.terms.types.push(glob);
        self
    }

    /// Looks at the answer before any byte: an `Err` refuses it, and its sentence is the error's. It sees another answer if
    /// the file changes before a byte has come.
    pub fn accept(
        mut self,
        check: impl FnMut(&Head) -> Result<(), String> + Send + 'static,
    ) -> Self {
        self.hooks.accept = Some(Box::new(check));
        self
    }

    /// Told of the answer, once, before any byte.
    pub fn on_response(mut self, told: impl FnOnce(&Head) + Send + 'static) -> Self {
        self.hooks.response = Some(Box::new(told));
        self
    }

    /// Gets the bytes, in order, each once. Without it they are kept for [`execute`](crate::PeerHandle::execute).
    pub fn on_data(mut self, take: impl FnMut(&[u8]) + Send + 'static) -> Self {
        self.hooks.data = Some(Box::new(take));
        self
    }

    /// Told once if nothing came for the soft time-out; the fetch goes on.
    pub fn on_slow(mut self, told: impl FnOnce() + Send + 'static) -> Self {
        self.hooks.slow = Some(Box::new(told));
        self
    }

    /// Told of the end, exactly once, on any path; also if the command is dropped before anybody accepts it.
    pub fn on_complete(
        mut self,
        told: impl FnOnce(Result<Fetched, Error>) + Send + 'static,
    ) -> Self {
        self.done.add(Box::new(told));
        self
    }

    /// Retries and backoff. Default: those of a download.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Limit for the head of an answer and for the silence of a body: an error, never an end. Default: the downloader's.
    pub fn read_timeout(mut self, limit: Duration) -> Self {
        self.read_timeout = Some(limit);
        self
    }

    /// After so long without a byte it is told to be slow. Default: the downloader's.
    pub fn slow_after(mut self, limit: Duration) -> Self {
        self.slow_after = Some(limit);
        self
    }

    /// Fails with kind `Limit` if more comes. Default: no limit, but 64 MiB where the bytes are kept in memory.
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = Some(bytes);
        self
    }

    pub(crate) fn hooks(&mut self) -> &mut Hooks {
        &mut self.hooks
    }

    /// How urgent it is, and who is asked about that.
    pub(crate) fn urgency(&self) -> (Priority, Option<&Demand>) {
        (self.priority, self.demand.as_ref())
    }

    /// Its epoch.
    pub(crate) fn token(&self) -> Option<CancelToken> {
        self.epoch.clone()
    }

    pub(crate) fn is_buffered(&self) -> bool {
        self.hooks.data.is_none()
    }

    /// Bounds what is kept in memory, unless it says itself how much that may be.
    pub(crate) fn bound(&mut self) {
        self.bytes_max.get_or_insert(bounds::BUFFERED_BYTES);
    }

    /// Checks it. What is wrong is told as its end.
    pub(crate) fn accepted(self, waits: Waits) -> Option<Accepted> {
        match self.checked() {
            Ok((target, range, (fields, sign_in))) => Some(Accepted {
                job: FetchJob {
                    target,
                    fields,
                    sign_in,
                    span: range,
                    terms: self.terms,
                    retry: self.retry,
                    read_timeout: self.read_timeout.unwrap_or(waits.read),
                    max_time: None,
                    slow_after: self.slow_after.unwrap_or(waits.slow),
                    redirects: RedirectPolicy {
                        allow_downgrade: false,
                    },
                    seed: download::seed(),
                },
                priority: self.priority,
                demand: self.demand,
                epoch: self.epoch,
                delivery: Delivery::new(self.hooks, self.bytes_max),
                done: self.done,
            }),
            Err(error) => {
                self.done.tell(Err(error));
                None
            }
        }
    }

    fn checked(&self) -> Result<Checked, Error> {
        let (target, userinfo) = tur_http::target(&self.url)
            .map_err(|error| Error::new(Kind::Usage, error.to_string()))?;
        let range = self.range.clone()?;
        let shown = self
            .given
            .clone()
            .sign_in(&target, userinfo, &self.fields)?;
        Ok((target, range, shown))
    }
}

impl fmt::Debug for Command {
    /// Without URL, fields and credentials: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("range", &self.range.as_ref().ok())
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

fn bytes_of(range: &impl RangeBounds<u64>) -> Result<ByteRange, Error> {
    let start = match range.start_bound() {
        Bound::Included(start) => Some(*start),
        Bound::Excluded(before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.checked_add(1),
        Bound::Excluded(end) => Some(*end),
        Bound::Unbounded => Some(u64::MAX),
    };
    match (start, end) {
        (Some(start), Some(end)) if start <= end => Ok(ByteRange::new(start, end)),
        _ => Err(Error::new(
            Kind::Usage,
            "a range ends where it begins, or later",
        )),
    }
}
