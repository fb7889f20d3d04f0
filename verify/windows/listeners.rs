//! Listeners: accepts in flight, and the connections that they bring.

use super::*;

type Listener = Arc<Careful<TcpListener>>;

fn listener() -> (Listener, SOCKET) {
    let std = ffi::listening_socket();
    let socket = ffi::socket_of(&std);
    let listener = TcpListener::from_std(std).unwrap();
    (Arc::new(Careful::new(listener)), socket)
}

/// Accepts once: who has connected, or nobody. The connection is let go of.
fn accept(listener: &Listener) -> Option<u16> {
    match listener.accept() {
        Ok((_, peer)) => Some(peer.port()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "told: {error}");
            None
        }
    }
}

fn accept_rest(listener: &Listener) -> Vec<u16> {
    std::iter::from_fn(|| accept(listener)).collect()
}

/// Peers connect while a thread accepts one and registers anew.
fn a_thread_accepts() {
    explore(|| {
        let mut world = World::new();
        let (listener, socket) = listener();
        world.register(&listener, 1, R);
        let peer = thread::spawn(move || {
            ffi::arrive(socket, 1);
            ffi::arrive(socket, 2);
        });
        let (mine, registrator) = (Arc::clone(&listener), world.registrator());
        let accepter = thread::spawn(move || {
            let first = accept(&mine);
            mine.register(&registrator, 2, R).unwrap();
            first
        });
        world.wait_for((2, R));
        let mut peers: Vec<u16> = join(accepter).into_iter().collect();
        join(peer);
        let more = accept_rest(&listener);
        assert!(!more.is_empty(), "false: nobody is there");
        peers.extend(more);
        assert_eq!(peers, [1, 2], "connections");
        world.settle();
        world.end([listener]);
    });
}

/// With an accept in flight, peers connect while two threads accept: each once, and in order.
fn connections_keep_their_order() {
    explore(|| {
        let mut world = World::new();
        let (listener, socket) = listener();
        world.register(&listener, 1, R);
        let peer = thread::spawn(move || {
            for peer in 1..=3 {
                ffi::arrive(socket, peer);
            }
        });
        let mine = Arc::clone(&listener);
        let accepter = thread::spawn(move || {
            let mut peers: Vec<u16> = accept(&mine).into_iter().collect();
            peers.extend(accept(&mine));
            peers
        });
        world.wait_for((1, R));
        let mut peers = join(accepter);
        join(peer);
        peers.extend(accept_rest(&listener));
        assert_eq!(peers, [1, 2, 3], "connections");
        world.settle();
        world.end([listener]);
    });
}

/// A connection is reset before it is accepted, and another comes: one event, about that one, unless a thread accepts it
/// before.
fn a_connection_is_reset(accepts: bool) {
    explore(move || {
        let mut world = World::new();
        let (listener, socket) = listener();
        world.register(&listener, 1, R);
        let peer = thread::spawn(move || {
            ffi::arrive_and_reset(socket);
            ffi::arrive(socket, 1);
        });
        let mine = Arc::clone(&listener);
        let other = thread::spawn(move || accepts.then(|| accept(&mine)).flatten());
        if accepts {
            world.glance();
        } else {
            world.wait_for((1, R));
        }
        let mut peers: Vec<u16> = join(other).into_iter().collect();
        join(peer);
        if peers.is_empty() {
            world.wait_for((1, R));
        }
        peers.extend(accept_rest(&listener));
        assert_eq!(peers, [1], "connections");
        world.settle();
        world.end([listener]);
    });
}

/// The same without an accept in flight.
fn a_reset_connection_meets_a_plain_accept() {
    explore(|| {
        let world = World::new();
        let (listener, socket) = listener();
        let peer = thread::spawn(move || {
            ffi::arrive_and_reset(socket);
            ffi::arrive(socket, 1);
        });
        let mut peers = accept_rest(&listener);
        join(peer);
        peers.extend(accept_rest(&listener));
        assert_eq!(peers, [1], "connections");
        world.end([listener]);
    });
}

