//! Charts of strangers that ask for too much: refused with a clear word, at once, and without filling the machine.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::sandbox::{Output, Sandbox};

/// Most memory that refusing may take.
const MEMORY_KIB_MAX: u64 = 200 << 10;

/// How long refusing may take. Where the compiler does not optimise nothing is promised.
const TIME_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 600 } else { 1 });

/// Runs `tug` with no more memory than it may have; what it allocates beyond fails, and ends it.
fn run_bounded(sandbox: &Sandbox, arguments: &[&str]) -> (Output, Duration) {
    let plain = sandbox.command(arguments);
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(format!("ulimit -d {MEMORY_KIB_MAX} && exec \"$@\""))
        .arg("sh")
        .arg(plain.get_program())
        .args(arguments)
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(sandbox.path())
        .stdin(Stdio::null());
    let started = Instant::now();
    let output = Sandbox::output(&mut command);
    (output, started.elapsed())
}

#[track_caller]
fn check_refused(sandbox: &Sandbox, arguments: &[&str], because: &str) {
    let (output, time) = run_bounded(sandbox, arguments);
    assert_eq!(output.code, Some(1), "{because}: {}", output.stderr);
    assert!(output.stderr.starts_with("Error: "), "{}", output.stderr);
    assert!(output.stderr.contains(because), "{because}: {}", output.stderr);
    assert_eq!(output.stdout, "");
    assert!(time < TIME_MAX, "{because}: took {time:?}");
}

fn chart_with(template: &str, values: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("box/Chart.yaml", "apiVersion: v2\nname: box\nversion: 1.0.0\n");
    sandbox.write("box/values.yaml", values);
    sandbox.write("box/templates/config.yaml", template);
    sandbox
}

const RENDER: &[&str] = &["template", "web", "box"];

#[test]
fn err_templates_that_go_on_for_too_long() {
    for template in [
        "{{ range until 1000 }}{{ range until 1000 }}x{{ end }}{{ end }}",
        "{{ range 1000000000000 }}{{ end }}",
        // No call is like another: what such a one gave would be known.
        "{{ define \"r\" }}{{ if lt (len .) 40 }}{{ include \"r\" (print . 0) }}{{ include \"r\" (print . 1) }}{{ end }}{{ end }}{{ include \"r\" \"\" }}",
        "{{ define \"r\" }}{{ if . }}{{ template \"r\" (sub . 1) }}{{ template \"r\" (sub . 1) }}{{ end }}{{ end }}{{ template \"r\" 40 }}",
        "{{ range 1000000 }}{{ $x := regexMatch \"(a*)*b\" (repeat 1000 \"a\") }}{{ end }}",
        "{{ $l := list 1 }}{{ range 40 }}{{ $l = list $l $l }}{{ end }}{{ toYaml $l }}",
        "{{ range 100 }}{{ genPrivateKey \"rsa\" }}{{ end }}",
    ] {
        let mut arguments = RENDER.to_vec();
        if cfg!(debug_assertions) {
            arguments.extend(["--limit", "steps=50k"]);
        }
        check_refused(&chart_with(template, ""), &arguments, "steps");
    }
}

#[test]
fn err_templates_without_end() {
    for (template, because) in [
        (
            "{{ define \"r\" }}{{ include \"r\" . }}{{ end }}{{ include \"r\" . }}",
            "rendering template has a nested reference name: r",
        ),
        (
            "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}",
            "exceeded maximum template depth (100000)",
        ),
        (
            "{{ define \"r\" }}{{ include \"s\" . }}{{ end }}{{ define \"s\" }}{{ include \"r\" . }}{{ end }}{{ include \"r\" . }}",
            "rendering template has a nested reference name",
        ),
        ("{{ tpl .Values.again . }}", "tpl nests deeper than 1000"),
        (
            "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}{{ toYaml $d }}",
            "contains itself",
        ),
    ] {
        check_refused(
            &chart_with(template, "again: '{{ tpl .Values.again . }}'\n"),
            RENDER,
            because,
        );
    }
}

#[test]
fn err_templates_that_make_too_much() {
    for template in [
        "{{ repeat 1000000000 \"x\" }}",
        "{{ repeat 1000000 (repeat 1000 \"x\") }}",
        "{{ $s := \"x\" }}{{ range 40 }}{{ $s = printf \"%s%s\" $s $s }}{{ end }}",
        "{{ indent 1000000000 \"x\" }}",
        "{{ until 1000000000 }}",
        "{{ randAlphaNum 1000000000 }}",
        "{{ range 100000 }}{{ repeat 10000 \"x\" }}{{ end }}",
    ] {
        check_refused(&chart_with(template, ""), RENDER, "more than");
    }
}

