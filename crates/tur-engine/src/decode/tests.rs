//! Decoding against what the encoders make, in pieces of any size, and against what nobody should take.

use std::collections::VecDeque;
use std::io::Write as _;

use flate2::Compression;
use flate2::GzBuilder;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use futures_util::FutureExt as _;
use proptest::prelude::*;
use tur_core::ByteRange;
use tur_testkit::content;

use super::*;

/// A body that comes in these pieces and ends like this.
struct Pieces {
    ready: VecDeque<Bytes>,
    end: Result<(), Fault>,
}

impl Body for Pieces {
    async fn fill(&mut self, chunks: &mut Chunks, _budget: usize) -> Result<Fill, Fault> {
        match self.ready.pop_front() {
            Some(piece) => {
                chunks.push(piece);
                Ok(Fill::More)
            }
            None => self.end.clone().map(|()| Fill::End),
        }
    }
}

/// What comes out of a body that comes in pieces of `size` bytes, and how it ends. Nothing here waits.
fn run(
    coding: Coding,
    coded: &[u8],
    size: usize,
    end: Result<(), Fault>,
) -> (Vec<u8>, Result<(), Fault>) {
    let pieces = Pieces {
        ready: coded.chunks(size).map(Bytes::copy_from_slice).collect(),
        end,
    };
    let mut body = Plain::new(pieces, Some(coding));
    let (mut chunks, mut out) = (Chunks::new(), Vec::new());
    loop {
        let filled = body
            .fill(&mut chunks, 256 * 1024)
            .now_or_never()
            .expect("nothing waits");
        assert!(chunks.len() <= 256 * 1024, "no more than was asked for");
        out.extend(chunks.iter().flatten().copied());
        let came = chunks.len();
        chunks.advance(came);
        match filled {
            Ok(Fill::More) => assert!(came > 0, "it waits until something is there"),
            Ok(Fill::End) => return (out, Ok(())),
            Err(fault) => return (out, Err(fault)),
        }
    }
}

