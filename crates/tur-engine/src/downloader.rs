//! The facade: one per application, with the data thread that everything runs on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;
use tur_core::{Kind, Rate};
use tur_net::{HttpSession, HttpTransport, NetConfig};
use tur_sched::DispatchConfig;
use tur_sched::abr::AbrConfig;
use tur_storage::{FileDisk, FileName, Found, Place, PosixDisk, Stay, survey};

use crate::adapt::AbrHandle;
use crate::board::Board;
use crate::bus::{Bus, ROOM};
use crate::careful::Careful;
use crate::clock::Clock;
use crate::command::Waits;
use crate::compute::Compute;
use crate::connections;
use crate::desk::Desk;
use crate::driver::{self, Outside, Pin, World};
use crate::filed::Filed;
use crate::floor::{Floor, serve};
use crate::handle::Wish;
#[cfg(feature = "http3")]
use crate::http3::Http3Guide;
use crate::hub::{Ground, Hub, HubConfig, Making, Message, Newcomer, Run, Worlds};
use crate::job::Job;
use crate::keys;
use crate::limits::{Limit, Limits};
use crate::lookout::Lookout;
use crate::metrics::Totals;
use crate::origins::{Origins, Pattern};
use crate::pressure::Watch;
use crate::reading::{Core, LastWord};
use crate::sampler::Sampler;
use crate::scaling::Scaling;
use crate::seats::Seats;
use crate::sessions::{Caps, PerOrigin, Sessions};
use crate::{
    CancelToken, Download, DownloaderMetrics, Error, Events, Handle, OriginRecord, Peer,
    PeerHandle, PeerNo, StorageKind, WeakPeerHandle, What, bounds,
};

/// Downloads files. Cheap to clone; all clones share the network, the pools of connections and the data thread. When
/// the last clone goes, running downloads are cancelled and keep what landed.
#[derive(Clone)]
pub struct Downloader {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Arc<HttpTransport>,
    warnings: Vec<String>,
    sessions: Sessions<HttpSession>,
    scaling: Scaling,
    sampler: Sampler,
    origins: Origins,
    starts: mpsc::UnboundedSender<Run>,
    /// The way to the hub.
    post: mpsc::UnboundedSender<Message>,
    queue: usize,
    abr: AbrConfig,
    stop: CancelToken,
    next: Arc<AtomicU64>,
    compute: Compute,
    desk: Desk,
    lookout: Lookout,
    storage: StorageKind,
    filed: Filed,
    seats: Seats,
    limit: Arc<Limit>,
    clock: Clock,
    hang: Duration,
    bus: Bus,
    totals: Totals,
    life: Arc<watch::Sender<()>>,
}

/// Settings of a [`Downloader`].
#[derive(Debug)]
#[must_use = "a downloader is made by `build`"]
pub struct DownloaderBuilder {
    pub(crate) net: NetConfig,
    pub(crate) keys: Option<PathBuf>,
    caps: Caps,
    limit: Option<Rate>,
    origins: Option<PathBuf>,
    storage: StorageKind,
    hub: HubConfig,
    throttle: Duration,
    abr: AbrConfig,
    stop: CancelToken,
}

impl DownloaderBuilder {
    /// Most connections of this downloader, over all origins. Default: 128. Fewer are used while memory or
    /// descriptors are short.
    pub fn connections(mut self, n: usize) -> Self {
        self.caps.process = n.max(1);
        self
    }

    /// Most connections to one origin. Default: 32, which a download with more lanes raises; a number that is given
    /// here is not raised.
    pub fn connections_per_origin(mut self, n: usize) -> Self {
        self.caps.per_origin = PerOrigin::Given(n.max(1));
        self
    }

    /// Most bytes per second, over all downloads together, which share it equally. Default: no limit. Heads of answers and
    /// what lower layers add are not counted.
    pub fn limit(mut self, rate: Option<Rate>) -> Self {
        self.limit = rate;
        self
    }

