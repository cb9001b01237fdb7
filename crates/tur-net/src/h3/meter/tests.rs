//! What the meter lets pass and what it does not.

use super::*;

fn varint(value: u64) -> Vec<u8> {
    match value {
        0..=0x3f => vec![u8::try_from(value).unwrap()],
        0x40..=0x3fff => u16::try_from(value | 0x4000)
            .unwrap()
            .to_be_bytes()
            .to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

fn frame(kind: u64, length: u64) -> Vec<u8> {
    [varint(kind), varint(length)].concat()
}

fn whole(kind: u64, length: usize) -> Vec<u8> {
    let payload = vec![0xff; length];
    [frame(kind, length as u64), payload].concat()
}

/// What an answer meets, whatever pieces it comes in.
fn answer(bytes: &[u8]) -> Result<(), Breach> {
    let in_pieces = |size| {
        let mut meter = Meter::of_answer(1_000);
        for piece in bytes.chunks(size) {
            meter.take(piece)?;
        }
        meter.end()
    };
    let outcome = in_pieces(usize::MAX);
    for size in [1, 2, 3, 7, 100] {
        assert_eq!(in_pieces(size), outcome, "in pieces of {size}");
    }
    outcome
}

#[test]
fn an_answer_may_have_interim_heads_content_and_trailers() {
    let parts = [
        whole(HEADERS, 20),
        whole(0x21, 6),
        whole(HEADERS, 1_000),
        whole(DATA, 5_000),
        whole(DATA, 0),
        whole(DATA, 1),
        whole(HEADERS, 3),
        whole(0x40, 16),
    ];
    assert_eq!(answer(&parts.concat()), Ok(()));
}

#[test]
fn an_end_inside_a_frame_is_a_cut() {
    let good = [whole(HEADERS, 10), whole(DATA, 300)].concat();
    for end in 0..good.len() {
        let whole = [0, 12].contains(&end);
        let expected = if whole { Ok(()) } else { Err(Breach::Cut) };
        assert_eq!(answer(&good[..end]), expected, "cut at {end}");
    }
}

#[test]
fn heads_are_bounded_before_they_are_kept() {
    assert_eq!(answer(&whole(HEADERS, 1_001)), Err(Breach::Head));
    assert_eq!(answer(&frame(HEADERS, 1 << 40)), Err(Breach::Head));
}

#[test]
fn frames_without_content_are_bounded() {
    let head = whole(HEADERS, 10);
    for (kind, length) in [(DATA, 0), (0x21, 0), (0x21, 9)] {
        let few = whole(kind, length).repeat(OTHERS_MAX);
        let content = whole(DATA, 1);
        let twice = [&head[..], &few, &content, &few].concat();
        assert_eq!(answer(&twice), Ok(()), "{kind:#x}");
        let many = [&head[..], &few, &whole(kind, length)].concat();
        assert_eq!(answer(&many), Err(Breach::Flood), "{kind:#x}");
    }
    let long = [head, frame(0x21, OTHER_BYTES_MAX + 1)].concat();
    assert_eq!(answer(&long), Err(Breach::Flood));
}

#[test]
fn nothing_follows_the_trailers() {
    let answered = [whole(HEADERS, 1), whole(DATA, 9), whole(HEADERS, 1)].concat();
    for kind in [DATA, HEADERS] {
        let more = [answered.clone(), whole(kind, 1)].concat();
        assert_eq!(answer(&more), Err(Breach::Order));
    }
}

#[test]
fn the_control_stream_says_which_streams_are_served() {
    let said = [
        varint(CONTROL),
        whole(4, 12),
        [frame(GOAWAY, 2), varint(0x1234)].concat(),
        [frame(GOAWAY, 1), varint(8)].concat(),
    ]
    .concat();
    let mut meter = Meter::of_peer();
    let mut ids = Vec::new();
    for byte in said {
        assert_eq!(meter.take(&[byte]), Ok(()));
        ids.extend(meter.goaway().filter(|id| ids.last() != Some(id)));
    }
    assert_eq!(ids, [0x1234, 8]);
    assert_eq!(meter.end(), Ok(()));
}

#[test]
fn the_control_stream_is_bounded() {
    let flood = [varint(CONTROL), whole(0xd, 1).repeat(OTHERS_MAX + 1)].concat();
    assert_eq!(Meter::of_peer().take(&flood), Err(Breach::Flood));
    let long = [varint(CONTROL), frame(4, 1 << 30)].concat();
    assert_eq!(Meter::of_peer().take(&long), Err(Breach::Flood));
    let opaque = [varint(2), vec![0xff; 100_000]].concat();
    assert_eq!(Meter::of_peer().take(&opaque), Ok(()));
}

#[test]
fn a_goaway_that_is_no_number_says_nothing() {
    for bytes in [&[0, 7, 0][..], &[0, 7, 1, 0x40, 4, 0], &[0, 7, 3, 5, 9, 9]] {
        let mut meter = Meter::of_peer();
        assert_eq!(meter.take(bytes), Ok(()));
        let expected = (bytes.len() == 6 && bytes[2] == 3).then_some(5);
        assert_eq!(meter.goaway(), expected, "{bytes:?}");
        assert!(matches!(meter.at, At::Type(varint) if varint.is_empty()));
    }
}
