//! A download that is read while it arrives: [`Media`].

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tur_engine::{
    ByteRange, Demand, Download, Downloader, Error, Events, Handle, Metrics, Progress, RangeSet,
    Reading, Status, Wait,
};

use crate::cache::Pinned;
use crate::interrupt::on_this_thread;
use crate::options::LOOK_AHEAD_MIN;
use crate::views::Views;
use crate::{Activity, AsyncReader, Fill, Options, Reader};

/// A download that is read while it arrives. Cheap to clone; all clones and all readers share it, and the last one that goes
/// cancels it and keeps what landed.
#[derive(Clone)]
pub struct Media {
    pub(crate) inner: Arc<Inner>,
}

/// See [`Media`].
pub(crate) struct Inner {
    handle: Handle,
    pub(crate) reading: Reading,
    fill: Fill,
    views: Mutex<Views>,
    #[cfg(feature = "serve")]
    pub(crate) likely_name: String,
    /// Held for what it does when it goes, which is after the download was let go of.
    #[expect(dead_code, reason = "the asset is let go of by being dropped")]
    pinned: Option<Pinned>,
}

impl Media {
    /// Begins to download `url`, or goes on with what an earlier run left in the same place. Returns at once.
    ///
    /// Mistakes, such as a URL that cannot be used, are told by whatever is asked of it later.
    #[must_use]
    pub fn open(downloader: &Downloader, url: &str, options: Options) -> Self {
        Self::of(downloader.download(url), options)
    }

    /// As [`open`](Self::open), of a download with settings of its own: credentials, lanes, limits. The place and the priority
    /// are those of `options`, where they name any.
    #[must_use]
    pub fn of(download: Download, options: Options) -> Self {
        Self::begin(download, &options, None)
    }

    /// As [`of`](Self::of), of what a cache keeps for as long as this is there.
    pub(crate) fn pinned(download: Download, options: &Options, pinned: Pinned) -> Self {
        Self::begin(download, options, Some(pinned))
    }

