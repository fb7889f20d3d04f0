//! How an operation ended, from its status to a Winsock error code.
//!
//! The status block holds an NTSTATUS. The documented translation, `WSAGetOverlappedResult`, needs an open socket and another
//! system call. The general one (`RtlNtStatusToDosError`) gives codes that `std` does not know: a reset would be
//! `Uncategorized`, a cancelled operation `TimedOut`. So this module has a table of the statuses that sockets have, and
//! only for a status that is not in it the system is asked. The values:
//! [NTSTATUS](https://learn.microsoft.com/openspecs/windows_protocols/ms-erref/596a1078-e883-4972-9bbc-49e60bebca55).

use super::ffi;

/// How an operation that has a packet ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed(ffi::Code),
    /// It has ended, but its status says that it is pending. Wine does this when the thread that started the operation ends
    /// at the moment when the operation is to be done. Nothing was received or connected then.
    Unfinished,
    /// A failure that is not in the table.
    Unknown,
}

/// Statuses from here on are warnings and errors.
const FIRST_WARNING: u32 = 0x8000_0000;

const STATUS_TIMEOUT: u32 = 0x0000_0102;
const STATUS_PENDING: u32 = 0x0000_0103;
const STATUS_BUFFER_OVERFLOW: u32 = 0x8000_0005;
const STATUS_ACCESS_VIOLATION: u32 = 0xc000_0005;
const STATUS_INVALID_HANDLE: u32 = 0xc000_0008;
const STATUS_NO_MEMORY: u32 = 0xc000_0017;
const STATUS_OBJECT_TYPE_MISMATCH: u32 = 0xc000_0024;
const STATUS_INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;
const STATUS_IO_TIMEOUT: u32 = 0xc000_00b5;
const STATUS_CANCELLED: u32 = 0xc000_0120;
const STATUS_LOCAL_DISCONNECT: u32 = 0xc000_013b;
const STATUS_REMOTE_DISCONNECT: u32 = 0xc000_013c;
const STATUS_INVALID_CONNECTION: u32 = 0xc000_0140;
const STATUS_INVALID_ADDRESS_COMPONENT: u32 = 0xc000_0207;
const STATUS_ADDRESS_ALREADY_EXISTS: u32 = 0xc000_020a;
const STATUS_CONNECTION_DISCONNECTED: u32 = 0xc000_020c;
const STATUS_CONNECTION_RESET: u32 = 0xc000_020d;
const STATUS_CONNECTION_REFUSED: u32 = 0xc000_0236;
const STATUS_CONNECTION_INVALID: u32 = 0xc000_023a;
const STATUS_NETWORK_UNREACHABLE: u32 = 0xc000_023c;
const STATUS_HOST_UNREACHABLE: u32 = 0xc000_023d;
const STATUS_PROTOCOL_UNREACHABLE: u32 = 0xc000_023e;
const STATUS_PORT_UNREACHABLE: u32 = 0xc000_023f;
const STATUS_CONNECTION_ABORTED: u32 = 0xc000_0241;

/// Translates the status of an operation whose packet was taken.
pub(super) fn outcome(status: u32) -> Outcome {
    if status == STATUS_PENDING {
        return Outcome::Unfinished;
    }
    if status < FIRST_WARNING && status != STATUS_TIMEOUT {
        return Outcome::Done;
    }
    Outcome::Failed(match status {
        // Its number is that of a success, because a wait that times out has done what it was asked to.
        STATUS_TIMEOUT => ffi::WSAETIMEDOUT,
        STATUS_BUFFER_OVERFLOW => ffi::WSAEMSGSIZE,
        STATUS_ACCESS_VIOLATION => ffi::WSAEFAULT,
        STATUS_INVALID_HANDLE | STATUS_OBJECT_TYPE_MISMATCH => ffi::WSAENOTSOCK,
        STATUS_NO_MEMORY | STATUS_INSUFFICIENT_RESOURCES => ffi::WSAENOBUFS,
        STATUS_IO_TIMEOUT => ffi::WSAETIMEDOUT,
        STATUS_CANCELLED => ffi::WSA_OPERATION_ABORTED,
        STATUS_LOCAL_DISCONNECT | STATUS_CONNECTION_ABORTED => ffi::WSAECONNABORTED,
        STATUS_REMOTE_DISCONNECT
        | STATUS_CONNECTION_DISCONNECTED
        | STATUS_CONNECTION_RESET
        | STATUS_PORT_UNREACHABLE => ffi::WSAECONNRESET,
        STATUS_INVALID_CONNECTION | STATUS_CONNECTION_INVALID => ffi::WSAENOTCONN,
        STATUS_INVALID_ADDRESS_COMPONENT => ffi::WSAEADDRNOTAVAIL,
        STATUS_ADDRESS_ALREADY_EXISTS => ffi::WSAEADDRINUSE,
        STATUS_CONNECTION_REFUSED => ffi::WSAECONNREFUSED,
        STATUS_NETWORK_UNREACHABLE | STATUS_PROTOCOL_UNREACHABLE => ffi::WSAENETUNREACH,
        STATUS_HOST_UNREACHABLE => ffi::WSAEHOSTUNREACH,
        _ => return Outcome::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    fn kind(status: u32) -> Option<ErrorKind> {
        match outcome(status) {
            Outcome::Failed(code) => Some(Error::from_raw_os_error(code).kind()),
            _ => None,
        }
    }

    #[test]
    fn success_and_information_are_no_failures() {
        assert_eq!(outcome(0), Outcome::Done);
        assert_eq!(outcome(0x4000_0000), Outcome::Done);
        assert_eq!(outcome(STATUS_PENDING), Outcome::Unfinished);
    }

    #[test]
    fn statuses_become_the_kinds_that_a_user_expects() {
        assert_eq!(
            kind(STATUS_CONNECTION_RESET),
            Some(ErrorKind::ConnectionReset)
        );
        assert_eq!(
            kind(STATUS_REMOTE_DISCONNECT),
            Some(ErrorKind::ConnectionReset)
        );
        assert_eq!(
            kind(STATUS_CONNECTION_ABORTED),
            Some(ErrorKind::ConnectionAborted)
        );
        assert_eq!(
            kind(STATUS_CONNECTION_REFUSED),
            Some(ErrorKind::ConnectionRefused)
        );
        assert_eq!(kind(STATUS_IO_TIMEOUT), Some(ErrorKind::TimedOut));
        assert_eq!(kind(STATUS_TIMEOUT), Some(ErrorKind::TimedOut));
        assert_eq!(
            outcome(STATUS_BUFFER_OVERFLOW),
            Outcome::Failed(ffi::WSAEMSGSIZE)
        );
        assert_eq!(
            outcome(STATUS_CANCELLED),
            Outcome::Failed(ffi::WSA_OPERATION_ABORTED)
        );
    }

    #[test]
    fn an_unheard_of_status_is_unknown_and_no_success() {
        assert_eq!(outcome(0xc000_ffff), Outcome::Unknown);
    }
}
