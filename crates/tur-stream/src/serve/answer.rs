//! From a request to its answer: [`answer`].

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HOST, HeaderName, HeaderValue,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version as HttpVersion};
use tur_engine::{ByteRange, Error, Kind, Status, Version};

use super::ask::{self, Facts, Verdict};
use super::flow::Flow;
use super::shelf::{Entry, Shelf, Visit};
use crate::cursor::Cursor;
use crate::{AsyncReader, Media};

/// What a request gets.
pub(super) async fn answer(shelf: &Arc<Shelf>, request: Request<Incoming>) -> Response<Flow> {
    if let Some((status, why)) = misled(shelf, &request) {
        return text(status, why);
    }
    let Some(entry) = shelf.find(request.uri().path()) else {
        return text(StatusCode::NOT_FOUND, "there is nothing here");
    };
    let is_get = request.method() == Method::GET;
    if !is_get && request.method() != Method::HEAD {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        put(&mut refusal, ALLOW, "GET, HEAD");
        return refusal;
    }
    let visit = Visit::to(shelf);
    let opened = match opened(&entry.media).await {
        Ok(opened) => opened,
        Err(error) => return failure(&error),
    };
    if opened.len.is_none() && request.version() < HttpVersion::HTTP_11 {
        let why = "the length is not known, and HTTP/1.0 cannot tell an end from a failure";
        return text(StatusCode::HTTP_VERSION_NOT_SUPPORTED, why);
    }
    let tag = opened.tag(&entry);
    let facts = Facts {
        len: opened.len,
        tag: &tag,
    };
    let verdict = ask::judge(request.headers(), is_get, &facts);
    let flow = |range| match is_get {
        true => opened.flow(&entry, range, visit),
        false => Flow::text(""),
    };
    let mut response = match verdict {
        Verdict::Whole => opened.whole(flow),
        Verdict::Part(range) => opened.part(range, flow),
        Verdict::NotModified => bare(StatusCode::NOT_MODIFIED),
        Verdict::Failed => bare(StatusCode::PRECONDITION_FAILED),
        Verdict::Unsatisfiable(len) => {
            let mut response = bare(StatusCode::RANGE_NOT_SATISFIABLE);
            put(&mut response, CONTENT_RANGE, &format!("bytes */{len}"));
            response
        }
    };
    put(&mut response, ETAG, &tag);
    response
}

/// Why a request is not for this place, if it is not.
fn misled(shelf: &Shelf, request: &Request<Incoming>) -> Option<(StatusCode, &'static str)> {
    let mut hosts = request.headers().get_all(HOST).into_iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < HttpVersion::HTTP_11 => None,
        (Some(host), None) => Some(host.to_str().unwrap_or_default()),
        // RFC 9112, section 3.2.
        _ => return Some((StatusCode::BAD_REQUEST, "a request has one Host")),
    };
    // In place of a path there may be all of a URL (RFC 9112, section 3.2.2).
    let authority = request.uri().authority();
    let mut named = host.into_iter().chain(authority.map(Authority::as_str));
    let misled = named.any(|host| !shelf.is_host(host));
    misled.then_some((StatusCode::MISDIRECTED_REQUEST, "that is another place"))
}

/// What is known of a media once its first answer is there.
struct Opened {
    version: Version,
    len: Option<u64>,
    media_type: Option<String>,
}

/// Waits for the first answer. Of a download that has failed nothing is served any more, not even what is there: a player
/// would take it for a connection that broke, and try again for ever.
async fn opened(media: &Media) -> Result<Opened, Error> {
    let reading = &media.inner.reading;
    loop {
        media.ready(ByteRange::new(0, 0)).await?;
        let opened = Opened {
            version: reading.version(),
            len: reading.len(),
            media_type: reading.content_type(),
        };
        // It may have begun anew meanwhile, and then this is of nothing.
        let is_there = match reading.status() {
            Status::Failed { reason } => return Err(reason),
            Status::Committed { .. } => true,
            Status::Active { .. } => reading.is_open(),
        };
        if is_there && reading.version() == opened.version {
            return Ok(opened);
        }
    }
}

impl Opened {
    /// A strong entity tag: bytes of one version of one download are the same for ever.
    fn tag(&self, entry: &Entry) -> String {
        format!("\"{}-{}\"", entry.tag, self.version.number())
    }

    fn whole(&self, flow: impl FnOnce(Option<ByteRange>) -> Flow) -> Response<Flow> {
        let range = self.len.map(|len| ByteRange::new(0, len));
        self.described(range, flow(range))
    }

    fn part(
        &self,
        range: ByteRange,
        flow: impl FnOnce(Option<ByteRange>) -> Flow,
    ) -> Response<Flow> {
        let mut response = self.described(Some(range), flow(Some(range)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let (last, len) = (range.end - 1, self.len.unwrap_or(range.end));
        let text = format!("bytes {}-{last}/{len}", range.start);
        put(&mut response, CONTENT_RANGE, &text);
        response
    }

    /// The bytes, by a reader of this client's own.
    fn flow(&self, entry: &Entry, range: Option<ByteRange>, visit: Visit) -> Flow {
        let inner = Arc::clone(&entry.media.inner);
        let start = range.map_or(0, |range| range.start);
        let reader = AsyncReader::over(Cursor::at(inner, start, Some(self.version)));
        Flow::media(reader, range.map(|range| range.len()), visit)
    }

    /// The bytes of a range, or of all that there will be, with what every answer says of them.
    fn described(&self, range: Option<ByteRange>, flow: Flow) -> Response<Flow> {
        let mut response = Response::new(flow);
        if let Some(media_type) = &self.media_type {
            put(&mut response, CONTENT_TYPE, media_type);
        }
        if !self.media_type.as_deref().is_some_and(is_plain_media) {
            put(&mut response, CONTENT_SECURITY_POLICY, "sandbox");
        }
        if let Some(range) = range {
            put(&mut response, ACCEPT_RANGES, "bytes");
            put(&mut response, CONTENT_LENGTH, &range.len().to_string());
        }
        response
    }
}

/// True if showing it runs nothing.
fn is_plain_media(media_type: &str) -> bool {
    let kind = media_type.split('/').next().unwrap_or_default();
    let kinds = ["audio", "video", "image"];
    // A picture that may have scripts in it.
    !media_type.contains("svg") && kinds.iter().any(|one| kind.eq_ignore_ascii_case(one))
}

/// The file will not come.
fn failure(error: &Error) -> Response<Flow> {
    let status = match error.kind() {
        Kind::Network => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    text(status, &error.to_string())
}

/// An answer without a file: one line, and the connection ends.
fn text(status: StatusCode, line: &str) -> Response<Flow> {
    let line = format!("{}\n", tur_engine::printable(line));
    let mut response = Response::new(Flow::text(line));
    *response.status_mut() = status;
    put(&mut response, CONTENT_TYPE, "text/plain; charset=utf-8");
    put(&mut response, CONNECTION, "close");
    response
}

fn bare(status: StatusCode) -> Response<Flow> {
    let mut response = Response::new(Flow::text(""));
    *response.status_mut() = status;
    response
}

/// Adds a field; one that is not of HTTP, such as a type that an origin made up, is left out.
fn put(response: &mut Response<Flow>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