#[test]
fn err_jinja_templates_that_ask_for_too_much() {
    for (template, because) in [
        (
            "{% for i in range(10000) %}{{ 'x' * 10000 }}{% endfor %}",
            "bytes",
        ),
        ("{{ 'x' * 1000000000 }}", "repeated string is too large"),
        (
            "{% for i in range(2000) %}{% for j in range(2000) %}{% endfor %}{% endfor %}",
            "fuel",
        ),
    ] {
        let sandbox = chart_with("", "");
        sandbox.write("box/templates/more.yaml.j2", template);
        check_refused(&sandbox, RENDER, because);
    }
}

#[test]
fn err_yaml_that_blows_up() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 9].join(","));
    }
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(100_000));
    let tables = format!(
        "a: &a [{}]\nb: [{}]\n",
        "{a: 1},".repeat(10_000),
        "*a,".repeat(90)
    );
    let deep = format!("a: {}", "[".repeat(1_000_000));
    for (text, because) in [
        (&bomb, "document contains excessive aliasing"),
        (&long, "anchors and aliases copy more than"),
        (&tables, "anchors and aliases copy more than"),
        (&deep, "exceeded max depth"),
    ] {
        check_refused(&chart_with("a: 1", text), RENDER, because);
        let sandbox = chart_with("a: 1", "");
        sandbox.write("values.yaml", text);
        check_refused(
            &sandbox,
            &["template", "web", "box", "-f", "values.yaml"],
            because,
        );
        // `fromYaml` tells its caller, as in Helm.
        let sandbox = chart_with(
            "{{ with (.Files.Get \"bomb\" | fromYaml).Error }}{{ fail . }}{{ end }}",
            "",
        );
        sandbox.write("box/bomb", text);
        check_refused(&sandbox, RENDER, because);
    }
}

#[test]
fn err_values_flags_that_ask_for_too_much() {
    for (set, because) in [
        ("a[100000000]=1", "greater than maximum supported index of 65536"),
        (
            &*format!("{}=1", ["a"; 100].join(".")),
            "greater than maximum supported nested level of 30",
        ),
    ] {
        check_refused(
            &chart_with("a: 1", ""),
            &["template", "web", "box", "--set", set],
            because,
        );
    }
}

/// Packs entries as they are given; the `tar` crate would refuse to write the hostile ones.
struct Packer(Vec<u8>);

impl Packer {
    fn new() -> Self {
        let mut packer = Packer(Vec::new());
        packer.file("box/Chart.yaml", b"apiVersion: v2\nname: box\nversion: 1.0.0\n");
        packer
    }

