//! Whichever way a kubeconfig leads into a cluster: certificates, tokens, plugins, proxies, contexts.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use test_support::{Lab, Output, peer, repository, skip};

/// A lab with a cluster that has the release `hello`, and what its kubeconfig says.
struct Door {
    lab: Lab,
    kubectl: PathBuf,
    cluster: Value,
    user: Value,
}

impl Door {
    fn open() -> Option<Self> {
        let Some(kubectl) = peer("kubectl") else {
            skip("`kubectl` is not installed");
            return None;
        };
        let lab = Lab::open()?;
        let chart = repository().join("charts/hello").display().to_string();
        lab.tug(["install", "hello", &chart, "--no-wait"]).ok();
        let view = lab
            .client(&kubectl, ["config", "view", "--raw", "-o", "json"])
            .json();
        Some(Self {
            cluster: view["clusters"][0]["cluster"].clone(),
            user: view["users"][0]["user"].clone(),
            lab,
            kubectl,
        })
    }

    /// Writes a file in the lab and gives its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.lab.folder().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Writes a program in the lab and gives its path.
    fn program(&self, name: &str, text: &str) -> String {
        let path = self.file(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Runs `tug list -q -A` by a kubeconfig of this cluster and user, with more in its environment.
    fn list(&self, cluster: &Value, user: &Value, environment: &[(&str, &str)]) -> Output {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        });
        let path = self.file("kubeconfig.json", &kubeconfig.to_string());
        let mut command = self.lab.command(test_support::tug());
        command.env("KUBECONFIG", path).args(["list", "-q", "-A"]);
        command.envs(environment.iter().copied());
        self.lab.run(command)
    }

    fn enters(&self, user: &Value) {
        assert_eq!(self.list(&self.cluster, user, &[]).ok(), "hello\n", "{user}");
    }

    /// A token of an account that may do everything.
    fn token(&self) -> String {
        let kubectl = |arguments: &[&str]| self.lab.client(&self.kubectl, arguments);
        kubectl(&["create", "serviceaccount", "robot"]).ok();
        let role = ["--clusterrole=cluster-admin", "--serviceaccount=default:robot"];
        kubectl(&[&["create", "clusterrolebinding", "robot"], &role[..]].concat()).ok();
        kubectl(&["create", "token", "robot"]).ok().trim().to_owned()
    }

    /// A field of the kubeconfig that is base64, as a file.
    fn decoded(&self, of: &Value, field: &str) -> String {
        let packed = self.file("packed", of[field].as_str().unwrap());
        let path = self.lab.folder().join(field);
        let mut decode = self.lab.command("sh");
        decode.args(["-c", &format!("base64 -d {packed} > {}", path.display())]);
        self.lab.run(decode).ok();
        path.display().to_string()
    }
}

#[test]
fn certificates_tokens_and_plugins_open_a_cluster() {
    let Some(door) = Door::open() else { return };
    door.enters(&door.user);
    let certificate = door.decoded(&door.user, "client-certificate-data");
    let key = door.decoded(&door.user, "client-key-data");
    door.enters(&json!({"client-certificate": certificate, "client-key": key}));

    let token = door.token();
    door.enters(&json!({ "token": token }));
    door.enters(&json!({ "tokenFile": door.file("token", &token) }));
    let exec = |program: &str| {
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": program, "args": ["get"],
            "env": [{"name": "WORD", "value": "sesame"}], "interactiveMode": "Never"}})
    };
    let credential = |status: &Value| json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
    let answer = door.file("answer.json", &credential(&json!({ "token": token })).to_string());
    let plugin = door.program(
        "plugin",
        &format!("[ \"$1 $WORD\" = 'get sesame' ] || exit 1\ncat {answer}"),
    );
    door.enters(&exec(&plugin));
    let pair = json!({
        "clientCertificateData": fs::read_to_string(&certificate).unwrap(),
        "clientKeyData": fs::read_to_string(&key).unwrap(),
    });
    let answer = door.file("pair.json", &credential(&pair).to_string());
    door.enters(&exec(&door.program("pair", &format!("cat {answer}"))));

    // Flags alone.
    let server = door.cluster["server"].as_str().unwrap();
    let authority = door.decoded(&door.cluster, "certificate-authority-data");
    let flags = [
        "--kube-apiserver",
        server,
        "--kube-token",
        &token,
        "--kube-ca-file",
        &authority,
    ];
    let listed = door.lab.tug([&["list", "-q", "-A"], &flags[..]].concat());
    assert_eq!(listed.ok(), "hello\n");

    let wrong = door.list(&door.cluster, &json!({"token": "nonsense"}), &[]);
    assert!(
        wrong
            .err()
            .contains("Hint: the credentials of the kubeconfig are not accepted"),
        "{}",
        wrong.stderr
    );
    let failing = door.program("failing", "echo out of order >&2; exit 3");
    let failed = door.list(&door.cluster, &exec(&failing), &[]);
    assert!(
        failed.err().starts_with("Error: ") && failed.stderr.contains("failing"),
        "{}",
        failed.stderr
    );
    let missing = door.list(&door.cluster, &exec("/no/such/plugin"), &[]);
    assert!(missing.err().contains("/no/such/plugin"), "{}", missing.stderr);
}

