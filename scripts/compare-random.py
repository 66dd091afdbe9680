#!/usr/bin/env python3
"""Renders random charts with helm and with tug, and prints those that come out differently.

    scripts/compare-random.py --helm target/peers/helm --tug target/debug/tug [--kind KIND] [--seed N] [--count N]

KIND is `expressions` (calls of template functions, nested), `values` (YAML as in values.yaml), `templates` (actions of
the language within each other) or `charts` (umbrella charts with conditions, tags, aliases, imports and globals). The
same seed gives the same charts. Exits with 1 where anything differs: in what is printed, in whether it is an error, or
when tug's error lacks the end of Helm's.
"""

import argparse
import base64
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

FUNCTIONS = pathlib.Path(__file__).parent.parent / "chart-engine/template/tests/functions/names.list"
# What gives something else each time, takes long, or is known to differ (COMPATIBILITY.md).
SKIPPED = re.compile(
    r"now|ago|uuidv4|rand.*|shuffle|gen.*|htpasswd|bcrypt|encryptAES|derivePassword|getHostByName|lookup|date.*|html.*"
    r"|must.*[dD]ate.*|keys|values|fail|tpl|fromJson|fromToml|hello|call"
)
HELM_TRIES = 6
# What Go prints with addresses in it.
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")

VALUES = """\
int: 42
float: 0.1
text: some text
list: [1, two, 3.5, null, true]
table: {z: 1, a: {b: [x]}, q: "w"}
"null": null
big: 12345678901234567890
lines: |
  first
    second

  third
"""
# What expressions are made of, by line.
ATOMS = """\
0
1
-1
3
1.5
-2.25
1e3
0x1F
1e21
true
false
nil
""
"a"
"abc"
"ä€😀"
"true"
"no"
"12"
"0x10"
"3.7"
"1.2.3"
"~"
">=1.0.0"
"v1.2.3-beta.1+b"
" pad "
"a,b,c"
"%s-%d"
"[a-c]+"
"(a)(b)?"
"$1x"
"YWJj"
"a/b/../c.txt"
"https://u:p@h.com:80/p?q=1#f"
"key"
`a\b`
'x'
(list)
(dict)
(list 1 "a" nil)
(list 3 1 2)
(list "b" "a" "a")
(list (list 1 2) (list 3))
(dict "a" 1 "b" (list 1 2))
(dict "x" (dict "y" nil))
(int64 5)
(fromJsonArray "null")
.Values
.Values.int
.Values.float
.Values.text
.Values.list
.Values.table
.Values.null
.Values.missing
.Values.big
.Values.lines
.Release.Name
.Chart
.Chart.Version
.Chart.Annotations""".splitlines()
SHAPES = """\
{{ E }}
{{ E | toJson }}
{{ E | toYaml }}
{{ printf "%v %T" E 1 }}
{{ printf "%#v" E }}
{{ printf "%q" E }}
{{ range $k, $v := E }}[{{ $k }}={{ $v }}]{{ else }}none{{ end }}
{{ with E }}y{{ . }}{{ else }}n{{ end }}
{{ if E }}t{{ else }}f{{ end }}
{{ $x := E }}{{ kindOf $x }}{{ typeOf $x }}""".splitlines()
OPERANDS = """\
.
$v
$k
$.Values.int
$.Values.list
$.Values.table
$.Values.missing
1
"x"
true
false
nil
(list 1 2)
(dict "a" 1)
(index $.Values.list 0)
(eq $k 1)
(not .)
(kindOf .)
(print 1 2)
$.Values.list | len
. | printf "%v"
$.Values.table.q.z
$.Values.int.x
(1)
len
print (""".splitlines()

SCALARS = """\
1
-1
0
010
0o10
0x1F
0b11
1e3
1.
.5
1.50
-0.0
~
null
true
Yes
No
on
OFF
y
n
text
2001-01-01
1_000
12e03
9223372036854775808
0.1e-7
+12
1:30
*a
&a x
[a, b]
[]
{}
{a: 1}
'it''s'
"q\\t\\u00e9"
!!str 12
!!int "3"
!!float 3
!!binary aGk=
!foo bar
a #c
a#c
#c
http://x:y
<<
-
--
é
0777
08
1__0
1.2.3
0xg
"a" b
@x
`x
[1,2
x:
""".splitlines()
KEYS = "a b c enabled nested db web cache global tags exports data".split()


