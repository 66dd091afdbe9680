//! URLs taken apart and put together.

use super::{Entry, Outcome, made, nil_dereference, string, takes, text};
use crate::fault::Fault;
use crate::format::quote;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::Value;

pub(super) const ROWS: &[Entry] = &[
    takes("urlParse", &[Type::String], url_parse),
    takes("urlJoin", &[Type::Map], url_join),
];

/// The parts of a URL, without their escapes.
#[derive(Debug, Default)]
struct Url {
    scheme: String,
    opaque: String,
    /// As it is written again: escaped.
    userinfo: Option<String>,
    host: Vec<u8>,
    path: Vec<u8>,
    /// Still escaped.
    query: String,
    force_query: bool,
    fragment: Vec<u8>,
}

impl Url {
    /// Takes a URL apart as Go does; the error is Go's message without the URL.
    fn parse(text: &str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Url::default();
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        url.fragment = unescape(fragment, Part::Fragment)?;
        let (scheme, mut rest) = split_scheme(rest)?;
        url.scheme = scheme.to_ascii_lowercase();
        if let Some(before) = rest.strip_suffix('?').filter(|before| !before.contains('?')) {
            url.force_query = true;
            rest = before;
        } else if let Some((before, query)) = rest.split_once('?') {
            url.query = query.to_owned();
            rest = before;
        }
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_owned();
                return Ok(url);
            }
            if rest
                .split('/')
                .next()
                .is_some_and(|segment| segment.contains(':'))
            {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        if (!url.scheme.is_empty() || !rest.starts_with("///")) && rest.starts_with("//") {
            let authority = &rest[2..];
            let end = authority.find('/').unwrap_or(authority.len());
            url.authority(&authority[..end])?;
            rest = &authority[end..];
        }
        url.path = unescape(rest, Part::Path)?;
        Ok(url)
    }

    fn authority(&mut self, authority: &str) -> Result<(), String> {
        let host = match authority.rsplit_once('@') {
            None => authority,
            Some((userinfo, host)) => {
                let valid = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
                if !userinfo.chars().all(valid) {
                    return Err("net/url: invalid userinfo".to_owned());
                }
                let (user, password) = match userinfo.split_once(':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (userinfo, None),
                };
                let mut written = escape(&unescape(user, Part::User)?, Part::User);
                if let Some(password) = password {
                    written.push(':');
                    written.push_str(&escape(&unescape(password, Part::User)?, Part::User));
                }
                self.userinfo = Some(written);
                host
            }
        };
        let port = match host.strip_prefix('[') {
            Some(_) => {
                let Some(end) = host.rfind(']') else {
                    return Err("missing ']' in host".to_owned());
                };
                &host[end + 1..]
            }
            None => host.rfind(':').map_or("", |at| &host[at..]),
        };
        let digits = port.strip_prefix(':').unwrap_or(port);
        if !port.is_empty() && (!port.starts_with(':') || !digits.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(format!("invalid port {} after host", quote(port.as_bytes())));
        }
        self.host = unescape(host, Part::Host)?;
        Ok(())
    }

    fn hostname(&self) -> &[u8] {
        let host = &self.host[..];
        let bare = match host.iter().rposition(|byte| *byte == b':') {
            Some(at) if host[at + 1..].iter().all(u8::is_ascii_digit) => &host[..at],
            _ => host,
        };
        bare.strip_prefix(b"[")
            .and_then(|inner| inner.strip_suffix(b"]"))
            .unwrap_or(bare)
    }

