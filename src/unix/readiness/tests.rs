//! The state machine driven by hand: the test is the kernel, the poller and the other threads, one step at a time.

#![allow(clippy::unwrap_used)] // a test

use std::cell::{Cell, RefCell};

use super::*;

const R: Interests = Interests::READABLE;
const W: Interests = Interests::WRITABLE;
const TOKEN: Token = 7;

fn none() -> Interests {
    Interests::empty()
}

/// A kernel that does what it is told and remembers what it was asked.
struct Fake {
    asked: RefCell<Vec<Interests>>,
    stamp: Cell<u32>,
    holds: Cell<Interests>,
    looks: Cell<u32>,
    refuses: Cell<bool>,
    /// Whether a read beside urgent data gives something.
    reads: Cell<bool>,
    has_levels: Cell<bool>,
    /// How often the level was asked for. That is in `asked`, too.
    levels: Cell<u32>,
}

impl Kernel for Fake {
    fn ask(&self, _before: Option<Interests>, interests: Interests, key: Key) -> io::Result<()> {
        if self.refuses.get() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.asked.borrow_mut().push(interests);
        self.stamp.set(key.stamp);
        Ok(())
    }

    fn has_levels(&self) -> bool {
        self.has_levels.get()
    }

    fn ask_for_level(&self, interests: Interests, key: Key) -> io::Result<()> {
        self.ask(None, interests, key)?;
        self.levels.set(self.levels.get() + 1);
        Ok(())
    }

    fn confirm(&self, interests: Interests) -> Interests {
        self.looks.set(self.looks.get() + 1);
        self.holds.get() & interests
    }

    fn confirm_beside_urgent(&self) -> bool {
        self.looks.set(self.looks.get() + 1);
        self.reads.get()
    }
}

/// One source, its kernel, and the poller's wait.
struct Bench {
    source: Readiness,
    kernel: Fake,
    wait: AtomicU32,
    events: Events,
}

impl Bench {
    /// A source that was just registered for `interests`, and no edge reaped yet.
    fn new(kind: Kind, interests: Interests) -> Bench {
        let bench = Bench {
            source: Readiness::new(kind),
            kernel: Fake {
                asked: RefCell::default(),
                stamp: Cell::new(0),
                holds: Cell::new(none()),
                looks: Cell::new(0),
                refuses: Cell::new(false),
                reads: Cell::new(false),
                has_levels: Cell::new(false),
                levels: Cell::new(0),
            },
            wait: AtomicU32::new(1),
            events: Events::with_capacity(8),
        };
        let key = Key { slot: 0, stamp: 0 };
        bench
            .source
            .lock()
            .enter(&bench.kernel, key, TOKEN, interests)
            .unwrap();
        bench
    }

    fn arm(&self, interests: Interests) {
        self.arm_with(TOKEN, interests);
    }

    fn arm_with(&self, token: Token, interests: Interests) {
        self.source
            .arm(&self.kernel, token, interests, &self.wait)
            .unwrap();
    }

    /// The poller begins a wait, which reaps this edge; it is not handled yet.
    fn reap(&self, ready: Interests, odd: Interests) -> Edge {
        self.wait.fetch_add(1, Ordering::Relaxed);
        Edge {
            stamp: self.kernel.stamp.get(),
            wait: self.wait.load(Ordering::Relaxed),
            told: Interests::all(),
            ready,
            odd,
            waiting: 0,
            urgent: false,
            hints: Hints::default(),
        }
    }

    /// The poller handles an edge. Returns the events as (token, readable, writable).
    fn handle(&mut self, edge: &Edge) -> Vec<(Token, bool, bool)> {
        self.events.clear();
        drop(self.source.edge(&self.kernel, edge, &mut self.events));
        self.events
            .iter()
            .map(|event| (event.id(), event.is_readable(), event.is_writable()))
            .collect()
    }

    fn reap_and_handle(&mut self, ready: Interests) -> Vec<(Token, bool, bool)> {
        let edge = self.reap(ready, none());
        self.handle(&edge)
    }

    /// What the kernel was asked for since the last call of this.
    fn asked(&self) -> Vec<Interests> {
        self.kernel.asked.take()
    }

