//! Connections and requests: who may ask, and how.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HOST, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::reply::{Body, Reply};
use super::site::Site;

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long a request's head may take.
const HEAD_BOUND: Duration = Duration::from_secs(10);

/// Accepts and answers for ever.
pub(super) async fn accept(listener: TcpListener, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, or the other side was quick to leave: neither lasts.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let site = site.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(site.clone(), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_BOUND)
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(stream), service);
            let _ = connection.await; // what goes wrong on it is the other side's to notice
            drop(place);
        });
    }
}

async fn answer(site: Arc<Site>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, _) = request.into_parts();
    let is_head = head.method == Method::HEAD;
    let reply = if let Some(refusal) = refusal(&head.method, &head.headers, site.is_local()) {
        refusal
    } else {
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        let work = tokio::task::spawn_blocking(move || site.answer(&path, &query, &head.headers));
        work.await.unwrap_or_else(|_| Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "this page has failed"))
    };
    Ok(reply.into_response(is_head))
}

/// What is refused whatever it asks for.
fn refusal(method: &Method, headers: &HeaderMap, is_local: bool) -> Option<Reply> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let reply = Reply::error(StatusCode::METHOD_NOT_ALLOWED, "the store can only be read: GET and HEAD");
        return Some(reply.with(ALLOW, HeaderValue::from_static("GET, HEAD")));
    }
    // A page of elsewhere whose name was made to lead here would be of one origin with us, and read everything.
    if is_local && !headers.get(HOST).is_some_and(is_this_machine) {
        let words = "this server answers to localhost and loopback addresses only";
        return Some(Reply::error(StatusCode::MISDIRECTED_REQUEST, words));
    }
    None
}

fn is_this_machine(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for good in ["127.0.0.1:8437", "localhost:1", "LOCALHOST", "[::1]:8437", "[::1]", "127.1.2.3"] {
            assert!(is_this_machine(&HeaderValue::from_static(good)), "{good}");
        }
        for bad in [
            "evil.example:8437",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
            ":80",
            "[::2]:1",
            "localhost:x",
            "127.0.0.1:8437@evil.example",
        ] {
            assert!(!is_this_machine(&HeaderValue::from_static(bad)), "{bad}");
        }
    }
}
