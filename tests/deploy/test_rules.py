"""Alerts: each has a case in which it fires and one in which it does not."""

import re
import subprocess
from pathlib import Path

import yaml

from helms import CHART

CASES = Path(__file__).parent / "rules_test.yaml"


def test_alerts_fire_when_they_should_and_never_else():
    ended = subprocess.run(["promtool", "test", "rules", str(CASES)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((CHART / "rules.yaml").read_text())["groups"]
        for rule in group["rules"]
    }
    fires, silent = set(), set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            (fires if check.get("exp_alerts") else silent).add(check["alertname"])
    assert fires == silent == alerts


def test_every_alert_says_what_it_means_and_what_to_do():
    for group in yaml.safe_load((CHART / "rules.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert re.search(r"Docs: how-to/\w+\.md\.$", rule["annotations"]["description"].strip())
