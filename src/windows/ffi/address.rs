//! Socket addresses between `std` and Winsock.

use core::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::size_of_i32;

/// [Address families](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw)
pub(crate) const AF_INET: u16 = 2;
/// [Address families](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsasocketw)
pub(crate) const AF_INET6: u16 = 23;

/// Room for any address.
/// [SOCKADDR_STORAGE](https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-sockaddr_storage_lh)
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct SOCKADDR_STORAGE {
    pub(crate) ss_family: u16,
    pub(crate) __ss_pad1: [u8; 6],
    pub(crate) __ss_align: i64,
    pub(crate) __ss_pad2: [u8; 112],
}

/// [SOCKADDR_IN](https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-sockaddr_in)
#[repr(C, align(4))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct SOCKADDR_IN {
    pub(crate) sin_family: u16,
    /// In network order.
    pub(crate) sin_port: [u8; 2],
    pub(crate) sin_addr: [u8; 4],
    pub(crate) sin_zero: [u8; 8],
}

/// [SOCKADDR_IN6](https://learn.microsoft.com/windows/win32/api/ws2ipdef/ns-ws2ipdef-sockaddr_in6_lh)
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct SOCKADDR_IN6 {
    pub(crate) sin6_family: u16,
    /// In network order.
    pub(crate) sin6_port: [u8; 2],
    pub(crate) sin6_flowinfo: u32,
    pub(crate) sin6_addr: [u8; 16],
    pub(crate) sin6_scope_id: u32,
}

/// The length of the largest address that fits, as Winsock counts.
pub(crate) const STORAGE_LEN: i32 = size_of_i32::<SOCKADDR_STORAGE>();

/// The family of an address, for making a socket.
pub(crate) fn family_of(address: &SocketAddr) -> u16 {
    match address {
        SocketAddr::V4(_) => AF_INET,
        SocketAddr::V6(_) => AF_INET6,
    }
}

/// The address of every interface in the family of `address`, with any port.
pub(crate) fn wildcard_like(address: &SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        SocketAddr::V6(_) => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

impl SOCKADDR_STORAGE {
    pub(crate) const fn zeroed() -> SOCKADDR_STORAGE {
        SOCKADDR_STORAGE {
            ss_family: 0,
            __ss_pad1: [0; 6],
            __ss_align: 0,
            __ss_pad2: [0; 112],
        }
    }

    /// The address, and its length as Winsock counts.
    pub(crate) fn from_std(address: &SocketAddr) -> (SOCKADDR_STORAGE, i32) {
        let mut storage = SOCKADDR_STORAGE::zeroed();
        let place: *mut SOCKADDR_STORAGE = &mut storage;
        match address {
            SocketAddr::V4(v4) => {
                let address = SOCKADDR_IN {
                    sin_family: AF_INET,
                    sin_port: v4.port().to_be_bytes(),
                    sin_addr: v4.ip().octets(),
                    sin_zero: [0; 8],
                };
                // SAFETY: a `SOCKADDR_STORAGE` is larger and at least as aligned (asserted below), and any bytes make
                // one.
                unsafe { place.cast::<SOCKADDR_IN>().write(address) };
                (storage, size_of_i32::<SOCKADDR_IN>())
            }
            SocketAddr::V6(v6) => {
                let address = SOCKADDR_IN6 {
                    sin6_family: AF_INET6,
                    sin6_port: v6.port().to_be_bytes(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: v6.ip().octets(),
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: as above.
                unsafe { place.cast::<SOCKADDR_IN6>().write(address) };
                (storage, size_of_i32::<SOCKADDR_IN6>())
            }
        }
    }

    /// The address as `std` knows it; `None` for another family.
    pub(crate) fn to_std(self) -> Option<SocketAddr> {
        let place: *const SOCKADDR_STORAGE = &self;
        match self.ss_family {
            AF_INET => {
                // SAFETY: a `SOCKADDR_STORAGE` is larger and at least as aligned (asserted below), and any bytes make a
                // `SOCKADDR_IN`.
                let address = unsafe { place.cast::<SOCKADDR_IN>().read() };
                let ip = Ipv4Addr::from(address.sin_addr);
                Some(SocketAddrV4::new(ip, u16::from_be_bytes(address.sin_port)).into())
            }
            AF_INET6 => {
                // SAFETY: as above, for a `SOCKADDR_IN6`.
                let address = unsafe { place.cast::<SOCKADDR_IN6>().read() };
                let ip = Ipv6Addr::from(address.sin6_addr);
                let port = u16::from_be_bytes(address.sin6_port);
                Some(
                    SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id)
                        .into(),
                )
            }
            _ => None,
        }
    }
}

const _: () = {
    assert!(size_of::<SOCKADDR_STORAGE>() == 128);
    assert!(size_of::<SOCKADDR_IN>() == 16);
    assert!(size_of::<SOCKADDR_IN6>() == 28);
    assert!(core::mem::align_of::<SOCKADDR_STORAGE>() >= core::mem::align_of::<SOCKADDR_IN6>());
    assert!(core::mem::align_of::<SOCKADDR_IN6>() >= core::mem::align_of::<SOCKADDR_IN>());
};
