//! A sandbox that refuses `epoll_pwait2` ends no poll (4.8), and one that refuses `pidfd_open` is told of (9.6). The filters
//! are real ones, and the thread's own.

#![cfg(all(
    target_os = "linux",
    // Emulators of other machines have no filters.
    target_arch = "x86_64",
    target_pointer_width = "64"
))]
#![allow(clippy::unwrap_used)] // a test

mod common;

use std::io::ErrorKind;
use std::mem::size_of;
use std::os::raw::c_ulong;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{expect_events, watchdog};
use minimio::{ChildExit, Events, Poll};

/// Makes the calling thread get the error `code` from a system call, as a sandbox does. For the life of the thread.
fn refuse(call: libc::c_long, code: libc::c_int) {
    let number = u32::try_from(call).unwrap();
    let statement = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    };
    let mut program = [
        // The number of the call is the first field of what the filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 0, 1),
        statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | u32::try_from(code).unwrap(),
            0,
            0,
        ),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    let (yes, no): (c_ulong, c_ulong) = (1, 0);
    // SAFETY: it takes numbers only.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, no, no, no) };
    assert_eq!(done, 0);
    // SAFETY: the program is borrowed for the call, which copies it.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            c_ulong::from(libc::SECCOMP_MODE_FILTER),
            std::ptr::addr_of!(program),
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

fn refuse_epoll_pwait2(code: libc::c_int) {
    refuse(libc::SYS_epoll_pwait2, code);
    let nobody = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the set is none, so nothing is written.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            -1,
            std::ptr::null_mut::<libc::epoll_event>(),
            1,
            std::ptr::addr_of!(nobody),
            std::ptr::null::<libc::sigset_t>(),
            size_of::<libc::sigset_t>(),
        )
    };
    let error = std::io::Error::last_os_error();
    assert_eq!((result, error.raw_os_error()), (-1, Some(code)));
}

// 4.8, 8
#[test]
fn a_refused_epoll_pwait2_ends_no_poll() {
    let _watchdog = watchdog();
    let codes = [
        libc::ENOSYS,
        libc::EPERM,
        libc::EACCES,
        libc::ENOTSUP,
        libc::ENOMEM,
        libc::EIO,
    ];
    for code in codes {
        let polling = thread::spawn(move || {
            // Made before as well as after the sandbox closed.
            let mut early = Poll::new().unwrap();
            let mut events = Events::with_capacity(4);
            let timeout = Duration::from_millis(3);
            assert_eq!(early.poll(&mut events, Some(timeout)).unwrap(), 0);
            refuse_epoll_pwait2(code);
            for mut poll in [early, Poll::new().unwrap()] {
                for _ in 0..3 {
                    let began = Instant::now();
                    assert_eq!(poll.poll(&mut events, Some(timeout)).unwrap(), 0);
                    assert!(began.elapsed() >= timeout);
                }
                poll.registrator().wake(7).unwrap();
                expect_events(&mut poll, &mut events, &[(7, false, false)]);
            }
        });
        polling.join().unwrap();
    }
}

// 4.8, 9.6
#[test]
fn a_refused_pidfd_open_is_an_error_that_says_so() {
    let _watchdog = watchdog();
    for code in [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::ENOTSUP] {
        let watching = thread::spawn(move || {
            let mut child = Command::new("cat")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            refuse(libc::SYS_pidfd_open, code);
            let error = ChildExit::new(&mut child).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("pidfd_open"), "{error}");
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
        });
        watching.join().unwrap();
    }
}
