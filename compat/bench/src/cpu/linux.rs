//! Linux: the clock of the process, and affinity.

use std::time::Duration;

pub fn time_of_this_process() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the time may be written.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "every process has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Keeps this thread, and those that it will start, on one core.
pub fn pin_to_first_core() {
    pin(0..1);
}

/// Whoever has started this process may have been kept on one core.
pub fn pin_to_all_cores() {
    pin(0..libc::CPU_SETSIZE as usize);
}

fn pin(cores: std::ops::Range<usize>) {
    // SAFETY: all zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the set is as large as said, and only read. If it fails, the figures are noisier.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
}
