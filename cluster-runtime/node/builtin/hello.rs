//! The only program of the built-in image `tug/hello:1.0`.
//!
//! Called `hello` it serves HTTP: who it is, its greeting, and the path asked. Called by another name, or with
//! another name as first argument, it is one of a few small tools (`get`, `cat`, `sh`, ...), so that a container of
//! this image can be looked into and can ask other services. It uses the standard library and nothing else, and is
//! compiled on its own by the build script.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, exit};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const TOOLS: &[&str] = &[
    "serve", "get", "resolve", "env", "cat", "echo", "ls", "sleep", "sh", "touch", "rm", "mkdir", "true",
    "false", "pwd", "hostname", "id", "pause", "help",
];
const HEAD_BYTES_MAX: u64 = 64 * 1024;
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
const STACK_BYTES: usize = 128 * 1024;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
/// Ignores a signal, as the C library writes it. Children whose end is ignored leave nothing behind.
const IGNORED: usize = 1;

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn pause() -> i32;
    fn _exit(code: i32) -> !;
}

/// What the process ends with when it is asked to stop.
static STOP_CODE: AtomicI32 = AtomicI32::new(0);

/// A process that is the first of its PID namespace gets no default action for signals, so it brings its own.
extern "C" fn stop(_number: i32) {
    // SAFETY: `_exit` may be called in a signal handler, and so may the load of an atomic.
    unsafe { _exit(STOP_CODE.load(Ordering::Relaxed)) }
}

fn main() {
    // SAFETY: the handler only calls functions that are safe in signal handlers.
    unsafe {
        signal(SIGTERM, stop as extern "C" fn(i32) as usize);
        signal(SIGINT, stop as extern "C" fn(i32) as usize);
    }
    let mut arguments: Vec<String> = env::args_os()
        .map(|one| one.to_string_lossy().into_owned())
        .collect();
    let called = arguments
        .first()
        .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned());
    let mut tool = called
        .filter(|name| TOOLS.contains(&name.as_str()))
        .unwrap_or_default();
    if tool.is_empty() {
        tool = match arguments.get(1) {
            Some(name) if TOOLS.contains(&name.as_str()) => arguments.remove(1),
            Some(other) => {
                eprintln!("hello: no tool `{other}`; there are: {}", TOOLS.join(" "));
                exit(127);
            }
            None => "serve".to_owned(),
        };
    }
    if tool != "serve" {
        STOP_CODE.store(128 + SIGTERM, Ordering::Relaxed);
    }
    let code = run_tool(&tool, arguments.get(1..).unwrap_or_default(), &mut io::stdout());
    exit(code);
}

/// Runs one tool; gives its exit code.
fn run_tool(tool: &str, arguments: &[String], out: &mut dyn Write) -> i32 {
    let done = match tool {
        "serve" => serve(),
        "get" => get(arguments, out),
        "resolve" => resolve(arguments, out),
        "env" => print_environment(out),
        "cat" => cat(arguments, out),
        "echo" => writeln!(out, "{}", arguments.join(" ")).map(|()| 0),
        "ls" => ls(arguments, out),
        "sleep" => sleep(arguments),
        "pause" => wait_for_ever(),
        "sh" => shell(arguments),
        "touch" => touch(arguments),
        "rm" => remove(arguments),
        "mkdir" => arguments.iter().try_for_each(fs::create_dir_all).map(|()| 0),
        "true" => Ok(0),
        "false" => Ok(1),
        "pwd" => env::current_dir()
            .and_then(|dir| writeln!(out, "{}", dir.display()))
            .map(|()| 0),
        "hostname" => fs::read_to_string("/proc/sys/kernel/hostname")
            .and_then(|name| write!(out, "{name}"))
            .map(|()| 0),
        "id" => id(out),
        _ => writeln!(out, "tools: {}", TOOLS.join(" ")).map(|()| 0),
    };
    let done = done.and_then(|code| out.flush().map(|()| code));
    done.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("{tool}: {error}");
        }
        1
    })
}

// ---- the server ----

fn serve() -> io::Result<i32> {
    let port = env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(80u16);
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))?;
    println!("{} listens on port {port}", pod_name());
    for connection in listener.incoming() {
        let Ok(connection) = connection else { continue };
        let answering = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            let _ = answer(&connection);
        });
        if let Err(error) = answering {
            println!("no thread for a connection: {error}");
        }
    }
    Ok(0)
}

fn pod_name() -> String {
    env::var("POD_NAME")
        .or_else(|_| env::var("HOSTNAME"))
        .unwrap_or_else(|_| "hello".to_owned())
}

