//! A runtime that ends with everything in flight neither hangs nor leaves anything behind.

mod common;

use std::time::Duration;

use common::{current_thread, everything_in_flight, multi_thread, rounds, Counting, Held};
use tokio::runtime::Runtime;

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_runtime_may_end_with_everything_in_flight() {
    let rounds = rounds(1000);
    // Some things are made once.
    (0..10).for_each(one);
    let before = Held::settled();
    (0..rounds).for_each(one);
    Held::settled().assert_as_before(before, rounds);
}

fn one(round: usize) {
    let runtime = if round % 2 == 0 {
        current_thread()
    } else {
        multi_thread()
    };
    let sources = runtime.block_on(everything_in_flight());
    // The sources are dropped before the runtime, or after it.
    if round % 3 == 0 {
        end(runtime, round);
        drop(sources);
    } else {
        drop(sources);
        end(runtime, round);
    }
}

fn end(runtime: Runtime, round: usize) {
    match round % 4 {
        0 | 1 => drop(runtime),
        2 => runtime.shutdown_timeout(Duration::from_secs(60)),
        _ => runtime.shutdown_background(),
    }
}