    fn is_armed_and_owed(&self, interests: Interests) -> bool {
        let state = self.source.lock();
        assert!(state.owed.contains(state.armed), "armed implies owed");
        assert!(state.asked.contains(state.owed), "owed implies asked");
        state.armed.contains(interests)
    }
}

const READABLE_EVENT: (Token, bool, bool) = (TOKEN, true, false);

#[test]
fn a_registration_fires_once() {
    let mut bench = Bench::new(Kind::Stream, R);
    assert_eq!(bench.asked(), [R]);
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    assert_eq!(bench.reap_and_handle(R), []);
}

#[test]
fn registering_after_a_drain_costs_nothing() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.asked();
    for _ in 0..3 {
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
        let tick = bench.source.tick(Read);
        bench.source.moved_short(Read, tick, 1);
        bench.arm(R);
    }
    for _ in 0..3 {
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
        let tick = bench.source.tick(Read);
        bench.source.note(Read, tick);
        bench.arm(R);
    }
    assert_eq!(bench.asked(), []);
}

#[test]
fn registering_without_a_drain_asks_the_kernel() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.asked();
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.arm(R);
    assert_eq!(bench.asked(), [R]);
}

#[test]
fn registering_what_is_armed_replaces_the_token() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.asked();
    bench.arm_with(8, R);
    assert_eq!(bench.asked(), []);
    assert_eq!(bench.reap_and_handle(R), [(8, true, false)]);
    assert_eq!(bench.reap_and_handle(R), []);
}

#[test]
fn an_edge_handled_between_a_call_and_its_record_wins() {
    let mut bench = Bench::new(Kind::Stream, R);
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.asked();
    let tick = bench.source.tick(Read);
    // A reader's call ends in WouldBlock. New bytes come; nobody has armed, but the kernel owes their edge.
    let again = bench.source.tick(Read);
    bench.source.note(Read, again);
    assert_eq!(bench.reap_and_handle(R), []);
    // Only now does the reader get to its record: the edge is spent, so nothing is owed.
    bench.source.note(Read, tick);
    bench.arm(R);
    assert_eq!(
        bench.asked(),
        [R],
        "without asking, the bytes would be waited for in vain"
    );
}

#[test]
fn the_same_holds_for_a_short_read() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.reap_and_handle(R);
    let tick = bench.source.tick(Read);
    bench.source.note(Read, tick);
    bench.reap_and_handle(R);
    bench.asked();
    bench.source.moved_short(Read, tick, 1);
    bench.arm(R);
    assert_eq!(bench.asked(), [R]);
}

#[test]
fn an_edge_reaped_before_a_drain_is_no_event_after_it() {
    let mut bench = Bench::new(Kind::Stream, R);
    let edge = bench.reap(R, none());
    // Another thread takes the bytes and registers, which asks nothing, since the edge is still to be handled.
    let tick = bench.source.tick(Read);
    bench.source.note(Read, tick);
    bench.arm(R);
    assert_eq!(bench.handle(&edge), []);
    assert_eq!(bench.kernel.looks.get(), 1);
    assert!(bench.is_armed_and_owed(R));
    // The next bytes make an edge of a later wait, which is sure.
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    assert_eq!(bench.kernel.looks.get(), 1);
}

#[test]
fn an_unsure_edge_is_an_event_if_the_condition_holds() {
    let mut bench = Bench::new(Kind::Stream, R);
    let edge = bench.reap(R, none());
    bench.arm_with(9, R);
    bench.kernel.holds.set(R);
    assert_eq!(bench.handle(&edge), [(9, true, false)]);
}

#[test]
fn an_edge_from_before_an_asking_is_void() {
    let mut bench = Bench::new(Kind::Stream, R);
    let edge = bench.reap(R, none());
    bench.arm(R | W);
    assert_eq!(bench.asked(), [R, R | W]);
    assert_eq!(bench.handle(&edge), []);
    assert!(bench.is_armed_and_owed(R | W));
    assert_eq!(bench.reap_and_handle(R | W), [(TOKEN, true, true)]);
}

