//! Connections: how many there are, how long a client may take to say what it wants, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::patience::Patient;
use super::places::{Place, Places};
use super::router::router;
use super::{Api, base_path};

/// Connections at a time.
const CONNECTIONS: usize = 1024;

/// A client that has not finished its headers by then is gone or means harm.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

/// The headers of a request may have so many bytes, the line before them included: a token, a cookie and what browsers add take a fraction.
const HEADER_BYTES: usize = 32 * 1024;

/// A client that takes nothing of its answer for so long is gone or means harm.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// How long requests in flight may take when the service ends.
const GOODBYE: Duration = Duration::from_secs(5);

/// After a failure to take a connection, for example for lack of descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until it is told to stop.
pub async fn serve(listener: TcpListener, api: Arc<Api>, stop: CancellationToken) {
    let router = router(api.clone());
    let places = Places::new(CONNECTIONS);
    let graceful = GracefulShutdown::new();
    loop {
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
        // Clients that stay must not keep the service.
        let place = tokio::select! {
            place = places.take() => place,
            () = stop.cancelled() => break,
        };
        let service = Service {
            address,
            place: place.clone(),
            base_path: api.given.base_path.as_str().into(),
            router: router.clone(),
        };
        // Small answers are sent at once.
        let _ = stream.set_nodelay(true);
        let connection = graceful.watch(connection(Patient::new(stream, ANSWER_PATIENCE), service));
        tokio::spawn(async move {
            tokio::select! {
                // A client that goes away, or says no HTTP, is no business of ours.
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the API ended");
                },
                () = place.wanted() => tracing::debug!(%address, "a connection without a token makes room for another"),
            }
        });
    }
    drop(listener);
    api.stopping.cancel();
    if tokio::time::timeout(GOODBYE, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests to the API are given up, since the service ends");
    }
}

/// What answers on one connection.
struct Service {
    address: SocketAddr,
    place: Arc<Place>,
    base_path: Arc<str>,
    router: axum::Router,
}

fn connection<S>(
    stream: S,
    service: Service,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(service.address));
        request.extensions_mut().insert(service.place.clone());
        let taken = base_path::take(&service.base_path, request);
        let router = service.router.clone();
        async move {
            match taken {
                Ok(request) => router.oneshot(request).await,
                Err(elsewhere) => Ok(*elsewhere),
            }
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        // The buffer alone bounds no headers that come in one piece.
        .max_header_size(HEADER_BYTES)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_client_that_never_reads_is_let_go() {
        let (here, mut there) = tokio::io::duplex(1024);
        let service = Service {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            place: Places::new(1).take().await,
            base_path: "".into(),
            router: axum::Router::new().fallback(|| async { "x".repeat(1024 * 1024) }),
        };
        let connection = connection(Patient::new(here, Duration::from_millis(20)), service);
        there.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(60), connection).await;
        assert!(ended.expect("it is let go").is_err());
    }
}
