{{- define "distilljob.name" -}}
{{- .Release.Name | trunc 46 | trimSuffix "-" -}}
{{- end -}}

{{- define "distilljob.operator" -}}
{{- printf "%s-operator" (include "distilljob.name" .) -}}
{{- end -}}

{{- define "distilljob.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "distilljob.operator" .) -}}
{{- else -}}
{{- required "serviceAccount.name: name the service account that exists, or set serviceAccount.create" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "distilljob.selector" -}}
app.kubernetes.io/name: distilljob
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "distilljob.labels" -}}
{{ include "distilljob.selector" . }}
app.kubernetes.io/part-of: distilljob
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The chart's labels, and further ones under other keys: (list $ .Values.operator.podLabels). */}}
{{- define "distilljob.labelsAnd" -}}
{{- merge (include "distilljob.labels" (index . 0) | fromYaml) (index . 1) | toYaml -}}
{{- end -}}

{{/* The image of a part: (list $ "operator"). */}}
{{- define "distilljob.image" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- $image := index $root.Values.images $part -}}
{{- if not $image.repository -}}
{{- fail (printf "images.%s.repository is empty: name the repository that holds your %s image, such as registry.example.com/distilljob-%s; docs/how-to/images.md says how to build it" $part $part $part) -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What a release notes of a CRD that Helm deletes once the release no longer has it. */}}
{{- define "distilljob.crdGoes" -}}
goes with the release
{{- end -}}

{{/* The namespaces that are served, separated by commas; empty: all. */}}
{{- define "distilljob.namespaces" -}}
{{- if .Values.watch.ownNamespace -}}
{{- if .Values.watch.namespaces -}}
{{- fail "watch.ownNamespace and watch.namespaces exclude each other: list the release's namespace among the others" -}}
{{- end -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- join "," .Values.watch.namespaces -}}
{{- end -}}
{{- end -}}

{{/* Where `helm test` runs its job: the release's namespace, or the first that is served instead of it. */}}
{{- define "distilljob.testNamespace" -}}
{{- if or (empty .Values.watch.namespaces) (has .Release.Namespace .Values.watch.namespaces) -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- first .Values.watch.namespaces -}}
{{- end -}}
{{- end -}}

{{/* Fail where a kind of the Prometheus Operator is asked for and the cluster does not know it: (list $ "monitoring.rules.enabled"). */}}
{{- define "distilljob.needsPrometheusOperator" -}}
{{- $root := index . 0 -}}
{{- if not ($root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") -}}
{{- fail (printf "%s needs the Prometheus Operator, whose custom resources this cluster does not have: install it first, or set monitoring.scrapeAnnotations instead (helm template needs --api-versions monitoring.coreos.com/v1)" (index . 1)) -}}
{{- end -}}
{{- end -}}

{{/* Annotations of a pod that serves metrics on this port. */}}
{{- define "distilljob.scrape" -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ . | quote }}
prometheus.io/path: /metrics
{{- end -}}

{{/* Annotations of the operator's pod; the given ones under other keys than these. */}}
{{- define "distilljob.podAnnotations" -}}
{{- $own := dict "checksum/pod-defaults" (include "distilljob.podDefaults" . | sha256sum) -}}
{{- if .Values.monitoring.scrapeAnnotations -}}
{{- $own = merge $own (include "distilljob.scrape" "8080" | fromYaml) -}}
{{- end -}}
{{- merge $own .Values.operator.podAnnotations | toYaml -}}
{{- end -}}

{{/* Defaults of jobs' pods, with the annotations for scraping under those that are given. */}}
{{- define "distilljob.podDefaults" -}}
{{- $students := deepCopy .Values.jobs.students -}}
{{- $aggregator := deepCopy .Values.jobs.aggregator -}}
{{- if .Values.monitoring.scrapeAnnotations -}}
{{- $scrape := dict "annotations" (include "distilljob.scrape" "8471" | fromYaml) -}}
{{- $students = mergeOverwrite (deepCopy $scrape) $students -}}
{{- $aggregator = mergeOverwrite (deepCopy $scrape) $aggregator -}}
{{- end -}}
{{- dict "students" $students "aggregator" $aggregator | toYaml -}}
{{- end -}}
