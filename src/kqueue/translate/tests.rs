//! The translation, fed with what FreeBSD 15 and NetBSD kernels have answered (the numbers of bytes are theirs; the
//! flags come with and without those of the change, as the two do), and held against what the contract demands: the
//! last tests let the state machine handle the edges.

use std::cell::RefCell;
use std::io;

use super::*;
use crate::event::{Event, Events};
use crate::hooks::sync::AtomicU32;
use crate::interests::Token;
use crate::kqueue::ffi::data_t;
use crate::unix::readiness::{Direction, Kernel, Kind, Readiness};

const R: Interests = Interests::READABLE;
const W: Interests = Interests::WRITABLE;
const NONE: Interests = Interests::empty();
const FD: usize = 7;
const WAIT: u32 = 5;
const KEY: Key = Key {
    slot: 0x0102_0304,
    stamp: 0xfffe_0001,
};
const UDATA: usize = 0xfffe_0001_0102_0304;
const ECONNRESET: u32 = 54;
const ECONNREFUSED: u32 = 61;
const ENOMEM: c_int = 12;
/// What NetBSD leaves in of the change and FreeBSD does not.
const LEFT_IN: flags_t = EV_ADD | EV_RECEIPT;

fn report(filter: filter_t, flags: flags_t, fflags: u32, data: data_t) -> kevent {
    let mut entry = kevent::change(FD, filter, EV_CLEAR | flags, UDATA);
    entry.fflags = fflags;
    entry.data = data;
    entry
}

/// The edge of a report, which is the same with and without the bits of the change.
fn told(filter: filter_t, flags: flags_t, fflags: u32, data: data_t) -> Edge {
    let (slot, edge) = edge(&report(filter, flags, fflags, data), WAIT);
    let (same_slot, same) = super::edge(&report(filter, flags | LEFT_IN, fflags, data), WAIT);
    assert_eq!((slot, edge.stamp, edge.wait), (KEY.slot, KEY.stamp, WAIT));
    assert_eq!(slot, same_slot);
    assert_eq!(format!("{edge:?}"), format!("{same:?}"));
    edge
}

fn receipt(filter: filter_t, code: c_int) -> kevent {
    let mut entry = kevent::change(FD, filter, EV_ERROR, UDATA);
    entry.data = code as data_t;
    entry
}

fn summary(changes: &[kevent]) -> Vec<(filter_t, flags_t, usize)> {
    changes
        .iter()
        .map(|change| (change.filter, change.flags, change.udata))
        .collect()
}

const ADD: flags_t = EV_ADD | EV_CLEAR | EV_RECEIPT;
const DELETE: flags_t = EV_DELETE | EV_RECEIPT;

#[test]
fn an_asking_adds_what_is_wanted_anew_and_deletes_the_rest() {
    for (before, now, expected) in [
        (NONE, R, vec![(EVFILT_READ, ADD, UDATA)]),
        (NONE, W, vec![(EVFILT_WRITE, ADD, UDATA)]),
        (
            R,
            R | W,
            vec![(EVFILT_READ, ADD, UDATA), (EVFILT_WRITE, ADD, UDATA)],
        ),
        (
            R | W,
            W,
            vec![(EVFILT_READ, DELETE, 0), (EVFILT_WRITE, ADD, UDATA)],
        ),
        (
            R | W,
            NONE,
            vec![(EVFILT_READ, DELETE, 0), (EVFILT_WRITE, DELETE, 0)],
        ),
        (NONE, NONE, vec![]),
    ] {
        let changes = asking(FD, before, now, KEY);
        assert_eq!(summary(&changes), expected, "{before:?} to {now:?}");
        assert!(changes.iter().all(|change| change.ident == FD));
        assert!(changes.iter().all(|change| change.fflags == 0));
    }
}