#[test]
fn the_wait_number_of_the_polling_thread_itself_is_sure() {
    let mut bench = Bench::new(Kind::Stream, R);
    for _ in 0..3 {
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
        let tick = bench.source.tick(Read);
        bench.source.moved_short(Read, tick, 1);
        bench.arm(R);
    }
    assert_eq!(bench.kernel.looks.get(), 0);
}

#[test]
fn no_wait_has_the_number_that_means_sure() {
    assert_eq!(next_wait(0), 1);
    assert_eq!(next_wait(u32::MAX), 1);
}

#[test]
fn a_short_read_after_a_hang_up_proves_nothing() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.asked();
    let edge = bench.reap(R, R);
    assert_eq!(bench.handle(&edge), [READABLE_EVENT]);
    let tick = bench.source.tick(Read);
    bench.source.moved_short(Read, tick, 1);
    bench.arm(R);
    assert_eq!(
        bench.asked(),
        [R],
        "3 bytes and a FIN: the end is still to be told"
    );
}

#[test]
fn a_hang_up_of_one_direction_leaves_the_other_alone() {
    let mut bench = Bench::new(Kind::Stream, R | W);
    let edge = bench.reap(R | W, R);
    bench.handle(&edge);
    bench.asked();
    let tick = bench.source.tick(Write);
    bench.source.moved_short(Write, tick, 1);
    bench.arm(W);
    assert_eq!(bench.asked(), []);
}

#[test]
fn a_mark_of_urgent_data_is_gone_with_the_next_edge() {
    let mut bench = Bench::new(Kind::Stream, R);
    let edge = bench.reap(none(), R);
    assert_eq!(bench.handle(&edge), [], "urgent data alone is not readable");
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.asked();
    let tick = bench.source.tick(Read);
    bench.source.moved_short(Read, tick, 1);
    bench.arm(R);
    assert_eq!(bench.asked(), []);
}

/// As the BSDs tell of 'abc', urgent data and 'def': six bytes wait, and a read stops after three.
#[test]
fn a_short_read_of_fewer_bytes_than_were_counted_stopped_at_urgent_data() {
    let mut bench = Bench::new(Kind::Stream, R);
    let mut edge = bench.reap(R, none());
    edge.waiting = 6;
    assert_eq!(bench.handle(&edge), [READABLE_EVENT]);
    bench.asked();
    let tick = bench.source.tick(Read);
    bench.source.moved_short(Read, tick, 3);
    assert!(!bench.source.lock().owed.contains(R));
    // What is left is all that was counted, so the end of it is the end.
    bench.source.moved_short(Read, tick, 3);
    bench.arm(R);
    assert_eq!(bench.asked(), []);
}

#[test]
fn a_short_datagram_proves_nothing() {
    let mut bench = Bench::new(Kind::Datagram, R);
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.asked();
    let tick = bench.source.tick(Read);
    bench.source.moved_short(Read, tick, 1);
    bench.arm(R);
    assert_eq!(bench.asked(), [R]);
}

#[test]
fn what_is_not_asked_for_is_not_owed() {
    let bench = Bench::new(Kind::Stream, R);
    bench.asked();
    let tick = bench.source.tick(Write);
    bench.source.note(Write, tick);
    bench.arm(W);
    assert_eq!(bench.asked(), [R | W]);
}

#[test]
fn one_direction_neither_fires_nor_disarms_the_other() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.arm_with(8, W);
    assert_eq!(bench.reap_and_handle(W), [(8, false, true)]);
    assert!(bench.is_armed_and_owed(R));
    assert_eq!(bench.reap_and_handle(R | W), [READABLE_EVENT]);
}

#[test]
fn two_tokens_make_two_events_and_one_token_one() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.arm_with(8, W);
    assert_eq!(
        bench.reap_and_handle(R | W),
        [READABLE_EVENT, (8, false, true)]
    );
    bench.arm(R);
    bench.arm(W);
    assert_eq!(bench.reap_and_handle(R | W), [(TOKEN, true, true)]);
}

#[test]
fn what_does_not_fit_goes_to_the_back_and_comes_first() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.arm_with(8, W);
    bench.asked();
    bench.events = Events::with_capacity(1);
    assert_eq!(bench.reap_and_handle(R | W), [READABLE_EVENT]);
    assert_eq!(bench.asked(), [W], "asked anew, so that it comes again");
    bench.arm(R);
    assert_eq!(bench.reap_and_handle(R | W), [(8, false, true)]);
    assert_eq!(bench.reap_and_handle(R | W), [READABLE_EVENT]);
}

