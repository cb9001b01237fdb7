//! Looking into bodies that may be a page in the way, before a byte of them is taken.
//!
//! Read [`is_worth_a_look`](super::Driver::is_worth_a_look): it is the rule. Everything else is opened at once.

use tur_core::port::{Reply, Transport};
use tur_core::{Answer, Fault, Identity};
use tur_http::{LOOK_BYTES_MAX, Sight, admit, challenge, may_challenge, names_a_file};
use tur_sched::{FetchOrder, LaneId};
use tur_storage::Disk;

use super::Driver;
use super::answer::BodyOf;
use super::lane::{Done, drained};
use super::slot::stoppable;
use super::store::Store;
use crate::ahead::Ahead;

impl<T: Transport, D: Disk + Clone, B: Store<D>> Driver<'_, T, D, B> {
    /// True for an answer that may be a page instead of the file: HTML by its type or without a type, neither coded nor
    /// called an attachment; with a status that refuses, or where nothing proves that it is of the file. Who asks for HTML by
    /// its type gets what comes.
    pub(super) fn is_worth_a_look(&self, order: &FetchOrder, answer: &Answer) -> bool {
        if !answer.asides().is_some_and(|asides| asides.may_be_page) {
            return false;
        }
        if let Answer::Refused { status, .. } = answer {
            return may_challenge(*status);
        }
        let wanted = self.errand.terms.types.iter();
        let html_wanted = wanted
            .filter(|glob| !glob.matches("application/octet-stream"))
            .any(|glob| glob.matches("text/html"));
        // What agrees with the identity of the file is the file, page or not.
        !html_wanted && (self.identity().is_none() || admit(answer, &self.asked(order)).is_err())
    }

    /// Waits for the beginning of a body.
    pub(super) fn look(&mut self, lane_id: LaneId, reply: Reply<BodyOf<T>>) {
        let (op, running) = stoppable(async move {
            let Reply { answer, body } = reply;
            let mut body = Ahead::new(body);
            let seen = body.look(LOOK_BYTES_MAX).await;
            Done::Looked {
                lane: lane_id,
                answer,
                body,
                seen,
            }
        });
        if let Some(lane) = self.lanes.get_mut(&lane_id) {
            lane.runs(op);
            self.ops.push(running);
        }
    }

    /// What a body begins with.
    pub(super) fn looked(
        &mut self,
        lane: LaneId,
        (answer, body): (Answer, Ahead<BodyOf<T>>),
        seen: &[u8],
    ) {
        let Some(order) = self.order(lane) else {
            return;
        };
        let sight = Sight {
            status: status(&answer),
            file_expected: names_a_file(self.store.name())
                || self.identity().is_some_and(|file| !is_html(file)),
            body: seen,
        };
        match challenge(&sight) {
            Some(kind) => {
                let session = drained(body);
                self.refused(lane, &order, Fault::Challenged(kind), session);
            }
            None => self.judge(lane, &order, (answer, body)),
        }
    }
}

fn is_html(file: &Identity) -> bool {
    file.media_type
        .as_deref()
        .is_some_and(|kind| kind.contains("html"))
}

fn status(answer: &Answer) -> u16 {
    match answer {
        Answer::Partial { .. } => 206,
        Answer::Refused { status, .. } => *status,
        _ => 200,
    }
}
