//! Connections over QUIC, alone or in a race with TCP.

use std::future::Future;
use std::time::Duration;

use tur_core::{Alternative, Fault, Origin, Scheme, Wait};

use super::HttpTransport;
use crate::config::Protocols;
use crate::h3::race::{self, QUIC_MAX, Standing, Try};
use crate::h3::{self, Opened, Opening};
use crate::session::Inner;

/// A race that is to be run.
pub(super) struct Race {
    alternative: Alternative,
    head_start: Duration,
    attempt: Try,
}

impl HttpTransport {
    /// What the guide says of the next connection to `origin`, where it has a say: `None` for TCP alone.
    pub(super) fn race_to(&self, origin: &Origin) -> Option<Race> {
        let guide = self.guide.as_ref()?;
        let possible = self.config.protocols == Protocols::Auto
            && origin.scheme == Scheme::Https
            && self.shared.legacy.of(origin).is_none()
            && self.shared.ways.by_udp(origin).is_ok();
        let (alternative, head_start, attempt) =
            possible.then(|| guide.race_to(origin)).flatten()?;
        Some(Race {
            alternative,
            head_start,
            attempt,
        })
    }

    /// Runs it against `tcp`.
    pub(super) async fn run(
        &self,
        race: Race,
        origin: &Origin,
        tcp: impl Future<Output = Result<(Inner, String), Fault>>,
    ) -> Result<(Inner, String), Fault> {
        let Race {
            alternative,
            head_start,
            attempt,
        } = race;
        let (transport, origin) = (self.clone(), origin.clone());
        let overtaken = attempt.rival();
        let quic = async move {
            let opening = transport.open_by_quic(&origin, Some(&alternative));
            let limited = tokio::time::timeout(QUIC_MAX, opening).await;
            let late = |_elapsed| Err(Fault::TimedOut(Wait::Connect, QUIC_MAX));
            match limited.unwrap_or_else(late) {
                Ok(opened) => Ok(transport.driven(opened, Some(attempt.connected()))),
                Err(fault) => {
                    attempt.failed(&fault);
                    Err(fault)
                }
            }
        };
        race::run((head_start, overtaken), quic, tcp, &self.shared.spawner).await
    }

    /// A connection over QUIC alone.
    pub(super) async fn connect_by_quic(&self, origin: &Origin) -> Result<(Inner, String), Fault> {
        if origin.scheme == Scheme::Http {
            return Err(Fault::ProtocolUnavailable(
                "HTTP/3 was asked for, and only https:// addresses have it".to_owned(),
            ));
        }
        let opened = self.open_by_quic(origin, None).await?;
        Ok(self.driven(opened, None))
    }

    async fn open_by_quic(
        &self,
        origin: &Origin,
        alternative: Option<&Alternative>,
    ) -> Result<Opened, Fault> {
        h3::open(Opening {
            origin,
            alternative,
            config: &self.config,
            user_agent: self.shared.user_agent.clone(),
            ways: &self.shared.ways,
            endpoints: &self.shared.endpoints,
            gauge: self.gauge(origin),
        })
        .await
    }

    /// Lets the connection run, and tells its end to who was told that it stands.
    fn driven(&self, opened: Opened, standing: Option<Standing>) -> (Inner, String) {
        let Opened {
            session,
            address,
            driver,
        } = opened;
        self.shared.spawner.spawn(async move {
            let broken = driver.await;
            if let Some(standing) = standing {
                standing.ended(broken);
            }
        });
        (Inner::H3(session), address.to_string())
    }
}