    /// Keeps in this file what was learned of origins, for downloads to come, of this and other processes. Without
    /// one, the default, it is known to this downloader alone and for as long as it lives.
    pub fn origin_memory(mut self, path: Option<PathBuf>) -> Self {
        self.origins = path;
        self
    }

    /// How bytes come into files and out of them. Default: [`StorageKind::Auto`].
    pub fn storage(mut self, kind: StorageKind) -> Self {
        self.storage = kind;
        self
    }

    /// Most requests that one peer may have under way. Default: no limit of its own.
    pub fn requests_per_peer(mut self, n: Option<usize>) -> Self {
        self.hub.per_peer = n.map(|n| n.max(1));
        self
    }

    /// Commands of one peer that may wait for their turn; with as many it is asked for no more, and
    /// [`PeerHandle::execute`] waits. Urgent ones have as much room again, and a peer of high priority of which none waits is
    /// asked although the room for others is taken. Default: 32.
    pub fn peer_queue(mut self, n: usize) -> Self {
        self.hub.queue = n.max(1);
        self
    }

    /// A fetch that has brought nothing for so long is told to be slow, and goes on. Default: 2 s.
    pub fn slow_after(mut self, limit: Duration) -> Self {
        self.hub.waits.slow = limit;
        self
    }

    /// Limit for the head of an answer and for the silence of a body of a peer's fetch. Default: 30 s.
    pub fn peer_read_timeout(mut self, limit: Duration) -> Self {
        self.hub.waits.read = limit;
        self
    }

    /// Nothing may move for so long before that is told by [`What::Stalled`], with what is waited for; told again at each
    /// doubling, and nothing is stopped. Default: 60 s, longer than any time-out unless that was raised.
    pub fn hang_after(mut self, time: Duration) -> Self {
        self.hub.hang = time;
        self
    }

    /// How long a fetch ahead is held back before it begins, so that something urgent finds the network free. Default: not
    /// at all.
    pub fn demand_throttle(mut self, time: Duration) -> Self {
        self.throttle = time;
        self
    }

    /// The rules by which variants are chosen.
    pub fn abr(mut self, config: AbrConfig) -> Self {
        self.abr = config;
        self
    }

    /// Everything ends as cancelled with this token, as if the last downloader had gone.
    pub fn stop_with(mut self, token: &CancelToken) -> Self {
        self.stop = token.child();
        self
    }

    /// Starts the data thread.
    ///
    /// # Errors
    /// `Usage` if a setting cannot be used, `Other` if the system has no thread to give.
    pub fn build(self) -> Result<Downloader, Error> {
        let keys = self.keys.as_deref().map(keys::open);
        let (log, told) = keys.map_or((None, None), |(log, told)| (log, Some(told)));
        let origins = Origins::kept(PosixDisk, self.origins.as_deref(), !self.net.insecure)?;
        let transport = HttpTransport::new(self.net.key_log(log), connections::spawner())
            .map_err(|error| Error::new(Kind::Usage, error.to_string()))?;
        #[cfg(feature = "http3")]
        let transport = transport.guided(Arc::new(Http3Guide::new(origins.clone())));
        let clock = Clock::start();
        let bus = Bus::new(clock);
        let dispatch = DispatchConfig {
            throttle: self.throttle,
            ..DispatchConfig::default()
        };
        let sessions = Sessions::with_dispatch(self.caps, dispatch)
            .with_rooms(connections::rooms(&transport))
            .asking(connections::room_of)
            .told_in(bus.scope().clone());
        let (starts, inbox) = mpsc::unbounded_channel();
        let (post, messages) = mpsc::unbounded_channel();
        let failed = |error: std::io::Error| {
            Error::new(Kind::Other, format!("cannot start the engine: {error}"))
        };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let shared = Shared {
            warnings: transport.warnings().into_iter().chain(told).collect(),
            transport: Arc::new(transport),
            sessions,
            scaling: Scaling::new(),
            sampler: Sampler::new(clock),
            origins,
            starts,
            post,
            queue: self.hub.queue,
            abr: self.abr,
            stop: self.stop.clone(),
            next: Arc::new(AtomicU64::new(1)),
            compute: Compute::new(),
            desk: Desk::default(),
            lookout: Lookout::new(self.hub.hang),
            storage: self.storage,
            filed: Filed::default(),
            seats: Seats::new(PosixDisk.descriptors_max()),
            limit: Limit::new(clock, self.limit),
            clock,
            hang: self.hub.hang,
            bus,
            totals: Totals::default(),
            life: Arc::new(watch::channel(()).0),
        };
        let ground = shared.ground();
        let hub = Hub::new(self.hub, ground, messages);
        let (watchers, life) = (shared.compute.clone(), Arc::downgrade(&shared.life));
        let (pools, stop) = (shared.sessions.clone(), self.stop);
        thread::Builder::new()
            .name("tur-data".into())
            .spawn(move || {
                runtime.block_on(async {
                    let watch = Watch::new(watchers, clock);
                    let floor = Floor { pools, clock, hub };
                    serve(inbox, floor, watch, (stop, life)).await;
                });
            })
            .map_err(failed)?;
        Ok(Downloader {
            shared: Arc::new(shared),
        })
    }
}

