"""What happens to fake nodes, and to pods and claims on them: kwok stages, steered by annotations of the pod.

Under the pod's metadata.annotations:

rig/exit-code             its containers end with this code (see also the five below)
rig/container-reason      reason of the ended containers, such as OOMKilled; default Completed or Error
rig/termination-message   what the container left in its termination message
rig/disruption            reason of a DisruptionTarget condition, such as TerminationByKubelet
rig/pod-reason            status.reason, such as Evicted
rig/pod-message           status.message
rig/waiting               its containers wait for ever with this reason, such as ImagePullBackOff, until it is removed
rig/frozen                SIGTERM does nothing: it ends with 137 when its grace period is over
rig/term-exit-code        the code with which it answers SIGTERM; default 143
rig/unreachable           nobody acts on its deletion: it stays Terminating

As a kubelet does, a fake node ends a pod when its spec.activeDeadlineSeconds are over, also when they were lowered.
"""

import json
from typing import Any

STORAGE_CLASS = "rig"
PROVISIONER = "rig.distilljob.dev/volumes"

_NOW = "{{ $now := Now }}{{ $a := or .metadata.annotations dict }}"

_CONDITION = """
- {type: %s, status: "%s", lastTransitionTime: {{ $now | Quote }}}"""

_NODE = """{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
addresses:
- {type: InternalIP, address: {{ NodeIP | Quote }}}
- {type: Hostname, address: {{ NodeName | Quote }}}
phase: Running
"""

_CONTAINER = """
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: {{ .image | Quote }}
  restartCount: 0"""

_STARTED = f"""{_NOW}
{{{{ $uid := .metadata.uid }}}}
phase: Running
startTime: {{{{ $now | Quote }}}}
{{{{ with NodeIPsWith .spec.nodeName }}}}
hostIP: {{{{ index . 0 | Quote }}}}
hostIPs: [{{ip: {{{{ index . 0 | Quote }}}}}}]
{{{{ end }}}}
{{{{ with PodIPsWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace }}}}
podIP: {{{{ index . 0 | Quote }}}}
podIPs: [{{ip: {{{{ index . 0 | Quote }}}}}}]
{{{{ end }}}}
conditions:
{"".join(_CONDITION % (kind, "True") for kind in ("Initialized", "ContainersReady", "Ready"))}
initContainerStatuses:
{{{{ range .spec.initContainers }}}}{_CONTAINER}
  containerID: {{{{ printf "rig://%s/%s" $uid .name | Quote }}}}
  ready: true
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{{{ $now | Quote }}}}
      finishedAt: {{{{ $now | Quote }}}}
{{{{ end }}}}
containerStatuses:
{{{{ range .spec.containers }}}}{_CONTAINER}
  containerID: {{{{ printf "rig://%s/%s" $uid .name | Quote }}}}
  ready: true
  started: true
  state: {{running: {{startedAt: {{{{ $now | Quote }}}}}}}}
{{{{ end }}}}
"""

_WAITING = f"""{_NOW}
phase: Pending
startTime: {{{{ $now | Quote }}}}
conditions:
{_CONDITION % ("Initialized", "True")}{_CONDITION % ("ContainersReady", "False")}{_CONDITION % ("Ready", "False")}
containerStatuses:
{{{{ range .spec.containers }}}}{_CONTAINER}
  ready: false
  started: false
  state:
    waiting:
      reason: {{{{ index $a "rig/waiting" | Quote }}}}
      message: {{{{ printf "the rig lets %s wait" .image | Quote }}}}
{{{{ end }}}}
"""


def _ended(code: str, pod_reason: str, pod_message: str) -> str:
    """Render the status of a pod whose containers have ended; the arguments are Go template expressions."""
    return f"""{_NOW}
{{{{ $code := {code} }}}}
{{{{ $containerReason := index $a "rig/container-reason" }}}}
{{{{ $podReason := {pod_reason} }}}}
{{{{ $podMessage := {pod_message} }}}}
phase: {{{{ if eq $code "0" }}}}Succeeded{{{{ else }}}}Failed{{{{ end }}}}
{{{{ with $podReason }}}}reason: {{{{ . | Quote }}}}{{{{ end }}}}
{{{{ with $podMessage }}}}message: {{{{ . | Quote }}}}{{{{ end }}}}
conditions:
{_CONDITION % ("ContainersReady", "False")}{_CONDITION % ("Ready", "False")}
{{{{ with index $a "rig/disruption" }}}}
- {{type: DisruptionTarget, status: "True", reason: {{{{ . | Quote }}}}, lastTransitionTime: {{{{ $now | Quote }}}}}}
{{{{ end }}}}
containerStatuses:
{{{{ range .status.containerStatuses }}}}{_CONTAINER}
  containerID: {{{{ .containerID | Quote }}}}
  ready: false
  started: false
  state:
    terminated:
      exitCode: {{{{ $code }}}}
      reason: {{{{ or $containerReason (eq $code "0" | ternary "Completed" "Error") | Quote }}}}
      message: {{{{ index $a "rig/termination-message" | default "" | Quote }}}}
      containerID: {{{{ .containerID | Quote }}}}
      startedAt: {{{{ .state.running.startedAt | Quote }}}}
      finishedAt: {{{{ $now | Quote }}}}
{{{{ end }}}}
"""


