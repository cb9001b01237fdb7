//! Who comes in: [`keep`] takes connections, so many at a time, and serves each of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::EndpointOptions;
use super::answer::answer;
use super::flow::PIECE;
use super::shelf::Shelf;

/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Fields of a request's head at most.
const FIELDS_MAX: usize = 64;
/// The system has no descriptor for a connection: after this it may have one.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves whoever comes, until it is dropped, and with it every connection.
pub(super) async fn keep(listener: TcpListener, shelf: Arc<Shelf>, options: EndpointOptions) {
    let places = Arc::new(Semaphore::new(options.connections));
    let mut inside = JoinSet::new();
    loop {
        // Others wait in the queue of the system.
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("nobody closes it");
        while inside.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, _)) => {
                let (shelf, head_wait) = (Arc::clone(&shelf), options.head_wait);
                inside.spawn(async move {
                    serve(socket, shelf, head_wait).await;
                    drop(place);
                });
            }
            Err(_) => pause().await,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "who cannot accept has nothing else to wait for"
)]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}

/// One connection, to its end.
async fn serve(socket: TcpStream, shelf: Arc<Shelf>, head_wait: Duration) {
    // A head goes out at once. Where that cannot be asked for, it goes out a little later.
    socket.set_nodelay(true).ok();
    let service = service_fn(move |request| {
        let shelf = Arc::clone(&shelf);
        async move { Ok::<_, Infallible>(answer(&shelf, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_wait)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .max_buf_size(PIECE)
        .serve_connection(TokioIo::new(socket), service);
    // How it ended is the client's affair: a failed download has failed elsewhere too.
    connection.await.ok();
}
