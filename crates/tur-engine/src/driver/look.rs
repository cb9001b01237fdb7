//! Looking into bodies that may be a page in the way, before a byte of them is taken.
//!
//! Read [`is_worth_a_look`](super::Driver::is_worth_a_look): it is the rule. Everything else is opened at once.

use std::borrow::Cow;

use futures_util::FutureExt as _;
use tur_core::port::{Reply, Transport};
use tur_core::{Answer, Asides, Fault, Identity, Origin};
use tur_http::{
    Coding, LOOK_BYTES_MAX, Sight, admit, challenge, may_be_page, may_challenge, names_a_file,
};
use tur_sched::{Event, Facts, FetchOrder, LaneId, Needs, Profile};
use tur_storage::Disk;

use super::Driver;
use super::answer::BodyOf;
use super::lane::{Done, drained};
use super::slot::stoppable;
use super::store::Store;
use crate::What;
use crate::ahead::Ahead;
use crate::decode::beginning;

impl<T: Transport, D: Disk + Clone, B: Store<D>> Driver<'_, T, D, B> {
    /// True for an answer that may be a page instead of the file: HTML by its type or without a type, in no coding that cannot
    /// be decoded and not called an attachment; with a status that refuses, or where nothing proves that it is of the file. Who asks for HTML by
    /// its type gets what comes.
    pub(super) fn is_worth_a_look(&self, order: &FetchOrder, answer: &Answer) -> bool {
        // Its end is waited for, so that its connection can carry the answer to the challenge.
        if matches!(answer, Answer::Refused { status: 401, .. })
            && self.passport.may_answer(&order.target)
        {
            return true;
        }
        let is_seen_through = |asides: &Asides| {
            let coding = asides.page_encoding.as_deref();
            asides.may_be_page && coding.is_none_or(|coding| Coding::of(coding).is_some())
        };
        if !answer.asides().is_some_and(is_seen_through) {
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

    /// Looks at the beginning of a body: at once, if that is there.
    pub(super) fn look(&mut self, lane_id: LaneId, reply: Reply<BodyOf<T>>) {
        let Reply { answer, body } = reply;
        let mut body = Ahead::new(body);
        let coded = answer
            .asides()
            .is_some_and(|asides| asides.page_encoding.is_some());
        // Of a refusal all is seen, so that its connection can be used again; what is coded shows nothing by itself.
        let all = coded || matches!(answer, Answer::Refused { .. });
        let worth = move |beginning: &[u8]| all || may_be_page(beginning);
        if let Some(seen) = body.look(LOOK_BYTES_MAX, worth).now_or_never() {
            return self.looked(lane_id, (answer, body), &seen);
        }
        let (op, running) = stoppable(async move {
            let seen = body.look(LOOK_BYTES_MAX, worth).await;
            Done::Looked {
                lane: lane_id,
                answer: Box::new((answer, body)),
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
        if let Answer::Refused {
            status: 401,
            asides,
            ..
        } = &answer
            && self
                .passport
                .challenged(&order.target, self.shown(lane), asides)
        {
            let session = self.settle_session(lane, drained(body));
            let lease = order.lease;
            return self.tell_machine(Event::Again { lease, session });
        }
        let coding = answer.asides().and_then(|a| a.page_encoding.as_deref());
        let seen = match coding.and_then(Coding::of) {
            Some(coding) => beginning(coding, seen, LOOK_BYTES_MAX).into(),
            None => Cow::Borrowed(seen),
        };
        let sight = Sight {
            status: status(&answer),
            file_expected: names_a_file(self.store.name())
                || self.identity().is_some_and(|file| !is_html(file)),
            body: &seen,
        };
        match challenge(&sight) {
            Some(kind) => {
                let session = drained(body);
                self.refused(lane, &order, Fault::Challenged(kind), session);
            }
            None => self.judge(lane, &order, (answer, body)),
        }
    }

    /// Facts with what the origin needed, as far as this visit tells.
    pub(super) fn with_needs(&self, origin: &Origin, facts: Facts) -> Facts {
        let known = self.world.origins.hint(origin);
        let (challenged, needed) = known.map_or((false, Needs::default()), |known| {
            (known.challenge.is_some(), known.needs)
        });
        // Where there was nothing before, that there is nothing is not worth a record.
        let served = self.opened && self.challenge.is_none();
        let gave_cookies = self.passport.gave_cookies();
        let without_login = served && !self.passport.gave_credentials();
        Facts {
            challenge: match self.challenge {
                Some(kind) => Some(Some(kind)),
                None => (served && challenged).then_some(None),
            },
            authorization: match self.passport.was_asked() {
                true => Some(true),
                false => (without_login && needed.authorization).then_some(false),
            },
            cookies: match served && gave_cookies && challenged {
                true => Some(true),
                false => (served && !gave_cookies && needed.cookies).then_some(false),
            },
            ..facts
        }
    }

    /// Says what is remembered of the origin that may stand in the way, in one line.
    pub(super) fn hint_at_needs(&self, profile: &Profile) {
        let needs = profile.needs;
        let without_login = needs.authorization && !self.passport.gave_credentials();
        let without_cookies = needs.cookies && !self.passport.gave_cookies();
        let text = match profile.challenge {
            Some(kind) => {
                format!("the last visit to this server met a page instead of a file ({kind})")
            }
            None if without_login => {
                "this server asked for credentials the last time (-u, --bearer, --netrc)".to_owned()
            }
            None if without_cookies => {
                "this server served with cookies the last time (-b)".to_owned()
            }
            None => return,
        };
        self.tell(What::Note(text));
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
