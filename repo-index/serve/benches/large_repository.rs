//! A repository of 10,000 versions: how long it takes to start, to take one more, and how often its index is sent.
//!
//! `cargo bench -p repo-serve`; the number of versions can be given: `cargo bench -p repo-serve -- 1000`.

#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use chart_model::{Chart, File, package};
use repo_serve::{RepoServer, ServeOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Versions that each chart has.
const VERSIONS: usize = 50;
/// Uploads that are timed.
const UPLOADS: usize = 50;
/// Connections that ask for the index at the same time.
const CONNECTIONS: usize = 8;
/// How long they ask.
const SECONDS: u64 = 5;

fn main() {
    let count = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
    let count: usize = count.unwrap_or(10_000);
    let folder = tempfile::tempdir().unwrap();
    for number in 0..count {
        let (name, archive) = chart(number / VERSIONS, number % VERSIONS);
        fs::write(folder.path().join(name), archive).unwrap();
    }
    println!("{count} versions of {} charts", count.div_ceil(VERSIONS));
    let begun = Instant::now();
    drop(open(folder.path()));
    println!("start without a cache      {:>9.1} ms", ms(begun.elapsed()));
    let begun = Instant::now();
    let server = open(folder.path());
    println!("start with a cache         {:>9.1} ms", ms(begun.elapsed()));

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let task = runtime.spawn(server.serve(listener, shutdown.clone()));

    let mut client = Client::connect(address);
    let begun = Instant::now();
    let first = client.ask("GET", "/index.yaml", "Accept-Encoding: gzip\r\n", b"");
    println!(
        "first index                {:>9.1} ms, {} bytes compressed",
        ms(begun.elapsed()),
        first.length
    );
    let (mut uploads, mut indexes) = (Vec::new(), Vec::new());
    for number in 0..UPLOADS {
        let (_, archive) = chart(number, VERSIONS);
        let begun = Instant::now();
        let answer = client.ask("POST", "/api/charts", "", &archive);
        uploads.push(begun.elapsed());
        assert_eq!(answer.status, 201);
        let begun = Instant::now();
        let answer = client.ask("GET", "/index.yaml", "Accept-Encoding: gzip\r\n", b"");
        indexes.push(begun.elapsed());
        assert_eq!(answer.status, 200);
    }
    println!("upload of one more         {}", spread(uploads));
    println!("index after an upload      {}", spread(indexes));

    let plain = client.ask("GET", "/index.yaml", "", b"");
    for (what, header) in [
        (
            "known (304)",
            format!(
                "Accept-Encoding: gzip\r\nIf-None-Match: {}\r\n",
                client.etag("gzip")
            ),
        ),
        ("gzip", "Accept-Encoding: gzip\r\n".to_owned()),
        ("plain", String::new()),
    ] {
        let (requests, bytes) = load(address, "/index.yaml", &header);
        let (rate, megabytes) = (
            requests as f64 / SECONDS as f64,
            bytes as f64 / 1e6 / SECONDS as f64,
        );
        println!("index, {what:<12}        {rate:>9.0} requests/s, {megabytes:.0} MB/s");
    }
    // What the kernel's copying allows: the same bytes from a server that does nothing else.
    let bare = bare_server(plain.length);
    let (requests, bytes) = load(bare, "/", "");
    println!(
        "the same bytes by a bare loop {:>6.0} requests/s, {:.0} MB/s",
        requests as f64 / SECONDS as f64,
        bytes as f64 / 1e6 / SECONDS as f64
    );
    println!("the index has {} bytes", plain.length);
    drop(client);
    shutdown.cancel();
    runtime.block_on(task).unwrap().unwrap();
}

/// Answers every request with as many bytes, on a thread for each connection, as long as the process lives.
fn bare_server(length: usize) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let answer: std::sync::Arc<[u8]> = [head.as_bytes(), &vec![b'x'; length]].concat().into();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, mut stream) = (answer.clone(), stream.unwrap());
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                // A request comes in one piece here; the client ends when it has enough.
                while stream.read(&mut request).is_ok_and(|count| count > 0) {
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn open(folder: &Path) -> RepoServer {
    let mut options = ServeOptions::new(folder);
    options.access_log = false;
    RepoServer::open(options).unwrap()
}

fn chart(number: usize, version: usize) -> (String, Vec<u8>) {
    let file = |name: &str, text: String| File {
        name: name.to_owned(),
        data: text.into_bytes().into(),
    };
    let metadata = format!(
        "apiVersion: v2\nname: chart-{number}\nversion: 1.{version}.0\nappVersion: 2.{version}.{number}\ntype: application\n\
         description: The chart with the number {number}, which installs an application of some kind\n\
         home: https://example.com/charts/{number}\nkeywords: [web, database, number-{number}]\n\
         maintainers: [{{name: Someone, email: someone@example.com}}]\nsources: [https://example.com/source/{number}]\n"
    );
    let files = vec![
        file("Chart.yaml", metadata),
        file("values.yaml", format!("number: {number}\nversion: {version}\n")),
        file("templates/config.yaml", "kind: ConfigMap\n".to_owned()),
    ];
    let archive = package(&Chart::from_files(files).unwrap(), 1_700_000_000).unwrap();
    (format!("chart-{number}-1.{version}.0.tgz"), archive)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| ms(times[(times.len() - 1) * part / 100]);
    format!(
        "{:>9.1} ms median, {:.1} ms at 95 %, {:.1} ms at most",
        at(50),
        at(95),
        at(100)
    )
}

/// Asks on several connections for some seconds: requests and bytes.
fn load(address: SocketAddr, path: &str, header: &str) -> (usize, usize) {
    let end = Instant::now() + Duration::from_secs(SECONDS);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address);
                    let (mut requests, mut bytes) = (0, 0);
                    while Instant::now() < end {
                        bytes += client.ask("GET", path, header, b"").length;
                        requests += 1;
                    }
                    (requests, bytes)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
    })
}

/// A client that does as little as possible.
struct Client {
    stream: BufReader<TcpStream>,
    buffer: Vec<u8>,
}

struct Answer {
    status: u16,
    length: usize,
    etag: String,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
            buffer: vec![0; 1 << 20],
        }
    }

    fn etag(&mut self, encoding: &str) -> String {
        let header = format!("Accept-Encoding: {encoding}\r\n");
        self.ask("GET", "/index.yaml", &header, b"").etag
    }

    fn ask(&mut self, method: &str, path: &str, header: &str, body: &[u8]) -> Answer {
        self.try_ask(method, path, header, body).unwrap()
    }

    fn try_ask(&mut self, method: &str, path: &str, header: &str, body: &[u8]) -> io::Result<Answer> {
        let length = body.len();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: {length}\r\n\r\n");
        if body.is_empty() {
            request = request.replace("Content-Length: 0\r\n", "");
        }
        let request = [request.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request)?;
        let mut answer = Answer {
            status: 0,
            length: 0,
            etag: String::new(),
        };
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if let Some(length) = text.strip_prefix("content-length: ") {
                answer.length = length.parse().unwrap();
            } else if let Some(etag) = text.strip_prefix("etag: ") {
                answer.etag = etag.to_owned();
            } else if answer.status == 0 {
                answer.status = text.split(' ').nth(1).unwrap().parse().unwrap();
            }
        }
        let mut left = answer.length;
        while left > 0 {
            let take = left.min(self.buffer.len());
            let count = self.stream.read(&mut self.buffer[..take])?;
            left -= count;
        }
        Ok(answer)
    }
}
