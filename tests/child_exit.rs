//! The end of a child process as an event. Contract: 9.6.
#![allow(clippy::unwrap_used)]

mod children;
mod common;

use std::io::ErrorKind;
use std::process::{Child, Stdio};
use std::time::Duration;

use children::child;
use common::{
    await_that, effort, expect_events, expect_no_events, expect_nothing_queued, kind_of, said,
    watchdog, Said, HANG, READABLE, WRITABLE,
};
use minimio::{ChildExit, Events, Poll, Registrator};

#[test]
fn a_child_does_its_job() {
    children::job();
}

fn queue() -> (Poll, Registrator, Events) {
    let poll = Poll::new().unwrap();
    let registrator = poll.registrator();
    (poll, registrator, Events::with_capacity(16))
}

fn start(job: &str) -> Child {
    child(job)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn the_end_of_a_child_is_an_event_and_wait_has_its_status() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut child = start("wait");
    let exit = ChildExit::new(&mut child).unwrap();
    registrator.register(&exit, 1, READABLE).unwrap();
    expect_no_events(&mut poll, &mut events);
    drop(child.stdin.take());
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    expect_no_events(&mut poll, &mut events);
    assert!(child.wait().unwrap().success());
}

#[test]
fn codes_are_those_that_the_child_ended_with() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    for code in [0, 1, 77] {
        let mut child = start(&format!("exit {code}"));
        let exit = ChildExit::new(&mut child).unwrap();
        registrator.register(&exit, 1, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(1, true, false)]);
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_child_that_was_killed_has_ended() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut child = start("wait");
    let exit = ChildExit::new(&mut child).unwrap();
    registrator.register(&exit, 1, READABLE).unwrap();
    child.kill().unwrap();
    expect_events(&mut poll, &mut events, &[(1, true, false)]);
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_child_that_has_ended_already_fires_at_once_and_each_time() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut child = start("exit 3");
    await_that("the child ends", || child.try_wait().unwrap().is_some());
    let exit = ChildExit::new(&mut child).unwrap();
    for token in 1..4 {
        registrator.register(&exit, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
    }
    assert_eq!(child.wait().unwrap().code(), Some(3));
    // Also after that: nobody else's process is watched.
    registrator.register(&exit, 5, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(5, true, false)]);
}

#[test]
fn the_end_is_told_to_each_registration() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut child = start("exit 0");
    let exit = ChildExit::new(&mut child).unwrap();
    for token in 1..5 {
        registrator.register(&exit, token, READABLE).unwrap();
        expect_events(&mut poll, &mut events, &[(token, true, false)]);
    }
    registrator.register(&exit, 9, READABLE).unwrap();
    registrator.deregister(&exit).unwrap();
    expect_no_events(&mut poll, &mut events);
    registrator.register(&exit, 10, READABLE).unwrap();
    expect_events(&mut poll, &mut events, &[(10, true, false)]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_watch_that_is_dropped_tells_nothing_and_the_child_goes_on() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut child = start("wait");
    let exit = ChildExit::new(&mut child).unwrap();
    registrator.register(&exit, 1, READABLE).unwrap();
    drop(exit);
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    expect_no_events(&mut poll, &mut events);
    assert!(child.wait().unwrap().success());
    expect_nothing_queued(&mut poll, &mut events);
}

#[test]
fn two_watches_of_a_child_both_fire() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    let mut child = start("wait");
    let first = ChildExit::new(&mut child).unwrap();
    let second = ChildExit::new(&mut child).unwrap();
    registrator.register(&first, 1, READABLE).unwrap();
    registrator.register(&second, 2, READABLE).unwrap();
    drop(child.stdin.take());
    expect_events(
        &mut poll,
        &mut events,
        &[(1, true, false), (2, true, false)],
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_child_is_never_writable() {
    let (_poll, registrator, _events) = queue();
    let mut child = start("exit 0");
    let exit = ChildExit::new(&mut child).unwrap();
    let refused = registrator.register(&exit, 1, WRITABLE);
    assert_eq!(kind_of(refused), ErrorKind::InvalidInput);
    drop(exit);
    child.wait().unwrap();
}

/// 10,000 with an effort of 100: each is told, and none leaves a descriptor or a handle behind.
#[test]
fn many_children_are_all_told_and_leave_nothing() {
    let _watchdog = watchdog();
    let (mut poll, registrator, mut events) = queue();
    // What the first ones open for good is not counted.
    let mut before = None;
    let rounds = (effort(100) + 7) / 8;
    for _ in 0..rounds {
        let mut children: Vec<_> = (0..8)
            .map(|number| {
                let mut child = start(&format!("exit {number}"));
                let exit = ChildExit::new(&mut child).unwrap();
                (child, exit)
            })
            .collect();
        for (token, (_, exit)) in children.iter().enumerate() {
            registrator.register(exit, token, READABLE).unwrap();
        }
        let mut missing = children.len();
        while missing > 0 {
            assert_ne!(poll.poll(&mut events, Some(HANG)).unwrap(), 0);
            for one in said(&events) {
                let Said::Readable(token) = one else {
                    panic!("{one:?}");
                };
                let (child, _) = &mut children[token];
                let code = child.try_wait().unwrap().expect("the event says so").code();
                assert_eq!(code, i32::try_from(token).ok());
                missing -= 1;
            }
        }
        drop(children);
        let now = open_things();
        let before = *before.get_or_insert(now);
        assert!(now <= before + 16, "{before} and then {now}");
    }
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
}

#[cfg(unix)]
fn open_things() -> usize {
    common::descriptors()
}

#[cfg(windows)]
fn open_things() -> usize {
    common::handles() as usize
}