    fn header(&mut self, name: &str, size: u64, kind: u8, link: &str) {
        let mut header = tar::Header::new_gnu();
        {
            let header = header.as_gnu_mut().unwrap();
            header.name[..name.len()].copy_from_slice(name.as_bytes());
            header.linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.zip(header.as_bytes());
    }

    fn file(&mut self, name: &str, data: &[u8]) {
        self.header(name, data.len() as u64, b'0', "");
        let mut padded = data.to_vec();
        padded.resize(data.len().next_multiple_of(512), 0);
        self.zip(&padded);
    }

    /// Adds a gzip member of its own: gzip files may be put one after the other.
    fn zip(&mut self, data: &[u8]) {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(data).unwrap();
        self.0.extend(gzip.finish().unwrap());
    }

    /// Adds a great many zeros without compressing them one by one.
    fn zeros(&mut self, bytes: u64) {
        const PART: u64 = 16 << 20;
        let mut part = Packer(Vec::new());
        part.zip(&vec![0; usize::try_from(PART).unwrap()]);
        for _ in 0..bytes.div_ceil(PART) {
            self.0.extend_from_slice(&part.0);
        }
    }

    fn write(self, sandbox: &Sandbox) -> PathBuf {
        let path = sandbox.path().join("box.tgz");
        fs::write(&path, self.0).unwrap();
        path
    }
}

const RENDER_ARCHIVE: &[&str] = &["template", "web", "box.tgz"];

#[test]
fn err_archives_of_zeros() {
    const HUGE: u64 = if cfg!(debug_assertions) { 1 << 30 } else { 10 << 30 };
    let sandbox = Sandbox::new();
    // One file that says how large it is.
    let mut one = Packer::new();
    one.header("box/zeros", HUGE, b'0', "");
    one.zeros(HUGE);
    one.write(&sandbox);
    check_refused(
        &sandbox,
        RENDER_ARCHIVE,
        "decompressed chart is larger than the maximum size 104857600",
    );
    // Many files that are each as large as they may be.
    let mut many = Packer::new();
    let mut part = Packer(Vec::new());
    part.file("box/zeros", &vec![0; 5 << 20]);
    for _ in 0..HUGE / (5 << 20) {
        many.0.extend_from_slice(&part.0);
    }
    many.write(&sandbox);
    check_refused(
        &sandbox,
        RENDER_ARCHIVE,
        "decompressed chart is larger than the maximum size 104857600",
    );
    // A name that goes on and on.
    for kind in [b'L', b'K', b'x', b'g'] {
        let mut name = Packer::new();
        name.header("name", HUGE, kind, "");
        name.zeros(HUGE);
        name.write(&sandbox);
        check_refused(&sandbox, RENDER_ARCHIVE, "chart");
    }
    // Folders without end, and nothing in them.
    let mut folders = Packer::new();
    let mut part = Vec::new();
    for _ in 0..10_000 {
        let mut header = tar::Header::new_gnu();
        header.set_path("box/templates").unwrap();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_cksum();
        part.extend_from_slice(header.as_bytes());
    }
    let mut zipped = Packer(Vec::new());
    zipped.zip(&part);
    for _ in 0..1000 {
        folders.0.extend_from_slice(&zipped.0);
    }
    folders.write(&sandbox);
    check_refused(
        &sandbox,
        RENDER_ARCHIVE,
        "decompressed chart is larger than the maximum size",
    );
}

#[test]
fn err_archives_in_archives_count_together() {
    let sandbox = Sandbox::new();
    let mut inner = Packer(Vec::new());
    inner.file("db/Chart.yaml", b"apiVersion: v2\nname: db\nversion: 1.0.0\n");
    for _ in 0..4 {
        inner.file("db/zeros", &vec![0; 5 << 20]);
    }
    let mut outer = Packer::new();
    for at in 0..20 {
        outer.file(&format!("box/charts/db{at}-1.0.0.tgz"), &inner.0);
    }
    outer.write(&sandbox);
    check_refused(
        &sandbox,
        RENDER_ARCHIVE,
        "decompressed chart is larger than the maximum size",
    );
}

#[test]
fn err_archives_that_lead_elsewhere() {
    for (name, kind, because) in [
        ("../evil", b'0', "chart illegally references parent directory"),
        (
            "box/../../evil",
            b'0',
            "chart illegally references parent directory",
        ),
        (
            "box\\..\\..\\evil",
            b'0',
            "chart illegally references parent directory",
        ),
        ("/etc/evil", b'0', "chart illegally contains absolute paths"),
        ("box//etc/evil", b'0', "chart illegally contains absolute paths"),
        ("box/c:/evil", b'0', "chart contains illegally named files"),
        ("box/templates/link.yaml", b'2', "chart illegally contains a link"),
        ("box/templates/hard.yaml", b'1', "chart illegally contains a link"),
    ] {
        let sandbox = Sandbox::new();
        let mut packer = Packer::new();
        packer.header(name, 0, kind, "/etc/passwd");
        packer.write(&sandbox);
        check_refused(&sandbox, RENDER_ARCHIVE, because);
        assert!(!sandbox.path().join("evil").exists());
    }
}

#[test]
fn limits_can_be_raised_by_flag_and_by_environment() {
    let sandbox = chart_with(
        "a: {{ range until 1500 }}{{ range until 600 }}{{ end }}{{ end }}1\n",
        "",
    );
    let flag = sandbox.run(&["template", "web", "box", "--limit", "steps=20M"]);
    assert_eq!(flag.ok(), "---\n# Source: box/templates/config.yaml\na: 1\n");
    let mut command = sandbox.command(RENDER);
    command.env("TUG_LIMITS", "list=5M,steps=20M");
    assert_eq!(Sandbox::output(&mut command).ok(), flag.stdout);
    command.args(["--limit", "steps=10"]);
    let lowered = Sandbox::output(&mut command);
    assert!(
        lowered.stderr.contains("template takes more than 10 steps"),
        "{}",
        lowered.stderr
    );
    sandbox.run(&["template", "web", "box", "--limit", "speed=1"]).refused(&[
        "Error: cannot read limit `speed=1`",
        "Caused by: `speed` is none of steps, total-steps, text, total-text, list, include-depth, template-depth, value-depth, \
         syntax-depth, chart-bytes, file-bytes, files, chart-depth, yaml-depth, yaml-copies",
    ]);
    let large = Sandbox::new();
    let mut packer = Packer::new();
    packer.file("box/data", &vec![b'x'; 6 << 20]);
    packer.write(&large);
    check_refused(
        &large,
        RENDER_ARCHIVE,
        "larger than the maximum file size 5242880",
    );
    assert_eq!(
        large
            .run(&["template", "web", "box.tgz", "--limit", "file-bytes=8Mi"])
            .ok(),
        "\n"
    );
}
