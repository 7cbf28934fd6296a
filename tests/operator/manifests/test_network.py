"""Who may speak to the pods of a job."""

from dataclasses import replace

from distilljob_core import names
from distilljob_operator.manifests.network import network_policy, readers

UID = "12345678-90ab-cdef-1234-567890abcdef"
MONITORING = {"matchLabels": {"team": "monitoring"}}


def test_only_students_of_this_job_reach_the_exchange(make_job, images):
    spec = network_policy(make_job(), images)["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["podSelector"]["matchLabels"] == {names.LABEL_JOB: "demo", names.LABEL_UID: UID}
    by_port = {port["port"]: rule.get("from") for rule in spec["ingress"] for port in rule["ports"]}
    (peer,) = by_port[8470]
    assert peer == {
        "podSelector": {
            "matchLabels": {names.LABEL_JOB: "demo", names.LABEL_UID: UID, names.LABEL_ROLE: "student"},
        }
    }
    assert by_port[8471] is None
    assert by_port.keys() == {8470, 8471}


def test_metrics_are_open_to_the_selected_namespaces_and_to_the_operator_alone(make_job, images):
    given = replace(images, readers=readers(MONITORING, "system"))
    exchange, metrics = network_policy(make_job(), given)["spec"]["ingress"]
    assert metrics["ports"] == [{"port": 8471, "protocol": "TCP"}]
    own = {"matchLabels": {"kubernetes.io/metadata.name": "system"}}
    assert metrics["from"] == [{"namespaceSelector": MONITORING}, {"namespaceSelector": own}]
    assert exchange == network_policy(make_job(), images)["spec"]["ingress"][0]


def test_metrics_are_open_to_everybody_where_nobody_is_selected_or_the_operator_is_in_no_namespace():
    assert readers(None, "system") == readers({}, "system") == readers(MONITORING, None) == ()
