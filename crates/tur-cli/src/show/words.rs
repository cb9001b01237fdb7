//! Sentences about a download, for people.
//!
//! What is quoted from the network is escaped where it is written, not here: see [`crate::console`].

use std::time::Duration;

use tur_engine::{
    Completed, Error, Kind, LaneState, LaneView, Metrics, PhaseWord, Progress, Rate, What,
};

use crate::human;
use crate::plan::Detail;

/// What failed, and for what: the URL, unless the message is about a file or about the command itself.
pub(super) fn failed(error: &Error) -> String {
    match error.kind() {
        Kind::Usage | Kind::Local | Kind::DiskFull | Kind::Busy | Kind::Signal => error.to_string(),
        _ => failed_of_many(error),
    }
}

/// What failed of several: always with the URL.
pub(super) fn failed_of_many(error: &Error) -> String {
    // The query may be a signature, and what is said here ends in logs.
    match error.url().split_once('?') {
        Some((url, _)) => format!("{url}?…: {error}"),
        None if error.url().is_empty() => error.to_string(),
        None => format!("{}: {error}", error.url()),
    }
}

/// From which level of detail on something is said about an event; `None` if never. The picture, its end and the exit code
/// say the others; lanes come with the picture. What later versions of the engine tell is not known here.
pub(super) fn detail(what: &What) -> Option<Detail> {
    Some(match what {
        What::Opened { resumed_bytes, .. } if *resumed_bytes > 0 => Detail::Normal,
        What::Retrying { .. }
        | What::Slow
        | What::Stalled { .. }
        | What::Restarted { .. }
        | What::Note(_)
        | What::DiskLow { .. } => Detail::Normal,
        What::Opened { .. }
        | What::Challenge { .. }
        | What::Resumed { .. }
        | What::Verifying
        | What::Lagged(_) => Detail::Lanes,
        What::Decision(_) => Detail::Decisions,
        _ => return None,
    })
}

/// A sentence about an event; `None` where [`detail`] is.
pub(super) fn event(what: &What) -> Option<String> {
    Some(match what {
        What::Opened { resumed_bytes, .. } if *resumed_bytes > 0 => format!(
            "{} are here already, going on from there",
            human::bytes(*resumed_bytes)
        ),
        What::Opened {
            len,
            name,
            validator,
            protocol,
            ..
        } => format!(
            "{name}: {}, {protocol}, {}",
            len.map_or_else(|| "length unknown".to_owned(), human::bytes),
            validator.as_ref().map_or_else(
                || "no validator".to_owned(),
                |text| format!("validator {text}")
            )
        ),
        What::Retrying {
            why,
            after,
            attempt,
        } => format!("{why}; retry {attempt} in {}", human::time(*after)),
        What::Slow => "there is no answer yet".to_owned(),
        What::Stalled {
            lane: Some(lane), ..
        } => format!("lane {lane} has stalled"),
        What::Stalled {
            lane: None,
            waits_for,
            lasted,
        } => {
            let nothing = format!("nothing has come for {} s", lasted.as_secs());
            match waits_for {
                Some(what) => format!("{nothing}: waiting for {what}"),
                None => nothing,
            }
        }
        What::Challenge { kind } => format!("a page came instead of the file ({kind})"),
        What::Restarted { why } => format!("starting again from zero: {why}"),
        What::Note(text) | What::Decision(text) => text.clone(),
        What::DiskLow { available, missing } => format!(
            "the disk is nearly full: {} are free, {} are still to come",
            human::bytes(*available),
            human::bytes(*missing)
        ),
        What::Resumed { at } => format!("going on at {}", human::bytes(*at)),
        What::Verifying => "verifying".to_owned(),
        What::Lagged(missed) => format!("{missed} events are not shown"),
        _ => return None,
    })
}

/// A line of progress; `None` while there is nothing to tell.
pub(super) fn progress(progress: &Progress) -> Option<String> {
    match progress.phase {
        // Retries and a slow answer are told as events.
        PhaseWord::Starting | PhaseWord::Done => None,
        PhaseWord::Running | PhaseWord::Paused | PhaseWord::Verifying => {
            let percent = progress
                .total
                .map(|total| format!("{}% ", human::percent(progress.landed, total)));
            Some(format!(
                "{}{}",
                percent.unwrap_or_default(),
                standing(progress)
            ))
        }
    }
}

