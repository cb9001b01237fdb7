//! The example runs, and does what it says.

use tur_core::Rate;
use tur_testkit::{Behaviour, content};

use crate::stand::{MIB, PATH, Stand, range};

#[path = "../../examples/stream_alone.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod stream_alone;

#[test]
fn a_player_reads_the_index_at_the_end_first_and_all_of_it_in_order() {
    const SIZE: u64 = 3 * MIB + 5;
    let stand = Stand::new(Behaviour::new(SIZE).pace(Rate::per_second(8 * MIB)));
    let mut played = Vec::new();
    let url = stand.origin.url(PATH);
    let index = stream_alone::play(&url, stand.dir.path(), &mut played).expect("it plays");
    assert!(index == content(0, range(SIZE - 65_536, SIZE)));
    assert!(played == content(0, range(0, SIZE)));
    stand.assert_file(0, SIZE);
}
