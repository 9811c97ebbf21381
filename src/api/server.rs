//! Connections: how many there are, how long a client may take to say what it wants, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::router::router;
use super::{Api, base_path};

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 1024;

/// A client that has not finished its headers by then is gone or means harm.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

/// The headers of a request may have so many bytes: a token, a cookie and what browsers add take a fraction.
const HEADER_BYTES: usize = 32 * 1024;

/// How long requests in flight may take when the service ends.
const GOODBYE: Duration = Duration::from_secs(5);

/// After a failure to take a connection, for example for lack of descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until it is told to stop.
pub async fn serve(listener: TcpListener, api: Arc<Api>, stop: CancellationToken) {
    let router = router(api.clone());
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection to the API cannot be taken");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let connection = graceful.watch(connection(stream, address, api.clone(), router.clone()));
        tokio::spawn(async move {
            // A client that goes away, or says no HTTP, is no business of ours.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the API ended");
            }
            drop(place);
        });
    }
    drop(listener);
    api.stopping.cancel();
    if tokio::time::timeout(GOODBYE, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests to the API are given up, since the service ends");
    }
}

fn connection(
    stream: TcpStream,
    address: SocketAddr,
    api: Arc<Api>,
    router: axum::Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    // Small answers are sent at once.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(address));
        let taken = base_path::take(&api.given.base_path, request);
        let router = router.clone();
        async move {
            match taken {
                Ok(request) => router.oneshot(request).await,
                Err(elsewhere) => Ok(elsewhere),
            }
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(HEADER_BYTES.max(8192))
        .serve_connection(TokioIo::new(stream), service)
}
