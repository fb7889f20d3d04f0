//! Stand-ins for what the system that rustdoc runs on does not have, so that it documents the sources of both families.
//! Only rustdoc compiles this. It does not look into the bodies of functions, so names are all that it needs.

#[cfg(not(unix))]
pub(super) mod unix {
    pub(crate) enum Kind {}
    pub(crate) type RawFd = i32;
    pub(crate) struct BorrowedFd<'a>(&'a ());
    pub(crate) trait AsFd {
        fn as_fd(&self) -> BorrowedFd<'_>;
    }
    pub(crate) trait AsRawFd {
        fn as_raw_fd(&self) -> RawFd;
    }
    pub(crate) mod net {
        pub(crate) struct SocketAddr;
        pub(crate) struct UnixStream;
        pub(crate) struct UnixListener;
        pub(crate) struct UnixDatagram;
    }
    pub(crate) mod backend {
        pub(crate) struct Descriptor<T>(T);
        pub(crate) struct UnixStream;
        pub(crate) struct UnixListener;
        pub(crate) struct UnixDatagram;
    }
}

#[cfg(not(windows))]
pub(super) mod windows {
    pub(crate) type RawHandle = *mut std::ffi::c_void;
    pub(crate) struct BorrowedHandle<'a>(&'a ());
    pub(crate) struct OwnedHandle;
    pub(crate) trait AsHandle {
        fn as_handle(&self) -> BorrowedHandle<'_>;
    }
    pub(crate) trait AsRawHandle {
        fn as_raw_handle(&self) -> RawHandle;
    }
    pub(crate) mod backend {
        pub(crate) struct NamedPipe;
        pub(crate) struct Waitable;
    }
    pub(crate) mod ffi {
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct PipeShape;
    }
}
