//! The rows.

use std::time::Duration;

use tur_core::{ByteRange, Rate, RetryAfter, Wall};
use tur_testkit::{
    Behaviour, Deed, Framing, Gate, IfRange, Ranges, TODAY, When, http_date, strong, weak,
};

use super::{Case, End, Sight, Want, check, sight};

const SIZE: u64 = 40_000;
const WHOLE: ByteRange = ByteRange::new(0, SIZE);
const MIDDLE: ByteRange = ByteRange::new(10_000, 20_000);

fn honest() -> Behaviour {
    Behaviour::new(SIZE)
}

fn deed(deed: Deed) -> Behaviour {
    honest().rule(When::Always, deed)
}

/// A plain request to `behaviour` shows the whole file, changed by `edit`.
fn plain(name: &'static str, behaviour: Behaviour, edit: impl FnOnce(&mut Sight)) {
    asked(name, behaviour, Want::default(), sight(200, 0, WHOLE), edit);
}

/// A request for the middle shows an honest 206, changed by `edit`.
fn ranged(name: &'static str, behaviour: Behaviour, edit: impl FnOnce(&mut Sight)) {
    let want = Want {
        range: Some(MIDDLE),
        if_range: None,
    };
    asked(name, behaviour, want, partial(MIDDLE), edit);
}

fn asked(
    name: &'static str,
    behaviour: Behaviour,
    want: Want,
    mut sight: Sight,
    edit: impl FnOnce(&mut Sight),
) {
    edit(&mut sight);
    check(&Case {
        name,
        behaviour,
        requests: 1,
        want,
        sight,
    });
}

fn partial(range: ByteRange) -> Sight {
    Sight {
        range: Some((range, Some(SIZE))),
        ..sight(206, 0, range)
    }
}

/// The sight of a refusal with a page, or of nothing at all.
fn refused(sight: &mut Sight, status: u16, detail: &str) {
    sight.status = status;
    sight.range = None;
    sight.etag = None;
    sight.detail = detail.to_owned();
    sight.body = Vec::new();
}

fn nothing(sight: &mut Sight, end: End) {
    refused(sight, 0, "");
    sight.end = end;
}

#[test]
fn an_honest_origin() {
    plain("whole", honest(), |_| {});
    ranged("middle", honest(), |_| {});
    for (name, range, got) in [
        ("first byte", ByteRange::new(0, 1), ByteRange::new(0, 1)),
        (
            "open",
            ByteRange::from(39_000),
            ByteRange::new(39_000, SIZE),
        ),
        (
            "over the end",
            ByteRange::new(39_000, 90_000),
            ByteRange::new(39_000, SIZE),
        ),
    ] {
        let want = Want {
            range: Some(range),
            if_range: None,
        };
        asked(name, honest(), want, partial(got), |_| {});
    }
    let want = Want {
        range: Some(ByteRange::from(SIZE)),
        if_range: None,
    };
    asked("behind the end", honest(), want, partial(WHOLE), |s| {
        refused(s, 416, "");
        s.unsatisfied = Some(SIZE);
    });
    let empty = Want {
        range: Some(ByteRange::from(0)),
        if_range: None,
    };
    asked("nothing", Behaviour::new(0), empty, partial(WHOLE), |s| {
        refused(s, 416, "");
        s.unsatisfied = Some(0);
    });
}

#[test]
fn ranges_that_lie() {
    let with = |ranges| honest().ranges(ranges);
    let set = |range: ByteRange, total| {
        move |s: &mut Sight| {
            s.range = total;
            s.body = tur_testkit::content(0, range);
        }
    };
    ranged("ignored", with(Ranges::Ignored), |s| {
        *s = sight(200, 0, WHOLE);
    });
    ranged("refused", with(Ranges::Refused), |s| {
        refused(s, 416, "");
        s.unsatisfied = Some(SIZE);
    });
    let short = ByteRange::new(10_000, 10_300);
    ranged(
        "short",
        with(Ranges::ShortAtMost(300)),
        set(short, Some((short, Some(SIZE)))),
    );
    let long = ByteRange::new(10_000, SIZE);
    ranged(
        "long",
        with(Ranges::LongToEnd),
        set(long, Some((long, Some(SIZE)))),
    );
    ranged(
        "from zero",
        with(Ranges::FromZero),
        set(WHOLE, Some((WHOLE, Some(SIZE)))),
    );
    ranged("no label", with(Ranges::NoContentRange), set(WHOLE, None));
    ranged(
        "star",
        with(Ranges::StarTotal),
        set(MIDDLE, Some((MIDDLE, None))),
    );
    ranged(
        "total",
        with(Ranges::WrongTotal(50_000)),
        set(MIDDLE, Some((MIDDLE, Some(50_000)))),
    );
    let moved = ByteRange::new(9_000, 19_000);
    ranged(
        "shifted",
        with(Ranges::Shifted(-1_000)),
        set(moved, Some((moved, Some(SIZE)))),
    );
    ranged("multipart", with(Ranges::Multipart), |s| {
        let mut text = b"--part\r\nContent-Range: bytes 10000-19999/40000\r\n\r\n".to_vec();
        text.append(&mut s.body);
        text.extend(b"\r\n--part--\r\n");
        (s.range, s.body) = (None, text);
    });
    let label = Ranges::Label("bytes 5-1/18446744073709551616".to_owned());
    ranged("label", with(label), set(MIDDLE, None));
}

