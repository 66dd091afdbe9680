//! How long rendering takes, from the files of a chart to the text that is printed.
//!
//! `cargo bench -p chart-render`; with `TUG_BENCH_CHARTS` set to a folder of charts, each of them is a case as well.

use std::path::PathBuf;

use chart_model::{Chart, File, Language, scaffold};
use chart_render::{Output, RenderOptions, render};
use chart_values::Map;

fn main() {
    divan::main();
}

fn file(name: String, text: &str) -> File {
    File {
        name,
        data: text.as_bytes().into(),
    }
}

fn text(files: Vec<File>) -> usize {
    let chart = Chart::from_files(files).expect("a chart");
    let rendered = render(chart.clone(), Map::new(), &RenderOptions::default()).expect("renders");
    Output::default().text(&rendered).expect("prints").len()
}

#[divan::bench]
fn new_chart_in_go(bencher: divan::Bencher<'_, '_>) {
    let files = scaffold("web", Language::Go).expect("a chart");
    bencher.bench_local(|| text(files.clone()));
}

#[divan::bench]
fn new_chart_in_jinja(bencher: divan::Bencher<'_, '_>) {
    let files = scaffold("web", Language::Jinja).expect("a chart");
    bencher.bench_local(|| text(files.clone()));
}

/// Subcharts that render texts of their values in a loop, and share their parent's partials.
fn umbrella(subcharts: usize) -> Vec<File> {
    const PARTIALS: &str =
        "{{ define \"umbrella.labels\" }}app: {{ .Chart.Name }}\nrelease: {{ .Release.Name }}{{ end }}";
    const TEMPLATE: &str = "{{- range $i := until (int .Values.count) }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  \
        name: {{ $.Release.Name }}-{{ $.Chart.Name }}-{{ $i }}\n  labels:\n    {{- include \"umbrella.labels\" $ | nindent 4 }}\n\
        data:\n  text: {{ tpl $.Values.text (dict \"i\" $i \"Values\" $.Values) | quote }}\n  \
        body: |\n    {{- tpl $.Values.body $ | nindent 4 }}\n{{- end }}\n";
    let mut files = vec![
        file(
            "Chart.yaml".into(),
            "apiVersion: v2\nname: umbrella\nversion: 1.0.0\n",
        ),
        file("templates/_helpers.tpl".into(), PARTIALS),
    ];
    let body: String = (0..20)
        .map(|line| format!("  line {line} of {{{{ .Chart.Name }}}} in {{{{ .Release.Namespace }}}}\n"))
        .collect();
    for at in 0..subcharts {
        let folder = format!("charts/sub{at}");
        files.push(file(
            format!("{folder}/Chart.yaml"),
            &format!("apiVersion: v2\nname: sub{at}\nversion: 1.0.0\n"),
        ));
        files.push(file(
            format!("{folder}/values.yaml"),
            &format!("count: 100\ntext: 'number {{{{ .i }}}} of {{{{ .Values.count }}}}'\nbody: |\n{body}"),
        ));
        files.push(file(format!("{folder}/templates/maps.yaml"), TEMPLATE));
    }
    files
}

#[divan::bench(args = [15, 30, 60])]
fn umbrella_chart(bencher: divan::Bencher<'_, '_>, subcharts: usize) {
    let files = umbrella(subcharts);
    bencher
        .counter(divan::counter::BytesCount::new(text(files.clone())))
        .bench_local(|| text(files.clone()));
}

fn charts() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("TUG_BENCH_CHARTS") else {
        return Vec::new();
    };
    let mut charts: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    charts.sort();
    // Charts that want values of the user's own cannot be rendered without.
    charts.retain(|path| {
        Chart::load(path).is_ok_and(|chart| render(chart, Map::new(), &RenderOptions::default()).is_ok())
    });
    charts
}

#[divan::bench]
fn charts_of_a_folder(bencher: divan::Bencher<'_, '_>) {
    let charts = charts();
    bencher.bench_local(|| {
        let lengths = charts.iter().map(|path| {
            let chart = Chart::load(path).expect("a chart");
            let rendered = render(chart.clone(), Map::new(), &RenderOptions::default()).expect("renders");
            Output::default().text(&rendered).expect("prints").len()
        });
        lengths.sum::<usize>()
    });
}