#[test]
fn a_disarmed_source_fires_nothing_and_can_be_armed_again() {
    let mut bench = Bench::new(Kind::Stream, R | W);
    let edge = bench.reap(R | W, none());
    bench.source.disarm(Interests::all());
    assert_eq!(bench.handle(&edge), []);
    bench.asked();
    bench.arm(R);
    assert_eq!(bench.asked(), [R]);
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
}

#[test]
fn after_two_wasted_wakes_the_kernel_is_silenced() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.reap_and_handle(R);
    bench.asked();
    assert_eq!(bench.reap_and_handle(R), []);
    assert_eq!(bench.asked(), []);
    assert_eq!(bench.reap_and_handle(R), []);
    assert_eq!(bench.asked(), [none()]);
    bench.arm(R);
    assert_eq!(bench.asked(), [R]);
}

#[test]
fn silence_keeps_what_is_armed() {
    let mut bench = Bench::new(Kind::Stream, R | W);
    bench.reap_and_handle(R);
    bench.asked();
    bench.reap_and_handle(R);
    bench.reap_and_handle(R);
    assert_eq!(bench.asked(), [W]);
    assert_eq!(bench.reap_and_handle(W), [(TOKEN, false, true)]);
}

#[test]
fn wasted_wakes_count_in_a_row_only() {
    let mut bench = Bench::new(Kind::Stream, R);
    for _ in 0..4 {
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
        assert_eq!(bench.reap_and_handle(R), []);
        bench.asked();
        bench.arm(R);
    }
    assert_eq!(bench.asked(), [R]);
}

#[test]
fn a_datagram_socket_is_not_told_of_each_datagram_sent() {
    let mut bench = Bench::new(Kind::Datagram, R | W);
    assert_eq!(bench.reap_and_handle(W), [(TOKEN, false, true)]);
    bench.asked();
    assert_eq!(bench.reap_and_handle(W), []);
    assert_eq!(bench.asked(), [R]);
    assert!(bench.is_armed_and_owed(R));
}

#[test]
fn a_registration_that_fails_changes_nothing() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.kernel.refuses.set(true);
    assert!(bench
        .source
        .arm(&bench.kernel, 9, R | W, &bench.wait)
        .is_err());
    bench.kernel.refuses.set(false);
    assert!(bench.is_armed_and_owed(R));
    assert!(!bench.source.lock().armed.is_writable());
    assert_eq!(bench.reap_and_handle(R | W), [READABLE_EVENT]);
}

#[test]
fn a_first_registration_that_fails_can_be_tried_again() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.source = Readiness::new(Kind::Stream);
    bench.kernel.refuses.set(true);
    let key = Key { slot: 4, stamp: 40 };
    assert!(bench.source.lock().enter(&bench.kernel, key, 9, R).is_err());
    assert!(!bench.is_armed_and_owed(R));
    bench.kernel.refuses.set(false);
    bench.source.lock().enter(&bench.kernel, key, 9, R).unwrap();
    assert_eq!(bench.source.lock().key, Key { slot: 4, stamp: 41 });
    assert_eq!(bench.reap_and_handle(R), [(9, true, false)]);
}

#[test]
fn an_asking_that_fails_while_an_edge_is_handled_leaves_the_error_to_the_next_registration() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.arm_with(8, W);
    bench.events = Events::with_capacity(1);
    bench.kernel.refuses.set(true);
    assert_eq!(bench.reap_and_handle(R | W), [READABLE_EVENT]);
    assert!(bench.source.arm(&bench.kernel, 8, W, &bench.wait).is_err());
}

#[test]
fn the_urgent_byte_alone_is_no_readable_event() {
    let mut bench = Bench::new(Kind::Stream, R | W);
    bench.asked();
    let mut edge = bench.reap(R, R);
    edge.urgent = true;
    assert_eq!(bench.handle(&edge), []);
    // It stays armed, and owed: what comes is an edge.
    bench.kernel.reads.set(true);
    assert_eq!(bench.handle(&edge), [READABLE_EVENT]);
    assert_eq!(bench.asked(), []);
}

