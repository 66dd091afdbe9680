//! The two languages of templates, and what charts say in them.

use serde_json::Value;

/// What a chart's templates are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Go templates, which Helm reads as well.
    #[default]
    Go,
    /// Jinja.
    Jinja,
}

use Dialect::{Go, Jinja};

impl Dialect {
    /// What names of files end in behind their own ending.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Go => "",
            Jinja => ".j2",
        }
    }

    pub(super) fn helpers_name(self) -> &'static str {
        match self {
            Go => "_helpers.tpl",
            Jinja => "_helpers.j2",
        }
    }

    /// A value by its path, as an expression.
    pub(super) fn value(self, path: &[&str]) -> String {
        let mut text = match self {
            Go => ".Values".to_owned(),
            Jinja => "values".to_owned(),
        };
        for key in path {
            let is_word = key.starts_with(|char: char| char.is_ascii_alphabetic())
                && key
                    .chars()
                    .all(|char| char.is_ascii_alphanumeric() || char == '_');
            text = match self {
                _ if is_word => format!("{text}.{key}"),
                Go => format!("(index {text} {key:?})"),
                Jinja => format!("{text}[{key:?}]"),
            };
        }
        text
    }

    /// An expression as a text of the document.
    pub(super) fn print(self, expression: &str) -> String {
        format!("{{{{ {expression} }}}}")
    }

    pub(super) fn quoted(self, expression: &str) -> String {
        format!("{{{{ {expression} | quote }}}}")
    }

    pub(super) fn integer(self, expression: &str) -> String {
        format!("{{{{ {expression} | int }}}}")
    }

    pub(super) fn release_name(self) -> &'static str {
        match self {
            Go => "{{ .Release.Name }}",
            Jinja => "{{ release.name }}",
        }
    }

    pub(super) fn revision(self) -> &'static str {
        match self {
            Go => "{{ .Release.Revision }}",
            Jinja => "{{ release.revision }}",
        }
    }

    /// A secret value as an entry of a Secret's data.
    pub(super) fn encoded(self, expression: &str) -> String {
        match self {
            Go => format!("{{{{ {expression} | toString | b64enc | quote }}}}"),
            Jinja => format!("{{{{ {expression} | toString | b64enc | quote }}}}"),
        }
    }

    pub(super) fn secrets_digest(self) -> &'static str {
        match self {
            Go => "{{ .Values.secrets | toJson | sha256sum }}",
            Jinja => "{{ values.secrets | toJson | sha256sum }}",
        }
    }

    /// The image of a service.
    pub(super) fn image(self, chart: &str, value: &str) -> String {
        match self {
            Go => format!("{{{{ include \"{chart}.image\" {value} | quote }}}}"),
            Jinja => format!("{{{{ names.image({value}) | trim | quote }}}}"),
        }
    }

    /// A table or list, where it holds anything, as an entry.
    pub(super) fn yaml_entry(self, key: &str, value: &str, indent: usize) -> String {
        let pad = " ".repeat(indent);
        let deep = indent + 2;
        match self {
            Go => format!(
                "{pad}{{{{- with {value} }}}}\n{pad}{key}:\n{pad}  {{{{- toYaml . | nindent {deep} }}}}\n{pad}{{{{- end }}}}\n"
            ),
            Jinja => format!(
                "{{% if {value} %}}\n{pad}{key}: {{{{ {value} | toYaml | nindent({deep}) }}}}\n{{% endif %}}\n"
            ),
        }
    }

    /// A text, where it is not empty, as an entry.
    pub(super) fn text_entry(self, key: &str, value: &str, indent: usize) -> String {
        let pad = " ".repeat(indent);
        match self {
            Go => format!(
                "{pad}{{{{- with {value} }}}}\n{pad}{key}: {{{{ . | quote }}}}\n{pad}{{{{- end }}}}\n"
            ),
            Jinja => format!("{{% if {value} %}}\n{pad}{key}: {{{{ {value} | quote }}}}\n{{% endif %}}\n"),
        }
    }

    /// The variables of a container.
    pub(super) fn environment(self, value: &str, indent: usize) -> String {
        let pad = " ".repeat(indent);
        match self {
            Go => format!(
                "{pad}{{{{- with {value} }}}}\n\
                 {pad}env:\n\
                 {pad}{{{{- range $name, $value := . }}}}\n\
                 {pad}- name: {{{{ $name | quote }}}}\n\
                 {pad}  value: {{{{ $value | toString | replace \"$\" \"$$\" | quote }}}}\n\
                 {pad}{{{{- end }}}}\n\
                 {pad}{{{{- end }}}}\n"
            ),
            Jinja => format!(
                "{{% if {value} %}}\n\
                 {pad}env:\n\
                 {{% for name in {value} %}}\n\
                 {pad}- name: {{{{ name | quote }}}}\n\
                 {pad}  value: {{{{ {value}[name] | toString | replace(\"$\", \"$$\") | quote }}}}\n\
                 {{% endfor %}}\n\
                 {{% endif %}}\n"
            ),
        }
    }

    /// The chart's own labels of an object.
    pub(super) fn labels(self, chart: &str, indent: usize) -> String {
        let pad = " ".repeat(indent);
        match self {
            Go => format!("{pad}{{{{- include \"{chart}.labels\" . | nindent {indent} }}}}\n"),
            Jinja => {
                format!("{pad}{{{{ names.labels(release, chart) | trim | indent({indent}) | trim }}}}\n")
            }
        }
    }

    pub(super) fn only_if(self, condition: &str, text: &str) -> String {
        match self {
            Go => format!("{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"),
            Jinja => format!("{{% if {condition} %}}\n{text}{{% endif %}}\n"),
        }
    }

    /// A template with what it needs at its head.
    pub(super) fn with_import(self, _chart: &str, text: String) -> String {
        match self {
            Go => text,
            Jinja => format!("{{% import \"_helpers.j2\" as names %}}\n{text}"),
        }
    }

    /// Text that is to stay as it is.
    pub(super) fn escape(self, text: String) -> String {
        match self {
            Go if text.contains("{{") => text.replace("{{", "{{ \"{{\" }}"),
            Jinja if text.contains('{') => {
                let mut escaped = String::with_capacity(text.len());
                let mut rest = text.as_str();
                while let Some(at) = rest.find(['{']) {
                    let (before, from) = rest.split_at(at);
                    escaped.push_str(before);
                    match from.get(..2) {
                        Some(mark @ ("{{" | "{%" | "{#")) => {
                            escaped.push_str(&format!("{{{{ '{mark}' }}}}"));
                            rest = &from[2..];
                        }
                        _ => {
                            escaped.push('{');
                            rest = &from[1..];
                        }
                    }
                }
                escaped.push_str(rest);
                escaped
            }
            _ => text,
        }
    }

    /// The file of what templates share.
    pub(super) fn helpers(self, chart: &str) -> String {
        match self {
            Go => format!(
                "{{{{/* Labels that say which chart made an object, and by which tool. */}}}}\n\
                 {{{{- define \"{chart}.labels\" -}}}}\n\
                 app.kubernetes.io/managed-by: {{{{ .Release.Service }}}}\n\
                 helm.sh/chart: {{{{ printf \"%s-%s\" .Chart.Name .Chart.Version | replace \"+\" \"_\" | trunc 63 | trimSuffix \"-\" }}}}\n\
                 {{{{- end }}}}\n\
                 \n\
                 {{{{/* The image of a service: its repository, with tag or digest. */}}}}\n\
                 {{{{- define \"{chart}.image\" -}}}}\n\
                 {{{{ .repository }}}}{{{{ with .tag }}}}:{{{{ . }}}}{{{{ end }}}}{{{{ with .digest }}}}@{{{{ . }}}}{{{{ end }}}}\n\
                 {{{{- end }}}}\n"
            ),
            Jinja => "{# What templates share. Macros see only their arguments. #}\n\
                 \n\
                 {% macro labels(release, chart) -%}\n\
                 app.kubernetes.io/managed-by: {{ release.service }}\n\
                 helm.sh/chart: {{ (chart.name ~ \"-\" ~ chart.version) | replace(\"+\", \"_\") | trunc(63) | trimSuffix(\"-\") }}\n\
                 {%- endmacro %}\n\
                 \n\
                 {% macro image(image) -%}\n\
                 {{ image.repository }}{% if image.tag %}:{{ image.tag }}{% endif %}{% if image.digest %}@{{ image.digest }}{% endif %}\n\
                 {%- endmacro %}\n"
                .to_owned(),
        }
    }

    /// The Ingress of a service, where its values ask for one.
    pub(super) fn ingress(self, chart: &str, service: &str, port: &Value, instance: &str) -> String {
        let ingress = self.value(&["services", service, "ingress"]);
        let field = |name: &str| self.value(&["services", service, "ingress", name]);
        let mut text = format!(
            "apiVersion: networking.k8s.io/v1\n\
             kind: Ingress\n\
             metadata:\n\
             \x20 name: {service}\n\
             \x20 labels:\n\
             \x20   app.kubernetes.io/instance: {release}\n\
             \x20   app.kubernetes.io/name: {service}\n\
             \x20   app.kubernetes.io/part-of: {instance}\n",
            release = self.release_name(),
        );
        text.push_str(&self.labels(chart, 4));
        text.push_str(&self.yaml_entry("annotations", &field("annotations"), 2));
        text.push_str("spec:\n");
        text.push_str(&self.text_entry("ingressClassName", &field("className"), 2));
        let tls = field("tlsSecret");
        let host = field("host");
        let body = format!(
            "  tls:\n  - hosts:\n    - {}\n    secretName: {}\n",
            self.quoted(&host),
            self.quoted(&tls)
        );
        text.push_str(&match self {
            Go => format!("  {{{{- if {tls} }}}}\n{body}  {{{{- end }}}}\n"),
            Jinja => format!("{{% if {tls} %}}\n{body}{{% endif %}}\n"),
        });
        text.push_str(&format!(
            "  rules:\n  - host: {}\n    http:\n      paths:\n      - path: {}\n        pathType: Prefix\n        backend:\n          service:\n            name: {service}\n            port:\n              number: {port}\n",
            self.quoted(&host),
            self.quoted(&field("path")),
        ));
        self.only_if(&format!("{ingress}.enabled"), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_reached_by_any_key() {
        assert_eq!(
            Go.value(&["services", "web", "replicas"]),
            ".Values.services.web.replicas"
        );
        assert_eq!(
            Go.value(&["services", "my-app", "env"]),
            "(index .Values.services \"my-app\").env"
        );
        assert_eq!(
            Jinja.value(&["services", "my-app", "env"]),
            "values.services[\"my-app\"].env"
        );
    }

    #[test]
    fn text_of_others_is_no_template() {
        assert_eq!(Go.escape("a {{ b }}".into()), "a {{ \"{{\" }} b }}");
        assert_eq!(Jinja.escape("{% x {".into()), "{{ '{%' }} x {");
    }
}
