//! Looks at a case through the simulated transport, on virtual time.

use std::time::Duration;

use tur_core::port::{Body, Fill, Request, Session, Transport};
use tur_core::{Answer, Ask, Chunks, Content, ETag, Fault, Origin, RetryAfter, Scheme, Target};
use tur_testkit::{http_date, sim::SimTransport};

use super::{Case, End, Sight, Want};

pub(crate) fn look(case: &Case) -> Sight {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = SimTransport::new([("/file", case.behaviour.clone())]);
        for _ in 1..case.requests {
            once(&world, &case.want).await;
        }
        let sight = once(&world, &case.want).await;
        assert_eq!(world.requests(), case.requests);
        sight
    })
}

async fn once(world: &SimTransport, want: &Want) -> Sight {
    let origin = Origin {
        scheme: Scheme::Http,
        host: "origin.test".to_owned(),
        port: 80,
    };
    let session = world.open(&origin).await.unwrap();
    let request = Request {
        target: Target {
            origin,
            path: "/file".to_owned(),
        },
        ask: want.range.map_or(Ask::Whole, Ask::Range),
        if_range: want.if_range.map(|text| text.as_bytes().to_vec()),
        no_cache: false,
        fields: Vec::new(),
    };
    let nothing = |end| sight(0, String::new(), end);
    let hour = Duration::from_secs(3_600);
    let Ok(fetched) = tokio::time::timeout(hour, session.fetch(request)).await else {
        return nothing(End::Silent);
    };
    let mut reply = match fetched {
        Ok(reply) => reply,
        Err(fault) => return nothing(end_of(&fault)),
    };
    let mut sight = head(&reply.answer);
    let mut chunks = Chunks::new();
    sight.end = loop {
        let filled = tokio::time::timeout(hour, reply.body.fill(&mut chunks, 30_000)).await;
        match filled {
            Ok(Ok(Fill::More)) => {}
            Ok(Ok(Fill::End)) => break End::Clean,
            Ok(Err(fault)) => break end_of(&fault),
            Err(_) => break End::Silent,
        }
    };
    // The page of a refusal is not looked at.
    if matches!(reply.answer, Answer::Whole(_) | Answer::Partial { .. }) {
        sight.body = chunks.iter().flatten().copied().collect();
    }
    assert_eq!(world.seen().last().unwrap().sent, chunks.len() as u64);
    sight
}

fn end_of(fault: &Fault) -> End {
    match fault {
        Fault::Lost(text) if text.contains("reset") => End::Reset,
        Fault::Lost(_) | Fault::Truncated(_) => End::Early,
        Fault::Malformed(_) => End::NotHttp,
        Fault::HeadTooLarge { .. } => End::HeadTooLarge,
        other => panic!("unexpected fault {other}"),
    }
}

fn sight(status: u16, detail: String, end: End) -> Sight {
    Sight {
        status,
        range: None,
        unsatisfied: None,
        etag: None,
        detail,
        body: Vec::new(),
        end,
    }
}

fn head(answer: &Answer) -> Sight {
    let with = |status, content: &Content| Sight {
        etag: content.representation.etag.as_ref().map(tag),
        ..sight(status, String::new(), End::Clean)
    };
    match answer {
        Answer::Whole(content) => with(200, content),
        Answer::Partial { range, content } => Sight {
            range: range.map(|range| (range.range, range.total)),
            ..with(206, content)
        },
        Answer::Unsatisfiable { total } => Sight {
            unsatisfied: *total,
            ..sight(416, String::new(), End::Clean)
        },
        Answer::Moved { location, .. } => sight(307, location.clone(), End::Clean),
        Answer::Refused {
            status,
            retry_after,
            challenge,
            ..
        } => {
            let detail = match retry_after {
                Some(RetryAfter::Delay(delay)) => delay.as_secs().to_string(),
                Some(RetryAfter::At(at)) => http_date(*at),
                None if *challenge => "challenge".to_owned(),
                None => String::new(),
            };
            sight(*status, detail, End::Clean)
        }
    }
}

fn tag(tag: &ETag) -> String {
    let prefix = if tag.weak { "W/" } else { "" };
    format!("{prefix}{}", String::from_utf8_lossy(&tag.opaque))
}
