//! The admin HTTP port: health for load balancers, metrics for Prometheus. Its own OS thread with its own small runtime, so
//! that nothing here can hold a shard up; it reaches the shards by questions with an answer or none.

pub mod metrics;
pub mod page;
pub mod process;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::problem::{Outcome, Tried};

/// Where the process is in its life, for `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Recovery is under way.
    Starting = 0,
    /// Clients are served.
    Serving = 1,
    /// A clean shutdown is under way.
    Stopping = 2,
}

/// What the admin thread may ask of the shards. Called on the admin thread; may take as long as a shard needs to answer, with a bound.
pub trait Shards: Send + Sync + 'static {
    /// Why the broker is not ready, `None` when it is.
    fn not_ready(&self) -> Option<String>;
    /// All metrics in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// The running admin thread.
#[derive(Debug)]
pub struct Admin {
    phase: Arc<AtomicU8>,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    phase: Arc<AtomicU8>,
    shards: Box<dyn Shards>,
}

impl Admin {
    /// Serves on a listener that is bound already (ports are taken before anything else happens).
    pub fn start(listener: TcpListener, shards: impl Shards) -> Outcome<Admin> {
        let say = || "cannot start the admin HTTP".to_owned();
        let address = listener.local_addr().tried(say)?;
        listener.set_nonblocking(true).tried(say)?;
        let phase = Arc::new(AtomicU8::new(Phase::Starting as u8));
        let shared = Arc::new(Shared { phase: Arc::clone(&phase), shards: Box::new(shards) });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().tried(say)?;
        let thread = thread::Builder::new()
            .name("floe-admin".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let listener = match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => listener,
                        Err(error) => return tracing::error!("admin HTTP: {error}"),
                    };
                    let app = Router::new()
                        .route("/", get(index))
                        .route("/healthz", get(healthz))
                        .route("/readyz", get(readyz))
                        .route("/metrics", get(metrics_page))
                        .with_state(shared);
                    tokio::select! {
                        result = async { axum::serve(listener, app).await } => if let Err(error) = result {
                            tracing::error!("admin HTTP: {error}");
                        },
                        // Open requests are cut off: at this point the process is about to end.
                        _ = stopped => {}
                    }
                });
            })
            .tried(say)?;
        Ok(Admin { phase, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells `/readyz` where the process is.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Ends the thread.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn index() -> &'static str {
    "floe admin\n/healthz  the process is alive\n/readyz   clients are served\n/metrics  for Prometheus\n"
}

/// Alive: the process runs and this thread answers. A shard that panics takes the process down, so there is nothing more to ask.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let phase = shared.phase.load(Ordering::Relaxed);
    let why = if phase == Phase::Starting as u8 {
        Some("starting: recovery is under way".to_owned())
    } else if phase == Phase::Stopping as u8 {
        Some("stopping".to_owned())
    } else {
        shared.shards.not_ready()
    };
    match why {
        None => (StatusCode::OK, "ready\n".to_owned()).into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn metrics_page(State(shared): State<Arc<Shared>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], shared.shards.metrics()).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    struct Fake(Option<String>);

    impl Shards for Fake {
        fn not_ready(&self) -> Option<String> {
            self.0.clone()
        }

        fn metrics(&self) -> String {
            "# EOF\n".to_owned()
        }
    }

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn pages_say_what_the_node_is_doing() {
        let admin = Admin::start(TcpListener::bind("127.0.0.1:0").unwrap(), Fake(None)).unwrap();
        let rows = [
            (Phase::Starting, "/healthz", "200 OK", "ok"),
            (Phase::Starting, "/readyz", "503", "recovery is under way"),
            (Phase::Serving, "/readyz", "200 OK", "ready"),
            (Phase::Stopping, "/readyz", "503", "stopping"),
            (Phase::Serving, "/metrics", "200 OK", "# EOF"),
            (Phase::Serving, "/nothing", "404", ""),
        ];
        for (phase, path, status, body) in rows {
            admin.set_phase(phase);
            let answer = get(admin.address(), path);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(body), "{path}: {answer}");
        }
        admin.stop();
        let admin =
            Admin::start(TcpListener::bind("127.0.0.1:0").unwrap(), Fake(Some("shard 1: broken".to_owned()))).unwrap();
        admin.set_phase(Phase::Serving);
        assert!(get(admin.address(), "/readyz").contains("not ready: shard 1: broken"));
        admin.stop();
    }
}