#[test]
fn if_range_in_all_its_ways() {
    let day = Wall::from_unix_secs(TODAY.unix_secs() - 86_400);
    let text: &'static str = Box::leak(http_date(day).into_boxed_str());
    let dated = honest().etag(None).last_modified(Some(day));
    let rows = [
        ("tag", honest(), "\"v0\"", true),
        ("old tag", honest(), "\"v9\"", false),
        ("weak tag", honest().etag(Some(weak("v0"))), "\"v0\"", false),
        ("date", dated.clone(), text, true),
        ("old date", dated, "Sun, 06 Nov 1994 08:49:37 GMT", false),
        ("never", honest().if_range(IfRange::Never), "\"v0\"", false),
        (
            "ignored",
            honest().if_range(IfRange::Ignored),
            "\"v9\"",
            true,
        ),
        ("deed", deed(Deed::IfRange(IfRange::Never)), "\"v0\"", false),
    ];
    for (name, behaviour, if_range, counts) in rows {
        let want = Want {
            range: Some(MIDDLE),
            if_range: Some(if_range),
        };
        let mut expected = if counts {
            partial(MIDDLE)
        } else {
            sight(200, 0, WHOLE)
        };
        expected.etag = behaviour.etag.as_ref().map(|tag| {
            let opaque = String::from_utf8_lossy(&tag.opaque).into_owned();
            if tag.weak {
                format!("W/{opaque}")
            } else {
                opaque
            }
        });
        asked(name, behaviour, want, expected, |_| {});
    }
}

#[test]
fn framings() {
    let with = |framing| honest().framing(framing);
    plain("chunked", with(Framing::Chunked), |_| {});
    plain("until close", with(Framing::UntilClose), |_| {});
    plain("deed", deed(Deed::Framing(Framing::Chunked)), |_| {});
    plain(
        "length too large",
        with(Framing::LyingLength(50_000)),
        |s| s.end = End::Early,
    );
    plain(
        "length too small",
        with(Framing::LyingLength(30_000)),
        |s| {
            s.body.truncate(30_000);
        },
    );
    for text in ["-1", "99999999999999999999999"] {
        plain(
            "bad length",
            with(Framing::Lengths(vec![text.to_owned()])),
            |s| {
                nothing(s, End::NotHttp);
            },
        );
    }
    let two = Framing::Lengths(vec!["40000".to_owned(), "39999".to_owned()]);
    plain("two lengths", with(two), |s| nothing(s, End::NotHttp));
    plain("extra", deed(Deed::Extra(4_096)), |_| {});
    plain("interim", deed(Deed::Interim(3)), |_| {});
    plain("no keep-alive", honest().no_keep_alive(), |_| {});
    plain("empty", Behaviour::new(0), |s| s.body.clear());
    plain("one byte", Behaviour::new(1), |s| s.body.truncate(1));
}

#[test]
fn bodies_that_break_off() {
    for (name, broken, end) in [
        ("cut", Deed::CutAfter(12_345), End::Early),
        ("reset", Deed::ResetAfter(12_345), End::Reset),
        ("stall", Deed::StallAfter(12_345), End::Silent),
    ] {
        plain(name, deed(broken.clone()), |s| {
            s.body.truncate(12_345);
            s.end = end;
        });
        plain(name, deed(broken.clone()).framing(Framing::Chunked), |s| {
            s.body.truncate(12_345);
            s.end = end;
        });
        // The body of the middle is shorter than the deed asks for.
        ranged(name, deed(broken), |_| {});
    }
    let cut_at_end = deed(Deed::CutAfter(SIZE));
    plain("cut at the end", cut_at_end.clone(), |_| {});
    plain("no last chunk", cut_at_end.framing(Framing::Chunked), |s| {
        s.end = End::Early
    });
    let unseen = deed(Deed::CutAfter(5)).framing(Framing::UntilClose);
    plain("cut unseen", unseen, |s| s.body.truncate(5));
    let gate = Deed::Hold(Gate::at(12_345));
    plain("gate", deed(gate.clone()), |s| {
        s.body.truncate(12_345);
        s.end = End::Silent;
    });
    ranged("gate", deed(gate), |s| {
        s.body.truncate(2_345);
        s.end = End::Silent;
    });
    let shut = Deed::HoldHead(Gate::at(0));
    plain("head gate", deed(shut), |s| nothing(s, End::Silent));
    plain("at once", deed(Deed::CutAfter(0)), |s| {
        s.body.clear();
        s.end = End::Early;
    });
}

