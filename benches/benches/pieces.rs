//! Runs every bench: `cargo bench -p benches`.

use benches::{ranges, reads, storage, transfer};
use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    ranges::add(&mut criterion);
    transfer::add(&mut criterion);
    storage::add(&mut criterion);
    reads::add(&mut criterion);
    criterion.final_summary();
}