#[test]
fn what_failed_is_taken_back_under_the_last_stamp() {
    let last = UDATA - (1 << 32);
    assert_eq!(
        summary(&taking_back(FD, R, R | W, KEY)),
        [(EVFILT_READ, ADD, last), (EVFILT_WRITE, DELETE, 0)]
    );
    assert_eq!(
        summary(&taking_back(FD, R | W, W, KEY)),
        [(EVFILT_READ, ADD, last), (EVFILT_WRITE, ADD, last)]
    );
    assert_eq!(
        summary(&taking_back(FD, NONE, R, KEY)),
        [(EVFILT_READ, DELETE, 0)]
    );
}

#[test]
fn the_last_stamp_of_the_first_is_the_greatest() {
    let key = Key { slot: 1, stamp: 0 };
    assert_eq!(
        summary(&taking_back(FD, R, R, key)),
        [(EVFILT_READ, ADD, 0xffff_ffff_0000_0001)]
    );
}

#[test]
fn a_source_is_taken_out_of_what_it_was_asked_for() {
    assert_eq!(summary(&leaving(FD, W)), [(EVFILT_WRITE, DELETE, 0)]);
    assert!(leaving(FD, NONE).is_empty());
}

#[test]
fn no_key_of_a_source_is_that_of_the_notice() {
    let last = Key {
        slot: u32::MAX - 1,
        stamp: u32::MAX,
    };
    assert_ne!(encode(last), NOTICE);
    for key in [KEY, last, Key { slot: 0, stamp: 0 }] {
        assert_eq!(decode(encode(key)), key);
    }
}

#[test]
fn receipts_of_success_are_no_failure() {
    let changes = asking(FD, R, R | W, KEY);
    let receipts = [receipt(EVFILT_READ, 0), receipt(EVFILT_WRITE, 0)];
    assert_eq!(failure(&changes, &receipts), None);
    assert_eq!(failure(&changes, &[]), None);
}

#[test]
fn receipts_mixed_with_an_error_are_a_failure() {
    let changes = asking(FD, R, R | W, KEY);
    let receipts = [receipt(EVFILT_READ, 0), receipt(EVFILT_WRITE, ENOMEM)];
    assert_eq!(failure(&changes, &receipts), Some(ENOMEM));
    let receipts = [receipt(EVFILT_READ, EBADF), receipt(EVFILT_WRITE, EBADF)];
    assert_eq!(failure(&changes, &receipts), Some(EBADF));
}

#[test]
fn what_is_gone_need_not_be_deleted_but_must_be_added() {
    let changes = asking(FD, R | W, W, KEY);
    for gone in [ENOENT, EBADF] {
        let receipts = [receipt(EVFILT_READ, gone), receipt(EVFILT_WRITE, 0)];
        assert_eq!(failure(&changes, &receipts), None);
        let receipts = [receipt(EVFILT_READ, 0), receipt(EVFILT_WRITE, gone)];
        assert_eq!(failure(&changes, &receipts), Some(gone));
    }
    let receipts = [receipt(EVFILT_READ, ENOMEM), receipt(EVFILT_WRITE, 0)];
    assert_eq!(failure(&changes, &receipts), Some(ENOMEM));
}

#[test]
fn bytes_that_wait_are_readable() {
    let edge = told(EVFILT_READ, 0, 0, 5);
    assert_eq!((edge.told, edge.ready, edge.odd), (R, R, NONE));
    assert_eq!((edge.waiting, edge.hints), (5, Hints::default()));
}

#[test]
fn room_is_writable_and_its_size_no_count_of_bytes() {
    let edge = told(EVFILT_WRITE, 0, 0, 146_988);
    assert_eq!((edge.told, edge.ready, edge.odd), (W, W, NONE));
    assert_eq!((edge.waiting, edge.hints), (0, Hints::default()));
}

#[test]
fn the_end_with_bytes_unread_is_readable_and_odd() {
    let edge = told(EVFILT_READ, EV_EOF, 0, 3);
    assert_eq!((edge.told, edge.ready, edge.odd), (R, R, R));
    assert!(edge.hints.read_closed && !edge.hints.write_closed && !edge.hints.error);
    // And once they are read, the filter added again tells of the end alone.
    let edge = told(EVFILT_READ, EV_EOF, 0, 0);
    assert_eq!((edge.told, edge.ready, edge.odd), (R, R, R));
}

