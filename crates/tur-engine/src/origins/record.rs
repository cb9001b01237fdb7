//! The bytes in which the memory of origins is kept: [`encode`] and [`decode`].
//!
//! A record is a mirror of what tur-sched remembers, not the thing itself: decisions may change their types without
//! changing files. A change of what is kept is a new version: a record of its own, read beside the older ones where a file
//! still has those, [`FORMAT`] with the new number, and one more arm in [`decode`]. Older programs leave such a file alone.

mod http3;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tur_core::{Challenge, Origin, Rate, Scheme, Wall};
use tur_sched::{LaneLimit, Needs, OriginMemory, PhiRatio, Profile};
use tur_storage::{State, StateFormat};

use self::http3::Http3Record;

/// What the file says of itself.
pub(super) const FORMAT: StateFormat = StateFormat {
    magic: *b"tur.orgn",
    version: 4,
};

/// One origin, as version 1 keeps it. Times in microseconds, dates in seconds since 1970, rates in bytes per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RecordV1 {
    https: bool,
    host: String,
    port: u16,
    updated: i64,
    lanes: u16,
    /// How many, and when that was seen.
    lanes_limit: Option<(u16, i64)>,
    lane_rate: Option<u64>,
    rtt: Option<u64>,
    handshake: Option<u64>,
    ratio: f64,
    ranges: Option<bool>,
}

/// One origin, as version 2 keeps it: what version 1 kept, and what it asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RecordV2 {
    measured: RecordV1,
    /// Its place in `Challenge::ALL`; one that this program does not know is none.
    challenge: Option<u8>,
    needs_authorization: bool,
    needs_cookies: bool,
}

/// One origin, as version 3 keeps it: what version 2 kept, and bytes that were on their way at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RecordV3 {
    known: RecordV2,
    window: Option<u32>,
}

/// The bytes of a memory: how many records, then one after the other, the next to be forgotten first; then, since version 4, the
/// same of what is known of HTTP/3.
pub(super) fn encode(memory: &OriginMemory) -> Vec<u8> {
    let count = u32::try_from(memory.len()).expect("a memory has at most 1 000 origins");
    let mut bytes = to_bytes(&count);
    for (origin, profile) in memory.iter() {
        bytes.extend(to_bytes(&RecordV3::new(origin, profile)));
    }
    let http3: Vec<_> = memory.http3_all().collect();
    let count = u32::try_from(http3.len()).expect("a memory has at most 1 000 origins");
    bytes.extend(to_bytes(&count));
    for (origin, known) in http3 {
        bytes.extend(to_bytes(&Http3Record::new(origin, known)));
    }
    bytes
}

/// The memory in a state; `None` for bytes that no version of this wrote.
pub(super) fn decode(state: &State, now: Wall) -> Option<OriginMemory> {
    let (profiles, rest) = match state.version {
        1 => all::<RecordV1, _>(&state.bytes)?,
        2 => all::<RecordV2, _>(&state.bytes)?,
        3 | 4 => all::<RecordV3, _>(&state.bytes)?,
        _ => return None,
    };
    let (http3, rest) = match state.version {
        ..4 => (Vec::new(), rest),
        _ => all::<Http3Record, _>(rest)?,
    };
    rest.is_empty().then(|| {
        let mut memory = OriginMemory::restored(now, profiles);
        memory.restore_http3(now, http3);
        memory
    })
}

/// What is kept of each origin.
type Listed<T> = Vec<(Origin, T)>;

/// The records of a list, and the bytes behind it.
fn all<'a, R, T>(bytes: &'a [u8]) -> Option<(Listed<T>, &'a [u8])>
where
    R: Deserialize<'a> + Into<(Origin, T)>,
{
    let (count, mut rest) = postcard::take_from_bytes::<u32>(bytes).ok()?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= OriginMemory::ORIGINS_MAX)?;
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        let (record, behind) = postcard::take_from_bytes::<R>(rest).ok()?;
        records.push(record.into());
        rest = behind;
    }
    Some((records, rest))
}

impl RecordV1 {
    fn new(origin: &Origin, profile: &Profile) -> Self {
        Self {
            https: origin.scheme == Scheme::Https,
            host: origin.host.clone(),
            port: origin.port,
            updated: profile.updated.unix_secs(),
            lanes: profile.lanes,
            lanes_limit: profile
                .lanes_limit
                .map(|limit| (limit.lanes, limit.seen.unix_secs())),
            lane_rate: profile.lane_rate.map(Rate::bytes_per_second),
            rtt: profile.rtt.map(micros),
            handshake: profile.handshake.map(micros),
            ratio: profile.ratio.value(),
            ranges: profile.ranges,
        }
    }
}

impl RecordV2 {
    fn new(origin: &Origin, profile: &Profile) -> Self {
        Self {
            measured: RecordV1::new(origin, profile),
            challenge: profile.challenge.map(|kind| kind as u8),
            needs_authorization: profile.needs.authorization,
            needs_cookies: profile.needs.cookies,
        }
    }
}