/// Passes connections on as a proxy, inside a lab; gives its address and the count of those it was asked for.
fn proxy(lab: &Lab) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let address = lab.inside(move || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let counter = counter.clone();
                std::thread::spawn(move || pass_on(client, &counter));
            }
        });
        address
    });
    (format!("http://{address}"), asked)
}

fn pass_on(client: TcpStream, asked: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let target = first.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    asked.fetch_add(1, Ordering::SeqCst);
    let server = TcpStream::connect(target).ok()?;
    (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut up, mut down) = (server.try_clone().ok()?, client);
    let mut from_server = server;
    std::thread::spawn(move || std::io::copy(&mut reader, &mut up));
    std::io::copy(&mut from_server, &mut down).ok()?;
    Some(())
}

#[test]
fn a_proxy_is_gone_through() {
    let Some(door) = Door::open() else { return };
    let (address, asked) = proxy(&door.lab);
    let mut cluster = door.cluster.clone();
    cluster["proxy-url"] = address.as_str().into();
    assert_eq!(door.list(&cluster, &door.user, &[]).ok(), "hello\n");
    assert_ne!(asked.swap(0, Ordering::SeqCst), 0, "by the kubeconfig");
    let by_environment = door.list(&door.cluster, &door.user, &[("HTTPS_PROXY", &address)]);
    assert_eq!(by_environment.ok(), "hello\n");
    assert_ne!(asked.load(Ordering::SeqCst), 0, "by the environment");
    cluster["proxy-url"] = "http://127.0.0.1:1".into();
    let refused = door.list(&cluster, &door.user, &[]);
    assert!(
        refused.err().contains("kubernetes cluster unreachable"),
        "{}",
        refused.stderr
    );
}

#[test]
fn contexts_and_namespaces_are_chosen() {
    let Some(door) = Door::open() else { return };
    let mut dead = door.cluster.clone();
    dead["server"] = "https://127.0.0.1:1".into();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "dead",
        "clusters": [{"name": "live", "cluster": door.cluster}, {"name": "dead", "cluster": dead}],
        "users": [{"name": "u", "user": door.user}],
        "contexts": [
            {"name": "live", "context": {"cluster": "live", "user": "u"}},
            {"name": "other", "context": {"cluster": "live", "user": "u", "namespace": "elsewhere"}},
            {"name": "dead", "context": {"cluster": "dead", "user": "u"}},
        ],
    });
    let path = door.file("contexts.json", &kubeconfig.to_string());
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = door.lab.command(test_support::tug());
        command
            .env("KUBECONFIG", &path)
            .args(["list", "-q"])
            .args(arguments);
        command.envs(environment.iter().copied());
        door.lab.run(command)
    };
    assert!(run(&[], &[]).err().contains("kubernetes cluster unreachable"));
    assert_eq!(run(&["--kube-context", "live"], &[]).ok(), "hello\n");
    assert_eq!(run(&[], &[("HELM_KUBECONTEXT", "live")]).ok(), "hello\n");
    assert_eq!(
        run(&["--kube-context", "other"], &[]).ok(),
        "",
        "its namespace is another one"
    );
    let back = ["--kube-context", "other", "--namespace", "default"];
    assert_eq!(run(&back, &[]).ok(), "hello\n");
    let unknown = run(&["--kube-context", "moon"], &[]);
    let hint = "Hint: contexts are: live, other, dead, and `tug`, the bundled cluster";
    assert!(unknown.err().contains(hint), "{}", unknown.stderr);
}