fn a_listener_is_deregistered() {
    let arrive = |socket| ffi::arrive(socket, 1);
    a_source_is_deregistered(listener, arrive, accept_rest, || vec![1]);
}

fn a_listener_is_dropped() {
    a_source_is_dropped(LENT, listener, |socket| ffi::arrive(socket, 1));
}

/// The `Poll` is dropped while a peer connects and a thread registers. The listener lives on, and accepts.
fn the_poll_is_dropped(registered: bool) {
    explore(move || {
        let world = World::new();
        let (listener, socket) = listener();
        if registered {
            world.register(&listener, 1, R);
        }
        let peer = thread::spawn(move || ffi::arrive(socket, 1));
        let (mine, registrator) = (Arc::clone(&listener), world.registrator());
        let other = thread::spawn(move || {
            if !registrator.is_closed() {
                mine.register(&registrator, 2, R).unwrap();
            }
            accept(&mine)
        });
        drop(world);
        let mut peers: Vec<u16> = join(other).into_iter().collect();
        join(peer);
        // The reaper may have the packet right now; dropping waits for nothing.
        peers.extend(accept_rest(&listener));
        assert!(peers.is_empty() || peers == [1], "connections: {peers:?}");
        drop(listener);
    });
}

/// A listener is given back while peers connect: whoever has come is with the socket, or with the listener that stays.
fn a_listener_is_given_back() {
    explore(|| {
        let mut world = World::new();
        let (listener, socket) = listener();
        world.register(&listener, 1, R);
        let peer = thread::spawn(move || ffi::arrive(socket, 1));
        let owner = thread::spawn(move || {
            let Ok(mine) = Arc::try_unwrap(listener) else {
                panic!("nobody else has it");
            };
            let mine = mine.into_inner();
            match mine.into_std() {
                Ok(std) => (Some(std), None),
                Err((stays, error)) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    (None, Some(Arc::new(Careful::new(stays))))
                }
            }
        });
        world.glance();
        let (std, stays) = join(owner);
        join(peer);
        if let Some(stays) = stays {
            world.wait_for((1, R));
            assert_eq!(accept_rest(&stays), [1], "connections");
            world.settle();
            world.end([stays]);
            return;
        }
        world.settle_silently();
        let std = std.unwrap();
        assert_eq!(std.accept().unwrap().1.port(), 1, "connections");
        drop(std);
        world.end::<()>([]);
    });
}

/// A listener and its `Poll` are dropped while its accept is cancelled or ends.
fn all_is_dropped() {
    explore(|| {
        let world = World::new();
        let (listener, socket) = listener();
        world.register(&listener, 1, R);
        let peer = thread::spawn(move || ffi::arrive(socket, 1));
        let dropper = thread::spawn(move || drop(listener));
        drop(world);
        join(dropper);
        join(peer);
    });
}

#[test]
fn an_accepter_meets_the_packet_of_an_accept() {
    a_thread_accepts();
}

#[test]
fn each_connection_is_accepted_once_and_in_order() {
    connections_keep_their_order();
}

#[test]
fn a_reset_connection_is_not_told() {
    a_connection_is_reset(false);
}

#[test]
fn a_reset_connection_is_not_told_to_an_accepter() {
    a_connection_is_reset(true);
}

#[test]
fn a_reset_connection_is_not_told_by_a_plain_accept() {
    a_reset_connection_meets_a_plain_accept();
}

#[test]
fn no_event_after_a_listener_is_deregistered() {
    a_listener_is_deregistered();
}

#[test]
fn a_dropped_listener_is_gone() {
    a_listener_is_dropped();
}

#[test]
fn a_dropped_poll_waits_for_an_accept() {
    the_poll_is_dropped(true);
}

#[test]
fn a_dropped_poll_starts_no_accept() {
    the_poll_is_dropped(false);
}

#[test]
fn a_listener_given_back_loses_nobody() {
    a_listener_is_given_back();
}

#[test]
fn all_dropped_with_an_accept_leaves_nothing() {
    all_is_dropped();
}