impl RecordV3 {
    fn new(origin: &Origin, profile: &Profile) -> Self {
        Self {
            known: RecordV2::new(origin, profile),
            window: profile.window,
        }
    }
}

impl From<RecordV3> for (Origin, Profile) {
    fn from(record: RecordV3) -> Self {
        let (origin, known): (Origin, Profile) = record.known.into();
        let profile = Profile {
            window: record.window,
            ..known
        };
        (origin, profile)
    }
}

impl From<RecordV2> for (Origin, Profile) {
    fn from(record: RecordV2) -> Self {
        let (origin, measured): (Origin, Profile) = record.measured.into();
        let kind = |place| Challenge::ALL.get(usize::from(place)).copied();
        let profile = Profile {
            challenge: record.challenge.and_then(kind),
            needs: Needs {
                authorization: record.needs_authorization,
                cookies: record.needs_cookies,
            },
            ..measured
        };
        (origin, profile)
    }
}

impl From<RecordV1> for (Origin, Profile) {
    fn from(record: RecordV1) -> Self {
        let origin = Origin {
            scheme: if record.https {
                Scheme::Https
            } else {
                Scheme::Http
            },
            host: record.host,
            port: record.port,
        };
        let limit = |(lanes, seen)| LaneLimit {
            lanes,
            seen: Wall::from_unix_secs(seen),
        };
        let profile = Profile {
            lanes: record.lanes.max(1),
            lanes_limit: record.lanes_limit.map(limit),
            lane_rate: record.lane_rate.map(Rate::per_second),
            rtt: record.rtt.map(Duration::from_micros),
            handshake: record.handshake.map(Duration::from_micros),
            ratio: PhiRatio::new(record.ratio),
            window: None,
            ranges: record.ranges,
            challenge: None,
            needs: Needs::default(),
            updated: Wall::from_unix_secs(record.updated),
        };
        (origin, profile)
    }
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("numbers and text always have a form")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tur_core::{Advert, Alternative, Offer};
    use tur_sched::{Facts, Http3Fact};

    const NOW: Wall = Wall::from_unix_secs(1_800_000_000);

    fn said(host: Option<String>, port: u16) -> Http3Fact {
        Http3Fact::Said(Advert::Http3(Offer {
            alternative: Alternative { host, port },
            max_age: Duration::from_secs(86_400),
            persist: port == 443,
        }))
    }

    fn memory() -> OriginMemory {
        let mut memory = OriginMemory::new();
        let plain = Origin {
            scheme: Scheme::Http,
            host: "[::1]".into(),
            port: 8080,
        };
        let secure = Origin {
            scheme: Scheme::Https,
            host: "a.example".into(),
            port: 443,
        };
        let handshake = Some(Duration::from_millis(3));
        let little = Facts {
            handshake,
            ..Facts::default()
        };
        let all = Facts {
            lanes: Some(12),
            lanes_limit: Some(16),
            lane_rate: Some(Rate::per_second(1 << 20)),
            rtt: Some(Duration::from_micros(40_001)),
            handshake,
            ratio: Some(PhiRatio::new(2.0)),
            window: Some(6_000_000),
            ranges: Some(true),
            challenge: Some(Some(Challenge::BrowserCheck)),
            authorization: Some(true),
            cookies: Some(false),
        };
        memory.note(&plain, NOW, little);
        memory.note(&secure, NOW, all);
        memory.learn_http3(&plain, NOW, &said(None, 8_310));
        for fact in [
            said(Some("alt".to_owned()), 443),
            Http3Fact::Failed,
            Http3Fact::Worked,
            Http3Fact::Rate(Rate::per_second(1 << 20)),
        ] {
            memory.learn_http3(&secure, NOW, &fact);
        }
        memory
    }

    fn state(bytes: &[u8]) -> State {
        State {
            version: 4,
            bytes: bytes.to_vec(),
        }
    }

    fn profiles(memory: &OriginMemory) -> Vec<(Origin, Profile)> {
        memory
            .iter()
            .map(|(origin, profile)| (origin.clone(), *profile))
            .collect()
    }

    /// The same bytes must be read for ever: a change here is a change of version.
    const GOLDEN_1: [&str; 3] = [
        "02",
        "00 055b3a3a315d 903f 80c8ceb40d 01 00 00 00 01b817 000000000000f83f 00",
        "01 09612e6578616d706c65 bb03 80c8ceb40d 0c 011080c8ceb40d 01808040 01c1b802 01b817 0000000000000040 0101",
    ];
    const GOLDEN_2: [&str; 5] = [
        GOLDEN_1[0],
        GOLDEN_1[1],
        "00 00 00",
        GOLDEN_1[2],
        "0102 01 00",
    ];
    const GOLDEN_3: [&str; 7] = [
        GOLDEN_2[0],
        GOLDEN_2[1],
        GOLDEN_2[2],
        "00",
        GOLDEN_2[3],
        GOLDEN_2[4],
        "01 809bee02",
    ];