fn greeting() -> String {
    let from_file = env::var("GREETING_FILE")
        .ok()
        .and_then(|path| fs::read_to_string(path).ok());
    let text = from_file.or_else(|| env::var("GREETING").ok());
    text.map(|text| text.trim_end().to_owned())
        .unwrap_or_else(|| "Hello from tug".to_owned())
}

/// Answers the requests of one connection until either side has enough.
fn answer(connection: &TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(75)))?;
    let mut input = BufReader::new(connection);
    loop {
        let mut head = Vec::new();
        loop {
            let before = head.len();
            let read = (&mut input).take(HEAD_BYTES_MAX).read_until(b'\n', &mut head)?;
            if read == 0 || head.len() as u64 >= HEAD_BYTES_MAX {
                return Ok(());
            }
            if matches!(&head[before..], b"\r\n" | b"\n") {
                break;
            }
        }
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.lines();
        let mut request = lines.next().unwrap_or_default().split_whitespace();
        let (method, path) = (request.next().unwrap_or_default(), request.next().unwrap_or("/"));
        let version = request.next().unwrap_or("HTTP/1.0");
        let headers: BTreeMap<String, &str> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
            .collect();
        let wanted = headers
            .get("connection")
            .map(|value| value.to_ascii_lowercase())
            .unwrap_or_default();
        let stays = if version == "HTTP/1.1" {
            wanted != "close"
        } else {
            wanted == "keep-alive"
        };
        let body: u64 = headers
            .get("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        if body > BODY_BYTES_MAX || headers.contains_key("transfer-encoding") {
            write_answer(connection, method, 413, "the request is too long\n", false)?;
            println!("{method} {path} 413");
            return Ok(());
        }
        io::copy(&mut (&mut input).take(body), &mut io::sink())?;
        let (code, text) = page(method, path);
        println!("{method} {path} {code}");
        write_answer(connection, method, code, &text, stays)?;
        if !stays {
            return Ok(());
        }
    }
}

fn page(method: &str, path: &str) -> (u16, String) {
    let plain = path.split('?').next().unwrap_or(path);
    match (method, plain) {
        ("GET" | "HEAD", "/healthz" | "/readyz" | "/livez") => (200, "ok\n".to_owned()),
        ("GET" | "HEAD" | "POST" | "PUT", _) => {
            let seen = format!("{}\npod: {}\npath: {path}\n", greeting(), pod_name());
            match plain.strip_prefix("/status/").and_then(|code| code.parse().ok()) {
                Some(code @ 200..=599) => (code, seen),
                _ => (200, seen),
            }
        }
        _ => (405, "only GET, HEAD, POST and PUT are answered\n".to_owned()),
    }
}

fn write_answer(mut to: &TcpStream, method: &str, code: u16, text: &str, stays: bool) -> io::Result<()> {
    let reason = match code {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    };
    let connection = if stays { "keep-alive" } else { "close" };
    let body = if method == "HEAD" { "" } else { text };
    let answer = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: {connection}\r\n\r\n{body}",
        text.len()
    );
    to.write_all(answer.as_bytes())
}

// ---- asking others ----

/// `get [-v] URL`: prints the body; the exit code is 0 for an answer below 400, 22 above, 7 without an answer.
fn get(arguments: &[String], out: &mut dyn Write) -> io::Result<i32> {
    let verbose = arguments.iter().any(|one| one == "-v");
    let Some(url) = arguments.iter().find(|one| !one.starts_with('-')) else {
        eprintln!("get: which URL?");
        return Ok(2);
    };
    let Some(rest) = url.strip_prefix("http://") else {
        eprintln!("get: only http:// is spoken");
        return Ok(2);
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => (&rest[..at], &rest[at..]),
        None => (rest, "/"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(80)),
        _ => (authority, 80u16),
    };
    let answered = addresses_of(host.trim_matches(['[', ']'])).and_then(|addresses| {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("no address for {host}"));
        for address in addresses {
            match TcpStream::connect_timeout(&SocketAddr::new(address, port), Duration::from_secs(10)) {
                Ok(connection) => return exchange(connection, authority, path),
                Err(error) => last = error,
            }
        }
        Err(last)
    });
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("get: {url}: {error}");
            return Ok(7);
        }
    };
    let split = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    if verbose {
        eprintln!("{head}\n");
    }
    let body = answer.get(split + 4..).unwrap_or_default();
    out.write_all(body)?;
    let code: u16 = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    if (100..400).contains(&code) {
        return Ok(0);
    }
    eprintln!("get: {url}: {}", head.lines().next().unwrap_or("no answer"));
    Ok(22)
}