/// Where a download stands: bytes, rate, lanes and time left.
pub(super) fn standing(progress: &Progress) -> String {
    let doing = match progress.phase {
        PhaseWord::Starting => return "starting".to_owned(),
        PhaseWord::Paused => Some("paused".to_owned()),
        PhaseWord::Verifying => Some("verifying".to_owned()),
        PhaseWord::Running | PhaseWord::Done => None,
    };
    let landed = match progress.total {
        Some(total) => format!(
            "{} of {}",
            human::bytes(progress.landed),
            human::bytes(total)
        ),
        None => human::bytes(progress.landed),
    };
    let doing = doing.unwrap_or_else(|| {
        let lanes = match progress.lanes {
            1 => "1 lane".to_owned(),
            n => format!("{n} lanes"),
        };
        match left(progress) {
            Some(time) => format!(
                "{}, {lanes}, {} left",
                human::rate(progress.rate),
                human::time(time)
            ),
            None => format!("{}, {lanes}", human::rate(progress.rate)),
        }
    });
    format!("{landed}, {doing}")
}

/// The first characters of a text, `…` for the rest.
pub(super) fn short(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars_max - 1).chain(['…']).collect(),
    }
}

/// Where each lane is; `None` without lanes.
pub(super) fn lane_map(lanes: &[LaneView]) -> Option<String> {
    if lanes.is_empty() {
        return None;
    }
    let each: Vec<String> = lanes.iter().map(lane).collect();
    Some(format!("lanes: {}", each.join("; ")))
}

fn lane(view: &LaneView) -> String {
    let state = match view.state {
        LaneState::Receiving => human::rate(view.rate),
        state => state.as_str().to_owned(),
    };
    let Some(at) = view.at else {
        return format!("{} {state}", view.lane);
    };
    let end = view.end.map_or_else(|| "the end".to_owned(), human::bytes);
    let at = human::bytes(at);
    format!(
        "{} at {at} to {end} from {}, {state}",
        view.lane, view.address
    )
}

/// What was counted, in a line for those who want to know more.
pub(super) fn metrics(metrics: &Metrics) -> String {
    let mut said: Vec<String> = metrics
        .protocols
        .iter()
        .map(|(name, counts)| {
            format!(
                "{name}: {} connections, {} requests on new ones, {} on used ones",
                counts.connections, counts.fresh, counts.reused
            )
        })
        .collect();
    let times = [
        ("answers", metrics.rtt),
        ("connects", metrics.handshake),
        ("writes", metrics.write),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            said.push(format!("{name} in {:.1} ms", time.as_secs_f64() * 1_000.0));
        }
    }
    let steals = &metrics.steals;
    if steals.bytes > 0 {
        let taken = human::bytes(steals.bytes);
        let (tails, lanes) = (steals.tails, steals.revoked);
        said.push(format!("{tails} tails and {lanes} lanes taken ({taken})"));
    }
    if metrics.wasted_bytes > 0 {
        said.push(format!(
            "{} for nothing",
            human::bytes(metrics.wasted_bytes)
        ));
    }
    let retries = metrics.retries.iter();
    said.extend(retries.map(|(why, n)| format!("{n} retries after {why}")));
    if metrics.memory_hits > 0 {
        said.push("the server was known".to_owned());
    }
    said.join("; ")
}

/// How it went: name, size, time, average rate of what came in this run.
pub(super) fn completed(done: &Completed) -> String {
    let name = done.path.display();
    let size = human::bytes(done.bytes);
    if done.already {
        return format!("{name}: is here already ({size}), nothing was fetched");
    }
    let fetched = done.bytes.saturating_sub(done.resumed_bytes);
    let rate = Rate::of(fetched, done.elapsed).map(human::rate);
    format!(
        "{name}: {size} in {}, {} on average",
        human::time(done.elapsed),
        rate.unwrap_or_else(|| human::bytes(fetched))
    )
}

/// Time left at the present rate; `None` if nobody can tell.
fn left(progress: &Progress) -> Option<Duration> {
    let left = progress.total?.checked_sub(progress.landed)?;
    let time = progress.rate.time_for(left);
    (time < LEFT_MAX).then_some(time)
}

