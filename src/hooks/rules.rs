//! The rules of the state machines of which a model check leaves one out, to see that it would be missed.
//!
//! Everywhere else every rule holds, and what asks here is compiled away.

/// A rule that one of the model checks (`unix/model.rs`, `windows/model.rs`) proves to be needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // each backend has its own, and some are of both
pub(crate) enum Rule {
    /// An edge of the wait that was on at the arming is confirmed.
    WaitNumber,
    /// That number is written before the wait, and read after what was read from the source.
    WaitFences,
    /// A call's end is not recorded if an edge was handled since before the call.
    Tick,
    /// A short read after a hang-up proves nothing.
    OddMarks,
    /// An edge that was reaped before an asking is void.
    Stamps,
    /// The next owner of a slot goes on from the stamp of the last.
    StampsGoOn,
    /// What is not owed is asked for.
    Asking,
    /// What does not fit is asked for again.
    LeftOver,
    /// An event disarms.
    OneShot,
    /// To deregister disarms.
    Disarm,
    /// A source that is dropped leaves the table and the system's queue.
    Leave,
    /// A source enters under the lock of the table, and once.
    EnterOnce,
    /// The first wake sends its notice under the lock.
    NoticeUnderLock,
    /// Wakes that do not fit send the notice again.
    NoticeAgain,
    /// A close sends a notice.
    NoticeOfClose,
    /// Nobody adds a wake when the close has taken its turn.
    NoWakeAfterClose,
    /// A wake that is handed out is forgotten, so that the next one counts.
    WakeForgotten,
    /// Memory that is lent is not freed.
    HandsOff,
    /// The table of flights holds the sources, also when the `Poll` is gone.
    FlightHolds,
    /// What is in flight is not started again.
    OneFlight,
    /// No operation starts when the `Poll` is gone.
    GoneUnderLock,
    /// Packets that are being handled count as flights: they may start the next.
    HandlingCounts,
    /// Whoever handles the last packet says so to the reaper.
    ReaperNudged,
    /// A pump posts again what is for a poll.
    PostAgain,
    /// A poll that does not wait lets the pumps post again first.
    PumpsFirst,
    /// An event that a pump cannot make becomes a note.
    NoteOfPump,
    /// An interest that meets nothing starts a receive.
    StartInstead,
    /// A source that is dropped is marked, under its locks.
    MarkedClosed,
    /// With bytes in flight, nobody receives from the socket.
    NoOvertaking,
    /// A receive without memory proves nothing if somebody has read since.
    Raided,
    /// What was lent is counted as back.
    GivenBack,
    /// With a send in flight, nobody sends.
    OneSend,
    /// What a send has left is sent.
    RestIsSent,
    /// A socket with a send in flight is not closed.
    OrphanStaysOpen,
    /// The end of a connect concerns both directions.
    ConnectTellsBoth,
    /// The socket that an accept will connect stays open until the packet.
    AcceptedStaysOpen,
    /// A connection that was reset before it was accepted is not told, and the accept is started again.
    ResetIsNobodys,
    /// A close that is deferred ends the wait that does not know of it.
    NudgeOfDefer,
    /// A close that was deferred long enough cancels the send.
    GivenUp,
    /// A packet that cannot be posted is kept.
    Kept,
    /// Who closes holds the lock until the packet is posted.
    CloseUnderLock,
    /// A wake merges with one whose packet is on the port only.
    MergeWithPosted,
    /// A poll that finds the loop closed waits for the wakes that are being posted.
    PostingCounts,
    /// A wake that could not be posted does not count as one on its way.
    WakeTakenBack,
    /// A read that goes on after a full receive holds its lock all the time.
    GoesOnLocked,
    /// What that second receive says beside bytes is kept.
    KeptUntold,
    /// A read that would give the end asks whether the connection is broken.
    StaysBroken,
    /// `take_error` returns a failure once, whoever else tells of it.
    TakenOnce,
    /// What comes after a shutdown of receiving is dropped.
    ShutDiscards,
    /// Nothing starts while the user makes a call of his own.
    TryHolds,
    /// Whoever ends that call looks at the interest.
    TryResumes,
    /// A dropped stream whose linger time is zero cancels its send.
    LingerZero,
    /// A send that was given up is not gone on with.
    NoRestGivenUp,
    /// A socket that the system does not close because of its linger time is closed without.
    ClosedAnyway,
    /// The reaper waits for the signals of waits, too.
    WaitsCount,
    /// A callback that is running has its own reference, and keeps it.
    PendingIsTheCallbacks,
    /// A wait that is over may have had its callback.
    RanIsAsked,
    /// The reference of a callback that will never run is released.
    UnregisteredIsReleased,
    /// A failure that a look at a datagram socket has met is taken away.
    FailureCleared,
    /// Whoever asks something of a stream whose connect was under way looks for its end.
    ConnectLookedAt,
}

#[cfg(not(all(loom, test)))]
pub(crate) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(all(loom, test))]
pub(crate) use left_out::{holds, without};

#[cfg(all(loom, test))]
mod left_out {
    use std::cell::Cell;

    use super::Rule;

    // All threads of a model are coroutines on the thread of its test.
    std::thread_local! {
        static LEFT_OUT: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    pub(crate) fn holds(rule: Rule) -> bool {
        LEFT_OUT.with(Cell::get) != Some(rule)
    }

    /// Runs `check` without `rule`.
    pub(crate) fn without(rule: Rule, check: impl FnOnce()) {
        LEFT_OUT.with(|left_out| left_out.set(Some(rule)));
        check();
    }
}