#[test]
fn a_refused_connect_is_an_error_of_both_directions() {
    let edge = told(EVFILT_READ, EV_EOF, ECONNREFUSED, 0);
    assert_eq!((edge.told, edge.ready, edge.odd), (R, R, R));
    assert!(edge.hints.read_closed && edge.hints.error);
    let edge = told(EVFILT_WRITE, EV_EOF, ECONNREFUSED, 32_768);
    assert_eq!((edge.told, edge.ready, edge.odd), (W, W, W));
    assert!(edge.hints.write_closed && edge.hints.error);
}

/// FreeBSD, DragonFly and NetBSD refuse the filter of a pipe without a reader, so a timer reports what a write would tell.
#[test]
fn a_pipe_that_nobody_reads_is_writable_soon() {
    let timer = writable_soon(FD, KEY);
    assert_eq!((timer.filter, timer.udata), (EVFILT_TIMER, UDATA));
    assert_eq!(timer.flags, EV_ADD | EV_ONESHOT | EV_RECEIPT);
    let edge = told(EVFILT_TIMER, EV_ONESHOT, 0, 1);
    assert_eq!((edge.told, edge.ready, edge.odd), (W, W, NONE));
    assert_eq!((edge.waiting, edge.hints), (0, Hints::default()));
}

#[test]
fn a_half_close_of_ours_ends_writing_only() {
    let edge = told(EVFILT_WRITE, EV_EOF, 0, 32_768);
    assert_eq!((edge.told, edge.ready, edge.odd), (W, W, W));
    assert!(!edge.hints.read_closed && edge.hints.write_closed && !edge.hints.error);
}

#[test]
fn a_listener_is_readable_when_connections_wait() {
    let edge = told(EVFILT_READ, 0, 0, 2);
    assert_eq!((edge.told, edge.ready, edge.odd), (R, R, NONE));
}

#[test]
fn an_empty_datagram_is_readable() {
    let edge = told(EVFILT_READ, 0, 0, 0);
    assert_eq!((edge.told, edge.ready, edge.odd), (R, R, NONE));
}

#[test]
fn urgent_data_is_odd_and_not_readable_by_itself() {
    let edge = told(EVFILT_READ, EV_OOBAND, 0, 3);
    assert_eq!((edge.told, edge.ready, edge.odd), (R, R, R));
    let edge = told(EVFILT_READ, EV_OOBAND, 0, 0);
    assert_eq!((edge.told, edge.ready, edge.odd), (R, NONE, R));
}

#[test]
fn an_error_without_a_change_is_for_the_next_call_to_tell() {
    let edge = told(EVFILT_READ, EV_ERROR, 0, 9);
    assert_eq!((edge.told, edge.ready, edge.odd), (R, R, R));
    assert_eq!(edge.hints, Hints::default());
}

/// A socket whose kernel answers by `kevent`s that the test makes up, and the state machine in front of it.
struct Bench {
    source: Readiness,
    kernel: Submitted,
    wait: AtomicU32,
    events: Events,
}

#[derive(Default)]
struct Submitted {
    /// The changes since the test looked last.
    changes: RefCell<Vec<kevent>>,
    /// The `udata` of both filters, as the kernel has it.
    udata: RefCell<[usize; 2]>,
}

impl Kernel for Submitted {
    fn ask(&self, before: Option<Interests>, now: Interests, key: Key) -> io::Result<()> {
        let changes = asking(FD, before.unwrap_or(NONE), now, key);
        for change in changes.iter().filter(|change| change.flags & EV_ADD != 0) {
            self.udata.borrow_mut()[usize::from(change.filter == EVFILT_WRITE)] = change.udata;
        }
        self.changes.borrow_mut().extend(changes.iter());
        Ok(())
    }

    fn confirm(&self, interests: Interests) -> Interests {
        interests
    }