fn exchange(mut connection: TcpStream, authority: &str, path: &str) -> io::Result<Vec<u8>> {
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: tug-hello\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(answer)
}

fn resolve(arguments: &[String], out: &mut dyn Write) -> io::Result<i32> {
    let mut code = 0;
    for name in arguments {
        match addresses_of(name) {
            Ok(addresses) => {
                for address in addresses {
                    writeln!(out, "{address}")?;
                }
            }
            Err(error) => {
                eprintln!("resolve: {name}: {error}");
                code = 1;
            }
        }
    }
    Ok(code)
}

/// The IPv4 addresses of a name: a literal, from `/etc/hosts`, or asked of the name servers of `/etc/resolv.conf`
/// with its search list. A statically linked program cannot load the C library's own resolver plug-ins.
fn addresses_of(name: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let listed: Vec<IpAddr> = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
        .filter_map(|mut words| Some((words.next()?.parse().ok()?, words)))
        .filter_map(|(address, mut names)| names.any(|one| one.eq_ignore_ascii_case(name)).then_some(address))
        .collect();
    if !listed.is_empty() {
        return Ok(listed);
    }
    if name == "localhost" {
        return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
    let (mut servers, mut search, mut dots) = (Vec::new(), Vec::new(), 1);
    for line in fs::read_to_string("/etc/resolv.conf").unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.filter_map(|word| word.parse::<IpAddr>().ok())),
            Some("search") => search = words.map(str::to_owned).collect(),
            Some("options") => {
                let asked = words
                    .filter_map(|word| word.strip_prefix("ndots:")?.parse().ok())
                    .next_back();
                dots = asked.unwrap_or(dots);
            }
            _ => {}
        }
    }
    let absolute = name.trim_end_matches('.').to_owned();
    let searched = search.iter().map(|domain| format!("{absolute}.{domain}"));
    let mut candidates: Vec<String> = Vec::new();
    if name.ends_with('.') {
        candidates.push(absolute);
    } else if name.matches('.').count() >= dots {
        candidates.push(absolute.clone());
        candidates.extend(searched);
    } else {
        candidates.extend(searched);
        candidates.push(absolute);
    }
    for candidate in &candidates {
        for server in &servers {
            if let Some(found) = ask(*server, candidate)? {
                if !found.is_empty() {
                    return Ok(found);
                }
                break;
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "no such host"))
}

/// Asks one name server for the A records of a name; `None` when it does not answer.
fn ask(server: IpAddr, name: &str) -> io::Result<Option<Vec<IpAddr>>> {
    let id = (std::process::id() as u16).wrapping_mul(31) ^ (name.len() as u16);
    let mut query = Vec::from(id.to_be_bytes());
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Ok(Some(Vec::new()));
        }
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let any: IpAddr = if server.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        [0u16; 8].into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((server, 53))?;
    for _ in 0..2 {
        socket.send(&query)?;
        let until = Instant::now() + Duration::from_secs(2);
        let mut answer = [0; 1500];
        while let Some(left) = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            socket.set_read_timeout(Some(left))?;
            let Ok(length) = socket.recv(&mut answer) else {
                break;
            };
            if length >= 12 && answer[..2] == query[..2] {
                return Ok(Some(addresses_in(&answer[..length]).unwrap_or_default()));
            }
        }
    }
    Ok(None)
}

fn addresses_in(answer: &[u8]) -> Option<Vec<IpAddr>> {
    let count = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    let mut at = skip_name(answer, 12)? + 4;
    let mut found = Vec::new();
    for _ in 0..count {
        at = skip_name(answer, at)?;
        let kind = u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]);
        let length = usize::from(u16::from_be_bytes([*answer.get(at + 8)?, *answer.get(at + 9)?]));
        let data = answer.get(at + 10..at + 10 + length)?;
        if let (1, &[a, b, c, d]) = (kind, data) {
            found.push(IpAddr::from([a, b, c, d]));
        }
        at += 10 + length;
    }
    Some(found)
}

fn skip_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

// ---- small tools ----

fn print_environment(out: &mut dyn Write) -> io::Result<i32> {
    for (name, value) in env::vars_os() {
        writeln!(out, "{}={}", name.to_string_lossy(), value.to_string_lossy())?;
    }
    Ok(0)
}

fn cat(arguments: &[String], out: &mut dyn Write) -> io::Result<i32> {
    if arguments.is_empty() {
        let mut piece = [0; 8192];
        loop {
            let length = io::stdin().read(&mut piece)?;
            if length == 0 {
                return Ok(0);
            }
            out.write_all(&piece[..length])?;
            out.flush()?;
        }
    }
    let mut code = 0;
    for path in arguments {
        match File::open(path) {
            Ok(mut file) => {
                io::copy(&mut file, out)?;
            }
            Err(error) => {
                eprintln!("cat: {path}: {error}");
                code = 1;
            }
        }
    }
    Ok(code)
}

