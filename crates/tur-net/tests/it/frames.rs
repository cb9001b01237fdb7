//! HTTP/2 frames, written by hand, and a script that begins like a server.

use crate::script::{Script, Step, spawner};
use tur_net::{HttpTransport, NetConfig, Protocols};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `:status: 200` and `:status: 103` in HPACK (RFC 7541).
pub(crate) const STATUS_200: &[u8] = b"\x88";
pub(crate) const STATUS_103: &[u8] = b"\x08\x03103";

/// A frame (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// SETTINGS with one value.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

/// RST_STREAM with a code.
pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// GOAWAY.
pub(crate) fn go_away(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// A head that says 200, and nothing more yet.
pub(crate) fn head() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, STATUS_200)
}

/// A server that says SETTINGS, waits for a request, and then does this.
pub(crate) fn after_request(steps: impl IntoIterator<Item = Step>) -> Script {
    let begin = [
        Step::Preface,
        Step::Send(frame(SETTINGS, 0, 0, &[])),
        Step::Frame(HEADERS),
    ];
    Script::start(begin.into_iter().chain(steps).collect())
}

/// A transport that speaks HTTP/2 alone.
pub(crate) fn streaming(config: NetConfig) -> HttpTransport {
    HttpTransport::new(config.protocols(Protocols::Http2), spawner()).unwrap()
}
