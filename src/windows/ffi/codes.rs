//! Error codes: those that anything here looks at. All of
//! [Winsock's](https://learn.microsoft.com/windows/win32/winsock/windows-sockets-error-codes-2), and
//! [the system's](https://learn.microsoft.com/windows/win32/debug/system-error-codes).

/// An error code, of Winsock or of the system: their numbers do not meet.
/// [System error codes](https://learn.microsoft.com/windows/win32/debug/system-error-codes)
pub(crate) type Code = i32;

/// To a connect: this is a client's end.
pub(crate) const ERROR_INVALID_FUNCTION: Code = 1;
pub(crate) const ERROR_ACCESS_DENIED: Code = 5;
/// The peer of a pipe is gone.
pub(crate) const ERROR_BROKEN_PIPE: Code = 109;
pub(crate) const ERROR_INVALID_NAME: Code = 123;
/// To a look: the pipe has no client.
pub(crate) const ERROR_BAD_PIPE: Code = 230;
/// All instances of a pipe have a client.
pub(crate) const ERROR_PIPE_BUSY: Code = 231;
/// To a writer and to a connect: the peer has closed. To a reader that does not wait: the pipe is empty.
pub(crate) const ERROR_NO_DATA: Code = 232;
/// The server has disconnected.
pub(crate) const ERROR_PIPE_NOT_CONNECTED: Code = 233;
/// A message has been read in part.
pub(crate) const ERROR_MORE_DATA: Code = 234;
/// To a connect: a client is there already.
pub(crate) const ERROR_PIPE_CONNECTED: Code = 535;
/// What Wine makes of a pipe that was closed under an operation.
pub(crate) const ERROR_HANDLES_CLOSED: Code = 676;
/// The operation has not ended.
pub(crate) const ERROR_IO_INCOMPLETE: Code = 996;
pub(crate) const ERROR_NO_SYSTEM_RESOURCES: Code = 1450;
pub(crate) const ERROR_WORKING_SET_QUOTA: Code = 1453;
pub(crate) const ERROR_NOT_ENOUGH_QUOTA: Code = 1816;

pub(crate) const WSA_OPERATION_ABORTED: Code = 995;
/// The operation is in flight.
pub(crate) const WSA_IO_PENDING: Code = 997;
pub(crate) const WSAEFAULT: Code = 10014;
pub(crate) const WSAEINVAL: Code = 10022;
pub(crate) const WSAEWOULDBLOCK: Code = 10035;
/// A connect is under way.
pub(crate) const WSAEALREADY: Code = 10037;
pub(crate) const WSAENOTSOCK: Code = 10038;
pub(crate) const WSAEMSGSIZE: Code = 10040;
pub(crate) const WSAEAFNOSUPPORT: Code = 10047;
pub(crate) const WSAEADDRINUSE: Code = 10048;
pub(crate) const WSAEADDRNOTAVAIL: Code = 10049;
pub(crate) const WSAENETDOWN: Code = 10050;
pub(crate) const WSAENETUNREACH: Code = 10051;
pub(crate) const WSAENETRESET: Code = 10052;
pub(crate) const WSAECONNABORTED: Code = 10053;
pub(crate) const WSAECONNRESET: Code = 10054;
pub(crate) const WSAENOBUFS: Code = 10055;
pub(crate) const WSAEISCONN: Code = 10056;
pub(crate) const WSAENOTCONN: Code = 10057;
pub(crate) const WSAETIMEDOUT: Code = 10060;
pub(crate) const WSAECONNREFUSED: Code = 10061;
pub(crate) const WSAEHOSTDOWN: Code = 10064;
pub(crate) const WSAEHOSTUNREACH: Code = 10065;