fn ls(arguments: &[String], out: &mut dyn Write) -> io::Result<i32> {
    let long = arguments
        .iter()
        .any(|one| one.starts_with('-') && one.contains('l'));
    let all = arguments
        .iter()
        .any(|one| one.starts_with('-') && one.contains('a'));
    let mut paths: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|one| !one.starts_with('-'))
        .collect();
    if paths.is_empty() {
        paths.push(".");
    }
    for path in paths {
        let mut names: Vec<String> = if fs::metadata(path)?.is_dir() {
            let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
            entries
                .iter()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        } else {
            vec![path.to_owned()]
        };
        names.retain(|name| all || !name.starts_with('.'));
        names.sort();
        for name in names {
            if !long {
                writeln!(out, "{name}")?;
                continue;
            }
            use std::os::unix::fs::MetadataExt;
            let full = if name == path {
                name.clone()
            } else {
                format!("{path}/{name}")
            };
            let seen = fs::symlink_metadata(&full)?;
            let link = fs::read_link(&full)
                .map(|to| format!(" -> {}", to.display()))
                .unwrap_or_default();
            writeln!(
                out,
                "{:06o} {:>5} {:>5} {:>9} {name}{link}",
                seen.mode(),
                seen.uid(),
                seen.gid(),
                seen.size()
            )?;
        }
    }
    Ok(0)
}

/// The first process of a namespace of processes: what others leave behind it lets go.
fn wait_for_ever() -> ! {
    // SAFETY: neither touches memory.
    unsafe {
        signal(SIGCHLD, IGNORED);
        loop {
            pause();
        }
    }
}

fn sleep(arguments: &[String]) -> io::Result<i32> {
    let Some(text) = arguments.first() else {
        eprintln!("sleep: how many seconds?");
        return Ok(2);
    };
    if text == "infinity" {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, text.as_bytes()[number.len()]),
        None => (text.as_str(), b's'),
    };
    let factor = match unit {
        b'm' => 60.0,
        b'h' => 3600.0,
        _ => 1.0,
    };
    match number
        .parse::<f64>()
        .ok()
        .map(|number| Duration::try_from_secs_f64(number * factor))
    {
        Some(Ok(time)) => {
            thread::sleep(time);
            Ok(0)
        }
        _ => {
            eprintln!("sleep: invalid time interval `{text}`");
            Ok(2)
        }
    }
}

fn touch(arguments: &[String]) -> io::Result<i32> {
    for path in arguments {
        OpenOptions::new().create(true).append(true).open(path)?;
    }
    Ok(0)
}

fn remove(arguments: &[String]) -> io::Result<i32> {
    let deep = arguments
        .iter()
        .any(|one| one.starts_with('-') && one.contains('r'));
    let forced = arguments
        .iter()
        .any(|one| one.starts_with('-') && one.contains('f'));
    for path in arguments.iter().filter(|one| !one.starts_with('-')) {
        let done = match fs::symlink_metadata(path) {
            Ok(seen) if seen.is_dir() && deep => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match done {
            Err(error) if !(forced && error.kind() == io::ErrorKind::NotFound) => {
                return Err(io::Error::new(error.kind(), format!("{path}: {error}")));
            }
            _ => {}
        }
    }
    Ok(0)
}

fn id(out: &mut dyn Write) -> io::Result<i32> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = |name: &str| field(name).first().cloned().unwrap_or_default();
    writeln!(
        out,
        "uid={} gid={} groups={}",
        first("Uid:"),
        first("Gid:"),
        field("Groups:").join(",")
    )?;
    Ok(0)
}

// ---- a shell that knows just enough ----

