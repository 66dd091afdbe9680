//! A running `tug repo serve` on a free port, and a home for its clients.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use test_support::{peer, skip, tug};

/// The longest that a client may take to be answered.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Host {
    folder: TempDir,
    server: Child,
    pub(crate) address: SocketAddr,
    scheme: String,
}

/// What a client did.
pub(crate) struct Done {
    command: String,
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Host {
    /// Starts a server of an empty folder.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("tug-serve-").tempdir().unwrap();
        Self::start_in(folder, arguments)
    }

    /// Starts a server of `charts` in a folder; `{}` in arguments is the folder.
    pub(crate) fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let (server, address, scheme) = launch(folder.path(), arguments);
        Self {
            folder,
            server,
            address,
            scheme,
        }
    }

    /// Starts a server with the accounts `alice`, who may do everything below `team`, and `bob`, who may read there.
    /// `auth` is the way of logging in, where it is not the usual one.
    pub(crate) fn start_guarded(auth: Option<&str>, tls: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("tug-serve-").tempdir().unwrap();
        guard(folder.path());
        let mut arguments = vec!["--htpasswd", "{}/htpasswd", "--rights", "{}/rights"];
        if let Some(auth) = auth {
            arguments.extend(["--auth", auth]);
        }
        if tls {
            certify(folder.path());
            arguments.extend(["--tls-cert", "{}/tls.crt", "--tls-key", "{}/tls.key"]);
        }
        Self::start_in(folder, &arguments)
    }

    /// Kills the server as nothing can be prepared for, and starts another.
    pub(crate) fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        (self.server, self.address, self.scheme) = launch(self.folder.path(), &[]);
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of archives.
    pub(crate) fn charts(&self) -> PathBuf {
        self.folder().join("charts")
    }

    /// `localhost:PORT`
    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.host())
    }

    /// Runs a client at home in the folder.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Done {
        let mut command = Command::new(program);
        command.args(arguments);
        run_at(self.folder(), command)
    }

    /// A packed chart in the folder.
    pub(crate) fn pack(&self, name: &str, version: &str, more: &[(&str, &str)]) -> PathBuf {
        let path = self.folder().join(format!("{name}-{version}.tgz"));
        fs::write(&path, chart(name, version, more)).unwrap();
        path
    }

    /// Asks once over plain HTTP.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        ask(self.address, method, path, body)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.ask("GET", path, b"").unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Done {
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert!(self.success, "{}\n{}{}", self.command, self.stdout, self.stderr);
        &self.stdout
    }

    #[track_caller]
    pub(crate) fn err(&self) -> &str {
        assert!(!self.success, "{}\n{}{}", self.command, self.stdout, self.stderr);
        &self.stderr
    }
}

fn launch(folder: &Path, arguments: &[&str]) -> (Child, SocketAddr, String) {
    let mut server = Command::new(tug())
        .args(["repo", "serve", "--quiet", "--listen", "127.0.0.1:0"])
        .arg(folder.join("charts"))
        .args(
            arguments
                .iter()
                .map(|argument| argument.replace("{}", &folder.display().to_string())),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line.trim().rsplit(' ').next().unwrap_or_default();
    let (scheme, address) = url
        .split_once("://")
        .unwrap_or_else(|| panic!("the server said `{line}`"));
    (server, address.parse().unwrap(), scheme.to_owned())
}

/// Runs a client whose home is a folder, with nothing of the caller's surroundings but the path.
pub(crate) fn run_at(home: &Path, mut command: Command) -> Done {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .current_dir(home)
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    Done {
        command: format!("{command:?}"),
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Asks once over plain HTTP.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    let body = answer.split_off(end + 4);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) if length.parse() != Ok(body.len()) => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok((status, body)),
    }
}

/// A packed chart.
pub(crate) fn chart(name: &str, version: &str, more: &[(&str, &str)]) -> Vec<u8> {
    use chart_model::{Chart, File, package};
    let file = |name: &str, text: &str| File {
        name: name.to_owned(),
        data: text.as_bytes().into(),
    };
    let metadata =
        format!("apiVersion: v2\nname: {name}\nversion: {version}\ndescription: a chart of tests\n");
    let mut files = vec![
        file("values.yaml", "greeting: hello\n"),
        file(
            "templates/config.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  greeting: {{ .Values.greeting }}\n",
        ),
    ];
    files.extend(more.iter().map(|(name, text)| file(name, text)));
    if !more.iter().any(|(name, _)| *name == "Chart.yaml") {
        files.push(file("Chart.yaml", &metadata));
    }
    package(&Chart::from_files(files).unwrap(), 1_700_000_000).unwrap()
}

/// A program, or a word on why the test is skipped.
pub(crate) fn client(name: &str) -> Option<PathBuf> {
    let found = peer(name);
    if found.is_none() {
        skip(&format!("`{name}` is not installed"));
    }
    found
}

/// Accounts and rights: alice may do everything below `team`, bob may read it.
fn guard(folder: &Path) {
    let hash = |password: &str| bcrypt::hash_with_salt(password, 4, [3; 16]).unwrap().to_string();
    let accounts = format!("alice:{}\nbob:{}\n", hash("a-secret"), hash("b-secret"));
    fs::write(folder.join("htpasswd"), accounts).unwrap();
    fs::write(
        folder.join("rights"),
        "alice team/** read write delete\nbob team/** read\n",
    )
    .unwrap();
}

/// A certificate for `localhost`: `tls.crt` and `tls.key`.
fn certify(folder: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap().pem();
    fs::write(folder.join("tls.crt"), certificate).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
}