#[test]
fn room_is_told_beside_the_urgent_byte() {
    let mut bench = Bench::new(Kind::Stream, R | W);
    let mut edge = bench.reap(R | W, R);
    edge.urgent = true;
    assert_eq!(bench.handle(&edge), [(TOKEN, false, true)]);
}

#[test]
fn nobody_looks_at_urgent_data_that_nobody_waits_for() {
    let mut bench = Bench::new(Kind::Stream, W);
    let mut edge = bench.reap(R | W, R);
    edge.urgent = true;
    assert_eq!(bench.handle(&edge), [(TOKEN, false, true)]);
    assert_eq!(bench.kernel.looks.get(), 0);
}

#[test]
fn an_end_after_a_failure_that_was_told_has_the_error_hint() {
    let closing = Hints {
        read_closed: true,
        ..Hints::default()
    };
    for (code, error) in [(None, false), (Some(104), true)] {
        let mut bench = Bench::new(Kind::Stream, R);
        let mut edge = bench.reap(R, R);
        edge.hints = closing;
        if let Some(code) = code {
            bench.source.ending.keep(code);
        }
        assert_eq!(bench.handle(&edge), [READABLE_EVENT]);
        let event = bench.events.iter().next().unwrap();
        assert_eq!((event.is_read_closed(), event.is_error()), (true, error));
    }
}

/// Registers again after a read that moved one byte, fewer than there was room for. Returns what the kernel was asked.
fn asked_after_a_short_read(kind: Kind) -> Vec<Interests> {
    let mut bench = Bench::new(kind, R);
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.asked();
    let tick = bench.source.tick(Read);
    bench.source.moved_short(Read, tick, 1);
    bench.arm(R);
    bench.asked()
}

#[test]
fn a_short_read_proves_something_of_streams_only() {
    for kind in [Kind::Stream, Kind::UnixStream] {
        assert_eq!(asked_after_a_short_read(kind), []);
    }
    let others = [
        Kind::Listener,
        Kind::Reader,
        Kind::Datagram,
        Kind::Descriptor,
        Kind::Edges,
    ];
    for kind in others {
        assert_eq!(asked_after_a_short_read(kind), [R]);
    }
}

#[test]
fn would_block_proves_something_of_every_kind_whose_registration_ends() {
    let kinds = [
        Kind::Stream,
        Kind::UnixStream,
        Kind::Listener,
        Kind::Reader,
        Kind::Datagram,
        Kind::Descriptor,
    ];
    for kind in kinds {
        let mut bench = Bench::new(kind, R);
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
        bench.asked();
        let tick = bench.source.tick(Read);
        bench.source.note(Read, tick);
        bench.arm(R);
        assert_eq!(bench.asked(), []);
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    }
}

#[test]
fn a_read_that_urgent_data_has_stopped_proves_nothing() {
    for kind in [Kind::Stream, Kind::UnixStream] {
        let mut bench = Bench::new(kind, R);
        let mut edge = bench.reap(R, R);
        edge.hints.priority = true;
        bench.kernel.reads.set(true);
        assert_eq!(bench.handle(&edge), [READABLE_EVENT]);
        // The urgent data was taken, so the next edge does not tell of it.
        bench.arm(R);
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
        bench.asked();
        let tick = bench.source.tick(Read);
        bench.source.moved_short(Read, tick, 1);
        bench.arm(R);
        assert_eq!(bench.asked(), [R]);
    }
}

#[test]
fn the_place_of_urgent_data_is_no_readable_event() {
    for kind in [Kind::Stream, Kind::UnixStream] {
        let mut bench = Bench::new(kind, R);
        let mut edge = bench.reap(R, R);
        edge.hints.priority = true;
        bench.kernel.reads.set(true);
        assert_eq!(bench.handle(&edge), [READABLE_EVENT]);
        bench.arm(R);
        bench.kernel.reads.set(false);
        assert_eq!(bench.reap_and_handle(R), []);
        assert!(bench.is_armed_and_owed(R));
    }
}