fn shell(arguments: &[String]) -> io::Result<i32> {
    if arguments
        .first()
        .is_some_and(|one| one.starts_with('-') && one.ends_with('c'))
    {
        let script = arguments.get(1).map(String::as_str).unwrap_or_default();
        let mut last = 0;
        for line in script.lines() {
            last = run_line(line, last);
        }
        return Ok(last);
    }
    let input = io::stdin();
    let prompted = input.is_terminal();
    let mut last = 0;
    loop {
        if prompted {
            print!("$ ");
            io::stdout().flush()?;
        }
        let mut line = String::new();
        if input.lock().read_line(&mut line)? == 0 {
            return Ok(last);
        }
        last = run_line(line.trim_end_matches(['\n', '\r']), last);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Joint {
    Always,
    IfGood,
    IfBad,
}

/// Runs the commands of a line, joined by `;`, `&&` and `||`; gives the code of the last one that ran.
fn run_line(line: &str, before: i32) -> i32 {
    let mut last = before;
    for (joint, words) in commands_of(line, before) {
        let runs = match joint {
            Joint::Always => true,
            Joint::IfGood => last == 0,
            Joint::IfBad => last != 0,
        };
        if runs && !words.is_empty() {
            last = run_command(words, last);
        }
    }
    last
}

/// Splits a line into commands of words: quotes, `$NAME`, `${NAME}` and `$?` are known, and a comment at its end.
fn commands_of(line: &str, before: i32) -> Vec<(Joint, Vec<String>)> {
    let mut commands = vec![(Joint::Always, Vec::new())];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars().peekable();
    fn end(word: &mut Option<String>, commands: &mut [(Joint, Vec<String>)]) {
        if let (Some(word), Some((_, words))) = (word.take(), commands.last_mut()) {
            words.push(word);
        }
    }
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (None | Some('"'), '$') => {
                let text = variable(&mut letters, before);
                word.get_or_insert_default().push_str(&text);
            }
            (None, ' ' | '\t') => end(&mut word, &mut commands),
            (None, '#') if word.is_none() => break,
            (None, ';') => {
                end(&mut word, &mut commands);
                commands.push((Joint::Always, Vec::new()));
            }
            (None, '&' | '|') if letters.peek() == Some(&letter) => {
                letters.next();
                end(&mut word, &mut commands);
                let joint = if letter == '&' {
                    Joint::IfGood
                } else {
                    Joint::IfBad
                };
                commands.push((joint, Vec::new()));
            }
            (None, '>') => {
                // `2>` and `1>` name a stream, which is not told apart here: both go to the file.
                if matches!(word.as_deref(), Some("1" | "2")) {
                    word = None;
                }
                end(&mut word, &mut commands);
                let twice = letters.peek() == Some(&'>');
                if twice {
                    letters.next();
                }
                if let Some((_, words)) = commands.last_mut() {
                    words.push(if twice { "\u{1}>>" } else { "\u{1}>" }.to_owned());
                }
            }
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    end(&mut word, &mut commands);
    commands
}

fn variable(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, before: i32) -> String {
    let mut name = String::new();
    match letters.peek() {
        Some('?') => {
            letters.next();
            return before.to_string();
        }
        Some('$') => {
            letters.next();
            return std::process::id().to_string();
        }
        Some('{') => {
            letters.next();
            name.extend(letters.by_ref().take_while(|letter| *letter != '}'));
        }
        _ => {
            while let Some(letter) =
                letters.next_if(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
            {
                name.push(letter);
            }
        }
    }
    if name.is_empty() {
        "$".to_owned()
    } else {
        env::var(name).unwrap_or_default()
    }
}

fn run_command(mut words: Vec<String>, before: i32) -> i32 {
    let mut target = None;
    while let Some(at) = words.iter().position(|word| word.starts_with('\u{1}')) {
        let appends = words.remove(at).ends_with(">>");
        let path = if at < words.len() {
            words.remove(at)
        } else {
            String::new()
        };
        match OpenOptions::new()
            .create(true)
            .write(true)
            .append(appends)
            .truncate(!appends)
            .open(&path)
        {
            Ok(file) => target = Some(file),
            Err(error) => {
                eprintln!("sh: {path}: {error}");
                return 1;
            }
        }
    }
    if words.is_empty() {
        return 0;
    }
    let name = words.remove(0);
    match name.as_str() {
        "exit" => exit(words.first().and_then(|code| code.parse().ok()).unwrap_or(before)),
        "cd" => {
            let to = words.first().map_or("/", String::as_str);
            return env::set_current_dir(to).map(|()| 0).unwrap_or_else(|error| {
                eprintln!("cd: {to}: {error}");
                1
            });
        }
        "exec" if !words.is_empty() => return run_command(words, before),
        _ => {}
    }
    if TOOLS.contains(&name.as_str()) {
        return match &mut target {
            Some(file) => run_tool(&name, &words, file),
            None => run_tool(&name, &words, &mut io::stdout()),
        };
    }
    let mut command = Command::new(&name);
    command.args(&words);
    if let Some(file) = target {
        command.stdout(file);
    }
    match command.status() {
        Ok(status) => status.code().unwrap_or(128),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("sh: {name}: not found");
            127
        }
        Err(error) => {
            eprintln!("sh: {name}: {error}");
            126
        }
    }
}