#[test]
fn other_answers() {
    let status = |status, retry_after| {
        deed(Deed::Status {
            status,
            retry_after,
        })
    };
    plain("404", status(404, None), |s| refused(s, 404, ""));
    let second = Some(RetryAfter::Delay(Duration::from_secs(1)));
    plain("503", status(503, second), |s| refused(s, 503, "1"));
    let date = Some(RetryAfter::At(TODAY));
    plain("date", status(503, date), |s| {
        refused(s, 503, "Fri, 15 Jan 2027 08:00:00 GMT");
    });
    plain(
        "reason",
        deed(Deed::Reason(404, "\x1b[31mno".to_owned())),
        |s| {
            refused(s, 404, "");
        },
    );
    plain("401", deed(Deed::Challenge), |s| {
        refused(s, 401, "challenge")
    });
    let to = Deed::Redirect {
        status: 307,
        location: "/other".to_owned(),
    };
    plain("redirect", deed(to), |s| refused(s, 307, "/other"));
    let busy = |limit| Deed::Busy {
        limit,
        retry_after: None,
    };
    plain("busy", deed(busy(0)), |s| refused(s, 429, ""));
    plain("not busy", deed(busy(1)), |_| {});
    plain("hangup", deed(Deed::Hangup), |s| nothing(s, End::Early));
    plain("black hole", deed(Deed::BlackHole), |s| {
        nothing(s, End::Silent)
    });
    plain("not HTTP", deed(Deed::NotHttp), |s| {
        nothing(s, End::NotHttp)
    });
    plain("endless head", deed(Deed::EndlessHead), |s| {
        nothing(s, End::HeadTooLarge)
    });
}

#[test]
fn requests_are_told_apart() {
    let cut = || Deed::CutAfter(7);
    let late = When::From(10_001);
    let rows = [
        ("first", When::First(2), [true, true, false, false]),
        ("after", When::After(2), [false, false, true, true]),
        ("only", When::Only(2), [false, true, false, false]),
        ("every", When::Every(2), [false, true, false, true]),
        ("ranged", When::Ranged, [true; 4]),
        ("plain", When::Plain, [false; 4]),
        ("conditional", When::Conditional, [false; 4]),
        ("from", When::From(10_000), [true; 4]),
        ("from later", late.clone(), [false; 4]),
        ("method", When::Method("GET".to_owned()), [true; 4]),
        ("other", When::Method("HEAD".to_owned()), [false; 4]),
        ("not", late.negate(), [true; 4]),
        (
            "both",
            When::After(1).and(When::First(3)),
            [false, true, true, false],
        ),
    ];
    for (name, when, hits) in rows {
        for (requests, hit) in (1..).zip(hits) {
            let mut seen = partial(MIDDLE);
            if hit {
                seen.body.truncate(7);
                seen.end = End::Early;
            }
            let want = Want {
                range: Some(MIDDLE),
                if_range: None,
            };
            check(&Case {
                name,
                behaviour: honest().rule(when.clone(), cut()),
                requests,
                want,
                sight: seen,
            });
        }
    }
}

#[test]
fn representations_that_change() {
    let grown = Deed::Serve {
        version: 3,
        etag: Some(strong("v3")),
        size: 50_000,
    };
    let rows = [
        (honest().changes_after(1, 2), 1, sight(200, 0, WHOLE)),
        (honest().changes_after(1, 2), 2, sight(200, 2, WHOLE)),
        (
            honest().rule(When::After(1), grown),
            2,
            sight(200, 3, ByteRange::new(0, 50_000)),
        ),
    ];
    for (behaviour, requests, sight) in rows {
        check(&Case {
            name: "change",
            behaviour,
            requests,
            want: Want::default(),
            sight,
        });
    }
    let page = honest().rule(When::After(2), Deed::Page);
    let mut looks_whole = sight(200, 0, WHOLE);
    looks_whole.etag = None;
    looks_whole.body =
        b"<!doctype html><title>Sign in</title><p>This is a page and not the file.</p>\n".to_vec();
    check(&Case {
        name: "page",
        behaviour: page,
        requests: 3,
        want: Want::default(),
        sight: looks_whole,
    });
}

#[test]
fn later_rules_change_what_earlier_ones_left() {
    let behaviour = honest()
        .rule(When::Always, Deed::CutAfter(5))
        .rule(When::Always, Deed::StallAfter(9))
        .rule(When::Always, Deed::Pace(Rate::per_second(1_000_000)))
        .rule(When::Always, Deed::FirstByte(Duration::from_millis(5)));
    plain("last wins", behaviour, |s| {
        s.body.truncate(9);
        s.end = End::Silent;
    });
}
