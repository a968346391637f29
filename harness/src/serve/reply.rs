//! What is answered, with the headers that keep it harmless.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// What a page may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A page of ours: our script and style, our data.
    Page,
    /// A report: all of it is in the file; it reaches nothing.
    Report,
    /// Any other file: no script, whatever it is.
    Inert,
}

impl Policy {
    fn text(self) -> &'static str {
        match self {
            Policy::Page => {
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                 frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
            }
            Policy::Report => {
                "default-src 'none'; script-src 'unsafe-inline' blob:; worker-src blob:; style-src 'unsafe-inline'; \
                 img-src 'self' data: blob:; font-src data:; connect-src data: blob:; form-action 'none'; \
                 base-uri 'none'; frame-ancestors 'self'"
            }
            Policy::Inert => {
                "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; \
                 form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox"
            }
        }
    }
}

/// An answer.
pub struct Reply {
    status: StatusCode,
    mime: &'static str,
    policy: Policy,
    headers: Vec<(HeaderName, HeaderValue)>,
    content: Content,
}

enum Content {
    Whole(Bytes),
    /// So many bytes of a file from a place on.
    Part {
        file: File,
        start: u64,
        length: u64,
    },
}

impl Reply {
    /// A page of ours.
    pub fn page(html: String) -> Reply {
        Reply::new(StatusCode::OK, "text/html; charset=utf-8", Policy::Page, html.into())
    }

    /// Data.
    pub fn json(value: &impl Serialize) -> Reply {
        match serde_json::to_vec(value) {
            Ok(text) => Reply::new(StatusCode::OK, "application/json", Policy::Inert, text.into()),
            Err(_) => Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "this cannot be said in JSON"),
        }
    }

    /// One sentence.
    pub fn error(status: StatusCode, words: &str) -> Reply {
        Reply::new(status, "text/plain; charset=utf-8", Policy::Inert, format!("{words}\n").into())
    }

    /// Anything held in memory.
    pub fn new(status: StatusCode, mime: &'static str, policy: Policy, content: Bytes) -> Reply {
        Reply { status, mime, policy, headers: Vec::new(), content: Content::Whole(content) }
    }

    /// A part of a file.
    pub fn part(mime: &'static str, policy: Policy, file: File, start: u64, length: u64) -> Reply {
        let content = Content::Part { file, start, length };
        Reply { status: StatusCode::OK, mime, policy, headers: Vec::new(), content }
    }

    /// With one header more.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Reply {
        self.headers.push((name, value));
        self
    }

    /// With another status.
    pub fn status(self, status: StatusCode) -> Reply {
        Reply { status, ..self }
    }

    /// As it is sent; of an answer to HEAD only the head. Called within the runtime.
    pub fn into_response(self, is_head: bool) -> Response<Body> {
        let length = match &self.content {
            Content::Whole(bytes) => bytes.len() as u64,
            Content::Part { length, .. } => *length,
        };
        let body = match self.content {
            _ if is_head => Body::Whole(None),
            Content::Whole(bytes) => Body::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())),
            Content::Part { file, start, length } => Body::of_file(file, start, length),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let fixed = [
            (CONTENT_TYPE, self.mime),
            (CONTENT_SECURITY_POLICY, self.policy.text()),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "SAMEORIGIN"),
            (REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (CACHE_CONTROL, "no-cache"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.extend(self.headers);
        if self.status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

/// What is sent: what is in memory at once, a file piece by piece.
pub enum Body {
    /// At most one piece.
    Whole(Option<Bytes>),
    /// Pieces as they are read, and how many bytes are to come.
    Pieces(mpsc::Receiver<io::Result<Bytes>>, u64),
}

impl Body {
    fn of_file(file: File, start: u64, length: u64) -> Body {
        let (sender, receiver) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = send(file, start, length, &sender) {
                let _ = sender.blocking_send(Err(error)); // nobody listens any more: as good
            }
        });
        Body::Pieces(receiver, length)
    }
}

fn send(mut file: File, start: u64, mut left: u64, to: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    file.seek(SeekFrom::Start(start))?;
    while left > 0 {
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
        let read = match file.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        piece.truncate(read);
        left -= read as u64;
        if to.blocking_send(Ok(piece.into())).is_err() {
            break; // the other side is gone
        }
    }
    Ok(())
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Pieces(receiver, left) => receiver.poll_recv(context).map(|piece| {
                piece.map(|piece| {
                    piece.map(|bytes| {
                        *left = left.saturating_sub(bytes.len() as u64);
                        Frame::data(bytes)
                    })
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_none(),
            Body::Pieces(_, left) => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Body::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Body::Pieces(_, left) => *left,
        })
    }
}
