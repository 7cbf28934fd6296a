"""`helm test` leaves nothing behind, also when it is told to stop."""

import signal
import subprocess
import sys

from helms import CHART

SCRIPT = CHART / "files/first_job.py"
API_SERVER = f"""
import http.client, pathlib, runpy, ssl, sys

class Connection:
    def __init__(self, *_, **__): pass
    def request(self, method, *_):
        print(method, flush=True)
        self.status = {{"POST": 201, "GET": 200, "DELETE": 404}}[method]
    def getresponse(self): return self
    def read(self): return b'{{"status": {{"phase": "Running"}}}}'

http.client.HTTPSConnection = Connection
ssl.create_default_context = lambda cafile: None
pathlib.Path.read_text = lambda _: "token"
sys.argv = ["first_job.py", "name", "namespace"]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
"""The script beside an API server for which the job never ends."""


def test_the_job_is_removed_when_the_pod_is_told_to_stop():
    with subprocess.Popen([sys.executable, "-c", API_SERVER], stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        before = [script.stdout.readline().strip() for _ in range(4)]
        assert before == ["DELETE", "POST", "GET", "Running"]
        script.send_signal(signal.SIGTERM)
        assert script.stdout.read().split()[-1] == "DELETE"
    assert script.returncode == 1
