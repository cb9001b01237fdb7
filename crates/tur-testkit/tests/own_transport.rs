//! The example of a transport that is not ours keeps the rules of the port.

use tur_testkit::conformance::{self, LoopbackRig};
use tur_testkit::{Loopback, Setup};

#[path = "../examples/own_transport.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod own_transport;

#[tokio::test]
async fn a_transport_of_somebody_else_keeps_the_rules_of_the_port() {
    let rig = LoopbackRig::new(Loopback::start_with::<String>(Setup::default(), []));
    conformance::run(&own_transport::Plain, &rig).await;
    conformance::lifetime::serves_ten_thousand_requests(&own_transport::Plain, &rig).await;
}