#[track_caller]
fn check(coding: Coding, coded: &[u8], plain: &[u8]) {
    for size in [1, 2, 3, 700, 65_536, usize::MAX] {
        let (out, end) = run(coding, coded, size, Ok(()));
        assert_eq!(end, Ok(()), "in pieces of {size}");
        assert!(out == plain, "{} bytes in pieces of {size}", out.len());
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn raw(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

/// Text that can be made smaller, but not by much.
fn text(lines: u32) -> Vec<u8> {
    (0..lines)
        .flat_map(|n| format!("{n} {:x}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

#[test]
fn what_was_coded_comes_out() {
    let incompressible = content(0, ByteRange::new(0, 200_000));
    for plain in [
        Vec::new(),
        b"x".to_vec(),
        text(20_000),
        incompressible.to_vec(),
        vec![0; 900_000],
    ] {
        check(Coding::Gzip, &gzip(&plain), &plain);
        check(Coding::Deflate, &zlib(&plain), &plain);
        check(Coding::Deflate, &raw(&plain), &plain);
    }
}

#[test]
fn members_follow_one_another_and_padding_is_ignored() {
    let (one, two) = (text(500), text(3_000));
    let coded = [gzip(&one), gzip(b""), gzip(&two)].concat();
    let plain = [one, two].concat();
    check(Coding::Gzip, &coded, &plain);
    for padding in [&[0_u8; 512][..], b"\x1f", b"\x1fgarbage", b"garbage"] {
        let padded = [&coded[..], padding].concat();
        check(Coding::Gzip, &padded, &plain);
    }
    check(
        Coding::Deflate,
        &[&zlib(&plain)[..], b"more"].concat(),
        &plain,
    );
    let endless = [coded, vec![0; 70_000]].concat();
    let (_, end) = run(Coding::Gzip, &endless, 4_096, Ok(()));
    assert!(matches!(end, Err(Fault::Undecodable(_))), "{end:?}");
}

#[test]
fn headers_may_have_all_that_the_format_has() {
    let plain = text(50);
    let mut encoder = GzBuilder::new()
        .extra(vec![7; 300])
        .filename("a name")
        .comment("a comment")
        .mtime(1)
        .write(Vec::new(), Compression::fast());
    encoder.write_all(&plain).expect("memory");
    let coded = encoder.finish().expect("memory");
    check(Coding::Gzip, &coded, &plain);
    // With a checksum of the header, which nobody makes: two bytes behind all else.
    let bare = gzip(&plain);
    let mut checked = bare[..10].to_vec();
    checked[3] |= 2;
    checked.extend([1, 2]);
    checked.extend(&bare[10..]);
    check(Coding::Gzip, &checked, &plain);
    let mut empty_extra = bare[..10].to_vec();
    empty_extra[3] |= 4;
    empty_extra.extend([0, 0]);
    empty_extra.extend(&bare[10..]);
    check(Coding::Gzip, &empty_extra, &plain);
}

#[test]
fn a_body_that_ends_before_its_coding_is_never_complete() {
    let plain = text(200);
    for (coding, coded) in [
        (Coding::Gzip, gzip(&plain)),
        (Coding::Deflate, zlib(&plain)),
        (Coding::Deflate, raw(&plain)),
    ] {
        for len in 0..coded.len() {
            let (out, end) = run(coding, &coded[..len], 97, Ok(()));
            assert!(matches!(end, Err(Fault::Truncated(_))), "{len}: {end:?}");
            assert!(plain.starts_with(&out), "what came before is good");
        }
        // The connection's own failure comes behind what can be decoded.
        let lost = Fault::Lost("reset".into());
        let (out, end) = run(coding, &coded[..coded.len() - 9], 97, Err(lost.clone()));
        assert_eq!(end, Err(lost));
        assert!(plain.starts_with(&out) && !out.is_empty());
        // Even where the coding is over: more may have been to come.
        let lost = Fault::Truncated("early".into());
        assert_eq!(
            run(coding, &coded, 97, Err(lost.clone())),
            (plain.clone(), Err(lost))
        );
    }
    // In the middle of a second member.
    let two = [gzip(&plain), gzip(&plain)].concat();
    let (_, end) = run(Coding::Gzip, &two[..two.len() - 5], 97, Ok(()));
    assert!(matches!(end, Err(Fault::Truncated(_))), "{end:?}");
}

#[test]
fn what_is_damaged_is_said_to_be() {
    let plain = text(200);
    let mut rows = vec![
        (Coding::Gzip, plain.clone()),
        (Coding::Gzip, zlib(&plain)),
        (Coding::Deflate, b"\x07not deflate".to_vec()),
    ];
    let mut damage = |coding, mut coded: Vec<u8>, at: usize| {
        coded[at] ^= 0x55;
        rows.push((coding, coded));
    };
    let (gz, z) = (gzip(&plain), zlib(&plain));
    // Method, reserved flags, data, checksum, length.
    for at in [0, 1, 2, gz.len() / 2, gz.len() - 8, gz.len() - 1] {
        damage(Coding::Gzip, gz.clone(), at);
    }
    for at in [z.len() / 2, z.len() - 1] {
        damage(Coding::Deflate, z.clone(), at);
    }
    let mut reserved = gz;
    reserved[3] = 0x80;
    rows.push((Coding::Gzip, reserved));
    for (n, (coding, coded)) in rows.into_iter().enumerate() {
        for size in [1, 50, usize::MAX] {
            let (_, end) = run(coding, &coded, size, Ok(()));
            assert!(matches!(end, Err(Fault::Undecodable(_))), "{n}: {end:?}");
        }
    }
}

#[test]
fn a_bomb_is_stopped_long_before_it_is_unpacked() {
    let zeros = vec![0; 16 << 20];
    for (coding, coded) in [
        (Coding::Gzip, gzip(&zeros)),
        (Coding::Deflate, zlib(&zeros)),
    ] {
        assert!(coded.len() < 100_000);
        let (out, end) = run(coding, &coded, 1_000, Ok(()));
        assert_eq!(end, Err(Fault::Inflated { limit: 200 }));
        assert!(out.len() < 4 << 20, "{}", out.len());
    }
    // A small one is none, and neither is what text comes to.
    check(Coding::Gzip, &gzip(&zeros[..1 << 20]), &zeros[..1 << 20]);
    let log = b"GET /index.html 200\n".repeat(100_000);
    let sound = [gzip(&text(2_000)), gzip(&log)].concat();
    check(Coding::Gzip, &sound, &[text(2_000), log].concat());
}

proptest! {
    #[test]
    fn no_input_panics_or_runs_for_ever(
        coded in proptest::collection::vec(any::<u8>(), 0..2_000),
        head in 0_usize..3,
        size in 1_usize..300,
    ) {
        let start: &[u8] = [&[0x1f, 0x8b, 8, 0][..], &[0x1f, 0x8b, 8, 0x1f], &[]][head];
        let coded = [start, &coded].concat();
        for coding in [Coding::Gzip, Coding::Deflate] {
            let (out, _) = run(coding, &coded, size, Ok(()));
            prop_assert!(out.len() <= (1 << 20) + 200 * coded.len() + OUT_BYTES);
        }
    }

    #[test]
    fn damage_is_never_complete_and_wrong(at in 0_usize..2_000, bit in 0_u8..8) {
        let plain = text(150);
        let mut coded = gzip(&plain);
        let at = 10 + at % (coded.len() - 10);
        coded[at] ^= 1 << bit;
        let (out, end) = run(Coding::Gzip, &coded, 64, Ok(()));
        prop_assert!(end.is_err() || out == plain);
    }
}
