//! How a stream has ended, as two threads find out.

use std::sync::Arc;

use loom::thread;

use super::explore;
use crate::unix::ending::Ending;
use crate::unix::readiness::Direction;

/// A read meets the end while a write is told of a reset: whichever was first, every later read says the same.
#[test]
fn an_end_and_a_failure_agree_on_which_was_first() {
    const RESET: i32 = 104;
    explore(|| {
        let ending = Arc::new(Ending::new());
        let writer = thread::spawn({
            let ending = Arc::clone(&ending);
            move || assert!(ending.failed(Direction::Write, RESET))
        });
        let first = ending.read_ended();
        writer.join().unwrap();
        assert_eq!(ending.read_ended(), first);
        assert_eq!(ending.failed(Direction::Read, RESET), first.is_some());
        assert_eq!(ending.take(), Some(RESET));
        assert_eq!(ending.take(), None);
    });
}
