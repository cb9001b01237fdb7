//! Watches the frames that come in: what they are, and whether there are too many that carry nothing.
//!
//! Read [`Meter`]. The h2 crate bounds what it keeps of a connection; it answers any number of PING and SETTINGS frames,
//! queues any number of interim answers, and reports a header section that is too large like any other bad one. The meter
//! reads the nine bytes in front of each frame (RFC 9113, section 4.1) and nothing else.

use crate::config::INTERIM_BYTES_MAX;

/// What may come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeterLimits {
    /// Bytes of one header section on the wire.
    pub(crate) head: usize,
    /// Interim answers before a final one.
    pub(crate) interim: usize,
}

/// What a peer did that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// The first frame is not SETTINGS (RFC 9113, section 3.4).
    NoPreface,
    /// More frames without content than [`CONTROL_MAX`] in a row.
    Flood,
    /// A header section of too many bytes.
    Head,
    /// Header sections, or bytes of them, that no request has asked for: too many interim answers.
    Heads,
}

/// The state of the watch.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: MeterLimits,
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the payload that are still to come.
    payload: usize,
    began: bool,
    /// True once its first frame has come whole.
    greeted: bool,
    control: usize,
    /// Bytes of the header section that is coming, or came last.
    section: usize,
    allowance: Allowance,
}

/// Header sections that may still come, and bytes of them.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    sections: usize,
    bytes: usize,
}

impl Meter {
    pub(crate) fn new(limits: MeterLimits) -> Self {
        Self {
            limits,
            header: [0; HEADER],
            have: 0,
            payload: 0,
            began: false,
            greeted: false,
            control: 0,
            section: 0,
            allowance: Allowance::default(),
        }
    }

    /// True once the peer's first frame, its SETTINGS, has come whole.
    pub(crate) fn greeted(&self) -> bool {
        self.greeted
    }

    /// Bytes of the header section that came last.
    pub(crate) fn last_section(&self) -> usize {
        self.section
    }

    /// So many requests wait for a head, and so many bodies are being read: each head may come with as many interim
    /// answers as are taken, each body may have trailers, and so may those that were given up lately.
    pub(crate) fn expect(&mut self, heads: usize, bodies: usize) {
        let sections = heads.saturating_mul(self.limits.interim.saturating_add(2));
        let bytes = heads.saturating_mul(self.limits.head.saturating_add(INTERIM_BYTES_MAX));
        let late = LATE.saturating_add(bodies);
        self.allowance = Allowance {
            sections: sections.saturating_add(late),
            bytes: bytes.saturating_add(late.saturating_mul(TRAILERS)),
        };
    }

    /// Takes what was read.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Breach> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let step = self.payload.min(bytes.len());
                self.payload -= step;
                bytes = &bytes[step..];
                self.greeted |= self.payload == 0;
                continue;
            }
            let step = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + step].copy_from_slice(&bytes[..step]);
            self.have += step;
            bytes = &bytes[step..];
            if self.have == HEADER {
                self.have = 0;
                self.frame()?;
                self.greeted |= self.payload == 0;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Breach> {
        let [a, b, c, kind, flags, ..] = self.header;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.payload = length;
        if !self.began {
            if kind != SETTINGS || flags & ACK != 0 {
                return Err(Breach::NoPreface);
            }
            self.began = true;
            return Ok(());
        }
        match kind {
            DATA if length > 0 => self.control = 0,
            // The last frame of a stream may be empty; the h2 crate counts the others.
            DATA => {}
            HEADERS | CONTINUATION => return self.head(kind, length),
            _ => {
                self.control += 1;
                if self.control > CONTROL_MAX {
                    return Err(Breach::Flood);
                }
            }
        }
        Ok(())
    }

    fn head(&mut self, kind: u8, length: usize) -> Result<(), Breach> {
        if kind == HEADERS {
            self.control = 0;
            self.section = 0;
            self.allowance.sections = take(self.allowance.sections, 1)?;
        }
        self.section = self.section.saturating_add(length);
        if self.section > self.limits.head {
            return Err(Breach::Head);
        }
        self.allowance.bytes = take(self.allowance.bytes, length)?;
        Ok(())
    }
}

fn take(left: usize, count: usize) -> Result<usize, Breach> {
    left.checked_sub(count).ok_or(Breach::Heads)
}

/// Frames without content between two that have some. A peer that asks once in ten seconds whether an idle connection
/// still stands does so for hours.
pub(crate) const CONTROL_MAX: usize = 1_000;
/// Streams that were given up, and whose answers may still be on their way.
const LATE: usize = 128;
/// Bytes of trailers, or of a late head, on the wire.
const TRAILERS: usize = 16 * 1024;

const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MeterLimits = MeterLimits {
        head: 1_000,
        interim: 3,
    };

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let size = u32::try_from(length).unwrap().to_be_bytes();
        let mut bytes = vec![size[1], size[2], size[3], kind, 0, 0, 0, 0, 1];
        bytes.resize(HEADER + length, 7);
        bytes
    }

    fn greeted() -> Meter {
        let mut meter = Meter::new(LIMITS);
        meter.read(&frame(SETTINGS, 6)).unwrap();
        assert!(meter.greeted());
        meter
    }

    #[test]
    fn a_peer_begins_with_its_settings() {
        for bytes in [&b"HTTP/1.1 400 Bad"[..], b"220 ready\r\n", &frame(6, 8)] {
            assert_eq!(Meter::new(LIMITS).read(bytes), Err(Breach::NoPreface));
        }
        let mut meter = Meter::new(LIMITS);
        for byte in frame(SETTINGS, 6) {
            assert!(!meter.greeted(), "not before the last byte");
            meter.read(&[byte]).unwrap();
        }
        assert!(meter.greeted());
        let mut empty = Meter::new(LIMITS);
        empty.read(&frame(SETTINGS, 0)).unwrap();
        assert!(empty.greeted());
    }

    #[test]
    fn frames_are_found_wherever_reads_are_cut() {
        let mut all = frame(SETTINGS, 0);
        for _ in 0..2 * CONTROL_MAX {
            all.extend(frame(6, 8));
            all.extend(frame(DATA, 40));
        }
        for step in [1, 2, 8, 9, 10, 1_000] {
            let mut meter = Meter::new(LIMITS);
            for part in all.chunks(step) {
                meter.read(part).unwrap();
            }
            assert_eq!((meter.have, meter.payload, meter.control), (0, 0, 0));
        }
    }

    #[test]
    fn frames_without_content_are_bounded_in_a_row() {
        for kind in [2, 3, SETTINGS, 6, 8, 77] {
            let mut meter = greeted();
            for _ in 0..CONTROL_MAX {
                meter.read(&frame(kind, 4)).unwrap();
            }
            assert_eq!(meter.read(&frame(kind, 4)), Err(Breach::Flood), "{kind}");
        }
    }

    #[test]
    fn heads_are_bounded_in_bytes_and_number() {
        let mut meter = greeted();
        meter.expect(1, 0);
        meter.read(&frame(HEADERS, 600)).unwrap();
        meter.read(&frame(CONTINUATION, 400)).unwrap();
        assert_eq!(meter.last_section(), 1_000);
        assert_eq!(meter.read(&frame(CONTINUATION, 1)), Err(Breach::Head));
        let mut meter = greeted();
        meter.expect(1, 0);
        for _ in 0..LIMITS.interim + 2 + LATE {
            meter.read(&frame(HEADERS, 10)).unwrap();
        }
        assert_eq!(meter.read(&frame(HEADERS, 10)), Err(Breach::Heads));
    }
}