    fn begin(download: Download, options: &Options, pinned: Option<Pinned>) -> Self {
        // All assets of a cache have one name, which says nothing to players.
        #[cfg(feature = "serve")]
        let of_url = pinned.is_some().then(|| download.likely_name());
        let download = options.apply(download);
        #[cfg(feature = "serve")]
        let likely_name = of_url.unwrap_or_else(|| download.likely_name());
        let views = Views::new(options.look_ahead);
        let (window, ahead) = spans(options.fill, &views);
        let (handle, reading) = download.start_reading(window, ahead);
        let inner = Inner {
            handle,
            reading,
            fill: options.fill,
            views: Mutex::new(views),
            #[cfg(feature = "serve")]
            likely_name,
            pinned,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A reader at the beginning, for threads that may wait. It needs no runtime.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.inner))
    }

    /// A reader at the beginning, for a runtime, whichever.
    #[must_use]
    pub fn async_reader(&self) -> AsyncReader {
        AsyncReader::new(Arc::clone(&self.inner))
    }

    /// Its length in bytes, as soon as the origin has told it, or its end has shown it.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.inner.reading.len()
    }

    /// True if it is known to have no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The media type that the origin tells, without parameters; `None` before it does, and for a file that was there already.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        self.inner.reading.content_type()
    }

    /// False if seeking ahead is known to mean waiting for all bytes before: the origin serves no ranges, and not everything is
    /// there.
    #[must_use]
    pub fn is_seekable(&self) -> bool {
        let whole = matches!(self.status(), Status::Committed { .. });
        whole || self.inner.reading.takes_ranges() != Some(false)
    }

    /// The bytes that can be read without waiting, which those that were [given back](Self::passed) cannot. After a failure
    /// readers get them still, and at a hole the reason.
    #[must_use]
    pub fn buffered(&self) -> RangeSet {
        self.inner.reading.covered()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.reading.status()
    }

    /// Its progress, as that of any download.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.inner.handle.progress()
    }

    /// What it has counted and measured, as of any download.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.inner.handle.metrics()
    }

    /// Its events: the first call gets them from the beginning, later ones from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.inner.handle.events()
    }

    /// So many bytes ahead of each reader come before the rest from now on, at least 64 KiB.
    pub fn set_look_ahead(&self, bytes: u64) {
        let mut views = self.inner.views();
        views.set_look_ahead(bytes.max(LOOK_AHEAD_MIN));
        self.inner.tell_views(&views);
    }

    /// How much it matters from now on.
    pub fn priority(&self, activity: Activity) {
        self.inner.handle.set_priority(activity.priority());
    }

    /// Uses at least and at most so many lanes from now on; see [`Handle::set_lanes`].
    pub fn set_lanes(&self, lanes: RangeInclusive<u16>) {
        self.inner.handle.set_lanes(lanes);
    }

    /// Stops fetching; what is there can be read. Whoever waits for more waits on.
    pub fn pause(&self) {
        self.inner.handle.pause();
    }

    /// Goes on after a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.inner.handle.resume();
    }

    /// What stands before `at` will not be read again by anybody: of a [`Place::Passing`](crate::Place::Passing) its room is given
    /// back, some MiB at a time, and reading it is an error from then on. Elsewhere this means nothing.
    pub fn passed(&self, at: u64) {
        self.inner.handle.passed(at);
    }

    /// Ends it for all its readers, and keeps what landed. A file that is complete stays readable.
    pub fn cancel(&self) {
        self.inner.handle.cancel();
    }

    /// Ready when these bytes can be read, as far as the file reaches; they come before all others. An empty range waits
    /// for the first answer alone: then length and type are known, if the origin tells them. If what the range begins with was
    /// [given back](Self::passed), it is the error that a read there is.
    pub fn ready(&self, range: ByteRange) -> Ready {
        let inner = Arc::clone(&self.inner);
        let view = (!range.is_empty()).then(|| inner.enter_wait(range));
        Ready {
            demand: view.map(|_| inner.reading.demand(range)),
            wait: inner.reading.wait(None, range),
            view,
            inner,
        }
    }

    /// Waits, on this thread, as [`ready`](Self::ready) does.
    ///
    /// # Errors
    /// Why the bytes will not come.
    pub fn wait_ready(&self, range: ByteRange) -> Result<(), Error> {
        on_this_thread(self.ready(range))
    }

    /// Ready when the file is complete, verified and under its name.
    ///
    /// # Errors
    /// Why it never will be.
    pub async fn committed(&self) -> Result<(), Error> {
        self.inner.reading.committed().await
    }

    /// Waits, on this thread, as [`committed`](Self::committed) does.
    ///
    /// # Errors
    /// Why it never will be.
    pub fn wait_committed(&self) -> Result<(), Error> {
        on_this_thread(self.inner.reading.committed())
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// A reader comes.
    pub(crate) fn enter(&self, at: u64) -> u64 {
        let mut views = self.views();
        let id = views.enter(at);
        self.tell_views(&views);
        id
    }

    /// A reader has moved.
    pub(crate) fn moved(&self, id: u64, at: u64) {
        let mut views = self.views();
        if views.moved(id, at) {
            self.tell_views(&views);
        }
    }

    pub(crate) fn leave(&self, id: u64) {
        let mut views = self.views();
        views.leave(id);
        self.tell_views(&views);
    }

    fn enter_wait(&self, range: ByteRange) -> u64 {
        let mut views = self.views();
        let id = views.enter_wait(range);
        self.tell_views(&views);
        id
    }

    fn tell_views(&self, views: &Views) {
        let (window, ahead) = spans(self.fill, views);
        self.reading.set_window(window, ahead);
    }

    fn views(&self) -> MutexGuard<'_, Views> {
        // Each step leaves them whole.
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be fetched, and what of that comes first.
fn spans(fill: Fill, views: &Views) -> (Option<RangeSet>, RangeSet) {
    let ahead = views.ahead();
    let window = (fill == Fill::Window).then(|| ahead.clone());
    (window, ahead)
}

/// Waits for bytes; see [`Media::ready`]. Dropping it is all it takes to wait no more.
#[must_use = "nothing waits before it is awaited"]
pub struct Ready {
    wait: Wait,
    /// Held for what it does when it goes.
    #[expect(dead_code, reason = "it is taken back by being dropped")]
    demand: Option<Demand>,
    view: Option<u64>,
    inner: Arc<Inner>,
}

impl Future for Ready {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.wait).poll(cx)
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(view) = self.view {
            self.inner.leave(view);
        }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wait.fmt(f)
    }
}
