"""An agent that works: operations with an effect, four at a time, each under a name of its own, none tried twice."""

import json, os, ssl, sys, threading, urllib.request

run, count, port = sys.argv[1], int(sys.argv[2]), sys.argv[3]
open("/workspace/kept.txt", "w").write(run)
context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({"https": "http://127.0.0.1:3128"}), urllib.request.HTTPSHandler(context=context)
)
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
said, numbers = threading.Lock(), iter(range(count))


def operate(name, outside):
    if outside:
        return opener.open(urllib.request.Request(f"https://api.example:{port}/open/{name}", b"x", method="POST"), timeout=60)
    body = json.dumps({"path": f"/shared/notes/{name}.txt", "content": name}).encode()
    url = os.environ["GLOVEBOX_URL"] + "/v1/tools/files_write"
    return direct.open(urllib.request.Request(url, body, {"content-type": "application/json"}), timeout=60)


def work():
    while True:
        with said:
            number = next(numbers, None)
        if number is None:
            return
        name = f"{run}-{number}"
        try:
            with operate(name, number % 2 == 0) as answer:
                answer.read()
                word = f"ok {answer.status}"
        except Exception as error:
            word = f"failed {getattr(error, 'code', type(error).__name__)}"
        with said:
            print(f"@@{name} {word}", flush=True)


workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