#[test]
fn a_unix_stream_is_not_told_of_each_read_of_its_peer() {
    let mut bench = Bench::new(Kind::UnixStream, R | W);
    assert_eq!(bench.reap_and_handle(W), [(TOKEN, false, true)]);
    bench.asked();
    assert_eq!(bench.reap_and_handle(W), []);
    assert_eq!(bench.asked(), [R]);
    assert!(bench.is_armed_and_owed(R));
}

/// Both directions of a source of that kind are ready, and the batch has room for one. Returns what is postponed.
fn with_room_for_one(kind: Kind) -> (Bench, Option<Edge>) {
    let mut bench = Bench::new(kind, R);
    bench.arm_with(8, W);
    bench.asked();
    bench.events = Events::with_capacity(1);
    let edge = bench.reap(R | W, none());
    bench.events.clear();
    let left = bench.source.edge(&bench.kernel, &edge, &mut bench.events);
    let left = left.expect("no other asking");
    assert_eq!(bench.events.len(), 1);
    assert!(bench.events.iter().all(|event| event.id() == TOKEN));
    (bench, left)
}

#[test]
fn what_does_not_fit_of_a_descriptor_is_postponed_and_the_kernel_not_asked() {
    for kind in [Kind::Descriptor, Kind::Edges] {
        let (mut bench, left) = with_room_for_one(kind);
        assert_eq!(bench.asked(), []);
        let rest = left.expect("something is left");
        assert_eq!(rest.ready, W);
        // It is handled as an edge of a later wait. A postponed edge may be old, so it is looked at if it can be false.
        bench.kernel.holds.set(W);
        assert_eq!(bench.handle(&rest), [(8, false, true)]);
        assert_eq!(bench.asked(), []);
    }
    let (_, left) = with_room_for_one(Kind::Stream);
    assert!(left.is_none(), "a stream asks the kernel again");
}

#[test]
fn what_is_postponed_is_void_once_a_call_has_met_the_end() {
    let (mut bench, left) = with_room_for_one(Kind::Descriptor);
    let tick = bench.source.tick(Write);
    bench.source.note(Write, tick);
    assert_eq!(bench.handle(&left.unwrap()), []);
    assert!(bench.is_armed_and_owed(W));
    assert_eq!(bench.reap_and_handle(W), [(8, false, true)]);
}

#[test]
fn edges_of_a_descriptor_that_nobody_waits_for_silence_nothing() {
    let mut bench = Bench::new(Kind::Descriptor, R);
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.asked();
    for _ in 0..2 * WASTED_WAKES {
        assert_eq!(bench.reap_and_handle(R), []);
    }
    assert_eq!(bench.asked(), []);
}

#[test]
fn an_unsure_edge_of_a_descriptor_is_looked_at_unless_it_is_a_priority() {
    for (priority, looks) in [(false, 1), (true, 0)] {
        let mut bench = Bench::new(Kind::Descriptor, R);
        let mut edge = bench.reap(R, none());
        edge.hints.priority = priority;
        // The edge was reaped before this registration.
        let tick = bench.source.tick(Read);
        bench.source.note(Read, tick);
        bench.arm(R);
        bench.kernel.holds.set(R);
        assert_eq!(bench.handle(&edge), [READABLE_EVENT]);
        assert_eq!(bench.kernel.looks.get(), looks);
    }
}

#[test]
fn a_lasting_registration_fires_for_each_edge_until_it_is_disarmed() {
    let mut bench = Bench::new(Kind::Edges, R);
    bench.asked();
    for _ in 0..4 {
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    }
    assert_eq!(bench.asked(), [], "what nobody waits for is not silenced");
    // Every registration asks, so that a condition that holds already is reported again.
    bench.arm(R);
    bench.arm(R);
    assert_eq!(bench.asked(), [R, R]);
    assert_eq!(bench.kernel.looks.get(), 0);
    bench.source.disarm(R);
    assert_eq!(bench.reap_and_handle(R), []);
}

#[test]
fn urgent_data_alone_is_an_edge_of_what_lasts_only() {
    for (kind, events) in [
        (Kind::Edges, &[READABLE_EVENT][..]),
        (Kind::Descriptor, &[]),
        (Kind::Stream, &[]),
    ] {
        let mut bench = Bench::new(kind, R);
        let mut edge = bench.reap(none(), none());
        edge.hints.priority = true;
        assert_eq!(bench.handle(&edge), events);
    }
}