    fn confirm_beside_urgent(&self) -> bool {
        unreachable!("no filter speaks of urgent data so")
    }
}

impl Bench {
    fn new(interests: Interests) -> Bench {
        let bench = Bench {
            source: Readiness::new(Kind::Stream),
            kernel: Submitted::default(),
            wait: AtomicU32::new(0),
            events: Events::with_capacity(8),
        };
        let key = Key { slot: 3, stamp: 8 };
        let entered = bench.source.lock().enter(&bench.kernel, key, 1, interests);
        entered.expect("the kernel takes it");
        bench
    }

    fn register(&self, token: Token, interests: Interests) {
        let armed = self
            .source
            .arm(&self.kernel, token, interests, &self.wait)
            .map_err(|error| error.kind());
        assert_eq!(armed, Ok(()));
    }

    /// The kernel reports. Returns the events.
    fn reports(
        &mut self,
        filter: filter_t,
        flags: flags_t,
        fflags: u32,
        data: data_t,
    ) -> Vec<Event> {
        let mut entry = report(filter, flags, fflags, data);
        entry.udata = self.kernel.udata.borrow()[usize::from(filter == EVFILT_WRITE)];
        self.wait
            .fetch_add(1, crate::hooks::sync::Ordering::Relaxed);
        let wait = self.wait.load(crate::hooks::sync::Ordering::Relaxed);
        let (slot, edge) = edge(&entry, wait);
        assert_eq!(slot, 3);
        self.events.clear();
        drop(self.source.edge(&self.kernel, &edge, &mut self.events));
        self.events.iter().copied().collect()
    }

    fn submitted(&self) -> Vec<(filter_t, flags_t)> {
        let changes = self.kernel.changes.take();
        changes
            .iter()
            .map(|change| (change.filter, change.flags))
            .collect()
    }
}

/// 6.1: a message read with a larger buffer costs no system call but its own.
#[test]
fn an_echoed_message_asks_the_kernel_for_nothing() {
    let mut bench = Bench::new(R);
    bench.submitted();
    for token in 0..100 {
        bench.register(token, R);
        let events = bench.reports(EVFILT_READ, 0, 0, 64);
        assert_eq!(events.len(), 1);
        assert!(events[0].id() == token && events[0].is_readable() && !events[0].is_writable());
        let tick = bench.source.tick(Direction::Read);
        bench.source.moved_short(Direction::Read, tick, 64);
    }
    assert_eq!(bench.submitted(), []);
}

/// 2.3, 8: three bytes and the end. The read of three is short, and no further edge comes by itself.
#[test]
fn the_end_behind_bytes_is_asked_for_again() {
    let mut bench = Bench::new(R);
    let events = bench.reports(EVFILT_READ, EV_EOF, 0, 3);
    assert!(events[0].is_read_closed());
    let tick = bench.source.tick(Direction::Read);
    bench.source.moved_short(Direction::Read, tick, 3);
    bench.submitted();
    for token in 0..3 {
        bench.register(token, R);
        assert_eq!(bench.submitted(), [(EVFILT_READ, ADD)]);
        let events = bench.reports(EVFILT_READ, EV_EOF, 0, 0);
        assert!(events.len() == 1 && events[0].is_readable() && events[0].is_read_closed());
    }
}

/// 3.5: a failed connect fires every armed interest, each once.
#[test]
fn a_refused_connect_fires_both_interests() {
    let mut bench = Bench::new(R | W);
    let events = bench.reports(EVFILT_READ, EV_EOF, ECONNREFUSED, 0);
    assert!(events.len() == 1 && events[0].is_readable() && !events[0].is_writable());
    let events = bench.reports(EVFILT_WRITE, EV_EOF, ECONNREFUSED, 32_768);
    assert!(events.len() == 1 && events[0].is_writable() && !events[0].is_readable());
    assert!(events[0].is_error());
}

