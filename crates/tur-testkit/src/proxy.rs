//! Proxies on the loopback interface, HTTP and SOCKS5, that write down what they are asked and misbehave if told to.
//!
//! Read [`ProxyServer`] first. Every name and address that a proxy is asked to connect to is this machine: what counts is the
//! port, so that tests can ask for names that no resolver knows.

mod http;
mod socks;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::clock;
use crate::loopback::{Speaks, Tls, listen, tls};

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxySpeech {
    /// HTTP: `CONNECT`, and requests in absolute form.
    #[default]
    Http,
    /// SOCKS5.
    Socks,
}

/// How a proxy misbehaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyDeed {
    /// Not at all.
    #[default]
    Serve,
    /// It answers the first request (SOCKS: the greeting) with these bytes and closes.
    Answer(Vec<u8>),
    /// It answers `CONNECT`, or the request of SOCKS, as it should, and sends these bytes right behind.
    Append(Vec<u8>),
    /// It says so many bytes of a good answer, and then nothing more.
    Stall(usize),
    /// It closes without a word.
    Close,
}

/// How a proxy is set up.
#[derive(Clone, Debug, Default)]
pub struct ProxySetup {
    /// What it speaks.
    pub speech: ProxySpeech,
    /// `Some` for TLS to the proxy itself.
    pub tls: Option<Tls>,
    /// User name and password that it asks for.
    pub credentials: Option<(String, String)>,
    /// What it does wrong.
    pub deed: ProxyDeed,
}

/// What a proxy was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxySeen {
    /// A connection to `host:port`, as it was told.
    Connect(String),
    /// The head of a request that it was to hand on, or of a `CONNECT`, as it came.
    Head(String),
    /// Credentials by SOCKS.
    Password(String, String),
}

/// A running proxy. Dropping it closes every connection and ends its thread.
#[derive(Debug)]
pub struct ProxyServer {
    speech: ProxySpeech,
    address: SocketAddr,
    ca_pem: Option<String>,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    setup: ProxySetup,
    seen: Mutex<Vec<ProxySeen>>,
}

impl ProxyServer {
    /// Starts one.
    ///
    /// # Panics
    /// If the machine has no loopback port, thread or runtime to give, or a name cannot stand in a certificate.
    #[must_use]
    pub fn start(setup: ProxySetup) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a test machine can build a runtime");
        let (acceptor, ca_pem) = match &setup.tls {
            None => (None, None),
            Some(tls) => {
                let (acceptor, pem) = tls::acceptor(&tls.names, Speaks::H1);
                (Some(acceptor), Some(pem))
            }
        };
        let entered = runtime.enter();
        let listener = listen((Ipv4Addr::LOCALHOST, 0), None).expect("a loopback port can be had");
        drop(entered);
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let speech = setup.speech;
        let shared = Arc::new(Shared {
            setup,
            seen: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let accepting = accept(listener, acceptor, Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accepting => {}
                    // Told to stop, or the owner is gone: the same.
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self {
            speech,
            address,
            ca_pem,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// An honest one.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn honest(speech: ProxySpeech) -> Self {
        Self::start(ProxySetup {
            speech,
            ..ProxySetup::default()
        })
    }

    /// Its URL with this userinfo (`""` for none): over TLS `https://localhost:PORT`, for SOCKS `socks5h://…`.
    #[must_use]
    pub fn url(&self, userinfo: &str) -> String {
        let at = if userinfo.is_empty() { "" } else { "@" };
        let port = self.address.port();
        match (self.speech, &self.ca_pem) {
            (ProxySpeech::Http, None) => format!("http://{userinfo}{at}127.0.0.1:{port}"),
            (ProxySpeech::Http, Some(_)) => format!("https://{userinfo}{at}localhost:{port}"),
            (ProxySpeech::Socks, _) => format!("socks5h://{userinfo}{at}127.0.0.1:{port}"),
        }
    }

    /// The authority that vouches for the proxy, in PEM; `None` in clear text.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// All that it was asked, in the order in which it came.
    #[must_use]
    pub fn seen(&self) -> Vec<ProxySeen> {
        self.shared.seen().clone()
    }

    /// The hosts that it was asked to connect to.
    #[must_use]
    pub fn connects(&self) -> Vec<String> {
        let host = |seen| match seen {
            ProxySeen::Connect(host) => Some(host),
            ProxySeen::Head(_) | ProxySeen::Password(..) => None,
        };
        self.seen().into_iter().filter_map(host).collect()
    }
}

impl Drop for ProxyServer {
    fn drop(&mut self) {
        // Dropping the sender ends the accept loop, the runtime then drops every connection.
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the proxy panicked");
        }
    }
}

impl Shared {
    fn saw(&self, what: ProxySeen) {
        self.seen().push(what);
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Vec<ProxySeen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        clock::launch(async move {
            // An error means that somebody went away: there is nobody to tell.
            drop(match acceptor {
                None => converse(tcp, &shared).await,
                Some(acceptor) => match acceptor.accept(tcp).await {
                    Ok(tls) => converse(tls, &shared).await,
                    Err(error) => Err(error),
                },
            });
        });
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: &Shared) -> io::Result<()> {
    match (&shared.setup.deed, shared.setup.speech) {
        (ProxyDeed::Close, _) => Ok(()),
        (_, ProxySpeech::Http) => http::converse(stream, shared).await,
        (_, ProxySpeech::Socks) => socks::converse(stream, shared).await,
    }
}

/// Says the answer by which a connection is granted, as the deed wants it, and then carries bytes both ways.
async fn grant<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    mut origin: TcpStream,
    answer: &[u8],
    deed: &ProxyDeed,
) -> io::Result<()> {
    match deed {
        ProxyDeed::Stall(n) => {
            stream.write_all(&answer[..*n]).await?;
            stream.flush().await?;
            return std::future::pending().await;
        }
        ProxyDeed::Append(more) => stream.write_all(&[answer, more].concat()).await?,
        ProxyDeed::Serve | ProxyDeed::Answer(_) | ProxyDeed::Close => {
            stream.write_all(answer).await?;
        }
    }
    copy_bidirectional(&mut stream, &mut origin).await?;
    Ok(())
}

/// Every host is this machine.
async fn dial(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
}
