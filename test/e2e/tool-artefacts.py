"""Makes what registries serve, in the folder given: an npm package, a wheel, a Go module, a git repository."""
import base64, hashlib, io, json, os, subprocess, sys, tarfile, zipfile

root, base = sys.argv[1], sys.argv[2]


def write(path, data):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def tgz(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, text in files.items():
            z.writestr(name, text)
    return out.getvalue()


package = {"name": "gb-probe", "version": "1.0.0", "main": "index.js"}
tar = tgz({"package/package.json": json.dumps(package), "package/index.js": "module.exports = 'npm works';\n"})
integrity = "sha512-" + base64.b64encode(hashlib.sha512(tar).digest()).decode()
dist = {"tarball": f"{base}/npm/gb-probe/-/gb-probe-1.0.0.tgz", "integrity": integrity}
write("npm/gb-probe/-/gb-probe-1.0.0.tgz", tar)
write(
    "npm/gb-probe/index",
    json.dumps({"name": "gb-probe", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {**package, "dist": dist}}}),
)

info = "gb_probe-1.0.0.dist-info"
meta = "Metadata-Version: 2.1\nName: gb-probe\nVersion: 1.0.0\n"
wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
record = f"gb_probe.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
write(
    "pip/files/gb_probe-1.0.0-py3-none-any.whl",
    zipped({"gb_probe.py": "said = 'pip works'\n", f"{info}/METADATA": meta, f"{info}/WHEEL": wheel, f"{info}/RECORD": record}),
)
link = "../../files/gb_probe-1.0.0-py3-none-any.whl"
write("pip/simple/gb-probe/index", f'<!DOCTYPE html><html><body><a href="{link}">gb_probe-1.0.0-py3-none-any.whl</a></body></html>')

mod = "module gb.example/probe\n\ngo 1.18\n"
at = "gb.example/probe@v1.0.0"
write("go/gb.example/probe/@v/list", "v1.0.0\n")
write("go/gb.example/probe/@v/v1.0.0.info", json.dumps({"Version": "v1.0.0", "Time": "2026-01-01T00:00:00Z"}))
write("go/gb.example/probe/@v/v1.0.0.mod", mod)
write(
    "go/gb.example/probe/@v/v1.0.0.zip",
    zipped({f"{at}/go.mod": mod, f"{at}/probe.go": 'package probe\n\nfunc Said() string { return "go works" }\n'}),
)

write("plain/hello", "hello from the upstream")

git = os.path.join(root, "git/repo.git")
quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
subprocess.run(["git", "init", "--bare", "-b", "main", git], **quiet)
subprocess.run(["git", "-C", git, "config", "http.receivepack", "true"], **quiet)
work = os.path.join(root, "work")
subprocess.run(["git", "init", "-b", "main", work], **quiet)
write("work/README", "git works\n")
who = ["-c", "user.name=t", "-c", "user.email=t@example"]
subprocess.run(["git", "-C", work, "add", "."], **quiet)
subprocess.run(["git", "-C", work, *who, "commit", "-m", "first"], **quiet)
subprocess.run(["git", "-C", work, "push", git, "main"], **quiet)