impl Shared {
    /// What the hub stands on: nothing of it keeps the downloader.
    fn ground(&self) -> Ground<HttpTransport, FileDisk> {
        let limits = Limits {
            process: Arc::clone(&self.limit),
            transfer: Limit::new(self.clock, None),
        };
        let template = self.world(limits, Stay::Kept);
        let life = self.life.subscribe();
        let clock = self.clock;
        let worlds: Worlds<HttpTransport, FileDisk> = Box::new(move || {
            let limits = Limits {
                process: Arc::clone(&template.limits.process),
                transfer: Limit::new(clock, None),
            };
            let world = World {
                transport: transport(&template.transport, &limits),
                limits,
                ..template.clone()
            };
            (world, life.clone())
        });
        let next = Arc::clone(&self.next);
        Ground {
            sessions: self.sessions.clone(),
            clock: self.clock,
            sampler: self.sampler.clone(),
            totals: self.totals.clone(),
            scope: self.bus.scope().clone(),
            post: self.post.downgrade(),
            worlds,
            number: Box::new(move || next.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn world(&self, limits: Limits, stay: Stay) -> World<HttpTransport, FileDisk> {
        let pinned = Arc::clone(&self.transport);
        World {
            transport: transport(&self.transport, &limits),
            pin: Pin::new(move |origin, address| pinned.pin(origin, address)),
            sessions: self.sessions.clone(),
            origins: self.origins.clone(),
            disk: FileDisk::new(self.storage).staying(stay),
            filed: self.filed.of(stay),
            compute: self.compute.clone(),
            desk: self.desk.clone(),
            lookout: self.lookout.clone(),
            limits,
            scaling: self.scaling.clone(),
            sampler: self.sampler.clone(),
            clock: self.clock,
            hang: self.hang,
        }
    }
}

impl Downloader {
    /// A downloader with other than the default settings.
    pub fn builder() -> DownloaderBuilder {
        DownloaderBuilder {
            net: NetConfig::default(),
            keys: None,
            caps: Caps::default(),
            limit: None,
            origins: None,
            storage: StorageKind::default(),
            hub: HubConfig {
                queue: bounds::PEER_QUEUE,
                per_peer: None,
                waits: Waits {
                    read: bounds::READ_TIMEOUT,
                    slow: bounds::SLOW_AFTER,
                },
                hang: tur_sched::HANG,
            },
            throttle: Duration::ZERO,
            abr: AbrConfig::default(),
            stop: CancelToken::new(),
        }
    }

    /// A download of `url`, to be set up and started.
    pub fn download(&self, url: &str) -> Download {
        Download::new(self.clone(), url)
    }

    /// The file at `path` is that of `url`, says who has kept account of earlier runs: no other URL's download takes it for its
    /// own only because length and date agree. Nothing is remembered of a file that is not there.
    ///
    /// # Errors
    /// The URL or the path cannot be used.
    pub fn remember_file(&self, url: &str, path: &Path) -> Result<(), Error> {
        let target = tur_http::target(url);
        let (target, _) = target.map_err(|error| Error::new(Kind::Usage, error.to_string()))?;
        let name = path.file_name().and_then(|name| name.to_str());
        let place = Place {
            dir: path.parent().map(Path::to_owned).unwrap_or_default(),
            name: FileName::new(name.unwrap_or_default())?,
            create_dirs: false,
        };
        if let Ok(Found::File { id, .. }) = survey(&PosixDisk, &place) {
            self.shared.filed.claim(path, id, &target.to_string());
        }
        Ok(())
    }

    /// Adds something that wants bytes. It is asked for commands from now on, until the last clone of its handle goes. Works
    /// from any thread, with or without a runtime, whatever is under way.
    pub fn register<P: Peer + 'static>(&self, peer: Arc<P>) -> PeerHandle {
        self.register_with(move |_| peer)
    }

    /// As [`register`](Self::register), for a peer that knows its own handle: one that does not keep it. Commands that are
    /// sent through it while `make` runs are accepted, and begin once it has returned: `make` must not wait for their end. If
    /// it panics, they are cancelled.
    pub fn register_with<P: Peer + 'static>(
        &self,
        make: impl FnOnce(&WeakPeerHandle) -> Arc<P>,
    ) -> PeerHandle {
        let shared = &self.shared;
        let number = PeerNo(shared.next.fetch_add(1, Ordering::Relaxed));
        let bus = shared.bus.child(Some(number));
        let abr = AbrHandle::new(number, shared.abr, shared.clock, shared.post.downgrade());
        let told = (bus.scope().clone(), abr.clone());
        let handle = PeerHandle::new(number, shared.post.clone(), shared.queue, told);
        let making = Making::new(&shared.post, number);
        let who = make(&handle.downgrade());
        let who: Arc<dyn Peer> = who;
        let who = Careful::new(who);
        making.made(number, Newcomer { who, abr, bus });
        handle
    }

    /// What the user should be told, such as that bundled root certificates are in use.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.shared.transport.notes();
        notes.extend(self.shared.origins.notes());
        notes
    }