/// 8: bytes, then a reset. The bytes are gone on these systems, the reason stays.
#[test]
fn a_reset_is_an_event_each_time_it_is_asked_for() {
    let mut bench = Bench::new(R);
    for token in 1..4 {
        let events = bench.reports(EVFILT_READ, EV_EOF, ECONNRESET, 0);
        assert!(events.len() == 1 && events[0].is_readable() && events[0].is_error());
        bench.register(token, R);
    }
}

/// 2.1, 6.4: the first of several edges fires; the second is wasted, and so is the third, after which the kernel is
/// asked for no more of them.
#[test]
fn several_write_edges_after_one_drain_fire_once() {
    let mut bench = Bench::new(W);
    bench.reports(EVFILT_WRITE, 0, 0, 100_000);
    let tick = bench.source.tick(Direction::Write);
    bench.source.note(Direction::Write, tick);
    bench.submitted();
    bench.register(2, W);
    assert_eq!(bench.submitted(), [], "the kernel owes it");
    assert_eq!(bench.reports(EVFILT_WRITE, 0, 0, 40_000).len(), 1);
    assert_eq!(bench.reports(EVFILT_WRITE, 0, 0, 60_000), []);
    assert_eq!(bench.submitted(), []);
    assert_eq!(bench.reports(EVFILT_WRITE, 0, 0, 80_000), []);
    assert_eq!(bench.submitted(), [(EVFILT_WRITE, DELETE)]);
    // 2.3: and what holds is reported when it is asked for.
    bench.register(3, W);
    assert_eq!(bench.submitted(), [(EVFILT_WRITE, ADD)]);
    assert_eq!(bench.reports(EVFILT_WRITE, 0, 0, 90_000).len(), 1);
}

/// 2.1: an extra edge of one direction leaves what the other waits for alone.
#[test]
fn wasted_edges_of_one_direction_keep_the_other_armed() {
    let mut bench = Bench::new(R | W);
    assert_eq!(bench.reports(EVFILT_WRITE, 0, 0, 40_000).len(), 1);
    bench.submitted();
    assert_eq!(bench.reports(EVFILT_WRITE, 0, 0, 60_000), []);
    assert_eq!(bench.reports(EVFILT_WRITE, 0, 0, 80_000), []);
    assert_eq!(
        bench.submitted(),
        [(EVFILT_READ, ADD), (EVFILT_WRITE, DELETE)]
    );
    let events = bench.reports(EVFILT_READ, 0, 0, 5);
    assert!(events.len() == 1 && events[0].is_readable());
}

/// 2.3: bytes are there when the filter is added again, and it fires under the new stamp only.
#[test]
fn a_filter_added_again_with_bytes_waiting_fires_once() {
    let mut bench = Bench::new(R);
    let stale = bench.kernel.udata.borrow()[0];
    assert_eq!(bench.reports(EVFILT_READ, 0, 0, 10).len(), 1);
    // A read that filled its buffer: nothing is known.
    bench.submitted();
    bench.register(2, R);
    assert_eq!(bench.submitted(), [(EVFILT_READ, ADD)]);
    let fresh = bench.kernel.udata.take();
    *bench.kernel.udata.borrow_mut() = [stale; 2];
    assert_eq!(bench.reports(EVFILT_READ, 0, 0, 10), [], "reaped before");
    *bench.kernel.udata.borrow_mut() = fresh;
    let events = bench.reports(EVFILT_READ, 0, 0, 7);
    assert!(events.len() == 1 && events[0].id() == 2);
}

/// 6.1: "abc", urgent data, "def". FreeBSD does not mark it but counts six bytes.
#[test]
fn urgent_data_hides_no_later_bytes() {
    for mark in [0, EV_OOBAND] {
        let mut bench = Bench::new(R);
        let counted = if mark == 0 { 6 } else { 3 };
        assert_eq!(bench.reports(EVFILT_READ, mark, 0, counted).len(), 1);
        let tick = bench.source.tick(Direction::Read);
        bench.source.moved_short(Direction::Read, tick, 3);
        bench.submitted();
        bench.register(2, R);
        assert_eq!(bench.submitted(), [(EVFILT_READ, ADD)]);
    }
}
