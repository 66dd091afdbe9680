//! `tug` as a client of repositories and registries that others host, held against helm: nginx with an index, Debian's
//! docker-registry, gpg's keys.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use test_support::{get, peer, skip, tug, until};

const LIMIT: Duration = Duration::from_secs(30);

/// A folder, the servers in it, and commands with nothing of the caller's surroundings.
struct Stage {
    folder: PathBuf,
    children: Vec<Child>,
    _folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Done {
    #[track_caller]
    fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.stdout
    }

    #[track_caller]
    fn refused(&self, words: &str) {
        assert!(
            self.code != Some(0) && self.stderr.contains(words),
            "{words}: {self:?}"
        );
    }
}

impl Stage {
    fn open() -> Self {
        let folder = tempfile::Builder::new().prefix("tug-repo-").tempdir().unwrap();
        Self {
            folder: folder.path().to_owned(),
            children: Vec::new(),
            _folder: folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs a program whose settings are below the folder `home`.
    fn run(&self, program: &Path, home: &str, arguments: &[&str]) -> Done {
        let home = self.path(home);
        fs::create_dir_all(&home).unwrap();
        let output = Command::new(program)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_DATA_HOME", home.join("data"))
            .env("GNUPGHOME", self.path("gnupg"))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .args(arguments)
            .output()
            .unwrap();
        Done {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn tug(&self, arguments: &[&str]) -> Done {
        self.run(&tug(), "tug", arguments)
    }

    fn helm(&self, arguments: &[&str]) -> Done {
        self.run(&peer("helm").unwrap(), "helm", arguments)
    }

    /// Writes a chart with a folder of its own and packs it into `www`.
    fn pack(&self, name: &str, version: &str, more: &str) {
        let text = format!(
            "apiVersion: v2\nname: {name}\nversion: {version}\ndescription: The {name} of a shop\nappVersion: \"7.{version}\"\n{more}"
        );
        self.write(&format!("src/{name}/Chart.yaml"), &text);
        self.write(
            &format!("src/{name}/templates/config.yaml"),
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {v: {{ .Chart.Version | quote }}}\n",
        );
        self.tug(&["package", &format!("src/{name}"), "-d", "www"]).ok();
    }

    fn start(&mut self, program: &Path, arguments: &[&str], address: SocketAddr) {
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.children.push(child);
        until("the server answers", LIMIT, || get(address, "/").ok());
    }

    /// Serves the folder `www` by nginx; gives its address.
    fn nginx(&mut self, nginx: &Path) -> String {
        let address = free_address();
        let here = self.folder.display().to_string();
        let text = format!(
            "daemon off; master_process off; pid {here}/nginx.pid; error_log {here}/error.log; events {{ worker_connections 64; }}\nhttp {{ access_log {here}/access.log; client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3; uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;\nserver {{ listen {address}; root {here}/www; autoindex on; }} }}\n"
        );
        let config = self.write("nginx.conf", &text);
        // A server started by root must be able to read as nobody.
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755)).unwrap();
        let prefix = self.folder.display().to_string();
        self.start(nginx, &["-p", &prefix, "-c", config.to_str().unwrap()], address);
        format!("http://{address}")
    }

    /// Starts a registry; gives its host. With accounts, only ann may use it, whose password is `pw`.
    fn registry(&mut self, program: &Path, has_accounts: bool) -> String {
        let address = free_address();
        let root = self.path("registry").display().to_string();
        let mut text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\nhttp: {{addr: {address}}}\n"
        );
        if has_accounts {
            let hash = bcrypt::hash_with_salt("pw", 4, [5; 16]).unwrap();
            let file = self.write("htpasswd", &format!("ann:{hash}\n"));
            let file = file.display();
            text += &format!("auth: {{htpasswd: {{realm: tests, path: {file}}}}}\n");
        }
        let config = self.write("registry.yml", &text);
        self.start(program, &["serve", config.to_str().unwrap()], address);
        address.to_string()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The peers of a test, or a word on which of them is missing.
fn peers<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let found = names.map(peer);
    if let Some(place) = found.iter().position(Option::is_none) {
        skip(&format!("`{}` is not installed", names[place]));
        return None;
    }
    Some(found.map(Option::unwrap))
}

fn shop(stage: &Stage) {
    for version in ["0.9.0", "1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"] {
        stage.pack("web", version, "keywords: [pages]\n");
    }
    stage.pack("db", "3.1.0", "keywords: [web, sql]\n");
}

#[test]
fn indexes_searches_and_pulls_are_helms() {
    let Some([nginx, _]) = peers(["nginx", "helm"]) else {
        return;
    };
    let mut stage = Stage::open();
    shop(&stage);
    // Helm reads the index that tug makes.
    let url = stage.nginx(&nginx);
    stage.tug(&["repo", "index", "www", "--url", &url]).ok();
    assert_eq!(
        stage.tug(&["repo", "add", "shop", &url]).ok(),
        stage.helm(&["repo", "add", "shop", &url]).ok()
    );
    for arguments in [
        &["repo", "list"][..],
        &["repo", "list", "-o", "json"],
        &["search", "repo", "shop/"],
        &["search", "repo", "pages"],
        &["search", "repo", "sql"],
        &["search", "repo", "shop/web", "--versions"],
        &["search", "repo", "shop/web", "--versions", "--devel"],
        &["search", "repo", "shop/web", "--devel", "-o", "json"],
        &["search", "repo", "pages", "--version", "<1.10", "-o", "yaml"],
        &["search", "repo", "--regexp", "^w.*b", "-l"],
        &["search", "repo", "nothing"],
        &["search", "repo", "nothing", "-o", "json"],
        &["search", "repo", "shop", "--max-col-width", "9"],
        &["show", "chart", "shop/web"],
        &["show", "values", "shop/web", "--version", "1.9.0"],
        &["template", "shop/web", "--version", "~1.9"],
    ] {
        assert_eq!(
            stage.tug(arguments).ok(),
            stage.helm(arguments).ok(),
            "{arguments:?}"
        );
    }
    for (reference, more) in [
        ("shop/web", &["--version", "^1"][..]),
        ("web", &["--repo", &url]),
        (&format!("{url}/db-3.1.0.tgz"), &[]),
    ] {
        let arguments = |folder: &'static str| [&["pull", reference, "-d", folder][..], more].concat();
        fs::create_dir_all(stage.path("theirs")).unwrap();
        stage.tug(&arguments("ours")).ok();
        stage.helm(&arguments("theirs")).ok();
    }
    let list = |folder: &str| {
        let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(stage.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    fs::read(entry.path()).unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    };
    assert_eq!(list("ours"), list("theirs"));
    stage.tug(&["pull", "shop/web", "--untar"]).ok();
    assert!(stage.path("web/Chart.yaml").exists());
    stage
        .tug(&["pull", "shop/web", "--untar"])
        .refused("failed to untar: a file or directory with the name");
    stage.tug(&["pull", "shop/none"]).refused("no chart name found");
    stage.tug(&["pull", "gone/web"]).refused("repo gone not found");
    assert!(stage.tug(&["search", &url, "sql"]).ok().contains("/db"));
    assert_eq!(
        stage.tug(&["repo", "remove", "shop"]).ok(),
        stage.helm(&["repo", "remove", "shop"]).ok()
    );
}

#[test]
fn files_of_helm_are_shared_when_that_is_asked() {
    let Some([nginx, helm]) = peers(["nginx", "helm"]) else {
        return;
    };
    let mut stage = Stage::open();
    shop(&stage);
    let url = stage.nginx(&nginx);
    stage.tug(&["repo", "index", "www"]).ok();
    stage.helm(&["repo", "add", "shop", &url]).ok();
    // The same folders for both.
    let both = |program: &Path, arguments: &[&str]| stage.run(program, "helm", arguments);
    assert_eq!(
        both(&tug(), &["search", "repo", "shop/"]).ok(),
        both(&helm, &["search", "repo", "shop/"]).ok()
    );
    both(&tug(), &["repo", "add", "more", &url]).ok();
    assert!(
        both(&helm, &["search", "repo", "more/db"])
            .ok()
            .contains("more/db")
    );
    both(&helm, &["repo", "update"]).ok();
    both(&tug(), &["repo", "update"]).ok();
    let listed = both(&helm, &["repo", "list", "-o", "json"]);
    assert_eq!(both(&tug(), &["repo", "list", "-o", "json"]).ok(), listed.ok());
}

#[test]
fn locks_are_helms() {
    let Some([nginx, _]) = peers(["nginx", "helm"]) else {
        return;
    };
    let mut stage = Stage::open();
    shop(&stage);
    stage.tug(&["repo", "index", "www"]).ok();
    let url = stage.nginx(&nginx);
    for home in ["tug", "helm"] {
        stage
            .run(&peer("helm").unwrap(), home, &["repo", "add", "shop", &url])
            .ok();
    }
    let text = format!(
        "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n- name: web\n  version: '>=1 <2'\n  repository: {url}\n  condition: web.enabled\n  tags: [a, b]\n- name: web\n  alias: old\n  version: 0.9.0\n  repository: '@shop'\n  import-values: [x, {{child: a, parent: b}}]\n- name: db\n  version: '*'\n  repository: file://../src/db\n"
    );
    for folder in ["one", "two"] {
        stage.write(&format!("{folder}/Chart.yaml"), &text);
    }
    stage.tug(&["dependency", "update", "one"]).ok();
    stage.helm(&["dependency", "update", "two"]).ok();
    // Without what Helm passes over and the time.
    let lock = |folder: &str| {
        let text = fs::read_to_string(stage.path(folder).join("Chart.lock")).unwrap();
        let start = text.find("dependencies:").unwrap();
        let end = text.find("generated:").unwrap();
        (text[..start].to_owned(), text[start..end].to_owned())
    };
    let (ours, theirs) = (lock("one"), lock("two"));
    assert_eq!(ours.1, theirs.1);
    assert!(
        ours.0.starts_with("artifacts:\n") && ours.0.contains("- digest: sha256:"),
        "{ours:?}"
    );
    // Each takes the other's lock.
    for (from, to) in [("one", "two"), ("two", "one")] {
        let text = fs::read(stage.path(from).join("Chart.lock")).unwrap();
        fs::write(stage.path(to).join("Other.lock"), text).unwrap();
    }
    for folder in ["one", "two"] {
        let folder = stage.path(folder);
        fs::rename(folder.join("Other.lock"), folder.join("Chart.lock")).unwrap();
        fs::remove_dir_all(folder.join("charts")).unwrap();
    }
    stage.helm(&["dependency", "build", "two"]).ok();
    stage.tug(&["dep", "build", "one"]).ok();
    let names = |folder: &str| {
        let mut names: Vec<_> = fs::read_dir(stage.path(folder).join("charts"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("one"), names("two"));
    let render = |done: Done| done.ok().replace("\n", " ");
    assert_eq!(
        render(stage.tug(&["template", "one"])),
        render(stage.helm(&["template", "two"]))
    );
}

#[test]
fn charts_go_through_a_registry_both_ways() {
    let Some([registry, _]) = peers(["docker-registry", "helm"]) else {
        return;
    };
    let mut stage = Stage::open();
    shop(&stage);
    let host = stage.registry(&registry, false);
    let place = format!("oci://{host}/charts");
    let web = format!("{place}/web");
    stage
        .tug(&["push", "www/web-1.0.0.tgz", &place, "--plain-http"])
        .ok();
    stage
        .helm(&["push", "www/web-1.9.0.tgz", &place, "--plain-http"])
        .ok();
    let pulled = |done: Done| done.ok().to_owned();
    for version in ["1.0.0", "1.9.0", ""] {
        let arguments = |folder: &'static str| {
            let mut arguments = vec!["pull", &web, "--plain-http", "-d", folder];
            if !version.is_empty() {
                arguments.extend(["--version", version]);
            }
            arguments
        };
        fs::create_dir_all(stage.path("theirs")).unwrap();
        assert_eq!(
            pulled(stage.tug(&arguments("ours"))),
            pulled(stage.helm(&arguments("theirs"))),
            "{version}"
        );
    }
    for file in ["web-1.0.0.tgz", "web-1.9.0.tgz"] {
        assert_eq!(
            fs::read(stage.path("ours").join(file)).unwrap(),
            fs::read(stage.path("www").join(file)).unwrap()
        );
    }
    let found = stage.tug(&["search", &place, "--plain-http", "-l"]);
    assert!(
        found.ok().contains("1.9.0") && found.stdout.contains("7.1.0.0"),
        "{found:?}"
    );
    stage
        .tug(&["pull", &web, "--plain-http", "--version", "7.0.0"])
        .refused("not found");
    stage
        .tug(&["template", &web, "--plain-http", "--version", "1.x"])
        .ok();
    let digest = pulled(stage.tug(&["pull", &web, "--plain-http", "-d", "ours"]));
    let digest = digest
        .lines()
        .find_map(|line| line.strip_prefix("Digest: "))
        .unwrap();
    stage
        .tug(&["show", "chart", &format!("{web}@{digest}"), "--plain-http"])
        .ok();
    let wrong = format!("{web}@sha256:{}", "0".repeat(64));
    stage
        .tug(&["show", "chart", &wrong, "--plain-http"])
        .refused("not found");
    // As a dependency.
    let text = format!(
        "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies: [{{name: web, version: ^1.0, repository: '{place}'}}]\n"
    );
    stage.write("app/Chart.yaml", &text);
    stage.tug(&["dependency", "update", "app", "--plain-http"]).ok();
    assert!(stage.path("app/charts/web-1.9.0.tgz").exists());
}

#[test]
fn signatures_are_helms_and_gpgs() {
    let Some([gpg, _]) = peers(["gpg", "helm"]) else {
        return;
    };
    let stage = Stage::open();
    stage.pack("db", "3.1.0", "");
    let gnupg = stage.path("gnupg");
    fs::create_dir_all(&gnupg).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&gnupg, fs::Permissions::from_mode(0o700)).unwrap();
    let run_gpg = |arguments: &[&str]| {
        stage.run(
            &gpg,
            "gpg",
            &[&["--batch", "--pinentry-mode", "loopback"], arguments].concat(),
        )
    };
    run_gpg(&[
        "--passphrase",
        "",
        "--quick-gen-key",
        "Ann <ann@example.com>",
        "rsa2048",
        "sign",
        "never",
    ])
    .ok();
    run_gpg(&[
        "--passphrase",
        "secret",
        "--quick-gen-key",
        "Bob <bob@example.com>",
        "ed25519",
        "sign",
        "never",
    ])
    .ok();
    let (public, secret) = (stage.path("public.gpg"), stage.path("secret.gpg"));
    let (public, secret) = (public.to_str().unwrap(), secret.to_str().unwrap());
    run_gpg(&["-o", public, "--export"]).ok();
    run_gpg(&["-o", secret, "--passphrase", "secret", "--export-secret-keys"]).ok();
    stage.write("passphrase", "secret\n");
    let sign = |more: &[&str]| {
        let arguments = [
            &["package", "src/db", "--sign", "--keyring", secret, "-d", "signed"],
            more,
        ]
        .concat();
        arguments.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let verify = ["verify", "signed/db-3.1.0.tgz", "--keyring", public];
    for key in [
        &["--key", "Ann"][..],
        &["--key", "Bob", "--passphrase-file", "passphrase"],
    ] {
        let arguments = sign(key);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Ours by Helm and gpg, then theirs by us.
        stage.tug(&arguments).ok();
        let checked = stage.tug(&verify);
        assert_eq!(checked.ok(), stage.helm(&verify).ok());
        run_gpg(&["--verify", "signed/db-3.1.0.tgz.prov"]).ok();
        stage.helm(&arguments).ok();
        assert_eq!(stage.tug(&verify).ok(), stage.helm(&verify).ok());
        // The keybox that gpg keeps does as well.
        let keybox = stage.path("gnupg/pubring.kbx");
        stage
            .tug(&[
                "verify",
                "signed/db-3.1.0.tgz",
                "--keyring",
                keybox.to_str().unwrap(),
            ])
            .ok();
    }
    for (more, words) in [
        (&["--key", "Zed"][..], "private key not found"),
        (&["--key", "example.com"], "more than one key contain the id"),
        (&["--key", "Bob"], "the passphrase is wrong or missing"),
        (&[], "--key is required for signing a package"),
    ] {
        let arguments = sign(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        stage.tug(&arguments).refused(words);
    }
    // Another archive, another text, another key.
    let archive = stage.path("signed/db-3.1.0.tgz");
    let provenance = stage.path("signed/db-3.1.0.tgz.prov");
    let (good, text) = (
        fs::read(&archive).unwrap(),
        fs::read_to_string(&provenance).unwrap(),
    );
    fs::write(&archive, [good.as_slice(), b"x"].concat()).unwrap();
    stage
        .tug(&verify)
        .refused("sha256 sum does not match for db-3.1.0.tgz");
    fs::write(&archive, &good).unwrap();
    fs::write(&provenance, text.replace("3.1.0", "3.2.0")).unwrap();
    stage.tug(&verify).refused("the signature of");
    fs::write(&provenance, "no statement").unwrap();
    stage.tug(&verify).refused("failed to decode provenance");
    fs::write(&provenance, &text).unwrap();
    let stranger = stage.path("stranger.gpg");
    let stranger = stranger.to_str().unwrap();
    run_gpg(&["-o", stranger, "--export", "ann@example.com"]).ok();
    let by_stranger = ["verify", "signed/db-3.1.0.tgz", "--keyring", stranger];
    stage
        .tug(&by_stranger)
        .refused("signature made by unknown entity");
}

#[test]
fn charts_that_come_with_tug_need_no_network() {
    let stage = Stage::open();
    assert!(stage.tug(&["search", "repo", "hello"]).ok().contains("tug/hello"));
    assert!(
        stage
            .tug(&["template", "tug/hello"])
            .ok()
            .contains("kind: Deployment")
    );
    stage.tug(&["pull", "tug/hello", "--untar"]).ok();
    assert!(stage.path("hello/Chart.yaml").exists());
}

#[test]
fn err_bad_repositories_are_refused_and_leave_nothing_half_written() {
    let Some([nginx]) = peers(["nginx"]) else { return };
    let mut stage = Stage::open();
    stage.pack("web", "1.0.0", "");
    let whole = fs::read(stage.path("www/web-1.0.0.tgz")).unwrap();
    fs::write(stage.path("www/cut-1.0.0.tgz"), &whole[..whole.len() / 2]).unwrap();
    stage.write("www/page-1.0.0.tgz", "<html>not a chart</html>");
    // An archive that leads out of its folder.
    stage.write("evil/Chart.yaml", "apiVersion: v2\nname: evil\nversion: 1.0.0\n");
    stage.write("evil/outside", "x");
    let transform = "s,^evil/outside,evil/../../outside,";
    let made = Command::new("tar")
        .current_dir(&stage.folder)
        .args([
            "-P",
            "--transform",
            transform,
            "-czf",
            "www/evil-1.0.0.tgz",
            "evil",
        ])
        .status();
    assert!(made.unwrap().success());
    let digest = repo_index::sha256_hex(&whole);
    let entry = |name: &str, more: &str| {
        format!(
            "  {name}:\n  - {{apiVersion: v2, name: {name}, version: 1.0.0{more}, urls: [{name}-1.0.0.tgz]}}\n"
        )
    };
    let index = [
        "apiVersion: v1\nentries:\n".to_owned(),
        entry("web", &format!(", digest: {digest}")),
        entry("cut", ""),
        entry("page", ""),
        entry("evil", ""),
        entry("none", ""),
        // Another archive than the index promises.
        format!("  other:\n  - {{name: other, version: 1.0.0, digest: {digest}, urls: [cut-1.0.0.tgz]}}\n"),
        "  bad:\n  - {name: ../../bad, version: 1.0.0, urls: [web-1.0.0.tgz]}\n  - {name: bad, version: none}\n".to_owned(),
    ];
    stage.write("www/index.yaml", &index.concat());
    let url = stage.nginx(&nginx);
    let added = stage.tug(&["repo", "add", "shop", &url]);
    added.ok();
    assert!(
        added.stderr.contains("../../bad") && added.stderr.contains("none"),
        "{added:?}"
    );
    for (chart, words) in [
        ("cut", "incomplete deflate stream"),
        ("page", "invalid gzip header"),
        ("evil", "illegally references parent directory"),
        ("none", "404"),
        ("other", "has the digest"),
        ("bad", "no chart name found"),
        ("web@sha256:00", "digest"),
    ] {
        let reference = format!("shop/{chart}");
        stage.tug(&["template", &reference]).refused(words);
        stage
            .tug(&["pull", &reference, "--untar", "-d", "got", "--untardir", "got"])
            .refused(words);
        let left: Vec<_> = fs::read_dir(stage.path("got")).into_iter().flatten().collect();
        assert!(left.is_empty(), "{chart}: {left:?}");
    }
    assert!(!stage.path("outside").exists() && !stage.path("got/outside").exists());
    // A repository that is down is told, and what was kept of it serves.
    stage.tug(&["template", "web", "--repo", &url]).ok();
    stage.children.drain(..).for_each(|mut child| {
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let kept = stage.tug(&["search", &url, "web"]);
    assert!(kept.ok().contains("/web"), "{kept:?}");
    assert!(kept.stderr.contains("cannot be asked"), "{kept:?}");
    stage.tug(&["repo", "update"]).refused("cannot be reached");
    stage.tug(&["pull", "shop/web"]).ok();
}

#[test]
fn a_chart_that_comes_with_tug_is_installed_without_a_network() {
    // Nothing but its own loopback is in the lab.
    let Some(lab) = test_support::Lab::open() else {
        return;
    };
    lab.tug(["install", "db", "tug/hello"]).ok();
    let (code, body) = lab.get(30080, "/").expect("an installed release answers");
    assert_eq!(code, 200);
    assert!(body.contains("Hello from tug"), "{body}");
    assert!(lab.tug(["get", "metadata", "db"]).ok().contains("CHART: hello"));
    lab.tug(["uninstall", "db"]).ok();
}

#[test]
fn logins_to_a_registry_are_helms() {
    let Some([registry, helm]) = peers(["docker-registry", "helm"]) else {
        return;
    };
    let mut stage = Stage::open();
    shop(&stage);
    let host = stage.registry(&registry, true);
    let place = format!("oci://{host}/charts");
    let web = format!("{place}/web");
    let ours = |arguments: &[&str]| stage.tug(&[arguments, &["--plain-http"]].concat());
    let login = |password: &'static str| ["registry", "login", &host, "-u", "ann", "-p", password];
    let push = ["push", "www/web-1.0.0.tgz", &place];
    ours(&push).refused("refuses access");
    assert_ne!(ours(&login("wrong")).code, Some(0));
    ours(&push).refused("refuses access");
    ours(&login("pw")).ok();
    ours(&push).ok();
    ours(&["pull", &web, "-d", "got"]).ok();
    assert!(stage.path("got/web-1.0.0.tgz").exists());
    // Helm reads where we logged in, and we where it did.
    let both = |program: &Path, arguments: &[&str]| {
        stage.run(program, "tug", &[arguments, &["--plain-http"]].concat())
    };
    both(&helm, &["show", "chart", &web]).ok();
    stage.tug(&["registry", "logout", &host]).ok();
    ours(&["show", "chart", &web]).refused("refuses access");
    both(&helm, &login("pw")).ok();
    ours(&["show", "chart", &web]).ok();
}

/// Makes a key of gpg's without a passphrase, and gives the files of its public and secret part.
fn key(stage: &Stage, gpg: &Path, who: &str) -> (String, String) {
    use std::os::unix::fs::PermissionsExt;
    let gnupg = stage.path("gnupg");
    fs::create_dir_all(&gnupg).unwrap();
    fs::set_permissions(&gnupg, fs::Permissions::from_mode(0o700)).unwrap();
    let run = |arguments: &[&str]| {
        let quiet = ["--batch", "--pinentry-mode", "loopback", "--passphrase", ""];
        stage
            .run(gpg, "gpg", &[&quiet, arguments].concat())
            .ok()
            .to_owned()
    };
    run(&["--quick-gen-key", who, "ed25519", "sign", "never"]);
    let file = |part: &str| stage.path(&format!("{who}.{part}")).display().to_string();
    let (public, secret) = (file("public"), file("secret"));
    run(&["-o", &public, "--export", who]);
    run(&["-o", &secret, "--export-secret-keys", who]);
    (public, secret)
}

#[test]
fn only_what_is_signed_and_pinned_is_used_where_that_is_asked() {
    let Some([nginx, gpg, registry]) = peers(["nginx", "gpg", "docker-registry"]) else {
        return;
    };
    let mut stage = Stage::open();
    let ((public, secret), (stranger, _)) = (key(&stage, &gpg, "ann"), key(&stage, &gpg, "bob"));
    shop(&stage);
    // Of all versions, only 1.9.0 is signed; that of 0.9.0 is of another archive.
    stage.pack("web", "1.9.0", "keywords: [pages]\n");
    stage
        .tug(&[
            "package",
            "src/web",
            "--sign",
            "--key",
            "ann",
            "--keyring",
            &secret,
            "-d",
            "www",
        ])
        .ok();
    fs::copy(
        stage.path("www/web-1.9.0.tgz.prov"),
        stage.path("www/web-0.9.0.tgz.prov"),
    )
    .unwrap();
    stage.tug(&["repo", "index", "www"]).ok();
    let url = stage.nginx(&nginx);
    let host = stage.registry(&registry, false);
    stage.tug(&["repo", "add", "shop", &url]).ok();
    let place = format!("oci://{host}/charts");
    for archive in ["www/web-1.9.0.tgz", "www/web-1.0.0.tgz"] {
        stage.tug(&["push", archive, &place, "--plain-http"]).ok();
    }
    let web = format!("{place}/web");
    let verified = ["--verify", "--keyring", &public];
    for (number, reference) in ["shop/web", &web].into_iter().enumerate() {
        let run = |arguments: &[&str], keyring: &str| {
            let more = ["--verify", "--keyring", keyring, "--plain-http"];
            stage.tug(&[arguments, &more].concat())
        };
        let folder = format!("got-{number}");
        run(&["pull", reference, "--version", "1.9.0", "-d", &folder], &public).ok();
        assert!(stage.path(&folder).join("web-1.9.0.tgz").exists());
        for command in [
            &["template", reference][..],
            &["show", "chart", reference],
            &["install", "x", reference, "--dry-run=client"],
        ] {
            let with = |version| [command, &["--version", version]].concat();
            run(&with("1.9.0"), &public).ok();
            run(&with("1.9.0"), &stranger).refused("unknown entity");
            run(&with("1.0.0"), &public).refused("prov");
        }
        let refused = format!("refused-{number}");
        run(
            &["pull", reference, "--version", "1.0.0", "-d", &refused],
            &public,
        )
        .refused("prov");
        assert!(!stage.path(&refused).join("web-1.0.0.tgz").exists());
    }
    stage
        .tug(&[&["template", "shop/web", "--version", "0.9.0"][..], &verified].concat())
        .refused("web-0.9.0.tgz");
    // Dependencies as well.
    let text = |version: &str| {
        format!(
            "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies: [{{name: web, version: {version}, repository: '{url}'}}]\n"
        )
    };
    let update = [&["dependency", "update", "app"][..], &verified].concat();
    stage.write("app/Chart.yaml", &text("1.0.0"));
    stage.tug(&update).refused("prov");
    assert!(!stage.path("app/charts/web-1.0.0.tgz").exists() && !stage.path("app/Chart.lock").exists());
    stage.write("app/Chart.yaml", &text("1.9.0"));
    stage.tug(&update).ok();
    assert!(stage.path("app/charts/web-1.9.0.tgz").exists());
    // A digest says which bytes, whatever the index says.
    let digest = repo_index::Digest::of(&fs::read(stage.path("www/web-1.0.0.tgz")).unwrap());
    let pinned = format!("shop/web@{digest}");
    assert!(stage.tug(&["template", &pinned]).ok().contains("v: \"1.0.0\""));
    let other = format!("shop/web@sha256:{}", "0".repeat(64));
    stage.tug(&["template", &other]).refused("was pinned");
    let file = format!("www/web-1.0.0.tgz@{digest}");
    stage.tug(&["template", &file]).ok();
    stage
        .tug(&["template", &format!("www/web-1.9.0.tgz@{digest}")])
        .refused("was pinned");
}