    /// What the user should be told whatever they want to hear: which protection was switched off. Each download begins
    /// with an event that says it too.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.shared.warnings.clone()
    }

    /// What its downloads have counted and measured, those that run up to 200 ms ago, and how its connections stand. Waits
    /// for nobody, wherever it is called.
    #[must_use]
    pub fn metrics(&self) -> DownloaderMetrics {
        self.shared.totals.look(self.shared.sessions.gauge())
    }

    /// The events of all its downloads from now on, and its own. 1 024 are kept until they are taken.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events_with_room(ROOM)
    }

    /// As [`events`](Downloader::events), with room for `n` events, one at least.
    #[must_use]
    pub fn events_with_room(&self, n: usize) -> Events {
        Events::new(self.shared.bus.scope().subscribe(n))
    }

    /// What is remembered of origins, the latest first. Reads the file, if there is one, and waits for that.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or was written by a newer version.
    pub fn origins(&self) -> Result<Vec<OriginRecord>, Error> {
        self.shared.origins.list()
    }

    /// Forgets origins, all or those that `pattern` names: a URL, of which only the origin counts, a host, or
    /// `host:port`. Returns how many were known. Waits for the file, if there is one.
    ///
    /// # Errors
    /// `Usage` for a pattern that is none of these; the file cannot be replaced, or a newer version wrote it.
    pub fn forget_origins(&self, pattern: Option<&str>) -> Result<usize, Error> {
        let pattern = pattern.map_or(Ok(Pattern::All), Pattern::parse)?;
        self.shared.origins.forget(pattern)
    }

    /// Writes what was learned of origins and waits for that, for `limit` at most. Otherwise it is written some seconds
    /// later, or when the last downloader is gone: this is for programs that end at once.
    ///
    /// # Errors
    /// It is not written: nothing else is wrong.
    pub fn flush_origins(&self, limit: Duration) -> Result<(), Error> {
        self.shared.origins.flush(limit)
    }

    /// Allows so many bytes per second from now on, over all downloads together; `None` lifts the limit. Running downloads
    /// feel it at once, but connections that are open keep their buffers.
    pub fn set_limit(&self, rate: Option<Rate>) {
        self.shared.limit.set(rate);
    }

    /// Sends a driver for `job` to the data thread.
    pub(crate) fn launch(self, job: Result<Job, Error>, reading: Option<Arc<Core>>) -> Handle {
        let shared = &self.shared;
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let bus = shared.bus.child(None);
        let board = Board::new(id, bus.scope().clone());
        let first = board.subscribe(ROOM);
        if job.is_ok() {
            board.tell(Duration::ZERO, What::Enqueued);
            for warning in &shared.warnings {
                board.tell(Duration::ZERO, What::Note(warning.clone()));
            }
        }
        let (commands, heard) = watch::channel(Wish::default());
        let (told, outcome) = oneshot::channel();
        let mut outside = Outside {
            board: board.clone(),
            commands: heard,
            life: shared.life.subscribe(),
        };
        let limits = Limits {
            process: Arc::clone(&shared.limit),
            transfer: Limit::new(shared.clock, job.as_ref().ok().and_then(|job| job.limit)),
        };
        let own_limit = Arc::clone(&limits.transfer);
        let stay = job.as_ref().map_or(Stay::Kept, |job| job.stay);
        let world = shared.world(limits, stay);
        let stopped = shared.stop.is_cancelled();
        let (seats, totals) = (shared.seats.clone(), shared.totals.clone());
        let readers = LastWord(reading);
        let drive = async move {
            let result = match job {
                _ if stopped => driver::refuse(&outside.board, Error::cancelled()),
                Ok(job) => match seats.take(&mut outside).await {
                    Some(_seat) => {
                        let _counted = totals.enter(id, outside.board.metrics().clone());
                        world.sessions.raise_limit(usize::from(job.lanes_max));
                        let (now, priority) = (world.clock.now(), job.priority);
                        let permits = &world.sessions;
                        permits.permits(now, |permits| permits.declare(id, priority));
                        let sessions = world.sessions.clone();
                        let result = driver::run(world, job, outside).await;
                        // One that never came to ask for anything has left this behind.
                        sessions.permits(now, |permits| permits.forget(now, id));
                        result
                    }
                    None => driver::refuse(&outside.board, Error::cancelled()),
                },
                Err(error) => driver::refuse(&outside.board, error),
            };
            readers.end(&result);
            // Its last event is told: its streams end, and the downloader's if this was its last.
            drop(bus);
            // The handle may be gone: then nobody waits.
            drop(told.send(result));
        };
        let drive = drive.instrument(tracing::info_span!("download", id));
        if shared.starts.send(Box::pin(drive)).is_err() {
            // Only a bug ends it while there is a downloader. Who waits for the outcome is told the same.
            let error = Error::new(Kind::Other, "the engine stopped: this is a bug");
            driver::refuse(&board, error).ok();
        }
        Handle::new(board, commands, own_limit, outcome, first)
    }
}

impl fmt::Debug for Downloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downloader")
            .field("transport", &self.shared.transport)
            .finish_non_exhaustive()
    }
}

/// The transport of a download under `limits`.
fn transport(shared: &Arc<HttpTransport>, limits: &Limits) -> Arc<HttpTransport> {
    match limits.receive_buffer() {
        Some(bytes) => Arc::new(shared.with_receive_buffer(bytes)),
        None => Arc::clone(shared),
    }
}