/// Times left above this are noise.
const LEFT_MAX: Duration = Duration::from_secs(100 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;
    use tur_engine::WaitsFor;

    fn running() -> Progress {
        Progress {
            phase: PhaseWord::Running,
            landed: 1 << 20,
            total: Some(4 << 20),
            rate: Rate::per_second(1 << 20),
            lanes: 2,
            ..Progress::default()
        }
    }

    #[test]
    fn a_stall_says_what_is_waited_for() {
        for (lane, waits_for, text) in [
            (Some(3), Some(WaitsFor::Body), "lane 3 has stalled"),
            (
                None,
                Some(WaitsFor::Answer),
                "nothing has come for 60 s: waiting for an answer",
            ),
            (None, None, "nothing has come for 60 s"),
        ] {
            let lasted = Duration::from_millis(60_100);
            let stalled = What::Stalled {
                lane,
                waits_for,
                lasted,
            };
            assert_eq!(detail(&stalled), Some(Detail::Normal));
            assert_eq!(event(&stalled), Some(text.to_owned()));
        }
    }

    #[test]
    fn progress_is_one_short_line() {
        for (state, text) in [
            (
                running(),
                Some("25% 1.0 MiB of 4.0 MiB, 1.0 MiB/s, 2 lanes, 3.00 s left"),
            ),
            (
                Progress {
                    total: None,
                    lanes: 1,
                    ..running()
                },
                Some("1.0 MiB, 1.0 MiB/s, 1 lane"),
            ),
            (
                Progress {
                    rate: Rate::default(),
                    ..running()
                },
                Some("25% 1.0 MiB of 4.0 MiB, 0 B/s, 2 lanes"),
            ),
            (
                Progress {
                    phase: PhaseWord::Verifying,
                    ..running()
                },
                Some("25% 1.0 MiB of 4.0 MiB, verifying"),
            ),
            (Progress::default(), None),
            (
                Progress {
                    phase: PhaseWord::Done,
                    ..running()
                },
                None,
            ),
        ] {
            assert_eq!(progress(&state).as_deref(), text);
        }
    }

    #[test]
    fn the_summary_has_name_size_time_and_the_rate_of_this_run() {
        let done = Completed {
            path: "a.bin".into(),
            bytes: 4 << 20,
            resumed_bytes: 2 << 20,
            elapsed: Duration::from_secs(2),
            ..Completed::default()
        };
        assert_eq!(
            completed(&done),
            "a.bin: 4.0 MiB in 2.00 s, 1.0 MiB/s on average"
        );
        let already = Completed {
            already: true,
            ..done
        };
        assert_eq!(
            completed(&already),
            "a.bin: is here already (4.0 MiB), nothing was fetched"
        );
    }

    #[test]
    fn long_names_are_cut() {
        for (text, cut) in [("", ""), ("näme", "näme"), ("names", "nam…")] {
            assert_eq!(short(text, 4), cut);
        }
    }

    #[test]
    fn the_lane_map_says_where_each_lane_is() {
        let lane = |lane, end| LaneView {
            lane,
            state: LaneState::Receiving,
            at: Some(1_024),
            end,
            rate: Rate::per_second(1 << 20),
            protocol: "h1",
            address: "127.0.0.1:80".to_owned(),
        };
        let held = LaneView {
            state: LaneState::Held,
            ..lane(4, None)
        };
        let waiting = LaneView {
            state: LaneState::Waiting,
            at: None,
            ..lane(5, None)
        };
        let map = "lanes: 3 at 1.0 KiB to 2.0 KiB from 127.0.0.1:80, 1.0 MiB/s; \
                   4 at 1.0 KiB to the end from 127.0.0.1:80, held; 5 waiting";
        let lanes = [lane(3, Some(2_048)), held, waiting];
        assert_eq!(lane_map(&lanes).as_deref(), Some(map));
        assert_eq!(lane_map(&[]), None);
    }

    #[test]
    fn metrics_say_what_was_counted_and_nothing_else() {
        let mut counted = Metrics::default();
        assert_eq!(metrics(&counted), "");
        counted.rtt = Some(Duration::from_micros(1_540));
        counted.steals.tails = 2;
        counted.steals.bytes = 1_024;
        counted.retries.insert("status 503".into(), 1);
        counted.memory_hits = 1;
        assert_eq!(
            metrics(&counted),
            "answers in 1.5 ms; 2 tails and 0 lanes taken (1.0 KiB); 1 retries after status 503; the server was known"
        );
    }

    #[test]
    fn details_are_said_at_their_level() {
        let retry = What::Retrying {
            why: "connection lost".to_owned(),
            after: Duration::from_millis(500),
            attempt: 2,
        };
        for (what, said) in [
            (
                retry,
                Some((Detail::Normal, "connection lost; retry 2 in 0.50 s")),
            ),
            (
                What::Decision("d".to_owned()),
                Some((Detail::Decisions, "d")),
            ),
            (What::Paused, None),
        ] {
            let said = said.map(|(detail, text)| (detail, text.to_owned()));
            assert_eq!(detail(&what).zip(event(&what)), said);
            assert_eq!(detail(&what).is_some(), event(&what).is_some());
        }
    }
}
