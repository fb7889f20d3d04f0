//! Urgent data.

#![cfg(target_os = "linux")]

mod common;

use std::io::Write;
use std::mem::MaybeUninit;

use common::{drain, pair, Loop, R, RW};
use mio::{Interest, Token};
use socket2::SockRef;

#[test]
fn urgent_data_alone_is_an_event() {
    for interests in [Interest::PRIORITY, R | Interest::PRIORITY] {
        let mut looping = Loop::new();
        let (mut stream, peer) = pair();
        looping.register(&mut stream, 1, interests);
        for _ in 0..3 {
            SockRef::from(&peer).send_out_of_band(b"!").unwrap();
            looping.until(1, "priority", |event| event.is_priority());
            let mut byte = [MaybeUninit::uninit()];
            SockRef::from(&stream).recv_out_of_band(&mut byte).unwrap();
        }
    }
}

#[test]
fn urgent_data_comes_beside_other_data() {
    let mut looping = Loop::new();
    let (mut stream, mut peer) = pair();
    looping
        .registry()
        .register(&mut stream, Token(1), RW | Interest::PRIORITY)
        .unwrap();
    peer.write_all(b"word").unwrap();
    looping.readable(1);
    SockRef::from(&peer).send_out_of_band(b"!").unwrap();
    looping.until(1, "priority", |event| event.is_priority());
    let mut byte = [MaybeUninit::uninit()];
    SockRef::from(&stream).recv_out_of_band(&mut byte).unwrap();
    assert_eq!(drain(&stream).0, b"word");
}
