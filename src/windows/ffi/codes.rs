//! Winsock error codes: those that anything here looks at.
//! [All of them](https://learn.microsoft.com/windows/win32/winsock/windows-sockets-error-codes-2)

/// A Winsock error code.
/// [Windows Sockets error codes](https://learn.microsoft.com/windows/win32/winsock/windows-sockets-error-codes-2)
pub(crate) type Code = i32;

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
pub(crate) const WSAEHOSTUNREACH: Code = 10065;
