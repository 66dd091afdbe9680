#!/usr/bin/env python3
"""Builds a container image from installed Debian packages, as an archive that is OCI's and Docker's.

    scripts/build-image.py --name test/nginx:1 --package nginx --out nginx.tar -- nginx -g 'daemon off;'

Takes the files of each package, the shared libraries that its programs load, a static busybox with its common names,
and the few files that every program expects; no engine and no registry is needed. The same packages give the same
bytes. Needs the packages, and busybox-static, to be installed on the machine.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile

SKIPPED = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/lintian", "/etc/init.d", "/lib/systemd")
APPLETS = (
    "cat chmod chown cp cut date echo env false grep head hostname httpd id kill ls mkdir mount mv nc nslookup ps rm sed sh"
    " sleep tail tar touch true wc wget"
).split()
PASSWD = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
GROUP = "root:x:0:\nadm:x:4:\nwww-data:x:33:\nnogroup:x:65534:\n"


def package_files(package):
    listed = subprocess.run(["dpkg", "-L", package], check=True, capture_output=True, text=True).stdout
    for path in listed.splitlines():
        if path != "/." and not path.startswith(SKIPPED):
            yield path


def libraries(program):
    """The shared libraries that a program loads, and its loader; nothing for other files."""
    with open(program, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return []
    loaded = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return re.findall(r"(?:=> )?(/\S+) \(0x", loaded)


class Layer:
    """One layer of an image, with each path once and in order."""

    def __init__(self):
        self.entries = {}

    def add_text(self, path, text, mode=0o644):
        self.entries[path] = ("text", text.encode(), mode)

    def add_link(self, path, target):
        self.entries[path] = ("link", target, 0o777)

    def add_folder(self, path, mode=0o755):
        self.entries[path] = ("folder", None, mode)

    def add_from_host(self, path):
        """Adds a path as it is on the host; what a link leads to comes with it."""
        if path in self.entries:
            return
        # Folders such as /lib are links to /usr/lib here and would hide what is put below them.
        parent = os.path.realpath(os.path.dirname(path))
        path = os.path.join(parent, os.path.basename(path))
        if os.path.islink(path):
            self.add_link(path, os.readlink(path))
            self.add_from_host(os.path.join(parent, os.readlink(path)))
        elif os.path.isdir(path):
            self.add_folder(path, os.stat(path).st_mode & 0o7777)
        elif os.path.isfile(path) and path not in self.entries:
            self.entries[path] = ("file", path, os.stat(path).st_mode & 0o7777)
            for library in libraries(path):
                self.add_from_host(library)

    def add_parents(self):
        for path in list(self.entries):
            for parent in pathlib.PurePosixPath(path).parents:
                self.entries.setdefault(str(parent), ("folder", None, 0o755))
        self.entries.pop("/", None)

    def tar(self):
        self.add_parents()
        for name in ("bin", "lib", "lib64", "sbin"):
            self.add_link(f"/{name}", f"usr/{name}")
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path, (kind, content, mode) in sorted(self.entries.items()):
                info = tarfile.TarInfo(path.lstrip("/"))
                info.mode = mode
                if kind == "folder":
                    info.type = tarfile.DIRTYPE
                    archive.addfile(info)
                elif kind == "link":
                    info.type, info.linkname = tarfile.SYMTYPE, content
                    archive.addfile(info)
                else:
                    data = content if kind == "text" else pathlib.Path(content).read_bytes()
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        return raw.getvalue()


def blob(archive, data):
    digest = hashlib.sha256(data).hexdigest()
    add(archive, f"blobs/sha256/{digest}", data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def path(described):
    return "blobs/" + described["digest"].replace(":", "/")


def add(archive, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def write_oci_archive(out, name, layer_tar, config):
    compressed = gzip.compress(layer_tar, compresslevel=1, mtime=0)
    config["rootfs"] = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer_tar).hexdigest()]}
    with tarfile.open(out, "w") as archive:
        layer = blob(archive, compressed) | {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
        described = blob(archive, json.dumps(config, sort_keys=True).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described | {"mediaType": "application/vnd.oci.image.config.v1+json"},
            "layers": [layer],
        }
        listed = blob(archive, json.dumps(manifest, sort_keys=True).encode()) | {
            "mediaType": manifest["mediaType"],
            "annotations": {
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                "io.containerd.image.name": name,
            },
        }
        index = {"schemaVersion": 2, "manifests": [listed]}
        # What `docker load` reads.
        docker = {"Config": path(described), "RepoTags": [name], "Layers": [path(layer)]}
        add(archive, "manifest.json", json.dumps([docker], sort_keys=True).encode())
        add(archive, "index.json", json.dumps(index, sort_keys=True).encode())
        add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="name and tag of the image")
    parser.add_argument("--package", action="append", default=[], help="a Debian package whose files are taken")
    parser.add_argument("--skip", action="append", default=[], help="a path of a package that is left out, with what begins so")
    parser.add_argument("--program", action="append", default=[], help="PATH=TEXT: one more file, executable")
    parser.add_argument("--file", action="append", default=[], help="PATH=TEXT: one more file")
    parser.add_argument("--folder", action="append", default=[], help="one more empty folder, writable by all")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE in the image's environment")
    parser.add_argument("--port", action="append", default=[], help="a port that the image exposes, as 80/tcp")
    parser.add_argument("--user", default="", help="the user that the command runs as")
    parser.add_argument("--out", required=True, help="the archive to write")
    parser.add_argument("command", nargs="+", help="the command of the image")
    options = parser.parse_args()

    layer = Layer()
    layer.add_text("/etc/passwd", PASSWD)
    layer.add_text("/etc/group", GROUP)
    layer.add_text("/etc/nsswitch.conf", "hosts: files dns\n")
    layer.add_folder("/tmp", 0o1777)
    for folder in ("/run", "/var/tmp"):
        layer.add_folder(folder, 0o777)
    layer.entries["/usr/bin/busybox"] = ("file", os.path.realpath("/bin/busybox"), 0o755)
    for applet in APPLETS:
        layer.add_link(f"/usr/bin/{applet}", "busybox")
    for package in options.package:
        for path in package_files(package):
            if path.startswith(tuple(options.skip)):
                continue
            layer.add_from_host(path)
    # Names are looked up by libraries that no program names.
    for library in ("libnss_dns.so.2", "libnss_files.so.2"):
        for folder in pathlib.Path("/usr/lib").glob("*-linux-gnu"):
            if (folder / library).exists() and options.package:
                layer.add_from_host(str(folder / library))
    for entry in options.file:
        path, _, text = entry.partition("=")
        layer.add_text(path, text)
    for entry in options.program:
        path, _, text = entry.partition("=")
        layer.add_text(path, text, 0o755)
    for folder in options.folder:
        layer.add_folder(folder, 0o777)

    architecture = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True)
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    environment.update(entry.split("=", 1) for entry in options.env)
    run = {
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Cmd": options.command,
        "ExposedPorts": {port: {} for port in options.port},
    }
    if options.user:
        run["User"] = options.user
    config = {"architecture": architecture.stdout.strip(), "os": "linux", "config": run}
    write_oci_archive(options.out, options.name, layer.tar(), config)


if __name__ == "__main__":
    main()