_EXITED = _ended('index $a "rig/exit-code"', 'index $a "rig/pod-reason"', 'index $a "rig/pod-message"')
_ANSWER_TO_TERM = '(index $a "rig/frozen") | empty | ternary (index $a "rig/term-exit-code" | default "143") "137"'
_OUT_OF_TIME = _ended(
    _ANSWER_TO_TERM, '"DeadlineExceeded"', '"Pod was active on the node longer than the specified deadline"'
)
_TERMINATED = _ended(_ANSWER_TO_TERM, '""', '""')

_VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata:
  name: pvc-{{ .metadata.uid }}
  annotations: {pv.kubernetes.io/provisioned-by: %s}
spec:
  storageClassName: %s
  accessModes: {{ YAML .spec.accessModes 2 }}
  capacity: {{ YAML .spec.resources.requests 2 }}
  persistentVolumeReclaimPolicy: Delete
  volumeMode: Filesystem
  claimRef:
    apiVersion: v1
    kind: PersistentVolumeClaim
    namespace: {{ .metadata.namespace | Quote }}
    name: {{ .metadata.name | Quote }}
    uid: {{ .metadata.uid | Quote }}
  hostPath: {path: /nowhere}
"""

_LIVE = ".metadata.deletionTimestamp == null"
_RUNNING = '.status.phase == "Running"'
_FROZEN = '.metadata.annotations["rig/frozen"] != null'
_GRACE = f"(if {_FROZEN} then .spec.terminationGracePeriodSeconds else 0 end)"
_TIME_UP = f"(.status.startTime | fromdateiso8601) + .spec.activeDeadlineSeconds + {_GRACE} | todate"


def _annotation(name: str) -> str:
    return f'.metadata.annotations["rig/{name}"]'


def _status(template: str) -> dict[str, Any]:
    return {"patch": {"subresource": "status", "root": "status", "template": template}}


def _stage(
    name: str, kind: str, conditions: list[str], step: dict[str, Any], *, until: str | None = None
) -> dict[str, Any]:
    """Write one stage: what is done once all the jq conditions hold, `until` (jq, a time) if given."""
    chosen = f'if {" and ".join(f"({condition})" for condition in conditions)} then "yes" else "no" end'
    spec: dict[str, Any] = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": [{"jq": {"key": chosen, "operator": "In", "values": ["yes"]}}]},
        "steps": [step],
    }
    if until is not None:
        spec["delay"] = {"durationFrom": {"jq": {"expression": until}}}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def stages() -> str:
    """Return the stages of nodes, pods and claims as kwok's configuration; no two apply at the same time."""
    waiting, exits = f"{_annotation('waiting')} != null", f"{_annotation('exit-code')} != null"
    not_shown = f".status.containerStatuses[0].state.waiting.reason != {_annotation('waiting')}"
    pending = [_LIVE, '.status.phase == "Pending"']
    has_deadline = ".spec.activeDeadlineSeconds != null"
    deleted = [f"{_LIVE} | not", f"{_annotation('unreachable')} == null"]
    frozen_until = f"if {_FROZEN} then .metadata.deletionTimestamp else empty end"
    asked = f'.metadata.annotations["volume.kubernetes.io/storage-provisioner"] == "{PROVISIONER}"'
    ours = f'.spec.storageClassName == "{STORAGE_CLASS}"'
    volume = {"apply": {"template": _VOLUME % (PROVISIONER, STORAGE_CLASS)}}
    not_ready = '[.status.conditions[]? | select(.type == "Ready" and .status == "True")] == []'
    written = [
        _stage("node-start", "Node", [not_ready], _status(_NODE)),
        _stage("pod-start", "Pod", [*pending, f"{waiting} | not"], _status(_STARTED)),
        _stage("pod-wait", "Pod", [*pending, waiting, not_shown], _status(_WAITING)),
        _stage("pod-exit", "Pod", [_LIVE, _RUNNING, exits], _status(_EXITED)),
        _stage(
            "pod-deadline",
            "Pod",
            [_LIVE, _RUNNING, has_deadline, f"{exits} | not"],
            _status(_OUT_OF_TIME),
            until=_TIME_UP,
        ),
        _stage("pod-terminate", "Pod", [*deleted, _RUNNING], _status(_TERMINATED), until=frozen_until),
        _stage("pod-delete", "Pod", [*deleted, f"{_RUNNING} | not"], {"delete": True}),
        _stage("claim-provision", "PersistentVolumeClaim", [_LIVE, asked, ".spec.volumeName == null"], volume),
        _stage("volume-delete", "PersistentVolume", [_LIVE, ours, '.status.phase == "Released"'], {"delete": True}),
    ]
    return "---\n".join(json.dumps(stage) + "\n" for stage in written)


def storage_class() -> dict[str, Any]:
    """Return the default class, whose claims get a volume at once; the controller manager binds it."""
    metadata = {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": metadata,
        "provisioner": PROVISIONER,
        "volumeBindingMode": "Immediate",
    }
