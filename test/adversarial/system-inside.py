"""An agent that belongs to the attacker: told on stdin what to try, one JSON object a line, it answers with one line."""

import json, os, socket, ssl, sys, threading

API, PROXY = ("127.0.0.1", 9090), ("127.0.0.1", 3128)
held, waiting = [], {}


def said(error):
    return type(error).__name__ if not isinstance(error, OSError) or error.errno is None else os.strerror(error.errno)


def tries(addresses):
    """Each address that a host's service may have: [family, address, port]."""
    came = {}
    for family, address, port in addresses:
        kind = {"4": socket.AF_INET, "6": socket.AF_INET6, "unix": socket.AF_UNIX}[family]
        target = address if family == "unix" else (address, port)
        try:
            with socket.socket(kind) as s:
                s.settimeout(2)
                s.connect(target)
                came[f"{address} {port}"] = "connected"
        except Exception as error:
            came[f"{address} {port}"] = said(error)
    return came


def raw(text, port=9090, wait=5, until=None):
    """Bytes as they are, and what comes back until the other side ends or is silent for too long."""
    data = text.encode("utf-8", "surrogateescape")
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as s:
        got = b""
        try:
            s.sendall(data)
        except OSError:
            got += b""
        try:
            while len(got) < 1 << 20:
                chunk = s.recv(65536)
                if not chunk:
                    break
                got += chunk
                if until and got.endswith(until):
                    break
        except OSError as error:
            got += f"\n[{said(error)}]".encode()
    return got.decode("utf-8", "replace")


def answer_of(text):
    head, _, body = text.partition("\r\n\r\n")
    status = int(head.split(" ")[1]) if head.startswith("HTTP/1.1 ") else 0
    if "transfer-encoding: chunked" in head.lower():
        parts, rest = [], body
        while rest:
            size, _, rest = rest.partition("\r\n")
            count = int(size or "0", 16)
            if count == 0:
                break
            parts.append(rest[:count])
            rest = rest[count + 2:]
        body = "".join(parts)
    try:
        body = json.loads(body)
    except ValueError:
        body = body[:2000]
    return {"status": status, "body": body}


def api(method="GET", path="/v1/session", body=None, headers=None, host="127.0.0.1:9090", text=None, wait=90, until=None):
    payload = text if text is not None else "" if body is None else json.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if payload != "":
        lines += ["content-type: application/json", f"content-length: {len(payload.encode())}"]
    return answer_of(raw("\r\n".join(lines) + "\r\n\r\n" + payload, wait=wait, until=until))


def mcp(message, headers=None):
    accept = {"accept": "application/json, text/event-stream", **(headers or {})}
    came = api("POST", "/mcp", message, accept, until=b"0\r\n\r\n")
    if isinstance(came["body"], str) and "data: " in came["body"]:
        came["body"] = json.loads(came["body"].split("data: ", 1)[1].split("\n", 1)[0])
    return came


def write(path, content="from inside"):
    return api("POST", "/v1/tools/files_write", {"path": path, "content": content})


def writes(paths):
    return [write(path)["status"] for path in paths]


def read(path):
    return api("POST", "/v1/tools/files_read", {"path": path})


def race(count, path):
    """The same call, `count` times at once: sent but for the last byte, then all last bytes."""
    payload = json.dumps({"path": path, "content": "raced"})
    head = (f"POST /v1/tools/files_write HTTP/1.1\r\nhost: 127.0.0.1:9090\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n")
    sockets = [socket.create_connection(API, timeout=60) for _ in range(count)]
    for s in sockets:
        s.sendall((head + payload)[:-1].encode())
    for s in sockets:
        s.sendall(payload[-1].encode())
    came = []
    for s in sockets:
        got = b""
        while chunk := s.recv(65536):
            got += chunk
        s.close()
        came.append(answer_of(got.decode())["status"])
    return came


def ask(id, **request):
    """Asks a person, and goes on meanwhile; `answered` tells what came of it."""
    def run():
        waiting[id] = api("POST", "/v1/permissions", request, wait=120)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return "asked"


def answered(id):
    return waiting.get(id)


def flood(requests):
    """All at once; what did not wait for a person has its status, what waits has none."""
    def run(index, request):
        waiting[f"flood {index}"] = api("POST", "/v1/permissions", request, wait=120)
    for index, request in enumerate(requests):
        waiting.pop(f"flood {index}", None)
        threading.Thread(target=run, args=(index, request), daemon=True).start()
    return "asked"


def flooded(count):
    return [waiting.get(f"flood {index}", {}).get("status") for index in range(count)]


def hold(count, port, text=""):
    """Connections that say something and then nothing."""
    opened = 0
    for _ in range(count):
        try:
            s = socket.create_connection(("127.0.0.1", port), timeout=2)
            s.sendall(text.encode())
            held.append(s)
            opened += 1
        except OSError:
            break
    return opened


def release():
    for s in held:
        s.close()
    held.clear()
    return "released"


def fds():
    mine = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    kinds = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in mine if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}")}
    others, open_for_us = {}, []
    for pid in (name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()):
        try:
            others[pid] = sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
        except OSError as error:
            others[pid] = said(error)
        for fd in range(0, 64):
            try:
                os.close(os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR))
                open_for_us.append(f"{pid}/{fd}")
            except OSError:
                continue
    return {"mine": [fd for fd in mine if fd <= 2 or kinds.get(fd, "").startswith(("socket", "pipe", "anon"))],
            "others": others, "opened": open_for_us}


def stolen(pid, fd):
    """The link of init, by the two calls that hand descriptors over."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = libc.syscall(434, pid, 0)
    got = libc.syscall(438, pidfd, fd, 0) if pidfd >= 0 else -1
    return "stolen" if got >= 0 else os.strerror(ctypes.get_errno())


def connect(target, wait=10):
    """Only the CONNECT: what the proxy says before any TLS."""
    return answer_of(raw(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n", 3128, wait=wait))


def https(host, port, method="GET", path="/", headers=None, body="", sni=None, named=None):
    with socket.create_connection(PROXY, timeout=20) as s:
        s.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = s.recv(65536)
            if not chunk:
                return answer_of(head.decode())
            head += chunk
        if not head.startswith(b"HTTP/1.1 200"):
            return answer_of(head.decode())
        context = ssl.create_default_context()
        context.check_hostname = sni is None
        with context.wrap_socket(s, server_hostname=sni or host) as tls:
            lines = [f"{method} {path} HTTP/1.1", f"host: {named or host}:{port}", "connection: close", f"content-length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            tls.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
            got = b""
            try:
                while chunk := tls.recv(65536):
                    got += chunk
            except (ssl.SSLError, OSError):
                got += b""
    return answer_of(got.decode("utf-8", "replace"))


def plain(url, method="GET", headers=None):
    host = url.split("/")[2]
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return answer_of(raw(f"{method} {url} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n", 3128))


def placeholder():
    return os.environ["API_KEY"]


def resolves(name):
    try:
        return socket.getaddrinfo(name, 443)[0][4][0]
    except OSError as error:
        return said(error)


def nested(depth, path):
    return api("POST", path, text='{"scope":"files:write:/shared/notes/n","arguments":{"a":' + "[" * depth + "]" * depth + "}}")


for line in sys.stdin:
    order = json.loads(line)
    what = order.pop("do")
    try:
        result = {"ok": globals()[what](**order)}
    except Exception as error:
        result = {"error": f"{said(error)}: {error}"}
    sys.stdout.write("@@" + json.dumps(result) + "\n")
    sys.stdout.flush()
