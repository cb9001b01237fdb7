//! Why a head could not be read: a pure function of its bytes.
//!
//! hyper reports that parsing failed, not what was wrong in a way that a program may match on. Nothing is accepted
//! here: this only finds the words for a refusal.

use tur_core::Fault;

/// Bounds of a header section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Largest section in bytes, status line included.
    pub(crate) bytes: usize,
    /// Most field lines.
    pub(crate) fields: usize,
}

/// The fault for what came (`raw`, interim answers first) when hyper refused to read a head in it.
pub(crate) fn diagnose(raw: &[u8], limits: HeadLimits) -> Fault {
    let rest = skip_interim(raw);
    let end = section_end(rest);
    let section = &rest[..end.unwrap_or(rest.len())];
    if !section.starts_with(b"HTTP/1.") {
        return malformed("not HTTP");
    }
    let too_long = section.len() > limits.bytes || (end.is_none() && section.len() == limits.bytes);
    let mut lines = lines(section);
    let status_line = lines.next().unwrap_or_default();
    let fields: Vec<Field<'_>> = lines.map(Field::split).collect();
    if too_long || fields.len() > limits.fields {
        return Fault::HeadTooLarge {
            limit: limits.bytes,
        };
    }
    let Some(status) = status_of(status_line) else {
        return malformed("bad status line");
    };
    if let Some(fault) = refusal(status, status_line.get(13..).unwrap_or_default()) {
        return fault;
    }
    content_length(&fields)
        .or_else(|| transfer_encoding(status_line, &fields))
        .unwrap_or_else(|| malformed("bad header section"))
}

/// A refusal whose reason phrase holds bytes that it may not (RFC 9112, section 4): the status is what counts. The
/// phrase is for people, and escaped before they see it.
fn refusal(status: u16, reason: &[u8]) -> Option<Fault> {
    let forbidden = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    (status >= 400 && reason.iter().any(forbidden)).then(|| Fault::Status {
        status,
        reason: String::from_utf8_lossy(&reason[..reason.len().min(200)]).into_owned(),
        retry_after: None,
        challenge: false,
    })
}

fn content_length(fields: &[Field<'_>]) -> Option<Fault> {
    let lengths: Vec<Option<u64>> = fields
        .iter()
        .filter(|field| field.is("content-length"))
        .flat_map(|field| field.value.split(|byte| *byte == b','))
        .map(length)
        .collect();
    if lengths.contains(&None) {
        return Some(malformed("bad Content-Length"));
    }
    let first = lengths.first()?;
    lengths
        .iter()
        .any(|other| other != first)
        .then(|| malformed("two different Content-Length"))
}

/// Digits only (RFC 9110, section 8.6), and less than hyper's marks for bodies without a length.
fn length(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value < u64::MAX - 1).then_some(value)
}

fn transfer_encoding(status_line: &[u8], fields: &[Field<'_>]) -> Option<Fault> {
    // RFC 9112, section 6.1: HTTP/1.0 has none.
    let coded = fields.iter().any(|field| field.is("transfer-encoding"));
    (coded && status_line.starts_with(b"HTTP/1.0"))
        .then(|| malformed("Transfer-Encoding in an HTTP/1.0 answer"))
}

/// What follows the complete interim answers at the front.
fn skip_interim(raw: &[u8]) -> &[u8] {
    let mut rest = raw;
    while let Some(end) = section_end(rest) {
        let status = status_of(lines(rest).next().unwrap_or_default());
        if !matches!(status, Some(100 | 102..=199)) {
            break;
        }
        rest = &rest[end..];
    }
    rest
}

/// The position after the empty line that ends a section.
fn section_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        from += at + 1;
        match &bytes[from..] {
            [b'\r', b'\n', ..] => return Some(from + 2),
            [b'\n', ..] => return Some(from + 1),
            _ => {}
        }
    }
    None
}

/// The lines of a section without their ends and without the empty last one.
fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
}

fn status_of(status_line: &[u8]) -> Option<u16> {
    let digits = status_line.get(9..12)?;
    let spaced =
        status_line.get(8) == Some(&b' ') && matches!(status_line.get(12), None | Some(b' '));
    if !spaced || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (status >= 100).then_some(status)
}

struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Field<'a> {
    fn split(line: &'a [u8]) -> Self {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        Self {
            name,
            value: value.strip_prefix(b":").unwrap_or(value),
        }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

fn malformed(text: &str) -> Fault {
    Fault::Malformed(text.to_owned())
}

#[cfg(test)]
mod tests;
