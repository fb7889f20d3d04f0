//! A server's side of HTTP/1.1, as far as the load needs it: `GET /` on connections that are kept alive.

use std::io;

/// What the clients send, and what they expect.
pub const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: minimio-bench\r\nAccept: */*\r\n\r\n";
pub const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

/// The longest head of a request.
const LONGEST: usize = 8 << 10;

/// Answers each request that ends in `bytes`. What comes after the last one is kept in `rest` until there is more.
pub fn answer(
    rest: &mut Vec<u8>,
    bytes: &[u8],
    mut send: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut joined = std::mem::take(rest);
    let mut left = bytes;
    if !joined.is_empty() {
        joined.extend_from_slice(bytes);
        left = &joined;
    }
    while let Some(end) = end_of_head(left) {
        send(answer_to(&left[..end]))?;
        left = &left[end..];
    }
    if left.len() > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a long head"));
    }
    if !left.is_empty() {
        *rest = left.to_vec();
    }
    Ok(())
}

/// Where the empty line that ends a head ends itself.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    const EMPTY_LINE: &[u8] = b"\r\n\r\n";
    let at = bytes
        .windows(EMPTY_LINE.len())
        .position(|part| part == EMPTY_LINE)?;
    Some(at + EMPTY_LINE.len())
}

fn answer_to(head: &[u8]) -> &'static [u8] {
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    let mut first = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let (method, path, version) = (first.next(), first.next(), first.next());
    // HTTP/1.1 asks for this field in every request.
    let has_host = lines.any(|line| {
        let name = line.split(|byte| *byte == b':').next();
        name.is_some_and(|name| name.eq_ignore_ascii_case(b"host"))
    });
    match (method, path, version) {
        (Some(b"GET"), Some(b"/"), Some(b"HTTP/1.1")) if has_host => ANSWER,
        (Some(b"GET"), Some(_), Some(b"HTTP/1.1")) if has_host => NOT_FOUND,
        _ => BAD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers to a stream of bytes that comes in pieces.
    fn answers(pieces: &[&[u8]]) -> Vec<&'static [u8]> {
        let (mut rest, mut sent) = (Vec::new(), Vec::new());
        for piece in pieces {
            let keep = |bytes: &[u8]| {
                let known = [ANSWER, NOT_FOUND, BAD];
                let known = known.into_iter().find(|known| *known == bytes);
                sent.push(known.expect("there are no others"));
                Ok(())
            };
            answer(&mut rest, piece, keep).expect("no head is too long");
        }
        sent
    }

    #[test]
    fn a_request_is_answered_once_however_it_is_cut() {
        for at in 0..REQUEST.len() {
            let (one, other) = REQUEST.split_at(at);
            assert_eq!(answers(&[one, other]), [ANSWER], "cut at {at}");
        }
    }

    #[test]
    fn several_requests_may_come_at_once() {
        let two_and_a_half = [REQUEST, REQUEST, &REQUEST[..20]].concat();
        let all = answers(&[&two_and_a_half, &REQUEST[20..]]);
        assert_eq!(all, [ANSWER, ANSWER, ANSWER]);
    }

    #[test]
    fn other_requests_have_other_answers() {
        assert_eq!(
            answers(&[b"GET /no HTTP/1.1\r\nhost: x\r\n\r\n"]),
            [NOT_FOUND]
        );
        assert_eq!(answers(&[b"GET / HTTP/1.1\r\n\r\n"]), [BAD]);
        assert_eq!(answers(&[b"\r\n\r\n"]), [BAD]);
    }

    #[test]
    fn an_endless_head_is_an_error() {
        let mut rest = Vec::new();
        let endless = [b'a'; LONGEST + 1];
        assert!(answer(&mut rest, &endless, |_| Ok(())).is_err());
    }

    #[test]
    fn the_answer_says_how_long_its_body_is() {
        let end = end_of_head(ANSWER).expect("it has a head");
        let head = std::str::from_utf8(&ANSWER[..end]).expect("it is text");
        let length = format!("Content-Length: {}\r\n", ANSWER.len() - end);
        assert!(head.contains(&length), "{head}");
    }
}
