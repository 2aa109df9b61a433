"""The benchmark of streaming, tried on a small file: there is little in it beside what is needed."""

import json
import subprocess
import sys

from workflow import ROOT


def test_what_the_benchmark_compares_is_equal():
    asked = [sys.executable, str(ROOT / "benchmarks/stream.py"), "--quick"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["equal"] and figures["bytes_share"] < 0.12
    assert figures["whole"]["bytes"] > 20e6 and figures["streamed"]["requests"] < 30
    assert figures["again"]["bytes"] == figures["again"]["requests"] == 0