class Rendering:
    """What a program made of the chart."""

    def __init__(self, program, folder, arguments=()):
        command = [program, "template", "release", folder / "chart", *arguments]
        done = subprocess.run(command, capture_output=True, cwd=folder, env={"HOME": str(folder)}, timeout=60)
        self.failed = done.returncode != 0
        self.text = ADDRESS.sub("ADDRESS", done.stdout.decode(errors="replace"))
        self.error = ADDRESS.sub("ADDRESS", done.stderr.decode(errors="replace")).strip()

    def reason(self):
        """The end of the error, behind the way to it."""
        lines = [line for line in self.error.splitlines() if "rror" in line]
        return lines[-1].rsplit(": ", 1)[-1].strip() if lines else ""

    def agrees_with(self, helm):
        if self.failed or helm.failed:
            return self.failed == helm.failed and helm.reason() in self.error
        return self.text == helm.text

    def shown(self):
        if self.failed:
            return self.error
        decode = lambda found: base64.b64decode(found[1]).decode(errors="replace")
        return re.sub(r"(?<=: )([A-Za-z0-9+/]+={0,2})$", decode, self.text, flags=re.M)


class Generator:
    """Writes one random chart after the other into a folder."""

    def __init__(self, folder, seed):
        self.chart = folder / "chart"
        self.random = random.Random(seed)
        names = [line for line in FUNCTIONS.read_text().splitlines() if line and not line.startswith("#")]
        self.functions = [name for name in names if not SKIPPED.fullmatch(name)]

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def write(self, name, text):
        path = self.chart / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def write_template(self, body):
        """A chart with one template: what it gives is not read as YAML."""
        self.write("Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.2.3\n")
        self.write("values.yaml", VALUES)
        # Without `.Capabilities`, which Go prints as an address.
        dot = '(dict "Values" .Values "Release" .Release "Chart" .Chart)'
        self.write("templates/a.yaml", '{{ define "it" }}' + body + '{{ end }}a: {{ include "it" ' + dot + " | b64enc }}\n")

    # Expressions

    def expression(self, depth):
        if depth == 0 or self.chance(0.25):
            return self.pick(*ATOMS)
        count = self.pick(0, 1, 1, 1, 2, 2, 2, 3, 3, 4)
        words = [self.pick(*self.functions)] + [self.expression(depth - 1) for _ in range(count)]
        piped = self.expression(depth - 1) + " | " if self.chance(0.2) else ""
        return "(" + piped + " ".join(words) + ")"

    def expressions(self):
        expression = self.expression(self.pick(1, 2, 2, 3))
        self.write_template(self.pick(*SHAPES).replace("E", expression, 1))

    # Values

    def yaml(self, depth, indent):
        if depth == 0 or self.chance(0.5):
            return " " + self.pick(*SCALARS) + "\n"
        if self.chance(0.5):
            return "\n" + self.yaml_table(depth - 1, indent + 2)
        return "\n" + "".join(" " * indent + "-" + self.yaml(depth - 1, indent + 2) for _ in range(self.pick(1, 2, 3)))

    def yaml_table(self, depth, indent):
        keys = self.random.sample(KEYS + ["1", "true", '"q r"', "1.5", "é", "0x10"], self.pick(1, 2, 3, 4))
        return "".join(" " * indent + key + ":" + self.yaml(depth, indent) for key in keys)

    def values(self):
        self.write_template('{{ printf "%s\\n%s\\n%v" (toYaml .Values) (toJson .Values) .Values }}')
        self.write("values.yaml", self.yaml_table(2, 0))

    # Templates

    def operand(self):
        return self.pick(*OPERANDS)

    def action(self, text):
        return self.pick("{{", "{{ ", "{{- ") + text + self.pick("}}", " }}", " -}}")

    def node(self, depth):
        if depth == 0 or self.chance(0.5):
            text = self.pick("text ", "  \n", "\n\n x", "{", "}", "a: b\n", "\t", "é", "{{/* c */}}", "{{- /* c */ -}}")
            return text if self.chance(0.4) else self.action(self.operand())
        body = lambda: "".join(self.node(depth - 1) for _ in range(self.pick(1, 2, 3)))
        end, otherwise = self.action("end"), self.pick("", self.action("else") + body())
        many = self.pick("$.Values.list", "$.Values.table", "(list 1 2 3)", "(until 4)", "3", "(list)", self.operand())
        return self.pick(
            lambda: self.action("if " + self.operand()) + body() + otherwise + end,
            lambda: self.action("if " + self.operand()) + body() + self.action("else if " + self.operand()) + body() + end,
            lambda: self.action("range " + self.pick("", "$v := ", "$k, $v := ", "$v = ") + many) + body() + otherwise + end,
            lambda: self.action("range " + many) + body() + self.action(self.pick("break", "continue")) + body() + end,
            lambda: self.action("with " + self.pick("", "$v := ") + self.operand()) + body() + otherwise + end,
            lambda: self.action(self.pick("$v", "$k") + self.pick(" := ", " = ") + self.operand()),
            lambda: self.action(self.pick('template "t" .', 'include "t" $', "break", "define", "end")) if self.chance(0.3) else "",
        )()

    def templates(self):
        body = "".join(self.node(3) for _ in range(self.pick(1, 2, 3)))
        self.write_template("{{ $v := 0 }}{{ $k := 0 }}" + body + '{{ end }}{{ define "t" }}[{{ kindOf . }}]')

    # Charts

    def table(self, depth, indent=0):
        text = ""
        for key in self.random.sample(KEYS, self.pick(1, 2, 3, 4)):
            pad = " " * indent + key + ":"
            if depth > 0 and self.chance(0.6):
                text += pad + "\n" + self.table(depth - 1, indent + 2)
            else:
                text += pad + " " + self.pick("1", "true", "false", "null", "text", "[1, 2]", "[]", "{}", "{q: 1}", "{q: null}") + "\n"
        return text

    def dependency(self, name):
        version = self.pick("1.2.3", "1.x.x", "'*'", "^1.0.0", "2.0.0")
        text = f"- name: {name}\n  version: {version}\n"
        if self.chance(0.3):
            text += f"  alias: {self.pick('one', 'two', 'db', 'x-y')}\n"
        if self.chance(0.4):
            text += f"  condition: {self.pick(name + '.enabled', 'global.enabled', 'missing, ' + name + '.enabled', 'nested.a')}\n"
        if self.chance(0.3):
            text += f"  tags: [{self.pick('front', 'back', 'front, back')}]\n"
        if self.chance(0.3):
            imported = self.pick("data", "{child: data, parent: web}", "{child: nested.a, parent: a.b}", "{child: data, parent: .}")
            text += f"  import-values: [{imported}]\n"
        return text

    def write_chart(self, folder, name, depth):
        subcharts = [sub for sub in ("db", "web", "cache") if depth > 0 and sub != name and self.chance(0.4)]
        declared = "".join(self.dependency(sub) for sub in subcharts if self.chance(0.8))
        metadata = f"apiVersion: {self.pick('v2', 'v2', 'v2', 'v1')}\nname: {name}\nversion: 1.2.3\n"
        self.write(f"{folder}Chart.yaml", metadata + (f"dependencies:\n{declared}" if declared else ""))
        self.write(f"{folder}values.yaml", self.table(2))
        body = "values: {{ toJson .Values | quote }}\nchart: {{ .Chart.Name }} {{ .Template.Name }}\n"
        if self.chance(0.2):
            body = "{{ range (.Values.global).data }}{{ if kindIs \"map\" . }}{{ $_ := set . \"by\" $.Chart.Name }}{{ end }}{{ end }}" + body
        if self.chance(0.2):
            hook = self.pick("pre-install", "post-install", "test", "bogus")
            body = f"metadata: {{annotations: {{helm.sh/hook: {hook}}}}}\n" + body
        kind = self.pick("ConfigMap", "Secret", "Service", "Deployment", "Job", "Foo", "Namespace")
        body = f"kind: {kind}\n" + body
        self.write(f"{folder}templates/{self.pick('a.yaml', 'b.yaml', 'z.yml', '_p.yaml', 'c.txt')}", body)
        for sub in subcharts:
            self.write_chart(f"{folder}charts/{sub}/", sub, depth - 1)

    def charts(self):
        self.write_chart("", "top", 2)
        arguments = []
        for _ in range(self.pick(0, 0, 1, 2)):
            key = self.pick("db.enabled", "web", "tags.front", "global", "nested.a", "web.a", "global.data.x", "cache.data.q")
            arguments += ["--set", f"{key}={self.pick('true', 'false', 'null', '1')}"]
        return arguments


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--helm", required=True, type=pathlib.Path)
    parser.add_argument("--tug", required=True, type=pathlib.Path)
    parser.add_argument("--kind", choices=["expressions", "values", "templates", "charts"], default="charts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    helm, tug = options.helm.resolve(), options.tug.resolve()
    folder = pathlib.Path(tempfile.mkdtemp())
    generator = Generator(folder, options.seed)
    rendered = different = 0
    for number in range(options.count):
        shutil.rmtree(generator.chart, ignore_errors=True)
        arguments = getattr(generator, options.kind)() or ()
        found = Rendering(tug, folder, arguments)
        # Helm is not the same each time: it goes through tables in any order.
        for _ in range(HELM_TRIES):
            wanted = Rendering(helm, folder, arguments)
            if found.agrees_with(wanted):
                break
        rendered += not wanted.failed
        if found.agrees_with(wanted):
            continue
        different += 1
        print(f"-- {options.kind} {options.seed}, number {number}", *arguments)
        for path in sorted(path for path in generator.chart.rglob("*") if path.is_file()):
            if options.kind == "charts" or path.name == ("values.yaml" if options.kind == "values" else "a.yaml"):
                print(f"# {path.relative_to(folder)}\n{path.read_text()}")
        print(f"helm: {wanted.shown()}\ntug:  {found.shown()}\n", flush=True)
    print(f"{options.count} charts, {rendered} rendered by helm, {different} different")
    shutil.rmtree(folder)
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
