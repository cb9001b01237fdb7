//! Looking at the first bytes of a body before anybody takes them.
//!
//! Read [`Ahead`]: it is the body itself, and what was looked at comes out of it first, with the body's own end behind.

use std::time::Duration;

use tokio::time::timeout;
use tur_core::port::{Body, Fill};
use tur_core::{Chunks, Fault};

/// A body that may be looked into.
pub(crate) struct Ahead<B> {
    body: B,
    seen: Chunks,
    /// How the body ended while it was looked at.
    end: Option<Result<(), Fault>>,
}

/// After the first bytes of a body, so much longer are more of them waited for: who trickles a page is not waited for until
/// a time-out.
const LOOK: Duration = Duration::from_secs(2);
/// Bytes that tell whether more of them are worth it.
const BEGINNING: usize = 64;

impl<B: Body> Ahead<B> {
    /// A body of which nothing was seen.
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            seen: Chunks::new(),
            end: None,
        }
    }

    /// Waits for the first bytes; and, where such a beginning is worth it, for at most `most` of them a little longer.
    /// Returns what there is. An end, good or bad, is kept for who takes the bytes. Dropped, it can be called again.
    pub(crate) async fn look(&mut self, most: usize, worth: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        while self.seen.is_empty() && self.end.is_none() {
            self.see(most).await;
        }
        let rest = async {
            while self.seen.len() < most && self.end.is_none() && worth(&self.first(BEGINNING)) {
                self.see(most).await;
            }
        };
        // Too late is no failure: what came by then is what is looked at.
        if timeout(LOOK, rest).await.is_err() {
            tracing::debug!("a page trickles: its beginning must do");
        }
        self.first(most)
    }

    /// What was seen, so much of it at most.
    fn first(&self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(most.min(self.seen.len()));
        for chunk in self.seen.iter() {
            let room = most - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        bytes
    }

    async fn see(&mut self, most: usize) {
        let budget = most.saturating_sub(self.seen.len()).max(1);
        match self.body.fill(&mut self.seen, budget).await {
            Ok(Fill::More) => {}
            Ok(Fill::End) => self.end = Some(Ok(())),
            Err(fault) => self.end = Some(Err(fault)),
        }
    }
}

impl<B: Body> Body for Ahead<B> {
    async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        if self.seen.is_empty() && self.end.is_none() {
            return self.body.fill(chunks, budget).await;
        }
        let mut moved = 0;
        while moved < budget.max(1)
            && let Some(chunk) = self.seen.pop()
        {
            moved += chunk.len();
            chunks.push(chunk);
        }
        match self.end.take_if(|_| self.seen.is_empty()) {
            None => Ok(Fill::More),
            Some(end) => end.map(|()| Fill::End),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use std::collections::VecDeque;

    /// What each fill brings; none is a wait for ever.
    struct Script(VecDeque<Result<(&'static str, Fill), Fault>>);

    impl Body for Script {
        async fn fill(&mut self, chunks: &mut Chunks, _budget: usize) -> Result<Fill, Fault> {
            match self.0.pop_front() {
                None => std::future::pending().await,
                Some(Err(fault)) => Err(fault),
                Some(Ok((text, fill))) => {
                    chunks.push(Bytes::from_static(text.as_bytes()));
                    Ok(fill)
                }
            }
        }
    }

    fn body(steps: impl IntoIterator<Item = Result<(&'static str, Fill), Fault>>) -> Ahead<Script> {
        Ahead::new(Script(steps.into_iter().collect()))
    }

    async fn drain(mut body: Ahead<Script>, budget: usize) -> (String, Result<(), Fault>) {
        let mut chunks = Chunks::new();
        let end = loop {
            match body.fill(&mut chunks, budget).await {
                Ok(Fill::More) => {}
                Ok(Fill::End) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        let bytes = chunks.iter().flatten().copied().collect();
        (String::from_utf8(bytes).expect("text"), end)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_comes_first_and_the_end_is_the_bodys() {
        let lost = || Fault::Lost("gone".into());
        for (end, last) in [(Ok(("c", Fill::End)), Ok(())), (Err(lost()), Err(lost()))] {
            for most in [1, 2, 100] {
                let mut ahead = body([Ok(("ab", Fill::More)), Ok(("", Fill::More)), end.clone()]);
                let seen = ahead.look(most, |_| true).await;
                assert!(b"abc".starts_with(&seen) && seen.len() <= most);
                let (text, came) = drain(ahead, 1).await;
                assert_eq!(came, last);
                assert_eq!(text, if came.is_ok() { "abc" } else { "ab" });
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_trickles_is_not_waited_for() {
        let mut ahead = body([Ok(("a", Fill::More))]);
        assert_eq!(ahead.look(10, |_| true).await, b"a");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_worth_no_look_is_not_waited_for() {
        let worth = |seen: &[u8]| seen.starts_with(b"<");
        for (steps, seen) in [
            (vec!["<", "x"], Some("<x")),
            (vec!["", "x"], Some("x")),
            (vec!["x"], Some("x")),
            (vec!["<"], None),
            (vec![], None),
        ] {
            let mut ahead = body(steps.iter().map(|text| Ok((*text, Fill::More))));
            let now = ahead.look(2, worth).now_or_never();
            assert_eq!(now.as_deref(), seen.map(str::as_bytes), "{steps:?}");
            // What was seen by then is not lost, and the first bytes of all are waited for as long as it takes.
            let later = tokio::time::timeout(3 * LOOK, ahead.look(2, worth)).await;
            let all = steps.concat();
            assert_eq!(later.ok(), (!all.is_empty()).then(|| all.into_bytes()));
        }
    }
}
