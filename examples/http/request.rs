//! What the server understands of HTTP: the head of a request, and what to answer.
//! `httparse` finds the lines, and this file decides what they mean. It has nothing to do with
//! sockets.

const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// A whole body is kept in memory, so a connection can cost this much.
const MAX_BODY: usize = 1 << 20;

/// A status may end with header lines of its own, since the other lines follow it.
const ONLY_READ: &str = "405 Method Not Allowed\r\nAllow: GET, HEAD";
const ONLY_POST: &str = "405 Method Not Allowed\r\nAllow: POST";

pub(crate) const HELLO: &[u8] = b"Hello from minimio!\n";

#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Hello,
    Big,
    Echo,
    /// The status itself, as text.
    Status,
}

pub(crate) struct Request {
    pub(crate) status: &'static str,
    pub(crate) answer: Answer,
    pub(crate) head_only: bool,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    /// The length of its body.
    pub(crate) body: usize,
}

impl Request {
    /// The answer to a request that ends the connection, since it is not known where the next
    /// request begins.
    pub(crate) fn refused(status: &'static str) -> Request {
        Request {
            status,
            answer: Answer::Status,
            head_only: false,
            keep_alive: false,
            expects_continue: false,
            body: 0,
        }
    }
}

/// Parses the head at the beginning of `bytes`, and returns its length and what it asks for, or
/// `None` until it is complete. It starts from the beginning each time. If a head comes byte by
/// byte, `MAX_HEAD` bounds what that costs.
///
/// # Errors
/// The status with which to refuse the request.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Request)>, &'static str> {
    const BAD: &str = "400 Bad Request";
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Err("431 Request Header Fields Too Large");
        }
        Err(_) => return Err(BAD),
    };

    let is_1_1 = head.version == Some(1);
    let (mut hosts, mut close, mut keep_alive) = (0, false, is_1_1);
    let (mut body, mut expects_continue) = (None, false);
    for header in head.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        match header.name.to_ascii_lowercase().as_str() {
            "host" if value.bytes().all(may_be_in_a_host) => hosts += 1,
            "host" => return Err(BAD),
            "connection" => {
                for option in value.split(',').map(str::trim) {
                    close |= option.eq_ignore_ascii_case("close");
                    keep_alive |= option.eq_ignore_ascii_case("keep-alive");
                }
            }
            "content-length" => {
                // `parse` would accept a sign. Two lengths that differ are a way to smuggle a
                // request past a proxy.
                let is_number = !value.is_empty() && value.bytes().all(|c| c.is_ascii_digit());
                let length = value.parse().unwrap_or(usize::MAX);
                if !is_number || body.is_some_and(|other| other != length) {
                    return Err(BAD);
                }
                body = Some(length);
            }
            "transfer-encoding" => return Err("501 Not Implemented"),
            "expect" => expects_continue = is_1_1 && value.eq_ignore_ascii_case("100-continue"),
            _ => {}
        }
    }
    let body = body.unwrap_or(0);
    // With two hosts a request could reach what another server protects.
    if hosts > 1 || (is_1_1 && hosts == 0) {
        return Err(BAD);
    }
    if body > MAX_BODY {
        return Err("413 Content Too Large");
    }

    let (method, target) = (
        head.method.unwrap_or_default(),
        head.path.unwrap_or_default(),
    );
    let path = path_of(target).ok_or(BAD)?;
    let (status, answer) = match (method, path) {
        ("GET" | "HEAD", "/") => ("200 OK", Answer::Hello),
        ("GET" | "HEAD", "/big") => ("200 OK", Answer::Big),
        ("POST", "/echo") => ("200 OK", Answer::Echo),
        (_, "/" | "/big") => (ONLY_READ, Answer::Status),
        (_, "/echo") => (ONLY_POST, Answer::Status),
        _ => ("404 Not Found", Answer::Status),
    };
    let (head_only, keep_alive) = (method == "HEAD", keep_alive && !close);
    let request = Request {
        status,
        answer,
        head_only,
        keep_alive,
        expects_continue,
        body,
    };
    Ok(Some((length, request)))
}

/// The path of the target of a request. If the target is a whole URL, its host is ignored, since
/// this server has only one host. Returns `None` if such a URL has no host.
fn path_of(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://").unwrap_or_default();
    let is_url = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let path = if is_url {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if host.is_empty() {
            return None;
        }
        path
    } else {
        target
    };
    match path.split('?').next() {
        Some("") => Some("/"),
        path => path,
    }
}

/// What RFC 3986 allows in a host and its port.
fn may_be_in_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(&byte)
}