    fn write(&self) -> String {
        let mut out = String::new();
        if !self.scheme.is_empty() {
            out.push_str(&self.scheme);
            out.push(':');
        }
        if self.opaque.is_empty() {
            let authority = !self.scheme.is_empty() || !self.host.is_empty() || self.userinfo.is_some();
            if authority {
                if !self.host.is_empty() || !self.path.is_empty() || self.userinfo.is_some() {
                    out.push_str("//");
                }
                if let Some(userinfo) = &self.userinfo {
                    out.push_str(userinfo);
                    out.push('@');
                }
                out.push_str(&escape(&self.host, Part::Host));
            }
            let path = escape(&self.path, Part::Path);
            if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
                out.push('/');
            }
            if out.is_empty()
                && path
                    .split('/')
                    .next()
                    .is_some_and(|segment| segment.contains(':'))
            {
                out.push_str("./");
            }
            out.push_str(&path);
        } else {
            out.push_str(&self.opaque);
        }
        if self.force_query || !self.query.is_empty() {
            out.push('?');
            out.push_str(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push('#');
            out.push_str(&escape(&self.fragment, Part::Fragment));
        }
        out
    }
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (i, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            ':' if i == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&text[..i], &text[i + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

/// A part of a URL, each with characters of its own that need no escape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    User,
    Host,
    Path,
    Fragment,
}

fn stays(byte: u8, part: Part) -> bool {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => true,
        b'$' | b'&' | b'+' | b',' | b';' | b'=' => true,
        b'/' | b':' | b'@' => {
            matches!(part, Part::Path | Part::Fragment) || part == Part::Host && byte == b':'
        }
        b'?' => part == Part::Fragment,
        b'!' | b'(' | b')' | b'*' => matches!(part, Part::Fragment | Part::Host),
        b'[' | b']' | b'<' | b'>' | b'"' | b'\'' => part == Part::Host,
        _ => false,
    }
}

fn escape(bytes: &[u8], part: Part) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if stays(*byte, part) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unescape(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'%' {
            let code = text
                .get(at + 1..at + 3)
                .and_then(|digits| u8::from_str_radix(digits, 16).ok());
            let Some(code) = code.filter(|_| text.is_char_boundary(at + 1) && bytes[at + 1] != b'+') else {
                let end = (at + 3).min(bytes.len());
                return Err(format!("invalid URL escape {}", quote(&bytes[at..end])));
            };
            if part == Part::Host && code < 0x80 && &bytes[at..at + 3] != b"%25" {
                return Err(format!("invalid URL escape {}", quote(&bytes[at..at + 3])));
            }
            out.push(code);
            at += 3;
            continue;
        }
        if part == Part::Host && byte < 0x80 && !stays(byte, part) {
            return Err(format!(
                "invalid character {} in host name",
                quote(&bytes[at..=at])
            ));
        }
        out.push(byte);
        at += 1;
    }
    Ok(out)
}

fn url_parse(_: &mut Scope, args: &[Value]) -> Outcome {
    let given = string(&args[0]);
    let url = Url::parse(&given).map_err(|err| {
        Fault::new(format!(
            "unable to parse url: parse {}: {err}",
            quote(given.as_bytes())
        ))
    })?;
    let hostname = url.hostname().to_vec();
    Ok(Value::map([
        ("fragment".into(), Value::from(url.fragment)),
        ("hostname".into(), Value::from(hostname)),
        ("host".into(), Value::from(url.host)),
        ("opaque".into(), Value::from(url.opaque)),
        ("path".into(), Value::from(url.path)),
        ("query".into(), Value::from(url.query)),
        ("scheme".into(), Value::from(url.scheme)),
        ("userinfo".into(), Value::from(url.userinfo.unwrap_or_default())),
    ]))
}

fn url_join(scope: &mut Scope, args: &[Value]) -> Outcome {
    let part = |name: &str| match args[0].as_map().and_then(|map| map.get(name)) {
        None => Ok(Vec::new()),
        Some(Value::Nil | Value::Invalid) => Err(nil_dereference()),
        Some(value @ Value::String(_)) => Ok(text(&value).to_vec()),
        Some(value) => Err(Fault::new(format!(
            "unable to parse {name} key, must be of type string, but {} found",
            value.type_name().unwrap_or_default()
        ))),
    };
    let string_part = |name: &str| part(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let mut url = Url {
        scheme: string_part("scheme")?,
        host: part("host")?,
        path: part("path")?,
        query: string_part("query")?,
        opaque: string_part("opaque")?,
        fragment: part("fragment")?,
        ..Url::default()
    };
    let userinfo = string_part("userinfo")?;
    if !userinfo.is_empty() {
        let probe = format!("proto://{userinfo}@host");
        let parsed = Url::parse(&probe).map_err(|err| {
            Fault::new(format!(
                "unable to parse userinfo in dict: parse {}: {err}",
                quote(probe.as_bytes())
            ))
        })?;
        url.userinfo = parsed.userinfo;
    }
    made(scope, url.write().into_bytes())
}
