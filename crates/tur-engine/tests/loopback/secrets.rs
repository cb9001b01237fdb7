//! What is told of a download, as an event or as a trace, holds no secret.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event as TraceEvent, Metadata, Subscriber};
use tur_engine::{Downloader, Kind, What};
use tur_testkit::{Behaviour, Deed, Loopback, When};

use crate::stand::{KIB, Stand, events_of};

/// Everything that is traced, each event behind the spans that it is in.
static TRACED: Mutex<String> = Mutex::new(String::new());
static SPANS: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Recorder(AtomicU64);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").expect("a string takes all");
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tur")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text(span.metadata().name().to_owned());
        span.record(&mut text);
        let mut spans = SPANS.lock().unwrap_or_else(PoisonError::into_inner);
        spans.push(text.0);
        self.0.store(spans.len() as u64, Ordering::Relaxed);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &TraceEvent<'_>) {
        let mut text = Text(String::new());
        INSIDE.with_borrow(|inside| {
            let spans = SPANS.lock().unwrap_or_else(PoisonError::into_inner);
            for id in inside {
                let span = &spans[usize::try_from(*id - 1).expect("few spans")];
                write!(text.0, "[{span}]").expect("a string takes all");
            }
        });
        event.record(&mut text);
        text.0.push('\n');
        let mut traced = TRACED.lock().unwrap_or_else(PoisonError::into_inner);
        traced.push_str(&text.0);
    }

    fn enter(&self, span: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(span.into_u64()));
    }

    fn exit(&self, _: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.pop());
    }
}

/// The URL has a password and a signature, and so has the one that it leads to.
#[tokio::test]
async fn a_secret_is_told_only_where_the_url_is() {
    tracing::subscriber::set_global_default(Recorder(AtomicU64::new(0)))
        .expect("no other test records");
    let broken = Deed::Status {
        status: 503,
        retry_after: None,
    };
    let redirect = Deed::Redirect {
        status: 302,
        location: "/there?sig=hush-there".to_owned(),
    };
    let signed = Behaviour::new(KIB).rule(When::Always, redirect);
    let there = Behaviour::new(64 * KIB).rule(When::Only(1), broken);
    let origin = Loopback::start([
        ("/signed?sig=hush-here", signed),
        ("/there?sig=hush-there", there),
    ]);
    let stand = Stand::with(origin, Downloader::builder().build().expect("a downloader"));
    let url = stand.origin.url("/signed?sig=hush-here");
    let url = url.replace("http://", "http://me:hush-me@");
    for (url, kind) in [
        (url.clone(), None),
        (url.replace("signed", "absent"), Some(Kind::Server)),
    ] {
        let mut handle = stand
            .downloader
            .download(&url)
            .dir(stand.dir.path())
            .start();
        let (events, result) = events_of(&mut handle).await;
        assert_eq!(result.err().map(|error| error.kind()), kind);
        for event in &events {
            let told = format!("{event:?}");
            assert!(
                !told.contains("hush-me") && !told.contains("hush-there"),
                "{told}"
            );
            // Who gave the URL is told it at the beginning and at the end.
            match &event.what {
                What::Started { .. } | What::Completed(_) | What::Failed(_) => {}
                _ => assert!(!told.contains("hush"), "{told}"),
            }
        }
        let traced = TRACED.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = format!("[download id={}]", handle.id());
        assert!(traced.contains(&inside), "{traced}");
        assert!(!traced.contains("hush"), "{traced}");
    }
    let spans = SPANS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!spans.iter().any(|span| span.contains("hush")), "{spans:?}");
}