    const HTTP3: [&str; 5] = [
        "02",
        "00 055b3a3a315d 903f 01 00 f640 808ed9b40d 00 00 00 00 00 00",
        "01 09612e6578616d706c65 bb03",
        "01 0103616c74 bb03 808ed9b40d 01",
        "0180c8ceb40d 00 00 01808040 00",
    ];

    fn golden() -> Vec<u8> {
        bytes_of(&[&GOLDEN_3[..], &HTTP3].concat())
    }

    fn bytes_of(golden: &[&str]) -> Vec<u8> {
        let digits = golden.concat().replace(' ', "");
        let pairs = digits.as_bytes().chunks(2);
        pairs
            .map(|pair| {
                let text = std::str::from_utf8(pair).expect("digits");
                u8::from_str_radix(text, 16).expect("hexadecimal")
            })
            .collect()
    }

    #[test]
    fn version_4_is_written_and_read_as_it_ever_was() {
        let hex: String = encode(&memory())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let meant: String = golden().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, meant);
        let read = decode(&state(&golden()), NOW).expect("version 4");
        assert_eq!(profiles(&read), profiles(&memory()));
        assert!(read.http3_all().eq(memory().http3_all()));
    }

    #[test]
    fn version_3_is_read_and_knows_of_no_http3() {
        let old = State {
            version: 3,
            bytes: bytes_of(&GOLDEN_3),
        };
        let read = decode(&old, NOW).expect("version 3");
        assert_eq!(profiles(&read), profiles(&memory()));
        assert_eq!(read.http3_all().count(), 0);
        // Neither is taken for the other.
        let swapped = State { version: 4, ..old };
        assert!(decode(&swapped, NOW).is_none());
    }

    #[test]
    fn version_2_is_read_and_knows_of_no_windows() {
        let old = State {
            version: 2,
            bytes: bytes_of(&GOLDEN_2),
        };
        let read = decode(&old, NOW).expect("version 2");
        let mut meant = profiles(&memory());
        for (_, profile) in &mut meant {
            profile.window = None;
        }
        assert_eq!(profiles(&read), meant);
        // Neither is taken for the other.
        let swapped = State { version: 3, ..old };
        assert!(decode(&swapped, NOW).is_none());
    }

    #[test]
    fn version_1_is_read_and_knows_of_no_needs() {
        let old = State {
            version: 1,
            bytes: bytes_of(&GOLDEN_1),
        };
        let read = decode(&old, NOW).expect("version 1");
        let mut meant = profiles(&memory());
        for (_, profile) in &mut meant {
            (profile.challenge, profile.needs) = (None, Needs::default());
            profile.window = None;
        }
        assert_eq!(profiles(&read), meant);
        // Neither is taken for the other.
        let swapped = State { version: 2, ..old };
        assert!(decode(&swapped, NOW).is_none());
    }

    #[test]
    fn a_challenge_of_tomorrow_is_none() {
        let mut bytes = golden();
        let at = bytes.len() - bytes_of(&HTTP3).len() - 8;
        bytes[at] = 100;
        let read = decode(&state(&bytes), NOW).expect("version 3");
        assert!(read.iter().all(|(_, profile)| profile.challenge.is_none()));
    }

    #[test]
    fn another_version_is_not_guessed_at() {
        for version in [0, 5, u16::MAX] {
            let other = State {
                version,
                bytes: golden(),
            };
            assert!(decode(&other, NOW).is_none(), "{version}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_half_a_memory_is_none() {
        let good = golden();
        for len in 0..good.len() {
            assert!(decode(&state(&good[..len]), NOW).is_none(), "{len}");
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                if let Some(memory) = decode(&state(&bad), NOW) {
                    assert!(memory.len() <= 2);
                    for (_, profile) in memory.iter() {
                        assert!((1.1..=2.5).contains(&profile.ratio.value()));
                        assert!(profile.lanes >= 1);
                    }
                }
            }
        }
        let long = [good.as_slice(), b"x"].concat();
        assert!(
            decode(&state(&long), NOW).is_none(),
            "nothing may be left over"
        );
        // More records than any memory has.
        let many = to_bytes(&1_001_u32);
        assert!(decode(&state(&many), NOW).is_none());
    }

    #[test]
    fn a_full_memory_fits() {
        let mut full = OriginMemory::new();
        for n in 0..OriginMemory::ORIGINS_MAX {
            let origin = Origin {
                scheme: Scheme::Https,
                host: format!("{n:0>255}"),
                port: u16::MAX,
            };
            let facts = Facts {
                lanes: Some(u16::MAX),
                rtt: Some(Duration::MAX),
                ..Facts::default()
            };
            full.note(&origin, NOW, facts);
            full.learn_http3(&origin, NOW, &said(Some("x".repeat(255)), u16::MAX));
        }
        let bytes = encode(&full);
        assert!(bytes.len() < 1 << 20);
        let read = decode(&state(&bytes), NOW).expect("version 3");
        assert_eq!(read.len(), OriginMemory::ORIGINS_MAX);
        assert!(
            read.iter()
                .map(|(origin, _)| origin)
                .eq(full.iter().map(|(origin, _)| origin))
        );
    }
}
