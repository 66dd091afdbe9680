#!/usr/bin/env python3
"""Writes src/http/protobuf/messages.txt; run by hand when the served version of the API moves.

    ./protobuf_fields.py /path/to/kubectl > ../src/http/protobuf/messages.txt

The numbers of protobuf fields are part of the API's wire format. A Go program that links the API's types carries them
in its type information (the struct tags that its own encoder reads), together with what the .proto files do not say:
which fields tell "absent" from "zero". This reads that information from a kubectl of the served version.
"""

import re
import struct
import sys

# Packages of the served groups and versions.
GROUPS = """core/v1 apps/v1 batch/v1 autoscaling/v1 autoscaling/v2 policy/v1 networking/v1 discovery/v1 storage/v1
rbac/v1 authentication/v1 authorization/v1 certificates/v1 admissionregistration/v1 scheduling/v1 coordination/v1
node/v1 events/v1 flowcontrol/v1""".split()
META = "k8s.io/apimachinery/pkg/apis/meta/v1"

# Types that are no objects in JSON; the decoder knows them by these names.
SPECIAL = {
    f"{META}.Time": "@time",
    f"{META}.MicroTime": "@microtime",
    f"{META}.Duration": "@duration",
    f"{META}.FieldsV1": "@json",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "@json",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "@intorstring",
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "@quantity",
}

BOOL, FLOAT64, MAP, POINTER, SLICE, STRING, STRUCT, UINT8 = 1, 14, 21, 22, 23, 24, 25, 8
INTEGERS = range(2, 13)


class GoTypes:
    """The type information of a Go program (internal/abi.Type and its kin, 64 bits, little endian)."""

    def __init__(self, path):
        self.data = open(path, "rb").read()
        self.sections = self.read_sections()
        self.base = self.sections[".rodata"][0]
        self.types = {}
        _, offset, size = self.sections[".typelink"]
        links = struct.unpack_from(f"<{size // 4}i", self.data, offset)
        waiting = [self.base + link for link in links]
        while waiting:
            address = waiting.pop()
            if address in self.types or not self.offset(address):
                continue
            found = self.types[address] = self.read(address)
            waiting += [found[key] for key in ("element", "key") if key in found]
            waiting += [field["type"] for field in found.get("fields", [])]

    def read_sections(self):
        data = self.data
        table, = struct.unpack_from("<Q", data, 40)
        count, names = struct.unpack_from("<HH", data, 60)
        headers = [struct.unpack_from("<IIQQQQ", data, table + 64 * at) for at in range(count)]
        start = headers[names][4]
        return {
            data[start + name : data.index(b"\0", start + name)].decode(): (address, offset, size)
            for name, _, _, address, offset, size in headers
        }

    def offset(self, address):
        for name in (".rodata", ".data", ".noptrdata"):
            start, offset, size = self.sections[name]
            if start <= address < start + size:
                return offset + address - start
        return None

    def text(self, at):
        length = shift = 0
        while True:
            byte = self.data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return self.data[at : at + length].decode("utf-8", "replace"), at + length

    def name(self, address):
        at = self.offset(address)
        flags = self.data[at]
        name, at = self.text(at + 1)
        tag = self.text(at)[0] if flags & 2 else ""
        return name, tag, bool(flags & 8)

    def word(self, at):
        return struct.unpack_from("<Q", self.data, at)[0]

    def int32(self, at):
        return struct.unpack_from("<i", self.data, at)[0]

    def read(self, address):
        at = self.offset(address)
        kind, flags = self.data[at + 23] & 31, self.data[at + 20]
        name = self.name(self.base + self.int32(at + 40))[0]
        found = {"kind": kind, "name": name[1:] if flags & 2 else name, "package": ""}
        if kind in (POINTER, SLICE):
            found["element"] = self.word(at + 48)
        elif kind == MAP:
            found["key"], found["element"] = self.word(at + 48), self.word(at + 56)
        elif kind == STRUCT:
            start, count = self.offset(self.word(at + 56)), self.word(at + 64)
            found["fields"] = []
            for place in range(count):
                field, tag, embedded = self.name(self.word(start + 24 * place))
                entry = {"name": field, "tag": tag, "embedded": embedded, "type": self.word(start + 24 * place + 8)}
                found["fields"].append(entry)
        size = {POINTER: 56, SLICE: 56, STRUCT: 80}.get(kind)
        if size and flags & 1:
            found["package"] = self.name(self.base + self.int32(at + size))[0]
        return found


def full_name(found):
    return f"{found['package']}.{found['name'].split('.')[-1]}"


def short_name(found):
    full = full_name(found)
    return SPECIAL.get(full) or full.replace(META, "meta/v1").replace("k8s.io/api/", "")


def holds(go, found):
    """What a field holds, as the table writes it, and whether zero is told from absent."""
    kind = found["kind"]
    if kind == POINTER:
        return holds(go, go.types[found["element"]])[0], True
    if kind == SLICE:
        element = go.types[found["element"]]
        if element["kind"] == UINT8:
            return "bytes", False
        if found["package"]:
            # A named list, which protobuf wraps into a message of its own.
            return "@list", False
        return "*" + holds(go, element)[0], False
    if kind == MAP:
        element = go.types[found["element"]]
        return "map:" + holds(go, element)[0], False
    if kind == STRUCT:
        return short_name(found), False
    if kind == STRING:
        return "text", False
    if kind == BOOL:
        return "bool", False
    if kind == FLOAT64:
        return "double", False
    if kind in INTEGERS:
        return "int", False
    raise ValueError(found)


def main():
    go = GoTypes(sys.argv[1])
    structs = {}
    for found in go.types.values():
        if found["kind"] == STRUCT and found["package"] and "[" not in found["name"]:
            structs.setdefault(full_name(found), found)
    wanted = [f"{META}.DeleteOptions"]
    wanted += [name for name in structs if any(name.startswith(f"k8s.io/api/{group}.") for group in GROUPS)]
    done = {}
    while wanted:
        name = wanted.pop()
        found = structs[name]
        if name in done or name in SPECIAL:
            continue
        lines = []
        for field in found["fields"]:
            number = re.search(r'protobuf:"[^"]*?,(\d+),', field["tag"])
            if not number:
                continue
            json = re.search(r'json:"([^",]*)', field["tag"])
            name_in_json = json.group(1) if json else ""
            kind, pointer = holds(go, go.types[field["type"]])
            inline = field["embedded"] and not name_in_json
            lines.append((int(number.group(1)), "?" if pointer else "", "-" if inline else name_in_json, kind))
            reached = go.types[field["type"]]
            while reached["kind"] in (POINTER, SLICE, MAP):
                reached = go.types[reached["element"]]
            if reached["kind"] == STRUCT and full_name(reached) in structs:
                wanted.append(full_name(reached))
        if lines or found["fields"] == []:
            done[name] = (short_name(found), sorted(lines))
    print("# Messages of the API in protobuf: `NUMBER[?] NAME TYPE`, written by generate/protobuf_fields.py.")
    print("# `?`: zero is told from absent. `-`: the fields stand in the object itself. `*`: repeated.")
    for name, lines in sorted(done.values()):
        print(name)
        for number, optional, json, kind in lines:
            print(f" {number}{optional} {json} {kind}")


if __name__ == "__main__":
    main()
