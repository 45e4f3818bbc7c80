{{- define "rerank-gateway.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "rerank-gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rerank-gateway.labels" -}}
{{ include "rerank-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- /* Where callers need a certificate the kubelet cannot ask, and the container looks whether connections are taken. */ -}}
{{- define "rerank-gateway.probe" -}}
{{- $tls := .root.Values.config.server.tls | default dict }}
{{- if $tls.client_ca -}}
exec: {command: [python, -m, gateway.server.healthcheck]}
{{- else -}}
httpGet: {path: {{ .path }}, port: http, scheme: {{ ternary "HTTPS" "HTTP" (not (empty $tls)) }}}
{{- end }}
{{- end }}