/// A source whose level was asked for, since a read had filled its buffer.
fn bench_with_a_level(kind: Kind) -> Bench {
    let mut bench = Bench::new(kind, R);
    bench.kernel.has_levels.set(true);
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.arm(R);
    assert_eq!((bench.asked(), bench.kernel.levels.get()), (vec![R, R], 1));
    bench
}

#[test]
fn reads_that_fill_their_buffer_ask_once() {
    for kind in [Kind::Stream, Kind::UnixStream, Kind::Reader] {
        let mut bench = bench_with_a_level(kind);
        for _ in 0..3 {
            assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
            bench.arm(R);
            assert!(bench.is_armed_and_owed(R));
        }
        assert_eq!(bench.asked(), []);
    }
}

#[test]
fn where_a_level_says_too_much_none_is_asked_for() {
    for (kind, priority) in [
        (Kind::Stream, true),
        (Kind::UnixStream, true),
        (Kind::Listener, false),
        (Kind::Datagram, false),
        (Kind::Descriptor, false),
    ] {
        let mut bench = Bench::new(kind, R);
        bench.kernel.has_levels.set(true);
        bench.kernel.reads.set(true);
        let mut edge = bench.reap(R, none());
        edge.hints.priority = priority;
        assert_eq!(bench.handle(&edge), [READABLE_EVENT]);
        bench.arm(R);
        assert_eq!((bench.asked(), bench.kernel.levels.get()), (vec![R, R], 0));
    }
}

#[test]
fn a_level_that_nobody_waits_for_is_left_for_good() {
    let mut bench = bench_with_a_level(Kind::Stream);
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    assert_eq!(bench.reap_and_handle(R), []);
    assert_eq!(bench.asked(), [none()]);
    for _ in 0..2 {
        bench.arm(R);
        assert_eq!((bench.asked(), bench.kernel.levels.get()), (vec![R], 1));
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    }
}

#[test]
fn a_call_of_the_users_own_ends_the_level_of_a_unix_stream() {
    for (kind, asked) in [(Kind::Stream, vec![]), (Kind::UnixStream, vec![none()])] {
        let mut bench = bench_with_a_level(kind);
        bench.source.expect_own_read();
        assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
        assert_eq!(bench.asked(), asked);
    }
    // And none is asked for after it.
    let mut bench = Bench::new(Kind::UnixStream, R);
    bench.kernel.has_levels.set(true);
    bench.source.expect_own_read();
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.arm(R);
    assert_eq!(bench.kernel.levels.get(), 0);
}

#[test]
fn an_error_is_told_and_ends_the_level() {
    for kind in [Kind::Stream, Kind::UnixStream, Kind::Reader] {
        let mut bench = bench_with_a_level(kind);
        bench.kernel.reads.set(true);
        let mut edge = bench.reap(R, none());
        edge.hints.error = true;
        assert_eq!(bench.handle(&edge).len(), 1);
        assert_eq!(bench.asked(), [none()]);
        bench.arm(R);
        assert_eq!((bench.asked(), bench.kernel.levels.get()), (vec![R], 1));
    }
}

#[test]
fn a_registration_for_writing_asks_for_edges() {
    let mut bench = bench_with_a_level(Kind::Stream);
    bench.arm(W);
    assert_eq!((bench.asked(), bench.kernel.levels.get()), (vec![R | W], 1));
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.arm(R);
    assert_eq!((bench.asked(), bench.kernel.levels.get()), (vec![R | W], 1));
}

#[test]
fn a_refused_level_changes_nothing() {
    let mut bench = Bench::new(Kind::Stream, R);
    bench.kernel.has_levels.set(true);
    assert_eq!(bench.reap_and_handle(R), [READABLE_EVENT]);
    bench.kernel.refuses.set(true);
    assert!(bench.source.arm(&bench.kernel, 9, R, &bench.wait).is_err());
    assert!(!bench.is_armed_and_owed(R));
    bench.kernel.refuses.set(false);
    bench.arm(R);
    assert_eq!(bench.kernel.levels.get(), 1);
}
