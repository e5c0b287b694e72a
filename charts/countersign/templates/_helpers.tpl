{{- define "countersign.labels" -}}
app.kubernetes.io/name: countersign
{{ include "countersign.commonLabels" . }}
{{- end }}

{{- define "countersign.commonLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: countersign
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The labels of the pods of a role. Services and the Deployment of earlier versions select the front's. */}}
{{- define "countersign.podLabels" -}}
app.kubernetes.io/name: {{ include "countersign.podName" . }}
app.kubernetes.io/component: {{ .role }}
{{ include "countersign.commonLabels" . }}
{{- end }}

{{- define "countersign.podName" -}}
{{ eq .role "controller" | ternary "countersign-controller" "countersign" }}
{{- end }}

{{/* Selects the pods of a role. */}}
{{- define "countersign.pods" -}}
{app.kubernetes.io/name: {{ include "countersign.podName" . }}, app.kubernetes.io/instance: {{ .Release.Name }}}
{{- end }}

{{/* Selects the pods that serve the webhook and discovery. */}}
{{- define "countersign.selector" -}}
{app.kubernetes.io/name: countersign, app.kubernetes.io/instance: {{ .Release.Name }}}
{{- end }}

{{/* Selects the pods of all roles. */}}
{{- define "countersign.allPods" -}}
{app.kubernetes.io/part-of: countersign, app.kubernetes.io/instance: {{ .Release.Name }}}
{{- end }}

{{/*
The name of a role's Deployment and ServiceAccount. The front has the one by which sidecars know whom they
ask, those injected by earlier versions too.
*/}}
{{- define "countersign.account" -}}
{{ eq .role "controller" | ternary "countersign-controller" "countersign-operator" }}
{{- end }}

{{/* How admission knows the controller. */}}
{{- define "countersign.controllerUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:countersign-controller
{{- end }}

{{/* How admission knows the front. */}}
{{- define "countersign.frontUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:countersign-operator
{{- end }}

{{- define "countersign.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
